"""How far a connection that came of a link is: its first sync, what it found, and whether that is in the lake."""

import datetime as dt
from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from ledgerlake.links._links import Link
from ledgerlake.store import Store

Step = Literal["waiting", "reading", "building", "arrived", "held up"]

_STREAMS = {"stripe": "balance_transactions"}
"""Which stream tells how far back a connection goes, where it is not called transactions."""


@dataclass(frozen=True)
class Arrival:
    """What is there of a connection. `held_up` says why its sync brought nothing; it is tried again by itself."""

    step: Step
    provider: str
    institution: str | None
    accounts: int
    transactions: int
    since: dt.date | None
    held_up: str | None

    @property
    def done(self) -> bool:
        """Whether nothing more will happen by itself soon."""
        return self.step in {"arrived", "held up"}


def arrival(store: Store, link: Link) -> Arrival:
    """How far the connection of a link that was used is, since it was used."""
    assert link.connected_id is not None
    connection = store.connection(link.connected_id)
    table = sql.Identifier("raw", f"{connection.provider}_{_STREAMS.get(connection.provider, 'transactions')}")
    with store.connect() as postgres:
        accounts = postgres.execute(
            "SELECT count(*) FROM ledgerlake.accounts WHERE connection_id = %s AND state = 'open'",
            (connection.connection_id,),
        ).fetchone()
        found = postgres.execute(
            sql.SQL(
                """
                SELECT count(*), min(record_date) FROM {}
                WHERE bucket = %s AND connection_id = %s AND removed_at IS NULL
                """
            ).format(table),
            (connection.bucket, connection.connection_id),
        ).fetchone()
        last = postgres.execute(
            """
            SELECT ended_at, outcome FROM ledgerlake.syncs
            WHERE connection_id = %s AND started_at >= %s ORDER BY sync_id DESC LIMIT 1
            """,
            (connection.connection_id, link.used_at),
        ).fetchone()
        built = postgres.execute(
            """
            SELECT FROM ledgerlake.builds
            WHERE started_at >= %s AND %s = ANY (buckets) AND outcome IN ('published', 'unchanged') LIMIT 1
            """,
            (last[0] if last else None, connection.bucket),
        ).fetchone()
    assert accounts is not None
    assert found is not None
    ended_at, outcome = last or (None, None)
    step: Step
    if last is None:
        step = "waiting"
    elif ended_at is None:
        step = "reading"
    elif outcome not in {"done", "partial"}:
        step = "held up"
    else:
        step = "building" if built is None else "arrived"
    return Arrival(
        step,
        connection.provider,
        connection.institution_name,
        accounts=int(accounts[0]),
        transactions=int(found[0]),
        since=found[1],
        held_up=str(outcome) if step == "held up" else None,
    )
