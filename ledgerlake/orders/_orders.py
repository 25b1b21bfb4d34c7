"""An order is taken once by whoever carries it out; the same one asked for again while it waits is one order."""

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from psycopg.rows import class_row

from ledgerlake.errors import UsageError
from ledgerlake.store import Store, audit

Kind = Literal["sync", "refetch", "repair"]

_COLUMNS = "order_id, kind, connection_id, finding_id, since, actor, asked_at, taken_at, ended_at, outcome, message"

LOST_AFTER = dt.timedelta(hours=1)
"""An order that was taken, is not done for so long and that no run works on is told of as failed."""


@dataclass(frozen=True)
class Order:
    """What somebody asked for. `since` is of a refetch: the first day that is read again."""

    order_id: int
    kind: Kind
    connection_id: str | None
    finding_id: int | None
    since: dt.date | None
    actor: str
    asked_at: dt.datetime
    taken_at: dt.datetime | None
    ended_at: dt.datetime | None
    outcome: Literal["done", "failed"] | None
    message: str | None


class Orders:
    """The orders of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def sync(self, actor: str, connection_id: str, since: dt.date | None = None) -> Order:
        """Sync a connection now, or read everything dated `since` or later again.

        Raises:
            UsageError: there is no such connection, or it is not called in its state.
        """
        connection = self._store.connection(connection_id)
        if connection.state != "active":
            raise UsageError(f"{connection_id} is {connection.state}: it is not called until that is mended.")
        return self._add(actor, "refetch" if since else "sync", connection_id=connection_id, since=since)

    def repair(self, actor: str, finding_id: int) -> Order:
        """Repair a finding as it proposes."""
        return self._add(actor, "repair", finding_id=finding_id)

    def _add(
        self,
        actor: str,
        kind: Kind,
        *,
        connection_id: str | None = None,
        finding_id: int | None = None,
        since: dt.date | None = None,
    ) -> Order:
        with self._store.connect() as postgres, postgres.transaction():
            postgres.execute("LOCK TABLE ledgerlake.orders IN SHARE ROW EXCLUSIVE MODE")
            values = {"kind": kind, "connection": connection_id, "finding": finding_id, "since": since, "actor": actor}
            with postgres.cursor(row_factory=class_row(Order)) as cursor:
                waiting = cursor.execute(
                    f"""
                    SELECT {_COLUMNS} FROM ledgerlake.orders
                    WHERE taken_at IS NULL AND ended_at IS NULL AND kind = %(kind)s
                      AND connection_id IS NOT DISTINCT FROM %(connection)s
                      AND finding_id IS NOT DISTINCT FROM %(finding)s AND since IS NOT DISTINCT FROM %(since)s
                    """,  # noqa: S608 - this module's own columns
                    values,
                ).fetchone()
                if waiting is not None:
                    return waiting
                order = cursor.execute(
                    f"""
                    INSERT INTO ledgerlake.orders (kind, connection_id, finding_id, since, actor)
                    VALUES (%(kind)s, %(connection)s, %(finding)s, %(since)s, %(actor)s) RETURNING {_COLUMNS}
                    """,  # noqa: S608 - this module's own columns
                    values,
                ).fetchone()
            assert order is not None
            target = connection_id or f"finding {finding_id}"
            audit(postgres, actor, f"{kind} asked for", target, after=since.isoformat() if since else None)
            return order

    def waiting(self) -> list[Order]:
        """Those that nobody has taken, the oldest first."""
        return self._listed("taken_at IS NULL AND ended_at IS NULL ORDER BY order_id")

    def taken(self) -> list[Order]:
        """Those that somebody took and that have not ended, the oldest first."""
        return self._listed("taken_at IS NOT NULL AND ended_at IS NULL ORDER BY order_id")

    def listed(self, ids: Sequence[int]) -> list[Order]:
        """Those orders, the oldest first."""
        return self._listed("order_id = ANY(%(ids)s) ORDER BY order_id", ids=list(ids))

    def newest(self, connection_id: str | None = None, finding_id: int | None = None, most: int = 20) -> list[Order]:
        """The newest orders first: of a connection, of a finding, or all."""
        return self._listed(
            """
            (%(connection)s::text IS NULL OR connection_id = %(connection)s)
            AND (%(finding)s::bigint IS NULL OR finding_id = %(finding)s) ORDER BY order_id DESC LIMIT %(most)s
            """,
            connection=connection_id,
            finding=finding_id,
            most=most,
        )

    def _listed(self, condition: str, **values: object) -> list[Order]:
        with self._store.connect() as postgres, postgres.cursor(row_factory=class_row(Order)) as cursor:
            query = f"SELECT {_COLUMNS} FROM ledgerlake.orders WHERE {condition}"  # noqa: S608 - this module's own text
            return cursor.execute(query, values).fetchall()

    def take(self, orders: Sequence[Order]) -> list[Order]:
        """Take these; returns those that nobody took meanwhile."""
        with self._store.connect() as postgres:
            rows = postgres.execute(
                """
                UPDATE ledgerlake.orders SET taken_at = now()
                WHERE order_id = ANY(%s) AND taken_at IS NULL RETURNING order_id
                """,
                ([one.order_id for one in orders],),
            )
            mine = {order_id for (order_id,) in rows}
        return [one for one in orders if one.order_id in mine]

    def give_back(self, order_id: int) -> None:
        """It was taken, and nothing was done for it: it waits again."""
        with self._store.connect() as postgres:
            postgres.execute(
                "UPDATE ledgerlake.orders SET taken_at = NULL WHERE order_id = %s AND ended_at IS NULL", (order_id,)
            )

    def end(self, order_id: int, outcome: Literal["done", "failed"], message: str) -> None:
        """What came of it."""
        with self._store.connect() as postgres:
            postgres.execute(
                """
                UPDATE ledgerlake.orders SET ended_at = now(), outcome = %s, message = %s
                WHERE order_id = %s AND ended_at IS NULL
                """,
                (outcome, message, order_id),
            )

    def settle(self, under_way: Collection[int] = ()) -> int:
        """End the orders whose sync has ended since they were taken, and those that are lost; how many that were.

        Args:
            under_way: orders that a run works on: they are not lost, however long that takes.
        """
        with self._store.connect() as postgres:
            done = postgres.execute(
                """
                UPDATE ledgerlake.orders AS o
                SET ended_at = sync.ended_at, outcome = CASE WHEN sync.outcome = 'done' THEN 'done' ELSE 'failed' END,
                    message = coalesce(sync.error, format('%s new, %s changed, %s removed', sync.new, sync.changed, sync.removed))
                FROM ledgerlake.orders AS asked
                CROSS JOIN LATERAL (
                    SELECT * FROM ledgerlake.syncs
                    WHERE syncs.connection_id = asked.connection_id AND syncs.started_at >= asked.taken_at
                      AND syncs.ended_at IS NOT NULL AND (asked.since IS NULL OR syncs.since <= asked.since OR syncs.mode = 'full')
                    ORDER BY sync_id LIMIT 1
                ) AS sync
                WHERE o.order_id = asked.order_id AND asked.ended_at IS NULL AND asked.taken_at IS NOT NULL
                """
            ).rowcount
            lost = postgres.execute(
                """
                UPDATE ledgerlake.orders
                SET ended_at = now(), outcome = 'failed', message = 'its run did not end; ask again'
                WHERE ended_at IS NULL AND taken_at < now() - %s AND order_id <> ALL(%s)
                """,
                (LOST_AFTER, list(under_way)),
            ).rowcount
        return done + lost
