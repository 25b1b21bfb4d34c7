"""What a command shows: tables for people, one JSON object for programs, progress on stderr."""

import csv
import datetime as dt
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from ledgerlake.ingest import Event, SyncReport

if TYPE_CHECKING:
    from ledgerlake.integrity import Report, StoredFinding
    from ledgerlake.lake import BuildReport
    from ledgerlake.lake import Progress as BuildProgress

# In a file or a pipe a table may be as wide as it likes: whoever reads it there does not want folded cells.
_WIDE = 400
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _WIDE)
err = Console(stderr=True, highlight=False, soft_wrap=True)

_GOOD = {"done", "active", "published", "open", "match"}
_IDLE = {"skipped", "paused", "busy"}
_SAMPLE = 5


def plain(value: object) -> Any:
    """A value as JSON has it: decimals and dates as text, exactly."""
    match value:
        case Decimal():
            return format(value, "f")
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case bytes():
            return value.hex()
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case None | bool() | int() | float() | str():
            return value
    return str(value)


def as_json(value: object) -> None:
    sys.stdout.write(json.dumps(plain(value), ensure_ascii=False) + "\n")


def as_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([plain(value) if value is not None else "" for value in row] for row in rows)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """A table; numbers to the right, states in colour."""
    rows = [list(row) for row in rows]
    shown = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        numeric = any(isinstance(row[index], int | float | Decimal) for row in rows)
        shown.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(_cell(value) for value in row))
    out.print(shown)


def _cell(value: object) -> Text:
    text = (
        ""
        if value is None
        else f"{value:,}"
        if isinstance(value, int) and not isinstance(value, bool)
        else str(plain(value))
    )
    style = "green" if text in _GOOD else "yellow" if text in _IDLE else ""
    return Text(text, style=style)


def reasons(told: Iterable[tuple[str, str]]) -> None:
    """Whose trouble, and what it is: a sentence does not fit into a table."""
    for name, sentence in told:
        err.print(Text(f"{name}: {sentence}", style="yellow"))


def ago(when: dt.datetime | None) -> str:
    """How long ago, in one unit."""
    if when is None:
        return "never"
    seconds = (dt.datetime.now(dt.UTC) - when).total_seconds()
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {name} ago"
    return f"{max(seconds, 0):.0f} s ago"


def size(count: int) -> str:
    """Bytes, in the unit that people read."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


class SyncBar:
    """A sync's progress on a terminal's stderr; nothing where stderr is a file."""

    def __init__(self) -> None:
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[records]:,} records"),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            console=err,
            disable=not err.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("syncing connections", total=None, records=0, rate="")
        self._started = dt.datetime.now(dt.UTC)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, event: Event) -> None:
        seconds = (dt.datetime.now(dt.UTC) - self._started).total_seconds()
        rate = f"{event.records / seconds:,.0f}/s" if seconds > 0.5 else ""
        self._bar.update(self._task, completed=event.done, total=event.total, records=event.records, rate=rate)


def sync_object(report: SyncReport) -> dict[str, object]:
    """A sync's report as the JSON that `ledgerlake sync --json` prints."""
    return {
        "connections": [
            {
                "connection_id": one.connection_id,
                "customer_id": one.customer_id,
                "provider": one.provider,
                "outcome": one.outcome,
                "error": one.error,
                "requests": one.requests,
                "retries": one.retries,
                "bytes": one.bytes,
                "seconds": round(one.seconds, 3),
                **_counts(one.counts),
                "streams": {name: _counts(counts) for name, counts in one.streams.items()},
            }
            for one in report.connections
        ],
        "requests": report.requests,
        "bytes": report.bytes,
        "seconds": round(report.seconds, 3),
        **_counts(report.counts),
    }


def _counts(counts: Any) -> dict[str, int]:
    return {name: getattr(counts, name) for name in ("new", "changed", "unchanged", "removed", "quarantined")}


