"""Payloads that break their stream's contract: put aside with the reason, counted, never dropped, and nothing else stops."""

import json
from typing import Any

GOOD = {"id": "txn_x", "account_id": "acc_1", "date": "2026-02-27", "amount": "1.00", "status": "posted"}


def row(**changes: object) -> bytes:
    """The good row with these changes; None takes the field away."""
    changed = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    return json.dumps(changed).encode()


BAD: dict[str, tuple[bytes, str | None, str]] = {
    "no id": (row(id=None), None, "not a transaction of Teller: Object missing required field `id`"),
    "no amount": (row(amount=None), "txn_x", "not a transaction of Teller: Object missing required field `amount`"),
    "amount a number": (row(amount=1.5), "txn_x", "not a transaction of Teller: Expected `str`, got `float` - at `$.amount`"),
    "amount an object": (row(amount={"v": 1}), "txn_x", "not a transaction of Teller: Expected `str`, got `object` - at `$.amount`"),
    "id a number": (row(id=7), None, "not a transaction of Teller: Expected `str`, got `int` - at `$.id`"),
    "an unknown status": (row(status="maybe"), "txn_x", "not a transaction of Teller: Invalid enum value 'maybe' - at `$.status`"),
    "30 February": (row(date="2026-02-30"), "txn_x", "date '2026-02-30' is not a day of the calendar, YYYY-MM-DD"),
    "1e400": (row(amount="1e400"), "txn_x", "amount '1e400' has more than 20 digits before the point"),
    "NaN": (row(amount="NaN"), "txn_x", "amount 'NaN' is not a decimal number"),
    "nine decimals": (row(amount="0.123456789"), "txn_x", "amount '0.123456789' has more than 8 digits after the point"),
    "broken UTF-8": (row(description="A").replace(b'"A"', b'"\xff\xfe"'), "txn_x", "text is not UTF-8 at byte 115 of the record"),
    "an id with a NUL": (row(id="txn\x00"), None, "id 'txn\\x00' is not 1 to 255 printable characters"),
    "no object": (b'"a text"', None, "not a transaction of Teller: Expected `object`, got `str`"),
    "another account": (row(account_id="acc_9"), "txn_x", "account_id is 'acc_9', and account 'acc_1' was asked for"),
}  # fmt: skip


def test_broken_rows_are_put_aside_byte_for_byte_and_the_others_are_stored(desk: Any, bank: Any) -> None:
    bank.add("txn_1", "2026-02-28")
    bank.add("txn_0", "2026-01-01")
    bank.rows["acc_1"] += [payload for payload, _, _ in BAD.values()]
    *_, newest, oldest = bank.shown("acc_1")
    desk.connect(bank.token)
    for times in (1, 2):
        (result,) = desk.sync().connections
        assert (result.outcome, result.streams["transactions"].quarantined) == ("done", len(BAD))
        assert desk.quarantine() == [
            (record_id, payload, reason, times, False) for payload, record_id, reason in BAD.values()
        ]
        assert desk.current() == {"txn_1": newest, "txn_0": oldest}
        assert desk.one("SELECT quarantined FROM ledgerlake.syncs ORDER BY sync_id DESC LIMIT 1") == len(BAD)
    receipts = desk.query(
        "SELECT items, rejected, new, unchanged FROM ledgerlake.receipts "
        "WHERE stream = 'transactions' AND items > 0 ORDER BY sync_id"
    )
    assert [(*row.values(),) for row in receipts] == [
        (len(BAD) + 2, len(BAD), 2, 0),
        (len(BAD) + 2, len(BAD), 0, 2),
    ]
    before = desk.physical()
    desk.sync()
    assert desk.physical() == before
    desk.assert_receipts_agree()


def test_a_good_version_releases_and_the_same_fault_again_is_in_quarantine_again(desk: Any, bank: Any) -> None:
    bank.add("txn_0", "2026-01-01")
    row = bank.add("txn_1", "2026-02-28", "1e400")
    desk.connect(bank.token)
    desk.sync()
    row["amount"] = "1.00"
    desk.sync()
    assert [(one[0], one[3], one[4]) for one in desk.quarantine()] == [("txn_1", 1, True)]
    row["amount"] = "1e400"
    before = desk.store.bucket_revisions()
    desk.sync()
    assert [(one[0], one[3], one[4]) for one in desk.quarantine()] == [("txn_1", 2, False)]
    assert desk.store.bucket_revisions() != before  # a build counts what is in quarantine


def test_a_broken_and_a_good_row_of_one_id_on_one_page_do_not_take_turns(desk: Any, bank: Any) -> None:
    bank.add("txn_0", "2026-01-01")
    bank.add("txn_x", "2026-02-27")
    bank.rows["acc_1"].insert(0, row(amount="NaN"))
    desk.connect(bank.token)
    desk.sync()
    before = desk.physical()
    for _ in range(2):
        desk.sync()
        assert [(one[0], one[4]) for one in desk.quarantine()] == [("txn_x", False)]
    assert desk.physical() == before


