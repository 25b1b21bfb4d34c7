"""
Plaid (plaid.com): bank accounts in the US, Canada and Europe, by an access token for each Item and the application's keys.

Belongs here: all that is known of Plaid's API. Not here: the sign of an amount, which is turned where marts are made;
Link and its tokens; webhooks; anything that is billed by the call (live balances, refreshes).

How transactions are read. `/transactions/sync` tells what was added, modified and removed since a cursor, which is one
for the whole Item and so for all of its accounts.

- The pages of one loop count only together: none is committed before the last one, which brings the cursor. On any
  failure the loop begins again at the cursor that it started with, never at one from between two pages.
- Pages are in order of time. Of one page the additions count first, then the changes, then the removals.
- An Item whose data is not there yet answers with no rows and the cursor "": that is no cursor and no success.
- A stored cursor that Plaid no longer takes is given up for a read from the beginning, which ends in a new one.
- Sync cannot read a range: for that there is `/transactions/get`, paged by offset, whose total proves the end.

Plaid promises 24 months of history, so a record that is older than that and is not shown is not taken as removed.

Source: https://plaid.com/docs/api, version 2020-09-14
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Generator, Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, ClassVar

import httpx
import msgspec
from pydantic import SecretStr

from connectors._auth import checked
from connectors._errors import BadData, ConnectorError, Gone, Misconfigured, NeedsReauth, Retryable
from connectors._http import Classify, Content, Reply, Session, unexpected
from connectors._protocol import Account, Ask, Complete, Cursor, Page, Record, Rejected, Stream
from connectors._split import Fields, Split, members, read, split
from connectors._values import day, decimal, identifier, shown

COUNT = 500
HISTORY = timedelta(days=730)
RESTARTS = 3
BARREN = 10
BACKOFF = 30.0
"""Seconds after a 429: Plaid counts by the minute and does not say how long to wait."""

_VERSION = "2020-09-14"
_AHEAD = timedelta(days=31)  # a range is open to the future; Plaid wants an end
_NULL = msgspec.Raw(b"null")
_MUTATION = "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"
_COMPLETE = ("INITIAL_UPDATE_COMPLETE", "HISTORICAL_UPDATE_COMPLETE")
_REAUTH = frozenset(
    [
        "ITEM_LOGIN_REQUIRED",
        "ITEM_LOCKED",
        "INVALID_CREDENTIALS",
        "INVALID_MFA",
        "INSUFFICIENT_CREDENTIALS",
        "USER_SETUP_REQUIRED",
        "PASSWORD_RESET_REQUIRED",
        "ACCESS_NOT_GRANTED",
        "ADDITIONAL_CONSENT_REQUIRED",
        "MFA_NOT_SUPPORTED",
        "PENDING_EXPIRATION",
        "PENDING_DISCONNECT",
    ]
)
_GONE = frozenset(
    [
        "ITEM_NOT_FOUND",
        "ITEM_CONCURRENTLY_DELETED",
        "INVALID_ACCESS_TOKEN",
        "ITEM_NOT_SUPPORTED",
        "USER_PERMISSION_REVOKED",
        "INSTITUTION_NO_LONGER_SUPPORTED",
        "NO_ACCOUNTS",
        "PRODUCTS_NOT_SUPPORTED",
        "UNAUTHORIZED_INSTITUTION",
        "INSTITUTION_REGISTRATION_REQUIRED",
    ]
)
_DOWN = frozenset(
    [
        "INSTITUTION_DOWN",
        "INSTITUTION_NOT_RESPONDING",
        "INSTITUTION_NOT_AVAILABLE",
        "INTERNAL_SERVER_ERROR",
        "PLANNED_MAINTENANCE",
        "UNSUPPORTED_RESPONSE",
    ]
)
_REFUSED = frozenset(["MISSING_FIELDS", "UNKNOWN_FIELDS", "INVALID_FIELD", "INVALID_BODY"])


class _Balances(msgspec.Struct, gc=False):
    available: msgspec.Raw = _NULL
    current: msgspec.Raw = _NULL
    limit: msgspec.Raw = _NULL
    iso_currency_code: str | None = None
    unofficial_currency_code: str | None = None


class _Account(msgspec.Struct, gc=False):
    account_id: str
    type: str
    balances: _Balances


class _Transaction(msgspec.Struct, gc=False):
    transaction_id: str
    account_id: str
    amount: msgspec.Raw
    date: str
    pending: bool
    iso_currency_code: str | None = None
    unofficial_currency_code: str | None = None
    pending_transaction_id: str | None = None


class _Removed(msgspec.Struct, gc=False):
    transaction_id: str


class _Fault(msgspec.Struct):
    error_type: str = ""
    error_code: str = ""


class _Item(msgspec.Struct):
    item_id: str
    institution_id: str | None = None
    institution_name: str | None = None
    error: _Fault | None = None


class _Whole(msgspec.Struct):
    item: _Item


class _Cursor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    cursor: str


_ACCOUNT = Fields(_Account, "an account of Plaid", id_field="account_id")
_TRANSACTION = Fields(_Transaction, "a transaction of Plaid", id_field="transaction_id")
_REMOVED = Fields(_Removed, "a removed transaction of Plaid", id_field="")
_ITEM = Fields(_Whole, "an Item of Plaid", id_field="item_id")
_FAULT = msgspec.json.Decoder(_Fault)
_CODE = re.compile(r"[A-Z][A-Z_]{1,79}")


class Plaid:
    """One Item at Plaid."""

    provider: ClassVar[str] = "plaid"
    lasting_accounts: ClassVar[bool] = False
    streams: ClassVar[tuple[Stream, ...]] = (
        Stream("accounts", "connection"),
        Stream("balances", "connection"),
        Stream("transactions", "connection"),
        Stream("item", "connection"),
    )

    @classmethod
    def secrets(cls, given: Mapping[str, object]) -> dict[str, SecretStr]:
        """What the exchange of a public token gives: {"access_token": "access-…", "item_id": "…"}."""
        return checked(given, ("access_token", "item_id"), "the secrets of a Plaid Item")

    @classmethod
    def external_id(cls, secrets: Mapping[str, SecretStr]) -> str:
        """The Item's id."""
        return secrets["item_id"].get_secret_value()

    def __init__(self, session: Session) -> None:
        self._session = session
        self._listed: Reply | None = None

    async def accounts(self, today: date) -> tuple[Page, list[Account]]:
        """All accounts of the Item. A closed one is not listed; all streams are the Item's."""
        reply = await self._accounts_get()
        told = members(reply.body, "accounts and their Item")
        bank = _bank(told)
        listed: list[Account] = []

        def build(row: _Account, payload: bytes) -> Record:
            record = Record(identifier(row.account_id), row.account_id, None, False, payload)
            currency = row.balances.iso_currency_code or row.balances.unofficial_currency_code
            listed.append(Account(row.account_id, row.type, currency, False, (), *bank))
            return record

        parts = split(_list(told, "accounts"), _ACCOUNT, build)
        return _page("accounts", reply, parts, complete=Complete(None, None)), listed

    def read(self, stream: str, ask: Ask) -> AsyncIterator[Page]:
        """The stream's pages."""
        if stream == "balances":
            return self._balances(ask.today)
        if stream == "transactions":
            return self._range(ask.since, ask.today) if ask.since and not ask.full else self._changes(ask)
        if stream == "item":
            return self._item()
        raise ValueError(f"Plaid has no stream {stream} to be read")

    async def show(self, stream: str, account: Account, record_id: str) -> Record | None:
        """Plaid shows no single record."""
        raise ValueError(f"Plaid has no way to ask for one record of {stream}")

    async def _balances(self, today: date) -> AsyncIterator[Page]:
        """One reading an account and day: the balances that Plaid holds, as the answer with the accounts told them."""

        def build(row: _Account, payload: bytes) -> Record:
            readings = [raw for raw in (row.balances.available, row.balances.current) if _is_given(raw)]
            if not readings:
                raise ValueError("neither available nor current is there, and one of them must be")
            for raw in (*readings, row.balances.limit):
                if _is_given(raw):
                    _amount(raw)
            return Record(f"{identifier(row.account_id)}:{today}", row.account_id, today, False, payload)

        reply = self._listed or await self._accounts_get()
        accounts = _list(members(reply.body, "accounts and their Item"), "accounts")
        parts = split(accounts, _ACCOUNT, build)
        readings = [_of_day(one, today) for one in parts.rejected]
        yield _page("balances", reply, Split(parts.records, readings))

    async def _changes(self, ask: Ask) -> AsyncIterator[Page]:
        """The loop of `/transactions/sync`, from the stored cursor or from the beginning."""
        start = None if ask.full else _stored(ask.cursor)
        whole, restarts = ask.full, RESTARTS
        cursor, loop = start, _LoopGuard()
        while True:
            body = {"count": COUNT} | ({} if cursor is None else {"cursor": cursor})
            reply = await self._post("/transactions/sync", body, classify=_looping(started_at=start))
            if not _good(reply):
                yield _discard(reply)
                if _code(reply) != _MUTATION:
                    start, whole = None, True  # the cursor is not taken any more
                elif restarts:
                    restarts -= 1
                else:
                    raise Retryable(
                        f"expected the pages of {reply.request} to belong together, found that the transactions change"
                        f" while they are read, {RESTARTS + 1} times in a row: nothing of it is stored, the next sync"
                        " begins where this one began",
                        code=_MUTATION,
                        scope="stream",
                    )
                cursor, loop = start, _LoopGuard()
                continue
            delta = _Delta(reply)
            if delta.has_more:
                loop.step(delta, cursor, reply)
                for page in delta.pages(reply):
                    yield page
                cursor = delta.next_cursor
                continue
            ready = delta.next_cursor != "" and delta.status != "NOT_READY"
            for page in delta.pages(
                reply,
                cursor={"cursor": delta.next_cursor} if ready and not ask.full else None,
                complete=Complete(None, ask.today - HISTORY)
                if whole and ready and delta.status == "HISTORICAL_UPDATE_COMPLETE"
                else None,
                last=True,
            ):
                yield page
            if not ready and (delta.status not in _COMPLETE or not delta.is_empty):
                raise Retryable(
                    f"expected transactions from {reply.request}, found that Plaid has not fetched them yet: no cursor"
                    " is stored, the next sync begins where this one began",
                    code="NOT_READY",
                    scope="stream",
                )
            return

    async def _range(self, since: date, today: date) -> AsyncIterator[Page]:
        """All transactions of a range again, by `/transactions/get`: newest first, paged by offset, up to the total."""
        days = {"start_date": since.isoformat(), "end_date": (today + _AHEAD).isoformat()}
        total: int | None = None
        ids: set[str] = set()
        offset, without_id, restarts = 0, 0, RESTARTS
        while True:
            body = days | {"options": {"count": COUNT, "offset": offset}}
            reply = await self._post("/transactions/get", body, classify=_classify)
            told = members(reply.body, "transactions and their total")
            parts = split(_list(told, "transactions"), _TRANSACTION, _transaction)
            found, came = _value(told, "total_transactions", int), len(parts.records) + len(parts.rejected)
            ids |= {one.id for one in parts.records} | {one.record_id for one in parts.rejected if one.record_id}
            without_id += sum(one.record_id is None for one in parts.rejected)
            offset += came
            moved = found != (found if total is None else total) or (came == 0 and offset < found)
            ended = not moved and offset >= found
            # As many rows as there are, but not as many ids: one moved across a page's edge while another came twice.
            if moved or (ended and len(ids) + without_id != found):
                yield _page("transactions", reply, parts)
                if not restarts:
                    raise Retryable(
                        f"expected {found} transactions from {reply.request}, found that they change while they are"
                        f" read, {RESTARTS + 1} times in a row: what came is stored, try the range again later",
                        scope="stream",
                    )
                total, ids, offset, without_id, restarts = None, set(), 0, 0, restarts - 1
                continue
            total = found
            bound = max(since, today - HISTORY)
            yield _page("transactions", reply, parts, complete=Complete(None, bound) if ended else None)
            if ended:
                return

    async def _item(self) -> AsyncIterator[Page]:
        """
        The Item, with when Plaid last read the bank: an empty delta alone does not prove that it did.

        Raises what the Item's own error means, after its page: an Item that has to be signed in to again still answers.
        """
        reply = await self._post("/item/get", {}, classify=_classify)
        told = members(reply.body, "an Item and its status")
        fault: _Fault | None = None

        def build(row: _Whole, payload: bytes) -> Record:
            nonlocal fault
            fault = row.item.error
            return Record(identifier(row.item.item_id), None, None, False, payload)

        # Without the id of the request, which differs each time.
        kept = {name: raw for name, raw in told.items() if name in {"item", "status"}}
        payload = b"{" + b",".join(b'"%b":%b' % (name.encode(), raw) for name, raw in kept.items()) + b"}"
        made = read(payload, _ITEM, build)
        yield _page("item", reply, Split([made], []) if isinstance(made, Record) else Split([], [made]))
        if fault is not None and (error := _meaning(fault.error_type, _coded(fault.error_code), reply)) is not None:
            raise error

    async def _accounts_get(self) -> Reply:
        self._listed = await self._post("/accounts/get", {}, classify=_classify)
        return self._listed

    async def _post(self, path: str, body: Mapping[str, object], *, classify: Classify) -> Reply:
        content = Content({"access_token": self._session.secrets["access_token"].get_secret_value(), **body})
        return await self._session.post(
            path, content=content, classify=classify, auth=self._keys(), headers={"Plaid-Version": _VERSION}
        )

    def _keys(self) -> _Keys:
        given = {name: self._session.credentials.get(name, SecretStr("")) for name in ("client_id", "secret")}
        faults = [name for name, secret in given.items() if not _plain(secret.get_secret_value())]
        if faults:
            raise Misconfigured(
                f"expected the application's {' and '.join(faults)} at Plaid, printable and without space around, found"
                " none or another text: set LEDGERLAKE_PLAID_CLIENT_ID and LEDGERLAKE_PLAID_SECRET to the keys of"
                " Plaid's dashboard",
                scope="provider",
            )
        return _Keys(given["client_id"], given["secret"])


