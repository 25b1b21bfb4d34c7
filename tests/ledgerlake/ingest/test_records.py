"""Each record exactly once, byte for byte, with what the source said of it."""

import datetime as dt
import json
from typing import Any

import psycopg
import pytest


def test_a_first_sync_stores_every_record_byte_for_byte_with_receipts_and_cursor(
    desk: Any, bank: Any, independent_ids_hash: Any
) -> None:
    bank.account("acc_2")
    bank.page_cap = 2
    bank.add(
        "txn_1", "2026-02-27", "12.3400", description="naïve \x00 \\u0041 € 😀", details={"b": 1, "a": [1.50, 1e3]}
    )
    bank.add("txn_2", "2026-02-28", "-0.00000001", status="pending")
    bank.add("txn_3", "2024-02-29")
    bank.add("txn_4", "2026-01-01", account="acc_2")
    connection = desk.connect(bank.token)

    report = desk.sync()

    sent = {json.loads(row)["id"]: row for account in ("acc_1", "acc_2") for row in bank.shown(account)}
    assert desk.current() == sent
    assert [
        (name, counts.new, counts.changed, counts.unchanged, counts.removed, counts.quarantined)
        for name, counts in report.streams.items()
    ] == [
        ("teller_accounts", 2, 0, 0, 0, 0),
        ("teller_identity", 2, 0, 0, 0, 0),
        ("teller_balances", 2, 0, 0, 0, 0),
        ("teller_transactions", 4, 0, 0, 0, 0),
    ]
    (result,) = report.connections
    assert (result.connection_id, result.outcome, result.error) == (connection, "done", None)
    assert (result.requests, result.retries) == (len(bank.heard), 0)

    receipts = desk.query("SELECT * FROM ledgerlake.receipts ORDER BY page")
    assert [f"/{row['request'].split(' /')[1]}" for row in receipts] == bank.heard
    assert [
        (row["items"], row["ids_hash"], row["new"], row["rejected"], row["complete"], row["complete_since"])
        for row in receipts
        if row["stream"] == "transactions"
    ] == [
        (2, independent_ids_hash(["txn_2", "txn_1"]), 2, 0, False, None),
        (1, independent_ids_hash(["txn_3"]), 1, 0, False, None),
        (0, independent_ids_hash([]), 0, 0, True, None),
        (1, independent_ids_hash(["txn_4"]), 1, 0, False, None),
        (0, independent_ids_hash([]), 0, 0, True, None),
    ]
    desk.assert_receipts_agree()
    (sync,) = desk.query("SELECT * FROM ledgerlake.syncs")
    assert (sync["outcome"], sync["mode"], sync["new"], sync["requests"]) == (
        "done",
        "incremental",
        10,
        len(bank.heard),
    )
    rows = desk.rows()
    assert [
        (row["account_id"], row["record_date"], row["pending"], row["version"], row["sync_id"]) for row in rows.values()
    ] == [
        ("acc_1", dt.date(2026, 2, 27), False, 1, sync["sync_id"]),
        ("acc_1", dt.date(2026, 2, 28), True, 1, sync["sync_id"]),
        ("acc_1", dt.date(2024, 2, 29), False, 1, sync["sync_id"]),
        ("acc_2", dt.date(2026, 1, 1), False, 1, sync["sync_id"]),
    ]
    (state,) = desk.query("SELECT institution_id, institution_name, last_synced_at FROM ledgerlake.connections")
    assert (state["institution_id"], state["institution_name"]) == ("security_cu", "Security Credit Union")
    assert state["last_synced_at"] is not None


def test_rows_receipt_and_cursor_of_a_page_come_in_one_transaction(desk: Any, bank: Any) -> None:
    bank.page_cap = 1
    bank.add("txn_1", "2026-02-01")
    bank.add("txn_2", "2026-02-02")
    desk.connect(bank.token)
    desk.sync()

    rows = desk.query("SELECT xmin::text, record_id FROM raw.teller_transactions ORDER BY record_id DESC")
    receipts = desk.query("SELECT xmin::text FROM ledgerlake.receipts WHERE stream = 'transactions' ORDER BY page")
    assert [row["xmin"] for row in rows] == [row["xmin"] for row in receipts][:2]

    bank.say = lambda path, query: (502, b"") if query.get("from_id") == "txn_2" else None
    desk.query("DELETE FROM ledgerlake.cursors RETURNING 1")
    desk.sync()
    (cursor,) = desk.query("SELECT xmin::text, cursor FROM ledgerlake.cursors WHERE stream = 'transactions'")
    (receipt,) = desk.query(
        "SELECT xmin::text, request FROM ledgerlake.receipts WHERE stream = 'transactions' ORDER BY received_at DESC LIMIT 1"
    )
    assert cursor["cursor"] == {"backfill": {"from_id": "txn_2", "began_on": "2026-03-01"}}
    assert cursor["xmin"] == receipt["xmin"]


