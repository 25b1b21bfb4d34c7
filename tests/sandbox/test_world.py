"""The world is a pure function of its arguments, and shows every kind of life within two months."""

from datetime import date

import pytest

from sandbox._months import month_of
from sandbox.books import Books
from sandbox.world import World

OPENING = date(2025, 1, 1)


def test_the_first_customers_of_a_larger_world_are_those_of_a_smaller_one() -> None:
    small, large = World(1, 12, OPENING), World(1, 10_000, OPENING)
    assert [small.customer(i) for i in range(12)] == [large.customer(i) for i in range(12)]


def test_another_seed_is_another_world_and_an_equal_one_is_the_same() -> None:
    first, same, other = World(1, 1, OPENING), World(1, 1, OPENING), World(2, 1, OPENING)
    assert first.customer(0) == same.customer(0)
    assert first.customer(0) != other.customer(0)
    assert first.standing(first.customer(0)) == same.standing(same.customer(0))


def test_ids_seeds_and_amounts_never_change_between_releases() -> None:
    world = World(1, 2, OPENING)
    account = world.standing(world.customer(1))[0]
    row = Books(world).rows(account, month_of(OPENING.toordinal()), date(2025, 3, 1).toordinal())[0]
    assert (world.customer(1).name, account.ref, account.opening, row.phase.ref, row.phase.amount) == (
        "Elena Petrov",
        "aaabaab3bb9d0f99d5",
        1875890,
        "xxm2948e1346fbaf30",
        -6118,
    )


def test_a_world_restarted_later_in_the_year_is_the_same_world() -> None:
    assert World.of(1, 2, 1, date(2026, 1, 1)).opening == World.of(1, 2, 1, date(2026, 12, 31)).opening


def test_refs_lead_back_to_who_they_name() -> None:
    world = World(3, 24, OPENING)
    day = date(2025, 9, 1).toordinal()
    for index in range(24):
        customer = world.customer(index)
        assert world.find_customer(customer.ref) == customer
        for account in world.accounts(customer, day):
            assert world.find_account(account.ref, day) == account
            assert world.find_account(account.ref, account.opens_on - 1) is None
    for wrong in ("", "aaaa", "zzzz", "0000", customer.ref[:-1] + "0", "aaab" + customer.ref[4:]):
        assert world.find_customer(wrong) is None
        assert world.find_account(wrong, day) is None


@pytest.mark.parametrize("start", [date(2025, 1, 1), date(2025, 5, 17), date(2025, 11, 24)])
def test_any_72_days_see_accounts_appear_and_close_and_connections_break(start: date) -> None:
    world = World(1, 12, OPENING)
    first, last = start.toordinal(), start.toordinal() + 72
    customers = [world.customer(i) for i in range(12)]
    accounts = [a for c in customers for a in world.accounts(c, last)]
    broken = [b for c in customers for m in range(month_of(first), month_of(last) + 1) if (b := world.breaks(c, m))]
    assert any(first < a.opens_on <= last for a in accounts)
    assert any(a.closes_on is not None and first < a.closes_on <= last for a in accounts)
    assert any(first < day <= last for day, _ in broken)


def test_a_world_of_a_size_that_ids_cannot_name_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 1 to 1048572 customers, got 0"):
        World(1, 0, OPENING)