class _Keys(httpx.Auth):
    """The application's keys, put into the headers at the last moment, so that no frame and no log holds them."""

    def __init__(self, client_id: SecretStr, secret: SecretStr) -> None:
        self._client_id = client_id
        self._secret = secret

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["PLAID-CLIENT-ID"] = self._client_id.get_secret_value()
        request.headers["PLAID-SECRET"] = self._secret.get_secret_value()
        yield request


class _Delta:
    """One answer of `/transactions/sync`. Raises BadData when it is not what the protocol says."""

    def __init__(self, reply: Reply) -> None:
        told = members(reply.body, "added, modified and removed transactions")
        self.has_more = _value(told, "has_more", bool)
        self.next_cursor = _value(told, "next_cursor", str)
        self.status = _value(told, "transactions_update_status", str) if "transactions_update_status" in told else ""
        lists = [split(_list(told, name), _TRANSACTION, _transaction) for name in ("added", "modified")]
        removed = split(_list(told, "removed"), _REMOVED, _removal)
        self._removed = [record.id for record in removed.records]
        self._parts = Split(
            [record for parts in lists for record in parts.records],
            [one for parts in (*lists, removed) for one in parts.rejected],
        )

    @property
    def is_empty(self) -> bool:
        return not (self._removed or self._parts.records or self._parts.rejected)

    def pages(
        self, reply: Reply, *, cursor: Cursor | None = None, complete: Complete | None = None, last: bool = False
    ) -> list[Page]:
        """
        The pages of this answer: one, or two where a row is removed that it also brings.

        For removals of a page count before its records, and here the removal came after.
        """
        brought = {record.id for record in self._parts.records}
        if brought.isdisjoint(self._removed):
            first = _page("transactions", reply, self._parts, cursor=cursor, complete=complete, commit=last)
            return [msgspec.structs.replace(first, removed=self._removed)]
        then = _page("transactions", reply, Split([], []), cursor=cursor, complete=complete, commit=last)
        return [
            _page("transactions", reply, self._parts, commit=False),
            msgspec.structs.replace(then, removed=self._removed),
        ]


