"""What a daily pass shows: its progress on stderr while it runs, its summary on stdout at the end.

Does not belong here: doing anything (``daily``).
"""

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from ledgerlake.ingest import Event, SyncReport
from ledgerlake.integrity import Report
from ledgerlake.lake import BuildReport, Progress

if TYPE_CHECKING:
    from orchestration.daily import Summary

_MOST = 20
_WIDE = 400
"""In a file or a pipe a line may be as wide as it likes."""


class Terminal:
    """Bars on stderr where it is a terminal, a line at the end of each step where it is not."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            TextColumn("{task.fields[said]}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self._begun: float | None = None
        self._models: dict[str, int] = {}
        self._tests = 0

    @contextlib.contextmanager
    def showing(self) -> Iterator[None]:
        with self._bars:
            yield

    def says(self, what: str) -> None:
        """A step without a count began."""
        self._next(what)

    def syncing(self, event: Event) -> None:
        if self._begun is None:
            self._begun = time.monotonic()
            self._next("sync", event.total)
        rate = event.records / max(time.monotonic() - self._begun, 0.001)
        said = f"{event.done} of {event.total} connections, {event.records:,} records, {rate:,.0f} rows/s"
        self._update(event.done, said)

    def synced(self, report: SyncReport) -> None:
        done = sum(one.outcome == "done" for one in report.connections)
        rate = report.counts.records / max(report.seconds, 0.001)
        provider = ", ".join(sorted({one.provider for one in report.connections})) or "nothing"
        self._line(
            f"sync    {provider}: {done} of {len(report.connections)} connections done, {report.counts.records:,} records, "
            f"{rate:,.0f} rows/s, {report.seconds:.1f} s"
        )
        self._begun = None
        self._next("build")

    def building(self, progress: Progress) -> None:
        if progress.status == "started":
            self._update(None, progress.name)
            return
        if progress.kind == "model" and progress.rows is not None:
            self._models[progress.name] = progress.rows
        if progress.kind == "test":
            self._tests += 1
        if progress.status == "failed":
            self._line(f"        {progress.kind} {progress.name} failed", style="red")
        said = f"{len(self._models)} models, {sum(self._models.values()):,} rows, {self._tests} tests: {progress.name}"
        self._update(None, said)

    def built(self, report: BuildReport) -> None:
        if report.snapshot is None:
            self._line("build   skipped: nothing changed, every bucket is published as it is")
        else:
            rows = sum(model.rows for model in report.models)
            self._line(
                f"build   {len(report.models)} models, {rows:,} rows, {len(report.tests)} tests, "
                f"{len(report.buckets)} buckets: snapshot {report.snapshot}, {report.seconds:.1f} s"
            )
        self._next("verify")

    def verified(self, report: Report) -> None:
        self._line(
            f"verify  {report.compared:,} records compared, {len(report.findings)} findings, {report.seconds:.1f} s"
        )

    def _next(self, what: str, total: int | None = None) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._task = self._bars.add_task(what, total=total, said="")

    def _update(self, done: int | None, said: str) -> None:
        if self._task is not None:
            self._bars.update(self._task, completed=done, said=said)

    def _line(self, text: str, style: str | None = None) -> None:
        self._console.print(text, style=style, markup=False, soft_wrap=True)


def print_summary(summary: "Summary", *, as_json: bool) -> None:
    """The summary on stdout, for people or as one JSON object."""
    if as_json:
        sys.stdout.write(json.dumps(summary.json()) + "\n")
        return
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for name, value in _lines(summary):
        table.add_row(name, value)
    console = Console(highlight=False, markup=False, soft_wrap=True, width=None if sys.stdout.isatty() else _WIDE)
    console.print(table)


def _lines(summary: "Summary") -> Iterator[tuple[str, str]]:
    outcome = "failed" if summary.failed else "done"
    yield "run", f"{outcome} in {summary.seconds:.1f} s ({summary.run_id})"
    total = sum(summary.connections.values())
    by_outcome = ", ".join(f"{count} {name}" for name, count in summary.connections.items())
    yield "connections", f"{total}: {by_outcome}" if total else "none yet: `ledgerlake connect` adds one"
    for one in summary.attention[:_MOST]:
        yield "", f"{one.connection_id} of {one.customer_id}: {one.outcome}, {one.error}"
    if len(summary.attention) > _MOST:
        yield "", f"and {len(summary.attention) - _MOST} more: `ledgerlake connections` lists them"
    yield "requests", f"{summary.requests:,} ({summary.bytes / 1e6:,.1f} MB)"
    yield "records", ", ".join(f"{count:,} {name}" for name, count in summary.records.items())
    for name, rows in summary.tables.items():
        yield name, f"{rows:,} rows"
    if summary.built is None:
        yield "snapshot", f"{summary.snapshot}, as before: nothing changed" if summary.snapshot is not None else "none"
    else:
        yield "snapshot", f"{summary.snapshot}, of buckets {', '.join(map(str, summary.built['buckets']))}"
    if summary.findings is not None:
        yield "findings", ", ".join(f"{count} {kind}" for kind, count in summary.findings.items()) or "none"
    yield "files", summary.files
    yield "UI", f"`{summary.ui}`"
