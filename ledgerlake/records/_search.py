"""Which records a text may mean: an id, an account, a connection, a customer, an amount, or part of a description.

Belongs here: the queries, and what of the text they look for. Does not belong here: a record's way (``_way``).
"""

import contextlib
import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import psycopg
from psycopg import sql
from psycopg.errors import QueryCanceled

from ledgerlake.integrity import STREAMS
from ledgerlake.lake import LakeEmpty, LakeReader
from ledgerlake.store import Store

Why = Literal["record", "account", "connection", "customer", "amount", "description"]

MOST = 50
LONGEST = 200
SHORTEST = 3
"""Characters of a description that are looked for."""

_AMOUNT = re.compile(r"[+-]?(\d{1,15}|\d{1,3}(,\d{3}){1,4})(\.\d{1,8})?")
_PATIENCE_MS = 3_000


@dataclass(frozen=True)
class Match:
    """A record, or without `stream` a connection; `why` says what of it is as the text says."""

    why: Why
    connection_id: str
    customer_id: str
    provider: str
    stream: str | None = None
    record_id: str | None = None
    account_id: str | None = None
    day: dt.date | None = None
    amount: Decimal | None = None
    currency: str | None = None
    status: str | None = None
    description: str | None = None


def search(store: Store, lake: LakeReader, text: str, *, descriptions: bool = True) -> list[Match]:
    """What the text may mean, exact ids first, then the newest transactions; at most `MOST`.

    Args:
        descriptions: also look into the descriptions. Whoever may not read them may not look into them either: each
            search would tell a letter of one.

    Raises:
        LakeAway, TooSlow: the lake does not answer.
    """
    text = text.strip()
    if not text or len(text) > LONGEST or not text.isprintable():
        return []
    found: dict[tuple[str, str | None, str | None], Match] = {}
    for one in (*_of_store(store, text), *_of_lake(lake, text, descriptions=descriptions)):
        found.setdefault((one.connection_id, one.stream, one.record_id), one)
    return list(found.values())[:MOST]


def amount_of(text: str) -> Decimal | None:
    """The amount that a text is, exactly."""
    return Decimal(text.replace(",", "")) if _AMOUNT.fullmatch(text) else None


def _of_store(store: Store, text: str) -> Iterator[Match]:
    with store.connect() as postgres:
        yield from (
            Match(*row)
            for row in postgres.execute(
                """
                SELECT CASE WHEN connection_id = %(text)s THEN 'connection' ELSE 'customer' END,
                       connection_id, customer_id, provider
                FROM ledgerlake.connections
                WHERE connection_id = %(text)s OR customer_id = %(text)s
                ORDER BY connection_id LIMIT %(most)s
                """,
                {"text": text, "most": MOST},
            ).fetchall()
        )
        with contextlib.suppress(QueryCanceled):
            yield from _of_raw(postgres, text)
        yield from (
            Match(*row)
            for row in postgres.execute(
                """
                SELECT DISTINCT 'record', connection_id, customer_id, aside.provider, stream, record_id, account_id
                FROM raw.quarantine AS aside JOIN ledgerlake.connections USING (connection_id)
                WHERE record_id = %s LIMIT %s
                """,
                (text, MOST),
            ).fetchall()
        )
        yield from (
            Match(*row)
            for row in postgres.execute(
                """
                SELECT 'account', connection_id, customer_id, provider, NULL, NULL, account_id
                FROM ledgerlake.accounts JOIN ledgerlake.connections USING (connection_id)
                WHERE account_id = %s LIMIT %s
                """,
                (text, MOST),
            ).fetchall()
        )


def _of_raw(postgres: psycopg.Connection, text: str) -> list[Match]:
    """Records of that id, by the key of each connection: what was not published yet is found, too."""
    each = [
        sql.SQL(
            """
            SELECT 'record', record.connection_id, customer_id, provider, {stream}, record_id, account_id
            FROM ledgerlake.connections AS own
            JOIN {table} AS record ON record.bucket = own.bucket AND record.connection_id = own.connection_id
            WHERE own.provider = {provider} AND record_id = %(text)s
            """
        ).format(
            stream=sql.Literal(one.name),
            provider=sql.Literal(one.provider),
            table=sql.Identifier("raw", f"{one.provider}_{one.name}"),
        )
        for one in STREAMS
    ]
    query = sql.SQL("{each} LIMIT %(most)s").format(each=sql.SQL(" UNION ALL ").join(each))
    with postgres.transaction():
        postgres.execute("SELECT set_config('statement_timeout', %s, true)", (str(_PATIENCE_MS),))
        rows = postgres.execute(query, {"text": text, "most": MOST}).fetchall()
    return [Match(*row) for row in rows]


def _of_lake(lake: LakeReader, text: str, *, descriptions: bool) -> list[Match]:
    amount = amount_of(text)
    given: dict[str, Any] = {"text": text, "most": MOST}
    conditions = {
        "record": "provider_transaction_id = $text",
        "account": "provider_account_id = $text",
        "connection": "connection_id = $text",
        "customer": "customer_id = $text",
    }
    if amount is not None:
        conditions["amount"] = "abs(amount) = $amount" if text[0] not in "+-" else "amount = $amount"
        given["amount"] = amount
    if descriptions and len(text) >= SHORTEST:
        conditions["description"] = "contains(lower(description), lower($text))"
    reasons = " ".join(f"when {condition} then '{why}'" for why, condition in conditions.items())
    try:
        rows = lake.rows(
            f"""
            select case {reasons} end as why, connection_id, customer_id, provider, 'transactions', provider_transaction_id,
                   provider_account_id, booked_on, amount, currency, status, description
            from fct_transactions
            where {" or ".join(conditions.values())}
            order by why = 'record' desc, booked_on desc, transaction_key
            limit $most
            """,  # noqa: S608 - this module's own conditions
            given,
        )
    except LakeEmpty:
        return []
    return [Match(*row) for row in rows]
