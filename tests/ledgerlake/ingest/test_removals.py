"""What becomes of records that the provider shows no more: marked when that is sure, kept when it is not."""

import datetime as dt
import json
from typing import Any

import pytest


@pytest.fixture
def synced(desk: Any, bank: Any) -> Any:
    """An account with an old row, and the days 20 to 28 February in the window, all in the store."""
    bank.add("txn_old", "2025-12-01")
    for day in range(20, 29):
        bank.add(f"txn_{day}", f"2026-02-{day}")
    desk.connect(bank.token)
    desk.sync()
    bank.heard.clear()
    return bank


def listed(bank: Any) -> list[str]:
    return [heard for heard in bank.heard if "/transactions?" in heard]


def asked(bank: Any) -> list[str]:
    return [heard.rsplit("/", 1)[1] for heard in bank.heard if "/transactions/" in heard]


def test_a_pending_row_that_posts_under_its_own_id_is_one_row_of_two_versions(desk: Any, synced: Any) -> None:
    row = synced.add("txn_p", "2026-03-01", status="pending")
    desk.sync("2026-03-01")
    row.update(status="posted", date="2026-03-03")
    report = desk.sync("2026-03-03")
    assert (report.streams["teller_transactions"].changed, report.counts.removed) == (1, 0)
    held = desk.rows()["txn_p"]
    assert (held["pending"], held["record_date"], held["version"], held["removed_at"]) == (
        False,
        dt.date(2026, 3, 3),
        2,
        None,
    )
    assert [old["pending"] for old in desk.history("txn_p")] == [True]


def test_a_pending_row_that_posts_under_a_new_id_is_superseded_in_the_same_sync(desk: Any, synced: Any) -> None:
    synced.add("txn_p", "2026-03-01", status="pending")
    desk.sync("2026-03-01")
    synced.drop("txn_p")
    synced.add("txn_q", "2026-03-02")
    synced.heard.clear()
    report = desk.sync("2026-03-02")
    transactions = report.streams["teller_transactions"]
    assert (transactions.new, transactions.removed, report.connections[0].outcome) == (1, 1, "done")
    assert (desk.marks()["txn_p"], desk.marks()["txn_q"]) == ("superseded", None)
    assert (len(listed(synced)), asked(synced)) == (2, [])
    desk.assert_receipts_agree()


def test_a_cancelled_pending_row_is_marked_and_kept(desk: Any, synced: Any, wire: Any) -> None:
    row = synced.add("txn_p", "2026-03-01", status="pending")
    desk.sync("2026-03-01")
    synced.drop("txn_p")
    assert desk.sync("2026-03-02").counts.removed == 1
    held = desk.rows()["txn_p"]
    assert (held["removed_reason"], held["text"].encode(), held["version"]) == ("superseded", wire(row), 1)
    assert desk.sync("2026-03-02").counts.removed == 0


def test_a_vanished_posted_row_is_removed_after_two_reads_and_a_question_for_it(desk: Any, synced: Any) -> None:
    synced.drop("txn_25")
    report = desk.sync("2026-03-02")
    assert (len(listed(synced)), asked(synced)) == (2, ["txn_25"])
    assert (report.counts.removed, report.connections[0].outcome) == (1, "done")
    assert {one: mark for one, mark in desk.marks().items() if mark} == {"txn_25": "removed"}
    assert desk.one("SELECT removed FROM ledgerlake.syncs ORDER BY sync_id DESC LIMIT 1") == 1


def test_a_row_missing_from_one_read_only_is_not_removed(desk: Any, synced: Any) -> None:
    reads = 0

    def once(path: str, query: dict[str, str]) -> Any:
        nonlocal reads
        if not path.endswith("/transactions"):
            return None
        reads += 1
        gone = synced.drop("txn_25") if reads == 1 else None
        answer = synced.answer(path, query)
        if gone:
            synced.rows["acc_1"].append(gone)
        return answer

    synced.say = once
    before = desk.physical()
    report = desk.sync("2026-03-01")
    assert (reads, asked(synced)) == (2, [])
    assert (report.counts.removed, report.connections[0].outcome) == (0, "done")
    assert desk.physical() == before


def test_a_row_missing_from_every_list_but_shown_by_its_id_is_not_removed(desk: Any, synced: Any) -> None:
    def hides(path: str, query: dict[str, str]) -> Any:
        if not path.endswith("/transactions"):
            return None
        hidden = synced.drop("txn_25")
        answer = synced.answer(path, query)
        synced.rows["acc_1"].append(hidden)
        return answer

    synced.say = hides
    before = desk.physical()
    for _ in range(2):
        assert desk.sync("2026-03-01").connections[0].outcome == "done"
    assert asked(synced) == ["txn_25", "txn_25"]
    assert desk.physical() == before


