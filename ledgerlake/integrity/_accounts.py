"""Accounts and connections as wholes: accounts that are there twice, and what stopped moving.

Belongs here: what no single record shows. Does not belong here: records and their fields (the steps).

- **twice**: two accounts of a customer, under two consents, whose posted transactions are the same ones.
- **stale**: a connection that no sync has read to its end for days; an account that had transactions at least every few
  days and now has none for three times as long.
"""
# ruff: noqa: S608 (names are this module's own; values go as parameters)

import datetime as dt
from collections.abc import Iterator

import psycopg

from ledgerlake.integrity._report import Behind, Finding, Repair
from ledgerlake.integrity._steps import MONEY, Steps

SAME = 5
"""How many transactions two accounts must share at least to be the same one."""
USUAL = 30
"""How many posted transactions an account must have before it has a rhythm."""
QUIET = 10
"""Days without a transaction that are nothing unusual in any account."""


def silent(postgres: psycopg.Connection, today: dt.date | None, days: int) -> list[Finding]:
    """Connections that are called and that no sync has read to its end for that many days.

    Days are those of the syncs where `today` is given, as in a replay, and else the clock's.
    """
    rows = postgres.execute(
        """
        SELECT c.connection_id, c.provider, last.day, last.error
        FROM ledgerlake.connections AS c
        JOIN ledgerlake.connection_states AS states USING (connection_id)
        CROSS JOIN LATERAL (
            SELECT CASE WHEN %(today)s::date IS NULL
                        THEN (coalesce(max(ended_at) FILTER (WHERE outcome = 'done'), c.created_at) AT TIME ZONE 'UTC')::date
                        ELSE coalesce(max(today) FILTER (WHERE outcome = 'done'), min(today)) END AS day,
                   (array_agg(error ORDER BY sync_id DESC))[1] AS error
            FROM ledgerlake.syncs WHERE syncs.connection_id = c.connection_id
        ) AS last
        WHERE states.state = 'active' AND last.day <= coalesce(%(today)s::date, (now() AT TIME ZONE 'UTC')::date) - %(days)s::integer
        ORDER BY 1
        """,
        {"today": today, "days": days},
    )
    return [
        Finding(
            kind="stale",
            step="source",
            provider=provider,
            connection_id=connection_id,
            field="sync",
            records=0,
            message=(
                f"expected {connection_id} to be read every day, found that no sync of it came to its end since {day}"
                + (f"; the last one said: {error}" if error else "")
                + f"; run `ledgerlake sync --connection {connection_id}` and look at what it says"
            ),
            repair=Repair("fetch", connection_id=connection_id, since=day),
        )
        for connection_id, provider, day, error in rows
    ]


