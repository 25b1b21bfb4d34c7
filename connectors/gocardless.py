"""
GoCardless Bank Account Data (formerly Nordigen): European bank accounts, by a requisition for each connection and a pair of
tokens for the application.

Belongs here: all that is known of GoCardless' API for reading. Not here: agreements, requisitions and the link a customer
follows, which are made where a customer connects; the sign of an amount at the banks that turn it, which is turned where
marts are made; payments.

How transactions are read. There is no cursor of changes, no page and no mark of a removal: one answer holds all that is
dated `date_from` or later, and a bank may allow as few as four answers a day for each account and endpoint. So

- a sync makes one request for the transactions of an account: from 14 days before the last one that succeeded, bounded by
  the history that the agreement grants, and without bound at first. The booked rows of the answer are all of that window,
  the pending rows are all that there are;
- what is left of the day's requests is kept in the cursor, as the answer's headers tell it. Where none is left, nothing is
  asked and nothing is wrong. The last one is kept for the second half of the day, so that an hourly schedule does not use
  up the day in its first hours; a day that is not today, as in a replay, has no hours and no such half;
- a booked row is known by GoCardless' own id, else by the bank's, unless the bank gives one id to several rows (those ids
  are remembered in the cursor), else by what it says. A pending row has no identity at all: the set of an account is
  replaced as a whole.

Source: https://developer.gocardless.com/bank-account-data
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, ClassVar, Literal
from urllib.parse import quote

import msgspec
from pydantic import SecretStr

from connectors._auth import Bearer, checked
from connectors._errors import BadData, ConnectorError, Gone, Misconfigured, NeedsReauth, Retryable
from connectors._http import Classify, Content, Reply, Session, unexpected
from connectors._protocol import Account, Ask, Complete, Cursor, Page, Record, Rejected, Stream
from connectors._split import Fields, members, read, split
from connectors._values import day, decimal, identifier, shown

OVERLAP = timedelta(days=14)

_KEPT_FOR = timedelta(hours=12)
_ACCESS, _REFRESH = "access", "refresh"
_CREDENTIALS = ("secret_id", "secret_key")
_LINKING = frozenset({"CR", "GC", "UA", "SA"})
_ENDED = {"EX": "expired", "SU": "was suspended", "ER": "failed", "RJ": "was rejected"}
_ACCOUNT_ENDED = frozenset({"EXPIRED", "SUSPENDED"})
_REUSED_AT_MOST = 1000
_CODE = re.compile(r"[A-Za-z]{1,40}", re.ASCII)
_DAYS = re.compile(r"\d{1,5}", re.ASCII)
_SECONDS = re.compile(r"(\d{1,9})(?:\.\d+)?\s*seconds?\b", re.ASCII)
_WHOLE_SECONDS = re.compile(r"\d{1,9}", re.ASCII)
_RESETS = ("http_x_ratelimit_reset", "http_x_ratelimit_account_success_reset")
_RETRY_AFTER = re.compile(r"\d{1,9}(?:\.\d+)?", re.ASCII)


class _Pair(msgspec.Struct, gc=False):
    access: str
    access_expires: float
    refresh: str
    refresh_expires: float


class _Renewed(msgspec.Struct, gc=False):
    access: str
    access_expires: float


class _Requisition(msgspec.Struct, gc=False):
    id: str
    status: str
    accounts: list[str]
    agreement: str | None = None
    institution_id: str | None = None


class _Agreement(msgspec.Struct, gc=False):
    id: str
    access_valid_for_days: int | str
    max_historical_days: int | str
    accepted: str | None = None
    created: str | None = None


class _Account(msgspec.Struct, gc=False):
    id: str
    status: str
    institution_id: str | None = None


class _Details(msgspec.Struct, gc=False):
    account: dict[str, Any]


class _Money(msgspec.Struct, gc=False):
    amount: str
    currency: str


class _Balance(msgspec.Struct, gc=False):
    balanceAmount: _Money  # noqa: N815 (GoCardless' names)
    balanceType: str  # noqa: N815


class _Balances(msgspec.Struct, gc=False):
    balances: list[_Balance]


class _Transaction(msgspec.Struct, gc=False):
    """What identity and date of a row are taken from. Only the amount is always there; what it is not is left open."""

    transactionAmount: _Money  # noqa: N815
    transactionId: Any = None  # noqa: N815
    internalTransactionId: Any = None  # noqa: N815
    bookingDate: Any = None  # noqa: N815
    bookingDateTime: Any = None  # noqa: N815
    valueDate: Any = None  # noqa: N815
    valueDateTime: Any = None  # noqa: N815
    remittanceInformationUnstructured: Any = None  # noqa: N815
    remittanceInformationUnstructuredArray: Any = None  # noqa: N815
    remittanceInformationStructured: Any = None  # noqa: N815
    remittanceInformationStructuredArray: Any = None  # noqa: N815


class _Fault(msgspec.Struct):
    summary: Any = None
    detail: Any = None
    type: Any = None
    status_code: Any = None


class _Spent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """
    A cursor: the day of the last read, what it left of the day's requests and until when, and the bank's ids that
    several rows have.
    """

    synced_on: date | None = None
    remaining: int | None = None
    reset_at: datetime | None = None
    reused: list[str] = []


_ACCOUNT = Fields(_Account, "an account of GoCardless")
_DETAILS = Fields(_Details, "account details of GoCardless")
_BALANCES = Fields(_Balances, "balances of GoCardless")
_TRANSACTION = Fields(_Transaction, "a transaction of GoCardless", id_field="internalTransactionId")
_FAULT = msgspec.json.Decoder(_Fault)


class GoCardless:
    """One requisition at GoCardless."""

    provider: ClassVar[str] = "gocardless"
    lasting_accounts: ClassVar[bool] = True
    streams: ClassVar[tuple[Stream, ...]] = (
        Stream("accounts", "connection"),
        Stream("details", "account", every_days=30),
        Stream("balances", "account"),
        Stream("transactions", "account"),
    )

    @classmethod
    def secrets(cls, given: Mapping[str, object]) -> dict[str, SecretStr]:
        """What connecting a customer leaves: {"requisition_id": "…"}."""
        return checked(given, ("requisition_id",), "the secrets of a GoCardless requisition")

    @classmethod
    def external_id(cls, secrets: Mapping[str, SecretStr]) -> str:
        """The requisition's id, which opens nothing without the application's credentials."""
        return secrets["requisition_id"].get_secret_value()

    def __init__(self, session: Session) -> None:
        self._session = session
        self._requisition = self.external_id(session.secrets)
        self._statuses: dict[str, str] = {}
        self._history: timedelta | None = None

    async def accounts(self, today: date) -> tuple[Page, list[Account]]:
        """
        All accounts of the requisition, those that can be read first. Nothing of a bank is asked for here.

        Raises NeedsReauth, before any request that would be in vain, when the customer has to connect again.
        """
        requisition, asked = await self._linked()
        size = len(asked.body) + await self._agreed(requisition, today)
        records: list[Record] = []
        rejected: list[Rejected] = []
        listed: list[Account] = []
        for account_id in dict.fromkeys(requisition.accounts):
            reply = await self._get(_path(account_id), classify=_listed)
            size += len(reply.body)
            if not 200 <= reply.status < 300:
                continue  # it no longer exists, so it is not listed

            def build(row: _Account, payload: bytes, asked: str = account_id) -> Record:
                if identifier(row.id) != asked:
                    raise ValueError(f"id is {shown(row.id)}, and account {shown(asked)} was asked for")
                self._statuses[row.id] = row.status
                bank = row.institution_id or requisition.institution_id
                listed.append(Account(row.id, "other", None, False, _offered(row.status), bank, None))
                return Record(row.id, row.id, None, False, payload)

            made = read(reply.body.strip(), _ACCOUNT, build, account_id=account_id)
            if isinstance(made, Record):
                records.append(made)
            else:
                rejected.append(made)
        listed.sort(key=lambda one: self._statuses[one.id] != "READY")
        page = Page(
            stream="accounts",
            records=records,
            rejected=rejected,
            complete=Complete(None, None),
            request=asked.request,
            size=size,
        )
        return page, listed

    def read(self, stream: str, ask: Ask) -> AsyncIterator[Page]:
        """The stream's pages, of an account that the last call of `accounts` found ready."""
        if ask.account is None:
            raise ValueError(f"the stream {stream} is read account by account")
        if stream == "transactions":
            return self._transactions(ask.account, ask)
        if stream == "balances":
            return self._balances(ask.account, ask)
        if stream == "details":
            return self._details(ask.account)
        raise ValueError(f"GoCardless has no stream {stream} to be read")

    async def show(self, stream: str, account: Account, record_id: str) -> Record | None:
        """Always None: GoCardless shows no record by its id, so what a window's reads lack is not there."""
        return None

    async def _linked(self) -> tuple[_Requisition, Reply]:
        """The requisition, if the customer has connected and still is."""
        reply = await self._get(f"/requisitions/{quote(self._requisition, safe='')}/", classify=_requisition_fault)
        found = _decoded(reply, _Requisition, "a requisition")
        status = found.status
        if status in _ENDED:
            raise NeedsReauth(
                f"GoCardless reports that the requisition {_ENDED[status]} ({status}): {_CONNECT_AGAIN}", code=status
            )
        if status in _LINKING:
            raise NeedsReauth(
                f"GoCardless reports that the customer has not yet connected ({status}): he follows the requisition's"
                " link to its end, or connects again with a new requisition",
                code=status,
            )
        if status == "GA":
            raise Retryable("GoCardless is about to grant access (GA): the accounts are there soon", code=status)
        if status != "LN":
            raise BadData(
                f"expected a requisition's status of GoCardless' documentation, found {shown(status)}: nothing is read,"
                " since only LN means linked; if it stays so, this connector needs an update",
                scope="connection",
            )
        return found, reply

    async def _agreed(self, requisition: _Requisition, today: date) -> int:
        """Check the agreement, which says how long access lasts and how far back it reaches; its answer's size."""
        if requisition.agreement is None:
            return 0
        reply = await self._get(
            f"/agreements/enduser/{quote(requisition.agreement, safe='')}/", classify=_agreement_fault
        )
        found = _decoded(reply, _Agreement, "an end user agreement")
        self._history = _span(found.max_historical_days)
        lasts, began = _span(found.access_valid_for_days), _instant(found.accepted or found.created)
        if began is None or lasts is None:
            return len(reply.body)  # then GoCardless says itself when it is over
        until = began + lasts
        if _now(today) >= until:
            raise NeedsReauth(
                f"the customer's agreement with GoCardless was for {lasts.days} days from {began.date()} and ended on"
                f" {until.date()}: {_CONNECT_AGAIN}",
                code="EX",
            )
        return len(reply.body)

    async def _details(self, account: Account) -> AsyncIterator[Page]:
        self._readable(account)

        def build(row: _Details, payload: bytes) -> Record:
            return Record(account.id, account.id, None, False, payload)

        reply = await self._get(f"{_path(account.id)}details/", classify=_classify)
        made = read(reply.body.strip(), _DETAILS, build, account_id=account.id)
        yield _page("details", reply, [made])

    async def _balances(self, account: Account, ask: Ask) -> AsyncIterator[Page]:
        """One reading a day. A bank that lists no balance tells nothing, which is not zero."""
        self._readable(account)
        spent, daily = _spent(account, "balances", ask), ask.since is None and not ask.full
        if daily and _used_up(spent, ask.today):
            return
        empty = False

        def build(row: _Balances, payload: bytes) -> Record:
            nonlocal empty
            empty = not row.balances
            for one in row.balances:
                decimal(one.balanceAmount.amount)
            return Record(f"{account.id}:{ask.today}", account.id, ask.today, False, payload)

        reply = await self._get(f"{_path(account.id)}balances/", classify=_classify)
        made = read(reply.body.strip(), _BALANCES, build, account_id=account.id)
        cursor = _left(reply, ask.today) if daily else None
        yield _page("balances", reply, [] if empty else [made], cursor=cursor)

    async def _transactions(self, account: Account, ask: Ask) -> AsyncIterator[Page]:
        self._readable(account)
        spent, daily = _spent(account, "transactions", ask), ask.since is None and not ask.full
        if daily and _used_up(spent, ask.today):
            return
        start = self._start(spent, ask)
        params = {"date_from": start.isoformat()} if start else {}
        reply = await self._get(f"{_path(account.id)}transactions/", params, classify=_classify)
        booked, pending = _lists(reply)
        rows = _Rows(account.id, spent.reused)
        rows.add(booked, "booked")
        rows.add(pending, "pending")
        shown_since = start or rows.oldest
        yield Page(
            stream="transactions",
            records=rows.booked,
            rejected=rows.rejected,
            complete=Complete(account.id, shown_since, of="posted", doubt="next_sync") if shown_since else None,
            commit=False,
            request=reply.request,
            size=len(reply.body),
        )
        yield Page(
            stream="transactions",
            records=rows.pending,
            cursor=_left(reply, ask.today, reused=rows.reused) if daily else None,
            complete=Complete(account.id, None, of="pending", doubt="none"),
            request=reply.request,
            size=0,
        )

    def _start(self, spent: _Spent, ask: Ask) -> date | None:
        """The first day to ask for, None for all: never later than the overlap, nor earlier than what was granted."""
        if ask.full or (ask.since is None and spent.synced_on is None):
            return None
        start = min(ask.since or date.max, (spent.synced_on or ask.today) - OVERLAP)
        return start if self._history is None else max(start, ask.today - self._history)

    def _readable(self, account: Account) -> None:
        """Raises for an account that GoCardless lists and does not let be read, without a request that costs."""
        status = self._statuses.get(account.id, "READY")
        if status in _ACCOUNT_ENDED:
            raise NeedsReauth(
                f"GoCardless lists the account {shown(account.id)} as {status}: {_CONNECT_AGAIN}; the other accounts"
                " go on",
                code=status,
                scope="account",
            )
        if status != "READY":
            raise Retryable(
                f"GoCardless lists the account {shown(account.id)} as {shown(status)}, not as READY: it is read when it"
                " is; if it stays so, the customer connects again",
                code=status if _CODE.fullmatch(status) else None,
                scope="account",
            )

    async def _get(self, path: str, params: Mapping[str, str] | None = None, *, classify: Classify) -> Reply:
        """GET with the application's token: refreshed when it is refused, then minted anew, then given up."""
        tokens = self._session.tokens
        for _ in range(3):
            token = await tokens.get(_ACCESS, self._mint)
            reply = await self._session.get(path, params, classify=_unless_token(classify), auth=Bearer(token))
            if not _refuses_token(reply):
                return reply
            tokens.drop(_ACCESS, token)
        raise Misconfigured(
            f"GoCardless refuses with {reply.request} a token that it has just given: check the application's"
            " secrets, and that no proxy changes the Authorization header",
            code="401",
            scope="provider",
        )

    async def _mint(self) -> tuple[SecretStr, float]:
        """
        An access token: by the refresh token if there is one, else by the application's secrets.

        A refresh token is used once: should the token that came of it be refused, the next one is minted anew.
        """
        tokens = self._session.tokens
        refresh = tokens.held(_REFRESH)
        if refresh is not None:
            reply = await self._session.request(
                "POST",
                "/token/refresh/",
                content=Content(json={"refresh": refresh.get_secret_value()}),
                classify=_refresh_fault,
            )
            if 200 <= reply.status < 300:
                renewed = _decoded(reply, _Renewed, "an access token", scope="provider")
                return SecretStr(renewed.access), renewed.access_expires
            tokens.drop(_REFRESH, refresh)
        given = self._session.credentials
        if not all(name in given and given[name].get_secret_value() for name in _CREDENTIALS):
            raise Misconfigured(
                f"GoCardless expects the application's secrets, found none: {_SET_THEM}", scope="provider"
            )
        reply = await self._session.request(
            "POST",
            "/token/new/",
            content=Content(json={name: given[name].get_secret_value() for name in _CREDENTIALS}),
            classify=_token_fault,
        )
        pair = _decoded(reply, _Pair, "a pair of tokens", scope="provider")
        tokens.keep(_REFRESH, SecretStr(pair.refresh), pair.refresh_expires)
        return SecretStr(pair.access), pair.access_expires


