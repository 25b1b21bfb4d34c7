"""Many connections in one sync: who is called, who is not, and what an error does to whom."""

import asyncio
import datetime as dt
import json
import logging
from typing import Any

import psycopg
import pytest
from cryptography.fernet import Fernet
from psycopg import sql
from pydantic import SecretStr

from ledgerlake.errors import ServerError, UsageError
from ledgerlake.ingest import Event, sync
from ledgerlake.store import Vault


def enrol(desk: Any, server: Any, *names: str) -> list[Any]:
    """Connect an enrollment for each name, each with one account and one row."""
    banks = []
    for name in names:
        bank = server.bank(name)
        bank.account()
        bank.add(f"txn_{name}", "2026-02-28")
        desk.connect(bank.token, name, f"customer_{name}")
        banks.append(bank)
    return banks


def outcomes(report: Any) -> dict[str, str]:
    return {one.customer_id.removeprefix("customer_"): one.outcome for one in report.connections}


def test_a_closed_account_is_marked_its_records_stay_and_the_others_go_on(desk: Any, bank: Any, refuse: Any) -> None:
    bank.account("acc_2")
    bank.add("txn_1", "2026-02-27")
    bank.add("txn_2", "2026-02-27", account="acc_2")
    desk.connect(bank.token)
    desk.sync()
    bank.add("txn_3", "2026-02-28", account="acc_2")
    closed = refuse(410, "account.closed.no_access")
    bank.say = lambda path, query: closed if path.startswith("/accounts/acc_1/") else None
    bank.heard.clear()

    (result,) = desk.sync("2026-03-02").connections

    assert (result.outcome, result.error) == ("done", None)
    assert [one for one in bank.heard if one.startswith("/accounts/acc_1")] == ["/accounts/acc_1/balances"]
    assert desk.query("SELECT account_id, state, reason, since FROM ledgerlake.accounts ORDER BY 1") == [
        {
            "account_id": "acc_1",
            "state": "closed",
            "reason": "account.closed.no_access",
            "since": dt.date(2026, 3, 2),
        },
        {"account_id": "acc_2", "state": "open", "reason": None, "since": dt.date(2026, 3, 1)},
    ]
    assert desk.marks() == {"txn_1": None, "txn_2": None, "txn_3": None}

    bank.say = lambda path, query: None
    bank.heard.clear()
    desk.sync("2026-03-03")
    assert not [one for one in bank.heard if one.startswith("/accounts/acc_1")]
    desk.sync("2026-03-03", full=True)  # whoever asks for everything asks for closed accounts, too
    assert [row["state"] for row in desk.query("SELECT state FROM ledgerlake.accounts ORDER BY account_id")] == [
        "open",
        "open",
    ]


def test_an_account_that_is_listed_as_closed_is_not_read_until_it_is_listed_as_open(desk: Any, bank: Any) -> None:
    desk.connect(bank.token)
    bank.accounts["acc_1"]["status"] = "closed"
    desk.sync()
    assert bank.heard == ["/accounts", "/identity"]
    assert desk.query("SELECT state, reason FROM ledgerlake.accounts") == [
        {"state": "closed", "reason": "the provider lists it as closed"}
    ]
    bank.accounts["acc_1"]["status"] = "open"
    desk.sync("2026-03-02")
    assert desk.query("SELECT state, reason FROM ledgerlake.accounts") == [{"state": "open", "reason": None}]
    assert len(bank.heard) == 2 + 3


def test_a_connection_that_needs_its_customer_is_marked_and_not_called_again(
    desk: Any, server: Any, refuse: Any
) -> None:
    bad, _ = enrol(desk, server, "bad", "good")
    gone = refuse(404, "enrollment.disconnected.user_action.mfa_required")
    bad.say = lambda path, query: None if path == "/accounts" else gone
    reason = (
        "Teller reports enrollment.disconnected.user_action.mfa_required: the customer has to sign in at the bank again "
        "(Teller Connect in update mode, with this enrollment's id); until then it is not called"
    )

    report = desk.sync()
    assert outcomes(report) == {"bad": "needs_reauth", "good": "done"}
    assert len(bad.heard) == 2  # and no second account or stream is tried
    (state,) = desk.query("SELECT state, reason FROM ledgerlake.connections WHERE customer_id = 'customer_bad'")
    assert state == {"state": "needs_reauth", "reason": reason}
    assert [one.customer_id for one in report.failed] == ["customer_bad"]
    assert report.broken == ()

    report = desk.sync("2026-03-02")
    assert outcomes(report) == {"bad": "skipped", "good": "done"}
    assert next(one.error for one in report.connections if one.outcome == "skipped") == f"needs_reauth: {reason}"
    assert len(bad.heard) == 2

    bad.say = lambda path, query: None
    desk.connect(bad.token, "bad", "customer_bad")
    assert outcomes(desk.sync("2026-03-03")) == {"bad": "done", "good": "done"}
    assert desk.current().keys() == {"txn_bad", "txn_good"}


