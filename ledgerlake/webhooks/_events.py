"""The table of events: kept once, asked for together, handled by the sync that began after them."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import AsyncConnection, sql

from connectors.webhooks import Event
from ledgerlake.store import Store

CALM = dt.timedelta(minutes=1)
"""A connection is not synced more often than this for its events: those that come meanwhile wait, and go together."""

_LONGEST = dt.timedelta(days=1)

_NAMED = sql.SQL(
    """
    SELECT connection_id
    FROM ledgerlake.connections
    WHERE connections.provider = e.provider AND connections.external_id = e.external_id
    UNION
    SELECT connection_id
    FROM ledgerlake.accounts
    JOIN ledgerlake.connections USING (connection_id)
    WHERE e.external_id IS NULL AND accounts.account_id = e.account_id AND connections.provider = e.provider
    """
)
"""The connections that the event `e` names: one by its own id, or those through which its account is seen."""

_NAMED_BY_STRIPE = sql.SQL(
    """
    {named}
    UNION
    SELECT connection_id
    FROM raw.stripe_customers
    WHERE e.external_id IS NULL AND e.stream = 'customers' AND record_id = ANY(e.record_ids)
    UNION
    SELECT min(connection_id)
    FROM ledgerlake.connections
    WHERE e.external_id IS NULL AND provider = 'stripe' AND external_id NOT LIKE 'acct%%'
    HAVING count(*) = 1
    """
).format(named=_NAMED)
"""An event of a key's own account does not tell the account: it is its customer's, or that of the only key."""

_OPEN = sql.SQL(
    """
    WITH open AS (
        SELECT e.provider, e.event_id, e.received_at, e.asked, e.asked_at, c.connection_id, c.last_synced_at,
               CASE
                   WHEN e.since IS NOT NULL THEN e.since
                   WHEN e.provider = 'tink' AND e.stream = 'transactions' THEN (
                       SELECT min(record_date)
                       FROM raw.tink_transactions AS t
                       WHERE t.bucket = c.bucket AND t.connection_id = c.connection_id
                         AND t.record_id = ANY(e.record_ids) AND t.removed_at IS NULL
                   )
               END AS since
        FROM ledgerlake.webhook_events AS e
        CROSS JOIN LATERAL unnest(e.connection_ids) AS named (connection_id)
        JOIN ledgerlake.connections AS c ON c.connection_id = named.connection_id
        JOIN ledgerlake.connection_states AS s ON s.connection_id = named.connection_id
        WHERE e.handled_at IS NULL AND s.state = 'active'
    ),
    states AS (
        SELECT open.*,
               EXISTS (
                   SELECT FROM ledgerlake.syncs AS s
                   WHERE s.connection_id = open.connection_id
                     AND s.started_at >= open.received_at AND s.ended_at IS NOT NULL
                     AND (open.since IS NULL
                          OR (s.outcome = 'done' AND (s.mode = 'full' OR s.since <= open.since)))
               ) AS done
        FROM open
    )
    """
)
"""Each event that is not handled with each connection that it names and that is called: whether a sync has done for it.

