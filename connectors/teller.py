"""
Teller (teller.io): US bank accounts, by an access token for each enrollment and a certificate for the application.

Belongs here: all that is known of Teller's API. Not here: the sign of an amount, which depends on the kind of account
and is turned where marts are made; payments; webhooks.

How transactions are read. Teller lists them newest first, filters by `start_date`, and pages backwards from an id
(`from_id`, exclusive). There is no cursor of changes and no mark of the last page, so

- a sync reads a window again: from 10 days before the last sync, or from the oldest record still pending, to now;
- pages go on from the oldest *posted* row of the last page, because a pending row may vanish between two requests;
- a page that is not full proves nothing, since a server may cap or cut pages. A read ends at an empty page, or when
  a posted row from before the window has come. For that, the window is opened as far as the last row known before
  it: in a list in order of date, whoever sees that row has seen the window.

Source: https://teller.io/docs/api
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import date, timedelta
from typing import Any, ClassVar, Literal, TypeVar
from urllib.parse import quote

import httpx
import msgspec
from pydantic import SecretStr

from connectors._auth import checked
from connectors._errors import BadData, ConnectorError, Gone, Misconfigured, NeedsReauth, Retryable
from connectors._http import Classify, Reply, Session, unexpected
from connectors._protocol import Account, Ask, Complete, Cursor, Page, Record, Stream
from connectors._split import Fields, Split, read, split
from connectors._values import day, decimal, identifier, shown

COUNT = 500
OVERLAP = timedelta(days=10)

_VERSION = {"Teller-Version": "2020-10-12"}
_UNVERIFIED = ("account_number_verification_pending", "account_number_verification_expired")
_RESTARTS = 1


class _Object(msgspec.Struct, gc=False):
    """An object, whatever it holds."""


class _Account(msgspec.Struct, gc=False):
    id: str
    type: str
    status: str
    links: dict[str, Any]
    currency: str | None = None
    institution: Any = None


class _Transaction(msgspec.Struct, gc=False):
    id: str
    account_id: str
    amount: str
    date: str
    status: Literal["posted", "pending"]
    description: str | None = None
    details: _Object | None = None


class _Balances(msgspec.Struct, gc=False):
    account_id: str
    ledger: str | None = None
    available: str | None = None


class _Details(msgspec.Struct, gc=False):
    account_id: str


class _Owned(msgspec.Struct, gc=False):
    id: str


class _Identity(msgspec.Struct, gc=False):
    account: _Owned
    owners: list[msgspec.Raw]


class _Fault(msgspec.Struct):
    code: str = ""
    message: str = ""


class _Failure(msgspec.Struct):
    error: _Fault


_ACCOUNT = Fields(_Account, "an account of Teller")
_TRANSACTION = Fields(_Transaction, "a transaction of Teller")
_BALANCES = Fields(_Balances, "balances of Teller")
_DETAILS = Fields(_Details, "account details of Teller")
_IDENTITY = Fields(_Identity, "an identity of Teller")
_FAILURE = msgspec.json.Decoder(_Failure)
_CODE = re.compile(r"[a-z_]{1,40}(?:\.[a-z_]{1,40}){0,4}")

T = TypeVar("T", bound=msgspec.Struct)


class Teller:
    """One enrollment at Teller."""

    provider: ClassVar[str] = "teller"
    lasting_accounts: ClassVar[bool] = False
    streams: ClassVar[tuple[Stream, ...]] = (
        Stream("accounts", "connection"),
        Stream("balances", "account"),
        Stream("transactions", "account"),
        Stream("details", "account", every_days=30),
        Stream("identity", "connection", every_days=30),
    )

    @classmethod
    def secrets(cls, given: Mapping[str, object]) -> dict[str, SecretStr]:
        """What Teller Connect hands over: {"access_token": "token_…", "enrollment_id": "enr_…"}."""
        return checked(given, ("access_token", "enrollment_id"), "the secrets of a Teller enrollment")

    @classmethod
    def external_id(cls, secrets: Mapping[str, SecretStr]) -> str:
        """The enrollment's id, `enr_…`."""
        return secrets["enrollment_id"].get_secret_value()

    def __init__(self, session: Session) -> None:
        self._session = session
        self._auth = httpx.BasicAuth(session.secrets["access_token"].get_secret_value(), "")

    async def accounts(self, today: date) -> tuple[Page, list[Account]]:
        """All accounts of the enrollment. A closed one is listed, with no streams to call."""
        reply = await self._get("/accounts", classify=_classify)
        listed: list[Account] = []

        def build(row: _Account, payload: bytes) -> Record:
            record = Record(identifier(row.id), row.id, None, False, payload)
            listed.append(_account(row))
            return record

        parts = split(reply.body, _ACCOUNT, build)
        return _page("accounts", reply, parts, complete=Complete(None, None)), listed

    def read(self, stream: str, ask: Ask) -> AsyncIterator[Page]:
        """The stream's pages."""
        if stream == "identity":
            return self._identity()
        if ask.account is None:
            raise ValueError(f"the stream {stream} is read account by account")
        if stream == "transactions":
            return self._transactions(ask.account, ask)
        if stream == "balances":
            return self._balances(ask.account, ask.today)
        if stream == "details":
            return self._details(ask.account)
        raise ValueError(f"Teller has no stream {stream} to be read")

    async def show(self, stream: str, account: Account, record_id: str) -> Record | None:
        """One transaction as Teller shows it now, or None; of other streams nothing can be asked by id."""
        if stream != "transactions":
            raise ValueError(f"Teller shows one record of transactions, not of {stream}")

        def classify(reply: Reply) -> ConnectorError | None:
            return None if _not_offered(reply) else _classify(reply)

        reply = await self._get(f"{_path(account.id)}/transactions/{quote(record_id, safe='')}", classify=classify)
        if not 200 <= reply.status < 300:
            return None
        made = read(reply.body, _TRANSACTION, _transaction(account.id), account_id=account.id)
        if isinstance(made, Record):
            return made
        raise BadData(
            f"expected a transaction from {reply.request}, found that it breaks the contract: {made.reason}",
            scope="record",
        )

    async def _transactions(self, account: Account, ask: Ask) -> AsyncIterator[Page]:
        plan = await _plan(account, ask)
        window, from_id, build = plan.window, plan.from_id, _transaction(account.id)
        path = f"{_path(account.id)}/transactions"
        whole, restarts = from_id is None, _RESTARTS
        loop, order = _LoopGuard(), _Order(plan.start)
        while True:
            params = {"count": COUNT} | window | ({"from_id": from_id} if from_id else {})
            reply = await self._get(path, params, classify=_paging(account.id, from_id))
            if not 200 <= reply.status < 300:
                # The row to go on from is gone: begin again at the top.
                if not whole:
                    plan = plan.afresh(ask.today)
                elif restarts:
                    restarts -= 1
                else:
                    raise Retryable(
                        f"expected the page after {shown(from_id or '')} of {reply.request}, found that this row"
                        " vanished, twice in one read: what came is stored, the next sync reads the window again",
                        code="not_found",
                        scope="stream",
                    )
                from_id, whole, loop, order = None, True, _LoopGuard(), _Order(plan.start)
                continue
            parts = split(reply.body, _TRANSACTION, build, account_id=account.id)
            # `from_id` is exclusive, they say; where it is not, the last page is the row that it names, alone.
            alone = [record.id for record in parts.records] == [from_id] and not parts.rejected
            if alone or order.passed(parts) or not (parts.records or parts.rejected):
                complete = Complete(account.id, plan.start) if whole else None
                yield _page("transactions", reply, parts, cursor=plan.after, complete=complete)
                return
            from_id = _anchor(parts)
            yield _page("transactions", reply, parts, cursor=plan.at(from_id))
            if from_id is None:
                raise BadData(
                    f"expected an id to go on from in {reply.request}, found {len(parts.rejected)} records and none"
                    " with an id: they are in quarantine, and what lies behind them cannot be asked for",
                    scope="stream",
                )
            loop.step(from_id, reply)

    async def _balances(self, account: Account, today: date) -> AsyncIterator[Page]:
        def build(row: _Balances, payload: bytes) -> Record:
            _same_account(row.account_id, account.id)
            readings = [text for text in (row.ledger, row.available) if text is not None]
            if not readings:
                raise ValueError("neither ledger nor available is there, and one of them must be")
            for text in readings:
                decimal(text)
            return Record(f"{account.id}:{today}", account.id, today, False, payload)

        reply = await self._get(f"{_path(account.id)}/balances", classify=_of_account(account.id))
        yield _single("balances", reply, _BALANCES, build, account)

    async def _details(self, account: Account) -> AsyncIterator[Page]:
        def build(row: _Details, payload: bytes) -> Record:
            _same_account(row.account_id, account.id)
            return Record(account.id, account.id, None, False, payload)

        def classify(reply: Reply) -> ConnectorError | None:
            return None if _not_offered(reply) else _classify(reply)

        reply = await self._get(f"{_path(account.id)}/details", classify=classify)
        yield _single("details", reply, _DETAILS, build, account)

    async def _identity(self) -> AsyncIterator[Page]:
        def build(row: _Identity, payload: bytes) -> Record:
            return Record(identifier(row.account.id), row.account.id, None, False, payload)

        def classify(reply: Reply) -> ConnectorError | None:
            return None if _not_offered(reply) else _classify(reply)

        reply = await self._get("/identity", classify=classify)
        if not 200 <= reply.status < 300:
            yield _page("identity", reply, Split([], []))
        else:
            yield _page("identity", reply, split(reply.body, _IDENTITY, build), complete=Complete(None, None))

    async def _get(self, path: str, params: Mapping[str, str | int] | None = None, *, classify: Classify) -> Reply:
        return await self._session.get(path, params, classify=classify, auth=self._auth, headers=_VERSION)


