"""Tink's wire protocol (docs.tink.com: OAuth, consents, accounts v2, transactions v2) over banks of its own.

The people are the world's, their European banks, accounts and money are a branch of it. Decisions where the documentation
is silent: transactions are listed newest booked date first; a page token names the row it goes on after, and is refused
with 400 when it was not given here; a window is judged by the booked date, shown or not; a closed account leaves the
consent and the list; errors have `errorCode` and `errorMessage`. A consent that is over goes on showing old data with 200.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar, NamedTuple
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from sandbox._cache import Cache
from sandbox._dice import digest
from sandbox._months import first_of
from sandbox.bank import Bank
from sandbox.books import Row
from sandbox.catalogue import Institution
from sandbox.consent.tink import TinkLink
from sandbox.faults import Fault
from sandbox.provider import Refused, Rows, Shown
from sandbox.truth import tell_accounts, tell_row
from sandbox.webhooks.hook import Hooks
from sandbox.webhooks.tink import SECRETS, TinkHooks
from sandbox.world import Account, Customer

LINK = "df05e4b379934cd09963197cc855bfe9"
"""Tink Link's own client id: the actor of a delegated grant."""
LIFETIME = 1800
"""Seconds that a token lives."""
_CODE_LIFETIME = 300
_PAGE = 100
_CONSENT_DAYS = 90
_INSTITUTIONS = (
    Institution("rheinbank", "Rheinbank AG", "DE", "EUR", "37040044"),
    Institution("albion", "Albion Bank plc", "GB", "GBP", "040004"),
    Institution("fjordbanken", "Fjordbanken", "SE", "SEK", "8327"),
    Institution("ribeira", "Banco da Ribeira", "PT", "EUR", "0035"),
)
_TYPES = {"checking": "CHECKING", "savings": "SAVINGS", "credit_card": "CREDIT_CARD"}
_SHEETS_BYTES = 128 * 1024 * 1024
_json = msgspec.json.Encoder()


@dataclass(frozen=True)
class _Habits:
    """What Tink shows of the accounts at one bank."""

    scale: int | None = 2
    """The scale of amounts; None: as small as it can be, negative for round sums."""
    booked: bool = True
    available: bool = True
    identifiers: bool = True
    dated: bool = True
    """Whether a posted row has its booked date, or only the dates of transaction and value."""
    late: int = 0
    """How many days after the true one the booking of a pending row is expected."""


_HABITS = {
    "rheinbank": _Habits(available=False),
    "albion": _Habits(scale=3, late=1),
    "fjordbanken": _Habits(scale=None, identifiers=False),
    "ribeira": _Habits(booked=False, available=False, dated=False),
}
_STATES = {
    "account_locked": ("AUTHENTICATION_ERROR", "USER_LOGIN_ERROR", "USER_BLOCKED"),
    "credentials_invalid": ("AUTHENTICATION_ERROR", "USER_LOGIN_ERROR", "STATIC_CREDENTIALS_INCORRECT"),
    "user_action.mfa_required": ("AWAITING_SUPPLEMENTAL_INFORMATION", "", ""),
    "user_action.web_login_required": ("SESSION_EXPIRED", "AUTHORIZATION_ERROR", "SESSION_EXPIRED"),
    "TEMPORARY_ERROR": ("TEMPORARY_ERROR", "PROVIDER_ERROR", "PROVIDER_UNAVAILABLE"),
}
"""What a consent shows of an outage: status, type and reason. Of one that ran out it says UPDATED until somebody refreshes;
any other reason in capitals is itself the status."""
_RAN_OUT = "enrollment_inactive"


class _Line(NamedTuple):
    """A row as it is listed: its place (newest first, descending), its booked day, and its bytes."""

    place: tuple[int, int, str]
    day: int
    body: bytes


class _Grant(NamedTuple):
    """What a token or a code is for: a user, or the application (None), its scopes, and until when it holds."""

    user: str | None
    scopes: frozenset[str]
    until: float
    delegated: bool = False
    """Whether it is Tink Link's to use, and nobody else's."""


class _EndpointOrder(msgspec.Struct):
    url: str
    enabledEvents: list[str]  # noqa: N815 - Tink's name
    description: str = ""


@dataclass
class _Refresh:
    """Refreshes on demand of one consent: on which day, how many, and whether the last one is still under way."""

    day: int = 0
    times: int = 0
    running: bool = False


