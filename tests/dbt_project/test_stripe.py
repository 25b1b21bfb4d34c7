"""From Stripe's objects to the marts of billing: money by its currency, and what a subscription brings in a month."""

import datetime as dt
from decimal import Decimal
from typing import Any

from ledgerlake.lake import Lake


def rows(lake: Lake, sql: str) -> list[tuple[object, ...]]:
    return lake.query(sql).rows


def at(day: str) -> int:
    return int(dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC).timestamp())


def price(amount: str, interval: str = "month", count: int = 1, currency: str = "usd", **fields: Any) -> dict[str, Any]:
    return {
        "id": f"price_{amount}_{interval}",
        "currency": currency,
        "unit_amount_decimal": amount,
        "billing_scheme": "per_unit",
        "recurring": {"interval": interval, "interval_count": count, "usage_type": "licensed"},
    } | fields


def subscribe(book: Any, name: str, customer: str, prices: list[Any], start: str, **fields: Any) -> dict[str, Any]:
    """Store a subscription with its items; each price is one, or one with its quantity."""
    items = []
    for number, one in enumerate(prices):
        what, quantity = one if isinstance(one, tuple) else (one, 1)
        items.append({"id": f"si_{number}", "price": what, "quantity": quantity})
    subscription = {
        "id": name,
        "object": "subscription",
        "created": at(start),
        "start_date": at(start),
        "currency": prices[0][0]["currency"] if isinstance(prices[0], tuple) else prices[0]["currency"],
        "customer": customer,
        "status": "active",
        "items": {"data": items, "has_more": False},
    } | fields
    book.record("subscriptions", name, subscription)
    for item in items:
        book.record("subscription_items", f"{name}:{item['id']}", item, name)
    return subscription


def event(book: Any, name: str, kind: str, day: str, subject: dict[str, Any], previous: Any = None) -> None:
    data = {"object": subject} | ({"previous_attributes": previous} if previous else {})
    payload = {"id": name, "type": kind, "created": at(day), "api_version": "2020-08-27", "data": data}
    book.record("events", name, payload)


def charge(book: Any, name: str, amount: Any, currency: str, **columns: Any) -> None:
    payload = {"id": name, "created": at("2026-01-02"), "amount": amount, "currency": currency, "status": "succeeded"}
    book.record("charges", name, payload, **columns)


def test_an_integer_of_smallest_units_is_worth_what_its_currency_says(books: Any, lake: Lake) -> None:
    book = books(provider="stripe")
    for currency, amount in (
        ("usd", 1999),
        ("jpy", 1999),
        ("kwd", 1999),
        ("isk", 199900),
        ("ugx", 199900),
        ("huf", 199900),
    ):
        charge(book, f"ch_{currency}", amount, currency)
    charge(book, "ch_large", 12345678901234567890, "eur")

    lake.build(buckets=[1], select="+fct_charges")

    assert rows(lake, "select provider_charge_id, amount, currency from fct_charges order by 1") == [
        ("ch_huf", Decimal("1999.00000000"), "HUF"),
        ("ch_isk", Decimal("1999.00000000"), "ISK"),
        ("ch_jpy", Decimal("1999.00000000"), "JPY"),
        ("ch_kwd", Decimal("1.99900000"), "KWD"),
        ("ch_large", Decimal("123456789012345678.90000000"), "EUR"),
        ("ch_ugx", Decimal("1999.00000000"), "UGX"),
        ("ch_usd", Decimal("19.99000000"), "USD"),
    ]


def test_what_does_not_reach_a_mart_is_excluded_with_the_reason(books: Any, lake: Lake) -> None:
    book = books(provider="stripe")
    charge(book, "ch_good", 100, "usd")
    charge(book, "ch_gone", 100, "usd", removed_at=dt.datetime(2026, 1, 31, tzinfo=dt.UTC), removed_reason="removed")
    charge(book, "ch_free", None, "usd")
    book.record("charges", "ch_strange", {"id": "ch_strange", "created": at("2026-01-02"), "amount": 1})
    book.record("invoices", "in_draft", {"id": "in_draft", "created": at("2026-01-02"), "total": 5, "currency": "eur"})
    book.record("accounts", "acct_1", {"id": "acct_1", "default_currency": "jpy", "type": "standard"})

    lake.build(buckets=[1])

    assert rows(lake, "select stream, record_id, model, reason from excluded_records order by 2") == [
        ("charges", "ch_free", "int_stripe_charges", "no_amount"),
        ("charges", "ch_gone", "int_stripe_charges", "removed"),
        ("charges", "ch_strange", "int_stripe_charges", "no_amount"),
    ]
    assert rows(lake, "select provider_charge_id from fct_charges") == [("ch_good",)]
    assert rows(lake, "select provider_invoice_id, total, status, number from fct_invoices") == [
        ("in_draft", Decimal("0.05000000"), None, None)
    ]
    assert rows(lake, "select provider_account_id, kind, currency, institution_name from dim_accounts") == [
        ("acct_1", "other", "JPY", "Stripe")
    ]