class _Plan(msgspec.Struct, frozen=True, kw_only=True):
    """
    How far a read of transactions goes (`start`, None: all), from where, and which cursors it leaves behind.

    `opened` is what is asked for: `start`, or the day of the last row known before it.
    """

    start: date | None
    opened: date | None = None
    from_id: str | None = None
    began_on: date | None = None
    after: Cursor | None = None

    @property
    def window(self) -> dict[str, str]:
        return {"start_date": self.opened.isoformat()} if self.opened else {}

    def at(self, from_id: str | None) -> Cursor | None:
        """The cursor between two pages: only a first read leaves one, so that it can go on where it stopped."""
        if self.began_on is None or from_id is None:
            return None
        return {"backfill": {"from_id": from_id, "began_on": self.began_on.isoformat()}}

    def afresh(self, today: date) -> _Plan:
        """The first read, begun again from the top."""
        return _first(today, None)


def _first(began_on: date, from_id: str | None) -> _Plan:
    return _Plan(start=None, from_id=from_id, began_on=began_on, after={"synced_on": began_on.isoformat()})


async def _plan(account: Account, ask: Ask) -> _Plan:
    if ask.full:
        return _Plan(start=None)
    if ask.since is not None:
        return _Plan(start=ask.since, opened=await ask.known.newest_before(ask.since) or ask.since)
    if ask.cursor is None:
        return _first(ask.today, None)
    try:
        cursor = msgspec.convert(ask.cursor, _Cursor)
    except msgspec.ValidationError as error:
        raise Misconfigured(
            f"expected the cursor of the transactions of {account.id} as this version writes it, found: {error}; read"
            " the connection in full (--full)",
            scope="stream",
        ) from None
    if cursor.backfill is not None:
        return _first(cursor.backfill.began_on, cursor.backfill.from_id)
    if cursor.synced_on is None:
        return _first(ask.today, None)
    start = cursor.synced_on - OVERLAP
    pending = await ask.known.oldest_pending()
    if pending is not None:
        start = min(start, pending)
    opened = await ask.known.newest_before(start) or start
    return _Plan(start=start, opened=opened, after={"synced_on": ask.today.isoformat()})


