"""What is let go, and what stays however old it is."""

import datetime as dt

import dagster as dg

from orchestration.retention import prune_runs

BUCKETS = dg.StaticPartitionsDefinition(["0", "1"])


@dg.asset(partitions_def=BUCKETS)
def table() -> None:
    """A partitioned table."""


@dg.op
def nothing() -> None:
    """Makes no asset."""


@dg.job
def idle() -> None:
    nothing()


def test_old_runs_go_but_for_those_that_last_made_each_partition(instance: dg.DagsterInstance) -> None:
    made = {
        (key, number): dg.materialize([table], instance=instance, partition_key=key).run_id
        for number, key in enumerate(["0", "1", "0"])
    }
    other = idle.execute_in_process(instance=instance).run_id
    running = instance.create_run_for_job(idle, status=dg.DagsterRunStatus.STARTED).run_id
    later = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)

    assert prune_runs(instance, list(table.specs), before=later - dt.timedelta(days=1)) == 0
    assert prune_runs(instance, list(table.specs), before=later) == 2
    left = {run.run_id for run in instance.get_runs()}
    assert left == {made["1", 1], made["0", 2], running}
    assert other not in left
    assert instance.get_materialized_partitions(dg.AssetKey("table")) == {"0", "1"}