def test_a_page_that_cannot_be_stored_leaves_neither_rows_nor_receipt_nor_cursor(desk: Any, bank: Any) -> None:
    bank.add("txn_1", "2026-02-01")
    desk.connect(bank.token)
    with desk.store.connect() as connection:
        connection.execute(
            """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF NEW.stream = 'transactions' THEN RAISE division_by_zero; END IF;
                RETURN NEW;
            END $$;
            CREATE TRIGGER refuse BEFORE INSERT ON ledgerlake.receipts FOR EACH ROW EXECUTE FUNCTION refuse()"""
        )

    report = desk.sync()

    (result,) = report.connections
    assert (result.outcome, result.error) == ("failed", "a fault of Ledgerlake: DivisionByZero; see the log")
    assert desk.rows() == {}
    assert desk.query("SELECT 1 FROM ledgerlake.receipts WHERE stream = 'transactions'") == []
    assert desk.query("SELECT cursor FROM ledgerlake.cursors WHERE stream = 'transactions'") == []
    assert report.streams == {
        name: counts for name, counts in report.streams.items() if name != "teller_transactions"
    }  # nothing is counted that was not committed
    with desk.store.connect() as connection:
        connection.execute("DROP TRIGGER refuse ON ledgerlake.receipts")
    assert desk.sync().connections[0].outcome == "done"
    assert set(desk.current()) == {"txn_1"}


def test_a_sync_of_nothing_new_writes_no_row_version_and_asks_only_what_it_must(desk: Any, bank: Any) -> None:
    bank.account("acc_2")
    for account in ("acc_1", "acc_2"):
        for number in range(40):
            day = dt.date(2026, 3, 1) - dt.timedelta(days=number)
            bank.add(f"txn_{account}_{number}", day.isoformat(), account=account)
    desk.connect(bank.token)
    desk.sync()
    before = desk.physical()
    bank.heard.clear()

    report = desk.sync()

    assert desk.physical() == before
    assert bank.heard == [
        "/accounts",
        "/accounts/acc_1/balances",
        "/accounts/acc_1/transactions?count=500&start_date=2026-02-18",
        "/accounts/acc_2/balances",
        "/accounts/acc_2/transactions?count=500&start_date=2026-02-18",
    ]
    assert (report.counts.new, report.counts.changed, report.counts.removed) == (0, 0, 0)
    assert report.counts.unchanged == 2 + 2 + 2 * 12
    desk.assert_receipts_agree()


def test_a_corrected_record_is_current_and_each_version_stays_in_history(desk: Any, bank: Any, wire: Any) -> None:
    row = bank.add("txn_1", "2026-02-28", "1.00")
    desk.connect(bank.token)
    desk.sync()
    versions = [wire(row)]
    for number, change in enumerate(
        (
            {"amount": "2.00"},
            {"details": {"processing_status": "complete", "category": "bar"}},
            {"date": "2026-02-27"},
            {"amount": "2.00 "[:4], "description": "same amount, another text"},
        )
    ):
        row.update(change)
        report = desk.sync(dt.date(2026, 3, 2) + dt.timedelta(days=number))
        assert report.streams["teller_transactions"].changed == 1
        versions.append(wire(row))

    assert desk.current() == {"txn_1": versions[-1]}
    assert [(old["version"], old["text"].encode()) for old in desk.history("txn_1")] == list(
        enumerate(versions[:-1], 1)
    )
    (held,) = desk.rows().values()
    assert (held["version"], held["record_date"]) == (5, dt.date(2026, 2, 27))
    assert held["first_synced_at"] == desk.history("txn_1")[0]["synced_at"]
    assert [old["superseded_at"] for old in desk.history("txn_1")] == [
        *(old["synced_at"] for old in desk.history("txn_1")[1:]),
        held["synced_at"],
    ]
    desk.assert_receipts_agree()


