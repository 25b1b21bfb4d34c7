"""Stripe's objects: the contract of each stream, the path and the queries of its list, and what is nested in them.

Does not belong here: asking for them (``_lists``), and what an event says of them (``_events``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from connectors._protocol import Record
from connectors._split import Fields
from connectors._values import decimal, identifier
from connectors.stripe._times import day


class Dated(msgspec.Struct, gc=False):
    id: str
    created: int


class Money(msgspec.Struct, gc=False):
    id: str
    created: int
    currency: str
    amount: int


class Price(msgspec.Struct, gc=False):
    id: str
    created: int
    currency: str


class Movement(msgspec.Struct, gc=False):
    id: str
    created: int
    currency: str
    amount: int
    fee: int
    net: int
    status: str
    available_on: int


class Elements(msgspec.Struct, gc=False):
    data: msgspec.Raw
    has_more: bool


class Invoice(msgspec.Struct, gc=False):
    id: str
    created: int
    currency: str
    total: int
    amount_due: int
    amount_paid: int
    amount_remaining: int
    lines: Elements | None = None


class Subscription(msgspec.Struct, gc=False):
    id: str
    created: int
    status: str
    items: Elements | None = None


class CreditNote(msgspec.Struct, gc=False):
    id: str
    created: int
    currency: str
    amount: int
    lines: Elements | None = None


class Line(msgspec.Struct, gc=False):
    id: str


class Owner(msgspec.Struct, gc=False):
    id: str
    default_currency: str | None = None


class Subject(msgspec.Struct, gc=False):
    """The object of an event, as far as it says what to ask for; it is of another API version, so of any type."""

    id: Any = None
    object: Any = None
    created: Any = None
    charge: Any = None
    customer: Any = None
    invoice: Any = None
    subscription: Any = None


class Data(msgspec.Struct, gc=False):
    object: Subject


class Event(msgspec.Struct, gc=False):
    id: str
    created: int
    type: str
    data: Data


class Nested(NamedTuple):
    """A list within the objects of a stream: where it is, the stream of its elements, and where to ask for the rest."""

    field: str
    stream: str
    rest: Callable[[str], tuple[str, dict[str, str]]]


class Kind(NamedTuple):
    """What is listed as a stream: its path, its contract, and the queries that show all of it."""

    path: str
    fields: Fields[Any]
    queries: tuple[Mapping[str, str], ...] = ({},)
    nested: Nested | None = None


KINDS: Mapping[str, Kind] = {
    "customers": Kind("/v1/customers", Fields(Dated, "a customer of Stripe")),
    "products": Kind("/v1/products", Fields(Dated, "a product of Stripe")),
    # Asked without `active`, the list is of active prices alone.
    "prices": Kind("/v1/prices", Fields(Price, "a price of Stripe"), ({"active": "true"}, {"active": "false"})),
    "subscriptions": Kind(
        "/v1/subscriptions",
        Fields(Subscription, "a subscription of Stripe"),
        ({"status": "all"},),
        Nested("items", "subscription_items", lambda owner: ("/v1/subscription_items", {"subscription": owner})),
    ),
    "invoices": Kind(
        "/v1/invoices",
        Fields(Invoice, "an invoice of Stripe"),
        nested=Nested("lines", "invoice_lines", lambda owner: (f"/v1/invoices/{quote(owner, safe='')}/lines", {})),
    ),
    "charges": Kind("/v1/charges", Fields(Money, "a charge of Stripe")),
    "refunds": Kind("/v1/refunds", Fields(Money, "a refund of Stripe")),
    "disputes": Kind("/v1/disputes", Fields(Money, "a dispute of Stripe")),
    "credit_notes": Kind(
        "/v1/credit_notes",
        Fields(CreditNote, "a credit note of Stripe"),
        nested=Nested(
            "lines", "credit_note_lines", lambda owner: (f"/v1/credit_notes/{quote(owner, safe='')}/lines", {})
        ),
    ),
    "payouts": Kind("/v1/payouts", Fields(Money, "a payout of Stripe")),
    "balance_transactions": Kind("/v1/balance_transactions", Fields(Movement, "a balance transaction of Stripe")),
    "events": Kind("/v1/events", Fields(Event, "an event of Stripe")),
}
NESTED = {kind.nested.stream: stream for stream, kind in KINDS.items() if kind.nested is not None}
UNLISTED = ("prices",)
"""Whose list leaves some out (prices made within an invoice): it proves of none that it is gone."""
OWNER = Fields(Owner, "an account of Stripe")
LINE = Fields(Line, "an element of a list of Stripe")


class Build:
    """Makes records of the objects of a stream, and keeps their fields and what is nested in them."""

    def __init__(self, stream: str) -> None:
        self.rows: list[Any] = []
        self.nested: list[tuple[str, Elements | None]] = []
        self._nested = KINDS[stream].nested

    def __call__(self, row: Any, payload: bytes) -> Record:
        for name in ("amount", "fee", "net", "total", "amount_due", "amount_paid", "amount_remaining"):
            decimal(str(getattr(row, name, 0)))
        pending = isinstance(row, Movement) and row.status == "pending"
        record = Record(identifier(row.id), None, day(row.created), pending, payload)
        self.rows.append(row)
        if self._nested is not None:
            self.nested.append((row.id, getattr(row, self._nested.field)))
        return record


def path_of(stream: str, object_id: str) -> str:
    return f"{KINDS[stream].path}/{quote(object_id, safe='')}"
