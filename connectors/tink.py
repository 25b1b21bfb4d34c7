"""
Tink (tink.com): European bank accounts. One connection is one consent (`credentials_id`) of a user that the application
made at Tink (`external_user_id`).

Belongs here: all that is known of Tink's API. Not here: Tink Link and the making of users, which happen before a
connection is added; refreshing on demand, since Tink refreshes every six hours by itself; webhooks.

How a sync reads. The application's token is minted once for all connections; a single-use code and the user's token once
for this one. `provider-consents` then says which accounts are this consent's, and whether Tink can still see them: for a
consent that is over, the data endpoints go on answering 200 with old data. So its status, the end of its session and
the time of the last refresh decide, never an answer's status.

How transactions are read. There is no list of changes, but each account tells when it was last refreshed:

- an account that was not refreshed since the last sync is not asked for;
- else a window is read again: from 30 days before the last sync, or from the oldest record still pending, without an end,
  for a pending row has its expected booking date, and Tink's own default would end the window today;
- whether a page token outlives a change of the data is not documented: what a read lacks is believed at the second.

Source: https://docs.tink.com/api
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar, NamedTuple, TypeVar

import msgspec
from pydantic import SecretStr

from connectors._auth import Bearer, checked
from connectors._errors import BadData, ConnectorError, Gone, Misconfigured, NeedsReauth, Retryable
from connectors._http import Content, Params, Reply, Session, unexpected
from connectors._protocol import Account, Ask, Complete, Cursor, Page, Record, Rejected, Stream
from connectors._split import Fields, Split, members, split
from connectors._values import day, decimal, identifier, shown

PAGE_SIZE = 100
OVERLAP = timedelta(days=30)
STALE = timedelta(days=7)
"""Tink refreshes every six hours: a consent that is said to be fine and brought nothing for so long is not."""

_SCOPE = "accounts:read,balances:read,transactions:read,provider-consents:read"
_NO_END = "2099-12-31"
_RESTARTS = 1
_BARREN = 3
_CREDENTIALS = ("client_id", "client_secret")
_BAD_REQUEST = frozenset({400})
_NOTHING = frozenset({b"", b"null", b"{}"})
_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,79}")
_DIGITS = re.compile(r"-?\d{1,40}", re.ASCII)
_SCALE = re.compile(r"-?\d{1,3}", re.ASCII)
_IN_PROGRESS = frozenset({"CREATED", "AUTHENTICATING"})
_OVER = frozenset({"DELETED", "PERMANENT_ERROR"})
_USER_ACTS = frozenset({"AUTHENTICATION_ERROR", "SESSION_EXPIRED"})
_USER_ACTS_BY_TYPE = frozenset({"USER_LOGIN_ERROR", "AUTHORIZATION_ERROR"})


class _Value(msgspec.Struct, gc=False, rename="camel"):
    unscaled_value: str | int
    scale: str | int


class _Amount(msgspec.Struct, gc=False, rename="camel"):
    value: _Value
    currency_code: str


class _Reading(msgspec.Struct, gc=False):
    amount: _Amount


class _Balances(msgspec.Struct, gc=False):
    booked: _Reading | None = None
    available: _Reading | None = None


class _Refreshed(msgspec.Struct, gc=False, rename="camel"):
    last_refreshed: str | None = None


class _Account(msgspec.Struct, gc=False, rename="camel"):
    id: str
    type: str
    balances: msgspec.Raw = msgspec.Raw()
    dates: _Refreshed | None = None
    financial_institution_id: Any = None


class _Dates(msgspec.Struct, gc=False):
    booked: str | None = None


class _Transaction(msgspec.Struct, gc=False, rename="camel"):
    id: str
    account_id: str
    amount: _Amount
    status: str
    dates: _Dates | None = None


class _Why(msgspec.Struct, gc=False):
    reason: str | None = None


class _Trouble(msgspec.Struct, gc=False):
    type: str | None = None
    details: _Why | None = None


class _Consent(msgspec.Struct, gc=False, rename="camel"):
    credentials_id: str
    status: str | None = None
    session_expiry_date: int | None = None
    account_ids: list[str] | None = None
    detailed_error: _Trouble | None = None
    provider_name: Any = None


class _Token(msgspec.Struct, gc=False):
    access_token: str
    expires_in: float


class _Grant(msgspec.Struct, gc=False):
    code: str


class _Failure(msgspec.Struct, gc=False, rename="camel"):
    error_code: str = ""


_ACCOUNT = Fields(_Account, "an account of Tink")
_BALANCES = Fields(_Balances, "balances of Tink")
_TRANSACTION = Fields(_Transaction, "a transaction of Tink", account_field="accountId")
_CONSENT = Fields(_Consent, "a consent of Tink", id_field="credentialsId")
_TOKEN = msgspec.json.Decoder(_Token)
_GRANT = msgspec.json.Decoder(_Grant)
_FAILURE = msgspec.json.Decoder(_Failure)
_PAGE_TOKEN = msgspec.json.Decoder(str | None)

T = TypeVar("T", bound=msgspec.Struct)


class _Listed(NamedTuple):
    """What the list of accounts says of one: when it was refreshed, and its balances as they came."""

    refreshed: str | None
    balances: bytes


class Tink:
    """One consent at Tink."""

    provider: ClassVar[str] = "tink"
    lasting_accounts: ClassVar[bool] = True
    streams: ClassVar[tuple[Stream, ...]] = (
        Stream("accounts", "connection"),
        Stream("consents", "connection"),
        Stream("balances", "account"),
        Stream("transactions", "account"),
    )

    @classmethod
    def secrets(cls, given: Mapping[str, object]) -> dict[str, SecretStr]:
        """What names a consent: {"external_user_id": "…", "credentials_id": "…"}."""
        return checked(given, ("external_user_id", "credentials_id"), "what names a consent at Tink", ascii_only=False)

    @classmethod
    def external_id(cls, secrets: Mapping[str, SecretStr]) -> str:
        """The id of the consent's credentials."""
        return secrets["credentials_id"].get_secret_value()

    def __init__(self, session: Session) -> None:
        self._user = _User(session)
        self._credentials_id = session.secrets["credentials_id"].get_secret_value()
        self._consents: tuple[Page, ConnectorError | None] | None = None
        self._listed: dict[str, _Listed] = {}
        self._listing = ""
        self._settled = True
        self._ids: dict[str, set[str]] = {}

    async def accounts(self, today: date) -> tuple[Page, list[Account]]:
        """The accounts of the consent: of all that the user has, those that the consent names."""
        consent, page = await self._consent()
        verdict = _verdict(consent, today)
        if isinstance(verdict, Gone):
            raise verdict
        names = None if consent.account_ids is None else set(consent.account_ids)
        listed: dict[str, _Listed] = {}
        accounts: list[Account] = []

        def build(row: _Account, payload: bytes) -> Record:
            record = Record(identifier(row.id), row.id, None, False, payload)
            if (names is None or row.id in names) and row.id not in listed:
                listed[row.id] = _Listed(row.dates.last_refreshed if row.dates else None, bytes(row.balances))
                bank = _text(row.financial_institution_id), _text(consent.provider_name)
                accounts.append(Account(row.id, row.type, None, False, ("balances", "transactions"), *bank))
            return record

        records: list[Record] = []
        rejected: list[Rejected] = []
        replies: list[Reply] = []
        guard, token = _Guard(), None
        while token is not None or not replies:
            reply = await self._user.get("/data/v2/accounts", _paged({"pageSize": PAGE_SIZE}, token))
            body, token = _list(reply, "accounts")
            parts = split(body, _ACCOUNT, build)
            # Accounts of the user's other consents are theirs. A broken one that tells no id may be anybody's.
            records += [one for one in parts.records if one.id in listed]
            rejected += [one for one in parts.rejected if names is None or one.record_id in {None, *names}]
            replies.append(reply)
            guard.step(token, parts, reply)
        self._listed, self._listing = listed, replies[0].request
        self._settled = consent.status != "UPDATING"
        self._consents = page, verdict or _stale(listed, today)
        page = Page(
            stream="accounts",
            records=records,
            rejected=rejected,
            # What a consent in trouble does not name may come back with it.
            complete=Complete(None, None) if verdict is None else None,
            request=self._listing,
            size=sum(len(reply.body) for reply in replies),
        )
        return page, accounts

    def read(self, stream: str, ask: Ask) -> AsyncIterator[Page]:
        """The stream's pages."""
        if stream == "consents":
            return self._state(ask.today)
        if ask.account is None:
            raise ValueError(f"the stream {stream} is read account by account")
        if stream == "balances":
            return self._balances(ask.account, ask.today)
        if stream == "transactions":
            return self._transactions(ask.account, ask)
        raise ValueError(f"Tink has no stream {stream} to be read")

    async def show(self, stream: str, account: Account, record_id: str) -> Record | None:
        """
        One transaction as Tink shows it now, or None.

        Tink shows none by its id, so all of the account's are read: once to know their ids, again only for one of them.
        """
        if stream != "transactions":
            raise ValueError(f"Tink shows one record of transactions, not of {stream}")
        known = self._ids.get(account.id)
        if known is not None and record_id not in known:
            return None
        seen: set[str] = set()
        async for page in self._pages(account, _Plan(start=None)):
            for record in page.records:
                if record.id == record_id:
                    return record
                seen.add(record.id)
            for broken in page.rejected:
                if broken.record_id == record_id:
                    raise BadData(
                        f"expected a transaction from {page.request}, found that it breaks the contract: {broken.reason}",
                        scope="record",
                    )
                if broken.record_id is not None:
                    seen.add(broken.record_id)
        self._ids[account.id] = seen
        return None

    async def _consent(self) -> tuple[_Consent, Page]:
        """This connection's entry of the user's consents, and the page that holds it."""
        reply = await self._user.get("/api/v1/provider-consents")
        found: list[_Consent] = []

        def build(row: _Consent, payload: bytes) -> Record:
            if row.credentials_id == self._credentials_id:
                found.append(row)
            return Record(identifier(row.credentials_id), None, None, False, payload)

        parts = split(_list(reply, "providerConsents")[0], _CONSENT, build)
        if not found:
            broken = [one.reason for one in parts.rejected if one.record_id in {None, self._credentials_id}]
            if broken:
                raise BadData(
                    f"expected the consent {shown(self._credentials_id)} from {reply.request}, found one that breaks the"
                    f" contract: {broken[0]}"
                )
            raise Gone(
                f"Tink no longer lists the consent {shown(self._credentials_id)} of this user, so it was deleted: its"
                " records stay as they are; the customer connects again, and the new consent is added with `ledgerlake"
                " connect tink`",
                code="DELETED",
            )
        if found[0].account_ids is None and len(parts.records) + len(parts.rejected) > 1:
            raise BadData(
                f"expected accountIds with the consent {shown(self._credentials_id)} in {reply.request}, found none, and"
                " other consents of the same user: whose accounts are whose cannot be told"
            )
        page = Page(
            stream="consents",
            records=[one for one in parts.records if one.id == self._credentials_id][:1],
            complete=Complete(None, None),
            request=reply.request,
            size=len(reply.body),
        )
        return found[0], page

    async def _state(self, today: date) -> AsyncIterator[Page]:
        """The consent as the list of accounts found it, and then what it means."""
        if self._consents is None:
            await self.accounts(today)
        assert self._consents is not None
        page, verdict = self._consents
        yield page
        if verdict is not None:
            raise verdict

    async def _balances(self, account: Account, today: date) -> AsyncIterator[Page]:
        """The balances that came with the account, as a reading of the day on which it was last refreshed."""
        listed = self._listed.get(account.id)
        if listed is None or listed.balances.strip() in _NOTHING:
            return
        on = _day_of(listed.refreshed) or today
        parts = split(b"[" + listed.balances + b"]", _BALANCES, _reading(account.id, on), account_id=account.id)
        yield Page(
            stream="balances",
            records=parts.records,
            rejected=[msgspec.structs.replace(one, record_id=f"{account.id}:{on}") for one in parts.rejected],
            request=self._listing,
            size=0,
        )

    async def _transactions(self, account: Account, ask: Ask) -> AsyncIterator[Page]:
        listed = self._listed.get(account.id)
        # While Tink is refreshing, an account may be ahead of its transactions: then the next sync asks again.
        plan = await _plan(account, ask, listed.refreshed if listed and self._settled else None)
        if plan is not None:
            async for page in self._pages(account, plan):
                yield page

    async def _pages(self, account: Account, plan: _Plan) -> AsyncIterator[Page]:
        build, guard, token, restarts = _transaction(account.id), _Guard(), plan.page_token, _RESTARTS
        whole = token is None
        while True:
            window: dict[str, str | int] = {
                "accountIdIn": account.id,
                "pageSize": PAGE_SIZE,
                "bookedDateLte": _NO_END,
                **plan.window,
            }
            allow = _BAD_REQUEST if token else frozenset[int]()
            reply = await self._user.get("/data/v2/transactions", _paged(window, token), allow=allow)
            if reply.status in allow:
                # The page to go on from is gone: begin again at the top.
                if whole and not restarts:
                    raise Retryable(
                        f"expected the next page from {reply.request}, found that its token was refused, twice in one read:"
                        " what came is stored, the next sync reads the window again",
                        code=_code(reply) or "400",
                        scope="stream",
                    )
                restarts -= whole
                plan, guard, token, whole = plan.afresh, _Guard(), None, True
                continue
            body, token = _list(reply, "transactions")
            parts = split(body, _TRANSACTION, build, account_id=account.id)
            yield Page(
                stream="transactions",
                records=parts.records,
                rejected=parts.rejected,
                cursor=plan.after if token is None else plan.at(token),
                complete=Complete(account.id, plan.start) if token is None and whole else None,
                request=reply.request,
                size=len(reply.body),
            )
            if token is None:
                return
            guard.step(token, parts, reply)


