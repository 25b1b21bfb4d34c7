"""``python -m benchmarks.faults``: plant faults by a seed, verify, and say how many are found, and named right.

Each round is a copy of one clean town with as many faults as do not meet: what was wrong in the store before the build, one
build of a project with all faults of models, then what went wrong after it, and one verification. A fault counts as found
when a finding has its class and exactly its records; its step is right when the finding names the step and the model, too. A
finding that is no planted fault's counts against precision.
"""

import argparse
import random
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import rows
from benchmarks.__main__ import forget_environment
from benchmarks.models import FAULTS, TARGETS, Changes, Clean, project
from benchmarks.planted import Expected, Named, Place, Planted
from benchmarks.result import say
from benchmarks.town import Connection, Held, Town, town
from ledgerlake import log
from ledgerlake.integrity import Finding, Report
from ledgerlake.integrity._report import SAMPLE
from ledgerlake.local import servers
from ledgerlake.settings import Settings

_PAGE = Path(__file__).parents[1] / "docs" / "integrity.md"
_BEGIN, _END = "<!-- faults: begin -->", "<!-- faults: end -->"

PAGE, DELETED, ALTERED = "a page skipped", "a row deleted in raw", "a row altered in raw"
BALANCE, MISSING = "a balance not refreshed", "an account missing"
TWICE, SILENT = "an account twice under two consents", "a connection silent for three days"
FILE, OLDER = "a Parquet file that lost rows", "a snapshot of an older build"
OF_ROWS = (PAGE, DELETED, ALTERED, BALANCE, MISSING, TWICE, SILENT)
OF_MODELS = tuple(one.name for one in FAULTS)
KINDS = (PAGE, DELETED, ALTERED, *OF_MODELS, BALANCE, MISSING, TWICE, FILE, OLDER, SILENT)
_WHERE_FILES = tuple(one for one in TARGETS if not one.model.startswith("stg_gocardless__balances"))


@dataclass(frozen=True)
class Verdict:
    """How one planted fault fared: `found` with its class and records, and `placed` at its step and model."""

    planted: Planted
    found: bool
    placed: bool
    instead: tuple[str, ...] = ()


@dataclass
class Score:
    """All rounds."""

    verdicts: list[Verdict] = field(default_factory=list)
    findings: int = 0
    others: list[tuple[str, str]] = field(default_factory=list)
    """Findings that are no planted fault's: the kind that they go with, if any, and what they say."""

    @property
    def recall(self) -> float:
        return sum(one.found for one in self.verdicts) / len(self.verdicts)

    @property
    def precision(self) -> float:
        return (self.findings - len(self.others)) / self.findings if self.findings else 1.0

    @property
    def placed(self) -> float:
        """The share of the faults found whose step and model are right."""
        found = [one for one in self.verdicts if one.found]
        return sum(one.placed for one in found) / len(found) if found else 0.0


def faults(base: Town, folder: Path, wanted: Mapping[str, int], seed: int) -> Iterator[tuple[list[Planted], Report]]:
    """Rounds until as many faults of each kind are planted as are wanted: what was planted, and what was found."""
    clean = Clean.of(base)
    left = Counter(wanted)
    number = 0
    while sum(left.values()) > 0:
        planted, report = _round(base, clean, folder / f"round_{number}", left, random.Random(f"{seed}/{number}"))
        if not planted:
            raise RuntimeError(f"expected a place for {dict(+left)}, found none in the town")
        left -= Counter(one.fault for one in planted)
        number += 1
        yield planted, report