class _LoopGuard:
    """
    Notices that a loop does not end: cursors that go in a circle, of whatever length, while it remembers one (Brent's
    algorithm), or answer after answer without a change.
    """

    def __init__(self) -> None:
        self._remembered: str | None = None
        self._steps = 0
        self._until = 1
        self._barren = 0

    def step(self, delta: _Delta, current: str | None, reply: Reply) -> None:
        following = delta.next_cursor
        self._barren = self._barren + 1 if delta.is_empty else 0
        if self._barren == BARREN:
            raise Retryable(
                f"expected changes or an end from {reply.request}, found {BARREN} answers without a change that promise"
                " more: nothing of it is stored, the next sync begins where this one began",
                scope="stream",
            )
        if following in {"", current, self._remembered}:
            raise Retryable(
                f"expected another cursor with more pages from {reply.request}, found one again that was used already:"
                " nothing of it is stored, the next sync begins where this one began",
                scope="stream",
            )
        self._steps += 1
        if self._steps == self._until:
            self._remembered, self._steps, self._until = following, 0, self._until * 2


def _transaction(row: _Transaction, payload: bytes) -> Record:
    _amount(row.amount)
    return Record(identifier(row.transaction_id), identifier(row.account_id), day(row.date), row.pending, payload)


def _removal(row: _Removed, payload: bytes) -> Record:
    return Record(identifier(row.transaction_id), None, None, False, payload)


