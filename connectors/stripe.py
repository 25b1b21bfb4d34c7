"""
Stripe (stripe.com): billing, by a secret or restricted key, for the key's own account or for a connected one.

Belongs here: all that is known of Stripe's API as it is read. Not here: what an integer of the smallest unit is worth,
which depends on the currency and is decided where marts are made; creating anything; webhooks.

How Stripe is read. No list has a filter of changes, so

- each stream is listed once, newest first, with a cursor after each page;
- from then on `events` says what changed. It is read first in each sync, so its first cursor is from before the lists.
  The events since the last read, with an overlap, are collected; their order means nothing and the objects in them are of
  another API version, so each object that they name is asked for once and stored as it is now. Those that are new come by
  the list of what was created since, where they are many;
- events are kept for 30 days. Whoever was away for longer lists everything again;
- balance transactions have no events: what was created since comes by the `created` filter, and so does what was pending
  until its day. Refunds and payouts have events, and are read that way once a week besides, since they are money.

The clock is Stripe's: times of cursors are those of the newest objects seen, days are the sync's.

The lists within objects (lines of an invoice, items of a subscription) hold ten at most and are followed to their end.
Each of their elements is a record of a stream of its own whose account is the object that it belongs to.

Source: https://docs.stripe.com/api
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar, NamedTuple, TypeGuard, TypeVar
from urllib.parse import quote

import httpx
import msgspec
from pydantic import SecretStr

from connectors._errors import BadData, ConnectorError, Gone, Misconfigured, NeedsReauth, Retryable
from connectors._http import Reply, Session, unexpected
from connectors._protocol import Account, Ask, Complete, Cursor, Page, Record, Rejected, Stream
from connectors._split import Fields, Split, members, read, split
from connectors._values import decimal, identifier, shown

VERSION = "2026-08-26.dahlia"
LIMIT = 100
OVERLAP = 3600
"""So many seconds before the newest object seen are read again: what is created in them may appear late."""
RETENTION = timedelta(days=30)
SWEEP = timedelta(days=7)

_REMEMBERED = 2000
_IN_BULK = 3
_NOT_RETRIED = 3600.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Key(msgspec.Struct, gc=False):
    """Any object: its id, when it was created, and whether it is a stub of what was deleted."""

    id: str
    created: int | None = None
    deleted: bool = False


class _Dated(msgspec.Struct, gc=False):
    id: str
    created: int


class _Money(msgspec.Struct, gc=False):
    id: str
    created: int
    currency: str
    amount: int


class _Price(msgspec.Struct, gc=False):
    id: str
    created: int
    currency: str


class _Movement(msgspec.Struct, gc=False):
    id: str
    created: int
    currency: str
    amount: int
    fee: int
    net: int
    status: str
    available_on: int


class _List(msgspec.Struct, gc=False):
    data: msgspec.Raw
    has_more: bool


class _Invoice(msgspec.Struct, gc=False):
    id: str
    created: int
    currency: str
    total: int
    amount_due: int
    amount_paid: int
    amount_remaining: int
    lines: _List | None = None


class _Subscription(msgspec.Struct, gc=False):
    id: str
    created: int
    status: str
    items: _List | None = None


class _CreditNote(msgspec.Struct, gc=False):
    id: str
    created: int
    currency: str
    amount: int
    lines: _List | None = None


class _Line(msgspec.Struct, gc=False):
    id: str


class _Owner(msgspec.Struct, gc=False):
    id: str
    default_currency: str | None = None


class _Subject(msgspec.Struct, gc=False):
    """The object of an event, as far as it says what to ask for; it is of another API version, so of any type."""

    id: Any = None
    object: Any = None
    created: Any = None
    charge: Any = None
    customer: Any = None
    invoice: Any = None
    subscription: Any = None


class _Data(msgspec.Struct, gc=False):
    object: _Subject


class _Event(msgspec.Struct, gc=False):
    id: str
    created: int
    type: str
    data: _Data


class _Fault(msgspec.Struct):
    code: str | None = None
    type: str | None = None
    param: str | None = None


class _Failure(msgspec.Struct):
    error: _Fault


class _Nested(NamedTuple):
    """A list within the objects of a stream: where it is, the stream of its elements, and where to ask for the rest."""

    field: str
    stream: str
    rest: Callable[[str], tuple[str, dict[str, str]]]


class _Kind(NamedTuple):
    """What is listed as a stream: its path, its contract, and the queries that show all of it."""

    path: str
    fields: Fields[Any]
    queries: tuple[Mapping[str, str], ...] = ({},)
    nested: _Nested | None = None


_KINDS: Mapping[str, _Kind] = {
    "customers": _Kind("/v1/customers", Fields(_Dated, "a customer of Stripe")),
    "products": _Kind("/v1/products", Fields(_Dated, "a product of Stripe")),
    # Asked without `active`, the list is of active prices alone.
    "prices": _Kind("/v1/prices", Fields(_Price, "a price of Stripe"), ({"active": "true"}, {"active": "false"})),
    "subscriptions": _Kind(
        "/v1/subscriptions",
        Fields(_Subscription, "a subscription of Stripe"),
        ({"status": "all"},),
        _Nested("items", "subscription_items", lambda owner: ("/v1/subscription_items", {"subscription": owner})),
    ),
    "invoices": _Kind(
        "/v1/invoices",
        Fields(_Invoice, "an invoice of Stripe"),
        nested=_Nested("lines", "invoice_lines", lambda owner: (f"/v1/invoices/{quote(owner, safe='')}/lines", {})),
    ),
    "charges": _Kind("/v1/charges", Fields(_Money, "a charge of Stripe")),
    "refunds": _Kind("/v1/refunds", Fields(_Money, "a refund of Stripe")),
    "disputes": _Kind("/v1/disputes", Fields(_Money, "a dispute of Stripe")),
    "credit_notes": _Kind(
        "/v1/credit_notes",
        Fields(_CreditNote, "a credit note of Stripe"),
        nested=_Nested(
            "lines", "credit_note_lines", lambda owner: (f"/v1/credit_notes/{quote(owner, safe='')}/lines", {})
        ),
    ),
    "payouts": _Kind("/v1/payouts", Fields(_Money, "a payout of Stripe")),
    "balance_transactions": _Kind("/v1/balance_transactions", Fields(_Movement, "a balance transaction of Stripe")),
    "events": _Kind("/v1/events", Fields(_Event, "an event of Stripe")),
}
_NESTED = {kind.nested.stream: stream for stream, kind in _KINDS.items() if kind.nested is not None}
_STREAM_OF = {
    "customer": "customers",
    "product": "products",
    "price": "prices",
    "subscription": "subscriptions",
    "invoice": "invoices",
    "charge": "charges",
    "refund": "refunds",
    "dispute": "disputes",
    "credit_note": "credit_notes",
    "payout": "payouts",
}
_ALSO = {
    "refund": ("charge",),
    "dispute": ("charge",),
    "credit_note": ("invoice",),
    "invoiceitem": ("invoice",),
    "discount": ("customer", "subscription", "invoice"),
}
"""What else an event of an object changes: the fields that name it."""
_DELETIONS = {"customer.deleted", "product.deleted", "price.deleted", "invoice.deleted"}
"""Others are called deleted and are not: a subscription that is canceled is still there to be asked for."""
_SWEPT = ("refunds", "payouts")
_UNLISTED = ("prices",)
"""Whose list leaves some out (prices made within an invoice): it proves of none that it is gone."""

_OWNER = Fields(_Owner, "an account of Stripe")
_LINE = Fields(_Line, "an element of a list of Stripe")
_STUB = msgspec.json.Decoder(_Key)
_FAILURE = msgspec.json.Decoder(_Failure)
_CODE = re.compile(r"[a-z_]{1,60}")
_SECRET = re.compile(r"[!-~]{1,255}")


class Stripe:
    """One account at Stripe."""

    provider: ClassVar[str] = "stripe"
    streams: ClassVar[tuple[Stream, ...]] = tuple(
        Stream(name, "connection")
        for name in ("accounts", "events", *(one for one in _KINDS if one != "events"), *_NESTED)
    )

    @classmethod
    def secrets(cls, given: Mapping[str, object]) -> dict[str, SecretStr]:
        """A key, and for a connected account its id: {"api_key": "rk_live_…", "account": "acct_…"}."""
        faults = [] if "api_key" in given else ["api_key is missing"]
        faults += [f"{name} is unknown" for name in sorted(set(given) - {"api_key", "account"})]
        secrets = {}
        for name, starts in (("api_key", ("sk_", "rk_")), ("account", ("acct_",))):
            value = given.get(name)
            if isinstance(value, str) and _SECRET.fullmatch(value) and value.startswith(starts):
                secrets[name] = SecretStr(value)
            elif name in given and not (name == "account" and value is None):
                faults.append(f"{name} is not a text that starts with {' or '.join(starts)}, without space in it")
        if faults:
            raise ValueError(f"expected the secrets of a Stripe account, {{api_key, account?}}: {'; '.join(faults)}")
        return secrets

    @classmethod
    def external_id(cls, secrets: Mapping[str, SecretStr]) -> str:
        """The connected account's id; of a key's own account a digest of the key, which does not tell its account."""
        if "account" in secrets:
            return secrets["account"].get_secret_value()
        return f"key_{hashlib.sha256(secrets['api_key'].get_secret_value().encode()).hexdigest()[:16]}"

    def __init__(self, session: Session) -> None:
        self._session = session
        self._auth = _Bearer(session.secrets["api_key"])
        self._headers = {"Stripe-Version": VERSION}
        if "account" in session.secrets:
            self._headers["Stripe-Account"] = session.secrets["account"].get_secret_value()
        self._gap: date | None = None

    async def accounts(self, today: date) -> tuple[Page, list[Account]]:
        """The one account that the key reads. It has no streams of its own: they are the connection's."""
        reply = await self._get("/v1/account")
        listed: list[Account] = []

        def build(row: _Owner, payload: bytes) -> Record:
            currency = row.default_currency.upper() if row.default_currency else None
            record = Record(identifier(row.id), row.id, None, False, payload)
            listed.append(Account(row.id, "other", currency, False, (), "stripe", "Stripe"))
            return record

        made = read(reply.body.strip(), _OWNER, build)
        return _page("accounts", reply, _alone(made), complete=Complete(None, None)), listed

    def read(self, stream: str, ask: Ask) -> AsyncIterator[Page]:
        """The stream's pages. Those of `events` are of all streams; those of nested streams come with their parents."""
        if stream == "events":
            return self._events(ask)
        if stream == "balance_transactions":
            return self._movements(ask)
        if stream in _KINDS:
            return self._objects(stream, ask)
        if stream in _NESTED:
            return _nothing()
        raise ValueError(f"Stripe has no stream {stream} to be read")

    async def show(self, stream: str, account: Account, record_id: str) -> Record | None:
        """One object as it is now, or None when it is deleted or unknown."""
        if stream not in _KINDS:
            raise ValueError(f"Stripe shows one record of a list, not of {stream}")
        reply = await self._get(_path(stream, record_id), passing=_missing)
        if _is_gone(reply):
            return None
        made = read(reply.body.strip(), _KINDS[stream].fields, _Build(stream))
        if isinstance(made, Record):
            return made
        raise BadData(
            f"expected {_KINDS[stream].fields.what} from {reply.request}, found that it breaks the contract: {made.reason}",
            scope="record",
        )

    # Lists, once.

    async def _objects(self, stream: str, ask: Ask) -> AsyncIterator[Page]:
        if ask.full:
            async for page in self._whole(stream):
                yield page
            return
        if ask.since is not None:
            async for page in self._whole(stream, since=ask.since):
                yield page
            return
        cursor = _cursor(ask, stream, _Listing)
        if cursor.listed is None:
            async for page in self._first(stream, cursor, ask.today):
                yield page
        elif self._gap is not None and cursor.listed < self._gap:
            done = _Listing(listed=ask.today, swept=ask.today)
            async for page in self._whole(stream, cursor=_stored(done)):
                yield page
        elif stream in _SWEPT and ask.today - (cursor.swept or cursor.listed) >= SWEEP:
            gte = _seconds((cursor.swept or cursor.listed) - timedelta(days=1))
            done = _Listing(listed=cursor.listed, swept=ask.today)
            async for page in self._swept(stream, gte, _stored(done)):
                yield page

    async def _first(self, stream: str, cursor: _Listing, today: date) -> AsyncIterator[Page]:
        """All of it, newest first; each page with the cursor to go on from, so that this may stop at any."""
        began = cursor.began or today
        queries = _KINDS[stream].queries
        whole = cursor.after is None and cursor.query == 0
        for number in range(cursor.query, len(queries)):
            after = cursor.after if number == cursor.query else None
            async for sheet in self._list(stream, queries[number], after):
                last = sheet.after is None and number == len(queries) - 1
                if last:
                    left = _Listing(listed=began, swept=began)
                elif sheet.after is None:
                    left = _Listing(began=began, query=number + 1)
                else:
                    left = _Listing(began=began, query=number, after=sheet.after)
                whole = whole or (sheet.restarted and number == 0)
                complete = Complete(None, None) if last and whole and stream not in _UNLISTED else None
                async for page in self._pages(stream, sheet, cursor=_stored(left), complete=complete):
                    yield page

    async def _whole(
        self, stream: str, *, since: date | None = None, cursor: Cursor | None = None
    ) -> AsyncIterator[Page]:
        """All of it, or all that was created since a day, again, in one unbroken read: what is not shown is gone."""
        queries = _KINDS[stream].queries
        created = {} if since is None else {"created[gte]": str(_seconds(since))}
        for number, query in enumerate(queries):
            async for sheet in self._list(stream, {**query, **created}):
                last = sheet.after is None and number == len(queries) - 1
                complete = Complete(None, since) if last and stream not in _UNLISTED else None
                async for page in self._pages(
                    stream, sheet, cursor=cursor if last else None, complete=complete, again=True
                ):
                    yield page

    async def _swept(self, stream: str, gte: int, cursor: Cursor) -> AsyncIterator[Page]:
        """What was created since."""
        async for sheet in self._list(stream, {"created[gte]": str(gte)}):
            async for page in self._pages(stream, sheet, cursor=None if sheet.after else cursor, again=True):
                yield page

    # Balance transactions.

    async def _movements(self, ask: Ask) -> AsyncIterator[Page]:
        stream = "balance_transactions"
        if ask.full or ask.since is not None:
            async for page in self._whole(stream, since=ask.since):
                yield page
            return
        cursor = _cursor(ask, stream, _Moving)
        if cursor.listed is not None and self._gap is not None and cursor.listed < self._gap:
            cursor = _Moving()
        if cursor.listed is None:
            query: dict[str, str] = {}
            done = _Moving(listed=cursor.began or ask.today)
            newest, waiting = cursor.newest, dict(cursor.waiting)
        else:
            # A movement that is pending is available on a day that it tells: from then on it is worth another look.
            horizon = _seconds(ask.today + timedelta(days=1))
            due = [created for day, created in cursor.waiting.items() if int(day) < horizon]
            query = {"created[gte]": str(min([(cursor.newest or 0) - OVERLAP, *due]))}
            done = _Moving(listed=cursor.listed)
            newest, waiting = cursor.newest, {d: c for d, c in cursor.waiting.items() if int(d) >= horizon}
        began, whole = cursor.began or ask.today, cursor.after is None and cursor.listed is None
        async for sheet in self._list(stream, query, cursor.after):
            whole = whole or (sheet.restarted and cursor.listed is None)
            for row in sheet.build.rows:
                newest = max(newest or 0, row.created)
                if row.status == "pending":
                    day = str(row.available_on)
                    waiting[day] = min(waiting.get(day, row.created), row.created)
            if sheet.after is None:
                left = msgspec.structs.replace(done, newest=newest or _seconds(began), waiting=waiting)
                complete = Complete(None, None) if whole else None
                yield _page(stream, sheet.reply, sheet.parts, cursor=_stored(left), complete=complete)
            elif cursor.listed is None:
                left = _Moving(began=began, after=sheet.after, newest=newest, waiting=waiting)
                yield _page(stream, sheet.reply, sheet.parts, cursor=_stored(left))
            else:
                yield _page(stream, sheet.reply, sheet.parts)

    # Events, and what they say has changed.

    async def _events(self, ask: Ask) -> AsyncIterator[Page]:
        if ask.full or ask.since is not None:
            async for page in self._happened(ask):
                yield page
            return
        cursor = _cursor(ask, "events", _Feed)
        self._gap = cursor.gap
        if cursor.read_on is not None and ask.today - cursor.read_on >= RETENTION:
            cursor = _Feed(gap=ask.today)
            self._gap = ask.today
        if cursor.read_on is None:
            async for page in self._retained(cursor, ask.today):
                yield page
            return
        newest = cursor.newest or _seconds(cursor.read_on)
        known, seen, changes = set(cursor.seen), dict[str, int](), _Changes(newest - OVERLAP)
        last: Page | None = None
        async for sheet in self._list("events", {"created[gte]": str(newest - OVERLAP)}):
            for event in sheet.build.rows:
                seen[event.id] = event.created
                if event.id not in known:
                    changes.add(event)
            page = _page("events", sheet.reply, sheet.parts)
            if sheet.after is None:
                last = page
            else:
                yield page
        # What they name is stored before the cursor says that they were read.
        async for page in self._changed(changes):
            yield page
        if last is not None:
            left = _Feed(gap=cursor.gap, read_on=ask.today).moved(newest, seen)
            yield msgspec.structs.replace(last, cursor=_stored(left))

    async def _retained(self, cursor: _Feed, today: date) -> AsyncIterator[Page]:
        """All events that are still there. What they name is listed after this, so it is not asked for."""
        began = cursor.began or today
        newest, seen = cursor.newest, dict.fromkeys(cursor.seen, cursor.newest or 0)
        async for sheet in self._list("events", {}, cursor.after):
            for event in sheet.build.rows:
                newest = event.created if newest is None else max(newest, event.created)
                seen[event.id] = event.created
            seen = {one: created for one, created in seen.items() if created >= (newest or 0) - OVERLAP}
            left = _Feed(gap=cursor.gap, began=began, read_on=None, after=sheet.after)
            if sheet.after is None:
                left = _Feed(gap=cursor.gap, read_on=began)
            moved = left.moved(newest if newest is not None else _seconds(began), seen)
            yield _page("events", sheet.reply, sheet.parts, cursor=_stored(moved))

    async def _happened(self, ask: Ask) -> AsyncIterator[Page]:
        """The events since a day and the objects that they name; in full, the events alone, since all is listed."""
        query = {} if ask.since is None else {"created[gte]": str(_seconds(ask.since))}
        changes = _Changes(0 if ask.since is None else _seconds(ask.since))
        async for sheet in self._list("events", query):
            for event in sheet.build.rows:
                changes.add(event)
            yield _page("events", sheet.reply, sheet.parts)
        if ask.since is not None:
            async for page in self._changed(changes):
                yield page

    async def _changed(self, changes: _Changes) -> AsyncIterator[Page]:
        """Every object that was named, as it is now."""
        for stream, ids in sorted(changes.deleted.items()):
            for object_id in sorted(ids):
                for page in _removal(stream, object_id, f"event of the deletion of {object_id}"):
                    yield page
        for stream, named in sorted(changes.named.items()):
            left = {one for one in named if one not in changes.deleted.get(stream, ())}
            fresh = [named[one] for one in left if (named[one] or 0) >= changes.since]
            if len(fresh) > _IN_BULK:
                window = {"created[gte]": str(min(map(int, filter(None, fresh))))}
                window["created[lte]"] = str(max(map(int, filter(None, fresh))))
                for query in _KINDS[stream].queries:
                    async for sheet in self._list(stream, {**query, **window}):
                        left -= {record.id for record in sheet.parts.records}
                        async for page in self._pages(stream, sheet, again=True):
                            yield page
            for object_id in sorted(left):
                async for page in self._one(stream, object_id):
                    yield page

    async def _one(self, stream: str, object_id: str) -> AsyncIterator[Page]:
        reply = await self._get(_path(stream, object_id), passing=_missing)
        if _is_gone(reply):
            for page in _removal(stream, object_id, reply.request, len(reply.body)):
                yield page
            return
        build = _Build(stream)
        made = read(reply.body.strip(), _KINDS[stream].fields, build)
        sheet = _Sheet(reply, _alone(made), build, None, restarted=False)
        async for page in self._pages(stream, sheet, again=True):
            yield page

    # One request.

    async def _list(self, stream: str, query: Mapping[str, str], after: str | None = None) -> AsyncIterator[_Sheet]:
        """A list's pages from the top, or from after an id; from the top again when that id vanished meanwhile."""
        kind, restarts, anchors = _KINDS[stream], 1, set[str]()
        restarted = False
        while True:
            anchor = {"starting_after": after} if after else {}
            passing = _missing if after else None
            reply = await self._get(kind.path, {**query, "limit": LIMIT, **anchor}, passing=passing)
            if not 200 <= reply.status < 300:
                if not restarts:
                    raise Retryable(
                        f"expected the page after {shown(after or '')} of {reply.request}, found that this object"
                        " vanished, twice in one read: what came is stored, try again later",
                        code="resource_missing",
                        scope="stream",
                    )
                restarts, after, restarted = restarts - 1, None, True
                anchors.clear()
                continue
            found, build = _envelope(reply), _Build(stream)
            parts = split(bytes(found.data), kind.fields, build)
            after = _anchor(parts) if found.has_more else None
            if found.has_more and after is None:
                raise BadData(
                    f"expected an id to go on from in {reply.request}, which says that there is more, found none in"
                    f" {len(parts.rejected)} objects: what lies behind them cannot be asked for",
                    scope="stream",
                )
            if after in anchors:
                raise Retryable(
                    f"expected older objects from {reply.request}, found {shown(after or '')} again: what came is"
                    " stored, but the end was not reached, try again later",
                    scope="stream",
                )
            anchors |= {after} if after else set()
            yield _Sheet(reply, parts, build, after, restarted)
            restarted = False
            if after is None:
                return

    async def _pages(
        self,
        stream: str,
        sheet: _Sheet,
        *,
        cursor: Cursor | None = None,
        complete: Complete | None = None,
        again: bool = False,
    ) -> AsyncIterator[Page]:
        """
        A page, and before it, in the same transaction, what its objects have nested.

        Objects that are read `again` may have lost elements: then each object's are a page that is all of them.
        """
        nested = _KINDS[stream].nested
        if nested is not None:
            whole = []
            for owner, embedded in sheet.build.nested:
                parts, size = await self._elements(nested, owner, embedded)
                whole.append((owner, parts, size))
            if again:
                for owner, parts, size in whole:
                    shown_all = Complete(owner, None, doubt="none")
                    yield _page(nested.stream, sheet.reply, parts, complete=shown_all, commit=False, size=size)
            elif whole:
                together = Split(
                    [one for _, parts, _ in whole for one in parts.records],
                    [one for _, parts, _ in whole for one in parts.rejected],
                )
                yield _page(nested.stream, sheet.reply, together, commit=False, size=sum(size for _, _, size in whole))
        yield _page(stream, sheet.reply, sheet.parts, cursor=cursor, complete=complete)

    async def _elements(self, nested: _Nested, owner: str, embedded: _List | None) -> tuple[Split, int]:
        """All elements of an object's list, and how many bytes were asked for besides the object."""
        build = _element(owner)
        # One that is not there at all is as one cut short at its beginning.
        embedded = embedded or _List(msgspec.Raw(b"[]"), True)
        parts = split(bytes(embedded.data), _LINE, build, account_id=owner)
        known, more, size = {record.id for record in parts.records}, embedded.has_more, 0
        path, query = nested.rest(owner)
        while more:
            after = {"starting_after": parts.records[-1].id.removeprefix(f"{owner}:")} if parts.records else {}
            reply = await self._get(path, {**query, "limit": LIMIT, **after})
            found = _envelope(reply)
            rest = split(bytes(found.data), _LINE, build, account_id=owner)
            more, size = found.has_more, size + len(reply.body)
            if more and not any(record.id not in known for record in rest.records):
                raise Retryable(
                    f"expected more elements from {reply.request}, which says that there are, found none that are new:"
                    " nothing of this page is stored, try again later",
                    scope="stream",
                )
            known |= {record.id for record in rest.records}
            parts = Split(parts.records + rest.records, parts.rejected + rest.rejected)
        return parts, size

    async def _get(
        self,
        path: str,
        params: Mapping[str, str | int] | None = None,
        *,
        passing: Callable[[Reply], bool] | None = None,
    ) -> Reply:
        connected = "Stripe-Account" in self._headers

        def classify(reply: Reply) -> ConnectorError | None:
            return None if passing is not None and passing(reply) else _classify(reply, connected=connected)

        return await self._session.get(path, params, classify=classify, auth=self._auth, headers=self._headers)


