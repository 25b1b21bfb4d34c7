"""Which days are counted when: what is recent each day, and all the rest once in so many days.

Belongs here: pure functions of days and of what was read before. Does not belong here: reading.

The past is cut into spans of about a page of rows each, by what the store holds; the first one has no beginning, since a
source may hold more than we know of. Cuts move as rows come, so what was read is remembered by its days and not by its
span.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from ledgerlake.integrity.census._source import MARGIN, Scope, Span

RECENT = timedelta(days=10)
"""What is younger is counted each day: corrections and pending records come to rest within about that."""

_DAY = timedelta(days=1)
_PAGES = 4
_FIRST, _LAST = -(10**9), 10**9


@dataclass(frozen=True)
class Past:
    """A read that came to its end: of which days, and on which day."""

    span: Span
    on: date


def recent(scope: Scope, today: date) -> Span:
    """The days of a scope that count as recent, without an end."""
    return Span(today - RECENT - (scope.every - 1) * _DAY)


def is_recent_due(scope: Scope, past: Iterable[Past], today: date) -> bool:
    """Whether what is recent is to be read today."""
    last = last_recent(past)
    return last is None or (today - last).days >= scope.every


def last_recent(past: Iterable[Past]) -> date | None:
    """When what was recent was last read: only those reads have no end."""
    return max((one.on for one in past if one.span.until is None), default=None)


def spans(scope: Scope, months: Sequence[tuple[date, int]], today: date) -> list[Span]:
    """All days before the recent ones, cut into spans; `months` are the first days of months with their rows."""
    end = recent(scope, today).since
    assert end is not None
    end -= _DAY
    counted = {month: rows for month, rows in months if month <= end}
    cuts: list[date] = []
    held, month = 0, min(counted, default=end.replace(day=1))
    while month <= end:
        rows = counted.get(month, 0)
        if held and held + rows > scope.page:
            cuts.append(month)
            held = 0
        parts = min(math.ceil(rows / (scope.page * _PAGES)), 28)
        cuts += [
            month + part * 28 // parts * _DAY for part in range(1, parts) if month + part * 28 // parts * _DAY <= end
        ]
        held = rows if parts > 1 else held + rows
        month = (month + 31 * _DAY).replace(day=1)
    starts: list[date | None] = [None, *cuts]
    ends = [*(cut - _DAY for cut in cuts), end]
    return [Span(since, until) for since, until in zip(starts, ends, strict=True)]


def read_on(span: Span, past: Iterable[Past]) -> date | None:
    """The day on which the part of it that was read the longest ago was read; None where a part never was."""
    left = [(_first(span), _last(span))]
    for one in sorted(past, key=lambda one: one.on, reverse=True):
        first, last = _first(one.span), _last(one.span)
        left = [
            piece
            for begin, end in left
            for piece in ((begin, min(end, first - 1)), (max(begin, last + 1), end))
            if piece[0] <= piece[1]
        ]
        if not left:
            return one.on
    return None


def due(
    all_spans: Sequence[tuple[Scope, Span]], ages: Sequence[date | None], *, today: date, began: date, days: int
) -> list[int]:
    """Which of the spans are to be read today, by their places: so many a day that each is read once in `days` days.

    `ages` say when each was read; `began` is the day of the connection's first census. Those never read come first, the
    oldest days before all; what was missed on other days is read as soon as it may be.
    """
    a_day = math.ceil(len(all_spans) / days)
    old = sorted((age, place) for place, age in enumerate(ages) if age is not None and (today - age).days >= days)
    new = sorted((_first(all_spans[place][1]), place) for place, age in enumerate(ages) if age is None)
    late = (today - began).days >= days
    return [place for _, place in (new if late else new[:a_day])] + [place for _, place in old]


def answered(span: Span, oldest: date | None, recents: Span) -> Span:
    """What a read of a span answers for, when the oldest row that it showed is of that day.

    A provider's history may begin within the span, and what lies before it is not absent: so a read of the past answers
    from where rows came, and one that showed nothing answers for nothing.
    """
    if span == recents:
        return span
    beyond = span.since is not None and oldest is not None and oldest < span.since
    since = span.since if beyond else oldest and oldest + MARGIN
    if span.until is None:
        assert recents.since is not None
        return Span(min(since or recents.since, recents.since))
    return Span(since or span.until + _DAY, span.until)


def _first(span: Span) -> int:
    return span.since.toordinal() if span.since else _FIRST


def _last(span: Span) -> int:
    return span.until.toordinal() if span.until else _LAST