def test_a_row_that_moves_to_a_day_before_the_window_is_kept_in_its_new_version(
    desk: Any, synced: Any, wire: Any
) -> None:
    row = next(row for row in synced.rows["acc_1"] if row["id"] == "txn_25")
    row["date"] = "2025-12-24"
    report = desk.sync("2026-03-08")
    assert (report.counts.changed, report.counts.removed, report.connections[0].outcome) == (1, 0, "done")
    held = desk.rows()["txn_25"]
    assert (held["record_date"], held["text"].encode(), held["removed_at"]) == (dt.date(2025, 12, 24), wire(row), None)
    synced.heard.clear()
    desk.sync("2026-03-08")
    assert asked(synced) == []
    desk.assert_receipts_agree()


def test_a_removed_record_that_comes_back_is_current_again_with_its_history(desk: Any, synced: Any) -> None:
    gone = synced.drop("txn_25")
    desk.sync("2026-03-02")
    removed_at = desk.rows()["txn_25"]["removed_at"]
    synced.rows["acc_1"].append(gone)
    report = desk.sync("2026-03-03")
    assert report.streams["teller_transactions"].changed == 1
    held = desk.rows()["txn_25"]
    assert (held["version"], held["removed_at"], held["removed_reason"]) == (2, None, None)
    assert [(old["version"], old["removed_at"], old["removed_reason"]) for old in desk.history("txn_25")] == [
        (1, removed_at, "removed")
    ]
    desk.assert_receipts_agree()
    before = desk.physical()
    desk.sync("2026-03-03")
    assert desk.physical()["teller_transactions"] == before["teller_transactions"]


def test_a_pending_row_older_than_the_window_is_still_followed(desk: Any, synced: Any) -> None:
    row = synced.add("txn_p", "2026-02-21", status="pending")
    desk.sync("2026-03-10")
    for day in ("2026-03-20", "2026-03-30", "2026-05-30"):
        synced.heard.clear()
        assert desk.sync(day).counts.removed == 0
        # opened as far as the last row before the oldest pending one
        assert listed(synced) == ["/accounts/acc_1/transactions?count=500&start_date=2026-02-20"]
    row.update(status="posted", amount="9.99")
    assert desk.sync("2026-06-09").streams["teller_transactions"].changed == 1
    assert json.loads(desk.current()["txn_p"])["amount"] == "9.99"


def test_many_missing_rows_of_which_one_is_there_removes_none(desk: Any, bank: Any) -> None:
    bank.add("txn_old", "2025-12-01")
    for number in range(25):
        bank.add(f"txn_{number:02}", "2026-02-25")
    desk.connect(bank.token)
    desk.sync()
    for number in range(25):
        if number != 19:
            bank.drop(f"txn_{number:02}")
    whole = bank.shown("acc_1")

    def empty(path: str, query: dict[str, str]) -> Any:
        return (200, b"[]") if path.endswith("/transactions") else None

    bank.say = empty
    report = desk.sync("2026-03-02")

    (result,) = report.connections
    assert (result.outcome, result.counts.removed) == ("partial", 0)
    assert result.error == (
        "expected 25 records of account acc_1 in the window, found none of them in two reads, yet txn_19 is there when "
        "asked for: none was marked as removed, try again later"
    )
    assert set(desk.marks().values()) == {None}
    assert len(whole) == 2

    bank.say = lambda path, query: None
    report = desk.sync("2026-03-03")
    assert (report.connections[0].outcome, report.counts.removed) == ("done", 24)
    assert desk.current().keys() == {"txn_old", "txn_19"}


def test_many_missing_rows_are_removed_when_none_of_a_sample_is_there(desk: Any, bank: Any) -> None:
    bank.add("txn_old", "2025-12-01")
    for number in range(25):
        bank.add(f"txn_{number:02}", "2026-02-25")
    desk.connect(bank.token)
    desk.sync()
    del bank.rows["acc_1"][1:]
    bank.heard.clear()
    assert desk.sync("2026-03-02").counts.removed == 25
    assert len(asked(bank)) == 20
    assert desk.current().keys() == {"txn_old"}


def test_the_cursor_waits_until_what_is_missing_is_settled(desk: Any, synced: Any) -> None:
    """Else the row would lie before the next window, and its removal would never be seen."""
    synced.drop("txn_20")
    reads = 0

    def second_fails(path: str, query: dict[str, str]) -> Any:
        nonlocal reads
        reads += path.endswith("/transactions")
        return (502, b"") if reads > 1 else None

    synced.say = second_fails
    assert desk.sync("2026-03-20").connections[0].outcome == "partial"
    assert desk.marks()["txn_20"] is None
    synced.say = lambda path, query: None
    assert desk.sync("2026-04-20").counts.removed == 1
    assert desk.marks()["txn_20"] == "removed"
    assert desk.one("SELECT cursor->>'synced_on' FROM ledgerlake.cursors WHERE stream = 'transactions'") == "2026-04-20"


