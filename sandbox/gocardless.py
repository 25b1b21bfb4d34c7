"""GoCardless Bank Account Data's wire protocol (developer.gocardless.com/bank-account-data) over a bank.

Only GoCardless' words and habits are here: the token pair, agreements and requisitions, the daily budget of each account
and endpoint, rows without, with blank and with reused ids, errors. Decisions where its documentation is silent: a path
without its last slash is 404; an access token lives for the clock's day; the day's budgets are there again on the next
day of the clock; a range that reaches behind the agreement's history is cut; every pending row is shown whatever the
range; the customers renew their consent every 80 days under the same requisition. A requisition's link is the page on
which a customer of that bank signs in (`sandbox.consent.login`); it is linked, or rejected, by what is decided there.

Rows that the bank may correct later always have an id here: what only a hash can tell apart would come as another row.
"""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, ClassVar, Literal, NamedTuple
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from sandbox._cache import Cache
from sandbox._dice import digest, spell, unspell
from sandbox.bank import Bank
from sandbox.books import Row
from sandbox.catalogue import Institution
from sandbox.consent.login import Cancelled, Login, back
from sandbox.faults import Fault
from sandbox.movement import Phase
from sandbox.provider import Refused, Rows, Shown
from sandbox.truth import tell_accounts, tell_money, tell_row
from sandbox.webhooks.hook import Hooks
from sandbox.world import GUESTS, Account, Customer

_INSTITUTIONS = (
    Institution("SANDBOXFINANCE_SFIN0000", "Sandbox Finance", "DE", "EUR", "SFIN0000"),
    Institution("KINGSWELL_KGWLGB21", "Kingswell Building Society", "GB", "GBP", "KGWLGB21"),
    Institution("COPPERFIELD_CPFDGB22", "Copperfield Bank", "GB", "GBP", "CPFDGB22"),
    Institution("LUNDGREN_LNDGSESS", "Lundgrens Sparbank", "SE", "SEK", "LNDGSESS"),
    Institution("EUROCARD_SE_SKHSFI21", "Eurocard", "SE", "SEK", "SKHSFI21"),
)
_LIMIT = 4
_VALID_DAYS = 90
_RENEWED_DAYS = 80
_HISTORY_DAYS = 730
_SCOPES = ("balances", "details", "transactions")
_UUID = re.compile(r"/(?:requisitions|accounts|enduser)/([0-9a-f]{8}-[0-9a-f-]{27})/")
_SHEETS_BYTES = 128 * 1024 * 1024
_json = msgspec.json.Encoder()


@dataclass(frozen=True)
class _Habits:
    """What a bank shows of its accounts through GoCardless."""

    internal: bool = True
    """Whether booked rows carry GoCardless' own id."""
    bank_id: Literal["own", "blank", "reused", "missing"] = "own"
    """The bank's id of a row, of two rows in three that are never corrected; of the others its own."""
    dates: tuple[str, ...] = ("bookingDate", "bookingDateTime", "valueDate")
    pending_ahead: int = 0
    """How many days in the future a pending row is dated."""
    flips: bool = False
    """Whether money out is positive, and what is owed too."""
    booked: str = "interimBooked"
    available: str | None = "interimAvailable"
    no_balances: bool = False
    foreign: bool = False
    """Whether balances are listed in another currency as well, and amounts were exchanged."""
    limited_scopes: bool = False
    separate_history: bool = False


_HABITS = {
    "SANDBOXFINANCE_SFIN0000": _Habits(),
    "KINGSWELL_KGWLGB21": _Habits(
        internal=False, bank_id="blank", pending_ahead=5, booked="closingBooked", available=None, separate_history=True
    ),
    "COPPERFIELD_CPFDGB22": _Habits(internal=False, bank_id="reused", dates=("bookingDate",), no_balances=True),
    "LUNDGREN_LNDGSESS": _Habits(
        internal=False,
        bank_id="missing",
        dates=("bookingDateTime", "valueDateTime"),
        booked="expected",
        available=None,
        foreign=True,
    ),
    "EUROCARD_SE_SKHSFI21": _Habits(
        bank_id="missing", dates=("valueDate",), flips=True, available=None, limited_scopes=True
    ),
}


class _Sheet(NamedTuple):
    """A month of rows, serialised, newest first: the day, whether it is booked, and the bytes."""

    rows: list[tuple[int, bool, bytes]]


@dataclass
class _Made:
    """An agreement or a requisition that a client made, by GoCardless' names."""

    fields: dict[str, Any]
    customer: int | None = None
    used: bool = False