def test_texts_of_any_characters_are_kept_byte_for_byte(desk: Any, bank: Any, wire: Any) -> None:
    texts = (
        "NUL \x00 in it",
        "<script>alert(1)</script>",
        "beyond the BMP 😀",
        "back\\slash\ttab\nline\r",
        "\\N",
        "\\.",
    )
    added = [bank.add(f"txn_{number}", "2026-02-28", description=text) for number, text in enumerate(texts)]
    desk.connect(bank.token)
    desk.sync()
    assert desk.current() == {row["id"]: wire(row) for row in added}
    assert desk.quarantine() == []


def test_a_nul_in_the_institution_s_name_stops_nothing(desk: Any, bank: Any) -> None:
    bank.accounts["acc_1"]["institution"] = {"id": "a\x00b", "name": "Bank\x00"}
    desk.connect(bank.token)
    assert desk.sync().connections[0].outcome == "done"
    assert desk.query("SELECT institution_id, institution_name FROM ledgerlake.connections") == [
        {"institution_id": "ab", "institution_name": "Bank"}
    ]


def test_an_answer_that_is_no_whole_json_is_tried_again_and_then_told(desk: Any, bank: Any) -> None:
    bank.add("txn_1", "2026-02-28")
    desk.connect(bank.token)
    for body, found in (
        (b"<!DOCTYPE html><h1>Maintenance</h1>", "a page of HTML (35 bytes)"),
        (b'[{"id": "txn_1", "acc', "JSON that is broken or cut off (21 bytes)"),
        (b"", "an empty body"),
    ):
        bank.say = lambda path, query, body=body: (200, body) if path.endswith("/transactions") else None
        (result,) = desk.sync().connections
        assert (result.outcome, result.retries) == ("partial", 2)
        assert str(result.error).startswith(
            "expected JSON from GET /accounts/acc_1/transactions?count=500, found HTTP 200 "
            f"with {found}: nothing of it is stored"
        )
        assert desk.current() == {}
    bank.say = lambda path, query: None
    desk.sync()
    assert list(desk.current()) == ["txn_1"]


def test_a_page_token_that_repeats_ends_the_read_and_removes_nothing(desk: Any, bank: Any) -> None:
    bank.page_cap = 1
    for day in (26, 27, 28):
        bank.add(f"txn_{day}", f"2026-02-{day}")
    desk.connect(bank.token)
    desk.sync()
    circle = b",".join(bank.shown("acc_1")[:2])  # dated in the window, so it proves no end of it
    bank.say = lambda path, query: (200, b"[" + circle + b"]") if path.endswith("/transactions") else None
    (result,) = desk.sync("2026-03-02").connections
    assert (result.outcome, result.counts.removed) == ("partial", 0)
    assert "the page token repeats ('txn_27')" in str(result.error)
    assert set(desk.marks().values()) == {None}


def test_one_id_in_two_accounts_stays_the_first_one_s_and_the_other_is_put_aside(
    desk: Any, bank: Any, wire: Any
) -> None:
    bank.account("acc_2")
    for account in ("acc_1", "acc_2"):
        bank.add(f"txn_old_{account}", "2026-01-01", account=account)
    first = bank.add("txn_1", "2026-02-28", "1.00")
    other = bank.add("txn_1", "2026-02-28", "2.00", account="acc_2")
    desk.connect(bank.token)
    reason = "id txn_1 is already account acc_1's, and a record belongs to one account"

    for times in (1, 2, 3):
        report = desk.sync()
        assert desk.current()["txn_1"] == wire(first)
        assert desk.quarantine() == [("txn_1", wire(other), reason, times, False)]
        assert (report.streams["teller_transactions"].quarantined, report.counts.removed) == (1, 0)
        if times == 2:
            before = desk.physical()
    assert desk.physical() == before
    desk.assert_receipts_agree()

    bank.drop("txn_1")
    desk.sync()
    desk.sync()
    assert desk.current()["txn_1"] == wire(other)
    assert [old["removed_reason"] for old in desk.history("txn_1")] == ["removed"]
    assert desk.quarantine()[0][4] is True


def test_a_stream_that_is_no_list_is_told_and_the_others_go_on(desk: Any, bank: Any) -> None:
    bank.account("acc_2")
    bank.add("txn_1", "2026-02-28", account="acc_2")
    bank.say = lambda path, query: (200, b'{"rows": []}') if path == "/accounts/acc_1/transactions" else None
    desk.connect(bank.token)
    (result,) = desk.sync().connections
    assert (result.outcome, list(desk.current())) == ("partial", ["txn_1"])
    assert "expected a JSON array, each element a transaction of Teller, found an object" in str(result.error)


def test_broken_balances_accounts_and_identities_are_put_aside_too(desk: Any, bank: Any) -> None:
    bank.accounts["acc_9"] = {"id": "acc_9"}
    bank.balances["acc_1"] = "1e400"
    desk.connect(bank.token)
    (result,) = desk.sync().connections
    assert result.outcome == "done"
    assert [(one[0], one[2]) for one in desk.quarantine()] == [
        ("acc_9", "not an account of Teller: Object missing required field `type`"),
        (None, "amount '1e400' has more than 20 digits before the point"),
    ]
    assert list(desk.rows("accounts")) == ["acc_1"]
