"""
Stripe by its documentation (https://docs.stripe.com/api), over two days: the marts are these tables, worked out by hand.

What is awkward here: lists of two a page and lists within objects cut at two, currencies with no and with three decimals, no
filter of changes, events out of order and of another version of the API, an event of a kind nobody knows, an old invoice that is
paid, a draft and a customer that are deleted, a refund and a credit note that come late, a subscription that changes, one that
is canceled and so not listed without asking, and a balance transaction that becomes available.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, ClassVar

from tests.acceptance.foreign_servers._serving import Asked, Said, Tables

KEY = "rk_test_checklist"
PAGE = 2
"""Objects or elements that this server gives at most in one answer."""


def at(text: str) -> int:
    return int(dt.datetime.fromisoformat(f"{text}+00:00").timestamp())


def listed(url: str, elements: list[Any], at_most: int = 10) -> dict[str, Any]:
    return {"object": "list", "data": elements[:at_most], "has_more": len(elements) > at_most, "url": url}


def thing(kind: str, object_id: str, created: str, **fields: Any) -> dict[str, Any]:
    return {"id": object_id, "object": kind, "created": at(created), "livemode": False, "metadata": {}, **fields}


def item(item_id: str, unit: str, quantity: int, interval: str = "month", currency: str = "usd") -> dict[str, Any]:
    price = thing(
        "price",
        f"price_{item_id}",
        "2025-01-01",
        currency=currency,
        unit_amount_decimal=unit,
        type="recurring",
        billing_scheme="per_unit",
        active=True,
    )
    price |= {
        "recurring": {"interval": interval, "interval_count": 1, "usage_type": "licensed"},
        "transform_quantity": None,
    }
    return thing("subscription_item", item_id, "2026-01-01", price=price, quantity=quantity)


def subscription(
    object_id: str, customer: str, items: list[Any], status: str = "active", currency: str = "usd", **fields: Any
) -> dict[str, Any]:
    known = {
        "status": status,
        "customer": customer,
        "currency": currency,
        "start_date": at("2026-01-10"),
        "trial_start": None,
        "trial_end": None,
    }
    known |= {
        "cancel_at": None,
        "canceled_at": None,
        "ended_at": None,
        "cancel_at_period_end": False,
        "collection_method": "charge_automatically",
    }
    known |= {"pause_collection": None, "latest_invoice": None, "items": items}
    return thing("subscription", object_id, "2026-01-10", **(known | fields))


def invoice(
    object_id: str, created: str, currency: str, total: int, paid: int, status: str, lines: list[int]
) -> dict[str, Any]:
    known = {
        "customer": "cus_1",
        "currency": currency,
        "status": status,
        "number": object_id.upper(),
        "subtotal": total,
        "total": total,
    }
    known |= {
        "amount_due": total,
        "amount_paid": paid,
        "amount_remaining": total - paid,
        "billing_reason": "subscription_cycle",
    }
    known |= {
        "collection_method": "charge_automatically",
        "period_start": at(created),
        "period_end": at(created),
        "due_date": None,
    }
    known |= {
        "parent": {"type": "subscription_details", "subscription_details": {"subscription": "sub_1", "metadata": {}}}
    }
    known |= {
        "status_transitions": {
            "finalized_at": None,
            "paid_at": None,
            "marked_uncollectible_at": None,
            "voided_at": None,
        }
    }
    known |= {"lines": [line(f"il_{object_id}_{number}", amount, currency) for number, amount in enumerate(lines, 1)]}
    return thing("invoice", object_id, created, **known)


def line(line_id: str, amount: int, currency: str) -> dict[str, Any]:
    parent = {
        "type": "subscription_item_details",
        "subscription_item_details": {"proration": False, "subscription": "sub_1"},
    }
    return {
        "id": line_id,
        "object": "line_item",
        "amount": amount,
        "currency": currency,
        "quantity": 1,
        "period": {"start": 0, "end": 1},
        "parent": parent,
    }


def charge(object_id: str, created: str, currency: str, amount: int, **fields: Any) -> dict[str, Any]:
    known = {
        "currency": currency,
        "amount": amount,
        "amount_captured": amount,
        "amount_refunded": 0,
        "status": "succeeded",
        "customer": "cus_1",
    }
    known |= {
        "captured": True,
        "paid": True,
        "refunded": False,
        "disputed": False,
        "balance_transaction": None,
        "payment_intent": None,
        "failure_code": None,
    }
    return thing("charge", object_id, created, **(known | fields))


def movement(
    object_id: str, created: str, amount: int, fee: int, status: str, kind: str, source: str, currency: str = "usd"
) -> dict[str, Any]:
    known = {
        "currency": currency,
        "amount": amount,
        "fee": fee,
        "net": amount - fee,
        "status": status,
        "type": kind,
        "source": source,
    }
    return thing(
        "balance_transaction",
        object_id,
        created,
        available_on=at("2026-03-03"),
        exchange_rate=None,
        fee_details=[],
        reporting_category=kind,
        **known,
    )


def payout(status: str) -> dict[str, Any]:
    known = {
        "amount": 3000,
        "currency": "usd",
        "arrival_date": at("2026-03-03"),
        "automatic": True,
        "status": status,
        "method": "standard",
    }
    return thing(
        "payout",
        "po_1",
        "2026-02-28",
        type="bank_account",
        balance_transaction=None,
        failure_code=None,
        original_payout=None,
        reversed_by=None,
        **known,
    )


def event(event_id: str, created: str, kind: str, subject: dict[str, Any], **before: Any) -> dict[str, Any]:
    """In the version of the account's default: a snapshot of then, and of another shape."""
    data = {"object": subject} | ({"previous_attributes": before} if before else {})
    return thing(
        "event",
        event_id,
        created,
        type=kind,
        api_version="2019-12-03",
        data=data,
        pending_webhooks=0,
        request={"id": None, "idempotency_key": None},
    )


