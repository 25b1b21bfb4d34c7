"""Sensors: what asks for a run by itself when the store changes, and what tells of a run that failed.

None of them gives a run key: Dagster remembers one for ever, so a state that comes back would be dropped without a
word. Whether to ask is decided by what is under way, and by how long ago the same was tried.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg
import msgspec

from connectors import PROVIDERS
from ledgerlake.errors import LedgerlakeError
from ledgerlake.ingest import switched_off
from ledgerlake.store import Store
from ledgerlake.webhooks import Wanted, mark_asked, settle, unknown
from ledgerlake.webhooks import due as due_for_events
from orchestration import runs
from orchestration.engine import Engine
from orchestration.jobs import NEW_FIRST, UnresolvedJob
from orchestration.orders import build_order_sensors

NEW_EVERY = 10
EVENTS_EVERY = 10
CHANGED_EVERY = 30

_LONGEST = dt.timedelta(hours=1)
_PATIENCE = dt.timedelta(minutes=10)


@dataclass(frozen=True)
class Due:
    """An active connection whose next sync need not wait for the daily one."""

    connection_id: str
    provider: str
    new: bool


def due(store: Store, now: dt.datetime) -> list[Due]:
    """Active connections that were never synced, or whose last sync was paused or failed for a reason that passes.

    After n failures in a row one is due 2^n minutes after the last, at most an hour: a connection that cannot be
    synced is not called every few seconds.
    """
    with store.connect() as connection:
        rows = connection.execute(
            """
            WITH last AS (
                SELECT DISTINCT ON (connection_id) connection_id, started_at, outcome
                FROM ledgerlake.syncs ORDER BY connection_id, sync_id DESC
            ),
            failures AS (
                SELECT connection_id, count(*) AS times
                FROM ledgerlake.syncs
                JOIN ledgerlake.connections USING (connection_id)
                WHERE outcome IS DISTINCT FROM 'done' AND started_at > coalesce(last_synced_at, '-infinity')
                GROUP BY connection_id
            )
            SELECT connection_id, provider, last_synced_at IS NULL
            FROM ledgerlake.connections
            LEFT JOIN last USING (connection_id)
            LEFT JOIN failures USING (connection_id)
            WHERE state = 'active'
              AND (last_synced_at IS NULL OR last.outcome IN ('partial', 'retry', 'failed', 'busy', 'paused'))
              AND (last.started_at IS NULL
                   OR last.started_at <= %(now)s - least(interval '1 minute' * 2 ^ least(coalesce(times, 0), 10), %(most)s))
            ORDER BY created_at, connection_id
            """,
            {"now": now, "most": _LONGEST},
        ).fetchall()
    return [Due(*row) for row in rows]


class Asked(msgspec.Struct, frozen=True):
    """The state of the store for which a build was asked for, and when: the sensor's cursor."""

    state: str
    at: dt.datetime

    @classmethod
    def of(cls, cursor: str | None) -> "Asked | None":
        try:
            return msgspec.json.decode(cursor or "", type=cls)
        except msgspec.DecodeError:
            return None


