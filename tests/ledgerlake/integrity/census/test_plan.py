"""What is counted when, and what a read answers for: pure functions of days."""

import datetime as dt
import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from ledgerlake.integrity.census._plan import (
    RECENT,
    Past,
    answered,
    due,
    is_recent_due,
    read_on,
    recent,
    spans,
)
from ledgerlake.integrity.census._source import Scope, Span

TODAY = dt.date(2026, 3, 1)
SCOPE = Scope("transactions", "acc", 100)
DAY = dt.timedelta(days=1)


def _month(back: int) -> dt.date:
    found = TODAY.replace(day=1)
    for _ in range(back):
        found = (found - DAY).replace(day=1)
    return found


MONTHS = st.dictionaries(st.integers(0, 30), st.integers(1, 2_000), max_size=30)


@given(months=MONTHS, page=st.sampled_from([1, 100, 5_000]))
def test_spans_follow_each_other_from_no_beginning_to_the_recent_days(months: dict[int, int], page: int) -> None:
    scope = Scope("transactions", "acc", page)
    found = spans(scope, sorted((_month(back), rows) for back, rows in months.items()), TODAY)
    assert found[0].since is None
    assert found[-1].until == TODAY - RECENT - DAY
    for one, after in itertools.pairwise(found):
        assert one.until is not None
        assert after.since == one.until + DAY


def test_spans_are_as_long_as_a_page_of_rows_and_a_month_of_many_pages_is_cut() -> None:
    months = [(_month(4), 60), (_month(3), 30), (_month(2), 30), (_month(1), 1_000)]
    assert spans(SCOPE, months, TODAY) == [
        Span(None, dt.date(2025, 12, 31)),
        Span(dt.date(2026, 1, 1), dt.date(2026, 1, 31)),
        Span(dt.date(2026, 2, 1), dt.date(2026, 2, 9)),
        Span(dt.date(2026, 2, 10), dt.date(2026, 2, 18)),
    ]


def test_a_store_that_holds_nothing_asks_for_all_of_the_past_at_once() -> None:
    assert spans(SCOPE, [], TODAY) == [Span(None, dt.date(2026, 2, 18))]


def test_the_age_of_a_span_is_that_of_the_part_read_the_longest_ago() -> None:
    span = Span(dt.date(2026, 1, 1), dt.date(2026, 1, 31))
    first, second = dt.date(2026, 2, 10), dt.date(2026, 2, 20)
    half = Past(Span(dt.date(2026, 1, 10), dt.date(2026, 2, 5)), second)
    assert read_on(span, [half]) is None
    assert read_on(span, [half, Past(Span(None, dt.date(2026, 1, 9)), first)]) == first
    assert read_on(span, [half, Past(Span(None, None), TODAY)]) == TODAY


@settings(max_examples=60, deadline=None)
@given(months=MONTHS, days=st.integers(1, 12), missed=st.sets(st.integers(0, 40), max_size=3))
def test_all_of_the_past_is_read_within_so_many_days_and_those_that_were_missed(
    months: dict[int, int], days: int, missed: set[int]
) -> None:
    past: list[Past] = []
    counted = sorted((_month(back), rows) for back, rows in months.items())
    began: dt.date | None = None
    for number in range(3 * days + 2):
        today = TODAY + number * DAY
        every = [(SCOPE, span) for span in spans(SCOPE, counted, today)]
        if number in missed:
            continue
        began = began or today
        ages = [read_on(span, past) for _, span in every]
        chosen = due(every, ages, today=today, began=began, days=days)
        if not missed:
            assert len(chosen) <= max(-(-len(every) // days) * 2, len(every))
        past += [Past(every[place][1], today) for place in chosen]
        past.append(Past(recent(SCOPE, today), today))
        if (today - began).days >= days:
            oldest = [read_on(span, past) for _, span in every]
            assert None not in oldest
            waited = days + sum(one in missed for one in range(number + 1))
            assert all((today - one).days <= waited for one in oldest if one)


def test_what_is_recent_is_due_each_day_or_once_in_as_many_days_as_its_scope_says() -> None:
    weekly = Scope("subscriptions", None, 100, every=7)
    yesterday = [Past(recent(SCOPE, TODAY - DAY), TODAY - DAY)]
    assert is_recent_due(SCOPE, [], TODAY)
    assert is_recent_due(SCOPE, yesterday, TODAY)
    assert not is_recent_due(SCOPE, [Past(recent(SCOPE, TODAY), TODAY)], TODAY)
    assert not is_recent_due(weekly, yesterday, TODAY)
    assert recent(weekly, TODAY).since == TODAY - RECENT - 6 * DAY
    # A read of the past says nothing of what is recent.
    assert is_recent_due(SCOPE, [Past(Span(None, TODAY - RECENT), TODAY)], TODAY)


def test_a_read_of_the_past_answers_from_where_rows_came() -> None:
    span, now = Span(dt.date(2025, 6, 1), dt.date(2025, 6, 30)), recent(SCOPE, TODAY)
    assert answered(now, None, now) == now
    assert answered(span, dt.date(2025, 5, 30), now) == span
    assert answered(span, dt.date(2025, 6, 10), now) == Span(dt.date(2025, 6, 13), dt.date(2025, 6, 30))
    assert answered(span, None, now) == Span(dt.date(2025, 7, 1), dt.date(2025, 6, 30))
    assert answered(Span(), dt.date(2025, 6, 10), now) == Span(dt.date(2025, 6, 13))
    assert answered(Span(), None, now) == now