ITEMS = [item("si_1", "2000", 1), item("si_2", "500", 3), item("si_3", "12000", 1, "year")]
CUSTOMERS = [
    thing("customer", f"cus_{number}", "2026-01-05", email=None, name=f"Customer {number}", currency="usd")
    for number in (3, 2, 1)
]
MONDAY: dict[str, list[dict[str, Any]]] = {
    "customers": CUSTOMERS,
    "products": [thing("product", "prod_1", "2025-01-01", active=True, name="Plan")],
    "prices": [
        ITEMS[0]["price"],
        thing(
            "price", "price_old", "2024-01-01", currency="usd", active=False, type="one_time", unit_amount_decimal="1"
        ),
    ],
    "subscriptions": [
        subscription("sub_1", "cus_1", ITEMS),
        subscription(
            "sub_2",
            "cus_3",
            [item("si_4", "1200", 1, currency="jpy")],
            "canceled",
            "jpy",
            ended_at=at("2026-02-15"),
            canceled_at=at("2026-02-15"),
        ),
    ],
    "invoices": [
        invoice("in_draft", "2026-03-01T08:00", "kwd", 1234500, 0, "draft", [1234500]),
        invoice("in_1", "2026-02-10", "usd", 4500, 0, "open", [2000, 1500, 1000]),
    ],
    "charges": [
        charge("ch_kwd", "2026-02-12", "kwd", 12345),
        charge("ch_jpy", "2026-02-11", "jpy", 1200),
        charge("ch_usd", "2026-02-10", "usd", 4500, balance_transaction="txn_1"),
    ],
    "refunds": [],
    "disputes": [],
    "credit_notes": [],
    "payouts": [payout("in_transit")],
    "balance_transactions": [movement("txn_1", "2026-02-10", 4500, 160, "pending", "charge", "ch_usd")],
    "events": [event("evt_0", "2026-03-01T08:00", "invoice.created", {"id": "in_draft", "object": "invoice"})],
}
MORE = [item("si_1", "2000", 1), item("si_2", "500", 5), item("si_3", "12000", 1, "year")]
REFUND = thing(
    "refund",
    "re_1",
    "2026-03-03T09:00",
    charge="ch_usd",
    currency="usd",
    amount=1000,
    status="succeeded",
    reason=None,
    payment_intent=None,
    balance_transaction="txn_2",
)
NOTE_LINES = [
    {"id": f"cnli_{number}", "object": "credit_note_line_item", "amount": 500, "type": "custom_line_item"}
    for number in (1, 2, 3)
]
NOTE = thing(
    "credit_note",
    "cn_1",
    "2026-03-03T10:00",
    invoice="in_1",
    customer="cus_1",
    currency="usd",
    amount=1500,
    total=1500,
    status="issued",
    lines=NOTE_LINES,
)
TUESDAY = MONDAY | {
    "customers": [one for one in CUSTOMERS if one["id"] != "cus_2"],
    "subscriptions": [subscription("sub_1", "cus_1", MORE), MONDAY["subscriptions"][1]],
    "invoices": [invoice("in_1", "2026-02-10", "usd", 4500, 4500, "paid", [2000, 1500, 1000])],
    "charges": [*MONDAY["charges"][:2], charge("ch_usd", "2026-02-10", "usd", 4500, amount_refunded=1000, balance_transaction="txn_1")],
    "refunds": [REFUND],
    "credit_notes": [NOTE],
    "payouts": [payout("paid")],
    "balance_transactions": [
        movement("txn_2", "2026-03-03T09:00", -1000, 0, "available", "refund", "re_1"),
        movement("txn_1", "2026-02-10", 4500, 160, "available", "charge", "ch_usd"),
    ],
    "events": [
        event("evt_9", "2026-03-03T10:00", "credit_note.created", {"id": "cn_1", "object": "credit_note", "invoice": "in_1"}),
        event("evt_1", "2026-03-03T10:00", "invoice.paid", {"id": "in_1", "object": "invoice", "total": "of another version"}),
        event("evt_8", "2026-03-03T09:00", "radar.early_fraud_warning.created", {"id": "issfr_1", "object": "radar.early_fraud_warning"}),
        event("evt_2", "2026-03-03T09:00", "charge.refunded", {"id": "ch_usd", "object": "charge", "amount": 4500}),
        event("evt_7", "2026-03-03T09:00", "refund.created", {"id": "re_1", "object": "refund", "charge": "ch_usd"}),
        event("evt_3", "2026-03-03T08:00", "payout.paid", {"id": "po_1", "object": "payout"}),
        event(
            "evt_6", "2026-03-03T08:00", "customer.subscription.updated",
            {"id": "sub_1", "object": "subscription", "status": "active", "items": listed("/v1/subscription_items?subscription=sub_1", MORE)},
            items=listed("/v1/subscription_items?subscription=sub_1", ITEMS),
        ),
        event("evt_4", "2026-03-03T07:00", "customer.deleted", {"id": "cus_2", "object": "customer"}),
        event("evt_5", "2026-03-03T07:00", "invoice.deleted", {"id": "in_draft", "object": "invoice"}),
        *MONDAY["events"],
    ],
}  # fmt: skip
NESTED = {
    "invoices": ("lines", "/v1/invoices/{}/lines"),
    "subscriptions": ("items", "/v1/subscription_items?subscription={}"),
    "credit_notes": ("lines", "/v1/credit_notes/{}/lines"),
}


