"""What a benchmark found: ours beside a peer or a limit, as a table, as JSON and in the README.

Does not belong here: measuring.
"""

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.house import Size

_BEGIN, _END = "<!-- results -->", "<!-- /results -->"


@dataclass(frozen=True)
class Goal:
    """What the ratio ought to be."""

    sign: Literal["≥", "≤"]
    ratio: float

    def met(self, ratio: float) -> bool:
        return ratio >= self.ratio if self.sign == "≥" else ratio <= self.ratio


@dataclass(frozen=True)
class Comparison:
    """Ours beside theirs, in the same unit: one figure a run, of which the median counts."""

    benchmark: str
    what: str
    unit: str
    ours: Sequence[float]
    against: str
    theirs: Sequence[float]
    goal: Goal | None = None

    @property
    def ratio(self) -> float:
        return statistics.median(self.ours) / statistics.median(self.theirs)

    @property
    def verdict(self) -> str:
        """The goal, and whether it is met; empty without one."""
        if self.goal is None:
            return ""
        return f"{self.goal.sign} {self.goal.ratio:g}: {'met' if self.goal.met(self.ratio) else 'missed'}"


_HEAD = ("benchmark", "what", "ours", "against", "theirs", "ours / theirs", "goal")


def as_table(found: Sequence[Comparison]) -> str:
    """A Markdown table, its columns aligned, so that it reads on a terminal, too."""
    rows = [
        (
            *(one.benchmark, one.what, _figure(one.ours, one.unit), one.against, _figure(one.theirs, one.unit)),
            *(f"{one.ratio:.2f}", one.verdict),
        )
        for one in found
    ]
    widths = [max(len(row[column]) for row in [_HEAD, *rows]) for column in range(len(_HEAD))]
    lines = [_HEAD, tuple("-" * width for width in widths), *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def as_json(found: Sequence[Comparison], machine: Mapping[str, str], size: Size) -> str:
    """All there is, every run's figure included."""
    whole = {
        "machine": dict(machine),
        "rows": size.rows,
        "runs": size.runs,
        "results": [
            {
                "benchmark": one.benchmark,
                "what": one.what,
                "unit": one.unit,
                "ours": [round(value, 4) for value in one.ours],
                "against": one.against,
                "theirs": [round(value, 4) for value in one.theirs],
                "ratio": round(one.ratio, 3),
                "goal": f"{one.goal.sign} {one.goal.ratio:g}" if one.goal else None,
                "met": one.goal.met(one.ratio) if one.goal else None,
            }
            for one in found
        ],
    }
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def write_readme(path: Path, found: Sequence[Comparison], machine: Mapping[str, str], size: Size) -> None:
    """Put the table between the README's two markers; the rest of it stays."""
    text = path.read_text()
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{path.name}: expected the markers {_BEGIN} and {_END}, found no such pair; put them back")
    told = "; ".join(f"{name} {value}" for name, value in machine.items())
    section = f"{size.rows:,} rows, the median of {size.runs} runs. {told}.\n\n{as_table(found)}"
    path.write_text(f"{before}{begin}\n{section}\n{end}{after}")


def say(benchmark: str, sentence: str) -> None:
    """A line of progress, on stderr."""
    sys.stderr.write(f"{benchmark}: {sentence}\n")
    sys.stderr.flush()


def _figure(values: Sequence[float], unit: str) -> str:
    value = statistics.median(values)
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:,.3g} {unit}"
