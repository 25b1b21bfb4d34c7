"""Teller's wire protocol (teller.io/docs, version 2020-10-12) over a bank.

Only Teller's words and habits are here: ids, links, signs by account type, paging, errors. Decisions where its
documentation is silent: transactions are ordered by date, newest first, and of one day the later movement first; a
`from_id` that is not shown today (unknown, or a pending row that went) is 404 `not_found`; a query that cannot be read
is 400 `bad_request`; a resource without a link is 404 `not_found`. Links name Teller's own host, so a row's bytes do not
depend on the port.
"""

import base64
import binascii
from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, ClassVar, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from sandbox import catalogue
from sandbox._cache import Cache
from sandbox._dice import digest, unspell
from sandbox._months import month_of
from sandbox.bank import Bank
from sandbox.books import Row
from sandbox.consent.teller import APPLICATION, SIGNING_KEY, TellerConnect
from sandbox.faults import Fault
from sandbox.provider import Refused, Rows, Shown
from sandbox.truth import tell_accounts, tell_row
from sandbox.webhooks.hook import Hooks
from sandbox.webhooks.teller import SECRETS, TellerHooks
from sandbox.world import Account, Customer

_API = "https://api.teller.io"
_TAIL = "000"
_KINDS = {
    "card": "card_payment",
    "bill": "bill_payment",
    "digital": "digital_payment",
}
_SHEETS_BYTES = 256 * 1024 * 1024
_json = msgspec.json.Encoder()


@dataclass(frozen=True)
class _Habits:
    """What Teller shows of the accounts at one institution."""

    running: bool = True
    """Whether posted rows carry their running balance; else null."""
    balances: bool = True
    details: bool = True
    ledger: bool = True
    available: bool = True
    plain: bool = False
    """Whether whole amounts come without decimals ("1200"), and an unenriched counterparty as null."""
    savings_rows: bool = True
    microdeposits: bool = False
    """Whether account numbers are verified by micro-deposits: three days for a new account, never for a card."""


_HABITS = {
    "harbor_national": _Habits(),
    "prairie_credit_union": _Habits(running=False, details=False, savings_rows=False),
    "granite_trust": _Habits(available=False),
    "meridian": _Habits(balances=False),
    "lumen": _Habits(running=False, ledger=False, plain=True),
    "old_mill_savings": _Habits(microdeposits=True),
}


class _Links(msgspec.Struct, omit_defaults=True, rename={"this": "self"}):
    this: str
    account: str | None = None
    balances: str | None = None
    details: str | None = None
    transactions: str | None = None


class _Institution(msgspec.Struct):
    id: str
    name: str


class _Account(msgspec.Struct):
    enrollment_id: str
    links: _Links
    institution: _Institution
    type: str
    name: str
    subtype: str
    currency: str
    id: str
    last_four: str
    status: str


class _Counterparty(msgspec.Struct):
    name: str | None
    type: str | None


class _Enrichment(msgspec.Struct):
    processing_status: str
    category: str | None
    counterparty: _Counterparty | None


class _Transaction(msgspec.Struct):
    details: _Enrichment
    running_balance: str | None
    description: str
    id: str
    date: str
    account_id: str
    amount: str
    type: str
    status: str
    links: _Links


class Verified(NamedTuple):
    """When an account's number is done being verified by micro-deposits (an ordinal), and what came of it."""

    day: int
    status: str


class _Sheet(NamedTuple):
    """A month of rows, serialised, newest first; `ages` are the negated days, ascending, for bisection."""

    rows: list[bytes]
    ages: list[int]
    places: dict[str, int]


def _error(code: str, message: str) -> bytes:
    return _json.encode({"error": {"code": code, "message": message}})


def _refusal(status: int, code: str, message: str) -> Refused:
    return Refused(status, _error(code, message))