class _User:
    """The user's token, minted once a sync and again when it is refused, and the requests made with it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._external_user_id = session.secrets["external_user_id"].get_secret_value()
        self._token: SecretStr | None = None

    async def get(self, path: str, params: Params | None = None, *, allow: frozenset[int] = frozenset()) -> Reply:
        """GET as this user; answers of a status in `allow` are handed back."""

        def classify(reply: Reply) -> ConnectorError | None:
            return None if reply.status in {401, *allow} and not reply.is_html else _classify(reply)

        for _ in range(2):
            token = self._token = self._token or await self._mint()
            reply = await self._session.get(path, params, classify=classify, auth=Bearer(token))
            if reply.status != 401:
                return reply
            self._token = None
        raise Misconfigured(
            f"Tink refuses a token that it has just given, for {reply.request}: check that no proxy takes the"
            " Authorization header away",
            code=_code(reply) or "401",
        )

    async def _mint(self) -> SecretStr:
        """A token of the user, for a code that works once: an answer that was lost on its way has used it up."""
        for _ in range(2):
            content = _order(self._session, grant_type="authorization_code", code=await self._grant())
            reply = await self._session.post(
                "/api/v1/oauth/token", content=content, classify=_unless({400, 401, 403, 404, 409})
            )
            if reply.status < 300:
                return _token(reply)[0]
        if reply.status in {401, 403}:
            raise _wrong_credentials(reply)
        raise BadData(
            f"Tink refuses a code that it has just given, at {reply.request} (HTTP {reply.status}): its protocol takes"
            " each once",
            code=_code(reply) or str(reply.status),
        )

    async def _grant(self) -> str:
        """A code for a token of the user, by the application's own token."""
        tokens = self._session.tokens
        content = Content(form={"external_user_id": self._external_user_id, "scope": _SCOPE})
        for _ in range(2):
            token = await tokens.get("client", self._mint_client)
            reply = await self._session.post(
                "/api/v1/oauth/authorization-grant",
                content=content,
                classify=_unless({400, 401, 404}),
                auth=Bearer(token),
            )
            if reply.status != 401:
                break
            tokens.drop("client", token)
        match reply.status:
            case 401:
                raise _wrong_credentials(reply)
            case 404:
                raise Gone(
                    "Tink knows no user of this connection's external_user_id: the user was deleted, with all its data; the"
                    " records here stay as they are. The customer connects again, and the new consent is added with"
                    " `ledgerlake connect tink`",
                    code=_code(reply) or "404",
                )
            case 400:
                raise Misconfigured(
                    f"Tink refuses to grant {_SCOPE} for this connection's external_user_id: check that the id is right,"
                    " and that the application has these scopes in Tink's console",
                    code=_code(reply) or "400",
                )
        return _decode(reply, _GRANT).code

    async def _mint_client(self) -> tuple[SecretStr, float]:
        content = _order(self._session, grant_type="client_credentials", scope="authorization:grant")
        reply = await self._session.post("/api/v1/oauth/token", content=content, classify=_unless({400, 401, 403}))
        if reply.status >= 300:
            raise _wrong_credentials(reply)
        return _token(reply)


