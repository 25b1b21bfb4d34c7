"""API to PostgreSQL: Ledgerlake's whole sync of one connection, beside dlt and beside bare COPY and merge.

All three store the same bytes in the same PostgreSQL. Ours and dlt read the same pages of the same server; the bare
one has them in memory.
"""

from collections import defaultdict

from benchmarks import copying, rival
from benchmarks.bank import COUNT, bank, pages
from benchmarks.house import House, Size
from benchmarks.result import Comparison, Goal, say

_MANY = 5_000


def measure(house: House, size: Size, *, peer: bool = True) -> list[Comparison]:
    """Alternating, one after the other, as many runs as asked for; without `peer` dlt is left out."""
    if peer:
        say("ingest", "dlt's environment is made from its lock")
        rival.prepare()
    rates: dict[str, list[float]] = defaultdict(list)
    version = ""

    def note(name: str, seconds: float) -> None:
        rates[name].append(size.rows / seconds)
        say("ingest", f"{name}: {rates[name][-1]:,.0f} rows/s")

    lines = copying.lines(pages(size.rows))
    with bank(size.rows) as url:
        for _ in range(size.runs):
            with house.place(url) as place:
                place.connect()
                first = place.sync()
                if first.streams["teller_transactions"].new != size.rows:
                    raise RuntimeError(f"expected {size.rows} new transactions, found {first.streams}")
                note("first sync", first.seconds)
                again = place.sync(full=True)
                if again.streams["teller_transactions"].unchanged != size.rows:
                    raise RuntimeError(f"expected {size.rows} unchanged transactions, found {again.streams}")
                note("sync --full", again.seconds)
            formats: tuple[rival.FileFormat, ...] = ("default", "csv") if peer else ()
            for file_format in formats:
                with house.place(store=False) as place:
                    run = rival.load(place, url, size.rows, file_format)
                version = run.version
                note(f"dlt {file_format}", run.seconds)
            for at_once in (COUNT, _MANY):
                with house.place(store=False) as place:
                    bare = copying.copy(place.where.postgres_url, lines, at_once)
                note(f"bare {at_once}", bare.new)
                note(f"bare {at_once} unchanged", bare.unchanged)

    def beside(what: str, ours: str, against: str, theirs: str, goal: Goal | None = None) -> Comparison:
        return Comparison("ingest", what, "rows/s", rates[ours], against, rates[theirs], goal)

    found = []
    if peer:
        found = [
            beside("first sync", "first sync", f"dlt {version}, rest_api and merge", "dlt default", Goal("≥", 6)),
            beside("first sync", "first sync", f"dlt {version}, the same, loading CSV by COPY", "dlt csv"),
        ]
    return [
        *found,
        beside("first sync", "first sync", f"bare COPY and merge, {COUNT} rows at once", f"bare {COUNT}"),
        beside("first sync", "first sync", f"bare COPY and merge, {_MANY} rows at once", f"bare {_MANY}"),
        beside(
            "sync --full, all unchanged", "sync --full", f"the same, {COUNT} rows at once", f"bare {COUNT} unchanged"
        ),
    ]
