"""Stripe's protocol over the businesses of the world: lists, objects, events, errors.

Stripe is no bank: a customer who is a business has an account there with a billing history of its own (`saas`), in
currencies with no, two and three decimals. A business connects by its key; every other one tells its account too, as a
connected account is read, with the header `Stripe-Account`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from sandbox._cache import Cache
from sandbox._dice import digest
from sandbox.bank import Bank
from sandbox.books import Row
from sandbox.consent.stripe import StripeConnect
from sandbox.faults import Fault
from sandbox.provider import Refused, Rows, Shown
from sandbox.saas import DAY, Business, Event, cut, seconds
from sandbox.webhooks.hook import Hooks
from sandbox.webhooks.stripe import SECRETS, StripeHooks
from sandbox.world import Account, Customer

RETENTION = 30 * DAY
_BYTES = 256 * 1024 * 1024
_KINDS = {
    "customers": "customer",
    "products": "product",
    "prices": "price",
    "subscriptions": "subscription",
    "invoices": "invoice",
    "charges": "charge",
    "refunds": "refund",
    "disputes": "dispute",
    "credit_notes": "credit_note",
    "payouts": "payout",
    "balance_transactions": "balance_transaction",
}
_DECIMALS = {"usd": 2, "eur": 2, "jpy": 0, "kwd": 3}
_FILTERS = frozenset({
    "active", "charge", "collection_method", "currency", "customer", "email", "invoice", "payment_intent", "payout",
    "price", "product", "source", "status", "subscription", "type",
})  # fmt: skip
_RANGES: Mapping[str, Callable[[int, int], bool]] = {
    "created": int.__eq__,
    "created[gt]": int.__gt__,
    "created[gte]": int.__ge__,
    "created[lt]": int.__lt__,
    "created[lte]": int.__le__,
}
_LIST = re.compile(r"/v1/[a-z_]+(/[^/]+/lines)?$")
_DATA = b'"data":['
_json = msgspec.json.Encoder()
_Object = dict[str, Any]


class _List(msgspec.Struct):
    data: list[msgspec.Raw]
    has_more: bool
    url: str


def _fault(message: str, code: str | None = None, type_: str = "invalid_request_error", **more: str) -> bytes:
    error = {"type": type_, "message": message, **more}
    if code is not None:
        error |= {"code": code, "doc_url": f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"}
    return _json.encode({"error": error})


class Stripe:
    """Stripe over a bank; see `sandbox.provider.Provider` for what the methods without underscore are."""

    name: ClassVar[str] = "stripe"
    credentials: ClassVar[Mapping[str, str]] = {
        "client_id": "ca_sandbox5f1d90be",
        "secret_key": "sk_test_sandbox_platform_5f1d90be",
    }
    webhook_secrets: ClassVar[tuple[str, ...]] = SECRETS
    pages: ClassVar[Mapping[str, str]] = {"connect_url": ""}
    page_parameter: ClassVar[str] = "starting_after"

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self.hooks: Hooks | None = StripeHooks(self)
        self._authorized: set[int] = set()
        self._businesses: Cache[int, Business] = Cache(_BYTES, lambda one: one.weight)

    def serves(self, customer: Customer) -> bool:
        return (customer.kind == "business" and not self.bank.world.is_guest(customer)) or self.bank.joined(customer)

    def routes(self) -> list[BaseRoute]:
        objects = [
            route
            for path, kind in _KINDS.items()
            for route in (
                Route(f"/v1/{path}", self._lister(path, kind)),
                Route(f"/v1/{path}/{{id}}", self._shower(path, kind)),
            )
        ]
        return [
            Route("/v1/account", self._account),
            Route("/v1/events", self._list_events),
            Route("/v1/events/{id}", self._show_event),
            Route("/v1/subscription_items", self._list_items),
            Route("/v1/invoices/{id}/lines", self._list_lines("invoices", "invoice")),
            Route("/v1/credit_notes/{id}/lines", self._list_lines("credit_notes", "credit_note")),
            *objects,
            *StripeConnect(self).routes(),
            Route("/{path:path}", self._nothing),
        ]

    def token(self, scope: Scope) -> str | None:
        for name, value in scope["headers"]:
            if name == b"authorization" and value[:7].lower() == b"bearer ":
                return str(value[7:].decode("latin-1"))
        return None

    def customer(self, token: str) -> Customer | None:
        if not token.startswith("rk_test_"):
            return None
        customer = self.bank.world.find_customer(token[8:26])
        if customer is None or not self.serves(customer) or self.bank.dropped(customer):
            return None
        return customer if self._key(customer) == token else None

    def secrets(self, customer: Customer) -> dict[str, str]:
        account = {"account": self.connection_id(customer)} if self.is_connected(customer) else {}
        return {"api_key": self._key(customer), **account}

    def is_connected(self, customer: Customer) -> bool:
        """Whether the account is one connected to the application, rather than one that gave its own key."""
        return customer.index % 2 == 1 or customer.index in self._authorized

    def authorize(self, customer: Customer) -> None:
        """Connect the customer's account to the application."""
        self._authorized.add(customer.index)
        self.bank.consent(customer, new=not self.serves(customer))

    def events(self, customer: Customer, first: int, last: int) -> Iterator[tuple[str, bytes]]:
        """Type and body of the events made after the time `first` up to `last`, as they came about."""
        for event in self._business(customer).events:
            if first < event.created <= last:
                yield event.type, self._event(customer, event)

    def connection_id(self, customer: Customer) -> str:
        return f"acct_{customer.ref}"

    def find_connection(self, connection_id: str) -> Customer | None:
        customer = self.bank.world.find_customer(connection_id.removeprefix("acct_"))
        if customer is None or not self.serves(customer) or connection_id != self.connection_id(customer):
            return None
        return customer

    def account_id(self, account: Account) -> str:
        return f"acct_none_{account.ref}"

    def account_ref(self, account_id: str) -> str:
        return account_id.removeprefix("acct_none_")

    def record_id(self, ref: str) -> str:
        return f"txn_{ref}"

    def streams(self, account: Account) -> frozenset[str]:
        return frozenset()

    def balances(self, account: Account, day: int) -> Shown:
        return Shown(None, None)

    def kind(self, kind: str) -> str:
        return kind

    def disconnected(self, reason: str) -> tuple[int, bytes]:
        if reason in {"account_invalid", "account_locked"}:
            message = "The provided key does not have access to the account, or that application access was revoked."
            return 403, _fault(message, "account_invalid")
        if reason == "permission":
            return 403, _fault("The provided key does not have the required permissions for this endpoint.")
        return 401, _fault("Expired API Key provided: rk_test_****", "api_key_expired")

    def account_closed(self, reason: str) -> tuple[int, bytes]:
        return self.disconnected("account_invalid")

    def rate_limited(self) -> bytes:
        return _fault("Request rate limit exceeded.", "rate_limit", "rate_limit_error")

    def failed(self, status: int) -> bytes:
        return _fault("An unknown error occurred", None, "api_error")

    def missing_certificate(self) -> tuple[int, bytes]:
        return 400, _fault("This sandbox was started with --mtls: show its client certificate")

    def rows(self, path: str, body: bytes) -> Rows | None:
        if not _LIST.fullmatch(path) or _DATA not in body:
            return None
        start = body.index(_DATA) + len(_DATA)
        found = [bytes(row) for row in msgspec.json.decode(body, type=_List).data]
        return Rows(body[:start], found, body[start + len(b",".join(found)) :])

    def bad_row(self, fault: Fault, row: bytes, token: str | None) -> bytes:
        made: _Object = msgspec.json.decode(row)
        owner = token if fault.row == "shared_id" else made["id"]
        made["id"] = f"{made['id'].split('_')[0]}_{digest(16, 'bad', fault.row, owner)}"
        amount = next((one for one in ("amount", "total") if one in made), "created")
        match fault.row:
            case "missing_id":
                del made["id"]
            case "missing_amount":
                del made[amount]
            case "nan":
                made[amount] = "NaN"
            case "1e400":
                return _json.encode(made).replace(f'"{amount}":{made[amount]}'.encode(), f'"{amount}":1e400'.encode())
            case "nine_decimals":
                made[amount] = 12.123456789
            case "february_30":
                made["created"] = 10**17
            case "nul":
                made["description"] = "NUL\0"
            case "wrong_type":
                made[amount] = {"value": 12}
        return _json.encode(made)

    def truth(self, customer: Customer, *, rows: bool) -> dict[str, Any]:
        """The account, and of each stream how many objects there are and what they add up to, in each currency.

        Amounts are exact decimal text in the currency's main unit. A fee or a payout is signed as Stripe signs it.
        """
        day = self.bank.day
        outage = self.bank.broken(customer)
        if outage is not None:
            day = min(day, outage.as_of)
        business, now = self._business(customer), seconds(day + 1) - 1
        streams: dict[str, Any] = {}
        for path, kind in _KINDS.items():
            objects = list(_alive(business, kind, now))
            totals: dict[str, list[int]] = {}
            for one in objects:
                if "currency" in one:
                    total = totals.setdefault(one["currency"], [0, 0])
                    total[0] += 1
                    total[1] += one["amount"] if "amount" in one else one.get("total", 0)
            streams[path] = {
                "count": len(objects),
                "totals": {
                    currency.upper(): {"count": count, "amount": tell(amount, currency)}
                    for currency, (count, amount) in sorted(totals.items())
                },
            }
            if rows:
                streams[path]["rows"] = {one["id"]: _row(one) for one in objects}
        for stream, kind, field in (
            ("invoice_lines", "invoice", "lines"),
            ("subscription_items", "subscription", "items"),
        ):
            counts = {one["id"]: len(one[field]["data"]) for one in _alive(business, kind, now)}
            streams[stream] = {"count": sum(counts.values())}
        account = {
            "id": self.connection_id(customer), "name": customer.name, "kind": "other", "subtype": "standard",
            "currency": business.currencies[0].upper(), "status": "open", "as_of": datetime.fromtimestamp(now, UTC).date(),
            "streams": [], "opening": None, "balances": {"ledger": None, "available": None},
            "totals": {"transactions": 0, "posted": "0.00", "pending": "0.00"}, "transactions": [],
        }  # fmt: skip
        return {"accounts": [account], "billing": streams}

    def tell_row(self, account: Account, row: Row) -> dict[str, Any]:
        raise NotImplementedError("an account at Stripe has no rows of a bank")

    # Who asks.

    def _key(self, customer: Customer) -> str:
        return f"rk_test_{customer.ref}{digest(8, self.bank.world.seed, 'stripe-key', customer.index)}"

    def _business(self, customer: Customer) -> Business:
        made = self._businesses.get(customer.index, lambda: Business(self.bank.world, customer))
        return made.until(self.bank.day)

    def _authenticate(self, request: Request) -> tuple[Customer, Business, int]:
        token = self.token(request.scope)
        if token is None:
            raise Refused(401, _fault("You did not provide an API key."))
        account = request.headers.get("stripe-account")
        customer: Customer | None
        if token == self.credentials["secret_key"] and account is not None:
            customer = self._of_platform(account)
        else:
            customer = self.customer(token)
        if customer is None:
            raise Refused(401, _fault(f"Invalid API Key provided: {token[:8]}****{token[-4:]}"))
        outage = self.bank.broken(customer)
        if outage is not None:
            raise Refused(*self.disconnected(outage.reason))
        if account is not None and account != self.connection_id(customer):
            raise Refused(*self.disconnected("account_invalid"))
        return customer, self._business(customer), seconds(self.bank.day + 1) - 1

    def _of_platform(self, account: str) -> Customer:
        """Whose account the application reads with its own key."""
        customer = self.find_connection(account)
        if customer is None or self.bank.dropped(customer) or not self.is_connected(customer):
            raise Refused(*self.disconnected("account_invalid"))
        return customer

    # The endpoints.

    async def _nothing(self, request: Request) -> Response:
        self._authenticate(request)
        raise Refused(404, _fault(f"Unrecognized request URL (GET: {request.url.path})."))

    async def _account(self, request: Request) -> Response:
        customer, business, _ = self._authenticate(request)
        return _answer(request, _json.encode(business.account | {"id": self.connection_id(customer)}))

    def _lister(self, path: str, kind: str) -> Callable[..., Any]:
        async def answer(request: Request) -> Response:
            _, business, now = self._authenticate(request)
            query = _query(request)
            # What these lists leave out when they are not asked for all.
            status = query.get("status")
            if kind == "subscription" and status == "all":
                del query["status"]
            if kind == "price" and "active" not in query:
                query["active"] = "true"
            found = [
                one
                for one in _alive(business, kind, now)
                if _passes(one, query)
                and not (kind == "subscription" and status is None and one["status"] == "canceled")
            ]
            return _answer(request, _page(query, f"/v1/{path}", [cut(one) for one in found], kind))

        return answer

    def _shower(self, path: str, kind: str) -> Callable[..., Any]:
        async def answer(request: Request) -> Response:
            _, business, now = self._authenticate(request)
            return _answer(request, _json.encode(cut(_find(business, kind, request.path_params["id"], now))))

        return answer

    def _list_lines(self, path: str, kind: str) -> Callable[..., Any]:
        async def answer(request: Request) -> Response:
            _, business, now = self._authenticate(request)
            owner = _find(business, kind, request.path_params["id"], now)
            url = f"/v1/{path}/{owner['id']}/lines"
            return _answer(request, _page(_query(request), url, owner["lines"]["data"], "line_item"))

        return answer

    async def _list_items(self, request: Request) -> Response:
        _, business, now = self._authenticate(request)
        query = _query(request)
        if "subscription" not in query:
            raise Refused(
                400, _fault("Missing required param: subscription.", "parameter_missing", param="subscription")
            )
        owner = _find(business, "subscription", query["subscription"], now)
        return _answer(request, _page(query, "/v1/subscription_items", owner["items"]["data"], "subscription_item"))

    def _event(self, customer: Customer, event: Event) -> bytes:
        if not self.is_connected(customer):
            return event.body
        return event.body[:-1] + b',"account":' + _json.encode(self.connection_id(customer)) + b"}"

    async def _list_events(self, request: Request) -> Response:
        customer, business, now = self._authenticate(request)
        types = [value for name, value in request.query_params.multi_items() if name in {"type", "types[]"}]
        query = _query(request, also={"type", "types[]"})
        query.pop("type", None)
        found = sorted(
            (
                event
                for event in business.events
                if now - RETENTION < event.created <= now and _passes({"created": event.created}, query)
                if not types or any(re.fullmatch(one.replace("*", ".*"), event.type) for one in types)
            ),
            key=lambda event: (event.created, event.number),
            reverse=True,
        )
        return _answer(
            request,
            _cut_page(query, "/v1/events", [(_id(one.body), self._event(customer, one)) for one in found], "event"),
        )

    async def _show_event(self, request: Request) -> Response:
        customer, business, now = self._authenticate(request)
        wanted = request.path_params["id"]
        for event in business.events:
            if now - RETENTION < event.created <= now and _id(event.body) == wanted:
                return _answer(request, self._event(customer, event))
        raise Refused(404, _fault(f"No such event: '{wanted}'", "resource_missing", param="id"))


