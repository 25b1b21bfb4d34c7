"""Plaid through the whole sync: the store is what the Item holds, whatever happens between two pages of a loop."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import httpx
import pytest
from psycopg.rows import dict_row
from pydantic import SecretStr

import sandbox
from ledgerlake.ingest import SyncReport, sync
from ledgerlake.settings import Settings
from ledgerlake.store import Store, Vault

TODAY = dt.date(2026, 3, 1)
CUSTOMERS = (0, 2, 3)


class Town:
    """A sandbox whose Items are connected, and the store that their syncs fill."""

    def __init__(self, server: sandbox.Server, store: Store, settings: Settings, vault: Vault) -> None:
        where = server.where()
        self.control_url: str = where["control_url"]
        self.http = httpx.Client(timeout=30)
        self.store = store
        keys = {name: SecretStr(value) for name, value in where["plaid_credentials"].items()}
        self.settings = settings.model_copy(
            update={
                "plaid_url": where["plaid_url"],
                "plaid_client_id": keys["client_id"],
                "plaid_secret": keys["secret"],
            }
        )
        told = self.http.get(f"{self.control_url}/customers").json()
        chosen = {f"customer-{index + 1:05}" for index in CUSTOMERS}
        self.items: dict[str, str] = {}
        self.tokens: dict[str, str] = {}
        for one in told:
            if one["provider"] == "plaid" and one["customer_id"] in chosen:
                secrets = {name: SecretStr(value) for name, value in one["secrets"].items()}
                found, _ = store.add_connection(
                    vault,
                    provider="plaid",
                    external_id=one["connection_id"],
                    customer_id=one["customer_id"],
                    secrets=secrets,
                )
                self.items[found.connection_id] = one["connection_id"]
                self.tokens[found.connection_id] = one["secrets"]["access_token"]

    def control(self, endpoint: str, /, **body: object) -> Any:
        answer = self.http.post(self.control_url + endpoint, json=body)
        assert answer.is_success, answer.text
        return answer

    def sync(self, **options: Any) -> SyncReport:
        """One sync on the sandbox's day."""
        today = dt.date.fromisoformat(self.http.get(f"{self.control_url}/clock").json()["today"])
        return asyncio.run(sync(self.store, self.settings, today=today, **options))

    def rows(self, sql: str) -> list[dict[str, Any]]:
        with self.store.connect() as connection, connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(sql).fetchall()

    def held(self, connection_id: str) -> dict[str, tuple[str, bool, Decimal]]:
        """The current transactions: date, pending, and the amount from the holder's side."""
        found = self.rows(
            "SELECT record_id, payload::text AS payload, connection_id FROM raw.plaid_transactions WHERE removed_at IS NULL"
        )
        payloads = {
            row["record_id"]: json.loads(row["payload"], parse_float=Decimal, parse_int=Decimal)
            for row in found
            if row["connection_id"] == connection_id
        }
        return {name: (row["date"], row["pending"], -row["amount"]) for name, row in payloads.items()}

    def truth(self, connection_id: str) -> dict[str, tuple[str, bool, Decimal]]:
        query = {"connection_id": self.items[connection_id]}
        told = self.http.get(f"{self.control_url}/truth", params=query).json()
        return {
            row["id"]: (row["date"], row["status"] == "pending", Decimal(row["amount"]))
            for account in told["accounts"]
            for row in account["transactions"]
        }

    def cursors(self) -> dict[str, Any]:
        found = self.rows("SELECT connection_id, cursor FROM ledgerlake.cursors WHERE stream = 'transactions'")
        return {row["connection_id"]: row["cursor"] for row in found}

    def is_true(self) -> bool:
        return {one: self.held(one) for one in self.items} == {one: self.truth(one) for one in self.items}


@pytest.fixture
def town(store: Store, settings: Settings, vault: Vault) -> Iterator[Town]:
    world = sandbox.World.of(seed=1, customers=4, years=1, today=TODAY)
    with sandbox.Server(world, sandbox.Clock(TODAY)) as server:
        town = Town(server, store, settings, vault)
        with closing(town.http):
            yield town


def test_each_day_the_store_holds_what_the_items_hold(town: Town) -> None:
    for days in (0, 1, 1, 5, 14):
        town.control("/clock", days=days)
        report = town.sync()
        assert [one.outcome for one in report.connections] == ["done"] * 3
        assert town.is_true()
    quiet = town.sync()
    assert [(one.requests, one.counts.new, one.counts.removed) for one in quiet.connections] == [(3, 0, 0)] * 3
    readings = town.rows("SELECT count(*) AS n, count(DISTINCT record_date) AS days FROM raw.plaid_balances")
    assert readings[0]["days"] == 5


def test_a_loop_that_is_overtaken_between_two_pages_begins_again(town: Town) -> None:
    one = next(iter(town.items))
    fault = {"path": "/transactions/sync", "token": town.tokens[one], "times": 1}
    # The first page comes as it is, the second one is refused.
    town.control("/faults", kind="slow", seconds=0, **fault)
    town.control("/faults", kind="disconnected", reason="TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION", **fault)
    report = town.sync()
    assert [one.outcome for one in report.connections] == ["done"] * 3
    assert max(one.requests for one in report.connections) == 6
    assert town.is_true()


def test_an_item_that_is_not_ready_stores_no_cursor_and_comes_later(town: Town) -> None:
    town.control("/faults", kind="disconnected", reason="NOT_READY", path="/transactions/sync", times=3)
    report = town.sync()
    assert [one.outcome for one in report.connections] == ["partial"] * 3
    assert [cursor for cursor in town.cursors().values() if cursor is not None] == []
    assert [one.outcome for one in town.sync().connections] == ["done"] * 3
    assert town.is_true()


def test_everything_again_and_a_range_change_nothing_and_leave_the_cursor(town: Town) -> None:
    town.sync()
    before = town.cursors()
    for options in ({"full": True}, {"since": dt.date(2026, 1, 15)}):
        report = town.sync(**options)
        assert [
            (one.outcome, one.counts.new, one.counts.changed, one.counts.removed) for one in report.connections
        ] == [("done", 0, 0, 0)] * 3
    assert town.cursors() == before
    assert town.is_true()


def test_an_item_that_needs_a_login_stops_alone(town: Town) -> None:
    town.sync()
    broken, *others = town.items
    town.control(f"/enrollments/{town.items[broken]}/disconnect", reason="account_locked")
    town.control("/clock", days=1)
    outcomes = {one.connection_id: one.outcome for one in town.sync().connections}
    assert outcomes == {broken: "needs_reauth"} | dict.fromkeys(others, "done")
    assert town.store.connection(broken).state == "needs_reauth"