_CONNECT_AGAIN = "the customer connects again, with a new agreement and a new requisition; until then it is not called"
_SET_THEM = "set LEDGERLAKE_GOCARDLESS_SECRET_ID and LEDGERLAKE_GOCARDLESS_SECRET_KEY to a user secret of the portal"


class _Rows:
    """
    The rows of one answer as records.

    `reused` are the bank's ids that are known to belong to several rows, from this answer or an earlier one.
    """

    def __init__(self, account_id: str, reused: Iterable[str]) -> None:
        self.booked: list[Record] = []
        self.pending: list[Record] = []
        self.rejected: list[Rejected] = []
        self.reused = set(reused)
        self._account = account_id
        self._equals: Counter[str] = Counter()

    @property
    def oldest(self) -> date | None:
        """The oldest day that a booked row is of."""
        return min((one.date for one in self.booked if one.date), default=None)

    def add(self, body: bytes, kind: Literal["booked", "pending"]) -> None:
        """Take an array of rows."""
        found: list[tuple[_Transaction, bytes, date | None]] = []

        def build(row: _Transaction, payload: bytes) -> Record:
            decimal(row.transactionAmount.amount)
            if not row.transactionAmount.currency.strip():
                raise ValueError("currency is blank")
            found.append((row, payload, _date(row)))
            return Record("", self._account, None, False, payload)

        self.rejected += [
            msgspec.structs.replace(one, record_id=one.record_id and f"{self._account}:{one.record_id}")
            for one in split(body, _TRANSACTION, build, account_id=self._account).rejected
        ]
        if kind == "pending":
            for row, payload, on in found:
                key = self._counted("pending", row)
                self.pending.append(Record(key, self._account, on, True, payload))
            return
        own = _Contents((_id(row.internalTransactionId), payload) for row, payload, _ in found)
        self.reused |= {
            key
            for key, times in Counter(
                _id(row.transactionId) for row, _, _ in found if not own.names(_id(row.internalTransactionId))
            ).items()
            if key and times > 1
        }
        seen = set()
        for row, payload, on in found:
            key, bank_key = _id(row.internalTransactionId), _id(row.transactionId)
            if own.names(key):
                key = f"{self._account}:{key}"
            elif bank_key and bank_key not in self.reused:
                key = f"{self._account}:tx:{bank_key}"
            else:
                key = self._counted("hash", row)
            if key not in seen:
                self.booked.append(Record(key, self._account, on, False, payload))
            seen.add(key)

    def _counted(self, kind: str, row: _Transaction) -> str:
        """An id of what the row says, with a number for each further one that says the same."""
        money = row.transactionAmount
        said = (
            [row.bookingDate, row.bookingDateTime, row.valueDate, row.valueDateTime],
            [format(decimal(money.amount).normalize(), "f"), money.currency],
            [row.remittanceInformationUnstructured, row.remittanceInformationUnstructuredArray],
            [row.remittanceInformationStructured, row.remittanceInformationStructuredArray],
        )
        digest = hashlib.blake2b(msgspec.json.encode((self._account, *said)), digest_size=16).hexdigest()
        key = f"{self._account}:{kind}:{digest}"
        self._equals[key] += 1
        return f"{key}:{self._equals[key]}"


