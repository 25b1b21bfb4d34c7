"""A store filled as syncs fill it, and the lake that the models make of it."""

import datetime as dt
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ledgerlake.lake import Lake
from ledgerlake.local import S3, Servers
from ledgerlake.settings import Settings

AT = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Book:
    """Writes records of one connection into the store, and its customer's other connections."""

    store: psycopg.Connection
    connection_id: str = "con_1"
    bucket: int = 1
    provider: str = "teller"

    def connect(self, customer_id: str = "cust_1", **columns: Any) -> "Book":
        given = {"created_at": AT, "state_since": AT, "last_synced_at": AT, **columns}
        names = ", ".join(given)
        self.store.execute(
            f"""
            insert into ledgerlake.connections (connection_id, customer_id, provider, external_id, bucket, {names})
            values (%s, %s, %s, 'enr_' || %s, %s, {", ".join(["%s"] * len(given))})
            """,
            [self.connection_id, customer_id, self.provider, self.connection_id, self.bucket, *given.values()],
        )
        return self

    def record(
        self, stream: str, record_id: str, payload: dict[str, Any] | str, account_id: str | None = None, **columns: Any
    ) -> None:
        given = {"record_date": None, "pending": False, "removed_at": None, "removed_reason": None, **columns}
        names = ", ".join(given)
        self.store.execute(
            f"""
            insert into raw.{self.provider}_{stream}
                (bucket, connection_id, record_id, account_id, payload, hash, version, sync_id, first_synced_at,
                 synced_at, {names})
            values (%s, %s, %s, %s, %s, gen_random_uuid(), 1, 1, %s, %s, {", ".join(["%s"] * len(given))})
            """,
            [
                self.bucket,
                self.connection_id,
                record_id,
                account_id or record_id,
                payload if isinstance(payload, str) else json.dumps(payload),
                AT,
                AT,
                *given.values(),
            ],
        )

    def account(self, account_id: str, kind: str = "depository", **fields: Any) -> None:
        columns = {name: fields.pop(name) for name in ("removed_at", "removed_reason") if name in fields}
        payload = {
            "id": account_id,
            "name": "Everyday",
            "type": kind,
            "subtype": "checking",
            "currency": "USD",
            "status": "open",
            "institution": {"id": "chase", "name": "Chase"},
        }
        self.record("accounts", account_id, payload | fields, **columns)

    def balance(
        self, account_id: str, day: str, ledger: str | None, available: str | None = None, **columns: Any
    ) -> None:
        payload = {"account_id": account_id, "ledger": ledger, "available": available}
        self.record("balances", f"{account_id}:{day}", payload, account_id, record_date=day, **columns)

    def transaction(
        self, record_id: str, amount: str, account_id: str = "checking", day: str = "2026-01-15", **given: Any
    ) -> None:
        columns = {name: given.pop(name) for name in ("pending", "removed_at", "removed_reason") if name in given}
        payload = {
            "id": record_id,
            "amount": amount,
            "date": day,
            "description": "Rent",
            "type": "ach",
            "running_balance": None,
            "details": {"processing_status": "complete", "category": None, "counterparty": None},
        }
        self.record("transactions", record_id, payload | given, account_id, record_date=day, **columns)

    def quarantine(self, stream: str, record_id: str | None, reason: str, **columns: Any) -> None:
        given = {"released_at": None, **columns}
        self.store.execute(
            """
            insert into raw.quarantine
                (bucket, connection_id, provider, stream, record_id, payload, hash, reason, last_seen_at, released_at)
            values (%s, %s, %s, %s, %s, '{"amount":', '00000000-0000-0000-0000-000000000001', %s, %s, %s)
            """,
            [self.bucket, self.connection_id, self.provider, stream, record_id, reason, AT, given["released_at"]],
        )

    def state(self, account_id: str, state: str) -> None:
        self.store.execute(
            "insert into ledgerlake.accounts (connection_id, account_id, state, since) values (%s, %s, %s, '2026-01-31')",
            [self.connection_id, account_id, state],
        )


@pytest.fixture
def books(postgres_url: str) -> Iterator[Callable[..., Book]]:
    """Opens the book of a connection."""
    with psycopg.connect(postgres_url, autocommit=True) as store:

        def connect(connection_id: str = "con_1", bucket: int = 1, provider: str = "teller", **columns: Any) -> Book:
            return Book(store, connection_id, bucket, provider).connect(**columns)

        yield connect


@pytest.fixture
def lake(postgres_url: str, s3: S3, settings: Settings, parsed: Path) -> Lake:
    shutil.copytree(parsed, settings.home / "dbt")
    return Lake(Servers(postgres_url, s3), settings)
