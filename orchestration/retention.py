"""Letting old things go: runs with their events that nobody looks at any more, snapshots and files of the lake.

The newest materialization of every asset, and of every partition, stays whatever its age: the UI would otherwise
take a bucket that has not changed for a month for one that was never built.
"""

import datetime as dt
from collections.abc import Iterator, Sequence

import dagster as dg

from ledgerlake.webhooks import prune
from orchestration import runs
from orchestration.engine import Engine

_FINISHED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
_AT_ONCE = 500


def build_retention_job(specs: Sequence[dg.AssetSpec], buckets: int) -> dg.JobDefinition:
    """The job that lets go of what is older than LEDGERLAKE_EVENT_DAYS and LEDGERLAKE_SNAPSHOT_DAYS."""

    @dg.op(
        description="Deletes finished runs and their events once they are old, but for the newest of each asset, and old webhook events."
    )
    def prune_events(context: dg.OpExecutionContext, engine: dg.ResourceParam[Engine]) -> None:
        with runs.failures(context), engine.open(buckets=buckets) as opened:
            runs.end_dead_runs(context.instance)
            days = dt.timedelta(days=opened.settings.event_days)
            before = dt.datetime.now(dt.UTC) - days
            deleted = prune_runs(context.instance, specs, before=before)
            webhooks = prune(opened.store, before=before)
        context.log.info(
            f"{deleted} runs older than {days.days} days were deleted with their events, and {webhooks} webhook events."
        )
        context.add_output_metadata({"runs_deleted": deleted, "webhook_events_deleted": webhooks})

    @dg.op(
        ins={"after": dg.In(dg.Nothing)},
        description="Lets go of the lake's old snapshots, and of files that nothing refers to any more.",
    )
    def clean_lake(context: dg.OpExecutionContext, engine: dg.ResourceParam[Engine]) -> None:
        with runs.failures(context), engine.open(buckets=buckets) as opened:
            cleaned = opened.lake.clean()
        context.log.info(f"{cleaned.snapshots} snapshots and {cleaned.files} files were let go.")
        context.add_output_metadata({"snapshots_expired": cleaned.snapshots, "files_deleted": cleaned.files})

    @dg.job(
        name="retention",
        executor_def=dg.in_process_executor,
        description="Lets old runs, snapshots and files go.",
    )
    def retention() -> None:
        clean_lake(after=prune_events())

    return retention


def prune_runs(instance: dg.DagsterInstance, specs: Sequence[dg.AssetSpec], *, before: dt.datetime) -> int:
    """Delete finished runs that ended before `before`, but for those that last made an asset or a partition of it."""
    old = list(_finished(instance, before))
    kept = set(_newest(instance, specs)) if old else set()
    doomed = [run_id for run_id in old if run_id not in kept]
    for run_id in doomed:
        instance.delete_run(run_id)
    return len(doomed)


def _finished(instance: dg.DagsterInstance, before: dt.datetime) -> Iterator[str]:
    filters = dg.RunsFilter(statuses=list(_FINISHED), updated_before=before)
    cursor = None
    while records := instance.get_run_records(filters, limit=_AT_ONCE, cursor=cursor):
        for record in records:
            yield record.dagster_run.run_id
        cursor = records[-1].dagster_run.run_id


def _newest(instance: dg.DagsterInstance, specs: Sequence[dg.AssetSpec]) -> Iterator[str]:
    for spec in specs:
        partitions = [None] if spec.partitions_def is None else spec.partitions_def.get_partition_keys()
        for partition in partitions:
            wanted = dg.AssetRecordsFilter(spec.key, asset_partitions=None if partition is None else [partition])
            for record in instance.fetch_materializations(wanted, limit=1).records:
                yield record.run_id
