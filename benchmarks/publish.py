"""Publication: from the end of the last test to the snapshot, for all marts of all buckets.

In that time the build's files are read back and compared with what was published, and one DuckLake transaction takes
them in. The limit it is beside is the build that it ends.
"""

import time

from benchmarks.bank import COUNT, bank
from benchmarks.house import House, Size
from benchmarks.result import Comparison, say
from ledgerlake.lake import Lake, Progress

_CUSTOMERS = 24


class _LastEvent:
    """When the build last told of a model or a test."""

    def __init__(self) -> None:
        self.at = time.perf_counter()

    def __call__(self, event: Progress) -> None:
        self.at = time.perf_counter()


def measure(house: House, size: Size) -> list[Comparison]:
    """The whole lake, small in rows, published again and again."""
    with bank(COUNT) as url, house.place(url) as place:
        for number in range(_CUSTOMERS):
            place.connect(f"customer-{number}")
        place.sync()
        say("publish", f"{_CUSTOMERS} customers are loaded")
        lake, buckets = Lake(place.where, place.settings), list(range(place.store.buckets()))
        ours, whole, files = [], [], 0
        for _ in range(size.runs):
            last = _LastEvent()
            report = lake.build(buckets, progress=last)
            ours.append(time.perf_counter() - last.at)
            whole.append(report.seconds)
            files = sum(len(model.files) for model in report.models)
            say("publish", f"{files} files in {ours[-1]:.2f} s of {whole[-1]:.2f} s")
    what = f"audit and commit of {len(report.models)} models, {len(buckets)} buckets, {files} files"
    return [Comparison("publish", what, "s", ours, "the whole build", whole)]