def twice(steps: Steps, customers: dict[str, str]) -> Iterator[Finding]:
    """Accounts whose posted transactions are another account's of the same customer, under another consent."""
    duck = steps.at.duck
    duck.execute("CREATE OR REPLACE TEMP TABLE customers (connection_id VARCHAR, customer_id VARCHAR)")
    if customers:
        duck.executemany("INSERT INTO customers VALUES (?, ?)", [list(one) for one in customers.items()])
    rows = duck.execute(
        f"""
        WITH shared AS (
            SELECT customer_id FROM customers GROUP BY 1 HAVING count(DISTINCT connection_id) > 1
        ),
        posted AS (
            SELECT customers.customer_id, records.connection_id, records.account_id, records.provider, day, amount, currency,
                   row_number() OVER (PARTITION BY records.connection_id, records.account_id, day, amount, currency) AS nth
            FROM records
            JOIN customers USING (connection_id)
            SEMI JOIN shared ON customers.customer_id = shared.customer_id
            WHERE stream = 'transactions' AND status = 'posted' AND removed_at IS NULL AND amount IS NOT NULL AND day IS NOT NULL
        ),
        counts AS (
            SELECT connection_id, account_id, count(*) AS rows, min(day) AS first_day, max(day) AS last_day FROM posted GROUP BY ALL
        ),
        pairs AS (
            SELECT a.connection_id, a.account_id, b.connection_id AS other, b.account_id AS other_account,
                   any_value(b.provider) AS provider, count(*) AS common, any_value(a.currency) AS currency,
                   sum(abs(a.amount))::{MONEY} AS risk
            FROM posted AS a
            JOIN posted AS b ON a.customer_id = b.customer_id AND a.connection_id < b.connection_id AND a.day = b.day
                AND a.amount = b.amount AND a.currency IS NOT DISTINCT FROM b.currency AND a.nth = b.nth
            GROUP BY ALL
        ),
        -- Of both accounts what falls into the days that both of them tell of.
        windows AS (
            SELECT pairs.*, greatest(mine.first_day, theirs.first_day) AS first_day, least(mine.last_day, theirs.last_day) AS last_day
            FROM pairs
            JOIN counts AS mine ON pairs.connection_id = mine.connection_id AND pairs.account_id = mine.account_id
            JOIN counts AS theirs ON pairs.other = theirs.connection_id AND pairs.other_account = theirs.account_id
            WHERE common >= {SAME}
        )
        SELECT windows.connection_id, windows.account_id, other, other_account, windows.provider, common, windows.currency, risk
        FROM windows
        JOIN posted ON posted.day BETWEEN first_day AND last_day
            AND (posted.connection_id, posted.account_id) IN ((windows.connection_id, windows.account_id), (other, other_account))
        GROUP BY ALL
        HAVING common * 10 >= 9 * least(
            count(*) FILTER (posted.connection_id = windows.connection_id), count(*) FILTER (posted.connection_id = other)
        )
        ORDER BY ALL
        """
    ).fetchall()
    for first, first_account, other, account, provider, common, currency, risk in rows:
        yield Finding(
            kind="duplicate",
            step="source",
            provider=provider,
            connection_id=other,
            stream="accounts",
            account_id=account,
            records=1,
            sample=(Behind(other, "accounts", account, account, reason=f"the same as {first_account} of {first}"),),
            money={currency: risk} if currency else {},
            message=(
                f"expected account {account} of {other} to be another one than {first_account} of {first}, found "
                f"{common:,} posted transactions that are the same in both: one account is connected twice; pause one of the two "
                "connections, or leave it out of what you sum up"
            ),
            repair=Repair("person", advice=f"pause {other} or {first}: both read the same account"),
        )


def still(steps: Steps, today: dt.date, quiet: set[str]) -> Iterator[Finding]:
    """Accounts without a transaction for three times their longest pause; not of connections that are silent anyway."""
    rows = steps.at.duck.execute(
        """
        WITH days AS (
            SELECT DISTINCT provider, connection_id, account_id, day FROM records
            WHERE stream = 'transactions' AND status = 'posted' AND removed_at IS NULL AND day IS NOT NULL AND day <= ?
        ),
        gaps AS (
            SELECT *, day - lag(day) OVER (PARTITION BY connection_id, account_id ORDER BY day) AS gap FROM days
        ),
        rhythms AS (
            SELECT provider, connection_id, account_id, max(gap) AS longest, max(day) AS last_day, count(*) AS days
            FROM gaps GROUP BY ALL
        )
        SELECT provider, connection_id, account_id, longest, last_day FROM rhythms
        WHERE days >= ? AND ?::DATE - last_day > greatest(?, 3 * longest)
        ORDER BY ALL
        """,
        [today, USUAL, today, QUIET],
    ).fetchall()
    for provider, connection_id, account_id, longest, last_day in rows:
        if connection_id in quiet:
            continue
        yield Finding(
            kind="stale",
            step="source",
            provider=provider,
            connection_id=connection_id,
            stream="transactions",
            account_id=account_id,
            field="transactions",
            records=0,
            message=(
                f"expected a transaction of account {account_id} at least every {longest} days, as ever before, found none since "
                f"{last_day}; ask its customer whether the account is still used, or sign in at the bank again"
            ),
            repair=Repair("fetch", connection_id, "transactions", account_id, last_day),
        )