def test_a_revoked_token_ends_the_connection_and_keeps_its_records(desk: Any, server: Any) -> None:
    (bank,) = enrol(desk, server, "one")
    desk.sync()
    del server.banks[bank.token]
    assert outcomes(desk.sync()) == {"one": "gone"}
    assert desk.one("SELECT state FROM ledgerlake.connections") == "gone"
    assert desk.current().keys() == {"txn_one"}
    assert outcomes(desk.sync()) == {"one": "skipped"}


def test_a_connection_that_is_not_active_is_not_called_and_reported(desk: Any, server: Any) -> None:
    (bank,) = enrol(desk, server, "one")
    (connection,) = desk.store.connections()
    for state in ("paused", "gone", "needs_reauth"):
        desk.store.set_state(connection.connection_id, state, "by hand")
        (result,) = desk.sync().connections
        assert (result.outcome, result.error, result.requests, bank.heard) == ("skipped", f"{state}: by hand", 0, [])


def test_one_that_is_down_stops_no_other_and_is_tried_again_the_next_time(desk: Any, server: Any) -> None:
    down, up = enrol(desk, server, "down", "up")
    down.say = lambda path, query: (502, b"{}")
    report = desk.sync()
    assert outcomes(report) == {"down": "retry", "up": "done"}
    assert [one.customer_id for one in report.broken] == ["customer_down"]
    assert desk.one("SELECT last_synced_at FROM ledgerlake.connections WHERE customer_id = 'customer_down'") is None
    assert len(down.heard) == 3  # the attempts of one request: its other resources are not tried
    down.say = lambda path, query: None
    assert outcomes(desk.sync()) == {"down": "done", "up": "done"}
    assert len(up.heard) > 0


def test_an_application_without_certificate_stops_the_provider_with_one_sentence(
    desk: Any, server: Any, refuse: Any
) -> None:
    desk.settings = desk.settings.model_copy(update={"sync_concurrency": 1})
    banks = enrol(desk, server, "a", "b", "c")
    missing = refuse(400, "bad_request", "Missing certificate: retry request using your Teller certificate")
    for bank in banks:
        bank.say = lambda path, query: missing
    report = desk.sync()
    assert outcomes(report) == dict.fromkeys("abc", "misconfigured")
    (error,) = {one.error for one in report.connections}
    assert error == (
        "Teller expects the application's client certificate, found none that it accepts: set LEDGERLAKE_TELLER_CERTIFICATE "
        "and LEDGERLAKE_TELLER_PRIVATE_KEY to certificate.pem and private_key.pem of the application's teller.zip"
    )
    assert sum(len(bank.heard) for bank in banks) == 1
    assert {row["state"] for row in desk.query("SELECT state FROM ledgerlake.connections")} == {"active"}


def test_a_certificate_that_is_not_there_is_the_same_sentence_for_all(desk: Any, server: Any, tmp_path: Any) -> None:
    banks = enrol(desk, server, "a", "b")
    nowhere = tmp_path / "nowhere.pem"
    desk.settings = desk.settings.model_copy(update={"teller_certificate": nowhere, "teller_private_key": nowhere})
    report = desk.sync()
    assert outcomes(report) == {"a": "misconfigured", "b": "misconfigured"}
    assert len({one.error for one in report.connections}) == 1
    assert sum(len(bank.heard) for bank in banks) == 0


def test_secrets_that_no_key_decrypts_concern_their_connection_only(desk: Any, server: Any) -> None:
    other = Vault((SecretStr(Fernet.generate_key().decode()),))
    enrol(desk, server, "good")
    bank = server.bank("bad")
    desk.vault, mine = other, desk.vault
    desk.connect(bank.token, "bad", "customer_bad")
    desk.vault = mine
    report = desk.sync()
    assert outcomes(report) == {"bad": "misconfigured", "good": "done"}
    error = next(one.error for one in report.connections if one.outcome == "misconfigured")
    assert (
        "cannot be decrypted with the keys at hand: the key that encrypted them must be in LEDGERLAKE_SECRET_KEYS"
        in error
    )
    assert bank.heard == []
    assert desk.query("SELECT outcome FROM ledgerlake.syncs WHERE error = %s", error) == [{"outcome": "misconfigured"}]


def test_secrets_that_lack_one_concern_their_connection_only(desk: Any, server: Any) -> None:
    enrol(desk, server, "good")
    desk.store.add_connection(
        desk.vault, provider="teller", external_id="bad", customer_id="customer_bad", secrets={"other": SecretStr("x")}
    )
    assert outcomes(desk.sync()) == {"bad": "failed", "good": "done"}


