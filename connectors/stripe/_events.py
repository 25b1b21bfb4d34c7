"""Events: what changed since the last read, so that just that is asked for.

Events are listed newest first, in pages of a hundred. Who was away for days has many, and each names objects that are
asked for one by one, so a read may be stopped long before its end. It goes on where it was: the cursor keeps up to
where all events were read before (`newest`), where this read began (`head`) and how far it came down (`after`). What is
newer than its beginning comes with the next one, which follows at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import date, timedelta
from typing import TypeGuard

import msgspec

from connectors._protocol import Ask, Page
from connectors._values import identifier
from connectors.stripe._cursors import OVERLAP, cursor_of, stored
from connectors.stripe._lists import Lists, page_of, removal
from connectors.stripe._objects import KINDS, Event
from connectors.stripe._times import seconds

RETENTION = timedelta(days=30)
"""For so long Stripe keeps events."""
BATCH = 10
"""Pages of events whose objects are asked for together: what they name more than once is asked for once."""

_REMEMBERED = 2000
_IN_BULK = 3
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


class _Feed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """
    Where the events are: read on a day, up to one created at `newest`; `seen` are those that the overlap will show again.
    `gap` is the last day on which it was found that events were lost.

    A read that has not come to its end began on a day and goes on after an id. If it is not the first one, `head` and
    `ahead` are what `newest` and `seen` become at its end.
    """

    read_on: date | None = None
    newest: int | None = None
    seen: list[str] = []
    gap: date | None = None
    began: date | None = None
    after: str | None = None
    head: int | None = None
    ahead: list[str] = []


class Events:
    """The feed of one account. `gap`, known once it was read, is the last day on which events were found to be lost."""

    def __init__(self, lists: Lists) -> None:
        self._lists = lists
        self.gap: date | None = None

    async def read(self, ask: Ask) -> AsyncIterator[Page]:
        """Pages of events, and of the objects that they name."""
        if ask.full or ask.since is not None:
            async for page in self._happened(ask):
                yield page
            return
        feed = cursor_of(ask, "events", _Feed)
        if feed.read_on is not None and ask.today - feed.read_on >= RETENTION:
            feed = _Feed(gap=ask.today)
        self.gap = feed.gap
        if feed.read_on is None:
            async for page in self._retained(feed, ask.today):
                yield page
            return
        async for page in self._caught_up(feed, ask.today):
            yield page

    async def _retained(self, feed: _Feed, today: date) -> AsyncIterator[Page]:
        """All events that are still there. What they name is listed after this, so it is not asked for."""
        began = feed.began or today
        newest, seen = feed.newest, dict.fromkeys(feed.seen, feed.newest or 0)
        async for sheet in self._lists.sheets("events", {}, feed.after):
            for event in sheet.build.rows:
                newest = event.created if newest is None else max(newest, event.created)
                if event.created >= newest - OVERLAP:
                    seen[event.id] = event.created
            upto = newest if newest is not None else seconds(began)
            left = _Feed(gap=feed.gap, newest=upto, seen=_near(seen, upto))
            if sheet.after is None:
                left = msgspec.structs.replace(left, read_on=began)
            else:
                left = msgspec.structs.replace(left, began=began, after=sheet.after)
            yield page_of("events", sheet.reply, sheet.parts, cursor=stored(left))

    async def _caught_up(self, feed: _Feed, today: date) -> AsyncIterator[Page]:
        """The events since the last read that came to its end, each batch after the objects that it names; the last page
        of a batch has the cursor.

        An object that was asked for is not asked for again for an older event: it was shown as it is now.
        """
        began = feed.began or today
        newest = feed.newest or seconds(feed.read_on or today)
        known, asked = set(feed.seen), set[tuple[str, str]]()
        head, ahead = feed.head or newest, dict.fromkeys(feed.ahead, feed.head or newest)
        changes, pages, left = _Changes(newest - OVERLAP), 0, feed
        async for sheet in self._lists.sheets("events", {"created[gte]": str(newest - OVERLAP)}, feed.after):
            if sheet.restarted:
                asked.clear()  # what happened meanwhile is on this page, too
            for event in sheet.build.rows:
                head = max(head, event.created)
                if event.created >= head - OVERLAP:
                    ahead[event.id] = event.created
                if event.id not in known:
                    changes.add(event)
            page, pages = page_of("events", sheet.reply, sheet.parts), pages + 1
            if sheet.after is not None and pages % BATCH:
                yield page
                continue
            # What they name is stored before the cursor says that they were read.
            async for named in self._changed(changes, asked):
                yield named
            near = _near(ahead, head)
            if sheet.after is None:
                left = _Feed(gap=feed.gap, read_on=began, newest=head, seen=near)
            else:
                left = msgspec.structs.replace(feed, began=began, after=sheet.after, head=head, ahead=near)
            changes = _Changes(newest - OVERLAP)
            yield msgspec.structs.replace(page, cursor=stored(left))
        if feed.after is not None:
            # That was the rest of a read which was stopped; what is new since it began comes now.
            async for page in self._caught_up(left, today):
                yield page

    async def _happened(self, ask: Ask) -> AsyncIterator[Page]:
        """The events since a day and the objects that they name; in full, the events alone, since all is listed."""
        query = {} if ask.since is None else {"created[gte]": str(seconds(ask.since))}
        changes = _Changes(0 if ask.since is None else seconds(ask.since))
        async for sheet in self._lists.sheets("events", query):
            for event in sheet.build.rows:
                changes.add(event)
            yield page_of("events", sheet.reply, sheet.parts)
        if ask.since is not None:
            async for page in self._changed(changes, set()):
                yield page

    async def _changed(self, changes: _Changes, asked: set[tuple[str, str]]) -> AsyncIterator[Page]:
        """Every object that was named, as it is now, but those that were `asked` for already."""
        for stream, ids in sorted(changes.deleted.items()):
            for object_id in sorted(ids):
                for page in removal(stream, object_id, f"event of the deletion of {object_id}"):
                    yield page
                asked.add((stream, object_id))
        for stream, named in sorted(changes.named.items()):
            left = {one for one in named if (stream, one) not in asked}
            asked.update((stream, one) for one in left)
            fresh = [created for one in left if (created := named[one] or 0) >= changes.since]
            if len(fresh) > _IN_BULK:
                window = {"created[gte]": str(min(fresh)), "created[lte]": str(max(fresh))}
                for query in KINDS[stream].queries:
                    async for sheet in self._lists.sheets(stream, {**query, **window}):
                        left -= {record.id for record in sheet.parts.records}
                        async for page in self._lists.pages(stream, sheet, again=True):
                            yield page
            for object_id in sorted(left):
                async for page in self._lists.one(stream, object_id):
                    yield page


class _Changes:
    """What events named: for each stream the ids, with the time of creation where it is told, and those deleted."""

    def __init__(self, since: int) -> None:
        self.since = since
        self.named: dict[str, dict[str, int | None]] = {}
        self.deleted: dict[str, set[str]] = {}

    def add(self, event: Event) -> None:
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


def _near(events: Mapping[str, int], newest: int) -> list[str]:
    """The events that an overlap with the newest one will show again, newest first."""
    near = sorted((-created, one) for one, created in events.items() if created >= newest - OVERLAP)
    return [one for _, one in near[:_REMEMBERED]]


def _is_id(value: object) -> TypeGuard[str]:
    try:
        return isinstance(value, str) and bool(identifier(value))
    except ValueError:
        return False