def _amount(raw: msgspec.Raw) -> Decimal:
    """
    An exact amount from the text of a JSON number. What a double adds behind its 15th digit is noise and no value:
    0.30000000000000004 is 0.3.
    """
    text = bytes(raw).decode()
    if text[:1] not in "-0123456789":
        raise ValueError(f"amount {shown(text)} is not a number")
    try:
        return decimal(text)
    except ValueError:
        value = Decimal(text)
        if not value.is_finite() or abs(value.adjusted()) > 20:
            raise
        rounded = round(value, 4)
        if abs(value - rounded) > abs(value) * Decimal("1e-15"):
            raise
        return decimal(f"{rounded:f}")


def _is_given(raw: msgspec.Raw) -> bool:
    return bytes(raw) != b"null"


def _of_day(rejected: Rejected, today: date) -> Rejected:
    """A broken reading under the id that a good one would have."""
    account = rejected.record_id
    return msgspec.structs.replace(
        rejected, record_id=None if account is None else f"{account}:{today}", account_id=account
    )


def _bank(told: Mapping[str, bytes]) -> tuple[str | None, str | None]:
    """The institution's id and name, where the answer tells them as it should."""
    try:
        item = msgspec.json.decode(told.get("item", b""), type=_Item)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, None
    return item.institution_id, item.institution_name