def test_two_syncs_of_one_connection_at_once_take_turns_and_double_nothing(desk: Any, server: Any) -> None:
    (bank,) = enrol(desk, server, "one")
    for number in range(30):
        bank.add(f"txn_{number}", "2026-02-01")
    bank.page_cap = 5

    async def both() -> list[Any]:
        return await asyncio.gather(*(sync(desk.store, desk.settings, today=dt.date(2026, 3, 1)) for _ in range(2)))

    first, second = asyncio.run(both())

    assert {outcomes(first)["one"], outcomes(second)["one"]} == {"done"}
    assert sorted([first.streams["teller_transactions"].new, second.streams["teller_transactions"].new]) == [0, 31]
    assert len(desk.current()) == 31
    desk.assert_receipts_agree()
    spans = desk.query("SELECT started_at, ended_at FROM ledgerlake.syncs ORDER BY sync_id")
    assert spans[0]["ended_at"] <= spans[1]["started_at"]


def test_a_sync_that_waited_does_not_call_what_the_other_found_to_need_its_customer(
    desk: Any, server: Any, refuse: Any
) -> None:
    (bank,) = enrol(desk, server, "one")
    gone = refuse(404, "enrollment.disconnected")
    bank.say = lambda path, query: gone

    async def both() -> list[Any]:
        return await asyncio.gather(*(sync(desk.store, desk.settings, today=dt.date(2026, 3, 1)) for _ in range(2)))

    reports = asyncio.run(both())
    assert sorted(outcomes(report)["one"] for report in reports) == ["needs_reauth", "skipped"]
    assert bank.heard == ["/accounts"]


def test_a_connection_that_another_process_holds_for_too_long_is_busy(
    desk: Any, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bank,) = enrol(desk, server, "one")
    (connection,) = desk.store.connections()
    monkeypatch.setattr("ledgerlake.ingest._sync._lock.__defaults__", (0.05,))
    with desk.store.connect() as holder:
        holder.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (connection.connection_id,))
        (result,) = desk.sync().connections
    assert (result.outcome, result.error) == ("busy", "another sync of it has been running for 30 s")
    assert bank.heard == []


def test_connections_that_were_never_synced_come_first_and_the_stalest_next(desk: Any, server: Any) -> None:
    desk.settings = desk.settings.model_copy(update={"sync_concurrency": 1})
    enrol(desk, server, "a", "b")
    ids = {one.customer_id: one.connection_id for one in desk.store.connections()}
    desk.sync(connections=[ids["customer_b"]])
    desk.sync(connections=[ids["customer_a"]])
    enrol(desk, server, "c")
    server.order.clear()
    desk.sync()
    assert list(dict.fromkeys(server.order)) == ["c", "b", "a"]


class AtOnce:
    """How many connections are being answered at the same time."""

    def __init__(self) -> None:
        self.running: set[str] = set()
        self.most = 0

    async def answer(self, name: str) -> None:
        self.running.add(name)
        self.most = max(self.most, len(self.running))
        await asyncio.sleep(0.03)
        self.running.discard(name)


def test_no_more_connections_run_at_once_than_the_settings_allow(desk: Any, server: Any) -> None:
    for limit in (1, 3):
        server.most_in_flight = 0
        desk.settings = desk.settings.model_copy(update={"sync_concurrency": limit})
        banks = enrol(desk, server, *(f"{limit}_{number}" for number in range(6)))
        at_once = AtOnce()
        for bank in banks:
            bank.say = lambda path, query, bank=bank, at_once=at_once: at_once.answer(bank.enrollment)
        desk.sync(connections=[one.connection_id for one in desk.store.connections()][-6:])
        assert at_once.most == limit


def test_only_what_was_asked_for_is_synced_and_unknown_words_are_refused(desk: Any, server: Any) -> None:
    first, second = enrol(desk, server, "a", "b")
    ids = {one.customer_id: one.connection_id for one in desk.store.connections()}
    assert outcomes(desk.sync(connections=[ids["customer_b"]])) == {"b": "done"}
    assert first.heard == []
    assert outcomes(desk.sync(providers=["teller"])) == {"a": "done", "b": "done"}
    with pytest.raises(UsageError, match="There is no provider telex; known: gocardless, plaid, stripe, teller, tink"):
        desk.sync(providers=["telex"])
    with pytest.raises(UsageError, match="There is no connection con_none; `ledgerlake connections` lists them"):
        desk.sync(connections=["con_none"])
    assert len(second.heard) > 0


def test_progress_tells_each_connection_and_the_records_so_far(desk: Any, server: Any) -> None:
    enrol(desk, server, "a", "b")
    events: list[Event] = []
    report = desk.sync(progress=events.append)
    assert [(event.done, event.finished.outcome) for event in events if event.finished] == [(1, "done"), (2, "done")]
    assert {event.total for event in events} == {2}
    assert [event.records for event in events] == sorted(event.records for event in events)
    assert events[-1].records == report.counts.records == 8