class _Bearer(httpx.Auth):
    """The key as a bearer token."""

    def __init__(self, key: SecretStr) -> None:
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._key.get_secret_value()}"
        yield request


class _Build:
    """Makes records of the objects of a stream, and keeps their fields and what is nested in them."""

    def __init__(self, stream: str) -> None:
        self.rows: list[Any] = []
        self.nested: list[tuple[str, _List | None]] = []
        self._nested = _KINDS[stream].nested

    def __call__(self, row: Any, payload: bytes) -> Record:
        for name in ("amount", "fee", "net", "total", "amount_due", "amount_paid", "amount_remaining"):
            decimal(str(getattr(row, name, 0)))
        pending = isinstance(row, _Movement) and row.status == "pending"
        record = Record(identifier(row.id), None, _day(row.created), pending, payload)
        self.rows.append(row)
        if self._nested is not None:
            self.nested.append((row.id, getattr(row, self._nested.field)))
        return record


class _Sheet(NamedTuple):
    """A list's page: `after` is the id to go on from, None on the last one; `restarted`: it is the first one again."""

    reply: Reply
    parts: Split
    build: _Build
    after: str | None
    restarted: bool


class _Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where a stream is: listed on a day, or not yet to its end: then began on a day, at a query, after an id."""

    listed: date | None = None
    swept: date | None = None
    began: date | None = None
    query: int = 0
    after: str | None = None


class _Moving(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """
    Where the balance transactions are. `waiting` has for each time at which pending ones become available when the
    oldest of them was created.
    """

    listed: date | None = None
    newest: int | None = None
    waiting: dict[str, int] = {}
    began: date | None = None
    after: str | None = None


class _Feed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """
    Where the events are: read on a day, up to one created at `newest`; `seen` are those that the overlap will show again.
    `gap` is the last day on which it was found that events were lost.
    """

    read_on: date | None = None
    newest: int | None = None
    seen: list[str] = []
    gap: date | None = None
    began: date | None = None
    after: str | None = None

    def moved(self, newest: int, seen: Mapping[str, int]) -> _Feed:
        """After these events, told with the times at which they were created."""
        newest = max([newest, *seen.values()])
        near = sorted((-created, one) for one, created in seen.items() if created >= newest - OVERLAP)
        return msgspec.structs.replace(self, newest=newest, seen=[one for _, one in near[:_REMEMBERED]])


class _Changes:
    """What events named: for each stream the ids, with the time of creation where it is told, and those deleted."""

    def __init__(self, since: int) -> None:
        self.since = since
        self.named: dict[str, dict[str, int | None]] = {}
        self.deleted: dict[str, set[str]] = {}

    def add(self, event: _Event) -> None:
        subject = event.data.object
        stream = _STREAM_OF.get(subject.object) if isinstance(subject.object, str) else None
        if stream is not None and _is_id(subject.id):
            if event.type in _DELETIONS:
                self.deleted.setdefault(stream, set()).add(subject.id)
            created = subject.created if isinstance(subject.created, int) else None
            self.named.setdefault(stream, {})[subject.id] = created
        for field in _ALSO.get(subject.object, ()) if isinstance(subject.object, str) else ():
            other = getattr(subject, field)
            other = other.get("id") if isinstance(other, dict) else other
            if _is_id(other):
                self.named.setdefault(_STREAM_OF[field], {}).setdefault(other, None)


_C = TypeVar("_C", _Listing, _Moving, _Feed)


def _cursor(ask: Ask, stream: str, kind: type[_C]) -> _C:
    try:
        return kind() if ask.cursor is None else msgspec.convert(ask.cursor, kind)
    except msgspec.ValidationError as error:
        raise Misconfigured(
            f"expected the cursor of {stream} as this version writes it, found: {error}; read the connection in full"
            " (--full)",
            scope="stream",
        ) from None


def _stored(cursor: msgspec.Struct) -> Cursor:
    stored: Cursor = msgspec.to_builtins(cursor)
    return stored


async def _nothing() -> AsyncIterator[Page]:
    """No pages: what there is comes with another stream."""
    pages: tuple[Page, ...] = ()
    for page in pages:
        yield page


def _removal(stream: str, object_id: str, request: str, size: int = 0) -> list[Page]:
    """An object that is deleted, and with it what it had nested."""
    pages = []
    nested = _KINDS[stream].nested
    if nested is not None:
        none = Complete(object_id, None, doubt="none")
        pages.append(Page(stream=nested.stream, records=[], complete=none, commit=False, request=request, size=0))
    return [*pages, Page(stream=stream, records=[], removed=[object_id], request=request, size=size)]


def _element(owner: str) -> Callable[[_Line, bytes], Record]:
    def build(row: _Line, payload: bytes) -> Record:
        return Record(identifier(f"{owner}:{identifier(row.id)}"), owner, None, False, payload)

    return build


def _page(
    stream: str,
    reply: Reply,
    parts: Split,
    *,
    cursor: Cursor | None = None,
    complete: Complete | None = None,
    commit: bool = True,
    size: int | None = None,
) -> Page:
    return Page(
        stream=stream,
        records=parts.records,
        rejected=parts.rejected,
        cursor=cursor,
        complete=complete,
        commit=commit,
        request=reply.request,
        size=len(reply.body) if size is None else size,
    )


def _alone(made: Record | Rejected) -> Split:
    return Split([made], []) if isinstance(made, Record) else Split([], [made])


def _anchor(parts: Split) -> str | None:
    """The id to page on from: the last object's that is whole, else the last one's that has an id."""
    if parts.records:
        return parts.records[-1].id
    return next((row.record_id for row in reversed(parts.rejected) if row.record_id), None)


def _envelope(reply: Reply) -> _List:
    """The list that an answer is. Text in it that no Unicode holds is the affair of its object alone."""
    found = members(reply.body, "a list of Stripe")
    if not {"data", "has_more"} <= found.keys() or found["has_more"] not in {b"true", b"false"}:
        raise BadData(
            f"expected a list with `data` and `has_more` from {reply.request}, found an object without: nothing of it is"
            " stored; if it stays so, this connector needs an update",
            scope="stream",
        )
    return _List(msgspec.Raw(found["data"]), found["has_more"] == b"true")


def _path(stream: str, object_id: str) -> str:
    return f"{_KINDS[stream].path}/{quote(object_id, safe='')}"


def _day(seconds: int) -> date:
    try:
        return (_EPOCH + timedelta(seconds=seconds)).date()
    except OverflowError:
        raise ValueError(f"created {seconds} is no time of the calendar, in seconds since 1970") from None


def _seconds(day: date) -> int:
    return int((datetime(day.year, day.month, day.day, tzinfo=UTC) - _EPOCH).total_seconds())


def _is_id(value: object) -> TypeGuard[str]:
    try:
        return isinstance(value, str) and bool(identifier(value))
    except ValueError:
        return False


def _missing(reply: Reply) -> bool:
    """Whether an answer says that there is no object of an id: of the one asked for, or of the one to go on from."""
    return reply.status in {400, 404} and _fault(reply).code == "resource_missing"


def _is_gone(reply: Reply) -> bool:
    """Whether an object that was asked for is there no more: none of that id, or a stub that says so."""
    if not 200 <= reply.status < 300:
        return True
    try:
        return _STUB.decode(reply.body).deleted
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _classify(reply: Reply, *, connected: bool) -> ConnectorError:
    """What an answer means that is not 2xx. Stripe's word on whether to try again wins over its status."""
    word = reply.headers.get("stripe-should-retry", "").strip().lower()
    error = _meant(reply, connected=connected)
    if word == "true" and not isinstance(error, Retryable):
        return Retryable(
            f"expected an answer to {reply.request}, found {reply.describe()} and that it is worth another try: try again"
            " later",
            code=error.code,
        )
    if word == "false" and isinstance(error, Retryable):
        error.retry_after = _NOT_RETRIED
    return error