ACCOUNT = """
    select provider_account_id, name, kind, currency, status, institution_name from dim_accounts where provider = 'stripe'
"""
CHARGES = "select provider_charge_id, status, currency, amount, amount_refunded from fct_charges order by 1"
INVOICES = """
    select provider_invoice_id, provider_subscription_id, status, currency, total, amount_paid, amount_remaining
    from fct_invoices order by 1
"""
LINES = """
    select provider_invoice_id, provider_invoice_line_id, currency, amount
    from staging.stg_stripe__invoice_lines where removed_at is null order by all
"""
CREDITED = """
    select provider_credit_note_id, count(*)
    from staging.stg_stripe__credit_note_lines where removed_at is null group by 1
"""
BUYERS = "select provider_customer_id from staging.stg_stripe__customers where removed_at is null order by 1"
MOVEMENTS = """
    select provider_balance_transaction_id, status, currency, amount, fee, net from fct_balance_transactions order by 1
"""
REFUNDS = "select provider_refund_id, provider_charge_id, status, currency, amount from fct_refunds"
PAYOUTS = "select provider_payout_id, status, currency, amount, arrives_on from fct_payouts"
SUBSCRIPTIONS = (
    "select provider_subscription_id, provider_customer_id, status, currency from fct_subscriptions order by 1"
)
REVENUE = """
    select month, currency, starting, new, expansion, churn, ending, subscribers from customer_mrr_months order by all
"""
EXCLUDED = "select stream, record_id, reason from excluded_records where provider = 'stripe' order by all"
OTHER_CHARGES = [
    ("ch_jpy", "succeeded", "JPY", "1200", "0"),
    ("ch_kwd", "succeeded", "KWD", "12.345", "0"),
]
PAID_LINES = [("in_1", f"in_1:il_in_1_{number}", "USD", amount) for number, amount in ((1, "20"), (2, "15"), (3, "10"))]
PAST_REVENUE = [
    ("2026-01-01", "JPY", "0", "1200", "0", "0", "1200", 1),
    ("2026-01-01", "USD", "0", "45", "0", "0", "45", 1),
    ("2026-02-01", "JPY", "1200", "0", "0", "-1200", "0", 0),
    ("2026-02-01", "USD", "45", "0", "0", "0", "45", 1),
    ("2026-03-01", "JPY", "0", "0", "0", "0", "0", 0),
]
FIRST: Tables = {
    ACCOUNT: [("acct_1", "Acme", "other", "USD", "open", "Stripe")],
    CHARGES: [*OTHER_CHARGES, ("ch_usd", "succeeded", "USD", "45", "0")],
    INVOICES: [
        ("in_1", "sub_1", "open", "USD", "45", "0", "45"),
        ("in_draft", "sub_1", "draft", "KWD", "1234.5", "0", "1234.5"),
    ],
    LINES: [*PAID_LINES, ("in_draft", "in_draft:il_in_draft_1", "KWD", "1234.5")],
    BUYERS: [("cus_1",), ("cus_2",), ("cus_3",)],
    MOVEMENTS: [("txn_1", "pending", "USD", "45", "1.6", "43.4")],
    REFUNDS: [],
    PAYOUTS: [("po_1", "in_transit", "USD", "30", "2026-03-03")],
    SUBSCRIPTIONS: [("sub_1", "cus_1", "active", "USD"), ("sub_2", "cus_3", "canceled", "JPY")],
    REVENUE: [*PAST_REVENUE, ("2026-03-01", "USD", "45", "0", "0", "0", "45", 1)],
    EXCLUDED: [],
}
SECOND: Tables = {
    CHARGES: [*OTHER_CHARGES, ("ch_usd", "succeeded", "USD", "45", "10")],
    INVOICES: [("in_1", "sub_1", "paid", "USD", "45", "45", "0")],
    LINES: PAID_LINES,
    CREDITED: [("cn_1", 3)],
    BUYERS: [("cus_1",), ("cus_3",)],
    MOVEMENTS: [
        ("txn_1", "available", "USD", "45", "1.6", "43.4"),
        ("txn_2", "available", "USD", "-10", "0", "-10"),
    ],
    REFUNDS: [("re_1", "ch_usd", "succeeded", "USD", "10")],
    PAYOUTS: [("po_1", "paid", "USD", "30", "2026-03-03")],
    SUBSCRIPTIONS: [("sub_1", "cus_1", "active", "USD"), ("sub_2", "cus_3", "canceled", "JPY")],
    REVENUE: [*PAST_REVENUE, ("2026-03-01", "USD", "45", "0", "10", "0", "55", 1)],
    EXCLUDED: [("invoices", "in_draft", "removed")],
}


