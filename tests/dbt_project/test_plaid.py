"""From Plaid's payloads to the marts: one store with every case in it, built once."""

import datetime as dt
from decimal import Decimal
from typing import Any

from ledgerlake.lake import Lake

AT = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)


def rows(lake: Lake, sql: str) -> list[tuple[object, ...]]:
    return lake.query(sql).rows


def account(book: Any, account_id: str, kind: str = "depository", **given: Any) -> None:
    """An account, and its balances as the reading of a day."""
    balances = {"available": None, "current": 1, "limit": None, "iso_currency_code": "USD"} | given
    payload = {"account_id": account_id, "name": "Everyday", "type": kind, "subtype": "checking", "balances": balances}
    book.record("accounts", account_id, payload)
    book.record("balances", f"{account_id}:2026-01-31", payload, account_id, record_date="2026-01-31")


def transaction(book: Any, record_id: str, amount: str, account_id: str = "checking", **given: Any) -> None:
    columns = {name: given.pop(name) for name in ("pending", "removed_at", "removed_reason") if name in given}
    fields = ["transaction_id", "date", "name"]
    texts = ", ".join(
        f'"{name}": "{value}"' for name, value in zip(fields, (record_id, "2026-01-15", "Rent"), strict=True)
    )
    more = "".join(f', "{name}": {value}' for name, value in given.items())
    payload = f'{{{texts}, "amount": {amount}{more}}}'
    book.record("transactions", record_id, payload, account_id, record_date="2026-01-15", **columns)


def test_plaids_records_reach_the_marts_signed_from_the_holders_side(books: Any, lake: Lake) -> None:
    book = books(provider="plaid")
    account(book, "checking", current=110.25, available=100)
    account(book, "card", "credit", current=410.5, available=1500, limit=2000)
    account(book, "house", "loan", current=56302.06)
    account(book, "stocks", "brokerage", current=320.76, available=12)
    account(book, "coins", "something new", current=0.12345678, iso_currency_code=None, unofficial_currency_code="BTC")
    account(book, "silent", current=None)
    account(book, "coinless", iso_currency_code=None)
    transaction(book, "salary", "-1234.5")
    transaction(book, "Salary", "-1")
    transaction(book, "purchase", "42.47", "card", iso_currency_code='"eur"', merchant_name='"Zoë\\u0000"')
    transaction(
        book, "coin", "0.30000000000000004", "coins", iso_currency_code="null", unofficial_currency_code='"BTC"'
    )
    transaction(book, "big", "-12345678901234567890.12345678", "coins")
    transaction(
        book,
        "posted",
        "5",
        pending_transaction_id='"held"',
        personal_finance_category='{"primary": "FOOD_AND_DRINK", "detailed": "FOOD_AND_DRINK_COFFEE"}',
        counterparties='[{"name": "Tea House", "type": "merchant"}]',
    )
    transaction(book, "held", "4", pending=True, removed_at=AT, removed_reason="superseded")
    transaction(book, "waiting", "3", pending=True)
    transaction(book, "worded", '"a lot"')
    transaction(book, "nowhere", "1", "elsewhere")
    transaction(book, "own coin", "1", "coinless", iso_currency_code='"CAD"')
    status = {"transactions": {"last_successful_update": "2026-01-31T06:12:08Z", "last_failed_update": None}}
    item = {"institution_name": "Chase", "error": {"error_type": "ITEM_ERROR", "error_code": "ITEM_LOGIN_REQUIRED"}}
    book.record("item", "item_1", {"item": item, "status": status})
    book.quarantine("item", None, "Expected an Item, found half of one.")

    lake.build(buckets=[1])

    assert rows(lake, "select provider_account_id, kind, currency, status from dim_accounts order by 1") == [
        ("card", "credit", "USD", "open"),
        ("checking", "depository", "USD", "open"),
        ("coinless", "depository", None, "open"),
        ("coins", "other", "BTC", "open"),
        ("house", "loan", "USD", "open"),
        ("silent", "depository", "USD", "open"),
        ("stocks", "investment", "USD", "open"),
    ]
    assert rows(lake, "select account_key, booked, available from fct_balances order by 1") == [
        ("con_1:card", Decimal("-410.50000000"), Decimal("-500.00000000")),
        ("con_1:checking", Decimal("110.25000000"), Decimal("100.00000000")),
        ("con_1:coins", Decimal("0.12345678"), None),
        ("con_1:house", Decimal("-56302.06000000"), None),
        ("con_1:stocks", Decimal("320.76000000"), None),
    ]
    facts = "select provider_transaction_id, status, amount, currency, counterparty, category from fct_transactions"
    assert rows(lake, f"{facts} order by 1") == [
        ("Salary", "posted", Decimal("1.00000000"), "USD", None, None),
        ("big", "posted", Decimal("12345678901234567890.12345678"), "BTC", None, None),
        ("coin", "posted", Decimal("-0.30000000"), "BTC", None, None),
        ("own coin", "posted", Decimal("-1.00000000"), "CAD", None, None),
        ("posted", "posted", Decimal("-5.00000000"), "USD", "Tea House", "FOOD_AND_DRINK"),
        ("purchase", "posted", Decimal("-42.47000000"), "EUR", "Zoë", None),
        ("salary", "posted", Decimal("1234.50000000"), "USD", None, None),
        ("waiting", "pending", Decimal("-3.00000000"), "USD", None, None),
    ]
    assert rows(lake, "select stream, record_id, reason from excluded_records order by all") == [
        ("balances", "coinless:2026-01-31", "no_currency"),
        ("balances", "silent:2026-01-31", "no_amount"),
        ("item", "quarantine:00000000-0000-0000-0000-000000000001", "Expected an Item, found half of one."),
        ("transactions", "held", "superseded"),
        ("transactions", "nowhere", "unknown_account"),
        ("transactions", "worded", "no_amount"),
    ]
    stated = "select institution_name, error_code, last_updated_at, last_failed_at from staging.stg_plaid__item"
    assert rows(lake, stated) == [
        ("Chase", "ITEM_LOGIN_REQUIRED", dt.datetime(2026, 1, 31, 6, 12, 8, tzinfo=dt.UTC), None)
    ]
    assert rows(
        lake,
        "select pending_transaction_id from staging.stg_plaid__transactions where provider_transaction_id = 'posted'",
    ) == [("held",)]