class _Contents:
    """Which ids name one content: an id that comes with two different rows names neither."""

    def __init__(self, rows: Iterable[tuple[str, bytes]]) -> None:
        contents: dict[str, bytes] = {}
        self._several = {""}
        for key, payload in rows:
            if contents.setdefault(key, payload) != payload:
                self._several.add(key)

    def names(self, key: str) -> bool:
        return key not in self._several


def _id(value: object) -> str:
    """An id that can be one, without the space around it; nothing when it is missing, blank or unfit to be kept."""
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return text if len(text) <= 200 and text.isprintable() else ""


def _date(row: _Transaction) -> date | None:
    """The row's day: when it was booked, else its value date; None where the bank tells neither."""
    for value in (row.bookingDate, row.bookingDateTime, row.valueDate, row.valueDateTime):
        if isinstance(value, str) and value.strip():
            return day(value.strip()[:10])
    return None


def _lists(reply: Reply) -> tuple[bytes, bytes]:
    """The arrays of booked and of pending rows, as they came. A bank that knows no pending rows may leave theirs out."""
    told = members(reply.body, "transactions of GoCardless")
    lists = members(told.get("transactions", b"null"), "booked and pending transactions of GoCardless")
    pending = lists.get("pending", b"null")
    return lists.get("booked", b"null"), b"[]" if pending == b"null" else pending