def test_a_record_that_posts_late_behind_the_last_sync_is_found(desk: Any, bank: Any) -> None:
    bank.add("txn_0", "2026-01-01")
    bank.add("txn_1", "2026-02-28")
    desk.connect(bank.token)
    desk.sync()
    bank.add("txn_late", "2026-02-20")
    assert desk.sync("2026-03-02").streams["teller_transactions"].new == 1
    assert desk.current().keys() == {"txn_0", "txn_1", "txn_late"}


def test_the_same_record_twice_in_one_read_is_stored_once(desk: Any, bank: Any, wire: Any) -> None:
    row = bank.add("txn_1", "2026-02-28")
    bank.rows["acc_1"].append(wire(row))
    desk.connect(bank.token)
    report = desk.sync()
    assert desk.current() == {"txn_1": wire(row)}
    assert (report.streams["teller_transactions"].new, report.streams["teller_transactions"].unchanged) == (1, 1)
    desk.assert_receipts_agree()


def test_since_reads_a_range_again_and_touches_no_cursor(desk: Any, bank: Any) -> None:
    for month in range(1, 13):
        bank.add(f"txn_{month:02}", f"2025-{month:02}-15")
    bank.account("acc_1", streams=("balances", "transactions", "details"))
    desk.connect(bank.token)
    desk.sync()
    cursors = desk.query("SELECT stream, account_id, cursor::text FROM ledgerlake.cursors ORDER BY 1, 2")
    read = desk.query(
        "SELECT stream, read_on FROM ledgerlake.cursors WHERE stream IN ('details', 'identity') ORDER BY 1"
    )
    bank.rows["acc_1"][5]["amount"] = "6.66"
    bank.rows["acc_1"][2]["amount"] = "3.33"
    bank.drop("txn_08")
    bank.heard.clear()

    report = desk.sync("2026-05-01", since=dt.date(2025, 6, 1))

    assert next(heard for heard in bank.heard if "transactions?" in heard) == (
        "/accounts/acc_1/transactions?count=500&start_date=2025-05-15"
    )
    assert not [heard for heard in bank.heard if heard.endswith(("/details", "/identity"))]
    assert (report.counts.changed, report.counts.removed) == (1, 1)
    assert desk.marks()["txn_08"] == "removed"
    assert json.loads(desk.current()["txn_03"])["amount"] == "1.00"
    assert desk.query("SELECT stream, account_id, cursor::text FROM ledgerlake.cursors ORDER BY 1, 2") == cursors
    assert (
        desk.query("SELECT stream, read_on FROM ledgerlake.cursors WHERE stream IN ('details', 'identity') ORDER BY 1")
        == read
    )
    assert desk.one("SELECT mode FROM ledgerlake.syncs ORDER BY sync_id DESC LIMIT 1") == "since"


def test_full_reads_everything_again_finds_old_changes_and_removals_and_touches_no_cursor(desk: Any, bank: Any) -> None:
    bank.account("acc_1", streams=("balances", "transactions", "details"))
    for month in range(1, 13):
        bank.add(f"txn_{month:02}", f"2025-{month:02}-15")
    desk.connect(bank.token)
    desk.sync()
    cursors = desk.query("SELECT stream, account_id, cursor::text FROM ledgerlake.cursors ORDER BY 1, 2")
    bank.rows["acc_1"][2]["amount"] = "3.33"
    bank.drop("txn_01")
    bank.heard.clear()

    report = desk.sync("2026-03-02", full=True)

    assert (report.counts.changed, report.counts.removed) == (1, 1)
    assert desk.marks()["txn_01"] == "removed"
    assert {heard for heard in bank.heard if heard.endswith(("/details", "/identity"))} == {
        "/accounts/acc_1/details",
        "/identity",
    }
    assert desk.query("SELECT stream, account_id, cursor::text FROM ledgerlake.cursors ORDER BY 1, 2") == cursors


