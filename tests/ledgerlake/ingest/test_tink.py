"""Tink through the whole sync: the store is what the sandbox holds, and what brought nothing new is not asked for."""

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
from ledgerlake.ingest import ConnectionResult, sync
from ledgerlake.settings import Settings
from ledgerlake.store import Store, Vault

TODAY = dt.date(2026, 3, 1)


class Town:
    """A sandbox whose consents are connected, and the store that their syncs fill."""

    def __init__(self, server: sandbox.Server, store: Store, settings: Settings, vault: Vault) -> None:
        where = server.where()
        self.control_url: str = where["control_url"]
        self.http = httpx.Client(timeout=30)
        self.store = store
        keys = {f"tink_{name}": SecretStr(value) for name, value in where["tink_credentials"].items()}
        self.settings = settings.model_copy(
            update={"tink_url": where["tink_url"], "tink_requests_per_second": 1e6, **keys}
        )
        self.external: dict[str, str] = {}
        for one in self.http.get(f"{self.control_url}/customers").json():
            if one["provider"] == "tink":
                found, _ = store.add_connection(
                    vault,
                    provider="tink",
                    external_id=one["connection_id"],
                    customer_id=one["customer_id"],
                    secrets={name: SecretStr(value) for name, value in one["secrets"].items()},
                )
                self.external[found.connection_id] = one["connection_id"]

    def control(self, path: str, /, **body: object) -> Any:
        answer = self.http.post(self.control_url + path, json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def sync(self, **options: Any) -> dict[str, ConnectionResult]:
        """One sync on the sandbox's day."""
        today = dt.date.fromisoformat(self.http.get(f"{self.control_url}/clock").json()["today"])
        report = asyncio.run(sync(self.store, self.settings, today=today, **options))
        return {one.connection_id: one for one in report.connections}

    def query(self, text: str) -> list[dict[str, Any]]:
        with self.store.connect() as connection, connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(text).fetchall()  # type: ignore[arg-type]

    def held(self) -> dict[str, dict[str, tuple[str, str, Decimal]]]:
        """The current transactions of each connection: account, status and amount."""
        found: dict[str, dict[str, tuple[str, str, Decimal]]] = {one: {} for one in self.external}
        for row in self.query("SELECT *, payload::text AS text FROM raw.tink_transactions WHERE removed_at IS NULL"):
            told = json.loads(row["text"])
            value = told["amount"]["value"]
            amount = Decimal(value["unscaledValue"]).scaleb(-int(value["scale"]))
            status = "pending" if row["pending"] else "posted"
            found[row["connection_id"]][row["record_id"]] = (row["account_id"], status, amount)
        return found

    def truth(self) -> dict[str, dict[str, tuple[str, str, Decimal]]]:
        return {
            connection: {
                row["id"]: (account["id"], row["status"], Decimal(row["amount"]))
                for account in self.told(external)["accounts"]
                for row in account["transactions"]
            }
            for connection, external in self.external.items()
        }

    def told(self, external: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.http.get(f"{self.control_url}/truth", params={"connection_id": external}).json()
        return answer


@pytest.fixture
def town(store: Store, settings: Settings, vault: Vault) -> Iterator[Town]:
    world = sandbox.World.of(seed=1, customers=12, years=1, today=TODAY)
    with sandbox.Server(world, sandbox.Clock(TODAY)) as server:
        town = Town(server, store, settings, vault)
        with closing(town.http):
            yield town


def test_each_day_the_store_holds_what_tink_holds_and_a_second_sync_of_the_day_asks_for_no_transactions(
    town: Town,
) -> None:
    states = set()
    for days in (0, *[1] * 6, 5, 14, *[3] * 10):
        town.control("/clock", days=days)
        report = town.sync()
        assert town.held() == town.truth()
        states |= {one.outcome for one in report.values()}
        quiet = town.sync()
        for connection, one in quiet.items():
            if one.outcome != "skipped":
                accounts = len([a for a in town.told(town.external[connection])["accounts"] if a["status"] == "open"])
                assert (one.outcome, one.counts.new, one.counts.changed, one.counts.removed) == ("done", 0, 0, 0)
                # Code, token, consents and accounts; the application's own token is the first one's.
                assert one.requests in (4, 5)
                assert accounts > 0
        for connection, one in report.items():
            if one.outcome in {"needs_reauth", "skipped"}:
                town.control(f"/enrollments/{town.external[connection]}/repair")
                with town.store.connect() as postgres:
                    postgres.execute("UPDATE ledgerlake.connections SET state = 'active'")
    assert states == {"done", "needs_reauth"}
    removed = town.query("SELECT DISTINCT removed_reason FROM raw.tink_transactions WHERE removed_at IS NOT NULL")
    assert removed == [{"removed_reason": "superseded"}]
    readings = town.query("SELECT count(DISTINCT record_date) AS days FROM raw.tink_balances")
    assert readings == [{"days": 19}]
    vanished = town.query("SELECT DISTINCT state FROM ledgerlake.accounts ORDER BY state")
    assert vanished == [{"state": "open"}, {"state": "vanished"}]


def test_a_consent_that_is_over_stops_its_connection_alone_and_tells_why(town: Town) -> None:
    first, second, third, fourth = town.external
    for connection, reason in ((first, "credentials_invalid"), (second, "TEMPORARY_ERROR"), (third, "PERMANENT_ERROR")):
        town.control(f"/enrollments/{town.external[connection]}/disconnect", reason=reason)
    report = town.sync()
    assert {one: report[one].outcome for one in report} == {
        first: "needs_reauth",
        second: "partial",
        third: "gone",
        fourth: "done",
    }
    # Of a bank in trouble, what Tink has is read.
    assert town.held()[second] == town.truth()[second]
    consents = town.query("SELECT connection_id, payload->>'status' AS status FROM raw.tink_consents")
    assert {row["connection_id"]: row["status"] for row in consents} == {
        first: "AUTHENTICATION_ERROR",
        second: "TEMPORARY_ERROR",
        fourth: "UPDATED",
    }


def test_a_sync_that_was_interrupted_goes_on_and_everything_again_changes_nothing(town: Town) -> None:
    town.control("/faults", kind="error", path="/data/v2/transactions", probability=0.5, seed=3)
    assert "partial" in {one.outcome for one in town.sync().values()}
    town.http.delete(f"{town.control_url}/faults")
    assert {one.outcome for one in town.sync().values()} == {"done"}
    assert town.held() == town.truth()
    for options in ({"full": True}, {"since": dt.date(2026, 1, 15)}):
        report = town.sync(**options)
        assert {(one.outcome, one.counts.new, one.counts.changed, one.counts.removed) for one in report.values()} == {
            ("done", 0, 0, 0)
        }


def test_broken_rows_are_quarantined_and_the_others_kept(town: Town) -> None:
    for row in ("missing_amount", "nan", "nine_decimals", "wrong_type", "february_30"):
        town.control("/faults", kind="bad_row", row=row, path="/data/v2/transactions", times=1)
    assert {one.outcome for one in town.sync().values()} == {"done"}
    assert town.held() == town.truth()
    assert town.query("SELECT count(*)::int AS times FROM raw.quarantine WHERE provider = 'tink'") == [{"times": 5}]
