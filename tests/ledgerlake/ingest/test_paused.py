"""What is paused stops at its next page, wherever that is, and goes on from there as if it had never stopped."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

import sandbox
from connectors import PROVIDERS
from ledgerlake.ingest import Event, SyncReport, sync
from ledgerlake.settings import Settings
from ledgerlake.store import Store, Vault

TODAY = dt.date(2026, 3, 1)


def a_bank(server: Any, name: str) -> Any:
    """Two accounts, whose rows take several pages each."""
    bank = server.bank(name)
    bank.page_cap = 3
    for account in ("acc_1", "acc_2"):
        bank.account(account)
        for number in range(8):
            bank.add(f"{account}_{number}", f"2026-02-{10 + number:02}", account=account)
    return bank


def change(bank: Any) -> None:
    """A new day: a row is new, one is corrected, one is gone."""
    for account in ("acc_1", "acc_2"):
        bank.rows[account].remove(next(row for row in bank.rows[account] if row["id"] == f"{account}_6"))
        next(row for row in bank.rows[account] if row["id"] == f"{account}_7")["description"] = "corrected"
        bank.add(f"{account}_8", "2026-03-01", account=account)


def pausing(bank: Any, at: int, pause: Callable[[], None]) -> None:
    """Pause while the bank works at its nth request from now on."""
    heard = 0

    def say(path: str, query: dict[str, str]) -> None:
        nonlocal heard
        heard += 1
        if heard == at:
            pause()

    bank.say = say


def state(desk: Any, connection_id: str) -> list[Any]:
    """All that a sync leaves of a connection: records, marks, versions and cursors."""
    return [
        desk.query(
            """SELECT record_id, account_id, payload::text, version, removed_reason FROM raw.teller_transactions
            WHERE connection_id = %s ORDER BY 1""",
            connection_id,
        ),
        desk.query(
            "SELECT stream, record_id, version, payload::text FROM raw.history WHERE connection_id = %s ORDER BY 1, 2, 3",
            connection_id,
        ),
        desk.query(
            """SELECT stream, account_id, cursor::text, read_on FROM ledgerlake.cursors
            WHERE connection_id = %s ORDER BY 1, 2""",
            connection_id,
        ),
    ]


@pytest.mark.parametrize("whole", [False, True], ids=["the connection", "the provider"])
def test_paused_at_any_page_and_resumed_it_is_as_if_it_had_never_paused(desk: Any, server: Any, whole: bool) -> None:
    never = a_bank(server, "never")
    untouched = desk.connect(never.token, "never", "never")
    desk.sync(connections=[untouched])
    first = state(desk, untouched)
    requests = len(never.heard)
    change(never)
    desk.sync("2026-03-02", connections=[untouched])
    second = state(desk, untouched)
    assert len(second[0]) == 18

    for at in range(1, requests + 1):
        bank = a_bank(server, f"at_{at}")
        connection_id = desk.connect(bank.token, bank.enrollment, bank.enrollment)

        def pause(connection_id: str = connection_id) -> None:
            if whole:
                desk.store.pause_provider("teller", "moving", "ana")
            else:
                desk.store.set_state(connection_id, "paused", "moving")

        def resume(connection_id: str = connection_id) -> None:
            if whole:
                desk.store.resume_provider("teller", "ana")
            else:
                desk.store.set_state(connection_id, "active", None)

        for day, expected in (("2026-03-01", first), ("2026-03-02", second)):
            pausing(bank, at, pause)
            bank.heard.clear()
            (stopped,) = desk.sync(day, connections=[connection_id]).connections
            why = "paused: all of teller: moving" if whole else "paused: moving"
            if len(bank.heard) >= at:
                assert (stopped.outcome, stopped.error) == ("paused", why), at
                # The page at which it was paused, and the one that was on its way meanwhile.
                assert len(bank.heard) <= at + 2
                assert desk.one("SELECT state FROM ledgerlake.connections WHERE connection_id = %s", connection_id) == (
                    "active" if whole else "paused"
                )
            bank.heard.clear()
            (skipped,) = desk.sync(day, connections=[connection_id]).connections
            if len(bank.heard) == 0:
                assert (skipped.outcome, skipped.error, skipped.requests) == ("skipped", why, 0)
            resume()
            bank.say = lambda path, query: None
            (done,) = desk.sync(day, connections=[connection_id]).connections
            assert (done.outcome, state(desk, connection_id)) == ("done", expected), (at, day)
            change(bank) if day == "2026-03-01" else None
    desk.assert_receipts_agree()
    ended = desk.query("SELECT DISTINCT outcome FROM ledgerlake.syncs ORDER BY 1")
    assert [one["outcome"] for one in ended] == ["done", "paused"]


def test_a_pause_is_nobodys_fault(desk: Any, server: Any) -> None:
    bank = a_bank(server, "one")
    desk.connect(bank.token, "one")
    pausing(bank, 3, lambda: desk.store.pause_provider("teller", "the contract ended", "ana"))
    report = desk.sync()
    assert (report.failed, report.broken, report.counts.new > 0) == ((), (), True)
    assert desk.query(
        "SELECT outcome, error, ended_at IS NOT NULL AS ended, new > 0 AS kept FROM ledgerlake.syncs"
    ) == [{"outcome": "paused", "error": "paused: all of teller: the contract ended", "ended": True, "kept": True}]
    assert desk.one("SELECT last_synced_at FROM ledgerlake.connections") is None


def test_a_connection_whose_customer_has_to_act_stops_in_the_middle_as_well(desk: Any, server: Any) -> None:
    bank = a_bank(server, "one")
    connection_id = desk.connect(bank.token, "one")
    pausing(bank, 3, lambda: desk.store.set_state(connection_id, "needs_reauth", "the bank said so"))
    (result,) = desk.sync().connections
    assert (result.outcome, result.error) == ("needs_reauth", "the bank said so")


def test_a_provider_that_the_settings_switch_off_is_not_called_and_its_records_stay(desk: Any, server: Any) -> None:
    bank = a_bank(server, "one")
    connection_id = desk.connect(bank.token, "one")
    desk.sync()
    before = state(desk, connection_id)
    change(bank)
    bank.heard.clear()
    off = desk.settings.model_copy(update={"teller_enabled": False})
    (result,) = asyncio.run(sync(desk.store, off, today=TODAY)).connections
    assert (result.outcome, result.error) == ("skipped", "paused: LEDGERLAKE_TELLER_ENABLED is false")
    assert (bank.heard, state(desk, connection_id)) == ([], before)
    assert desk.sync().connections[0].outcome == "done"


def test_a_paused_provider_is_not_called_misconfigured(desk: Any, server: Any) -> None:
    desk.connect(server.bank("one").token, "one")
    desk.store.pause_provider("teller", "no certificate any more", "ana")
    wrong = desk.settings.model_copy(update={"teller_certificate": desk.settings.home / "nothing.pem"})
    (result,) = asyncio.run(sync(desk.store, wrong, today=TODAY)).connections
    assert (result.outcome, result.error) == ("skipped", "paused: all of teller: no certificate any more")


@dataclass
class Everywhere:
    """Customers of all five providers at the sandbox."""

    store: Store
    settings: Settings

    def sync(self, **options: Any) -> SyncReport:
        return asyncio.run(sync(self.store, self.settings, today=TODAY, **options))


@pytest.fixture
def everywhere(store: Store, settings: Settings, vault: Vault) -> Iterator[Everywhere]:
    world = sandbox.World.of(seed=7, today=TODAY, customers=3, years=1)
    with sandbox.Server(world, sandbox.Clock(TODAY)) as server:
        where = server.where()
        update: dict[str, Any] = {}
        for provider in PROVIDERS:
            given = where.get(f"{provider}_credentials", {})
            update |= {f"{provider}_url": where[f"{provider}_url"], f"{provider}_requests_per_second": 1e6}
            update |= {f"{provider}_{name}": SecretStr(value) for name, value in given.items()}
        for one in httpx.get(f"{where['control_url']}/customers").json():
            connector = PROVIDERS[one["provider"]]
            secrets = connector.secrets(one["secrets"])
            store.add_connection(
                vault,
                provider=one["provider"],
                external_id=connector.external_id(secrets),
                customer_id=one["customer_id"],
                secrets=secrets,
            )
        yield Everywhere(store, settings.model_copy(update=update))


def test_a_provider_switched_off_in_the_middle_stops_its_connections_and_no_other(everywhere: Everywhere) -> None:
    stored = 0

    def off(event: Event) -> None:
        nonlocal stored
        stored += event.finished is None
        if stored == 12:
            everywhere.store.pause_provider("plaid", "switched off", "ana")

    report = everywhere.sync(progress=off)
    found = {(one.provider, one.outcome) for one in report.connections}
    assert found - {("plaid", "skipped")} == {
        ("plaid", "paused"),
        *((name, "done") for name in PROVIDERS if name != "plaid"),
    }


@pytest.mark.parametrize("provider", ["plaid", "tink", "stripe"])
def test_every_provider_goes_on_from_any_page_to_the_whole(everywhere: Everywhere, provider: str) -> None:
    """Each sync is paused a page later than the last one; a page of GoCardless is a whole read, and costs budget."""
    outcomes = []
    for most in range(1, 100):
        stored = 0

        def pause(event: Event, most: int = most) -> None:
            nonlocal stored
            stored += event.finished is None
            if stored == most:
                everywhere.store.pause_provider(provider, "moving", "ana")

        report = everywhere.sync(providers=[provider], progress=pause)
        outcomes += [one.outcome for one in report.connections]
        everywhere.store.resume_provider(provider, "ana")
        if {one.outcome for one in report.connections} == {"done"}:
            break
    assert outcomes.count("paused") > 2
    everything = everywhere.sync(providers=[provider], full=True)
    assert {one.outcome for one in everything.connections} == {"done"}
    counts = everything.counts
    assert (counts.new, counts.changed, counts.removed, counts.quarantined) == (0, 0, 0, 0)
    assert counts.unchanged > 100
