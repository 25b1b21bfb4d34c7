"""From GoCardless' payloads to the marts: banks that differ in ids, dates, balances and signs."""

import datetime as dt
from decimal import Decimal
from typing import Any

from ledgerlake.lake import Lake

AT = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
DAY = "2026-01-31"


def rows(lake: Lake, sql: str) -> list[tuple[object, ...]]:
    return lake.query(sql).rows


def account(book: Any, account_id: str, bank: str = "N26_NTSBDEB1", **details: Any) -> None:
    metadata = {
        "id": account_id,
        "institution_id": bank,
        "status": "READY",
        "iban": "GB12 3456 7890",
        "owner_name": "J",
    }
    book.record("accounts", account_id, metadata)
    if details:
        book.record("details", account_id, {"account": {"iban": "GB12", "ownerName": "Jane", **details}})


def balance(book: Any, account_id: str, *amounts: tuple[str, str, str], **columns: Any) -> None:
    listed = [
        {"balanceType": kind, "balanceAmount": {"amount": amount, "currency": currency}}
        for kind, amount, currency in amounts
    ]
    book.record("balances", f"{account_id}:{DAY}", {"balances": listed}, account_id, record_date=DAY, **columns)


def transaction(book: Any, account_id: str, record_id: str, amount: str, currency: str = "GBP", **given: Any) -> None:
    columns = {name: given.pop(name) for name in ("pending", "removed_at", "removed_reason") if name in given}
    columns["record_date"] = given.pop("record_date", DAY)
    payload = {"transactionAmount": {"amount": amount, "currency": currency}, **given}
    book.record("transactions", f"{account_id}:{record_id}", payload, account_id, **columns)


def test_accounts_are_what_metadata_and_details_tell_of_them(books, lake: Lake) -> None:
    book = books(provider="gocardless")
    account(book, "bare")
    balance(book, "bare", ("expected", "5", "nok"))
    account(book, "card", "EUROCARD_SE_SKHSFI21")
    transaction(book, "card", "t", "1", "SEK")
    account(book, "current", name=" ", product="Giro", currency="eur", cashAccountType="CACC")
    account(book, "loan", name="Loan", displayName="My loan", currency="GBP", cashAccountType="LOAN")
    account(book, "odd", currency="GBP", cashAccountType="XXXX")

    lake.build(buckets=[1], select="+dim_accounts")

    columns = "provider_account_id, name, kind, subtype, currency, status, institution_name"
    assert rows(lake, f"select {columns} from dim_accounts order by 1") == [
        ("bare", None, "other", None, "NOK", "open", "N26_NTSBDEB1"),
        ("card", None, "credit", None, "SEK", "open", "EUROCARD_SE_SKHSFI21"),
        ("current", "Giro", "depository", "CACC", "EUR", "open", "N26_NTSBDEB1"),
        ("loan", "My loan", "loan", "LOAN", "GBP", "open", "N26_NTSBDEB1"),
        ("odd", None, "other", "XXXX", "GBP", "open", "N26_NTSBDEB1"),
    ]
    assert rows(lake, "select distinct iban_last_four from staging.stg_gocardless__accounts") == [("7890",)]


def test_transactions_are_signed_from_the_holders_side_in_their_own_currency(books, lake: Lake) -> None:
    book = books(provider="gocardless")
    account(book, "a", currency="GBP", cashAccountType="CACC")
    account(book, "card", "SEB_KORT_AB_SE_SKHSFI21", currency="SEK", cashAccountType="CARD")
    transaction(book, "a", "exact", "-12345678901234567890.12345678", valueDate="2026-01-30", creditorName="Shop")
    transaction(
        book, "a", "in", "7", "EUR", debtorName="Employer", valueDateTime="2026-01-29T00:00:00Z",
        remittanceInformationUnstructuredArray=["two", "lines"], currencyExchange={"exchangeRate": "1.1"},
    )  # fmt: skip
    transaction(
        book, "a", "array", "1", currencyExchange=[{"exchangeRate": 1.1}], remittanceInformationUnstructured="NUL\0"
    )
    transaction(book, "a", "pending:h:1", "-3", pending=True)
    transaction(book, "card", "purchase", "42.47", "SEK", additionalInformation="Shop")
    transaction(book, "card", "payment", "-100", "SEK")

    lake.build(buckets=[1], select="+fct_transactions")

    columns = "provider_transaction_id, status, value_on, amount, currency, description, counterparty"
    assert rows(lake, f"select {columns} from fct_transactions order by 1") == [
        ("a:array", "posted", None, Decimal(1), "GBP", "NUL", None),
        ("a:exact", "posted", dt.date(2026, 1, 30), Decimal("-12345678901234567890.12345678"), "GBP", None, "Shop"),
        ("a:in", "posted", dt.date(2026, 1, 29), Decimal(7), "EUR", "two lines", "Employer"),
        ("a:pending:h:1", "pending", None, Decimal(-3), "GBP", None, None),
        ("card:payment", "posted", None, Decimal(100), "SEK", None, None),
        ("card:purchase", "posted", None, Decimal("-42.47"), "SEK", "Shop", "Shop"),
    ]
    exchanges = "select currency_exchange from staging.stg_gocardless__transactions where currency_exchange is not null"
    assert {text for (text,) in rows(lake, exchanges)} == {'{"exchangeRate":"1.1"}', '[{"exchangeRate":1.1}]'}