def _meant(reply: Reply, *, connected: bool) -> ConnectorError:
    code = _code(reply)
    if reply.is_html:
        return unexpected(reply)
    if code == "account_invalid" and reply.status in {401, 403}:
        if connected:
            return Gone(
                "Stripe reports account_invalid: the account took back the access of this platform, or does not exist; its"
                " records stay as they are; the customer connects again, and that is added with `ledgerlake connect"
                " stripe`",
                code=code,
            )
        return NeedsReauth(
            "Stripe reports account_invalid for the key's own account: the customer has to make another key and hand it"
            " over; until then it is not called",
            code=code,
        )
    match reply.status:
        case 401:
            return NeedsReauth(
                f"Stripe refuses the key ({code or 'HTTP 401'}): it is wrong, expired or was revoked; the customer has to"
                " make another restricted key with the permission Read and hand it over; until then it is not called",
                code=code or None,
            )
        case 403:
            return Misconfigured(
                f"Stripe reports that the key may not do {reply.request} ({code or 'HTTP 403'}): give the restricted key"
                " the permission Read for all resources that docs/providers/stripe.md lists",
                code=code or None,
            )
        case 409 | 429:
            reason = reply.headers.get("stripe-rate-limited-reason", "")
            return Retryable(
                f"Stripe has no room for {reply.request} now ({code or reason or f'HTTP {reply.status}'}): try again later",
                code=code or (reason if _CODE.fullmatch(reason.replace("-", "_")) else "") or str(reply.status),
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
    """Stripe's code, or nothing: whatever does not look like one is not repeated, since it could be anything."""
    code = _fault(reply).code or ""
    return code if _CODE.fullmatch(code) else ""
