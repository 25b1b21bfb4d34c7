"""Plaid's wire protocol (plaid.com/docs, version 2020-09-14) over a bank.

Only Plaid's words and habits are here: ids that differ by case alone, signs, numbers, the loop of changes, errors.
Decisions where its documentation is silent: a cursor is a day and a place, so the loop that a moved clock overtakes is
answered with the mutation error; the first loop tells the rows of its day, oldest first, and a later one tells every
change of the days between in order, so that a row may be added and removed in one loop; a closed account vanishes with
its rows, and what was told of them stays told.

Any error of Plaid's can be asked for as the reason of a fault `disconnected` ("INSTITUTION_DOWN"), and so can the
answer of an Item that has no data yet ("NOT_READY").
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, ClassVar, NamedTuple, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from sandbox._cache import Cache
from sandbox._dice import digest
from sandbox._months import first_of, month_of
from sandbox.bank import Bank
from sandbox.books import Row
from sandbox.catalogue import Institution
from sandbox.consent.plaid import PlaidLink
from sandbox.faults import Fault
from sandbox.gate import BODY
from sandbox.movement import Movement, Phase
from sandbox.provider import Refused, Rows, Shown
from sandbox.truth import tell_accounts, tell_money
from sandbox.webhooks.hook import Hooks
from sandbox.webhooks.plaid import PlaidHooks
from sandbox.world import Account, Customer

INSTITUTIONS = (
    Institution("ins_910001", "Cascade Federal Bank", "US", "USD", "125008547"),
    Institution("ins_910002", "Boreal Bank of Canada", "CA", "CAD", "000612345"),
    Institution("ins_910003", "Sierra Card Union", "US", "USD", "121391236"),
    Institution("ins_910004", "Coinharbor", "US", "XCH", "091000019"),
)
_BOREAL, _SIERRA, _COINHARBOR = (one.slug for one in INSTITUTIONS[1:])
_LIMIT = 25_000_00
"""What can be owed on a credit card, in minor units."""
_CHANGES_BYTES = 256 * 1024 * 1024
_TRANSACTION_CODES = {
    "ach": "direct debit",
    "atm": "atm",
    "bill": "bill payment",
    "card": "purchase",
    "digital": "transfer",
    "fee": "bank charge",
    "interest": "interest",
    "payment": "payment",
    "transfer": "transfer",
    "wire": "transfer",
}
_BREAKS = {
    "account_locked": "ITEM_LOCKED",
    "credentials_invalid": "INVALID_CREDENTIALS",
    "user_action.mfa_required": "INVALID_MFA",
}
_TYPES = {
    "INVALID_API_KEYS": "INVALID_INPUT",
    "INVALID_ACCESS_TOKEN": "INVALID_INPUT",
    "INVALID_PUBLIC_TOKEN": "INVALID_INPUT",
    "UNAUTHORIZED_ENVIRONMENT": "INVALID_INPUT",
    "INVALID_WEBHOOK_VERIFICATION_KEY_ID": "INVALID_INPUT",
    "MISSING_FIELDS": "INVALID_REQUEST",
    "INVALID_FIELD": "INVALID_REQUEST",
    "INVALID_BODY": "INVALID_REQUEST",
    "NOT_FOUND": "INVALID_REQUEST",
    "INTERNAL_SERVER_ERROR": "API_ERROR",
    "PLANNED_MAINTENANCE": "API_ERROR",
    "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION": "TRANSACTIONS_ERROR",
}
_json = msgspec.json.Encoder()
T = TypeVar("T")


class _Change(NamedTuple):
    """One change that the loop tells: `what` is "added", "modified" or "removed", `body` its element of that list."""

    what: str
    account_id: str
    body: bytes


class _Cursor(NamedTuple):
    """A place in the changes after `since` (None: before everything) up to `until`; `place` 0: between two loops."""

    since: int | None
    until: int
    place: int


class _SyncOptions(msgspec.Struct):
    include_original_description: bool | None = None
    account_id: str | None = None


class _Order(msgspec.Struct):
    access_token: str = ""


class _SyncOrder(msgspec.Struct):
    cursor: str | None = None
    count: int = 100
    options: _SyncOptions | None = None


class _GetOptions(msgspec.Struct):
    count: int = 100
    offset: int = 0
    account_ids: list[str] | None = None


class _GetOrder(msgspec.Struct):
    start_date: date
    end_date: date
    options: _GetOptions | None = None


class _InstitutionOrder(msgspec.Struct):
    institution_id: str


class _User(msgspec.Struct):
    client_user_id: str


class _LinkOrder(msgspec.Struct):
    client_name: str
    language: str
    country_codes: list[str]
    user: _User
    webhook: str | None = None
    redirect_uri: str | None = None


class _PublicOptions(msgspec.Struct):
    override_username: str | None = None


class _PublicOrder(msgspec.Struct):
    institution_id: str
    initial_products: list[str]
    options: _PublicOptions | None = None


class _WebhookOrder(msgspec.Struct):
    webhook: str | None = None


class _FireOrder(msgspec.Struct):
    webhook_code: str


class _KeyOrder(msgspec.Struct):
    key_id: str


class _ExchangeOrder(msgspec.Struct):
    public_token: str


def _error(code: str, message: str = "see the error code", reason: str | None = None) -> bytes:
    kind = _TYPES.get(code, "ITEM_ERROR")
    if code.startswith("INSTITUTION_"):
        kind = "INSTITUTION_ERROR"
    if code.endswith("_LIMIT"):
        kind = "RATE_LIMIT_EXCEEDED"
    return _json.encode(
        {
            "display_message": None,
            "documentation_url": "https://plaid.com/docs/?ref=error",
            "error_code": code,
            "error_code_reason": reason,
            "error_message": message,
            "error_type": kind,
            "request_id": digest(15, code, message),
            "suggested_action": None,
        }
    )


def _refusal(code: str, message: str = "see the error code") -> Refused:
    return Refused(400, _error(code, message))


class Plaid:
    """Plaid over a branch of the bank; see `sandbox.provider.Provider` for what the methods without underscore are."""

    name: ClassVar[str] = "plaid"
    credentials: ClassVar[Mapping[str, str]] = {"client_id": "sandbox-client-5f1d", "secret": "sandbox-secret-90be"}
    webhook_secrets: ClassVar[tuple[str, ...]] = ()
    pages: ClassVar[Mapping[str, str]] = {"link_script": "/link/v2/stable/link-initialize.js"}
    page_parameter: ClassVar[str] = "cursor"

    def __init__(self, bank: Bank) -> None:
        self.bank = Bank(bank.world.branch("plaid", INSTITUTIONS), bank.clock)
        self._link = PlaidLink(self)
        self._told = PlaidHooks(self)
        self.hooks: Hooks | None = self._told
        self._changes: Cache[tuple[int, int | None, int], list[_Change]] = Cache(
            _CHANGES_BYTES, lambda changes: 64 + sum(len(change.body) + 200 for change in changes)
        )

    def routes(self) -> list[BaseRoute]:
        served = {
            "/accounts/get": self._accounts,
            "/item/get": self._item,
            "/item/remove": self._remove_item,
            "/item/webhook/update": self._update_webhook,
            "/item/public_token/exchange": self._exchange,
            "/institutions/get_by_id": self._institution,
            "/link/token/create": self._link_token,
            "/sandbox/public_token/create": self._public_token,
            "/sandbox/item/fire_webhook": self._fire_webhook,
            "/sandbox/item/reset_login": self._reset_login,
            "/transactions/get": self._get_transactions,
            "/transactions/sync": self._sync_transactions,
            "/webhook_verification_key/get": self._verification_key,
        }
        return [
            *(Route(path, endpoint, methods=["POST"]) for path, endpoint in served.items()),
            *self._link.routes(),
            Route("/{path:path}", self._nothing, methods=["GET", "POST"]),
        ]

    def serves(self, customer: Customer) -> bool:
        return (customer.index % 3 != 1 and not self.bank.world.is_guest(customer)) or self.bank.joined(customer)

    def token(self, scope: Scope) -> str | None:
        try:
            found = msgspec.json.decode(scope.get(BODY, b""), type=_Order).access_token
        except msgspec.DecodeError:
            return None
        return found or None

    def customer(self, token: str) -> Customer | None:
        customer = self.bank.world.find_customer(token.removeprefix("access-sandbox-")[:18])
        if customer is None or not self.serves(customer) or token != self._secret(customer, "access"):
            return None
        return None if self.bank.dropped(customer) else customer

    def secrets(self, customer: Customer) -> dict[str, str]:
        return {"access_token": self._secret(customer, "access"), "item_id": self.connection_id(customer)}

    def connection_id(self, customer: Customer) -> str:
        return f"{customer.ref}iT"

    def find_connection(self, connection_id: str) -> Customer | None:
        customer = self.bank.world.find_customer(connection_id[:18])
        if customer is None or not self.serves(customer) or self.connection_id(customer) != connection_id:
            return None
        return customer

    def account_id(self, account: Account) -> str:
        return f"{account.ref}aC"

    def account_ref(self, account_id: str) -> str:
        return account_id[:18]

    def record_id(self, ref: str) -> str:
        return f"{ref}xQ"

    def streams(self, account: Account) -> frozenset[str]:
        return frozenset({"balances", "transactions"})

    def balances(self, account: Account, day: int) -> Shown:
        ledger = self.bank.books.ledger(account, day)
        if self._institution_of(account).slug == _SIERRA and account.kind == "depository":
            return Shown(ledger, None)
        return Shown(ledger, ledger + self.bank.books.pending(account, day))

    def truth(self, customer: Customer, *, rows: bool) -> dict[str, Any]:
        return tell_accounts(self, customer, rows=rows)

    def tell_row(self, account: Account, row: Row) -> dict[str, Any]:
        movement, phase = row.movement, row.phase
        return {
            "id": self.row_id(phase),
            "date": date.fromordinal(phase.day),
            "status": "posted" if phase.posted else "pending",
            "amount": tell_money(phase.amount),
            "currency": account.currency,
            "description": phase.text,
            "type": self.kind(movement.kind),
            "category": movement.category.upper() if row.enriched else None,
            "counterparty": movement.party if row.enriched else None,
        }

    def kind(self, kind: str) -> str:
        return _TRANSACTION_CODES.get(kind, kind)

    def disconnected(self, reason: str) -> tuple[int, bytes]:
        if reason == "NOT_READY":
            return 200, _sync_answer({}, b"[]", "", more=False, status="NOT_READY")
        if reason.isupper():
            return 400, _error(reason)
        code = _BREAKS.get(reason, "ITEM_LOGIN_REQUIRED")
        revoked = "OAUTH_CONSENT_EXPIRED" if reason == "user_action.web_login_required" else None
        return 400, _error(code, "the login details of this item have changed", revoked)

    def account_closed(self, reason: str) -> tuple[int, bytes]:
        return 400, _error("NO_ACCOUNTS", "no valid accounts exist for this Item")

    def rate_limited(self) -> bytes:
        return _error("TRANSACTIONS_SYNC_LIMIT", "rate limit exceeded for attempts to access this item")

    def failed(self, status: int) -> bytes:
        return _error("INTERNAL_SERVER_ERROR", "an unexpected error occurred")

    def rows(self, path: str, body: bytes) -> Rows | None:
        name = {"/transactions/sync": "added", "/transactions/get": "transactions"}.get(path)
        if name is None:
            return None
        told = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        rows = [bytes(row) for row in msgspec.json.decode(told.pop(name), type=list[msgspec.Raw])]
        others = _json.encode(told)
        return Rows(b'{"%b":[' % name.encode(), rows, b"]," + others[1:])

    def bad_row(self, fault: Fault, row: bytes, token: str | None) -> bytes:
        bad: dict[str, Any] = msgspec.json.decode(row)
        owner = token if fault.row == "shared_id" else bad["transaction_id"]
        bad["transaction_id"] = f"{bad['transaction_id'][:7]}{digest(11, 'bad', fault.row, owner)}xQ"
        number = None
        match fault.row:
            case "missing_id":
                del bad["transaction_id"]
            case "missing_amount":
                del bad["amount"]
            case "nan":
                bad["amount"] = "NaN"
            case "1e400":
                number = b"1e400"
            case "nine_decimals":
                number = b"12.123456789"
            case "february_30":
                bad["date"] = f"{bad['date'][:4]}-02-30"
            case "nul":
                bad["name"] = f"NUL\0{bad['name']}"
            case "wrong_type":
                bad["amount"] = {"value": 12}
            case "shared_id":
                bad["transaction_id"] = f"{digest(18, 'shared', token)}xQ"
        if number is not None:
            return _json.encode(bad | {"amount": "@amount@"}).replace(b'"@amount@"', number)
        return _json.encode(bad)

    def missing_certificate(self) -> tuple[int, bytes]:
        return 400, _error("INVALID_BODY", "this listener wants a client certificate, and Plaid knows none")

    def set_webhook(self, customer: Customer, url: str) -> None:
        """Send the webhooks of the customer's Item there."""
        self._told.set_url(customer, url)

    def uses_oauth(self, institution: Institution) -> bool:
        """Whether customers sign in at the institution itself."""
        return institution.slug == _BOREAL

    def link_accounts(self, customer: Customer) -> list[dict[str, Any]]:
        """The accounts of an Item as Link tells them to a page."""
        shown = [self._account(one, self.bank.day) for one in self._open(customer)]
        return [
            {"id": one["account_id"], **{name: one[name] for name in ("name", "mask", "type", "subtype")}}
            | {"verification_status": None, "class_type": None}
            for one in shown
        ]

    # The endpoints.

    async def _nothing(self, _: Request) -> Response:
        raise Refused(404, _error("NOT_FOUND", "there is no such endpoint"))

    async def _accounts(self, request: Request) -> Response:
        customer = self._sound(request)
        accounts = [self._account(account, self.bank.day) for account in self._open(customer)]
        return _answer({"accounts": accounts, "item": self._shown_item(customer)})

    async def _item(self, request: Request) -> Response:
        customer = self._authenticate(request)
        outage = self.bank.broken(customer)
        read_on = date.fromordinal(outage.as_of if outage else self.bank.day)
        return _answer(
            {
                "item": self._shown_item(customer),
                "status": {
                    "investments": None,
                    "transactions": {
                        "last_successful_update": f"{read_on}T06:12:08Z",
                        "last_failed_update": f"{self.bank.clock.today}T06:12:08Z" if outage else None,
                    },
                    "last_webhook": None,
                },
            }
        )

    async def _remove_item(self, request: Request) -> Response:
        self.bank.drop_connection(self._authenticate(request))
        return _answer({})

    async def _reset_login(self, request: Request) -> Response:
        self.bank.break_connection(self._authenticate(request), "")
        return _answer({"reset_login": True})

    async def _update_webhook(self, request: Request) -> Response:
        customer = self._authenticate(request)
        self._told.set_url(customer, _read(request, _WebhookOrder).webhook)
        self._announce(customer, "WEBHOOK_UPDATE_ACKNOWLEDGED")
        return _answer({"item": self._shown_item(customer)})

    async def _fire_webhook(self, request: Request) -> Response:
        customer = self._authenticate(request)
        order = _read(request, _FireOrder)
        if order.webhook_code not in self._told.kinds:
            raise _refusal("INVALID_FIELD", f"webhook_code must be one of {', '.join(self._told.kinds)}")
        self._announce(customer, order.webhook_code)
        return _answer({"webhook_fired": True})

    def _announce(self, customer: Customer, kind: str) -> None:
        hook = self._told.make(customer, kind)
        self._told.announce([hook] if hook is not None else [])

    async def _verification_key(self, request: Request) -> Response:
        self._application(request)
        found = self._told.signer.published(_read(request, _KeyOrder).key_id)
        if found is None:
            raise _refusal(
                "INVALID_WEBHOOK_VERIFICATION_KEY_ID", "invalid key_id provided. note that key_ids are case-sensitive"
            )
        return _answer({"key": found})

    async def _institution(self, request: Request) -> Response:
        self._application(request)
        order = _read(request, _InstitutionOrder)
        for institution in INSTITUTIONS:
            if institution.slug == order.institution_id:
                return _answer({"institution": _shown_institution(institution, oauth=self.uses_oauth(institution))})
        raise _refusal("INVALID_INSTITUTION", "invalid institution_id provided")

    async def _link_token(self, request: Request) -> Response:
        self._application(request)
        order = _read(request, _LinkOrder)
        updates = self._authenticate(request) if self.token(request.scope) is not None else None
        return _answer(self._link.open(order.webhook, order.redirect_uri, updates))

    async def _public_token(self, request: Request) -> Response:
        """For the customer whose id is `override_username`, else for the first one at the institution."""
        self._application(request)
        order = _read(request, _PublicOrder)
        wanted = order.options.override_username if order.options else None
        for customer in self.bank.world.everyone():
            named = customer.customer_id == wanted if wanted else customer.institution.slug == order.institution_id
            if named and self.serves(customer):
                return _answer({"public_token": self._link.publish(customer)})
        raise _refusal("INVALID_INSTITUTION", "nobody here has an account at this institution")

    async def _exchange(self, request: Request) -> Response:
        self._application(request)
        customer = self._link.exchange(_read(request, _ExchangeOrder).public_token)
        if customer is None:
            raise _refusal("INVALID_PUBLIC_TOKEN", "could not find matching public token")
        return _answer(self.secrets(customer))

    async def _sync_transactions(self, request: Request) -> Response:
        customer = self._sound(request)
        order = _read(request, _SyncOrder)
        if order.options is not None and order.options.account_id is not None:
            raise _refusal("INVALID_FIELD", "options.account_id is not served by this sandbox")
        _check_count(order.count)
        cursor = self._read_cursor(customer, order.cursor)
        self._told.sync_was_called(customer)
        today = self.bank.day
        if cursor.place and cursor.until != today:
            raise _refusal(
                "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION",
                "Underlying transaction data changed since last page was fetched. Please restart pagination.",
            )
        since = min(cursor.since, today) if cursor.since is not None else None
        key = (customer.index, since, today)
        # Only one state of a closed or broken connection is told on a day, but a test may change it in between.
        make = self._changes.get if not self._unusual(customer) else lambda _, made: made()
        changes = make(key, lambda: list(self._tell_changes(customer, since, today)))
        after = cursor.place + order.count
        told = changes[cursor.place : after]
        more = after < len(changes)
        following = _Cursor(since, today, after) if more else _Cursor(today, today, 0)
        lists: dict[str, list[bytes]] = {}
        for change in told:
            lists.setdefault(change.what, []).append(change.body)
        touched = {change.account_id for change in told}
        accounts = [self._account(one, today) for one in self._open(customer) if self.account_id(one) in touched]
        body = _sync_answer(lists, _json.encode(accounts), self._cursor(customer, following), more=more)
        return Response(body, media_type="application/json")

    async def _get_transactions(self, request: Request) -> Response:
        customer = self._sound(request)
        order = _read(request, _GetOrder)
        options = order.options or _GetOptions()
        _check_count(options.count)
        if options.offset < 0:
            raise _refusal("INVALID_FIELD", "offset must not be negative")
        accounts = [
            account
            for account in self._open(customer)
            if options.account_ids is None or self.account_id(account) in options.account_ids
        ]
        first, last = order.start_date.toordinal(), order.end_date.toordinal()
        rows = [
            (row.phase.day, account, row)
            for account in accounts
            for month in self.bank.books.months(account, self.bank.day)
            if month_of(first) <= month <= month_of(last)
            for row in self.bank.books.rows(account, month, self.bank.day)
            if first <= row.phase.day <= last
        ]
        rows.sort(key=lambda found: found[0], reverse=True)
        shown = [
            msgspec.Raw(self._row(account, row.movement, row.phase, row.enriched))
            for _, account, row in rows[options.offset : options.offset + options.count]
        ]
        return _answer(
            {
                "accounts": [self._account(account, self.bank.day) for account in accounts],
                "transactions": shown,
                "total_transactions": len(rows),
                "item": self._shown_item(customer),
            }
        )

    # Who asks, and for what.

    def _secret(self, customer: Customer, kind: str) -> str:
        return f"{kind}-sandbox-{customer.ref}-{digest(12, self.bank.world.seed, kind, customer.index)}"

    def _application(self, request: Request) -> None:
        sent = _read(request, dict[str, Any])
        for name, header in (("client_id", "plaid-client-id"), ("secret", "plaid-secret")):
            if request.headers.get(header, sent.get(name)) != self.credentials[name]:
                raise _refusal("INVALID_API_KEYS", "invalid client_id or secret provided")

    def _authenticate(self, request: Request) -> Customer:
        self._application(request)
        token = self.token(request.scope)
        if token is None:
            raise _refusal("MISSING_FIELDS", "the following required fields are missing: access_token")
        customer = self.customer(token)
        if customer is None:
            raise _refusal("INVALID_ACCESS_TOKEN", "could not find matching access token")
        return customer

    def _sound(self, request: Request) -> Customer:
        customer = self._authenticate(request)
        outage = self.bank.broken(customer)
        if outage is not None:
            raise Refused(*self.disconnected(outage.reason))
        return customer

    def _open(self, customer: Customer) -> list[Account]:
        return [account for account in self.bank.accounts(customer) if not self.bank.closed(account)]

    def _unusual(self, customer: Customer) -> bool:
        return len(self._open(customer)) < len(self.bank.world.accounts(customer, self.bank.day))

    def _cursor(self, customer: Customer, cursor: _Cursor) -> str:
        text = "/".join(["" if part is None else str(part) for part in cursor])
        return base64.urlsafe_b64encode(f"{text}/{self._seal(customer, text)}".encode()).decode()

    def _read_cursor(self, customer: Customer, text: str | None) -> _Cursor:
        if not text:
            return _Cursor(None, self.bank.day, 0)
        if text == "now":
            return _Cursor(self.bank.day, self.bank.day, 0)
        try:
            told, _, seal = base64.b64decode(text, b"-_", validate=True).decode().rpartition("/")
            since, until, place = told.split("/")
            cursor = _Cursor(int(since) if since else None, int(until), int(place))
        except (binascii.Error, ValueError):
            raise _refusal("INVALID_FIELD", "the cursor is not valid") from None
        if seal != self._seal(customer, told):
            raise _refusal("INVALID_FIELD", "cursor not associated with access_token")
        return cursor

    def _seal(self, customer: Customer, text: str) -> str:
        return digest(10, self.bank.world.seed, "cursor", customer.index, text)

    # What changed.

    def _tell_changes(self, customer: Customer, since: int | None, until: int) -> Iterator[_Change]:
        """Everything there is on the day `until`, or the changes after `since` up to it, both in order of time."""
        found: list[tuple[int, int, _Change]] = []
        for account in self.bank.accounts(customer):
            if since is None:
                if not self.bank.closed(account):
                    found += self._everything(account, until)
            else:
                last = self.bank.readable_on(customer, account)
                if last is not None:
                    found += self._changes_of(account, since, min(last, until))
        found.sort(key=lambda one: one[:2])
        for _, _, change in found:
            yield change

    def _everything(self, account: Account, day: int) -> Iterator[tuple[int, int, _Change]]:
        account_id = self.account_id(account)
        for month in self.bank.books.months(account, day):
            for movement, phase, enriched, _ in self.bank.books.rows(account, month, day):
                body = self._row(account, movement, phase, enriched)
                yield phase.day, movement.order, _Change("added", account_id, body)

    def _changes_of(self, account: Account, since: int, until: int) -> Iterator[tuple[int, int, _Change]]:
        opened = month_of(account.opens_on)
        for month in range(max(opened, month_of(since) - 1) - 1, month_of(until) + 1):
            for movement in self.bank.books.movements(account, month):
                for day, change in self._life(account, movement, first_of(opened)):
                    if since < day <= until:
                        yield day, movement.order, change

    def _life(self, account: Account, movement: Movement, opened: int) -> Iterator[tuple[int, _Change]]:
        """All changes of a movement, with their days; a row from before the account's first month is not shown."""
        account_id = self.account_id(account)
        phases = [phase for phase in movement.phases if phase.day >= opened]
        ids = [self.row_id(phase) for phase in phases]
        for at, phase in enumerate(phases):
            known = at > 0 and ids[at - 1] == ids[at]
            body = self._row(account, movement, phase, phase.since >= movement.enriched_on)
            yield phase.since, _Change("modified" if known else "added", account_id, body)
            if phase.since < movement.enriched_on < phase.until:
                body = self._row(account, movement, phase, enriched=True)
                yield movement.enriched_on, _Change("modified", account_id, body)
            if at + 1 == len(phases) or ids[at + 1] != ids[at]:
                removed = {"account_id": account_id, "transaction_id": ids[at]}
                yield phase.until, _Change("removed", account_id, _json.encode(removed))

    # How the world's things look here.

    def _institution_of(self, account: Account) -> Institution:
        return self.bank.world.customer(account.customer).institution

    def row_id(self, phase: Phase) -> str:
        """A pending row and the posted one that follows it never share an id; here they may differ by case alone."""
        return f"{phase.ref}x{'Q' if phase.posted else 'q'}"

    def _codes(self, account: Account) -> dict[str, str | None]:
        unofficial = self._institution_of(account).slug == _COINHARBOR
        return {
            "iso_currency_code": None if unofficial else account.currency,
            "unofficial_currency_code": account.currency if unofficial else None,
        }

    def _account(self, account: Account, day: int) -> dict[str, Any]:
        ledger, available = self.balances(account, day)
        assert ledger is not None
        card = account.kind == "credit"
        if card and available is not None:
            available += _LIMIT
        return {
            "account_id": self.account_id(account),
            "balances": {
                "available": _number(available),
                "current": _number(-ledger if card else ledger),
                "limit": _number(_LIMIT if card else None),
                **self._codes(account),
            },
            "mask": account.number[-4:],
            "name": account.name,
            "official_name": None,
            "subtype": account.subtype.replace("_", " "),
            "type": account.kind,
        }

    def _shown_item(self, customer: Customer) -> dict[str, Any]:
        outage = self.bank.broken(customer)
        return {
            "available_products": ["balance", "identity"],
            "billed_products": ["transactions"],
            "consent_expiration_time": None,
            "error": msgspec.Raw(self.disconnected(outage.reason)[1]) if outage else None,
            "institution_id": customer.institution.slug,
            "institution_name": customer.institution.name,
            "item_id": self.connection_id(customer),
            "products": ["transactions"],
            "update_type": "background",
            "webhook": self._told.url(customer),
        }

    def _row(self, account: Account, movement: Movement, phase: Phase, enriched: bool) -> bytes:
        pending_id = None
        first = movement.phases[0]
        if phase.posted and not first.posted and self._institution_of(account).slug != _SIERRA:
            pending_id = self.row_id(first)
        party = movement.party if enriched else None
        shown = {
            "account_id": self.account_id(account),
            "account_owner": None,
            "amount": _number(-phase.amount),
            "authorized_date": date.fromordinal(first.day),
            "authorized_datetime": None,
            "category": None,
            "category_id": None,
            "check_number": None,
            "counterparties": [_counterparty(movement)] if enriched else [],
            "date": date.fromordinal(phase.day),
            "datetime": None,
            **self._codes(account),
            "location": dict.fromkeys(
                ("address", "city", "country", "lat", "lon", "postal_code", "region", "store_number")
            ),
            "logo_url": None,
            "merchant_entity_id": None,
            "merchant_name": party,
            "name": phase.text,
            "original_description": None,
            "payment_channel": "in store" if movement.kind in {"card", "atm"} else "other",
            "payment_meta": dict.fromkeys(
                (
                    "by_order_of",
                    "payee",
                    "payer",
                    "payment_method",
                    "payment_processor",
                    "ppd_id",
                    "reason",
                    "reference_number",
                )
            ),
            "pending": not phase.posted,
            "pending_transaction_id": pending_id,
            "personal_finance_category": _category(movement.category) if enriched else None,
            "personal_finance_category_icon_url": "https://plaid-category-icons.plaid.com/PFC_OTHER.png",
            "transaction_code": self.kind(movement.kind),
            "transaction_id": self.row_id(phase),
            "transaction_type": "special",
            "website": None,
        }
        return _json.encode(shown)