def tell(amount: int, currency: str) -> str:
    """Smallest units as decimal text of the currency's main unit."""
    decimals = _DECIMALS[currency]
    digits = f"{abs(amount):0{decimals + 1}}"
    sign = "-" if amount < 0 else ""
    return (
        f"{sign}{digits[: len(digits) - decimals]}.{digits[len(digits) - decimals :]}"
        if decimals
        else f"{sign}{digits}"
    )


def _row(one: _Object) -> dict[str, Any]:
    """What the truth tells of an object: its state and its money."""
    told: dict[str, Any] = {name: one[name] for name in ("status", "active", "disputed") if name in one}
    for name in ("amount", "fee", "net", "amount_refunded", "total", "amount_paid", "amount_remaining"):
        if name in one:
            told[name] = tell(one[name], one["currency"])
    if "currency" in one and one["currency"] is not None:
        told["currency"] = one["currency"].upper()
    return told


def _alive(business: Business, kind: str, now: int) -> Iterator[_Object]:
    """The objects of a kind at a time that are not deleted, newest first."""
    found = []
    for place, object_id in enumerate(business.order.get(kind, [])):
        value = business.at(object_id, now)
        if value is not None and not value.get("deleted"):
            found.append((value["created"], place, value))
    found.sort(key=lambda one: one[:2], reverse=True)
    return (value for _, _, value in found)