def test_a_price_is_brought_to_a_month_exactly_and_rounded_half_up_at_the_eighth_decimal(
    books: Any, lake: Lake
) -> None:
    book = books(provider="stripe")
    cases: dict[str, list[Any]] = {
        "month": [price("1900")],
        "quarter": [price("1000", count=3)],
        "year": [price("10000", "year")],
        "week": [price("100", "week")],
        "day": [price("100", "day")],
        "part": [(price("0.5"), 1001)],
        "yen": [price("1000", "year", currency="jpy")],
        "dinar": [price("6500", currency="kwd")],
        "packed": [(price("100", transform_quantity={"divide_by": 10, "round": "up"}), 11)],
        "metered": [price("100", recurring={"interval": "month", "interval_count": 1, "usage_type": "metered"})],
        "several": [price("100"), (price("50"), 3), price("1200", "year")],
    }
    for name, prices in cases.items():
        subscribe(book, name, f"cus_{name}", prices, "2026-01-05")

    lake.build(buckets=[1], select="+customer_mrr_months")

    found = rows(lake, "select currency, ending, subscribers from customer_mrr_months order by 1")
    usd = sum(map(Decimal, ("19", "3.33333333", "8.33333333", "4.33333333", "30.41666667", "5.005", "2", "3.5")))
    assert found == [
        ("JPY", Decimal("83.33333333"), 1),
        ("KWD", Decimal("6.50000000"), 1),
        ("USD", usd, 8),
    ]


def test_a_subscribers_months_are_new_expansion_contraction_churn_and_reactivation(books: Any, lake: Lake) -> None:
    book = books(provider="stripe")
    now = subscribe(book, "sub_1", "cus_1", [price("1500")], "2026-01-10", status="canceled", ended_at=at("2026-05-03"))
    before = now | {"status": "active", "ended_at": None}

    def with_price(amount: str) -> dict[str, Any]:
        return {"items": {"data": [{"id": "si_0", "price": price(amount), "quantity": 1}]}}

    old, high = with_price("1000"), with_price("2000")
    # The first event is read backwards: until then it was what the event says it was before.
    event(book, "evt_1", "customer.subscription.updated", "2026-03-05", before | high, old)
    event(book, "evt_2", "customer.subscription.updated", "2026-04-05", before, high)
    event(book, "evt_3", "customer.subscription.deleted", "2026-05-03", now)
    event(book, "evt_9", "invoice.paid", "2026-07-20", {"id": "in_1", "object": "invoice"})
    subscribe(book, "sub_2", "cus_1", [price("1200")], "2026-07-01")

    lake.build(buckets=[1], select="+customer_mrr_months")

    query = "select month::varchar, starting, new, expansion, contraction, churn, reactivation, ending from customer_mrr_months"
    found: list[Any] = rows(lake, f"{query} order by 1")
    assert [(month, *map(int, amounts)) for month, *amounts in found] == [
        ("2026-01-01", 0, 10, 0, 0, 0, 0, 10),
        ("2026-02-01", 10, 0, 0, 0, 0, 0, 10),
        ("2026-03-01", 10, 0, 10, 0, 0, 0, 20),
        ("2026-04-01", 20, 0, 0, -5, 0, 0, 15),
        ("2026-05-01", 15, 0, 0, 0, -15, 0, 0),
        ("2026-06-01", 0, 0, 0, 0, 0, 0, 0),
        ("2026-07-01", 0, 0, 0, 0, 0, 12, 12),
    ]


def test_trials_pauses_and_what_is_unpaid_or_incomplete_bring_nothing_and_what_is_past_due_does(
    books: Any, lake: Lake
) -> None:
    book = books(provider="stripe")
    subscribe(book, "trial", "a", [price("100")], "2026-01-05", status="trialing", trial_end=at("2026-02-10"))
    subscribe(book, "tried", "b", [price("200")], "2026-01-05", trial_end=at("2026-01-10"))
    subscribe(book, "held", "c", [price("400")], "2026-01-05", pause_collection={"behavior": "void"})
    subscribe(book, "late", "d", [price("800")], "2026-01-05", status="past_due")
    event(book, "evt_1", "invoice.paid", "2026-01-20", {"id": "in_1", "object": "invoice"})
    for status in ("unpaid", "paused", "incomplete", "incomplete_expired"):
        subscribe(book, status, status, [price("1600")], "2026-01-05", status=status)

    lake.build(buckets=[1], select="+customer_mrr_months")

    assert rows(lake, "select ending, new, subscribers from customer_mrr_months") == [
        (Decimal("10.00000000"), Decimal("10.00000000"), 2)
    ]