def sync_table(report: SyncReport) -> None:
    names = ("new", "changed", "unchanged", "removed", "quarantined")
    rows = [
        [one.customer_id, one.provider, one.connection_id, one.outcome, one.requests]
        + [getattr(one.counts, name) for name in names]
        for one in report.connections
    ]
    if len(rows) > 50:
        troubled = [row for row in rows if row[3] != "done"]
        out.print(f"{len(rows) - len(troubled)} connections done; the others:")
        rows = troubled
    if rows:
        table(["customer", "provider", "connection", "outcome", "requests", *names], rows)
    reasons((one.connection_id, one.error) for one in report.failed if one.error)
    total = report.counts
    out.print(
        f"{len(report.connections)} connections, {report.requests:,} requests, {size(report.bytes)} in {report.seconds:.1f} s: "
        f"{total.new:,} new, {total.changed:,} changed, {total.unchanged:,} unchanged, {total.removed:,} removed, "
        f"{total.quarantined:,} quarantined"
    )


class BuildBar:
    """A build's progress on a terminal's stderr: the model at work, and how many are done."""

    def __init__(self) -> None:
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TextColumn("{task.completed} models and tests done"),
            TimeElapsedColumn(),
            console=err,
            disable=not err.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("reading the models", total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, event: "BuildProgress") -> None:
        ended = event.seconds is not None
        self._bar.update(self._task, description=f"{event.kind} {event.name}", advance=1 if ended else 0)


def build_object(report: "BuildReport") -> dict[str, object]:
    """A build's report as the JSON that `ledgerlake build --json` prints."""
    return {
        "build_id": report.build_id,
        "snapshot": report.snapshot,
        "buckets": list(report.buckets),
        "models": {one.name: {"schema": one.schema, "rows": one.rows, "seconds": one.seconds} for one in report.models},
        "tests": {one.name: {"status": one.status, "rows": one.rows} for one in report.tests},
        "seconds": round(report.seconds, 3),
    }


def build_table(report: "BuildReport") -> None:
    if report.build_id is None:
        out.print("Nothing changed since the last build; nothing was published.")
        return
    table(
        ["schema", "model", "rows", "seconds"],
        [[one.schema, one.name, one.rows, f"{one.seconds:.2f}"] for one in report.models],
    )
    warned = [one for one in report.tests if one.status not in {"passed", "skipped"}]
    for test in warned:
        err.print(Text(f"{test.name}: {test.status}, {test.rows} rows", style="yellow"))
    buckets = ", ".join(str(bucket) for bucket in report.buckets)
    out.print(
        f"Build {report.build_id} of bucket{'s' if len(report.buckets) != 1 else ''} {buckets}: {len(report.models)} models, "
        f"{len(report.tests)} tests, published as snapshot {report.snapshot} in {report.seconds:.1f} s."
    )


def verify_object(report: "Report", kept: Mapping[str, "StoredFinding"]) -> dict[str, object]:
    """A verification's report as the JSON that `ledgerlake verify --json` prints; `kept` is by fingerprint."""
    return {
        "verification_id": report.verification_id,
        "snapshot": report.snapshot,
        "compared": report.compared,
        "connections": report.connections,
        "findings": [
            {
                "finding_id": stored.finding_id if stored else None,
                "severity": stored.severity if stored else None,
                "state": stored.state if stored else None,
                "kind": one.kind,
                "step": one.step,
                "connection_id": one.connection_id,
                "stream": one.stream,
                "records": one.records,
                "model": one.model,
                "field": one.field,
                "sample": [each.record_id for each in one.sample[:_SAMPLE]],
                "message": one.message,
            }
            for one in report.findings
            for stored in [kept.get(one.fingerprint)]
        ],
        "seconds": round(report.seconds, 3),
    }


def verify_table(report: "Report", kept: Mapping[str, "StoredFinding"]) -> None:
    if report.findings:
        told = [(kept.get(one.fingerprint), one) for one in report.findings]
        table(
            ["finding", "severity", "kind", "step", "connection", "stream", "records", "what"],
            [
                (
                    *((str(stored.finding_id), stored.severity) if stored else (None, None)),
                    *(one.kind, one.model or one.step, one.connection_id, one.stream, one.records, one.message),
                )
                for stored, one in told
            ],
        )
    found = (
        f"{len(report.findings)} findings are open; `ledgerlake findings show` tells more of one"
        if report.findings
        else "no finding"
    )
    out.print(
        f"{report.compared:,} records of {report.connections} connections compared, from receipt to published row, "
        f"in {report.seconds:.1f} s: {found}."
    )