def test_a_stream_of_every_thirty_days_is_read_on_the_thirtieth_and_sooner_when_it_brought_nothing(
    desk: Any, bank: Any, refuse: Any
) -> None:
    bank.account("acc_1", streams=("transactions", "details"))
    unverified = refuse(404, "account_number_verification_pending")
    bank.say = lambda path, query: unverified if path.endswith("/details") else None
    desk.connect(bank.token)

    def asked(day: str) -> list[str]:
        bank.heard.clear()
        assert desk.sync(day).connections[0].outcome == "done"
        return [heard for heard in bank.heard if heard.endswith(("details", "identity"))]

    assert asked("2026-03-01") == ["/identity", "/accounts/acc_1/details"]
    assert asked("2026-03-03") == []
    bank.say = lambda path, query: None
    assert asked("2026-03-04") == ["/accounts/acc_1/details"]
    assert asked("2026-03-30") == []
    assert asked("2026-03-31") == ["/identity"]
    assert asked("2026-04-03") == ["/accounts/acc_1/details"]
    assert list(desk.rows("details")) == ["acc_1"]


def test_a_first_read_that_stopped_half_way_goes_on_there_and_then_reads_what_came_meanwhile(
    desk: Any, bank: Any
) -> None:
    bank.page_cap = 2
    for number in range(6):
        bank.add(f"txn_{number}", f"2025-0{number + 1}-01")
    pending = bank.add("txn_pending", "2025-07-01", status="pending")
    desk.connect(bank.token)
    bank.say = lambda path, query: (502, b"") if query.get("from_id") == "txn_3" else None
    assert desk.sync("2025-07-02").connections[0].outcome == "partial"
    assert desk.current().keys() == {"txn_pending", "txn_5", "txn_4", "txn_3"}

    bank.say = lambda path, query: None
    bank.rows["acc_1"].remove(pending)
    bank.add("txn_posted", "2025-07-20")
    bank.heard.clear()
    report = desk.sync("2025-07-21")

    assert bank.heard[2].endswith("count=500&from_id=txn_3")
    assert report.connections[0].outcome == "done"
    assert {one: mark for one, mark in desk.marks().items() if mark} == {"txn_pending": "superseded"}
    assert desk.current().keys() == {"txn_posted", *(f"txn_{number}" for number in range(6))}
    desk.assert_receipts_agree()


def test_balances_are_one_reading_a_day_and_a_correction_of_the_day_is_a_version(desk: Any, bank: Any) -> None:
    desk.connect(bank.token)
    desk.sync("2026-03-01")
    bank.balances["acc_1"] = "11.00"
    desk.sync("2026-03-01")
    desk.sync("2026-03-02")
    assert {
        record_id: (row["record_date"], json.loads(row["text"])["ledger"], row["version"])
        for record_id, row in desk.rows("balances").items()
    } == {
        "acc_1:2026-03-01": (dt.date(2026, 3, 1), "11.00", 2),
        "acc_1:2026-03-02": (dt.date(2026, 3, 2), "11.00", 1),
    }


def test_two_connections_with_the_same_record_id_do_not_mix(desk: Any, server: Any) -> None:
    first, second = server.bank("enr_1"), server.bank("enr_2")
    for bank, amount in ((first, "1.00"), (second, "2.00")):
        bank.account("acc_1")
        bank.add("txn_1", "2026-02-28", amount)
    one = desk.connect(first.token, "enr_1", "acme")
    other = desk.connect(second.token, "enr_2", "acme")
    for _ in range(2):
        desk.sync()
        assert (desk.current(one), desk.current(other)) == (
            {"txn_1": first.shown("acc_1")[0]},
            {"txn_1": second.shown("acc_1")[0]},
        )
    first.drop("txn_1")
    desk.sync()
    assert (desk.current(one), list(desk.current(other))) == ({}, ["txn_1"])
    assert desk.one("SELECT count(*) FROM raw.history") == 0


@pytest.mark.parametrize("table", ["raw.history", "raw.teller_transactions"])
def test_nothing_is_ever_deleted(desk: Any, bank: Any, table: str) -> None:
    with desk.store.connect() as connection:
        connection.execute(
            f"""CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE division_by_zero; END $$;
            CREATE TRIGGER never BEFORE DELETE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION never()"""
        )
    bank.add("txn_0", "2026-01-01")
    bank.add("txn_1", "2026-02-28", status="pending")
    desk.connect(bank.token)
    desk.sync()
    bank.drop("txn_1")
    bank.add("txn_2", "2026-02-28")
    desk.sync("2026-03-02")
    bank.drop("txn_2")
    assert desk.sync("2026-03-03", full=True).connections[0].outcome == "done"
    assert desk.marks() == {"txn_0": None, "txn_1": "superseded", "txn_2": "removed"}
    with pytest.raises(psycopg.errors.DivisionByZero):
        desk.query(f"DELETE FROM {table}")