def _find(business: Business, kind: str, object_id: str, now: int) -> _Object:
    value = business.at(object_id, now)
    if value is None or value["object"] != kind:
        raise Refused(404, _fault(f"No such {kind}: '{object_id}'", "resource_missing", param="id"))
    return value


def _query(request: Request, also: set[str] = frozenset()) -> dict[str, str]:  # type: ignore[assignment]
    """The query, checked: Stripe refuses what it does not know."""
    query = dict(request.query_params)
    known = {"limit", "starting_after", "ending_before", "expand[]", *_RANGES, *_FILTERS, *also}
    for name, value in query.items():
        base = re.sub(r"\[\d+\]$", "[]", name)
        if base not in known:
            raise Refused(400, _fault(f"Received unknown parameter: {name}", "parameter_unknown", param=name))
        if name in _RANGES and not re.fullmatch(r"\d{1,12}", value):
            raise Refused(400, _fault(f"Invalid integer: {value}", "parameter_invalid_integer", param=name))
    limit = query.get("limit", "10")
    if not re.fullmatch(r"\d{1,6}", limit) or not 1 <= int(limit) <= 100:
        raise Refused(400, _fault("Invalid limit: it is 1 to 100", "parameter_invalid_integer", param="limit"))
    if "starting_after" in query and "ending_before" in query:
        raise Refused(400, _fault("You can only specify one of starting_after and ending_before"))
    return query