def _round(
    base: Town, clean: Clean, folder: Path, left: Counter[str], chance: random.Random
) -> tuple[list[Planted], Report]:
    held: dict[str, list[Held]] = defaultdict(list)
    for one in base.held:
        held[one.connection_id].append(one)
    free = list(base.connections)
    chance.shuffle(free)
    with base.copy() as copy:
        planted: list[Planted] = []
        older: int | None = None
        if left[OLDER] > 0:
            older = chance.choice(sorted({one.bucket for one in free}))
            touched = rows.touch(copy, older, base.held, chance)
            planted += [touched] if touched else []
            free = [one for one in free if one.bucket != older]
        quotas = {kind: min(left[kind], max(1, len(free) // 16)) for kind in OF_ROWS}
        late: list[tuple[str, Connection]] = []
        used: set[str] = set()

        def plot(connection: Connection) -> rows.Plot:
            return rows.Plot(copy, connection, tuple(held[connection.connection_id]), chance)

        for connection in free:
            for kind in sorted(quotas, key=lambda kind: -quotas[kind]):
                if quotas[kind] <= 0:
                    continue
                if kind in (DELETED, ALTERED) and chance.random() < 0.5:
                    late.append((kind, connection))
                    made = None
                elif kind == DELETED:
                    made = rows.row_deleted(plot(connection), "before")
                elif kind == ALTERED:
                    made = rows.row_altered(plot(connection), "before")
                else:
                    made = rows.BEFORE[kind](plot(connection))
                if made is not None:
                    planted.append(made)
                if made is not None or (kind, connection) in late:
                    quotas[kind] -= 1
                    used.add(connection.connection_id)
                    break
        free = [one for one in free if one.connection_id not in used]
        shortened = [free.pop() for _ in range(min(left[FILE], max(1, len(free) // 12)))] if free else []
        changes = Changes(clean, chance, free)
        for kind in OF_MODELS:
            for _ in range(min(left[kind], max(1, len(free) // 6))):
                if not changes.draw(kind):
                    break
        planted += [one.planted for one in changes.made]
        faulty = project(base.project, folder, changes.made)
        before = rows.files(copy)
        copy = Town(copy.where, copy.settings, faulty)
        copy.lake.build(sorted({one.bucket for one in base.connections}))
        if older is not None:
            rows.put_back(copy, before, older)
        for kind, connection in late:
            made = (
                rows.row_deleted(plot(connection), "after")
                if kind == DELETED
                else rows.row_altered(plot(connection), "after")
            )
            planted += [made] if made else []
        lost = list(_shortened(copy, clean, changes.models(), shortened, chance))
        planted += [one.planted for one in lost]
        try:
            return planted, copy.verify()
        finally:
            for short in lost:
                short.restore(copy)


def _shortened(
    copy: Town, clean: Clean, taken: set[str], connections: Sequence[Connection], chance: random.Random
) -> Iterator[rows.Shortened]:
    models = [one for one in _WHERE_FILES if one.model not in taken]
    chance.shuffle(models)
    for connection in connections:
        for target in models:
            made = rows.shorten(copy, clean, target, connection, chance)
            if made is not None:
                models.remove(target)
                yield made
                break


def judge(planted: Sequence[Planted], found: Sequence[Finding], score: Score) -> None:
    """Each finding is at most one fault's, and each fault's at most one finding."""
    left = list(found)
    for one in planted:
        exact = [
            finding
            for finding in left
            if finding.kind == one.named.kind and _concerns(one, finding) and _has(one.expected, finding)
        ]
        exact.sort(key=lambda finding: _named(finding) != one.named)
        if exact:
            left.remove(exact[0])
            score.verdicts.append(Verdict(one, True, _named(exact[0]) == one.named, (_told(exact[0]),)))
        else:
            near = tuple(_told(finding) for finding in found if _touches(one, finding))
            score.verdicts.append(Verdict(one, False, False, near))
    score.findings += len(found)
    for finding in left:
        kinds = [one.fault for one in planted if _touches(one, finding)]
        score.others.append((kinds[0] if kinds else "", _told(finding)))


def _named(finding: Finding) -> Named:
    """As a planted fault is named: models and published files are nobody's."""
    whose = finding.connection_id if finding.model is None else None
    stream = None if finding.step == "published" else finding.stream
    return Named(finding.kind, finding.step, finding.model, stream, finding.field, whose)


def _concerns(planted: Planted, finding: Finding) -> bool:
    """Where no record tells which fault it is, the connection, or the model of the file does."""
    if planted.expected.records:
        return True
    return (planted.named.connection_id, planted.named.model) == (finding.connection_id, finding.model)


def _places(finding: Finding) -> set[Place]:
    return {(one.connection_id, one.stream, one.record_id) for one in finding.sample}


def _has(expected: Expected, finding: Finding) -> bool:
    if expected.count is not None and not expected.records:
        return finding.records == expected.count
    shown = _places(finding)
    if finding.records > SAMPLE:
        return shown <= expected.records | expected.perhaps
    return expected.records <= shown <= expected.records | expected.perhaps and finding.records == len(shown)


def _touches(planted: Planted, finding: Finding) -> bool:
    places = _places(finding)
    if planted.expected.records and places:
        return bool(places & (planted.expected.records | planted.expected.perhaps)) or (
            finding.connection_id is not None and finding.connection_id == planted.named.connection_id
        )
    if planted.named.model is not None and planted.named.model == finding.model:
        return True
    return finding.connection_id is not None and finding.connection_id in planted.connections


def _told(finding: Finding) -> str:
    return (
        f"{' '.join(part for part in _named(finding) if part)} with {finding.records} records: {finding.message[:300]}"
    )


def table(score: Score, seed: int) -> str:
    """The result in Markdown."""
    first = (
        f"{len(score.verdicts):,} faults were planted with seed {seed}, and {score.findings:,} findings came of them: "
        f"**precision {score.precision:.3f}, recall {score.recall:.3f}, the step and model named right in "
        f"{score.placed:.1%}** of those found."
    )
    lines = [
        first,
        "",
        "| fault | planted | found, with its class and exactly its records | at the right step and model | other findings |",
        "|---|---:|---:|---:|---:|",
    ]
    for kind in KINDS:
        mine = [one for one in score.verdicts if one.planted.fault == kind]
        found, placed = sum(one.found for one in mine), sum(one.placed for one in mine)
        others = sum(of == kind for of, _ in score.others)
        if not mine and not others:
            continue
        lines.append(f"| {kind} | {len(mine)} | {found} | {placed} | {others} |")
    rest = sum(of == "" for of, _ in score.others)
    if rest:
        lines.append(f"| none of them | | | | {rest} |")
    return "\n".join(lines) + "\n"


def wanted(number: int) -> dict[str, int]:
    """So many faults, spread evenly over the kinds, but for the snapshot: there is one in a round, and so one in a hundred."""
    snapshots = max(1, number // 100)
    each, more = divmod(number - snapshots, len(KINDS) - 1)
    rest = [kind for kind in KINDS if kind != OLDER]
    return {kind: each + (place < more) for place, kind in enumerate(rest)} | {OLDER: snapshots}


def main(arguments: Sequence[str] | None = None) -> int:
    """Plant, verify, print the table, and write it into docs/integrity.md where it is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--faults", type=int, default=1_000, help="how many to plant (1000)")
    parser.add_argument("--seed", type=int, default=1, help="of what is planted, and where (1)")
    parser.add_argument("--customers", type=int, default=48, help="of the town (48)")
    parser.add_argument("--only", choices=KINDS, help="plant this kind alone, and only print the table")
    parser.add_argument("--print", action="store_true", help="only print the table")
    asked = parser.parse_args(arguments)
    forget_environment()
    log.configure("warning")
    score = Score()
    planned = {asked.only: asked.faults} if asked.only else wanted(asked.faults)
    with tempfile.TemporaryDirectory(prefix="ledgerlake-faults-") as name:
        home = Path(name)
        with (
            servers(Settings(home=home / "servers")) as where,
            town(where, home, customers=asked.customers, seed=asked.seed) as base,
        ):
            say("faults", f"{len(base.connections)} connections with {len(base.held):,} records, and no finding")
            for planted, report in faults(base, home, planned, asked.seed):
                known = len(score.verdicts), len(score.others)
                judge(planted, report.findings, score)
                _say(score, *known, report.seconds)
    text = table(score, asked.seed)
    sys.stdout.write(text)
    if not (asked.print or asked.only):
        write(text)
    return 0 if score.precision == score.recall == score.placed == 1 else 1


def _say(score: Score, verdicts: int, others: int, seconds: float) -> None:
    say(
        "faults",
        f"{len(score.verdicts)} planted, recall {score.recall:.3f}, precision {score.precision:.3f}, {seconds:.1f} s",
    )
    for one in score.verdicts[verdicts:]:
        if not (one.found and one.placed):
            say("faults", f"{one.planted.fault}: expected {one.planted.named}, found {one.instead or 'nothing'}")
    for kind, told in score.others[others:]:
        say("faults", f"besides ({kind or 'of no fault'}): {told}")


def write(text: str, path: Path = _PAGE) -> None:
    """Put the table between its markers."""
    page = path.read_text()
    before, _, rest = page.partition(_BEGIN)
    _, found, after = rest.partition(_END)
    if not found:
        raise RuntimeError(f"expected {_BEGIN} and {_END} in {path.name}")
    path.write_text(f"{before}{_BEGIN}\n{text}{_END}{after}")


if __name__ == "__main__":
    sys.exit(main())
