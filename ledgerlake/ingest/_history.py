"""What syncs did so far: the standing of each connection, and its last syncs."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import class_row

from ledgerlake.store import Store


@dataclass(frozen=True)
class Standing:
    """A connection with its last sync. `records` were ever brought; `requests` and `bytes` are those of 30 days."""

    connection_id: str
    customer_id: str
    provider: str
    institution_name: str | None
    state: str
    reason: str | None
    last_synced_at: dt.datetime | None
    created_at: dt.datetime
    last_outcome: str | None
    last_error: str | None
    running: bool
    records: int
    requests: int
    bytes: int


@dataclass(frozen=True)
class PastSync:
    """A sync that was begun; `ended_at` None: it runs, or it was killed."""

    sync_id: int
    today: dt.date
    mode: str
    started_at: dt.datetime
    ended_at: dt.datetime | None
    outcome: str | None
    error: str | None
    requests: int
    retries: int
    bytes: int
    new: int
    changed: int
    unchanged: int
    removed: int
    quarantined: int


def standings(store: Store, *, ids: Sequence[str] | None = None) -> list[Standing]:
    """All connections as they stand, those that somebody must look at first; or those ids."""
    with store.connect() as postgres, postgres.cursor(row_factory=class_row(Standing)) as cursor:
        return cursor.execute(
            """
            WITH totals AS (
                SELECT connection_id, sum(new)::bigint AS records,
                       coalesce(sum(requests) FILTER (WHERE started_at > now() - interval '30 days'), 0)::bigint AS requests,
                       coalesce(sum(bytes) FILTER (WHERE started_at > now() - interval '30 days'), 0)::bigint AS bytes
                FROM ledgerlake.syncs GROUP BY connection_id
            )
            SELECT c.connection_id, c.customer_id, c.provider, c.institution_name, states.state, states.reason,
                   c.last_synced_at, c.created_at, last.outcome AS last_outcome, last.error AS last_error,
                   last.sync_id IS NOT NULL AND last.ended_at IS NULL AS running,
                   coalesce(totals.records, 0) AS records, coalesce(totals.requests, 0) AS requests,
                   coalesce(totals.bytes, 0)::bigint AS bytes
            FROM ledgerlake.connections AS c
            JOIN ledgerlake.connection_states AS states USING (connection_id)
            LEFT JOIN totals USING (connection_id)
            LEFT JOIN LATERAL (
                SELECT sync_id, outcome, error, ended_at FROM ledgerlake.syncs
                WHERE syncs.connection_id = c.connection_id ORDER BY sync_id DESC LIMIT 1
            ) AS last ON true
            WHERE %(ids)s::text[] IS NULL OR c.connection_id = ANY(%(ids)s)
            ORDER BY states.state = 'active', c.last_synced_at NULLS FIRST, c.connection_id
            """,
            {"ids": list(ids) if ids is not None else None},
        ).fetchall()


def past_syncs(store: Store, connection_id: str, most: int = 20) -> list[PastSync]:
    """The last syncs of a connection, the newest first."""
    with store.connect() as postgres, postgres.cursor(row_factory=class_row(PastSync)) as cursor:
        return cursor.execute(
            """
            SELECT sync_id, today, mode, started_at, ended_at, outcome, error, requests, retries, bytes,
                   new, changed, unchanged, removed, quarantined
            FROM ledgerlake.syncs WHERE connection_id = %s ORDER BY sync_id DESC LIMIT %s
            """,
            (connection_id, most),
        ).fetchall()
