"""The laws of the books, on every day of two months: sums, ids, and the life of each record."""

from collections import Counter
from datetime import date

import pytest

from sandbox.books import Books, Row
from sandbox.movement import RESTLESS, Movement, Phase
from sandbox.world import QUIET_DAYS, Account, World

OPENING = date(2025, 1, 1)
FIRST, LAST = date(2025, 2, 20).toordinal(), date(2025, 4, 25).toordinal()


@pytest.fixture(scope="module")
def books() -> Books:
    return Books(World(11, 12, OPENING))


def _accounts(books: Books, day: int) -> list[Account]:
    world = books.world
    accounts = [a for index in range(world.size) for a in world.accounts(world.customer(index), day)]
    assert len(accounts) > 12
    return accounts


def _rows(books: Books, account: Account, day: int) -> list[Row]:
    return [row for month in books.months(account, day) for row in reversed(books.rows(account, month, day))]


def _movements(books: Books) -> list[tuple[Account, Movement]]:
    return [
        (account, movement)
        for account in _accounts(books, LAST)
        for month in books.months(account, LAST)
        for movement in books.movements(account, month)
    ]


def test_the_ledger_is_the_opening_and_the_posted_rows_shown_and_pending_the_pending_ones(books: Books) -> None:
    for day in range(FIRST, LAST, 3):
        for account in _accounts(books, day):
            rows = _rows(books, account, day)
            posted = sum(row.phase.amount for row in rows if row.phase.posted)
            pending = sum(row.phase.amount for row in rows if not row.phase.posted)
            assert (books.ledger(account, day) - account.opening, books.pending(account, day)) == (posted, pending)


def test_no_row_is_dated_after_the_day_it_is_shown_on_and_no_id_is_shown_twice(books: Books) -> None:
    for day in range(FIRST, LAST, 5):
        refs: Counter[str] = Counter()
        for account in _accounts(books, day):
            rows = _rows(books, account, day)
            refs.update(row.phase.ref for row in rows)
            assert all(row.phase.day <= day for row in rows)
            assert [row.phase.day for row in rows] == sorted(row.phase.day for row in rows)
        assert set(refs.values()) == {1}


def test_what_is_shown_of_a_day_is_the_same_whatever_was_asked_before() -> None:
    world = World(11, 12, OPENING)
    account = world.standing(world.customer(0))[0]
    forward, backward = Books(world), Books(world)
    days = range(FIRST, FIRST + 20)
    seen = {day: _rows(forward, account, day) for day in days}
    assert seen == {day: _rows(backward, account, day) for day in reversed(days)}


def test_nothing_changes_more_than_ten_days_after_its_date(books: Books) -> None:
    restless = [
        (phase.day, phase.until)
        for _, movement in _movements(books)
        for phase in movement.phases
        if not phase.day <= phase.since <= phase.day + RESTLESS
        or (phase.until < 2**31 and phase.until > phase.day + RESTLESS)
        or movement.enriched_on > phase.day + RESTLESS
    ]
    assert restless == []


def test_each_pending_row_posts_under_its_id_or_a_new_one_or_is_cancelled(books: Books) -> None:
    fates: Counter[str] = Counter()
    for _, movement in _movements(books):
        pending, *later = movement.phases
        if pending.posted:
            continue
        assert 1 <= pending.until - pending.since <= 5
        if not later:
            fates["cancelled"] += 1
            continue
        posted = later[0]
        assert (posted.since, posted.day, posted.posted) == (pending.until, pending.until, True)
        fates["same id" if posted.ref == pending.ref else "new id"] += 1
    share = {fate: count / fates.total() for fate, count in fates.items()}
    assert 0.01 < share["cancelled"] < 0.06
    assert 0.15 < share["new id"] < 0.25
    assert share["same id"] > 0.7


def test_rows_come_late_are_corrected_in_text_and_amount_and_enriched_later(books: Books) -> None:
    seen: Counter[str] = Counter()
    for _, movement in _movements(books):
        for before, after in zip(movement.phases, movement.phases[1:], strict=False):
            if before.posted:
                assert (before.ref, before.day, before.until) == (after.ref, after.day, after.since)
                seen["amount" if before.amount != after.amount else "text"] += 1
        first = movement.phases[0]
        seen["late"] += first.since > first.day
        seen["enriched later"] += movement.enriched_on > first.since
    assert {name: count > 5 for name, count in seen.items()} == {
        "amount": True,
        "text": True,
        "late": True,
        "enriched later": True,
    }


def test_a_running_balance_is_the_ledger_after_the_entry_and_is_never_rewritten(books: Books) -> None:
    account = _accounts(books, LAST)[0]
    first_seen: dict[str, int] = {}
    for day in range(FIRST, LAST):
        rows = _rows(books, account, day)
        for row in rows:
            assert (row.running is None) == (not row.phase.posted)
            if row.running is not None:
                assert first_seen.setdefault(row.phase.ref, row.running) == row.running
        entered = [row for row in rows if row.phase.posted and _entry(row.movement).since == day]
        if entered:
            last = max(entered, key=lambda row: row.movement.order)
            assert last.running == books.ledger(account, day)


def _entry(movement: Movement) -> Phase:
    return next(phase for phase in movement.phases if phase.posted)


def test_both_legs_of_a_transfer_between_own_accounts_cancel_out(books: Books) -> None:
    legs: dict[int, list[int]] = {}
    for account, movement in _movements(books):
        if movement.kind == "transfer":
            assert len({phase.amount for phase in movement.phases}) == 1
            legs.setdefault(account.customer, []).append(movement.phases[0].amount)
    assert len(legs) > 4
    assert {customer: sum(amounts) for customer, amounts in legs.items()} == dict.fromkeys(legs, 0)


def test_a_pot_is_emptied_and_quiet_before_it_closes(books: Books) -> None:
    day = date(2025, 8, 1).toordinal()
    closed = [a for a in _accounts(books, day) if a.closes_on is not None and a.closes_on <= day]
    assert len(closed) > 3
    for pot in closed:
        assert pot.closes_on is not None
        calm = pot.closes_on - 1
        assert books.ledger(pot, calm) == 0
        assert max(row.phase.day for row in _rows(books, pot, calm)) < pot.closes_on - QUIET_DAYS


def test_checking_accounts_can_afford_their_lives(books: Books) -> None:
    day = date(2025, 12, 31).toordinal()
    checking = [a for a in _accounts(books, day) if a.subtype == "checking"]
    assert {a.ref: books.ledger(a, day) > 0 for a in checking} == {a.ref: True for a in checking}


def test_a_busy_account_has_as_many_records_as_asked_and_costs_bounded_memory() -> None:
    world = World(1, 1, OPENING, busy=400)
    books = Books(world)
    account = world.standing(world.customer(0))[0]
    counted = sum(len(books.rows(account, month, LAST)) for month in books.months(account, LAST))
    days = LAST - OPENING.toordinal() + 1
    assert 380 * days < counted < 430 * days
    assert books._months.weight <= books._months.limit