def test_a_backend_that_is_killed_ends_the_sync_in_one_sentence_and_the_next_one_completes(
    desk: Any, server: Any, postgres_url: str
) -> None:
    (bank,) = enrol(desk, server, "one")
    bank.page_cap = 1
    for day in range(1, 8):
        bank.add(f"txn_{day}", f"2026-01-0{day}")
    killed: list[int] = []

    def kill(path: str, query: dict[str, str]) -> None:
        if query.get("from_id") == "txn_4" and not killed:
            with psycopg.connect(postgres_url, autocommit=True) as other:
                rows = other.execute(
                    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                ).fetchall()
                killed.extend(pid for (pid,) in rows)
                for pid in killed:
                    other.execute(sql.SQL("SELECT pg_terminate_backend({})").format(pid))

    bank.say = kill
    with pytest.raises(ServerError) as caught:
        desk.sync()
    assert str(caught.value) == (
        "PostgreSQL failed during the sync: terminating connection due to administrator command. "
        "What was committed stays; the next sync goes on from there."
    )
    assert len(killed) == 1
    assert set(desk.current()) < {"txn_one", *(f"txn_{day}" for day in range(1, 8))}
    desk.assert_receipts_agree()

    assert outcomes(desk.sync()) == {"one": "done"}
    assert set(desk.current()) == {"txn_one", *(f"txn_{day}" for day in range(1, 8))}
    desk.assert_receipts_agree()
    first, second = desk.query("SELECT outcome, error, new FROM ledgerlake.syncs ORDER BY sync_id")
    assert (first["outcome"], first["error"]) == ("failed", "it was killed before its end")
    assert first["new"] + second["new"] == 1 + 1 + 1 + 8  # account, identity, balance, transactions
    assert second["outcome"] == "done"


def test_a_postgresql_that_is_not_there_is_one_sentence(desk: Any) -> None:
    desk.store.postgres_url = "postgresql://nobody@127.0.0.1:1/none"
    with pytest.raises(ServerError, match="PostgreSQL cannot be reached"):
        desk.sync()


def test_no_secret_reaches_a_log_an_error_a_receipt_or_a_table_but_its_own(
    desk: Any, server: Any, refuse: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    _, down, html, gone, fault = banks = enrol(desk, server, "good", "down", "html", "gone", "fault")
    down.say = lambda path, query: (502, f"{{}} {down.token}".encode())
    html.say = lambda path, query: (200, f"<html>{html.token}</html>".encode()) if "trans" in path else None
    gone.say = lambda path, query: refuse(404, "enrollment.disconnected", gone.token)
    fault.accounts["acc_1"]["links"] = None
    with caplog.at_level(logging.DEBUG):
        report = desk.sync()
    assert outcomes(report) == {
        "good": "done",
        "down": "retry",
        "html": "partial",
        "gone": "needs_reauth",
        "fault": "done",
    }
    with desk.store.connect() as connection:
        connection.execute(
            """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE division_by_zero; END $$;
            CREATE TRIGGER refuse BEFORE INSERT ON ledgerlake.receipts FOR EACH ROW EXECUTE FUNCTION refuse()"""
        )
    with caplog.at_level(logging.DEBUG):
        broken = desk.sync(full=True)
    assert outcomes(broken)["good"] == "failed"
    out, err = capfd.readouterr()
    told = [caplog.text, out, err, repr(report), repr(broken)]
    with desk.store.connect() as connection:
        tables = connection.execute(
            """SELECT table_schema, table_name FROM information_schema.tables
            WHERE table_schema IN ('raw', 'ledgerlake') AND table_name <> 'secrets'"""
        ).fetchall()
        assert len(tables) > 20
        for table in tables:
            rows = connection.execute(sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(*table))).fetchall()
            told += [text for (text,) in rows]
    for bank in banks:
        assert [text for text in told if bank.token in text] == []
    assert any("sync failed" in text for text in told)
    sealed = desk.query("SELECT ciphertext FROM ledgerlake.secrets")
    assert len(sealed) == 5
    assert all(b"canary" not in bytes(row["ciphertext"]) for row in sealed)


def test_the_institution_is_told_by_the_accounts_and_changes_with_them(desk: Any, bank: Any) -> None:
    desk.connect(bank.token)
    desk.sync()
    revisions = desk.store.bucket_revisions()
    bank.accounts["acc_1"]["institution"]["name"] = "Another Name"
    desk.sync()
    assert desk.one("SELECT institution_name FROM ledgerlake.connections") == "Another Name"
    assert desk.store.bucket_revisions() != revisions
    assert json.loads(desk.rows("accounts")["acc_1"]["text"])["institution"]["name"] == "Another Name"
