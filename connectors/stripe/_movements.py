"""Balance transactions, which have no events: what is new comes by when it was created, what was pending on its day."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, timedelta

import msgspec

from connectors._protocol import Ask, Complete, Page
from connectors.stripe._cursors import OVERLAP, cursor_of, stored
from connectors.stripe._lists import Lists, page_of
from connectors.stripe._times import seconds


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


async def moved(lists: Lists, ask: Ask, gap: date | None) -> AsyncIterator[Page]:
    """Their pages; `gap` is the last day on which it was found that somebody was away for too long."""
    stream = "balance_transactions"
    if ask.full or ask.since is not None:
        async for page in lists.whole(stream, since=ask.since):
            yield page
        return
    cursor = cursor_of(ask, stream, _Moving)
    if cursor.listed is not None and gap is not None and cursor.listed < gap:
        cursor = _Moving()
    if cursor.listed is None:
        query: dict[str, str] = {}
        done = _Moving(listed=cursor.began or ask.today)
        newest, waiting = cursor.newest, dict(cursor.waiting)
    else:
        # A movement that is pending is available on a day that it tells: from then on it is worth another look.
        horizon = seconds(ask.today + timedelta(days=1))
        due = [created for day, created in cursor.waiting.items() if int(day) < horizon]
        query = {"created[gte]": str(min([(cursor.newest or 0) - OVERLAP, *due]))}
        done = _Moving(listed=cursor.listed)
        newest, waiting = cursor.newest, {d: c for d, c in cursor.waiting.items() if int(d) >= horizon}
    began, whole = cursor.began or ask.today, cursor.after is None and cursor.listed is None
    async for sheet in lists.sheets(stream, query, cursor.after):
        whole = whole or (sheet.restarted and cursor.listed is None)
        for row in sheet.build.rows:
            newest = max(newest or 0, row.created)
            if row.status == "pending":
                available = str(row.available_on)
                waiting[available] = min(waiting.get(available, row.created), row.created)
        if sheet.after is None:
            left = msgspec.structs.replace(done, newest=newest or seconds(began), waiting=waiting)
            complete = Complete(None, None) if whole else None
            yield page_of(stream, sheet.reply, sheet.parts, cursor=stored(left), complete=complete)
        elif cursor.listed is None:
            left = _Moving(began=began, after=sheet.after, newest=newest, waiting=waiting)
            yield page_of(stream, sheet.reply, sheet.parts, cursor=stored(left))
        else:
            yield page_of(stream, sheet.reply, sheet.parts)