def _spent(account: Account, stream: str, ask: Ask) -> _Spent:
    if ask.cursor is None:
        return _Spent()
    try:
        spent = msgspec.convert(ask.cursor, _Spent)
    except msgspec.ValidationError as error:
        raise Misconfigured(
            f"expected the cursor of the {stream} of {account.id} as this version writes it, found: {error}; read the"
            " connection in full (--full)",
            scope="stream",
        ) from None
    # Whatever is read, a row keeps its identity; how far the last sync came is of no matter to a read of a range.
    return _Spent(reused=spent.reused) if ask.full or ask.since else spent


def _used_up(spent: _Spent, today: date) -> bool:
    """Whether the next request has to wait, by what the last answer said of the day's budget."""
    if spent.remaining is None or spent.remaining > 1 or spent.reset_at is None:
        return False
    now = _now(today)
    if spent.remaining <= 0:
        return now < spent.reset_at
    return _live(today) and now < spent.reset_at - _KEPT_FOR


def _left(reply: Reply, today: date, *, reused: Iterable[str] = ()) -> Cursor:
    """The cursor that an answer leaves."""
    cursor: Cursor = {"synced_on": today.isoformat()}
    remaining = reply.headers.get("http_x_ratelimit_account_success_remaining", "")
    reset = reply.headers.get("http_x_ratelimit_account_success_reset", "")
    if _WHOLE_SECONDS.fullmatch(remaining) and _WHOLE_SECONDS.fullmatch(reset):
        cursor["remaining"] = int(remaining)
        cursor["reset_at"] = (_now(today) + timedelta(seconds=int(reset))).isoformat()
    if kept := sorted(reused)[:_REUSED_AT_MOST]:
        cursor["reused"] = kept
    return cursor