class Stripe:
    """One account. Anything that the documentation does not allow is refused."""

    secrets: ClassVar = {"api_key": KEY}
    credentials: ClassVar[dict[str, str]] = {}
    path, first, second = "", FIRST, SECOND

    def __init__(self) -> None:
        self.lists = MONDAY

    def go_on(self) -> None:
        self.lists = TUESDAY

    def check(self) -> None:
        """Nothing besides what the tables say."""

    def __call__(self, asked: Asked) -> Said:
        if asked.headers.get("authorization") != f"Bearer {KEY}":
            return refuse(401, "api_key_invalid")
        if "stripe-version" not in asked.headers:
            return refuse(400, "version_missing")
        match asked.path.strip("/").split("/"):
            case ["v1", "account"]:
                profile = {
                    "business_profile": {"name": "Acme"},
                    "settings": {"dashboard": {"display_name": "Acme Inc"}},
                }
                return 200, {
                    "id": "acct_1",
                    "object": "account",
                    "default_currency": "usd",
                    "type": "standard",
                    "country": "US",
                    **profile,
                }
            case ["v1", "subscription_items"]:
                return self.page(
                    self.elements("subscriptions", asked.one("subscription"), "items"), asked, {"subscription"}
                )
            case ["v1", "invoices" | "credit_notes" as kind, owner, "lines"]:
                return self.page(self.elements(kind, owner, "lines"), asked, set())
            case ["v1", kind] if kind in self.lists:
                return self.page(self.chosen(kind, asked), asked, {"status", "active", "type", "types[]"})
            case ["v1", kind, object_id] if kind in self.lists:
                found = [self.shown(kind, one) for one in self.lists[kind] if one["id"] == object_id]
                if not found and object_id == "cus_2":
                    return 200, {"id": "cus_2", "object": "customer", "deleted": True}
                return (200, found[0]) if found else refuse(404, "resource_missing")
        return refuse(404, "resource_missing")

    def chosen(self, kind: str, asked: Asked) -> list[Any]:
        """Of a list what is asked for; canceled subscriptions by request alone."""
        found = self.lists[kind]
        if kind == "subscriptions" and asked.one("status") != "all":
            found = [one for one in found if one["status"] == (asked.one("status") or "active")]
        if (active := asked.one("active")) is not None:
            found = [one for one in found if one["active"] is (active == "true")]
        first, last = int(asked.one("created[gte]") or 0), int(asked.one("created[lte]") or 2**40)
        return [self.shown(kind, one) for one in found if first <= one["created"] <= last]

    def shown(self, kind: str, one: dict[str, Any]) -> dict[str, Any]:
        if kind not in NESTED:
            return one
        name, url = NESTED[kind]
        return one | {name: listed(url.format(one["id"]), one[name], PAGE)}

    def elements(self, kind: str, owner: str, name: str) -> list[Any]:
        return [element for one in self.lists[kind] if one["id"] == owner for element in one[name]]

    def page(self, found: list[Any], asked: Asked, known: set[str]) -> Said:
        limit = int(asked.one("limit") or 10)
        if (
            set(asked.query) - {"limit", "starting_after", "created[gte]", "created[lte]", *known}
            or not 1 <= limit <= 100
        ):
            return refuse(400, "parameter_unknown")
        place = 0
        if (after := asked.one("starting_after")) is not None:
            ids = [one["id"] for one in found]
            if after not in ids:
                return refuse(400, "resource_missing")
            place = ids.index(after) + 1
        data = found[place : place + min(limit, PAGE)]
        return 200, {"object": "list", "url": asked.path, "data": data, "has_more": place + len(data) < len(found)}


def refuse(status: int, code: str) -> Said:
    return status, {"error": {"type": "invalid_request_error", "code": code, "message": f"{code}."}}