@dataclass
class _Handed:
    """Codes and tokens that were given and may still hold."""

    codes: dict[str, _Grant] = field(default_factory=dict)
    tokens: dict[str, _Grant] = field(default_factory=dict)
    number: int = 0


def _error(code: str, message: str) -> bytes:
    return _json.encode({"errorMessage": message, "errorCode": code})


def _refusal(status: int, code: str, message: str) -> Refused:
    return Refused(status, _error(code, message))


class Tink:
    """Tink over a branch of a bank; see `sandbox.provider.Provider` for what the methods without underscore are."""

    name: ClassVar[str] = "tink"
    credentials: ClassVar[Mapping[str, str]] = {"client_id": "sandbox-app", "client_secret": "sandbox-app-secret"}
    webhook_secrets: ClassVar[tuple[str, ...]] = SECRETS
    pages: ClassVar[Mapping[str, str]] = {"link_url": ""}
    page_parameter: ClassVar[str] = "pageToken"
    markets: ClassVar[frozenset[str]] = frozenset(bank.country for bank in _INSTITUTIONS)

    def __init__(self, bank: Bank) -> None:
        self.bank = Bank(bank.world.branch("tink", _INSTITUTIONS), bank.clock)
        self._endpoints = TinkHooks(self)
        self.hooks: Hooks | None = self._endpoints
        self._handed = _Handed()
        self._users: set[str] = set()
        self._logins: dict[str, list[int]] = {}
        self._users_of: dict[int, str] = {}
        self._refreshes: dict[int, _Refresh] = {}
        self._tried: set[tuple[int, int]] = set()
        self._sheets: Cache[tuple[str, int, int], list[_Line]] = Cache(
            _SHEETS_BYTES, lambda sheet: 64 + sum(len(line.body) + 200 for line in sheet)
        )

    def routes(self) -> list[BaseRoute]:
        oauth, consents = "/api/v1/oauth", "/api/v1/provider-consents"
        return [
            Route(f"{oauth}/token", self._give_token, methods=["POST"]),
            Route(f"{oauth}/authorization-grant", self._give_code, methods=["POST"]),
            Route(f"{oauth}/authorization-grant/delegate", self._delegate, methods=["POST"]),
            Route("/api/v1/user/create", self._create_user, methods=["POST"]),
            Route(consents, self._list_consents, methods=["GET"]),
            Route("/api/v1/credentials/{credentials_id}/refresh", self._refresh, methods=["POST"]),
            Route("/api/v1/credentials/{credentials_id}", self._delete_consent, methods=["DELETE"]),
            Route("/data/v2/accounts", self._list_accounts, methods=["GET"]),
            Route("/data/v2/accounts/{account_id}", self._show_account, methods=["GET"]),
            Route("/data/v2/accounts/{account_id}/balances", self._show_balances, methods=["GET"]),
            Route("/data/v2/transactions", self._list_transactions, methods=["GET"]),
            Route("/events/v2/webhook-endpoints", self._list_endpoints, methods=["GET"]),
            Route("/events/v2/webhook-endpoints", self._make_endpoint, methods=["POST"]),
            Route("/events/v2/webhook-endpoints/{endpoint_id}", self._delete_endpoint, methods=["DELETE"]),
            *TinkLink(self).routes(),
            Route("/{path:path}", self._nothing, methods=["GET", "POST", "DELETE"]),
        ]

    def serves(self, customer: Customer) -> bool:
        return (customer.index % 3 == 1 and not self.bank.world.is_guest(customer)) or self.bank.joined(customer)

    def token(self, scope: Scope) -> str | None:
        for name, value in scope["headers"]:
            if name == b"authorization" and value[:7].lower() == b"bearer ":
                return str(value[7:].decode("latin-1"))
        return None

    def customer(self, token: str) -> Customer | None:
        grant = self._handed.tokens.get(token)
        if grant is None or grant.user is None or grant.until < self._now():
            return None
        return next(iter(self._owners(grant.user)), None)

    def secrets(self, customer: Customer) -> dict[str, str]:
        return {
            "external_user_id": self._external_user_id(customer),
            "credentials_id": self.connection_id(customer),
        }

    def connection_id(self, customer: Customer) -> str:
        return f"{customer.ref}{digest(14, self.bank.world.seed, 'credentials', customer.index)}"

    def find_connection(self, connection_id: str) -> Customer | None:
        customer = self.bank.world.find_customer(connection_id[:18])
        if customer is None or not self.serves(customer) or self.connection_id(customer) != connection_id:
            return None
        return customer

    def account_id(self, account: Account) -> str:
        return f"{account.ref}{digest(14, self.bank.world.seed, 'account', account.ref)}"

    def account_ref(self, account_id: str) -> str:
        return account_id[:18]

    def record_id(self, ref: str) -> str:
        return f"{ref}{digest(14, self.bank.world.seed, 'row', ref)}"

    def streams(self, account: Account) -> frozenset[str]:
        habits = self._habits(account)
        return frozenset({"transactions", *(["balances"] if habits.booked or habits.available else [])})

    def balances(self, account: Account, day: int) -> Shown:
        habits, books = self._habits(account), self.bank.books
        ledger = books.ledger(account, day)
        return Shown(
            ledger if habits.booked else None,
            ledger + books.pending(account, day) if habits.available else None,
        )

    def truth(self, customer: Customer, *, rows: bool) -> dict[str, Any]:
        return tell_accounts(self, customer, rows=rows)

    def tell_row(self, account: Account, row: Row) -> dict[str, Any]:
        return tell_row(self, account, row) | {"date": date.fromordinal(self.booked_on(account, row))}

    def kind(self, kind: str) -> str:
        return "TRANSFER" if kind == "transfer" else "DEFAULT"

    def disconnected(self, reason: str) -> tuple[int, bytes]:
        return 401, _error("UNAUTHENTICATED", reason or "The token was revoked")

    def account_closed(self, reason: str) -> tuple[int, bytes]:
        return 404, _error("ACCOUNT_NOT_FOUND", reason or "There is no such account")

    def rate_limited(self) -> bytes:
        return _error("RATE_LIMIT_EXCEEDED", "Too many requests")

    def failed(self, status: int) -> bytes:
        return _error("INTERNAL_ERROR", f"Something went wrong ({status})")

    def rows(self, path: str, body: bytes) -> Rows | None:
        if not path.endswith("/transactions"):
            return None
        found = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        rows = msgspec.json.decode(found["transactions"], type=list[msgspec.Raw])
        after = b'],"nextPageToken":' + bytes(found["nextPageToken"]) + b"}"
        return Rows(b'{"transactions":[', [bytes(row) for row in rows], after)

    def bad_row(self, fault: Fault, row: bytes, token: str | None) -> bytes:
        bad: dict[str, Any] = msgspec.json.decode(row)
        owner = token if fault.row == "shared_id" else bad["id"]
        bad["id"] = digest(32, "bad", fault.row, owner)
        value: dict[str, Any] = bad["amount"]["value"]
        match fault.row:
            case "missing_id":
                del bad["id"]
            case "missing_amount":
                del bad["amount"]
            case "nan":
                value["unscaledValue"] = "NaN"
            case "1e400":
                value["scale"] = "-400"
            case "nine_decimals":
                bad["amount"]["value"] = {"unscaledValue": "12123456789", "scale": "9"}
            case "february_30":
                bad["dates"] = {"booked": "2026-02-30"}
            case "nul":
                bad["descriptions"]["original"] = f"NUL\0{bad['descriptions']['original']}"
            case "wrong_type":
                bad["amount"] = [12]
        return msgspec.json.encode(bad)

    def missing_certificate(self) -> tuple[int, bytes]:
        return 400, _error("BAD_REQUEST", "A client certificate is required")

    # OAuth and users.

    async def _give_token(self, request: Request) -> Response:
        form = await _form(request)
        if any(form.get(name) != secret for name, secret in self.credentials.items()):
            raise _refusal(401, "UNAUTHORIZED", "client_id or client_secret is wrong")
        match form.get("grant_type"):
            case "client_credentials":
                grant = _Grant(None, _scopes(form), self._now() + LIFETIME)
            case "authorization_code":
                # A code is spent by the first who shows it.
                found = self._handed.codes.pop(form.get("code", ""), None)
                if found is None or found.until < self._now() or found.delegated:
                    raise _refusal(400, "INVALID_CODE", "The code is unknown, used or too old")
                grant = found._replace(until=self._now() + LIFETIME)
            case other:
                raise _refusal(400, "UNSUPPORTED_GRANT_TYPE", f"grant_type {other!r} is not supported")
        token = self._mint("token")
        held = self._handed.tokens
        for old in [name for name, one in held.items() if one.until < self._now()]:
            del held[old]
        held[token] = grant
        scope = ",".join(sorted(grant.scopes))
        return _answer({"access_token": token, "token_type": "bearer", "expires_in": LIFETIME, "scope": scope})

    async def _give_code(self, request: Request) -> Response:
        form = await _form(request)
        self._require(request, "authorization:grant", user=False)
        return _answer({"code": self._code(self._named_user(form), _scopes(form))})

    async def _delegate(self, request: Request) -> Response:
        form = await _form(request)
        self._require(request, "authorization:grant", user=False)
        if form.get("actor_client_id") != LINK:
            raise _refusal(400, "INVALID_ACTOR", "actor_client_id must be Tink Link's client id")
        if not form.get("id_hint"):
            raise _refusal(400, "MISSING_ID_HINT", "id_hint is required")
        return _answer({"code": self._code(self._named_user(form), _scopes(form), delegated=True)})

    async def _create_user(self, request: Request) -> Response:
        if not request.headers.get("content-type", "").startswith("application/json"):
            raise _refusal(415, "UNSUPPORTED_MEDIA_TYPE", "This endpoint takes JSON")
        self._require(request, "user:create", user=False)
        try:
            order = msgspec.json.decode(await request.body(), type=dict[str, str])
        except msgspec.DecodeError:
            raise _refusal(400, "BAD_REQUEST", "The body is no JSON object of texts") from None
        name = order.get("external_user_id", "")
        if order.get("market") not in self.markets or not order.get("locale"):
            raise _refusal(400, "BAD_REQUEST", "market or locale is missing or unknown")
        if not name or name in self._users or self._owners(name):
            raise _refusal(409, "USER_ALREADY_EXISTS", "A user of this external_user_id exists")
        self._users.add(name)
        return _answer({"external_user_id": name, "user_id": digest(32, "user", name)})

    def _code(self, user: str, scopes: frozenset[str], *, delegated: bool = False) -> str:
        code = self._mint("code")
        self._handed.codes[code] = _Grant(user, scopes, self._now() + _CODE_LIFETIME, delegated)
        return code

    def _mint(self, what: str) -> str:
        self._handed.number += 1
        return digest(40, self.bank.world.seed, what, self._handed.number)

    def _now(self) -> float:
        return self.bank.clock.now

    def _named_user(self, form: Mapping[str, str]) -> str:
        user_id, name = form.get("user_id"), form.get("external_user_id")
        if (user_id is None) == (name is None):
            raise _refusal(400, "BAD_REQUEST", "Give either user_id or external_user_id")
        if name is None:
            served = (one for one in self.bank.world.everyone() if self.serves(one))
            known = [*self._users, *map(self._external_user_id, served)]
            name = next((one for one in known if digest(32, "user", one) == user_id), "")
        if name not in self._users and not self._owners(name):
            raise _refusal(404, "USER_NOT_FOUND", "There is no such user")
        return name

    def _external_user_id(self, customer: Customer) -> str:
        return self._users_of.get(customer.index, f"user_{customer.ref}")

    def _owners(self, external_user_id: str) -> list[Customer]:
        """The logins of a user: his own if he is of the world, and those that were made as him in Tink Link."""
        own = self.bank.world.find_customer(external_user_id.removeprefix("user_"))
        found = [own] if own is not None and self.serves(own) else []
        return found + [self.bank.world.customer(index) for index in self._logins.get(external_user_id, [])]

    def code_user(self, code: str) -> str | None:
        """The user as whom Tink Link acts with a delegated code; None for a code that is none, or is over."""
        grant = self._handed.codes.get(code)
        return grant.user if grant is not None and grant.delegated and grant.until >= self._now() else None

    def spend_code(self, code: str) -> str | None:
        """As `code_user`, for the last time."""
        user = self.code_user(code)
        self._handed.codes.pop(code, None)
        return user

    def give_code(self, customer: Customer, scopes: frozenset[str]) -> str:
        """A code for a token of the customer's, which the application may exchange."""
        return self._code(self._external_user_id(customer), scopes)

    def assign(self, customer: Customer, user: str) -> None:
        """Make the customer's credentials those of a user."""
        self._users_of[customer.index] = user
        if customer.index not in {one.index for one in self._owners(user)}:
            self._logins.setdefault(user, []).append(customer.index)

    def _require(self, request: Request, scope: str, *, user: bool = True) -> str:
        """The user of the request's token (nobody for the application's), which must have this scope."""
        grant = self._handed.tokens.get(self.token(request.scope) or "")
        if grant is None or grant.until < self._now() or (grant.user is not None) is not user:
            raise _refusal(401, "UNAUTHENTICATED", "The access token is missing, expired or not of this kind")
        if scope not in grant.scopes:
            raise _refusal(403, "MISSING_SCOPE", f"The access token lacks the scope {scope}")
        return grant.user or ""

    # Consents.

    async def _list_consents(self, request: Request) -> Response:
        owners = self._owners(self._require(request, "provider-consents:read"))
        consents = [consent for customer in owners for consent in self._consents(customer)]
        wanted = request.query_params.get("credentialsId")
        return _answer({"providerConsents": [one for one in consents if wanted in (None, one["credentialsId"])]})

    async def _refresh(self, request: Request) -> Response:
        customer = self._consenting(request, "credentials:refresh")
        refresh = self._refreshes.setdefault(customer.index, _Refresh())
        if refresh.running or refresh.times >= 4:
            raise _refusal(429, "INVALID_STATE_REFRESH_CREDENTIALS_RATE_LIMITED", "Refreshed too often")
        outage = self.bank.broken(customer)
        if outage is not None:
            self._tried.add((customer.index, outage.as_of))
        if refresh.day != self.bank.day:
            refresh.day, refresh.times = self.bank.day, 0
        refresh.times, refresh.running = refresh.times + 1, True
        self._endpoints.announce(self._endpoints.refreshed(customer, "OPERATION_SOURCE_API"))
        return Response(status_code=204)

    async def _delete_consent(self, request: Request) -> Response:
        self.bank.drop_connection(self._consenting(request, "credentials:write"))
        return Response(status_code=204)

    def _consenting(self, request: Request, scope: str) -> Customer:
        owners = {one.index for one in self._owners(self._require(request, scope))}
        customer = self.find_connection(request.path_params["credentials_id"])
        if customer is None or customer.index not in owners or self.bank.dropped(customer):
            raise _refusal(404, "CREDENTIALS_NOT_FOUND", "There are no such credentials")
        return customer

    def _consents(self, customer: Customer) -> Iterator[dict[str, Any]]:
        if self.bank.dropped(customer):
            return
        account_ids = [self.account_id(account) for account in self._visible(customer)]
        if customer.index % 12 == 1:
            # A second consent of the same user that exposes one of the same accounts.
            yield {
                "credentialsId": digest(32, self.bank.world.seed, "second", customer.index),
                "providerName": f"{customer.institution.country.lower()}-{customer.institution.slug}-business",
                "status": "UPDATED",
                "statusUpdated": _millis(self._refreshed_at(customer, self.bank.day)),
                "sessionExpiryDate": _millis(_noon(self._ends_on(customer))),
                "sessionExtendable": False,
                "accountIds": account_ids[:1],
            }
        consent = self.consent(customer)
        refresh = self._refreshes.get(customer.index)
        if refresh is not None and refresh.running:
            consent["status"], refresh.running = "UPDATING", False
        yield consent

    def user(self, customer: Customer) -> dict[str, str]:
        """The customer as a user of Tink's."""
        name = self._external_user_id(customer)
        return {"userId": digest(32, "user", name), "externalUserId": name}

    def consent(self, customer: Customer) -> dict[str, Any]:
        """The customer's consent as it stands after the last refresh."""
        outage = self.bank.broken(customer)
        status, kind, reason, expiry = "UPDATED", "", "", self._ends_on(customer)
        if outage is not None:
            tried = (customer.index, outage.as_of) in self._tried
            ran_out = outage.reason in ("", _RAN_OUT)
            if ran_out:
                expiry = outage.as_of
            if not ran_out or tried:
                fallback = outage.reason if outage.reason.isupper() else "SESSION_EXPIRED"
                status, kind, reason = _STATES.get(outage.reason, (fallback, "", ""))
        seen = outage.as_of if outage is not None else self.bank.day
        consent: dict[str, Any] = {
            "credentialsId": self.connection_id(customer),
            "providerName": f"{customer.institution.country.lower()}-{customer.institution.slug}-ob",
            "status": status,
            "statusUpdated": _millis(self._refreshed_at(customer, seen)),
            "sessionExpiryDate": _millis(_noon(expiry)),
            "sessionExtendable": customer.institution.country == "GB",
            "accountIds": [self.account_id(account) for account in self._visible(customer)],
        }
        if kind:
            consent["detailedError"] = {
                "type": kind,
                "displayMessage": "The bank said no.",
                "details": {"reason": reason, "retryable": kind == "PROVIDER_ERROR"},
            }
        return consent

    def _ends_on(self, customer: Customer) -> int:
        """The day on which a sound session ends; the customer extends it in time."""
        since = self.bank.sound_since(customer)
        return since + _CONSENT_DAYS * ((self.bank.day - since) // _CONSENT_DAYS + 1)

    # Webhook endpoints.

    async def _list_endpoints(self, request: Request) -> Response:
        self._require(request, "webhook-endpoints", user=False)
        return _answer({"webhookEndpoints": self._endpoints.endpoints(), "nextPageToken": ""})

    async def _make_endpoint(self, request: Request) -> Response:
        self._require(request, "webhook-endpoints", user=False)
        try:
            order = msgspec.json.decode(await request.body(), type=_EndpointOrder)
        except msgspec.DecodeError as error:
            raise _refusal(400, "BAD_REQUEST", f"The body is no webhook endpoint: {error}") from None
        if not order.enabledEvents or not set(order.enabledEvents) <= set(self._endpoints.kinds):
            raise _refusal(400, "BAD_REQUEST", f"enabledEvents must be of {', '.join(self._endpoints.kinds)}")
        made = self._endpoints.add(order.url, order.enabledEvents, order.description)
        if made is None:
            raise _refusal(409, "WEBHOOK_ENDPOINT_ALREADY_EXISTS", "This URL is registered for one of these events")
        return _answer(made)

    async def _delete_endpoint(self, request: Request) -> Response:
        self._require(request, "webhook-endpoints", user=False)
        if not self._endpoints.remove(request.path_params["endpoint_id"]):
            raise _refusal(404, "WEBHOOK_ENDPOINT_NOT_FOUND", "There is no such webhook endpoint")
        return Response(status_code=204)

    # Accounts and transactions.

    async def _list_accounts(self, request: Request) -> Response:
        accounts = self._accounts_of(self._require(request, "accounts:read"))
        query = request.query_params
        if wanted := query.getlist("idIn"):
            accounts = [one for one in accounts if self.account_id(one) in wanted]
        if kinds := query.getlist("typesIn"):
            accounts = [one for one in accounts if _TYPES[one.subtype] in kinds]
        after, size = _read_token(query.get("pageToken"), 1), _page_size(query.get("pageSize"))
        first = int(after[0]) if after else 0
        shown = [self._account(account) for account in accounts[first : first + size]]
        token = _write_token(first + size) if first + size < len(accounts) else ""
        return _answer({"accounts": shown, "nextPageToken": token})

    async def _show_account(self, request: Request) -> Response:
        return _answer(self._account(self._find_account(request, "accounts:read")))

    async def _show_balances(self, request: Request) -> Response:
        account = self._find_account(request, "accounts.balances:readonly")
        as_of = self._as_of(account)
        names = ("bookedBalance", "availableBalanceExcludingCredit")
        found = {
            name: {
                "amount": {
                    "currencyCode": account.currency,
                    "value": {"scale": 2, "unscaledValue": amount},
                    "valueInMinorUnit": amount,
                }
            }
            for name, amount in zip(names, self.balances(account, as_of), strict=True)
            if amount is not None
        }
        customer = self.bank.world.customer(account.customer)
        refreshed = _iso(self._refreshed_at(customer, as_of))
        return _answer({"accountId": self.account_id(account), "refreshed": refreshed, "balances": found})

    async def _list_transactions(self, request: Request) -> Response:
        accounts = self._accounts_of(self._require(request, "transactions:read"))
        query = request.query_params
        if wanted := query.getlist("accountIdIn"):
            accounts = [one for one in accounts if self.account_id(one) in wanted]
        start = _day(query.get("bookedDateGte"), "bookedDateGte")
        end = _day(query.get("bookedDateLte"), "bookedDateLte")
        end = self.bank.day if end is None else end
        statuses, size = query.getlist("statusIn"), _page_size(query.get("pageSize"))
        after = _read_token(query.get("pageToken"), 3)
        place = (int(after[0]), int(after[1]), after[2]) if after else None
        lines = [
            line
            for account in accounts
            for line in self._lines(account, start)
            if (start is None or line.day >= start)
            and line.day <= end
            and (place is None or line.place < place)
            and (not statuses or any(f'"status":"{one}"'.encode() in line.body for one in statuses))
        ]
        lines.sort(key=lambda line: line.place, reverse=True)
        page = lines[:size]
        token = _write_token(*page[-1].place) if len(lines) > size else ""
        rows = b",".join(line.body for line in page)
        body = b'{"transactions":[' + rows + b'],"nextPageToken":' + _json.encode(token) + b"}"
        return Response(body, media_type="application/json")

    async def _nothing(self, _: Request) -> Response:
        raise _refusal(404, "NOT_FOUND", "There is nothing at this path")

    def _accounts_of(self, user: str) -> list[Account]:
        return [account for customer in self._owners(user) for account in self._visible(customer)]

    def _visible(self, customer: Customer) -> list[Account]:
        """The accounts that Tink has of this customer's connection, as of the last refresh."""
        outage = self.bank.broken(customer)
        last = self.bank.day if outage is None else outage.as_of
        accounts = self.bank.accounts(customer)
        return [one for one in accounts if self.bank.closed(one) is None and one.opens_on <= last]

    def _find_account(self, request: Request, scope: str) -> Account:
        account_id = request.path_params["account_id"]
        for account in self._accounts_of(self._require(request, scope)):
            if self.account_id(account) == account_id:
                return account
        raise Refused(*self.account_closed(""))

    def _as_of(self, account: Account) -> int:
        """The day whose data Tink shows: today, or the last one before the connection broke."""
        outage = self.bank.broken(self.bank.world.customer(account.customer))
        return self.bank.day if outage is None else outage.as_of

    def _refreshed_at(self, customer: Customer, day: int) -> datetime:
        """When a connection was last refreshed on a day: early, and later again by each refresh on demand."""
        refresh = self._refreshes.get(customer.index)
        times = refresh.times if refresh is not None and refresh.day == day else 0
        return _noon(day) - timedelta(hours=8 - times, minutes=customer.index % 60)

    def _habits(self, account: Account) -> _Habits:
        return _HABITS[self.bank.world.customer(account.customer).institution.slug]

    def _account(self, account: Account) -> dict[str, Any]:
        customer, habits, as_of = (
            self.bank.world.customer(account.customer),
            self._habits(account),
            self._as_of(account),
        )
        shown: dict[str, Any] = {
            "id": self.account_id(account),
            "name": account.name,
            "type": _TYPES[account.subtype],
            "financialInstitutionId": digest(32, "institution", customer.institution.slug),
            "customerSegment": "BUSINESS" if customer.kind == "business" else "PERSONAL",
            "dates": {"lastRefreshed": _iso(self._refreshed_at(customer, as_of))},
        }
        balances = {
            name: {"amount": self._money(account, amount)}
            for name, amount in zip(("booked", "available"), self.balances(account, as_of), strict=True)
            if amount is not None
        }
        if balances:
            shown["balances"] = balances
        if habits.identifiers:
            number = {"accountNumber": account.number, "referenceNumbers": {}}
            shown["identifiers"] = {"financialInstitution": number}
            if account.kind == "credit":
                shown["identifiers"]["pan"] = {"masked": f"4000 12** **** {account.number[-4:]}"}
        return shown

    def _money(self, account: Account, amount: int) -> dict[str, Any]:
        """An amount of minor units, at the scale that its bank writes."""
        scale = self._habits(account).scale
        if scale is None:
            scale = 2
            while amount and amount % 10 == 0:
                amount, scale = amount // 10, scale - 1
        else:
            amount *= 10 ** (scale - 2)
        return {"currencyCode": account.currency, "value": {"scale": str(scale), "unscaledValue": str(amount)}}

    def booked_on(self, account: Account, row: Row) -> int:
        """A posted row's day, or the one on which a pending row is expected to be booked."""
        if row.phase.posted:
            return row.phase.day
        return row.phase.until + self._habits(account).late

    def _lines(self, account: Account, start: int | None) -> Iterator[_Line]:
        """The account's rows, by months, without months at rest that lie wholly before `start`."""
        day, books = self._as_of(account), self.bank.books
        for month in books.months(account, day):
            if start is None or not books.at_rest(month, day) or first_of(month + 1) > start:
                yield from self._sheet(account, month, day)

    def _sheet(self, account: Account, month: int, day: int) -> list[_Line]:
        # A month at rest is the same on every later day, so it is held once; day 0 stands for "at rest".
        held = 0 if self.bank.books.at_rest(month, day) else day
        return self._sheets.get((account.ref, month, held), lambda: self._make_sheet(account, month, day))

    def _make_sheet(self, account: Account, month: int, day: int) -> list[_Line]:
        account_id, lines = self.account_id(account), []
        for row in self.bank.books.rows(account, month, day):
            on = self.booked_on(account, row)
            lines.append(_Line((on, row.movement.order, account.ref), on, self._row(account, account_id, row)))
        return lines

    def _row(self, account: Account, account_id: str, row: Row) -> bytes:
        movement, phase, enriched, _ = row
        habits, booked = self._habits(account), date.fromordinal(self.booked_on(account, row)).isoformat()
        moved = date.fromordinal(min(phase.day, movement.phases[0].day)).isoformat()
        dates = {"booked": booked, "transaction": moved, "value": booked}
        if phase.posted and not habits.dated:
            del dates["booked"]
        shown: dict[str, Any] = {
            "id": self.record_id(phase.ref),
            "accountId": account_id,
            "amount": self._money(account, phase.amount),
            "status": "BOOKED" if phase.posted else "PENDING",
            "dates": dates,
            "descriptions": {"original": phase.text, "display": phase.text.title()},
            "types": {"type": self.kind(movement.kind)},
            "providerMutability": "MUTABILITY_UNDEFINED",
        }
        if habits.identifiers:
            # The bank's own id stays when Tink's does not.
            shown["identifiers"] = {"providerTransactionId": digest(32, "provider", movement.phases[0].ref)}
        if enriched:
            shown["categories"] = {"pfm": {"id": movement.category, "name": ""}}
            side = "payer" if phase.amount > 0 else "payee"
            shown["counterparties"] = {side: {"name": movement.party}}
            if movement.kind == "card":
                shown["merchantInformation"] = {"merchantName": movement.party}
        return _json.encode(shown)


async def _form(request: Request) -> dict[str, str]:
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise _refusal(415, "UNSUPPORTED_MEDIA_TYPE", "This endpoint takes a form")
    return dict(parse_qsl((await request.body()).decode("utf-8", "replace")))


def _scopes(form: Mapping[str, str]) -> frozenset[str]:
    scopes = frozenset(one.strip() for one in form.get("scope", "").split(",") if one.strip())
    if not scopes:
        raise _refusal(400, "BAD_REQUEST", "scope is required")
    return scopes


def _page_size(text: str | None) -> int:
    if text is None:
        return _PAGE
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= _PAGE:
        raise _refusal(400, "BAD_REQUEST", f"pageSize must be 1 to {_PAGE}")
    return int(text)


def _day(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").toordinal()  # noqa: DTZ007 - only its day is used
    except ValueError:
        raise _refusal(400, "BAD_REQUEST", f"{name} must be a date YYYY-MM-DD") from None


def _write_token(*parts: int | str) -> str:
    text = "|".join(map(str, parts))
    return base64.urlsafe_b64encode(f"{text}|{digest(8, 'page', text)}".encode()).decode()


def _read_token(token: str | None, parts: int) -> list[str] | None:
    """What `_write_token` wrote; None where there is no token, 400 for one that is not of here."""
    if not token:
        return None
    try:
        *found, check = base64.b64decode(token.encode(), b"-_", validate=True).decode().split("|")
    except (binascii.Error, UnicodeError):
        found, check = [], ""
    if len(found) != parts or check != digest(8, "page", "|".join(found)):
        raise _refusal(400, "INVALID_PAGE_TOKEN", "The page token is not valid")
    return found


def _noon(day: int) -> datetime:
    return datetime.combine(date.fromordinal(day), datetime.min.time(), UTC) + timedelta(hours=12)


def _millis(when: datetime) -> int:
    return int(when.timestamp() * 1000)


def _iso(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def _answer(value: object) -> Response:
    return Response(_json.encode(value), media_type="application/json")