def _counterparty(movement: Movement) -> dict[str, Any]:
    return {
        "confidence_level": "HIGH",
        "entity_id": None,
        "logo_url": None,
        "name": movement.party,
        "type": "merchant" if movement.kind == "card" else "financial_institution",
        "website": None,
    }


def _category(category: str) -> dict[str, str]:
    primary = category.upper()
    return {"confidence_level": "HIGH", "detailed": f"{primary}_OTHER", "primary": primary}


def _shown_institution(institution: Institution, *, oauth: bool) -> dict[str, Any]:
    return {
        "country_codes": [institution.country],
        "institution_id": institution.slug,
        "name": institution.name,
        "oauth": oauth,
        "products": ["transactions"],
        "routing_numbers": [institution.routing],
    }


def _number(amount: int | None) -> float | int | None:
    """Minor units as the double that Plaid writes; a whole amount comes without decimals."""
    if amount is None:
        return None
    return amount // 100 if amount % 100 == 0 else amount / 100


def _check_count(count: int) -> None:
    if not 1 <= count <= 500:
        raise _refusal("INVALID_FIELD", "count must be between 1 and 500")


def _read(request: Request, kind: type[T]) -> T:
    """The order in the body, as the gate handed it on; unknown members are the client's own."""
    try:
        return msgspec.json.decode(request.scope[BODY], type=kind)
    except msgspec.ValidationError as error:
        missing = "missing required field" in str(error)
        raise _refusal("MISSING_FIELDS" if missing else "INVALID_FIELD", str(error)) from None
    except msgspec.DecodeError:
        raise _refusal("INVALID_BODY", "body could not be parsed as JSON") from None


def _sync_answer(
    lists: Mapping[str, list[bytes]],
    accounts: bytes,
    cursor: str,
    *,
    more: bool,
    status: str = "HISTORICAL_UPDATE_COMPLETE",
) -> bytes:
    parts = [b'"accounts":' + accounts]
    parts += [
        b'"%b":[%b]' % (name.encode(), b",".join(lists.get(name, []))) for name in ("added", "modified", "removed")
    ]
    others = {
        "next_cursor": cursor,
        "has_more": more,
        "transactions_update_status": status,
        "request_id": digest(15, cursor, status),
    }
    return b"{" + b",".join(parts) + b"," + _json.encode(others)[1:]


def _answer(value: Mapping[str, object]) -> Response:
    body = _json.encode({**value, "request_id": digest(15, *map(str, value))})
    return Response(body, media_type="application/json")