def test_a_reading_is_one_row_by_the_preferred_types_in_the_accounts_currency(books, lake: Lake) -> None:
    book = books(provider="gocardless")
    account(book, "a", currency="EUR", cashAccountType="CACC")
    account(book, "card", "EUROCARD_SE_SKHSFI21", currency="SEK", cashAccountType="CARD")
    account(book, "info", currency="EUR")
    balance(
        book, "a", ("interimBooked", "9", "USD"), ("expected", "1", "EUR"), ("interimAvailable", "2.5", "EUR"),
        ("closingBooked", "-3.00000001", "EUR"),
    )  # fmt: skip
    balance(book, "card", ("interimAvailable", "750", "SEK"), ("expected", "250", "SEK"))
    balance(book, "info", ("information", "5", "EUR"))
    balance(book, "nowhere", ("expected", "5", "EUR"))

    lake.build(buckets=[1], select="+fct_balances +excluded_records")

    assert rows(lake, "select account_key, as_of, booked, available, currency from fct_balances order by 1") == [
        ("con_1:a", dt.date(2026, 1, 31), Decimal("-3.00000001"), Decimal("2.5"), "EUR"),
        ("con_1:card", dt.date(2026, 1, 31), Decimal(-250), None, "SEK"),
    ]
    assert rows(lake, "select record_id, reason from excluded_records order by 1") == [
        (f"info:{DAY}", "no_amount"),
        (f"nowhere:{DAY}", "unknown_account"),
    ]


def test_what_is_left_out_says_why(books, lake: Lake) -> None:
    book = books(provider="gocardless")
    account(book, "a", currency="GBP")
    book.record("accounts", "garbled", '{"id": "\\ud800"}')
    book.record("balances", f"a:{DAY}", '{"balances": [{"balanceType": "\\ud800"}]}', "a", record_date=DAY)
    transaction(book, "a", "dateless", "1", record_date=None)
    transaction(book, "a", "kept", "1")
    transaction(book, "a", "pending:h:1", "1", pending=True, removed_at=AT, removed_reason="superseded")
    transaction(book, "b", "homeless", "1")
    book.quarantine("transactions", "a:broken", "amount 'x' is not a decimal number")

    lake.build(buckets=[1])

    assert rows(lake, "select stream, record_id, reason from excluded_records order by all") == [
        ("accounts", "garbled", "unreadable"),
        ("balances", f"a:{DAY}", "unreadable"),
        ("transactions", "a:broken", "amount 'x' is not a decimal number"),
        ("transactions", "a:dateless", "no_date"),
        ("transactions", "a:pending:h:1", "superseded"),
        ("transactions", "b:homeless", "unknown_account"),
    ]
    assert rows(lake, "select provider_transaction_id from fct_transactions") == [("a:kept",)]


def test_an_account_that_was_closed_before_it_was_read_has_no_currency_and_warns_nobody(books: Any, lake: Lake) -> None:
    book = books(provider="gocardless")
    account(book, "pot")
    book.state("pot", "closed")
    account(book, "current", currency="GBP")

    report = lake.build(buckets=[1])

    assert rows(lake, "select provider_account_id, status, currency from dim_accounts order by 1") == [
        ("current", "open", "GBP"),
        ("pot", "closed", None),
    ]
    assert [one.name for one in report.tests if one.status not in {"passed", "skipped"}] == []


def test_an_open_account_without_a_currency_is_a_warning(books: Any, lake: Lake) -> None:
    account(books(provider="gocardless"), "bare")

    report = lake.build(buckets=[1])

    assert {one.name: one.rows for one in report.tests if one.status not in {"passed", "skipped"}} == {
        "not_null_dim_accounts_currency": 1
    }
