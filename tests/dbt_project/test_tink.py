"""From Tink's payloads to the marts."""

import datetime as dt
from decimal import Decimal
from typing import Any

from ledgerlake.lake import Lake

AT = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)


def rows(lake: Lake, sql: str) -> list[tuple[object, ...]]:
    return lake.query(sql).rows


def money(unscaled: str, scale: str = "2", currency: str = "EUR") -> dict[str, Any]:
    return {"currencyCode": currency, "value": {"scale": scale, "unscaledValue": unscaled}}


def account(book: Any, name: str, kind: str = "CHECKING", **fields: Any) -> None:
    shown = {"id": name, "name": "PERSONKONTO", "type": kind, "dates": {"lastRefreshed": "2026-01-31T04:10:00Z"}}
    book.record("accounts", name, shown | fields)


def transaction(
    book: Any, name: str, amount: dict[str, Any], account_id: str = "checking", pending: bool = False, **fields: Any
) -> None:
    day = fields.get("dates", {"booked": "2026-01-15"}).get("booked")
    shown = {
        "id": name,
        "accountId": account_id,
        "amount": amount,
        "status": "PENDING" if pending else "BOOKED",
        "dates": {"booked": "2026-01-15", "value": "2026-01-16"},
        "types": {"type": "DEFAULT"},
    }
    book.record("transactions", name, shown | fields, account_id, record_date=day, pending=pending)


def test_transactions_keep_their_amounts_to_the_last_digit_and_their_own_currency(books: Any, lake: Lake) -> None:
    book = books(provider="tink")
    account(book, "checking", balances={"booked": {"amount": money("1")}})
    account(book, "card", "CREDIT_CARD")
    transaction(book, "long", money("-1234567890123456789012345678", "8"))
    transaction(book, "round", money("19", "-3", "sek"))
    transaction(book, "purchase", money("-4247"), "card")
    transaction(
        book,
        "soon",
        money("-100", "1"),
        pending=True,
        dates={"booked": "2026-02-03"},
        descriptions={"original": "SHOP\u0000 & CAFÉ", "display": "Shop"},
        categories={"pfm": {"id": "dining", "name": ""}},
        counterparties={"payee": {"name": "Zoë"}, "payer": {"name": "Me"}},
    )
    transaction(book, "in", money("5"), counterparties={"payee": {"name": "Me"}, "payer": {"name": "Employer"}})
    transaction(book, "valued", money("1"), dates={"value": "2026-01-20", "transaction": "2026-01-19"})
    transaction(book, "timed", money("1"), dates={}, bookedDateTime="2026-01-21T09:25:12Z")
    transaction(book, "dateless", money("1"), dates={})
    transaction(book, "homeless", money("1"), "nowhere")
    book.record(
        "consents", "cred1", {"status": "UPDATED", "sessionExpiryDate": 1769860800000, "accountIds": ["checking"]}
    )

    lake.build(buckets=[1])

    facts = "select provider_transaction_id, status, booked_on, amount, currency, description, counterparty, category"
    day = dt.date(2026, 1, 15)
    assert rows(lake, f"{facts} from fct_transactions order by 1") == [
        ("in", "posted", day, Decimal("0.05"), "EUR", None, "Employer", None),
        ("long", "posted", day, Decimal("-12345678901234567890.12345678"), "EUR", None, None, None),
        ("purchase", "posted", day, Decimal("-42.47"), "EUR", None, None, None),
        ("round", "posted", day, Decimal(19000), "SEK", None, None, None),
        ("soon", "pending", dt.date(2026, 2, 3), Decimal(-10), "EUR", "SHOP & CAFÉ", "Zoë", "dining"),
        ("timed", "posted", dt.date(2026, 1, 21), Decimal("0.01"), "EUR", None, None, None),
        ("valued", "posted", dt.date(2026, 1, 20), Decimal("0.01"), "EUR", None, None, None),
    ]
    assert rows(lake, "select stream, record_id, reason from excluded_records order by all") == [
        ("transactions", "dateless", "no_date"),
        ("transactions", "homeless", "unknown_account"),
    ]
    assert rows(lake, "select provider_account_id, kind, subtype, currency from dim_accounts order by 1") == [
        ("card", "credit", "credit_card", "EUR"),
        ("checking", "depository", "checking", "EUR"),
    ]
    assert rows(lake, "select status, session_expires_at, accounts from staging.stg_tink__consents") == [
        ("UPDATED", dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC), 1)
    ]


def test_balances_are_signed_as_tink_signs_them(books: Any, lake: Lake) -> None:
    book = books(provider="tink")
    account(book, "checking", balances={"available": {"amount": money("1", currency="GBP")}})
    account(book, "card", "CREDIT_CARD")
    account(book, "bare", "LOAN")
    both = {"booked": {"amount": money("19", "-3")}, "available": {"amount": money("1904200")}}
    book.record("balances", "checking:2026-01-30", both, "checking", record_date="2026-01-30")
    owed = {"booked": {"amount": money("-25025", currency="SEK")}}
    book.record("balances", "card:2026-01-31", owed, "card", record_date="2026-01-31")

    lake.build(buckets=[1], select="+fct_balances +dim_accounts")

    assert rows(lake, "select account_key, as_of, booked, available, currency from fct_balances order by all") == [
        ("con_1:card", dt.date(2026, 1, 31), Decimal("-250.25"), None, "SEK"),
        ("con_1:checking", dt.date(2026, 1, 30), Decimal(19000), Decimal(19042), "GBP"),
    ]
    assert rows(lake, "select provider_account_id, kind, currency, status from dim_accounts order by 1") == [
        ("bare", "other", None, "open"),
        ("card", "credit", "SEK", "open"),
        ("checking", "depository", "GBP", "open"),
    ]


def test_an_account_that_two_consents_show_is_each_connections_own(books: Any, lake: Lake) -> None:
    for name in ("con_1", "con_2"):
        book = books(name, provider="tink", customer_id="cust_1")
        account(book, "checking", balances={"booked": {"amount": money("1")}})
        transaction(book, "t1", money("100"))

    lake.build(buckets=[1], select="+fct_transactions")

    assert rows(lake, "select transaction_key, account_key from fct_transactions order by 1") == [
        ("con_1:t1", "con_1:checking"),
        ("con_2:t1", "con_2:checking"),
    ]
