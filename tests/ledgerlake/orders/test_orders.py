"""Orders: one while it waits, taken once, done when its sync has ended."""

import datetime as dt

import pytest

from ledgerlake.errors import UsageError
from ledgerlake.orders import Orders
from ledgerlake.store import Store, Vault

DAY = dt.date(2026, 3, 1)


@pytest.fixture
def orders(store: Store) -> Orders:
    return Orders(store)


@pytest.fixture
def connection(store: Store, vault: Vault) -> str:
    return store.add_connection(vault, provider="teller", external_id="e", customer_id="c", secrets={})[0].connection_id


def synced(
    store: Store, connection: str, outcome: str = "done", mode: str = "incremental", since: dt.date | None = None
) -> None:
    with store.connect() as postgres:
        postgres.execute(
            """
            INSERT INTO ledgerlake.syncs (connection_id, today, mode, since, ended_at, outcome, new, error)
            VALUES (%s, now(), %s, %s, clock_timestamp(), %s, 3, CASE WHEN %s <> 'done' THEN 'the bank is away' END)
            """,
            (connection, mode, since, outcome, outcome),
        )


def test_the_same_order_twice_is_one_while_it_waits(orders: Orders, connection: str) -> None:
    first = orders.sync("ana", connection)
    assert orders.sync("ben", connection) == first
    other = orders.sync("ana", connection, DAY)
    assert [(one.kind, one.since) for one in orders.waiting()] == [("sync", None), ("refetch", DAY)]
    assert orders.take([first, other]) == [first, other]
    assert orders.take([first, other]) == []
    assert orders.sync("ana", connection).order_id != first.order_id


@pytest.mark.parametrize(
    ("outcome", "came", "said"),
    [("done", "done", "3 new, 0 changed, 0 removed"), ("retry", "failed", "the bank is away")],
)
def test_an_order_is_done_when_its_sync_has_ended(
    orders: Orders, store: Store, connection: str, outcome: str, came: str, said: str
) -> None:
    synced(store, connection)
    order = orders.sync("ana", connection)
    orders.take([order])
    assert orders.settle() == 0, "a sync before it does not count"
    synced(store, connection, outcome)
    assert orders.settle() == 1
    (ended,) = orders.newest(connection)
    assert (ended.outcome, ended.message) == (came, said)


def test_a_refetch_is_done_by_a_sync_that_went_back_so_far(orders: Orders, store: Store, connection: str) -> None:
    orders.take([orders.sync("ana", connection, DAY)])
    synced(store, connection)
    synced(store, connection, mode="since", since=DAY + dt.timedelta(days=1))
    assert orders.settle() == 0
    synced(store, connection, mode="since", since=DAY)
    assert orders.settle() == 1


def test_an_order_that_is_given_back_waits_again_and_one_that_has_ended_does_not(orders: Orders) -> None:
    one, other = orders.repair("ana", 7), orders.repair("ana", 8)
    orders.take([one, other])
    assert [each.order_id for each in orders.taken()] == [one.order_id, other.order_id]
    orders.end(other.order_id, "done", "mended")
    for each in (one, other):
        orders.give_back(each.order_id)
    assert (orders.waiting(), orders.taken()) == ([one], [])


def test_an_order_that_a_run_still_works_on_is_not_lost(orders: Orders, store: Store) -> None:
    order = orders.repair("ana", 7)
    orders.take([order])
    with store.connect() as postgres:
        postgres.execute("UPDATE ledgerlake.orders SET taken_at = now() - interval '2 hours'")
    assert orders.settle([order.order_id]) == 0
    assert orders.settle() == 1


def test_an_order_whose_run_died_is_told_of(orders: Orders, store: Store) -> None:
    order = orders.repair("ana", 7)
    orders.take([order])
    with store.connect() as postgres:
        postgres.execute("UPDATE ledgerlake.orders SET taken_at = now() - interval '2 hours'")
    assert orders.settle() == 1
    (ended,) = orders.newest(finding_id=7)
    assert (ended.outcome, ended.message) == ("failed", "its run did not end; ask again")
    orders.end(order.order_id, "done", "late")
    assert orders.newest(finding_id=7) == [ended]


def test_a_connection_that_is_not_called_takes_no_order(orders: Orders, store: Store, connection: str) -> None:
    store.set_state(connection, "paused", "by hand")
    with pytest.raises(UsageError, match="is paused"):
        orders.sync("ana", connection)
    with pytest.raises(UsageError, match="There is no connection"):
        orders.sync("ana", "con_none")
