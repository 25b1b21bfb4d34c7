"""Whether all is well: the last builds, what waits, and what is left of a provider's budget."""

import datetime as dt
from dataclasses import dataclass

from psycopg.rows import class_row

from ledgerlake.store import Store


@dataclass(frozen=True)
class Build:
    """A build that was begun; `ended_at` None: it runs, or it was killed."""

    build_id: str
    started_at: dt.datetime
    ended_at: dt.datetime | None
    outcome: str | None
    buckets: list[int]
    snapshot_id: int | None
    error: str | None


@dataclass(frozen=True)
class Budget:
    """What a provider's last answers said is left for an account and a kind of request.

    Only of providers that tell it: GoCardless, whose banks allow each account a few requests a day.

    Attributes:
        streams: budgets that were told of and are not over yet.
        used_up: those of them with nothing left.
        least: the least that is left of any.
        until: when the first of them begins anew.
    """

    provider: str
    streams: int
    used_up: int
    least: int
    until: dt.datetime


@dataclass(frozen=True)
class Waiting:
    """What nobody has done yet, and since when the oldest of it waits."""

    events: int
    events_since: dt.datetime | None
    orders: int
    orders_since: dt.datetime | None
    orders_failed: int


def last_builds(store: Store, most: int = 1) -> list[Build]:
    """The builds that were begun last, the newest first."""
    with store.connect() as postgres, postgres.cursor(row_factory=class_row(Build)) as cursor:
        return cursor.execute(
            """
            SELECT build_id, started_at, ended_at, outcome, buckets, snapshot_id, error
            FROM ledgerlake.builds ORDER BY started_at DESC, build_id DESC LIMIT %s
            """,
            (most,),
        ).fetchall()


def budgets(store: Store) -> list[Budget]:
    """What is left at each provider that tells it."""
    with store.connect() as postgres, postgres.cursor(row_factory=class_row(Budget)) as cursor:
        return cursor.execute(
            """
            WITH told AS (
                SELECT provider, (cursor ->> 'remaining')::integer AS remaining, (cursor ->> 'reset_at')::timestamptz AS reset_at
                FROM ledgerlake.cursors JOIN ledgerlake.connections USING (connection_id)
                WHERE state <> 'gone' AND cursor ->> 'remaining' IS NOT NULL AND cursor ->> 'reset_at' IS NOT NULL
            )
            SELECT provider, count(*) AS streams, count(*) FILTER (WHERE remaining = 0) AS used_up,
                   min(remaining) AS least, min(reset_at) AS until
            FROM told WHERE reset_at > now() GROUP BY provider ORDER BY provider
            """
        ).fetchall()


def waiting(store: Store) -> Waiting:
    """Webhook events without their sync, and orders that nobody has carried out; orders that failed in the last day."""
    with store.connect() as postgres, postgres.cursor(row_factory=class_row(Waiting)) as cursor:
        found = cursor.execute(
            """
            SELECT events.count AS events, events.since AS events_since, orders.count AS orders, orders.since AS orders_since,
                   (SELECT count(*) FROM ledgerlake.orders WHERE outcome = 'failed' AND ended_at > now() - interval '1 day')
                       AS orders_failed
            FROM (SELECT count(*), min(received_at) AS since FROM ledgerlake.webhook_events WHERE handled_at IS NULL) AS events,
                 (SELECT count(*), min(asked_at) AS since FROM ledgerlake.orders WHERE ended_at IS NULL) AS orders
            """
        ).fetchone()
    assert found is not None
    return found


@dataclass(frozen=True)
class ProviderTotal:
    """All syncs of a provider that the store knows of; `records` are new or changed ones.

    `lag_seconds`: since the last good sync of the active connection that has waited longest; None without one.
    """

    provider: str
    outcomes: dict[str, int]
    requests: int
    bytes: int
    records: int
    lag_seconds: float | None


def provider_totals(store: Store) -> list[ProviderTotal]:
    """What the syncs of each provider did."""
    with store.connect() as postgres, postgres.cursor(row_factory=class_row(ProviderTotal)) as cursor:
        return cursor.execute(
            """
            WITH ended AS (
                SELECT provider, outcome, count(*) AS count, sum(requests) AS requests, sum(bytes) AS bytes,
                       sum(new + changed) AS records
                FROM ledgerlake.syncs JOIN ledgerlake.connections USING (connection_id)
                WHERE outcome IS NOT NULL GROUP BY provider, outcome
            ),
            totals AS (
                SELECT provider, jsonb_object_agg(outcome, count) AS outcomes, sum(requests)::bigint AS requests,
                       sum(bytes)::bigint AS bytes, sum(records)::bigint AS records
                FROM ended GROUP BY provider
            ),
            lags AS (
                SELECT c.provider,
                       extract(epoch FROM now() - min(coalesce(c.last_synced_at, c.created_at)))::float AS lag_seconds
                FROM ledgerlake.connections AS c JOIN ledgerlake.connection_states AS s USING (connection_id)
                WHERE s.state = 'active' GROUP BY c.provider
            )
            SELECT provider, coalesce(outcomes, '{}') AS outcomes, coalesce(requests, 0) AS requests,
                   coalesce(bytes, 0) AS bytes, coalesce(records, 0) AS records, lag_seconds
            FROM totals FULL JOIN lags USING (provider) ORDER BY provider
            """
        ).fetchall()


def connection_counts(store: Store) -> list[tuple[str, str, int]]:
    """(provider, state, connections), with the state that decides whether they are called."""
    with store.connect() as postgres:
        return postgres.execute(
            "SELECT provider, state, count(*) FROM ledgerlake.connection_states GROUP BY provider, state ORDER BY 1, 2"
        ).fetchall()


def finding_counts(store: Store) -> dict[str, int]:
    """Findings that are neither resolved nor muted, by severity, the most severe first; also those that there are none of."""
    with store.connect() as postgres:
        rows = postgres.execute(
            """
            SELECT severity, count(*) FROM ledgerlake.findings
            WHERE state IN ('open', 'acknowledged', 'repairing') GROUP BY severity
            """
        )
        found = {severity: int(count) for severity, count in rows}
    return {severity: found.get(severity, 0) for severity in ("critical", "high", "medium", "low")}
