"""What syncs and builds cost: requests, bytes and seconds."""
# ruff: noqa: S608 (the SQL is put together from this module's constants; every value is a parameter)

import datetime as dt
from dataclasses import dataclass

from psycopg.rows import class_row

from ledgerlake.store import Store

EARLIER = 20
"""Builds of a model whose median its last one is held against."""


@dataclass(frozen=True)
class SyncDay:
    """The syncs of a provider that began on a day, in UTC. `seconds` are theirs, one after another."""

    day: dt.date
    provider: str
    syncs: int
    failed: int
    requests: int
    bytes: int
    seconds: float
    records: int


@dataclass(frozen=True)
class Dear:
    """A connection with what its syncs cost in some days; `records` are new or changed ones."""

    connection_id: str
    customer_id: str
    provider: str
    institution_name: str | None
    syncs: int
    requests: int
    bytes: int
    seconds: float
    records: int


@dataclass(frozen=True)
class ModelTime:
    """A model in the last build that made it.

    Attributes:
        before: median of its seconds in up to `EARLIER` builds before that; None of a new model.
        builds: how many there are of these.
        buckets: how many that build was of: fewer take less time.
    """

    model: str
    build_id: str
    built_at: dt.datetime
    buckets: int
    rows: int
    seconds: float
    before: float | None
    builds: int

    @property
    def new(self) -> bool:
        return self.builds == 0

    @property
    def slower(self) -> bool:
        """It took twice as long as it used to, and so much that somebody would notice."""
        return self.before is not None and self.seconds >= 1 and self.seconds >= 2 * self.before


def sync_days(store: Store, days: int) -> list[SyncDay]:
    """Every provider's last `days` days, the newest first."""
    with store.connect() as postgres, postgres.cursor(row_factory=class_row(SyncDay)) as cursor:
        return cursor.execute(
            """
            SELECT (started_at AT TIME ZONE 'UTC')::date AS day, provider, count(*) AS syncs,
                   count(*) FILTER (WHERE outcome NOT IN ('done', 'partial', 'paused')) AS failed,
                   sum(requests)::bigint AS requests, sum(bytes)::bigint AS bytes,
                   coalesce(sum(extract(epoch FROM ended_at - started_at)), 0)::float AS seconds,
                   sum(new + changed)::bigint AS records
            FROM ledgerlake.syncs JOIN ledgerlake.connections USING (connection_id)
            WHERE started_at >= date_trunc('day', now(), 'UTC') - make_interval(days => %s - 1)
            GROUP BY 1, 2 ORDER BY 1 DESC, 2
            """,
            (days,),
        ).fetchall()


def dearest(store: Store, days: int, most: int = 50) -> list[Dear]:
    """The connections whose syncs took the most requests in the last `days` days."""
    with store.connect() as postgres, postgres.cursor(row_factory=class_row(Dear)) as cursor:
        return cursor.execute(
            """
            SELECT connections.connection_id, customer_id, provider, institution_name, count(*) AS syncs,
                   sum(requests)::bigint AS requests, sum(bytes)::bigint AS bytes,
                   coalesce(sum(extract(epoch FROM ended_at - started_at)), 0)::float AS seconds,
                   sum(new + changed)::bigint AS records
            FROM ledgerlake.syncs JOIN ledgerlake.connections USING (connection_id)
            WHERE started_at >= date_trunc('day', now(), 'UTC') - make_interval(days => %s - 1)
            GROUP BY connections.connection_id ORDER BY requests DESC, bytes DESC, connections.connection_id LIMIT %s
            """,
            (days, most),
        ).fetchall()


_NUMBERED = """
    WITH numbered AS (
        SELECT model, build_id, started_at, cardinality(buckets) AS buckets, rows, seconds,
               row_number() OVER (PARTITION BY model ORDER BY started_at DESC, build_id DESC) AS back
        FROM ledgerlake.build_models JOIN ledgerlake.builds USING (build_id)
        WHERE started_at > now() - interval '90 days'
    )
"""


def model_times(store: Store) -> list[ModelTime]:
    """Every model as it was built last, the slowest first."""
    with store.connect() as postgres, postgres.cursor(row_factory=class_row(ModelTime)) as cursor:
        return cursor.execute(
            _NUMBERED
            + """
            SELECT last.model, last.build_id, last.started_at AS built_at, last.buckets, last.rows, last.seconds,
                   earlier.before, earlier.builds
            FROM numbered AS last
            CROSS JOIN LATERAL (
                SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS before, count(*) AS builds
                FROM numbered WHERE numbered.model = last.model AND back BETWEEN 2 AND %s + 1
            ) AS earlier
            WHERE last.back = 1 ORDER BY last.seconds DESC, last.model
            """,
            (EARLIER,),
        ).fetchall()


def model_days(store: Store, models: list[str]) -> list[tuple[str, dt.datetime, float]]:
    """(model, when it was built, seconds) of those models' last builds, the oldest first."""
    with store.connect() as postgres:
        return postgres.execute(
            _NUMBERED
            + """
            SELECT model, started_at, seconds FROM numbered WHERE model = ANY(%s) AND back <= %s + 1
            ORDER BY started_at, model
            """,
            (models, EARLIER),
        ).fetchall()