def _live(today: date) -> bool:
    return today == datetime.now(UTC).date()


def _now(today: date) -> datetime:
    """The time it is; of a day that is not today, its last second."""
    return datetime.now(UTC) if _live(today) else datetime.combine(today, time(23, 59, 59), UTC)


def _span(days: int | str) -> timedelta | None:
    """A number of days, which some answers write as text."""
    return timedelta(days=int(days)) if _DAYS.fullmatch(str(days)) else None


def _instant(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _offered(status: str) -> tuple[str, ...]:
    """An account that cannot be read is asked for one stream alone, so that it is told once."""
    if status != "READY":
        return ("transactions",)
    return tuple(stream.name for stream in GoCardless.streams if stream.scope == "account")


def _path(account_id: str) -> str:
    return f"/accounts/{quote(account_id, safe='')}/"


def _page(stream: str, reply: Reply, made: list[Record | Rejected], *, cursor: Cursor | None = None) -> Page:
    return Page(
        stream=stream,
        records=[one for one in made if isinstance(one, Record)],
        rejected=[one for one in made if isinstance(one, Rejected)],
        cursor=cursor,
        request=reply.request,
        size=len(reply.body),
    )


def _decoded(
    reply: Reply, kind: type[Any], what: str, *, scope: Literal["connection", "provider"] = "connection"
) -> Any:
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadData(
            f"expected {what} of GoCardless from {reply.request}, found {reply.describe()} of another shape: nothing is"
            " read; if it stays so, GoCardless has changed its protocol and this connector needs an update",
            scope=scope,
        ) from None


# What answers mean.


def _unless_token(classify: Classify) -> Classify:
    return lambda reply: None if _refuses_token(reply) else classify(reply)


def _refuses_token(reply: Reply) -> bool:
    """Whether it is the application's token that is refused, and not the customer's consent, which is 401 too."""
    if reply.status != 401:
        return False
    fault = _fault(reply)
    return fault.type is None and ("invalid token" in _text(fault.summary) or "token is invalid" in _text(fault.detail))


def _refresh_fault(reply: Reply) -> ConnectorError | None:
    return None if reply.status in {400, 401} and not reply.is_html else _token_fault(reply)


def _token_fault(reply: Reply) -> ConnectorError:
    if reply.status in {400, 401} and not reply.is_html:
        return Misconfigured(
            f"GoCardless refuses the application's secrets: {_SET_THEM}", code=str(reply.status), scope="provider"
        )
    return _classify(reply)


def _requisition_fault(reply: Reply) -> ConnectorError:
    if _is_missing(reply):
        return Gone(
            "GoCardless knows no such requisition: it was deleted, and its agreements with it; its records stay as they"
            " are, and a customer who connects again is added with `ledgerlake connect gocardless`",
            code="404",
        )
    return _classify(reply)


def _agreement_fault(reply: Reply) -> ConnectorError:
    if _is_missing(reply):
        return NeedsReauth(f"GoCardless no longer knows the customer's agreement: {_CONNECT_AGAIN}", code="404")
    return _classify(reply)


def _listed(reply: Reply) -> ConnectorError | None:
    """What an answer means to a request for an account that the requisition names: one that is no more is no fault."""
    error = None if _is_missing(reply) else _classify(reply)
    return None if isinstance(error, Gone) else error


def _is_missing(reply: Reply) -> bool:
    """Whether GoCardless itself says 404: a wrong base URL does so, too, in other words."""
    return reply.status == 404 and str(_fault(reply).status_code) == "404"


def _classify(reply: Reply) -> ConnectorError:
    """What an answer means that is not 2xx: the type decides where there is one, else status and words."""
    fault = _fault(reply)
    code = fault.type if isinstance(fault.type, str) and _CODE.fullmatch(fault.type) else None
    summary, said = _text(fault.summary), f"{_text(fault.summary)} {_text(fault.detail)}"
    if reply.is_html:
        return unexpected(reply)
    match reply.status:
        case 401 if code == "AccountInactiveError":
            return Gone(
                f"GoCardless reports for {reply.request} that the account was deactivated or no longer exists: its records"
                " stay as they are, and the other accounts go on",
                code=code,
                scope="account",
            )
        case 401 if code == "AccessExpiredError" or "end user agreement" in summary or "eua was valid" in said:
            return NeedsReauth(
                f"GoCardless reports for {reply.request} that the customer's access has expired or was revoked:"
                f" {_CONNECT_AGAIN}",
                code=code or "EUA",
            )
        case 401:
            return Misconfigured(
                f"GoCardless refuses {reply.request} for a reason that this version does not know; check the"
                " application's secrets and that no proxy takes the Authorization header away",
                code=code or "401",
            )
        case 402:
            return Misconfigured(
                "GoCardless asks for payment: the free use of the application's account is exceeded; see its plan in the"
                " portal",
                code=code or "402",
                scope="provider",
            )
        case 403 if "ip address" in said:
            return Misconfigured(
                "GoCardless does not let this machine's IP address in: add it to those that the portal allows",
                code=code or "403",
                scope="provider",
            )
        case 403 if code == "AccountAccessForbidden":
            return NeedsReauth(
                f"GoCardless reports for {reply.request} that the bank does not let the customer see this account:"
                f" {_CONNECT_AGAIN}; the other accounts go on",
                code=code,
                scope="account",
            )
        case 403 if "end user agreement" in said:
            return NeedsReauth(
                f"GoCardless reports that no valid agreement covers {reply.request}: {_CONNECT_AGAIN}",
                code=code or "403",
            )
        case 404 if _is_missing(reply):
            return Gone(
                f"GoCardless reports that {reply.request} does not exist: the account's records stay as they are, and the"
                " other accounts go on",
                code=code or "404",
                scope="account",
            )
        case 409:
            return NeedsReauth(
                f"GoCardless has suspended the account of {reply.request} after many errors: {_CONNECT_AGAIN}",
                code=code or "409",
            )
        case 429:
            return _busy(reply, code, said)
    error = unexpected(reply)
    error.code = code or error.code
    return error


def _busy(reply: Reply, code: str | None, said: str) -> ConnectorError:
    """Too many requests: wait for the longest of all the times that the answer names."""
    headers = reply.headers
    named = [headers.get(name, "") for name in _RESETS] + _SECONDS.findall(said)
    after = headers.get("retry-after", "").strip()
    waits = [float(text) for text in (*named, after) if _RETRY_AFTER.fullmatch(text)]
    daily = (
        code == "RateLimitError" or "/day" in said or headers.get("http_x_ratelimit_account_success_remaining") == "0"
    )
    error = Retryable(
        f"GoCardless allows no more requests like {reply.request}"
        + (" for this account today" if daily else " for the moment")
        + (f", for {max(waits):.0f} s" if waits else "")
        + ": it is asked again at a later sync",
        code=code or "429",
        scope="stream" if daily else "connection",
    )
    # Without any of them the kit looks for a date in Retry-After.
    error.retry_after = max(waits, default=None)
    return error


def _fault(reply: Reply) -> _Fault:
    try:
        return _FAULT.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Fault()


def _text(value: object) -> str:
    return value.lower() if isinstance(value, str) else ""