class Teller:
    """Teller over a bank; see `sandbox.provider.Provider` for what the methods without underscore are."""

    name: ClassVar[str] = "teller"
    credentials: ClassVar[Mapping[str, str]] = {"application_id": APPLICATION, "token_signing_key": SIGNING_KEY}
    webhook_secrets: ClassVar[tuple[str, ...]] = SECRETS
    pages: ClassVar[Mapping[str, str]] = {"connect_script": "/connect/connect.js"}
    page_parameter: ClassVar[str] = "from_id"

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self.hooks: Hooks | None = TellerHooks(self)
        self._sheets: Cache[tuple[str, int, int], _Sheet] = Cache(
            _SHEETS_BYTES, lambda sheet: 64 + sum(len(row) + 200 for row in sheet.rows)
        )

    def routes(self) -> list[BaseRoute]:
        account, rows = "/accounts/{account_id}", "/accounts/{account_id}/transactions"
        return [
            Route("/health", self._health),
            Route("/institutions", self._institutions),
            Route("/identity", self._identity),
            Route("/accounts", self._list_accounts, methods=["GET"]),
            Route("/accounts", self._delete_enrollment, methods=["DELETE"]),
            Route(account, self._show_account, methods=["GET"]),
            Route(account, self._delete_account, methods=["DELETE"]),
            Route(f"{account}/balances", self._show_balances),
            Route(f"{account}/details", self._show_details),
            Route(rows, self._list_transactions),
            Route(f"{rows}/{{transaction_id}}", self._show_transaction),
            *TellerConnect(self).routes(),
            Route("/{path:path}", self._nothing),
        ]

    def serves(self, customer: Customer) -> bool:
        return not self.bank.world.is_guest(customer) or self.bank.joined(customer)

    def token(self, scope: Scope) -> str | None:
        for name, value in scope["headers"]:
            if name == b"authorization" and value[:6].lower() == b"basic ":
                try:
                    return base64.b64decode(value[6:], validate=True).decode().partition(":")[0]
                except (binascii.Error, UnicodeDecodeError):
                    return None
        return None

    def customer(self, token: str) -> Customer | None:
        customer = self.bank.world.find_customer(token.removeprefix("test_token_")[:18])
        if customer is None or not self.serves(customer) or self.bank.dropped(customer):
            return None
        return customer if token == self._access_token(customer) else None

    def secrets(self, customer: Customer) -> dict[str, str]:
        return {"access_token": self._access_token(customer), "enrollment_id": self.connection_id(customer)}

    def connection_id(self, customer: Customer) -> str:
        return f"enr_{customer.ref}{_TAIL}"

    def find_connection(self, connection_id: str) -> Customer | None:
        customer = self.bank.world.find_customer(connection_id[4:22])
        if customer is None or not self.serves(customer) or self.connection_id(customer) != connection_id:
            return None
        return customer

    def account_id(self, account: Account) -> str:
        return f"acc_{account.ref}{_TAIL}"

    def account_ref(self, account_id: str) -> str:
        return account_id[4:22]

    def record_id(self, ref: str) -> str:
        return f"txn_{ref}{_TAIL}"

    def streams(self, account: Account) -> frozenset[str]:
        habits = self._habits(account)
        shown = {"balances": habits.balances, "details": habits.details}
        shown["transactions"] = habits.savings_rows or account.subtype != "savings"
        return frozenset(name for name, supported in shown.items() if supported)

    def balances(self, account: Account, day: int) -> Shown:
        habits, books = self._habits(account), self.bank.books
        if not habits.balances:
            return Shown(None, None)
        ledger = books.ledger(account, day)
        return Shown(
            ledger if habits.ledger else None,
            ledger + books.pending(account, day) if habits.available else None,
        )

    def truth(self, customer: Customer, *, rows: bool) -> dict[str, Any]:
        return tell_accounts(self, customer, rows=rows)

    def tell_row(self, account: Account, row: Row) -> dict[str, Any]:
        return tell_row(self, account, row)

    def kind(self, kind: str) -> str:
        return _KINDS.get(kind, kind)

    def disconnected(self, reason: str) -> tuple[int, bytes]:
        code = f"enrollment.disconnected.{reason}" if reason else "enrollment.disconnected"
        return 404, _error(code, "Enrollment is not healthy")

    def account_closed(self, reason: str) -> tuple[int, bytes]:
        code = f"account.closed.{reason}" if reason else "account.closed"
        return 410, _error(code, "The account is closed, or can no longer be seen")

    def rate_limited(self) -> bytes:
        return _error("rate_limited", "Too many requests")

    def failed(self, status: int) -> bytes:
        return _error("bad_gateway" if status == 502 else "internal_server_error", "Something went wrong")

    def rows(self, path: str, body: bytes) -> Rows | None:
        if not path.endswith("/transactions"):
            return None
        return Rows(b"[", [bytes(row) for row in msgspec.json.decode(body, type=list[msgspec.Raw])], b"]")

    def bad_row(self, fault: Fault, row: bytes, token: str | None) -> bytes:
        bad: dict[str, Any] = msgspec.json.decode(row)
        owner = token if fault.row == "shared_id" else bad["id"]
        bad["id"] = f"{bad['id'][:7]}{digest(15, 'bad', fault.row, owner)}000"
        match fault.row:
            case "missing_id":
                del bad["id"]
            case "missing_amount":
                del bad["amount"]
            case "nan":
                bad["amount"] = "NaN"
            case "1e400":
                bad["amount"] = "1e400"
            case "nine_decimals":
                bad["amount"] = "12.123456789"
            case "february_30":
                bad["date"] = f"{bad['date'][:4]}-02-30"
            case "nul":
                bad["description"] = f"NUL\0{bad['description']}"
            case "wrong_type":
                bad["amount"] = {"value": 12}
            case "shared_id":
                bad["id"] = f"txn_{digest(18, 'shared', token)}000"
        return msgspec.json.encode(bad)

    def missing_certificate(self) -> tuple[int, bytes]:
        return 400, _error("bad_request", "Missing certificate: retry request using your Teller certificate")

    def shown(self, account: Account, row: Row, day: int) -> bytes:
        """A row as it is listed on that day."""
        sheet = self._sheet(account, month_of(row.phase.day), day)
        return sheet.rows[sheet.places[self.record_id(row.phase.ref)]]

    def verified_on(self, account: Account) -> Verified | None:
        """When and how the verification of the account's number ends; None where the bank needs none."""
        if not self._habits(account).microdeposits:
            return None
        if account.kind == "credit":
            return Verified(account.opens_on + 7, "expired")
        return Verified(account.opens_on + 3, "completed")

    # The endpoints.

    async def _health(self, _: Request) -> Response:
        return _answer({"status": "ok"})

    async def _institutions(self, _: Request) -> Response:
        products = ["balance", "identity", "transactions", "verify"]
        return _answer([{"id": i.slug, "name": i.name, "products": products} for i in catalogue.INSTITUTIONS])

    async def _nothing(self, _: Request) -> Response:
        raise _refusal(404, "not_found", "The requested resource does not exist")

    async def _list_accounts(self, request: Request) -> Response:
        customer = self._authenticate(request)
        return _answer([self._account(customer, account) for account in self.bank.accounts(customer)])

    async def _show_account(self, request: Request) -> Response:
        customer = self._authenticate(request)
        return _answer(self._account(customer, self._find_account(customer, request)))

    async def _delete_enrollment(self, request: Request) -> Response:
        self.bank.drop_connection(self._authenticate(request))
        return Response(status_code=204)

    async def _delete_account(self, request: Request) -> Response:
        self.bank.drop_account(self._find_account(self._authenticate(request), request))
        return Response(status_code=204)

    async def _identity(self, request: Request) -> Response:
        customer = self._authenticate(request)
        self._require_sound(customer)
        city, region, postal_code = customer.city
        owner = {
            "type": "organization" if customer.kind == "business" else "person",
            "names": [{"type": "name", "data": customer.name}],
            "addresses": [
                {
                    "primary": True,
                    "data": {
                        "street": customer.street,
                        "city": city,
                        "region": region,
                        "postal_code": postal_code,
                        "country": customer.institution.country,
                    },
                }
            ],
            "phone_numbers": [{"type": "mobile", "data": customer.phone}],
            "emails": [{"data": customer.email}],
        }
        accounts = [account for account in self.bank.accounts(customer) if not self.bank.closed(account)]
        return _answer([{"account": self._account(customer, a), "owners": [owner]} for a in accounts])

    async def _show_balances(self, request: Request) -> Response:
        account = self._readable(request, "balances")
        shown = self.balances(account, self.bank.day)
        path = f"{_API}/accounts/{self.account_id(account)}"
        ledger, available = (None if sum_ is None else self._money(account, sum_) for sum_ in shown)
        return _answer(
            {
                "ledger": ledger,
                "available": available,
                "account_id": self.account_id(account),
                "links": _Links(f"{path}/balances", path),
            }
        )

    async def _show_details(self, request: Request) -> Response:
        account = self._readable(request, "details")
        if self._habits(account).microdeposits:
            if account.kind == "credit":
                raise _refusal(404, "account_number_verification_expired", "The verification has expired")
            if self.bank.day < account.opens_on + 3:
                raise _refusal(404, "account_number_verification_pending", "The verification is in progress")
        institution = self.bank.world.customer(account.customer).institution
        path = f"{_API}/accounts/{self.account_id(account)}"
        return _answer(
            {
                "account_id": self.account_id(account),
                "account_number": account.number,
                "routing_numbers": {"ach": institution.routing, "wire": None},
                "links": _Links(f"{path}/details", path),
            }
        )

    async def _list_transactions(self, request: Request) -> Response:
        account = self._readable(request, "transactions")
        query = request.query_params
        start, end = _day(query.get("start_date"), "start_date"), _day(query.get("end_date"), "end_date")
        count = _count(query.get("count"))
        after = None
        if (from_id := query.get("from_id")) is not None:
            after = self._find_row(account, from_id)
            if after is None:
                raise _refusal(404, "not_found", f"There is no transaction {from_id!r} in this account")
        pieces = self._pieces(account, self.bank.day, after, start, end)
        if count is None:
            return StreamingResponse(_stream(pieces), media_type="application/json")
        rows: list[bytes] = []
        for piece in pieces:
            rows += piece[: count - len(rows)]
            if len(rows) == count:
                break
        return Response(b"[" + b",".join(rows) + b"]", media_type="application/json")

    async def _show_transaction(self, request: Request) -> Response:
        account = self._readable(request, "transactions")
        found = self._find_row(account, request.path_params["transaction_id"])
        if found is None:
            raise _refusal(404, "not_found", "There is no such transaction in this account")
        month, place = found
        return Response(self._sheet(account, month, self.bank.day).rows[place], media_type="application/json")

    # Who asks, and for what.

    def _access_token(self, customer: Customer) -> str:
        return f"test_token_{customer.ref}{digest(8, self.bank.world.seed, 'token', customer.index)}"

    def _authenticate(self, request: Request) -> Customer:
        token = self.token(request.scope)
        if not token:
            raise _refusal(401, "unauthorized", "Missing access token: send it as the user name of HTTP Basic")
        customer = self.customer(token)
        if customer is None:
            raise _refusal(403, "forbidden", "The access token is invalid or was revoked")
        return customer

    def _find_account(self, customer: Customer, request: Request) -> Account:
        account_id = request.path_params["account_id"]
        account = self.bank.find_account(customer, self.account_ref(account_id))
        if account is None or self.account_id(account) != account_id:
            raise _refusal(404, "not_found", "The requested account does not exist")
        return account

    def _require_sound(self, customer: Customer) -> None:
        outage = self.bank.broken(customer)
        if outage is not None:
            raise Refused(*self.disconnected(outage.reason))

    def _readable(self, request: Request, stream: str) -> Account:
        customer = self._authenticate(request)
        account = self._find_account(customer, request)
        self._require_sound(customer)
        if (closed := self.bank.closed(account)) is not None:
            raise Refused(*self.account_closed(closed.reason))
        if stream not in self.streams(account):
            raise _refusal(404, "not_found", f"The institution does not support {stream} of this account")
        return account

    # How the world's things look here.

    def _habits(self, account: Account) -> _Habits:
        return _HABITS[self.bank.world.customer(account.customer).institution.slug]

    def _account(self, customer: Customer, account: Account) -> _Account:
        account_id = self.account_id(account)
        path = f"{_API}/accounts/{account_id}"
        supported = self.streams(account)
        links = _Links(path, **{stream: f"{path}/{stream}" for stream in sorted(supported)})
        return _Account(
            enrollment_id=self.connection_id(customer),
            links=links,
            institution=_Institution(customer.institution.slug, customer.institution.name),
            type=account.kind,
            name=account.name,
            subtype=account.subtype,
            currency=account.currency,
            id=account_id,
            last_four=account.number[-4:],
            status="closed" if self.bank.closed(account) else "open",
        )

    def _money(self, account: Account, amount: int) -> str:
        """An amount of the holder's side as Teller writes it: on a credit account what is owed is positive."""
        if account.kind == "credit":
            amount = -amount
        whole, cents = divmod(abs(amount), 100)
        sign = "-" if amount < 0 else ""
        if cents == 0 and self._habits(account).plain:
            return f"{sign}{whole}"
        return f"{sign}{whole}.{cents:02}"

    def _row(self, account: Account, habits: _Habits, account_id: str, row: Row) -> tuple[str, bytes]:
        movement, phase, enriched, running = row
        row_id = self.record_id(phase.ref)
        path = f"{_API}/accounts/{account_id}"
        if enriched:
            kind = "person" if movement.party_is_person else "organization"
            details = _Enrichment("complete", movement.category, _Counterparty(movement.party, kind))
        else:
            details = _Enrichment("pending", None, None if habits.plain else _Counterparty(None, None))
        body = _json.encode(
            _Transaction(
                details,
                self._money(account, running) if running is not None and habits.running else None,
                phase.text,
                row_id,
                date.fromordinal(phase.day).isoformat(),
                account_id,
                self._money(account, phase.amount),
                _KINDS.get(movement.kind, movement.kind),
                "posted" if phase.posted else "pending",
                _Links(f"{path}/transactions/{row_id}", path),
            )
        )
        return row_id, body

    def _sheet(self, account: Account, month: int, day: int) -> _Sheet:
        # A month at rest is the same on every later day, so it is held once; day 0 stands for "at rest".
        held = 0 if self.bank.books.at_rest(month, day) else day
        return self._sheets.get((account.ref, month, held), lambda: self._make_sheet(account, month, day))

    def _make_sheet(self, account: Account, month: int, day: int) -> _Sheet:
        habits, account_id = self._habits(account), self.account_id(account)
        sheet = _Sheet([], [], {})
        for place, row in enumerate(self.bank.books.rows(account, month, day)):
            row_id, body = self._row(account, habits, account_id, row)
            sheet.rows.append(body)
            sheet.ages.append(-row.phase.day)
            sheet.places[row_id] = place
        return sheet

    def _find_row(self, account: Account, row_id: str) -> tuple[int, int] | None:
        """The month and place of a row shown today; its id says in which month it began, it may be dated in the next."""
        day = self.bank.day
        month = unspell(row_id[4:7])
        if month is None:
            return None
        shown = self.bank.books.months(account, day)
        for dated in (month, month + 1):
            if dated in shown:
                place = self._sheet(account, dated, day).places.get(row_id)
                if place is not None:
                    return dated, place
        return None

    def _pieces(
        self, account: Account, day: int, after: tuple[int, int] | None, start: int | None, end: int | None
    ) -> Iterator[list[bytes]]:
        """The rows shown on `day`, newest first, a month at a time: older than the place `after`, dated in the window."""
        for month in reversed(self.bank.books.months(account, day)):
            if after is not None and month > after[0]:
                continue
            if (end is not None and month > month_of(end)) or (start is not None and month < month_of(start)):
                continue
            sheet = self._sheet(account, month, day)
            first, last = 0, len(sheet.rows)
            if after is not None and month == after[0]:
                first = after[1] + 1
            if end is not None:
                first = max(first, bisect_left(sheet.ages, -end))
            if start is not None:
                last = bisect_right(sheet.ages, -start)
            if first < last:
                yield sheet.rows[first:last]


def _answer(value: object) -> Response:
    return Response(_json.encode(value), media_type="application/json")


def _day(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").toordinal()  # noqa: DTZ007 - only its day is used
    except ValueError:
        raise _refusal(400, "bad_request", f"{name} must be a date YYYY-MM-DD, not {text!r}") from None


def _count(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or not int(text[:9]) > 0:
        raise _refusal(400, "bad_request", f"count must be a positive integer, not {text!r}")
    return int(text[:9])


async def _stream(pieces: Iterator[list[bytes]]) -> AsyncIterator[bytes]:
    opening = b"["
    for rows in pieces:
        yield opening + b",".join(rows)
        opening = b","
    yield b"[]" if opening == b"[" else b"]"
