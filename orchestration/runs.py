"""What every run here has in common: its tags, its failures, and how it is known whether one is under way.

Belongs here: tags and pools by name, errors turned into Dagster's, runs whose process died. Does not belong here:
what a run does (``streams``, ``models``).
"""

import contextlib
import datetime as dt
import socket
from collections.abc import Iterator, Mapping

import dagster as dg
import psutil

from connectors import ConnectorError, Retryable
from ledgerlake.errors import LedgerlakeError, ServerError

SYNCS = "ledgerlake/syncs"
"""On runs that fetch; its value is `all`, `new`, `events` or `asked`."""

BUILDS = "ledgerlake/builds"
"""On runs that build; its value is `dirty` or `chosen`."""

REPAIRS = "ledgerlake/repairs"
"""On runs that repair findings."""

ORDERS = "ledgerlake/orders"
"""On runs that carry out orders; its value is their numbers."""

UNREAD = "ledgerlake/unread"
"""On runs in which no connection of a provider could be read; its value says why."""

BUILD_POOL = "build"
"""The pool of the one step that builds: the queue starts no second run of it while one is under way."""

OWNERS = ("team:data-platform",)

Context = dg.AssetExecutionContext | dg.OpExecutionContext
"""A step's."""

_PROCESS = "ledgerlake/process"
_PROCESS_OF = "ledgerlake/process_of"
"""Which run the process is of: Dagster gives a retry the tags of the run before it, whose process is gone."""

_MAX_RETRIES = "dagster/max_retries"
_WILL_RETRY = "dagster/will_retry"
_RETRIED_WITHIN = dt.timedelta(minutes=5)
"""The daemon makes the next run of one that failed within seconds; one that is not there by then will not come."""

_OPEN = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


def priority(value: int) -> Mapping[str, str]:
    """The tag by which the queue orders runs, the highest first."""
    return {"dagster/priority": str(value)}


def partition_range(first: int, last: int) -> Mapping[str, str]:
    """The tags of a run over the partitions from `first` to `last`, as a backfill of one run has them."""
    return {"dagster/asset_partition_range_start": str(first), "dagster/asset_partition_range_end": str(last)}


def process_tags() -> Mapping[str, str]:
    """Which process a run lives in, so that a run whose process was killed can be told from one under way."""
    me = psutil.Process()
    return {_PROCESS: f"{socket.gethostname()}:{me.pid}:{me.create_time():.2f}"}


@contextlib.contextmanager
def failures(context: Context) -> Iterator[None]:
    """Turn Ledgerlake's errors into one failed step with its sentence; only what may pass by itself is retried."""
    context.instance.add_run_tags(context.run.run_id, {**process_tags(), _PROCESS_OF: context.run.run_id})
    try:
        yield
    except (LedgerlakeError, ConnectorError) as error:
        raise failure(context, str(error), transient=isinstance(error, ServerError | Retryable)) from error


def failure(
    context: Context,
    sentence: str,
    *,
    transient: bool,
    metadata: Mapping[str, dg.MetadataValue] | None = None,
) -> dg.Failure:
    """The error that ends a step. A permanent one is tried again by nobody: not the step, not the run."""
    if not transient:
        context.instance.add_run_tags(context.run.run_id, {_MAX_RETRIES: "0"})
    return dg.Failure(sentence, metadata=metadata, allow_retries=transient)


def under_way(
    instance: dg.DagsterInstance, tag: str, *, younger_than: dt.timedelta | None = None, value: str | None = None
) -> bool:
    """Whether a run with that tag waits or works. Runs whose process is gone are ended on the way."""
    records = instance.get_run_records(dg.RunsFilter(statuses=list(_OPEN)))
    now = dt.datetime.now(dt.UTC)
    found = False
    for record in records:
        run = record.dagster_run
        if tag not in run.tags or (value is not None and run.tags[tag] != value):
            continue
        if _is_dead(run):
            instance.report_run_failed(run, "The process of this run was killed; what it had committed stays.")
        elif younger_than is None or now - record.create_timestamp < younger_than:
            found = True
    return found


def is_open(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether it waits or works, or is about to be tried again. One whose process is gone is ended on the way."""
    if run.status in _OPEN:
        if _is_dead(run):
            instance.report_run_failed(run, "The process of this run was killed; what it had committed stays.")
        return True
    record = instance.get_run_record_by_id(run.run_id)
    ended = dt.datetime.fromtimestamp(record.end_time, dt.UTC) if record and record.end_time else None
    will_retry = run.status == dg.DagsterRunStatus.FAILURE and run.tags.get(_WILL_RETRY) == "true"
    return will_retry and ended is not None and dt.datetime.now(dt.UTC) - ended < _RETRIED_WITHIN


def sentence_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """Why it failed: what the step said that failed first, if that was said for people."""
    found = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records
    for record in found:
        event = record.event_log_entry.dagster_event
        said = event.step_failure_data.user_failure_data if event else None
        if said is not None and said.description:
            return said.description
    how = "was cancelled" if run.status == dg.DagsterRunStatus.CANCELED else "failed"
    return f"its run {run.run_id} {how}; Dagster's UI shows why"


def end_dead_runs(instance: dg.DagsterInstance) -> None:
    """End the runs that a kill left open: the queue would wait for them for ever."""
    for record in instance.get_run_records(dg.RunsFilter(statuses=list(_OPEN))):
        if _is_dead(record.dagster_run):
            instance.report_run_failed(
                record.dagster_run, "The process of this run was killed; what it had committed stays."
            )


def _is_dead(run: dg.DagsterRun) -> bool:
    if run.tags.get(_PROCESS_OF, run.run_id) != run.run_id:
        return False
    host, _, rest = run.tags.get(_PROCESS, "").partition(":")
    if host != socket.gethostname():
        return False
    pid, _, created = rest.partition(":")
    try:
        return abs(psutil.Process(int(pid)).create_time() - float(created)) > 0.05
    except psutil.NoSuchProcess:
        return True
