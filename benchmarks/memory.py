"""Peak resident memory of a sync, a build and a verification, at some rows and at ten times as many: it must not grow with them.

Each is measured in a process of its own, by the kernel's high-water mark of its memory.
"""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.bank import bank
from benchmarks.house import TODAY, House, Place, Size
from benchmarks.result import Comparison, Goal, say

_LIMIT = "512MB"
_TIMES = 10
_MODULE = "benchmarks.memory"


def measure(house: House, size: Size) -> list[Comparison]:
    """A quarter of the rows, and ten times that."""
    few = max(size.rows // 4, 1)
    peaks: dict[tuple[str, int], list[float]] = {}
    for _ in range(size.runs):
        for rows in (few, few * _TIMES):
            with bank(rows) as url, house.place(url, memory_limit=_LIMIT) as place:
                place.connect()
                for what in ("sync", "build", "verify"):
                    peak = _peak(place, what, rows)
                    peaks.setdefault((what, rows), []).append(peak)
                    say("memory", f"{what} of {rows:,} rows: {peak:.0f} MB")
    told = {
        "sync": "sync",
        "build": f"build, LEDGERLAKE_MEMORY_LIMIT={_LIMIT}",
        "verify": f"verify, LEDGERLAKE_MEMORY_LIMIT={_LIMIT}",
    }
    return [
        Comparison(
            "memory",
            f"{told[what]}, {few * _TIMES:,} rows",
            "MB",
            peaks[what, few * _TIMES],
            f"the same, {few:,} rows",
            peaks[what, few],
            Goal("≤", 1.25),
        )
        for what in told
    ]


def _peak(place: Place, what: str, rows: int) -> float:
    """Megabytes that the process held at most."""
    ended = subprocess.run(
        [sys.executable, "-m", _MODULE, what],
        cwd=place.settings.home,
        env=place.environment(),
        stdout=subprocess.PIPE,
        check=True,
    )
    told = json.loads(ended.stdout)
    if told["rows"] != rows:
        raise RuntimeError(f"expected a {what} of {rows} rows, found {told['rows']}")
    return float(told["peak"])


def _high_water_mark() -> float:
    """Of this program alone: what `getrusage` tells counts the parent's memory from before the exec, too."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1000
    raise RuntimeError("expected VmHWM in /proc/self/status, found none: this benchmark needs Linux")


def _sync() -> int:
    import asyncio

    from ledgerlake.ingest import sync
    from ledgerlake.local import servers
    from ledgerlake.settings import load
    from ledgerlake.store import Store

    settings = load()
    with servers(settings) as where:
        report = asyncio.run(sync(Store(where.postgres_url), settings, today=TODAY))
    return report.streams["teller_transactions"].new


def _build() -> int:
    from ledgerlake.lake import Lake
    from ledgerlake.local import servers
    from ledgerlake.settings import load

    settings = load()
    with servers(settings) as where:
        report = Lake(where, settings).build()
    return {model.name: model.rows for model in report.models}["fct_transactions"]


def _verify() -> int:
    """Without the census: this bank has no second way to tell what it holds."""
    from ledgerlake.integrity import verify
    from ledgerlake.local import servers
    from ledgerlake.settings import load

    settings = load()
    with servers(settings) as where:
        report = verify(where, settings, today=TODAY, census=False)
    for one in report.findings:
        raise RuntimeError(f"expected a verification without findings, found {one.message}")
    return sum(one.matched for one in report.classes if (one.stream, one.step) == ("transactions", "marts"))


if __name__ == "__main__":
    counted = {"sync": _sync, "build": _build, "verify": _verify}[sys.argv[1]]()
    json.dump({"rows": counted, "peak": _high_water_mark()}, sys.stdout)
