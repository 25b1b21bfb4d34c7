"""One transaction with a past: two versions, a broken one, a census that saw it, a finding, and its rows in a lake."""

import json
from dataclasses import dataclass

import psycopg
import pytest

from ledgerlake.lake import LakeReader
from ledgerlake.lake._project import models
from ledgerlake.local import S3, Servers
from ledgerlake.settings import Settings
from ledgerlake.store import Store
from tests.ledgerlake.lake.conftest import Press, Seed

SCRIPT = "<script>alert('canary')</script>"
PRIVATE = "Anna Zwetschkenbaum"
IBAN = "DE89370400440532013000"

FIRST = {
    "id": "t1",
    "amount": 12.5,
    "date": "2026-01-02",
    "description": PRIVATE,
    "details": {"counterparty": {"name": PRIVATE}, "category": "dining"},
    "iban": IBAN,
    "status": "pending",
}
SECOND = {**FIRST, "amount": 12.75, "description": SCRIPT, "status": "posted", "type": "card_payment"}
del SECOND["iban"]


@dataclass(frozen=True)
class Planted:
    """Where the transaction `t1` of `con_1` is, and `t2`, which was removed; `first` and `second` are its syncs."""

    connection_id: str
    first: int
    second: int
    finding_id: int


def plant(postgres_url: str, s3: S3, settings: Settings) -> Planted:
    seed = Seed(postgres_url).customer()
    seed.transaction("t1", "0")
    seed.transaction("t2", "7")
    seed.remove("t2", "removed")
    with psycopg.connect(postgres_url) as store:
        first, second = (_sync(store, page) for page in (1, 2))
        store.execute(
            """
            INSERT INTO raw.history
            SELECT 'teller', 'transactions', bucket, connection_id, record_id, account_id, record_date, true, %s::json,
                   gen_random_uuid(), 1, %s, first_synced_at, '2026-01-02T10:00Z', NULL, NULL, '2026-01-03T10:00Z', %s
            FROM raw.teller_transactions WHERE record_id = 't1'
            """,
            [json.dumps(FIRST), first, second],
        )
        store.execute(
            "UPDATE raw.teller_transactions SET payload = %s, version = 2, sync_id = %s WHERE record_id = 't1'",
            [json.dumps(SECOND), second],
        )
        store.execute(
            """
            INSERT INTO raw.quarantine (bucket, connection_id, provider, stream, account_id, record_id, payload, hash, reason)
            VALUES (0, 'con_1', 'teller', 'transactions', 'acc', 't1', '{broken', gen_random_uuid(), 'expected JSON')
            """
        )
        store.execute(
            """
            WITH read AS (
                INSERT INTO ledgerlake.census_reads (census_id, connection_id, stream, account_id, today, outcome)
                VALUES ('c', 'con_1', 'transactions', 'acc', '2026-01-04', 'done') RETURNING read_id
            )
            INSERT INTO ledgerlake.census_records
            SELECT read_id, 0, connection_id, 'transactions', account_id, record_id, record_date, pending, payload, hash
            FROM read, raw.teller_transactions WHERE record_id = 't1'
            """
        )
        found = store.execute(
            """
            WITH made AS (
                INSERT INTO ledgerlake.findings (fingerprint, kind, step, records, money, message, severity)
                VALUES ('f', 'mismatch', 'marts', 1, '{"USD": "0.25"}', 'a sentence', 'high') RETURNING finding_id
            )
            INSERT INTO ledgerlake.finding_records (finding_id, position, connection_id, stream, record_id, field, expected, found)
            SELECT finding_id, 0, 'con_1', 'transactions', 't1', 'amount', '12.75', '12.5' FROM made RETURNING finding_id
            """
        ).fetchone()
    assert found is not None
    _publish(Press(Servers(postgres_url, s3), settings))
    return Planted("con_1", first, second, found[0])


def _sync(store: psycopg.Connection, page: int) -> int:
    row = store.execute(
        """
        WITH made AS (
            INSERT INTO ledgerlake.syncs (connection_id, today, mode, started_at, ended_at, outcome)
            VALUES ('con_1', '2026-01-02', 'incremental', now(), now(), 'done') RETURNING sync_id
        )
        INSERT INTO ledgerlake.receipts (sync_id, page, stream, account_id, request, items, rejected, ids_hash, size, new,
                                         changed, unchanged, removed, complete)
        SELECT sync_id, %(page)s, stream, 'acc', 'GET /' || stream, 1, 0, gen_random_uuid(), 9, 1, 0, 0, 0, true
        FROM made, (VALUES ('transactions'), ('elsewhere')) AS streams (stream) WHERE stream = 'transactions'
        RETURNING sync_id
        """,
        {"page": page},
    ).fetchone()
    assert row is not None
    return int(row[0])


def _publish(press: Press) -> None:
    known = models()

    def rows(model: str, *given: dict[str, str]) -> dict[int | None, str]:
        columns = known[model].columns
        selects = [
            ", ".join(f"{one.get(name, 'null')}::{kind} as {name}" for name, kind in columns)
            for one in ({"bucket": "0", "connection_id": "'con_1'", **one} for one in given)
        ]
        return {0: " union all ".join(f"select {one}" for one in selects)}

    def quoted(text: str) -> str:
        return "'" + text.replace("'", "''") + "'"

    told = {"provider_transaction_id": "'t1'", "amount": "12.75", "description": quoted(PRIVATE)}
    plan = press.plan([0])
    files = press.write(plan, "stg_teller__transactions", {0: _staged(told)}, "staging")
    files += press.write(
        plan,
        "fct_transactions",
        rows(
            "fct_transactions",
            {
                **told,
                "transaction_key": "'con_1:t1'",
                "customer_id": "'cust_con_1'",
                "provider": "'teller'",
                "provider_account_id": "'acc'",
                "booked_on": "'2026-01-02'",
                "currency": "'USD'",
                "status": "'posted'",
            },
        ),
    )
    files += press.write(
        plan,
        "excluded_records",
        rows(
            "excluded_records",
            {
                "provider": "'teller'",
                "stream": "'transactions'",
                "record_id": "'t2'",
                "model": "'int_transactions'",
                "reason": "'removed'",
            },
        ),
    )
    press.publisher.publish(plan, files, "code")


def _staged(told: dict[str, str]) -> str:
    """A staging row, and of `t2` another: it was read, and left out later."""
    shown = ", ".join(f"{value} as {name}" for name, value in told.items())
    return (
        f"select 0::smallint as bucket, 'con_1' as connection_id, {shown} union all select 0, 'con_1', 't2', 7, 'gone'"
    )


@pytest.fixture
def planted(postgres_url: str, s3: S3, settings: Settings, store: Store) -> Planted:
    return plant(postgres_url, s3, settings)


@pytest.fixture
def lake(postgres_url: str, s3: S3, settings: Settings) -> LakeReader:
    return LakeReader(Servers(postgres_url, s3), settings)