def _stored(cursor: Cursor | None) -> str | None:
    if cursor is None:
        return None
    try:
        return msgspec.convert(cursor, _Cursor).cursor
    except msgspec.ValidationError as error:
        raise Misconfigured(
            f"expected the cursor of the transactions as this version writes it, found: {error}; read the connection in"
            " full (--full)",
            scope="stream",
        ) from None


def _list(told: Mapping[str, bytes], name: str) -> bytes:
    if name not in told:
        raise _lacking(name, "a list")
    return told[name]


def _value(told: Mapping[str, bytes], name: str, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(told[name], type=kind)
    except (KeyError, msgspec.DecodeError, UnicodeDecodeError):
        raise _lacking(name, {bool: "true or false", int: "a whole number"}.get(kind, "a text")) from None


def _lacking(name: str, what: str) -> BadData:
    return BadData(
        f"expected {what} as {name} in Plaid's answer, found none: nothing of it is stored; if it stays so, Plaid has"
        " changed its protocol and this connector needs an update",
        scope="stream",
    )


def _page(
    stream: str,
    reply: Reply,
    parts: Split,
    *,
    cursor: Cursor | None = None,
    complete: Complete | None = None,
    commit: bool = True,
) -> Page:
    return Page(
        stream=stream,
        records=parts.records,
        rejected=parts.rejected,
        cursor=cursor,
        complete=complete,
        commit=commit,
        request=reply.request,
        size=len(reply.body),
    )


def _discard(reply: Reply) -> Page:
    return Page(
        stream="transactions", records=[], discard=True, commit=False, request=reply.request, size=len(reply.body)
    )


def _good(reply: Reply) -> bool:
    return 200 <= reply.status < 300


def _plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and text.strip() == text != ""


# What Plaid's errors mean. It answers most of them with status 400, so its type and code decide.


def _looping(*, started_at: str | None) -> Classify:
    """For the loop: a mutation begins it again, and so does a stored cursor that is not taken any more."""

    def classify(reply: Reply) -> ConnectorError | None:
        code = _code(reply)
        if code == _MUTATION or (code == "INVALID_FIELD" and started_at is not None):
            return None
        return _classify(reply)

    return classify


def _classify(reply: Reply) -> ConnectorError:
    code = _code(reply)
    error = _meaning(_fault(reply).error_type, code, reply)
    if error is None:
        error = unexpected(reply)
        error.code = code or error.code
    elif isinstance(error, Retryable) and _is_limit(code) and "retry-after" not in reply.headers:
        error.retry_after = BACKOFF
    return error


def _meaning(kind: str, code: str, reply: Reply) -> ConnectorError | None:
    """What an error object of Plaid means, whether it is the answer or the Item's own; None: nothing that is known."""
    if code in _REAUTH:
        return NeedsReauth(
            f"Plaid reports {code}: the customer signs in at the bank again, through Link in update mode for this Item;"
            " it keeps its access token",
            code=code,
        )
    if code in _GONE:
        return Gone(
            f"Plaid reports {code}: the Item's access is over and its records stay as they are; the customer connects"
            " again, and the new Item is added with `ledgerlake connect plaid`",
            code=code,
        )
    if code in {"INVALID_API_KEYS", "UNAUTHORIZED_ENVIRONMENT"}:
        return Misconfigured(
            f"Plaid reports {code}: set LEDGERLAKE_PLAID_CLIENT_ID and LEDGERLAKE_PLAID_SECRET to the keys of the"
            " environment that LEDGERLAKE_PLAID_URL belongs to",
            code=code,
            scope="provider",
        )
    if kind == "RATE_LIMIT_EXCEEDED" or _is_limit(code):
        return Retryable(
            f"Plaid reports {code or kind} to {reply.request}: it is called too often, try later", code=code
        )
    if code in {"PRODUCT_NOT_READY", _MUTATION}:
        return Retryable(
            f"Plaid reports {code} to {reply.request}: nothing of it is stored, try later", code=code, scope="stream"
        )
    if code in _DOWN or kind in {"INSTITUTION_ERROR", "API_ERROR"}:
        return Retryable(
            f"Plaid reports {code or kind} to {reply.request}: it or the bank is down, try later", code=code
        )
    if code in _REFUSED:
        return BadData(
            f"Plaid refuses {reply.request} with {code}, though its protocol allows the request: if it stays so, this"
            " connector needs an update",
            code=code,
            scope="stream",
        )
    return None


def _is_limit(code: str) -> bool:
    return code.endswith("_LIMIT") or code in {"RATE_LIMIT", "RATE_LIMIT_EXCEEDED", "CREDITS_EXHAUSTED"}


def _fault(reply: Reply) -> _Fault:
    try:
        return _FAULT.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Fault()


def _code(reply: Reply) -> str:
    return _coded(_fault(reply).error_code)


def _coded(code: str) -> str:
    """Plaid's code, or nothing: whatever does not look like one is not repeated, since it could be anything."""
    return code if _CODE.fullmatch(code) else ""