class _Backfill(msgspec.Struct, frozen=True):
    from_id: str
    began_on: date


class _Cursor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    backfill: _Backfill | None = None
    synced_on: date | None = None


class _LoopGuard:
    """
    Notices that paging goes in a circle, of whatever length, while it remembers one id (Brent's algorithm).
    """

    def __init__(self) -> None:
        self._remembered: str | None = None
        self._steps = 0
        self._until = 1

    def step(self, from_id: str, reply: Reply) -> None:
        if from_id == self._remembered:
            raise Retryable(
                f"expected older rows from {reply.request}, found that the page token repeats ({shown(from_id)}): what"
                " came is stored, but the end was not reached, try again later",
                scope="stream",
            )
        self._steps += 1
        if self._steps == self._until:
            self._remembered, self._steps, self._until = from_id, 0, self._until * 2


class _Order:
    """
    Whether the rows so far prove that the window has been shown: all in order of date, down to a posted one from before it.

    A pending row is no such proof, since a server may list those before all others.
    """

    def __init__(self, start: date | None) -> None:
        self._start = start
        self._last = date.max
        self._kept = True

    def passed(self, parts: Split) -> bool:
        """Take the next page's rows into account."""
        self._kept = self._kept and not parts.rejected
        passed = False
        for record in parts.records:
            on = record.date or date.max
            self._kept = self._kept and on <= self._last
            self._last = on
            passed = passed or (self._start is not None and on < self._start and not record.pending)
        return self._kept and passed


def _anchor(parts: Split) -> str | None:
    """The id to page on: the oldest posted row's, else the last row's."""
    for record in reversed(parts.records):
        if not record.pending:
            return record.id
    if parts.records:
        return parts.records[-1].id
    return next((row.record_id for row in reversed(parts.rejected) if row.record_id), None)


def _transaction(account_id: str) -> Callable[[_Transaction, bytes], Record]:
    def build(row: _Transaction, payload: bytes) -> Record:
        if row.account_id != account_id:
            _same_account(row.account_id, account_id)
        decimal(row.amount)
        return Record(identifier(row.id), account_id, day(row.date), row.status == "pending", payload)

    return build