@dataclass
class _Tokens:
    """What was issued, with the last day it is good on."""

    access: dict[str, int] = field(default_factory=dict)
    refresh: dict[str, int] = field(default_factory=dict)

    def issue(self, kind: Literal["access", "refresh"], until: int, today: int) -> str:
        """A new token; those that are over are forgotten."""
        held: dict[str, int] = getattr(self, kind)
        for old in [token for token, last in held.items() if last < today]:
            del held[old]
        token = f"eyJ0eXAiOiJKV1QifQ.{kind}.{uuid.uuid4().hex}"
        held[token] = until
        return token


def _error(status: int, summary: str, detail: str, kind: str | None = None) -> bytes:
    body: dict[str, Any] = {"summary": summary, "detail": detail}
    if kind is not None:
        body["type"] = kind
    return _json.encode({**body, "status_code": status})


def _refusal(status: int, summary: str, detail: str, kind: str | None = None) -> Refused:
    return Refused(status, _error(status, summary, detail, kind))


def _field_error(name: str, summary: str, detail: str, *, listed: bool = False) -> Refused:
    """The other shape: by field, without a summary of its own."""
    told = {"summary": summary, "detail": detail}
    return Refused(400, _json.encode({name: [told] if listed else told, "status_code": 400}))


class GoCardless:
    """GoCardless over a branch of the bank; see `sandbox.provider.Provider` for what the methods without underscore are."""

    name: ClassVar[str] = "gocardless"
    credentials: ClassVar[Mapping[str, str]] = {
        "secret_id": "5a4db0c5-0000-4000-8000-00000000ca5d",
        "secret_key": "sandbox-gocardless-secret-key",
    }
    webhook_secrets: ClassVar[tuple[str, ...]] = ()
    pages: ClassVar[Mapping[str, str]] = {}
    page_parameter: ClassVar[str] = "offset"

    def __init__(self, bank: Bank) -> None:
        self.bank = Bank(bank.world.branch(self.name, _INSTITUTIONS), bank.clock)
        self.hooks: Hooks | None = None
        self._tokens = _Tokens()
        self._calls: dict[tuple[str, str], tuple[int, int]] = {}
        self._agreements: dict[str, _Made] = {}
        self._requisitions: dict[str, _Made] = {}
        self._linked: dict[int, str] = {}
        self._sheets: Cache[tuple[str, int, int], _Sheet] = Cache(
            _SHEETS_BYTES, lambda sheet: 64 + sum(len(body) + 120 for _, _, body in sheet.rows)
        )

    def serves(self, customer: Customer) -> bool:
        return self._from_start(customer) or self.bank.joined(customer)

    def routes(self) -> list[BaseRoute]:
        account = "/accounts/{account_id}/"
        requisition, agreement = "/requisitions/{requisition_id}/", "/agreements/enduser/{agreement_id}/"
        return [
            Route("/token/new/", self._new_token, methods=["POST"]),
            Route("/token/refresh/", self._refresh_token, methods=["POST"]),
            Route("/institutions/", self._list_institutions),
            Route("/institutions/{institution_id}/", self._show_institution),
            Route("/agreements/enduser/", self._make_agreement, methods=["POST"]),
            Route(agreement, self._show_agreement, methods=["GET"]),
            Route("/requisitions/", self._list_requisitions, methods=["GET"]),
            Route("/requisitions/", self._make_requisition, methods=["POST"]),
            Route(requisition, self._show_requisition, methods=["GET"]),
            Route(requisition, self._delete_requisition, methods=["DELETE"]),
            Route("/psd2/start/{requisition_id}/{institution_id}", self._consent, methods=["GET", "POST"]),
            Route(account, self._show_account),
            Route(f"{account}details/", self._show_details),
            Route(f"{account}balances/", self._show_balances),
            Route(f"{account}transactions/", self._list_transactions),
            Route("/{path:path}", self._nothing),
        ]

    def token(self, scope: Scope) -> str | None:
        """The requisition that a request is about, for the token is the application's and tells no connection."""
        found = _UUID.search(scope["path"])
        if found is None:
            return None
        if found[1] in self._requisitions or self.find_connection(found[1]) is not None:
            return found[1]
        index = int(found[1][:8], 16)
        if index >= self.bank.world.size + GUESTS:
            return None
        return self.connection_id(self.bank.world.customer(index))

    def customer(self, token: str) -> Customer | None:
        customer = self.find_connection(token)
        return None if customer is None or self.bank.dropped(customer) else customer

    def secrets(self, customer: Customer) -> dict[str, str]:
        return {"requisition_id": self.connection_id(customer)}

    def connection_id(self, customer: Customer) -> str:
        if self._from_start(customer):
            return self._uuid(customer, "requisition")
        return self._linked.get(customer.index, "")

    def find_connection(self, connection_id: str) -> Customer | None:
        made = self._requisitions.get(connection_id)
        if made is not None and made.customer is not None:
            return self.bank.world.customer(made.customer)
        return self._find_by(connection_id, "requisition")

    def account_id(self, account: Account) -> str:
        tail = account.ref[7:]
        slot = unspell(account.ref[4:7])
        return f"{account.customer:08x}-{slot:04x}-4{tail[:3]}-8{tail[3:6]}-{tail[6:]}0000000"

    def account_ref(self, account_id: str) -> str:
        try:
            index, slot, first, second, last = account_id.split("-")
            return spell(int(index, 16), 4) + spell(int(slot, 16), 3) + first[1:] + second[1:] + last[:5]
        except ValueError:
            return ""

    def record_id(self, ref: str) -> str:
        return digest(32, "internal", ref)

    def streams(self, account: Account) -> frozenset[str]:
        return frozenset(_SCOPES)

    def balances(self, account: Account, day: int) -> Shown:
        habits = self._habits(account)
        if habits.no_balances:
            return Shown(None, None)
        ledger = self.bank.books.ledger(account, day)
        return Shown(ledger, ledger + self.bank.books.pending(account, day) if habits.available else None)

    def truth(self, customer: Customer, *, rows: bool) -> dict[str, Any]:
        return tell_accounts(self, customer, rows=rows)

    def tell_row(self, account: Account, row: Row) -> dict[str, Any]:
        """`id` is GoCardless' own id of a booked row where the bank has one; a row without is known by what it says."""
        has_id = row.phase.posted and self._habits(account).internal
        return tell_row(self, account, row) | {
            "id": self.record_id(row.phase.ref) if has_id else None,
            "date": date.fromordinal(self._dated(account, row.phase)),
            "category": None,
        }

    def kind(self, kind: str) -> str:
        return kind.upper()

    def disconnected(self, reason: str) -> tuple[int, bytes]:
        if reason == "enrollment_inactive":
            agreement = digest(32, "agreement")
            return 401, _error(
                401,
                f"End User Agreement (EUA) {agreement} has expired",
                f"EUA was valid for {_VALID_DAYS} days and it expired at {self.bank.clock.today} 00:00:00+00:00. The end"
                " user must connect the account once more with new EUA and Requisition",
            )
        if reason == "account_locked":
            return 409, _error(
                409,
                "Account suspended",
                "This account or its requisition was suspended due to numerous errors that occurred while accessing it.",
            )
        return 401, _error(
            401,
            "Couldn't update account transactions",
            "Access has expired or it has been revoked. To restore access reconnect the account.",
            "AccessExpiredError",
        )

    def account_closed(self, reason: str) -> tuple[int, bytes]:
        return 401, _error(
            401,
            "Couldn't update account balances",
            "Account has been deactivated or it no longer exists.",
            "AccountInactiveError",
        )

    def rate_limited(self) -> bytes:
        return _error(
            429,
            "Couldn't update account transactions",
            "Daily request limit set by the Institution has been exceeded.",
            "RateLimitError",
        )

    def failed(self, status: int) -> bytes:
        if status == 503:
            return _error(
                503, "Couldn't update account transactions", "Institution service unavailable", "ServiceError"
            )
        return _error(
            status,
            "Couldn't update account balances",
            "Request to Institution returned an error",
            "UnknownRequestError",
        )

    def rows(self, path: str, body: bytes) -> Rows | None:
        if not path.endswith("/transactions/"):
            return None
        before, after = body.split(b'"booked":[', 1)
        end = after.index(b'],"pending":[')
        booked = msgspec.json.decode(b"[" + after[:end] + b"]", type=list[msgspec.Raw])
        return Rows(before + b'"booked":[', [bytes(row) for row in booked], after[end:])

    def bad_row(self, fault: Fault, row: bytes, token: str | None) -> bytes:
        bad: dict[str, Any] = msgspec.json.decode(row)
        owner = token if fault.row == "shared_id" else bad
        bad["internalTransactionId"] = digest(32, "bad", fault.row, owner)
        day = next(name for name in ("bookingDate", "bookingDateTime", "valueDate") if name in bad)
        match fault.row:
            case "missing_id":
                del bad["internalTransactionId"]
                bad.pop("transactionId", None)
            case "missing_amount":
                del bad["transactionAmount"]
            case "nan":
                bad["transactionAmount"]["amount"] = "NaN"
            case "1e400":
                bad["transactionAmount"]["amount"] = "1e400"
            case "nine_decimals":
                bad["transactionAmount"]["amount"] = "12.123456789"
            case "february_30":
                bad[day] = f"{bad[day][:4]}-02-30{bad[day][10:]}"
            case "nul":
                bad["remittanceInformationUnstructured"] = f"NUL\0{bad['remittanceInformationUnstructured']}"
            case "wrong_type":
                bad["transactionAmount"] = [12]
            case "shared_id":
                pass  # two accounts may well have one id here: it is unique only inside an account
        return msgspec.json.encode(bad)

    def missing_certificate(self) -> tuple[int, bytes]:
        return 403, _error(403, "IP address access denied", "Your IP address doesn't have access to this resource")

    # Tokens.

    async def _new_token(self, request: Request) -> Response:
        given = await _read(request)
        for name in self.credentials:
            if name not in given:
                raise _field_error(name, "This field is required.", "This field is required.")
        if any(given[name] != value for name, value in self.credentials.items()):
            raise _refusal(401, "Authentication failed", "No active account found with the given credentials")
        day = self.bank.day
        return _answer(
            {
                "access": self._tokens.issue("access", day, day),
                "access_expires": 86400,
                "refresh": self._tokens.issue("refresh", day + 29, day),
                "refresh_expires": 2592000,
            }
        )

    async def _refresh_token(self, request: Request) -> Response:
        given, day = await _read(request), self.bank.day
        if self._tokens.refresh.get(str(given.get("refresh")), -1) < day:
            raise _refusal(401, "Invalid token", "Token is invalid or expired")
        return _answer({"access": self._tokens.issue("access", day, day), "access_expires": 86400})

    def _authenticate(self, request: Request) -> None:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind != "Bearer":
            raise _refusal(
                401, "Authentication credentials were not provided.", "Authentication credentials were not provided."
            )
        if self._tokens.access.get(token, -1) < self.bank.day:
            raise _refusal(401, "Invalid token", "Token is invalid or expired")

    # Institutions, agreements, requisitions.

    async def _nothing(self, _: Request) -> Response:
        raise _refusal(404, "Not found.", "Not found.")

    async def _list_institutions(self, request: Request) -> Response:
        self._authenticate(request)
        country = request.query_params.get("country", "").upper()
        found = [one for one in _INSTITUTIONS if not country or one.country == country]
        if country and not found:
            raise _field_error("country", "Invalid country code", f"{country} is not a valid choice.")
        return _answer([self._institution(one) for one in found])

    async def _show_institution(self, request: Request) -> Response:
        self._authenticate(request)
        return _answer(self._institution(self._find_institution(request.path_params["institution_id"], 404)))

    async def _make_agreement(self, request: Request) -> Response:
        self._authenticate(request)
        given = await _read(request)
        bank = self._find_institution(str(given.get("institution_id")), 400)
        habits, told = _HABITS[bank.slug], self._institution(bank)
        caps = {
            "max_historical_days": int(told["transaction_total_days"]),
            "access_valid_for_days": int(told["max_access_valid_for_days"]),
        }
        fields: dict[str, Any] = {"max_historical_days": 90, "access_valid_for_days": 90, "access_scope": list(_SCOPES)}
        fields |= {name: value for name, value in given.items() if name in fields}
        for name, cap in caps.items():
            if not str(fields[name]).isdigit() or not 0 < int(fields[name]) <= cap:
                raise _field_error(
                    name, f"Incorrect {name}", f"{name} must be > 0 and <= {bank.slug} {name}, which is {cap}"
                )
        scopes = set(fields["access_scope"])
        if not scopes or not scopes <= set(_SCOPES):
            raise _field_error("access_scope", "Unknown value in access_scope", f"Choose of {list(_SCOPES)}")
        if habits.limited_scopes and len(scopes & {"balances", "details"}) == 1:
            raise _field_error(
                "access_scope",
                "Institution access scope dependencies error",
                "For this institution the following scopes are required together: ['balances', 'details']",
                listed=True,
            )
        made = _Made(
            {"id": str(uuid.uuid4()), "created": self._stamp(), "institution_id": bank.slug}
            | {name: int(fields[name]) for name in caps}
            | {"access_scope": fields["access_scope"], "accepted": None}
        )
        self._agreements[made.fields["id"]] = made
        return _answer(made.fields, 201)

    async def _show_agreement(self, request: Request) -> Response:
        self._authenticate(request)
        agreement_id = request.path_params["agreement_id"]
        if (made := self._agreements.get(agreement_id)) is not None:
            return _answer(made.fields)
        customer = self._find_by(agreement_id, "agreement")
        if customer is None or self.bank.dropped(customer):
            raise _refusal(404, "Not found.", "Not found.")
        began = self._stamp(self._consented(customer))
        return _answer(
            {
                "id": agreement_id,
                "created": began,
                "institution_id": customer.institution.slug,
                "max_historical_days": self._history,
                "access_valid_for_days": _VALID_DAYS,
                "access_scope": list(_SCOPES),
                "accepted": began,
            }
        )

    async def _list_requisitions(self, request: Request) -> Response:
        self._authenticate(request)
        served = [one for one in self.bank.world.everyone() if self._from_start(one)]
        told = [self._requisition(one) for one in served if not self.bank.dropped(one)]
        told += [made.fields for made in self._requisitions.values()]
        limit, offset = _count(request, "limit", 100), _count(request, "offset", 0)
        return _answer(
            {
                "count": len(told),
                "next": f"{request.url.replace(query=urlencode({'limit': limit, 'offset': offset + limit}))}"
                if offset + limit < len(told)
                else None,
                "previous": f"{request.url.replace(query=urlencode({'limit': limit, 'offset': max(0, offset - limit)}))}"
                if offset
                else None,
                "results": told[offset : offset + limit],
            }
        )

    async def _make_requisition(self, request: Request) -> Response:
        self._authenticate(request)
        given = await _read(request)
        bank = self._find_institution(str(given.get("institution_id")), 400)
        if not given.get("redirect"):
            raise _field_error("redirect", "This field is required.", "This field is required.")
        reference = given.get("reference") or str(uuid.uuid4())
        if any(made.fields["reference"] == reference for made in self._requisitions.values()):
            raise _field_error(
                "reference", "Client reference must be unique", f"{reference} already exists as a requisition"
            )
        agreement = given.get("agreement")
        if agreement is not None and agreement not in self._agreements:
            raise _field_error("agreement", "Agreement not found", "Agreement not found")
        if agreement is None:
            made = _Made({"id": str(uuid.uuid4()), "created": self._stamp(), "institution_id": bank.slug})
            made.fields |= {"max_historical_days": 90, "access_valid_for_days": 90, "access_scope": list(_SCOPES)}
            made.fields["accepted"] = None
            agreement = made.fields["id"]
            self._agreements[agreement] = made
        requisition_id = str(uuid.uuid4())
        base = f"{request.url.scheme}://{request.url.netloc}{request.scope['root_path']}"
        fields = {
            "id": requisition_id,
            "created": self._stamp(),
            "redirect": given["redirect"],
            "status": "CR",
            "institution_id": bank.slug,
            "agreement": agreement,
            "reference": reference,
            "accounts": [],
            "user_language": given.get("user_language"),
            "link": f"{base}/psd2/start/{requisition_id}/{bank.slug}",
            "ssn": given.get("ssn"),
            "account_selection": bool(given.get("account_selection")),
            "redirect_immediate": bool(given.get("redirect_immediate")),
        }
        self._requisitions[requisition_id] = _Made(fields)
        return _answer(fields, 201)

    async def _consent(self, request: Request) -> Response:
        """What happens in the customer's browser, in one step."""
        made = self._requisitions.get(request.path_params["requisition_id"])
        if made is None or made.fields["institution_id"] != request.path_params["institution_id"]:
            raise _refusal(404, "Not found.", "Not found.")
        told = {"ref": made.fields["reference"]}
        if made.used:
            told |= {"error": "RequisitionLinkReused", "details": "This link has been used already"}
            return back(made.fields["redirect"], **told)
        login = self._login(made)
        if request.method == "GET":
            made.fields["status"] = "GC"
            return login.show()
        decision = await login.decide(request)
        if isinstance(decision, Response):
            return decision
        made.used = True
        if isinstance(decision, Cancelled):
            made.fields["status"] = "RJ"
            told |= {"error": "UserCancelledSession", "details": "User cancelled the session"}
        else:
            self._link(made, decision)
        return back(made.fields["redirect"], **told)

    def _login(self, made: _Made) -> Login:
        slug = made.fields["institution_id"]
        world = self.bank.world
        return Login("GoCardless", world, lambda one: one.institution.slug == slug, self.serves)

    def _link(self, made: _Made, customer: Customer) -> None:
        made.customer, made.fields["status"] = customer.index, "LN"
        self._agreements[made.fields["agreement"]].fields["accepted"] = self._stamp()
        new = not self.serves(customer)
        self._linked[customer.index] = made.fields["id"]
        self.bank.consent(customer, new=new)

    async def _show_requisition(self, request: Request) -> Response:
        self._authenticate(request)
        requisition_id = request.path_params["requisition_id"]
        if (made := self._requisitions.get(requisition_id)) is not None:
            customer = self.bank.world.customer(made.customer) if made.customer is not None else None
            if customer is None:
                return _answer(made.fields)
            shown = self._requisition(customer)
            return _answer(made.fields | {name: shown[name] for name in ("status", "accounts")})
        customer = self.customer(requisition_id)
        if customer is None:
            raise _refusal(404, "Not found.", "Not found.")
        return _answer(self._requisition(customer))

    async def _delete_requisition(self, request: Request) -> Response:
        self._authenticate(request)
        requisition_id = request.path_params["requisition_id"]
        if (made := self._requisitions.pop(requisition_id, None)) is not None:
            self._agreements.pop(made.fields["agreement"], None)
            if made.customer is not None and self._linked.get(made.customer) == requisition_id:
                self._forget(self.bank.world.customer(made.customer))
        elif (customer := self.customer(requisition_id)) is not None:
            self.bank.drop_connection(customer)
        else:
            raise _refusal(404, "Not found.", "Not found.")
        return _answer({"summary": "Requisition deleted", "detail": f"Requisition {requisition_id} deleted"})

    def _forget(self, customer: Customer) -> None:
        """What deleting the requisition does to who has no other one."""
        if not self._from_start(customer):
            self.bank.drop_connection(customer)

    def _from_start(self, customer: Customer) -> bool:
        """Whether the customer had a requisition before anybody asked for one."""
        return customer.index % 3 != 0 and not self.bank.world.is_guest(customer)

    # Accounts.

    async def _show_account(self, request: Request) -> Response:
        self._authenticate(request)
        account, customer = self._find_account(request)
        outage = self.bank.broken(customer)
        states = {"account_locked": "SUSPENDED", "credentials_invalid": "EXPIRED"}
        return _answer(
            {
                "id": self.account_id(account),
                "created": self._stamp(max(account.opens_on, self.bank.world.opening)),
                "last_accessed": self._stamp(),
                "iban": self._iban(account),
                "institution_id": customer.institution.slug,
                "status": states.get(outage.reason, "READY") if outage else "READY",
                "owner_name": customer.name,
            }
        )

    async def _show_details(self, request: Request) -> Response:
        account, customer = self._readable(request)
        kinds = {"checking": "CACC", "savings": "SVGS", "credit_card": "CARD"}
        return self._data(
            request,
            account,
            {
                "account": {
                    "resourceId": account.number,
                    "iban": "" if account.kind == "credit" else self._iban(account),
                    "currency": account.currency,
                    "ownerName": customer.name,
                    "name": account.name,
                    "product": account.name,
                    "cashAccountType": kinds[account.subtype],
                    "bic": customer.institution.routing,
                }
            },
        )

    async def _show_balances(self, request: Request) -> Response:
        account, _ = self._readable(request)
        habits, day, told = self._habits(account), self.bank.day, []
        shown = self.balances(account, day)
        if shown.ledger is not None:
            if habits.foreign:
                told.append(self._balance(account, "interimBooked", 123456, day, "EUR"))
            if habits.available is not None and shown.available is not None:
                # Two rows of one type, the older one first.
                old = self.balances(account, day - 3).available if day - 3 >= account.opens_on else None
                if old is not None:
                    told.append(self._balance(account, habits.available, old, day - 3))
                told.append(self._balance(account, habits.available, shown.available, day))
            told.append(self._balance(account, habits.booked, shown.ledger, day))
            told.append(self._balance(account, "information", 0, day))
        return self._data(request, account, {"balances": told})

    async def _list_transactions(self, request: Request) -> Response:
        account, customer = self._readable(request)
        start, end = _day(request, "date_from"), _day(request, "date_to")
        if start is not None and end is not None and start > end:
            raise _field_error("date_from", "Incorrect date range", "date_from can not be greater than date_to")
        day = self.bank.day
        first = max(start or 0, self._consented(customer) - self._history)
        booked: list[bytes] = []
        pending: list[bytes] = []
        for month in reversed(self.bank.books.months(account, day)):
            for dated, posted, body in self._sheet(account, month, day).rows:
                if not posted:
                    pending.append(body)
                elif dated >= first and (end is None or dated <= end):
                    booked.append(body)
        listed = b'{"transactions":{"booked":[%b],"pending":[%b]},"last_updated":"%b"}'
        return self._data(request, account, listed % (b",".join(booked), b",".join(pending), self._stamp().encode()))

    def _data(self, request: Request, account: Account, body: object) -> Response:
        """An answer that counts, with the headers that say what is left."""
        made, _ = self._spent(request, account)
        self._calls[account.ref, _endpoint(request)] = (self.bank.day, made + 1)
        answer = Response(body, media_type="application/json") if isinstance(body, bytes) else _answer(body)
        answer.headers.update(self._limits(made + 1))
        return answer

    def _readable(self, request: Request) -> tuple[Account, Customer]:
        self._authenticate(request)
        account, customer = self._find_account(request)
        outage = self.bank.broken(customer)
        if outage is not None:
            raise Refused(*self.disconnected(outage.reason))
        if (closed := self.bank.closed(account)) is not None:
            raise Refused(*self.account_closed(closed.reason))
        made, left = self._spent(request, account)
        if left <= 0:
            headers = self._limits(made)
            seconds = headers["http_x_ratelimit_account_success_reset"]
            body = _error(
                429,
                "Rate limit exceeded",
                f"The rate limit for this resource is {_LIMIT}/day. Please try again in {seconds} seconds",
            )
            raise Refused(429, body, headers)
        return account, customer

    def _spent(self, request: Request, account: Account) -> tuple[int, int]:
        """How many answers this account and endpoint gave today, and how many are left."""
        day, made = self._calls.get((account.ref, _endpoint(request)), (0, 0))
        made = made if day == self.bank.day else 0
        return made, _LIMIT - made

    def _limits(self, made: int) -> dict[str, str]:
        now = datetime.now(UTC)
        reset = 86307
        if not self.bank.clock.fixed:
            reset = int((datetime.combine(now.date() + timedelta(1), time(), UTC) - now).total_seconds())
        return {
            "http_x_ratelimit_limit": "100",
            "http_x_ratelimit_remaining": "99",
            "http_x_ratelimit_reset": "59",
            "http_x_ratelimit_account_success_limit": str(_LIMIT),
            "http_x_ratelimit_account_success_remaining": str(max(0, _LIMIT - made)),
            "http_x_ratelimit_account_success_reset": str(reset),
        }

    # How the world's things look here.

    @property
    def _history(self) -> int:
        """What the agreements of the world's customers grant: all that there is, and 730 days at least."""
        return max(_HISTORY_DAYS, self.bank.started - self.bank.world.opening + 120)

    def _uuid(self, customer: Customer, kind: str) -> str:
        tail = digest(18, self.bank.world.seed, kind, customer.ref)
        return f"{customer.index:08x}-{tail[:4]}-4{tail[4:7]}-8{tail[7:10]}-{tail[6:18]}"

    def _find_by(self, found: str, kind: str) -> Customer | None:
        try:
            index = int(found[:8], 16)
        except ValueError:
            return None
        if index >= self.bank.world.size + GUESTS:
            return None
        customer = self.bank.world.customer(index)
        return customer if self.serves(customer) and self._uuid(customer, kind) == found else None

    def _find_account(self, request: Request) -> tuple[Account, Customer]:
        account_id = request.path_params["account_id"]
        account = self.bank.world.find_account(self.account_ref(account_id), self.bank.day)
        if account is not None and self.account_id(account) == account_id:
            customer = self.bank.world.customer(account.customer)
            if self.serves(customer) and not self.bank.dropped(customer):
                return account, customer
        raise _refusal(404, "Not found.", f"Account ID {account_id} not found")

    def _habits(self, account: Account) -> _Habits:
        return _HABITS[self.bank.world.customer(account.customer).institution.slug]

    def _find_institution(self, institution_id: str, status: int) -> Institution:
        for one in _INSTITUTIONS:
            if one.slug == institution_id:
                return one
        if status == 404:
            raise _refusal(404, "Not found.", "Not found.")
        raise _field_error("institution_id", "Unknown Institution ID", f"Institution {institution_id} not found")

    def _institution(self, one: Institution) -> dict[str, Any]:
        habits = _HABITS[one.slug]
        told: dict[str, Any] = {
            "id": one.slug,
            "name": one.name,
            "bic": one.routing,
            "transaction_total_days": str(self._history),
            "max_access_valid_for_days": "90" if one.country == "GB" else "180",
            "countries": [one.country, one.country],
            "logo": f"https://cdn-logos.gocardless.com/ais/{one.slug}.png",
        }
        if habits.separate_history:
            told["supported_features"] = ["account_selection", "separate_continuous_history_consent"]
            told["separate_continuous_history_consent"] = True
        return told

    def _consented(self, customer: Customer) -> int:
        """The day the agreement was accepted; of one that is over, so that it ended after the last readable day."""
        outage = self.bank.broken(customer)
        if outage is not None and outage.reason == "enrollment_inactive":
            return outage.as_of + 1 - _VALID_DAYS
        return self.bank.day - (self.bank.day + 7 * customer.index) % _RENEWED_DAYS

    def _requisition(self, customer: Customer) -> dict[str, Any]:
        outage = self.bank.broken(customer)
        states = {"account_locked": "SU", "credentials_invalid": "EX"}
        requisition_id = self.connection_id(customer)
        return {
            "id": requisition_id,
            "created": self._stamp(self._consented(customer)),
            "redirect": "https://app.example.com/connected",
            "status": states.get(outage.reason, "LN") if outage else "LN",
            "institution_id": customer.institution.slug,
            "agreement": self._uuid(customer, "agreement"),
            "reference": customer.customer_id,
            "accounts": [self.account_id(one) for one in self.bank.accounts(customer)],
            "user_language": "EN",
            "link": f"https://ob.gocardless.com/psd2/start/{requisition_id}/{customer.institution.slug}",
            "ssn": None,
            "account_selection": False,
            "redirect_immediate": False,
        }

    def _iban(self, account: Account) -> str:
        bank = self.bank.world.customer(account.customer).institution
        return f"{bank.country}00{bank.routing[:4]}{account.number}"

    def _stamp(self, day: int | None = None) -> str:
        return f"{date.fromordinal(day or self.bank.day)}T00:00:00.000000Z"

    def _amount(self, account: Account, amount: int, currency: str | None = None) -> dict[str, str]:
        signed = -amount if self._habits(account).flips else amount
        return {"amount": tell_money(signed) or "", "currency": currency or account.currency}

    def _balance(
        self, account: Account, kind: str, amount: int, day: int, currency: str | None = None
    ) -> dict[str, Any]:
        return {
            "balanceAmount": self._amount(account, amount, currency),
            "balanceType": kind,
            "referenceDate": date.fromordinal(day).isoformat(),
        }

    def _dated(self, account: Account, phase: Phase) -> int:
        return phase.day if phase.posted else phase.day + self._habits(account).pending_ahead

    def _ids(self, account: Account, row: Row) -> dict[str, str]:
        habits, phase = self._habits(account), row.phase
        if not phase.posted:
            return {}
        told = {"internalTransactionId": self.record_id(phase.ref)} if habits.internal else {}
        own = digest(20, "bank", phase.ref).upper()
        settled = sum(one.posted for one in row.movement.phases) == 1 and account.subtype == "checking"
        if not settled or habits.bank_id == "own" or row.movement.order % 3 == 0:
            return told | {"transactionId": f" {own} " if row.movement.order % 7 == 0 else own}
        named = {"blank": {"transactionId": " "}, "reused": {"transactionId": "9998"}}
        return told | named.get(habits.bank_id, {})

    def _row(self, account: Account, row: Row) -> bytes:
        movement, phase, enriched, running = row
        habits, on = self._habits(account), date.fromordinal(self._dated(account, phase)).isoformat()
        told: dict[str, Any] = self._ids(account, row)
        told |= {name: f"{on}T00:00:00.000Z" if name.endswith("Time") else on for name in habits.dates}
        told["transactionAmount"] = self._amount(account, phase.amount)
        if enriched:
            told["creditorName" if phase.amount < 0 else "debtorName"] = movement.party
        told["proprietaryBankTransactionCode"] = self.kind(movement.kind)
        told["remittanceInformationUnstructured"] = phase.text
        if habits.foreign and movement.order % 5 == 0:
            exchange = {"sourceCurrency": "EUR", "targetCurrency": account.currency, "exchangeRate": "11.25"}
            told["currencyExchange"] = exchange if movement.order % 2 else [exchange]
        if running is not None and habits.internal:
            told["balanceAfterTransaction"] = {
                "balanceAmount": self._amount(account, running),
                "balanceType": "interimBooked",
            }
        return _json.encode(told)

    def _sheet(self, account: Account, month: int, day: int) -> _Sheet:
        # A month at rest is the same on every later day, so it is held once; day 0 stands for "at rest".
        held = 0 if self.bank.books.at_rest(month, day) else day
        return self._sheets.get(
            (account.ref, month, held),
            lambda: _Sheet(
                [
                    (row.phase.day, row.phase.posted, self._row(account, row))
                    for row in self.bank.books.rows(account, month, day)
                ]
            ),
        )


def _endpoint(request: Request) -> str:
    return request.url.path.rstrip("/").rpartition("/")[2]


def _answer(value: object, status: int = 200) -> Response:
    return Response(_json.encode(value), status, media_type="application/json")


async def _read(request: Request) -> dict[str, Any]:
    try:
        return msgspec.json.decode(await request.body() or b"{}", type=dict[str, Any])
    except msgspec.DecodeError:
        raise _refusal(400, "JSON parse error", "The body is not an object of JSON") from None


def _day(request: Request, name: str) -> int | None:
    text = request.query_params.get(name)
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").toordinal()  # noqa: DTZ007 - only its day is used
    except ValueError:
        raise _field_error(name, "Incorrect date format", f"{name} must be YYYY-MM-DD") from None


def _count(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    return int(text[:9]) if text.isascii() and text.isdigit() else default