def test_a_known_record_whose_new_version_is_broken_keeps_its_old_one_and_is_not_removed(
    desk: Any, synced: Any, wire: Any
) -> None:
    row = next(row for row in synced.rows["acc_1"] if row["id"] == "txn_25")
    old = wire(row)
    row["amount"] = "NaN"
    for day in ("2026-03-01", "2026-03-02"):
        report = desk.sync(day)
        assert (report.counts.quarantined, report.counts.removed, report.connections[0].outcome) == (1, 0, "done")
        assert desk.current()["txn_25"] == old
    assert desk.quarantine() == [("txn_25", wire(row), "amount 'NaN' is not a decimal number", 2, False)]
    row["amount"] = "5.00"
    assert desk.sync("2026-03-03").counts.changed == 1
    assert desk.quarantine()[0][3:] == (2, True)
    assert desk.current()["txn_25"] == wire(row)


def test_a_broken_row_without_id_may_be_any_of_the_missing_so_each_is_asked_for(desk: Any, synced: Any) -> None:
    pending = synced.add("txn_p", "2026-03-01", status="pending")
    cancelled = synced.add("txn_c", "2026-03-01", status="pending")
    desk.sync("2026-03-01")
    synced.heard.clear()
    shown = dict(pending)
    synced.rows["acc_1"].append(json.dumps({**shown, "id": None}).encode())
    synced.rows["acc_1"].remove(cancelled)
    synced.rows["acc_1"].remove(pending)
    by_id = json.dumps(shown).encode()
    synced.say = lambda path, query: (200, by_id) if path.endswith("/txn_p") else None

    report = desk.sync("2026-03-02")

    assert (asked(synced), report.counts.removed) == (["txn_c", "txn_p"], 1)
    assert (desk.marks()["txn_p"], desk.marks()["txn_c"]) == (None, "superseded")


def test_a_missing_record_whose_own_answer_is_broken_is_there(desk: Any, synced: Any) -> None:
    synced.drop("txn_25")
    broken = b'{"id": "txn_25", "account_id": "acc_1", "date": "2026-02-30", "amount": "1", "status": "posted"}'
    synced.say = lambda path, query: (200, broken) if path.endswith("/txn_25") else None
    report = desk.sync("2026-03-02")
    (result,) = report.connections
    assert (result.outcome, result.counts.removed, desk.marks()["txn_25"]) == ("partial", 0, None)
    assert result.error is not None
    assert "found that it breaks the contract: date '2026-02-30' is not a day of the calendar" in result.error


def test_an_account_that_is_listed_no_more_vanishes_after_two_reads_and_its_records_stay(
    desk: Any, synced: Any
) -> None:
    synced.account("acc_2")
    synced.add("txn_of_2", "2026-02-28", account="acc_2")
    desk.sync("2026-03-01")
    account = synced.accounts.pop("acc_2")
    synced.heard.clear()
    report = desk.sync("2026-03-02")
    assert (report.connections[0].outcome, report.counts.removed) == ("done", 0)
    assert synced.heard.count("/accounts") == 2
    states = "SELECT account_id, state, reason FROM ledgerlake.accounts ORDER BY 1"
    assert desk.query(states) == [
        {"account_id": "acc_1", "state": "open", "reason": None},
        {"account_id": "acc_2", "state": "vanished", "reason": "the provider no longer lists it"},
    ]
    assert desk.marks()["txn_of_2"] is None
    assert desk.rows("accounts")["acc_2"]["removed_at"] is None
    synced.heard.clear()
    desk.sync("2026-03-03")
    assert synced.heard.count("/accounts") == 1
    synced.accounts["acc_2"] = account
    desk.sync("2026-03-04")
    assert [row["state"] for row in desk.query(states)] == ["open", "open"]


def test_an_account_missing_from_one_list_only_does_not_vanish(desk: Any, synced: Any) -> None:
    lists = 0

    def once(path: str, query: dict[str, str]) -> Any:
        nonlocal lists
        lists += path == "/accounts"
        return (200, b"[]") if path == "/accounts" and lists == 1 else None

    synced.say = once
    assert desk.sync("2026-03-02").connections[0].outcome == "done"
    assert lists == 2
    assert desk.query("SELECT account_id, state FROM ledgerlake.accounts") == [{"account_id": "acc_1", "state": "open"}]
    assert len(listed(synced)) == 1


def test_a_known_account_that_comes_broken_and_without_its_id_does_not_vanish(desk: Any, synced: Any) -> None:
    synced.accounts["acc_1"]["id"] = None
    report = desk.sync("2026-03-02")
    assert report.streams["teller_accounts"].quarantined == 1
    assert desk.query("SELECT account_id, state FROM ledgerlake.accounts") == [{"account_id": "acc_1", "state": "open"}]