def _account(row: _Account) -> Account:
    closed = row.status == "closed"
    offered = (
        ()
        if closed
        else tuple(
            stream.name
            for stream in Teller.streams
            if stream.scope == "account" and row.links.get(stream.name) is not None
        )
    )
    bank = row.institution if isinstance(row.institution, dict) else {}
    names = (bank.get("id"), bank.get("name"))
    return Account(row.id, row.type, row.currency, closed, offered, *(x if isinstance(x, str) else None for x in names))


def _same_account(found: str, asked: str) -> None:
    if found != asked:
        raise ValueError(f"account_id is {shown(found)}, and account {shown(asked)} was asked for")


def _single(
    stream: str, reply: Reply, fields: Fields[T], build: Callable[[T, bytes], Record], account: Account
) -> Page:
    """The page of an answer that is one object, or that says that there is none."""
    if not 200 <= reply.status < 300:
        return _page(stream, reply, Split([], []))
    made = read(reply.body.strip(), fields, build, account_id=account.id)
    return _page(stream, reply, Split([made], []) if isinstance(made, Record) else Split([], [made]))


def _page(
    stream: str, reply: Reply, parts: Split, *, cursor: Cursor | None = None, complete: Complete | None = None
) -> Page:
    return Page(
        stream=stream,
        records=parts.records,
        rejected=parts.rejected,
        cursor=cursor,
        complete=complete,
        request=reply.request,
        size=len(reply.body),
    )


def _path(account_id: str) -> str:
    return f"/accounts/{quote(account_id, safe='')}"


def _not_offered(reply: Reply) -> bool:
    """Whether an answer says that this enrollment has no such resource, or not yet; it is no fault then."""
    code = _code(reply)
    unknown = reply.status in {404, 405, 501} and code in {"", "not_found"} and not reply.is_html
    return unknown or code in _UNVERIFIED


def _of_account(account_id: str) -> Classify:
    """What an answer means that is not 2xx, to a request for something of an account that Teller lists."""

    def classify(reply: Reply) -> ConnectorError | None:
        code = _code(reply)
        if code == "not_found":
            return BadData(
                f"Teller lists the account {shown(account_id)}, and says that {reply.request} does not exist: it is asked"
                " for again at the next sync; if it stays so, ask Teller",
                code=code,
                scope="account",
            )
        return _classify(reply)

    return classify


def _paging(account_id: str, from_id: str | None) -> Classify:
    def classify(reply: Reply) -> ConnectorError | None:
        return None if from_id and _code(reply) == "not_found" else _of_account(account_id)(reply)

    return classify


def _classify(reply: Reply) -> ConnectorError:
    """
    What an answer means that is not 2xx. The code decides where there is one: 404 alone is "disconnected" as well as
    "no such id".
    """
    code = _code(reply)
    if reply.is_html:
        return unexpected(reply)
    if code.startswith("enrollment.disconnected"):
        return NeedsReauth(
            f"Teller reports {code}: the customer has to sign in at the bank again (Teller Connect in update mode,"
            " with this enrollment's id); until then it is not called",
            code=code,
        )
    if code.startswith("account.closed"):
        return Gone(
            f"Teller reports {code} for {reply.request}: the account is closed, or Teller can no longer see it; its"
            " records stay as they are, and the other accounts go on",
            code=code,
            scope="account",
        )
    match reply.status:
        case 400 if "certificate" in _fault(reply).message.lower():
            return Misconfigured(
                "Teller expects the application's client certificate, found none that it accepts: set"
                " LEDGERLAKE_TELLER_CERTIFICATE and LEDGERLAKE_TELLER_PRIVATE_KEY to certificate.pem and"
                " private_key.pem of the application's teller.zip",
                code=code or None,
                scope="provider",
            )
        case 401:
            return Misconfigured(
                f"Teller expects an access token with {reply.request}, found none: check that no proxy takes the"
                " Authorization header away",
                code=code or None,
            )
        case 403:
            return Gone(
                "Teller reports that the access token is invalid or revoked: its records stay as they are; the"
                " customer enrols again, and the new enrollment is added with `ledgerlake connect teller`",
                code=code or None,
            )
        case 410:
            return Gone(
                f"Teller reports that {reply.request} is gone for good: its records stay as they are",
                code=code or None,
                scope="account",
            )
    error = unexpected(reply)
    error.code = code or error.code
    return error


def _fault(reply: Reply) -> _Fault:
    try:
        return _FAILURE.decode(reply.body).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Fault()


def _code(reply: Reply) -> str:
    """Teller's code, or nothing: whatever does not look like one is not repeated, since it could be anything."""
    code = _fault(reply).code
    return code if _CODE.fullmatch(code) else ""
