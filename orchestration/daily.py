"""`python -m orchestration run`: the daily job as one run in this process, seen at the terminal and in the UI.

Belongs here: executing, and collecting what it did. Does not belong here: how that is shown (``terminal``).
"""

import datetime as dt
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from connectors import PROVIDERS
from ledgerlake.errors import UsageError
from ledgerlake.ingest import ConnectionResult, Counts, Event, SyncReport
from ledgerlake.integrity import Report
from ledgerlake.lake import BuildReport, Lake, Progress
from ledgerlake.local import servers
from ledgerlake.settings import Settings, load
from ledgerlake.store import Store, require_current
from orchestration import instance
from orchestration.engine import Engine, Watcher
from orchestration.terminal import Terminal

if TYPE_CHECKING:
    import dagster as dg

_FINE = {"done", "skipped", "paused", "needs_reauth", "gone"}
"""Outcomes that are no failure of the run: what is left of them is the customer's or was asked for, and is shown."""


@dataclass(frozen=True)
class Attention:
    """A connection that somebody has to look at."""

    connection_id: str
    customer_id: str
    provider: str
    outcome: str
    error: str | None


@dataclass(frozen=True)
class Summary:
    """What a daily pass did."""

    run_id: str
    seconds: float
    connections: Mapping[str, int]
    attention: tuple[Attention, ...]
    requests: int
    bytes: int
    records: Mapping[str, int]
    built: Mapping[str, Any] | None
    """build id, buckets, models and tests; None when nothing had changed."""
    snapshot: int | None
    tables: Mapping[str, int]
    findings: Mapping[str, int] | None
    files: str
    errors: tuple[str, ...]
    ui: str = "ledgerlake up"

    @property
    def failed(self) -> bool:
        return bool(self.errors) or any(self.connections.get(name) for name in self.connections.keys() - _FINE)

    def json(self) -> dict[str, Any]:
        return {"outcome": "failed" if self.failed else "done", **asdict(self)}


@dataclass
class _Seen(Watcher):
    """Keeps the reports, and shows the way there."""

    terminal: Terminal
    syncs: list[SyncReport] = field(default_factory=list)
    builds: list[BuildReport] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)

    def syncing(self, event: Event) -> None:
        self.terminal.syncing(event)

    def synced(self, report: SyncReport) -> None:
        self.syncs.append(report)
        self.terminal.synced(report)

    def building(self, progress: Progress) -> None:
        self.terminal.building(progress)

    def built(self, report: BuildReport) -> None:
        self.builds.append(report)
        self.terminal.built(report)

    def verified(self, report: Report) -> None:
        self.reports.append(report)
        self.terminal.verified(report)


def run(*, today: dt.date | None, providers: Sequence[str], terminal: Terminal) -> Summary:
    """Sync, build and verify, as a run of the job `daily`.

    Raises:
        LedgerlakeError: nothing was begun: wrong settings, no server, a store that does not fit the code.
    """
    for name in providers:
        if name not in PROVIDERS:
            raise UsageError(f"There is no provider {name}; known: {', '.join(sorted(PROVIDERS))}.")
    started = time.monotonic()
    settings = load()
    terminal.says("servers")
    with servers(settings) as where:
        require_current(where.postgres_url, buckets=settings.buckets)
        settings = settings.model_copy(update={"buckets": Store(where.postgres_url).buckets()})
        environment = instance.prepare(settings, where.postgres_url)
        terminal.says("definitions")
        seen = _Seen(terminal)
        with instance.at_terminal(environment) as dagster:
            result = _execute(dagster, Engine(settings, seen), settings, run_config(today, providers))
            errors = _errors(result)
        terminal.says("summary")
        lake = Lake(where, settings)
        return _summary(result.run_id, seen, errors, lake, where.s3.url, time.monotonic() - started)


def run_config(today: dt.date | None, providers: Sequence[str]) -> dict[str, Any]:
    """The run's config: quiet, since the terminal shows what happens, and the event log has it all.

    A provider that was not asked for gets no connection, which is not the same as all of them.
    """
    syncs = {
        f"sync_{provider}": {
            "config": {
                **({"today": today.isoformat()} if today else {}),
                **({"connections": []} if providers and provider not in providers else {}),
            }
        }
        for provider in PROVIDERS
    }
    verification = {"verify": {"config": {"today": today.isoformat()}}} if today else {}
    return {
        "ops": {**syncs, "build": {"config": {"changed": True}}, **verification},
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
    }


def _execute(
    dagster: "dg.DagsterInstance", engine: Engine, settings: Settings, config: Mapping[str, Any]
) -> "dg.ExecuteInProcessResult":
    from orchestration import runs
    from orchestration.definitions import build_definitions

    definitions = build_definitions(settings, engine)
    runs.end_dead_runs(dagster)
    job = definitions.resolve_job_def("daily")
    return job.execute_in_process(
        run_config=config,
        instance=dagster,
        raise_on_error=False,
        # A person ran it and sees its end: nobody is to run it again. The UI finds the job by the second tag.
        tags={
            "dagster/max_retries": "0",
            ".dagster/repository": "__repository__@ledgerlake",
            **runs.partition_range(0, settings.buckets - 1),
            **runs.process_tags(),
        },
    )


def _errors(result: "dg.ExecuteInProcessResult") -> tuple[str, ...]:
    """The sentence of each step that failed."""
    found = []
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            said = data.user_failure_data.description if data.user_failure_data else None
            found.append(said or (data.error.message.strip() if data.error else f"the step {event.step_key} failed"))
    if not result.success and not found:
        found.append(f"The run {result.run_id} failed; see it in the UI.")
    return tuple(found)


def _summary(run_id: str, seen: _Seen, errors: tuple[str, ...], lake: Lake, files: str, seconds: float) -> Summary:
    results = [one for report in seen.syncs for one in report.connections]
    counts = sum((report.counts for report in seen.syncs), Counts())
    published = [one for one in seen.builds if one.snapshot is not None]
    snapshots = lake.snapshots()
    return Summary(
        run_id=run_id,
        seconds=round(seconds, 2),
        connections=dict(sorted(Counter(one.outcome for one in results).items())),
        attention=tuple(_attention(one) for one in results if one.outcome != "done"),
        requests=sum(report.requests for report in seen.syncs),
        bytes=sum(report.bytes for report in seen.syncs),
        records=asdict(counts),
        built={
            "build_id": published[0].build_id,
            "buckets": list(published[0].buckets),
            "models": len(published[0].models),
            "tests": len(published[0].tests),
        }
        if published
        else None,
        snapshot=snapshots[0].id if snapshots else None,
        tables=_rows(lake) if snapshots else {},
        findings=dict(sorted(Counter(one.kind for one in seen.reports[0].findings).items())) if seen.reports else None,
        files=files,
        errors=errors,
    )


def _attention(one: ConnectionResult) -> Attention:
    return Attention(one.connection_id, one.customer_id, one.provider, one.outcome, one.error)


def _rows(lake: Lake) -> dict[str, int]:
    """Rows of each published mart, over all buckets: one question for the names, one for all counts."""
    listed = "select table_name from information_schema.tables where table_schema = 'main' order by 1"
    tables = [str(row[0]) for row in lake.query(listed).rows]
    counts = [f"select '{name}', count(*) from main.\"{name}\"" for name in tables]  # noqa: S608 - published tables
    return {str(name): int(count) for name, count in lake.query(" union all ".join(counts)).rows} if tables else {}