Any sync that began after it has, also one that failed, for that is tried again by itself. Days that it names must have
been read: the daily sync would not go back so far.
"""


@dataclass(frozen=True)
class Wanted:
    """A connection that is to be synced for its events; `since` is the first day that they name, None: what is new."""

    connection_id: str
    provider: str
    since: dt.date | None
    event_ids: tuple[str, ...]


async def keep(postgres: AsyncConnection, provider: str, event: Event) -> bool:
    """Keep an event, with the connections that it names as far as they are known; False when it was kept before."""
    cursor = await postgres.execute(
        sql.SQL(
            """
            INSERT INTO ledgerlake.webhook_events (
                provider, event_id, kind, external_id, account_id, stream, record_ids, since, until, fault,
                connection_ids, handled_at
            )
            SELECT e.*, ARRAY({named}), CASE WHEN %(asks)s THEN NULL ELSE now() END
            FROM (
                SELECT %(provider)s::text AS provider, %(event_id)s::text AS event_id, %(kind)s::text AS kind,
                       %(external_id)s::text AS external_id, %(account_id)s::text AS account_id,
                       %(stream)s::text AS stream, %(record_ids)s::text[] AS record_ids,
                       %(since)s::date AS since, %(until)s::date AS until, %(fault)s::text AS fault
            ) AS e
            ON CONFLICT (provider, event_id) DO NOTHING
            """
        ).format(named=_NAMED_BY_STRIPE if provider == "stripe" else _NAMED),
        {
            "provider": provider,
            "event_id": event.event_id,
            "kind": event.kind,
            "external_id": event.external_id,
            "account_id": event.account_id,
            "stream": event.stream,
            "record_ids": list(event.record_ids),
            "since": event.since,
            "until": event.until,
            "fault": event.fault,
            "asks": event.asks,
        },
    )
    return cursor.rowcount == 1


def settle(store: Store) -> int:
    """Find the connections of events that named none so far, and mark what syncs have handled; how many that were."""
    with store.connect() as postgres:
        for named, condition in (
            (_NAMED, sql.SQL("e.provider <> 'stripe'")),
            (_NAMED_BY_STRIPE, sql.SQL("e.provider = 'stripe'")),
        ):
            postgres.execute(
                sql.SQL(
                    """
                    UPDATE ledgerlake.webhook_events AS e
                    SET connection_ids = ARRAY({named})
                    WHERE e.handled_at IS NULL AND e.connection_ids = '{{}}' AND {condition} AND EXISTS ({named})
                    """
                ).format(named=named, condition=condition),
                {},
            )
        cursor = postgres.execute(
            _OPEN
            + sql.SQL(
                """
            UPDATE ledgerlake.webhook_events AS e
            SET handled_at = now()
            FROM (SELECT provider, event_id FROM states GROUP BY provider, event_id HAVING bool_and(done)) AS handled
            WHERE e.provider = handled.provider AND e.event_id = handled.event_id
            """
            )
        )
        return cursor.rowcount


def due(store: Store, now: dt.datetime) -> list[Wanted]:
    """The connections to sync for events that are not handled, those whose event came first at the beginning.

    Not one that was never synced, for its first sync is under way or asked for; nor one that was just synced. What was
    asked for n times in vain is due again 2^n minutes after the last, at most a day.
    """
    with store.connect() as postgres:
        rows = postgres.execute(
            _OPEN
            + sql.SQL(
                """
            SELECT connection_id, provider, min(since), array_agg(event_id ORDER BY received_at, event_id)
            FROM states
            WHERE NOT done AND last_synced_at IS NOT NULL
              AND NOT EXISTS (
                  SELECT FROM ledgerlake.syncs AS s
                  WHERE s.connection_id = states.connection_id AND s.started_at > %(now)s - %(calm)s
              )
            GROUP BY connection_id, provider
            HAVING bool_or(
                asked = 0 OR asked_at <= %(now)s - least(interval '1 minute' * 2 ^ least(asked, 11), %(longest)s)
            )
            ORDER BY min(received_at), connection_id
            """
            ),
            {"now": now, "calm": CALM, "longest": _LONGEST},
        ).fetchall()
    return [Wanted(connection_id, provider, since, tuple(events)) for connection_id, provider, since, events in rows]


def mark_asked(store: Store, wanted: Sequence[Wanted]) -> None:
    """Write down that a run was asked for on account of these events."""
    with store.connect() as postgres, postgres.transaction(), postgres.cursor() as cursor:
        cursor.executemany(
            """
            UPDATE ledgerlake.webhook_events SET asked = asked + 1, asked_at = now()
            WHERE provider = %s AND event_id = ANY(%s) AND handled_at IS NULL
            """,
            [(one.provider, list(one.event_ids)) for one in wanted],
        )


def unknown(store: Store) -> int:
    """How many events that ask for a sync name no connection of this store."""
    with store.connect() as postgres:
        row = postgres.execute(
            "SELECT count(*) FROM ledgerlake.webhook_events WHERE handled_at IS NULL AND connection_ids = '{}'"
        ).fetchone()
    assert row is not None
    return int(row[0])


def prune(store: Store, *, before: dt.datetime) -> int:
    """Delete the events that came before that, handled or not: what they tell of has long been read; how many."""
    with store.connect() as postgres:
        return postgres.execute("DELETE FROM ledgerlake.webhook_events WHERE received_at < %s", (before,)).rowcount