class _Plan(msgspec.Struct, frozen=True, kw_only=True):
    """
    How far a read of transactions goes back (`start`, None: all), from which page, and the cursors it leaves behind.

    `first` is how a first read began, kept between its pages so that it can go on where it stopped; `now` is how it
    would begin today.
    """

    start: date | None
    page_token: str | None = None
    first: Cursor | None = None
    after: Cursor | None = None
    now: Cursor | None = None

    @property
    def window(self) -> dict[str, str]:
        return {"bookedDateGte": self.start.isoformat()} if self.start else {}

    def at(self, page_token: str) -> Cursor | None:
        """The cursor between two pages."""
        return None if self.first is None else {"backfill": {"page_token": page_token, **self.first}}

    @property
    def afresh(self) -> _Plan:
        """The same read, begun again from the top."""
        return self if self.first is None else _first(self.now)


def _first(now: Cursor | None) -> _Plan:
    return _Plan(start=None, first=now, after=now, now=now)


class _Backfill(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    page_token: str
    synced_on: date
    refreshed: str | None = None


class _Cursor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    synced_on: date | None = None
    refreshed: str | None = None
    backfill: _Backfill | None = None


async def _plan(account: Account, ask: Ask, refreshed: str | None) -> _Plan | None:
    """What to read of an account that was last refreshed at this time; None: nothing, since it brought nothing new."""
    if ask.full:
        return _Plan(start=None)
    if ask.since is not None:
        return _Plan(start=ask.since)
    now: Cursor = {"refreshed": refreshed, "synced_on": ask.today.isoformat()}
    try:
        cursor = msgspec.convert(ask.cursor or {}, _Cursor)
    except msgspec.ValidationError as error:
        raise Misconfigured(
            f"expected the cursor of the transactions of {account.id} as this version writes it, found: {error}; read"
            " the connection in full (--full)",
            scope="stream",
        ) from None
    if (begun := cursor.backfill) is not None:
        first: Cursor = {"refreshed": begun.refreshed, "synced_on": begun.synced_on.isoformat()}
        return _Plan(start=None, page_token=begun.page_token, first=first, after=first, now=now)
    if cursor.synced_on is None:
        return _first(now)
    if refreshed is not None and refreshed == cursor.refreshed:
        return None
    start = cursor.synced_on - OVERLAP
    pending = await ask.known.oldest_pending()
    return _Plan(start=min(start, pending) if pending is not None else start, after=now)


class _Guard:
    """Notices that paging does not end: a token that comes again, or page after page that brings nothing new."""

    def __init__(self) -> None:
        self._tokens: set[str] = set()
        self._ids: set[str] = set()
        self._barren = 0

    def step(self, token: str | None, parts: Split, reply: Reply) -> None:
        """Take a page into account; `token` is where it says to go on, None at the end."""
        if token is None:
            return
        known = len(self._ids)
        self._ids.update(one.id for one in parts.records)
        self._ids.update(one.record_id for one in parts.rejected if one.record_id is not None)
        self._barren = self._barren + 1 if len(self._ids) == known else 0
        if token in self._tokens or self._barren == _BARREN:
            found = "that the page token repeats" if token in self._tokens else f"{_BARREN} pages with nothing new"
            raise Retryable(
                f"expected more rows after {reply.request}, found {found}: what came is stored, but the end was not"
                " reached, try again later",
                scope="stream",
            )
        self._tokens.add(token)


def _verdict(consent: _Consent, today: date) -> ConnectorError | None:
    """What the consent's state means; None: its data are as new as Tink can make them."""
    status, trouble = consent.status or "", consent.detailed_error or _Trouble()
    reason = (trouble.details.reason if trouble.details else None) or ""
    code = ".".join(one for one in (status, reason) if _CODE.fullmatch(one))
    found = f"Tink reports {code} for this consent"
    failed_for_now = status == "TEMPORARY_ERROR"
    if status in _OVER or (failed_for_now and trouble.type == "ACCOUNT_INFORMATION_ERROR"):
        return Gone(
            f"{found}: it is over for good, and its records stay as they are; the customer connects again, and the new"
            " consent is added with `ledgerlake connect tink`",
            code=code,
        )
    ended = _day_of_millis(consent.session_expiry_date)
    asks_user = status in _USER_ACTS or status.startswith("AWAITING_")
    if asks_user or (failed_for_now and trouble.type in _USER_ACTS_BY_TYPE):
        why = found
    elif ended is not None and ended < today:
        why, code = f"the session of this consent ended on {ended}", "SESSION_EXPIRED"
    else:
        why = ""
    if why:
        return NeedsReauth(
            f"{why}: the customer has to sign in at the bank again (Tink Link's update-consent, with this"
            " credentials_id); until then Tink shows old data, and is not called",
            code=code,
        )
    if failed_for_now and reason == "LICENSED_PARTY_REJECTED":
        return Misconfigured(f"{found}: the bank rejects the licence under which Tink reads; ask Tink", code=code)
    if failed_for_now:
        return Retryable(
            f"{found}: the bank or Tink is in trouble, and Tink tries again by itself; what it has may be old",
            code=code,
        )
    if status in _IN_PROGRESS:
        return Retryable(f"{found}: the customer is still connecting, try again later", code=code)
    return None


def _stale(listed: Mapping[str, _Listed], today: date) -> ConnectorError | None:
    """What it means that no account was refreshed for long, though the consent is said to be fine."""
    days = [on for one in listed.values() if (on := _day_of(one.refreshed)) is not None]
    if not days or today - max(days) <= STALE:
        return None
    return Retryable(
        f"expected a refresh within {STALE.days} days, found the last one on {max(days)} and no trouble reported: what"
        " Tink shows is old; if it stays so, the customer signs in again (Tink Link's update-consent)",
        code="STALE",
    )


def _day_of(time: str | None) -> date | None:
    try:
        return datetime.fromisoformat(time).astimezone(UTC).date() if time else None
    except (ValueError, OverflowError):
        return None


def _day_of_millis(millis: int | None) -> date | None:
    try:
        return datetime.fromtimestamp(millis / 1000, UTC).date() if millis else None
    except (ValueError, OverflowError, OSError):
        return None


def _check(amount: _Amount) -> None:
    """An amount is unscaledValue x 10^-scale: two integers, as text or, from some endpoints, as numbers."""
    unscaled, scale = str(amount.value.unscaled_value), str(amount.value.scale)
    if not _DIGITS.fullmatch(unscaled) or not _SCALE.fullmatch(scale):
        raise ValueError(f"amount of unscaledValue {shown(unscaled)} and scale {shown(scale)} is not of two integers")
    decimal(f"{unscaled}e{-int(scale)}")
    if not amount.currency_code.strip():
        raise ValueError("currencyCode is empty")


def _reading(account_id: str, on: date) -> Callable[[_Balances, bytes], Record]:
    def build(row: _Balances, payload: bytes) -> Record:
        readings = [one.amount for one in (row.booked, row.available) if one is not None]
        for amount in readings:
            _check(amount)
        if len({amount.currency_code for amount in readings}) != 1:
            raise ValueError("expected booked, available or both, in one currency")
        return Record(f"{account_id}:{on}", account_id, on, False, payload)

    return build


def _transaction(account_id: str) -> Callable[[_Transaction, bytes], Record]:
    def build(row: _Transaction, payload: bytes) -> Record:
        if row.account_id != account_id:
            raise ValueError(f"accountId is {shown(row.account_id)}, and account {shown(account_id)} was asked for")
        _check(row.amount)
        booked = row.dates.booked if row.dates else None
        return Record(identifier(row.id), account_id, day(booked) if booked else None, row.status == "PENDING", payload)

    return build


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _paged(params: Mapping[str, str | int], token: str | None) -> Params:
    return {**params, "pageToken": token} if token else params


def _list(reply: Reply, name: str) -> tuple[bytes, str | None]:
    """The list in an answer, and the token of its next page; a server may leave out a list that is empty."""
    found = members(reply.body, f"{{{name}: […]}}")
    token, wrong = None, "" if name in found or "nextPageToken" in found else f"no {name}"
    try:
        token = _PAGE_TOKEN.decode(found.get("nextPageToken", b"null"))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        wrong = f"a nextPageToken that is no text: {error}"
    if wrong:
        raise BadData(f"expected {name} and nextPageToken from {reply.request}, found {wrong}", scope="stream")
    return found.get(name, b"[]"), token or None


def _decode(reply: Reply, decoder: msgspec.json.Decoder[T]) -> T:
    try:
        return decoder.decode(reply.body)
    except msgspec.ValidationError as error:
        wrong = str(error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        wrong = type(error).__name__
    raise BadData(f"expected a code or a token from {reply.request}, found something else: {wrong}")


def _token(reply: Reply) -> tuple[SecretStr, float]:
    token = _decode(reply, _TOKEN)
    if not token.access_token.isascii() or not token.access_token.isprintable() or not token.access_token.strip():
        raise BadData(f"expected an access_token that a header can hold from {reply.request}, found another")
    return SecretStr(token.access_token), token.expires_in


def _order(session: Session, **asked: str) -> Content:
    """A form for a token, with the application's credentials as the operator set them."""
    given = session.credentials
    if not all(name in given and given[name].get_secret_value().strip() for name in _CREDENTIALS):
        raise Misconfigured(
            "expected the application's credentials at Tink, found none or only one of the two; set"
            " LEDGERLAKE_TINK_CLIENT_ID and LEDGERLAKE_TINK_CLIENT_SECRET, from Tink's console",
            scope="provider",
        )
    return Content(form={name: given[name].get_secret_value() for name in _CREDENTIALS} | asked)


def _wrong_credentials(reply: Reply) -> Misconfigured:
    return Misconfigured(
        f"Tink refuses the application at {reply.request} (HTTP {reply.status}): check LEDGERLAKE_TINK_CLIENT_ID and"
        " LEDGERLAKE_TINK_CLIENT_SECRET, and that the application has the scope authorization:grant",
        code=_code(reply) or str(reply.status),
        scope="provider",
    )


def _unless(statuses: set[int]) -> Callable[[Reply], ConnectorError | None]:
    """Hand back answers of these statuses, which the caller knows how to read."""

    def classify(reply: Reply) -> ConnectorError | None:
        meant = reply.status in statuses and not reply.is_html and "RATE_LIMITED" not in _code(reply)
        return None if meant else _classify(reply)

    return classify


def _classify(reply: Reply) -> ConnectorError:
    """What an answer means that is not 2xx. The status decides: the body's shape is not documented."""
    code = _code(reply)
    if reply.is_html:
        return unexpected(reply)
    if reply.status == 429 or "RATE_LIMITED" in code:
        return Retryable(f"Tink says that {reply.request} came too often: try again later", code=code or "429")
    if reply.status == 409:
        return Retryable(f"Tink is busy with what {reply.request} concerns: try again later", code=code or "409")
    if reply.status == 403:
        return Misconfigured(
            f"Tink refuses {reply.request} for want of a scope: give the application {_SCOPE} in Tink's console",
            code=code or "403",
            scope="provider",
        )
    error = unexpected(reply)
    error.code = code or error.code
    return error


def _code(reply: Reply) -> str:
    """Tink's code, or nothing: whatever does not look like one is not repeated, since it could be anything."""
    try:
        code = _FAILURE.decode(reply.body).error_code
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return code if _CODE.fullmatch(code) else ""