def _passes(one: _Object, query: Mapping[str, str]) -> bool:
    for name, value in query.items():
        if name in _RANGES and not _RANGES[name](one["created"], int(value)):
            return False
        if name in _FILTERS and name in one:
            held = one[name]
            if value != (str(held).lower() if isinstance(held, bool) else held):
                return False
    return True


def _page(query: Mapping[str, str], url: str, objects: list[_Object], kind: str) -> bytes:
    return _cut_page(query, url, [(one["id"], _json.encode(one)) for one in objects], kind)


def _cut_page(query: Mapping[str, str], url: str, rows: list[tuple[str, bytes]], kind: str) -> bytes:
    limit, more = int(query.get("limit", "10")), False
    if "ending_before" in query:
        place = _place(rows, query["ending_before"], kind, "ending_before")
        more = place > limit
        rows = rows[max(place - limit, 0) : place]
    else:
        start = _place(rows, query["starting_after"], kind, "starting_after") + 1 if "starting_after" in query else 0
        more = len(rows) > start + limit
        rows = rows[start : start + limit]
    data = b",".join(body for _, body in rows)
    head = b'{"object":"list","url":' + _json.encode(url) + b',"has_more":' + _json.encode(more)
    return head + b',"data":[' + data + b"]}"


def _place(rows: list[tuple[str, bytes]], wanted: str, kind: str, param: str) -> int:
    for place, (one, _) in enumerate(rows):
        if one == wanted:
            return place
    raise Refused(400, _fault(f"No such {kind}: '{wanted}'", "resource_missing", param=param))


def _id(body: bytes) -> str:
    """An event's id: its first member."""
    return body[7 : body.index(b'"', 7)].decode()


def _answer(request: Request, body: bytes) -> Response:
    version = request.headers.get("stripe-version", "2026-08-26.dahlia")
    headers = {"request-id": f"req_{digest(14, request.url.path, request.url.query)}", "stripe-version": version}
    return Response(body, media_type="application/json", headers=headers)