def build_sensors(jobs: dict[str, UnresolvedJob], buckets: int) -> list[dg.SensorDefinition]:
    """All sensors, running by default."""

    @dg.sensor(
        job=jobs["sync_connections"],
        minimum_interval_seconds=NEW_EVERY,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Syncs connections that were just added, many in one run, and those whose last sync failed for a while.",
    )
    def new_connections(
        context: dg.SensorEvaluationContext, engine: dg.ResourceParam[Engine]
    ) -> dg.RunRequest | dg.SkipReason:
        try:
            with engine.open(buckets=buckets) as opened:
                off = switched_off(opened.store, opened.settings)
                found = [one for one in due(opened.store, dt.datetime.now(dt.UTC)) if one.provider not in off]
        except LedgerlakeError as error:
            return dg.SkipReason(str(error))
        if not found:
            return dg.SkipReason("No connection is new.")
        if runs.under_way(context.instance, runs.SYNCS, value="new"):
            return dg.SkipReason(f"{len(found)} connections wait for the run that syncs the ones before them.")
        return dg.RunRequest(
            run_config={"ops": _sync_config(found)},
            tags={runs.SYNCS: "new", "ledgerlake/connections": str(len(found)), **runs.priority(NEW_FIRST)},
        )

    @dg.sensor(
        job=jobs["sync_connections"],
        minimum_interval_seconds=EVENTS_EVERY,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Syncs the connections that webhooks name, each once for all its events, and marks those handled.",
    )
    def webhook_events(
        context: dg.SensorEvaluationContext, engine: dg.ResourceParam[Engine]
    ) -> dg.RunRequest | dg.SkipReason:
        try:
            with engine.open(buckets=buckets) as opened:
                settle(opened.store)
                off = switched_off(opened.store, opened.settings)
                found = [
                    one for one in due_for_events(opened.store, dt.datetime.now(dt.UTC)) if one.provider not in off
                ]
                if found and runs.under_way(context.instance, runs.SYNCS, value="events"):
                    return dg.SkipReason(f"{len(found)} connections wait for the run of the events before theirs.")
                if found:
                    mark_asked(opened.store, found)
                stray = unknown(opened.store)
        except LedgerlakeError as error:
            return dg.SkipReason(str(error))
        if not found:
            return dg.SkipReason(
                "No event asks for a sync."
                + (f" {stray} name no connection of this store, and wait for it." if stray else "")
            )
        return dg.RunRequest(
            run_config={"ops": _sync_config(found)},
            tags={runs.SYNCS: "events", "ledgerlake/connections": str(len(found)), **runs.priority(NEW_FIRST)},
        )

    @dg.sensor(
        job=jobs["build_buckets"],
        minimum_interval_seconds=CHANGED_EVERY,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Builds exactly the buckets that changed, in one run.",
    )
    def changed_buckets(
        context: dg.SensorEvaluationContext, engine: dg.ResourceParam[Engine]
    ) -> dg.RunRequest | dg.SkipReason | dg.SensorResult:
        if runs.under_way(context.instance, runs.BUILDS):
            return dg.SkipReason("A build is under way.")
        if runs.under_way(context.instance, runs.SYNCS, younger_than=_PATIENCE):
            return dg.SkipReason("A sync is under way: its buckets are built when it is done.")
        try:
            with engine.open(buckets=buckets) as opened:
                dirty = opened.lake.dirty()
                revisions = opened.store.bucket_revisions()
        except LedgerlakeError as error:
            return dg.SkipReason(str(error))
        if not revisions:
            return dg.SkipReason("There is no connection yet.")
        if not dirty:
            return dg.SkipReason("Every bucket is published as it is.")
        now, asked = dt.datetime.now(dt.UTC), Asked.of(context.cursor)
        state = msgspec.json.encode({str(bucket): revisions.get(bucket, 0) for bucket in dirty}).decode()
        if asked is not None and asked.state == state and now - asked.at < _LONGEST:
            return dg.SkipReason(
                f"Buckets {_listed(dirty)} were asked for and are not published: see the last build_buckets run. "
                "They are built again when they change, or in an hour."
            )
        return dg.SensorResult(
            run_requests=[
                dg.RunRequest(
                    run_config={"ops": {"build": {"config": {"buckets": dirty}}}},
                    tags={
                        runs.BUILDS: "dirty",
                        "ledgerlake/buckets": _listed(dirty),
                        **runs.partition_range(min(dirty), max(dirty)),
                    },
                )
            ],
            cursor=msgspec.json.encode(Asked(state, now)).decode(),
        )

    @dg.run_failure_sensor(
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
        description="Tells of the first failed run of a job; of its repeats, how many they are, ever more rarely.",
    )
    def failed_runs(context: dg.RunFailureSensorContext) -> None:
        times = failures_in_a_row(context.instance, context.dagster_run)
        sentence = announcement(context.dagster_run.job_name, context.failure_event.message or "", times)
        if sentence is not None:
            context.log.error(sentence)

    orders = build_order_sensors(jobs["sync_connections"], jobs["repair"], buckets)
    return [new_connections, webhook_events, *orders, changed_buckets, failed_runs]


def failures_in_a_row(instance: dg.DagsterInstance, run: dg.DagsterRun) -> int:
    """How many runs of its job failed since one last went through, up to and with this one."""
    times = 0
    finished = dg.RunsFilter(job_name=run.job_name, statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE])
    counting = False
    for record in instance.get_run_records(finished, limit=1000):
        counting = counting or record.dagster_run.run_id == run.run_id
        if counting and record.dagster_run.status == dg.DagsterRunStatus.SUCCESS:
            break
        times += counting
    return times


def announcement(job: str, why: str, times: int) -> str | None:
    """What is said of the nth failure in a row: the 1st, 2nd, 4th, 8th and so on; None of those between."""
    if times == 1:
        return f"{job} failed: {why}"
    return f"{job} failed {times} times in a row, now: {why}" if times & (times - 1) == 0 else None


def _sync_config(found: Sequence[Due | Wanted]) -> dict[str, object]:
    """Each provider's step gets its own connections; one without any gets none, which is not "all"."""
    return {f"sync_{provider}": {"config": _config_of(provider, found)} for provider in PROVIDERS}


def _config_of(provider: str, found: Sequence[Due | Wanted]) -> dict[str, object]:
    own = [one for one in found if one.provider == provider]
    days = {one.connection_id: one.since.isoformat() for one in own if isinstance(one, Wanted) and one.since}
    return {"connections": [one.connection_id for one in own], **({"since_of": days} if days else {})}


def _listed(buckets: Sequence[int]) -> str:
    return ", ".join(map(str, buckets))
