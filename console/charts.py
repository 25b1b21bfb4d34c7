"""Charts: what one shows, as data in the page; static/charts.js draws it with Plotly.

Belongs here: the shape of that data, and where Plotly's file is. Does not belong here: colours and pixels (the script and
the style sheet), which figures there are (``ledgerlake.figures``).

Plotly 4.1 runs under the pages' strict policy as it is: it evaluates no text, and where the page brings its style sheet along
(static/charts.css, by the id that Plotly looks for) its charts need no style of their own. Browsers refuse the one that its
bundle writes for maps, and say so in their console; nothing here draws a map.
"""

import datetime as dt
import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Literal

Value = int | float | Decimal | None

PLOTLY = "plotly.min.js"


@cache
def plotly() -> Path:
    """Plotly's script, from its wheel; found without the import, which takes a second."""
    spec = importlib.util.find_spec("plotly")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "package_data" / PLOTLY


@dataclass(frozen=True)
class Series:
    """One line or one colour of bars; a value for each place of the chart's x, None where there is none.

    `line`: drawn as a line over the bars.
    """

    name: str
    values: Sequence[Value]
    line: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart; a table beneath says the same.

    Attributes:
        title: what it shows, for those who do not see it.
        kind: lines; bars side by side; bars or areas on top of each other.
        x: days, months or names.
        unit: after each value: a currency, "s".
    """

    title: str
    kind: Literal["line", "bar", "stack", "area"]
    x: Sequence[str | dt.date | dt.datetime]
    series: Sequence[Series]
    unit: str = ""

    @property
    def data(self) -> dict[str, Any]:
        """As JSON has it: decimals are text, which loses nothing."""
        return {
            "kind": self.kind,
            "dates": any(isinstance(one, dt.date) for one in self.x),
            "x": [one if isinstance(one, str) else one.isoformat() for one in self.x],
            "series": [
                {"name": one.name, "line": one.line, "y": [_plain(value) for value in one.values]}
                for one in self.series
            ],
            "unit": self.unit,
        }

    @property
    def empty(self) -> bool:
        return not any(value is not None for one in self.series for value in one.values)


def pivot(points: Iterable[tuple[Any, str, Value]], *, missing: Value = 0) -> tuple[list[Any], list[Series]]:
    """(x, name, value) in any order, as a chart's x and series; `missing` is where a name has no value."""
    kept = list(points)
    places = sorted({x for x, _, _ in kept})
    by_name: dict[str, dict[Any, Value]] = {}
    for x, name, value in kept:
        by_name.setdefault(name, {})[x] = value
    return places, [Series(name, [values.get(x, missing) for x in places]) for name, values in sorted(by_name.items())]


def _plain(value: Value) -> int | float | str | None:
    if isinstance(value, Decimal):
        return format(value, "f")
    return round(value, 3) if isinstance(value, float) else value
