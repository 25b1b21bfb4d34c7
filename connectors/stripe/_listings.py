"""The streams that are listed once: what is new in them comes by events from then on.

Refunds and payouts have events, too, and are listed again once a week besides, since they are money.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, timedelta

import msgspec

from connectors._protocol import Ask, Complete, Cursor, Page
from connectors.stripe._cursors import cursor_of, stored
from connectors.stripe._lists import Lists
from connectors.stripe._objects import KINDS, UNLISTED
from connectors.stripe._times import seconds

SWEEP = timedelta(days=7)
_SWEPT = ("refunds", "payouts")


class _Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where a stream is: listed on a day, or not yet to its end: then began on a day, at a query, after an id."""

    listed: date | None = None
    swept: date | None = None
    began: date | None = None
    query: int = 0
    after: str | None = None


async def listed(lists: Lists, stream: str, ask: Ask, gap: date | None) -> AsyncIterator[Page]:
    """The stream's pages; `gap` is the last day on which events were found to be lost, so that all is listed again."""
    if ask.full:
        async for page in lists.whole(stream):
            yield page
        return
    if ask.since is not None:
        async for page in lists.whole(stream, since=ask.since):
            yield page
        return
    cursor = cursor_of(ask, stream, _Listing)
    if cursor.listed is None:
        async for page in _first(lists, stream, cursor, ask.today):
            yield page
    elif gap is not None and cursor.listed < gap:
        done = _Listing(listed=ask.today, swept=ask.today)
        async for page in lists.whole(stream, cursor=stored(done)):
            yield page
    elif stream in _SWEPT and ask.today - (cursor.swept or cursor.listed) >= SWEEP:
        gte = seconds((cursor.swept or cursor.listed) - timedelta(days=1))
        done = _Listing(listed=cursor.listed, swept=ask.today)
        async for page in _swept(lists, stream, gte, stored(done)):
            yield page


async def _first(lists: Lists, stream: str, cursor: _Listing, today: date) -> AsyncIterator[Page]:
    """All of it, newest first; each page with the cursor to go on from, so that this may stop at any."""
    began = cursor.began or today
    queries = KINDS[stream].queries
    whole = cursor.after is None and cursor.query == 0
    for number in range(cursor.query, len(queries)):
        after = cursor.after if number == cursor.query else None
        async for sheet in lists.sheets(stream, queries[number], after):
            last = sheet.after is None and number == len(queries) - 1
            if last:
                left = _Listing(listed=began, swept=began)
            elif sheet.after is None:
                left = _Listing(began=began, query=number + 1)
            else:
                left = _Listing(began=began, query=number, after=sheet.after)
            whole = whole or (sheet.restarted and number == 0)
            complete = Complete(None, None) if last and whole and stream not in UNLISTED else None
            async for page in lists.pages(stream, sheet, cursor=stored(left), complete=complete):
                yield page


async def _swept(lists: Lists, stream: str, gte: int, cursor: Cursor) -> AsyncIterator[Page]:
    """What was created since."""
    async for sheet in lists.sheets(stream, {"created[gte]": str(gte)}):
        async for page in lists.pages(stream, sheet, cursor=None if sheet.after else cursor, again=True):
            yield page
