"""What has become of orders that were taken: none is lost with the run that was to carry it out.

A sync that has ended ends its orders itself (``ledgerlake.orders``), and so does a repair. Here are the others: a run
that was never made, that failed or was killed before it came to them, or that did not call the connection.
"""

import datetime as dt
from collections.abc import Collection

import dagster as dg

from ledgerlake.ingest import switched_off
from ledgerlake.orders import Kind, Order, Orders
from ledgerlake.settings import Settings
from ledgerlake.store import Store
from orchestration import runs

MADE_WITHIN = dt.timedelta(minutes=2)
"""A run is there as soon as the evaluation that asked for it has ended; after so long it will never be."""

PATIENCE = dt.timedelta(minutes=10)
"""How long an order is asked for again and again while another sync of its connection runs."""

_MOST = 1000


def follow(instance: dg.DagsterInstance, store: Store, settings: Settings, kinds: Collection[Kind]) -> None:
    """Bring the orders of those kinds to what has become of their runs."""
    orders = Orders(store)
    taken = [one for one in orders.taken() if one.kind in kinds]
    if not taken:
        return
    made = _made(instance, min(one.taken_at for one in taken if one.taken_at is not None))
    under_way = {one.order_id for one in taken if (run := made.get(one.order_id)) and runs.is_open(instance, run)}
    orders.settle(under_way | {one.order_id for one in orders.taken() if one.kind not in kinds})
    open_still = {one.order_id for one in orders.taken()}
    for order in taken:
        if order.order_id not in open_still or order.order_id in under_way:
            continue
        run = made.get(order.order_id)
        if run is None:
            if order.taken_at is not None and dt.datetime.now(dt.UTC) - order.taken_at > MADE_WITHIN:
                orders.give_back(order.order_id)
        elif order.kind != "repair" and _was_read(run):
            _not_called(store, settings, orders, order)
        else:
            said = runs.sentence_of(instance, run) if run.status != dg.DagsterRunStatus.SUCCESS else "nothing was done"
            orders.end(order.order_id, "failed", said)


def _made(instance: dg.DagsterInstance, since: dt.datetime) -> dict[int, dg.DagsterRun]:
    """The newest run of each order since then."""
    found: dict[int, dg.DagsterRun] = {}
    for tag in (runs.SYNCS, runs.REPAIRS):
        wanted = dg.RunsFilter(tags={tag: "asked"}, created_after=since - dt.timedelta(minutes=1))
        for record in instance.get_run_records(wanted, limit=_MOST):
            run = record.dagster_run
            for order_id in run.tags.get(runs.ORDERS, "").split():
                found.setdefault(int(order_id), run)
    return found


def _was_read(run: dg.DagsterRun) -> bool:
    """Whether the step that syncs came to its end, whatever it brought."""
    return run.status == dg.DagsterRunStatus.SUCCESS or runs.UNREAD in run.tags


def _not_called(store: Store, settings: Settings, orders: Orders, order: Order) -> None:
    """A sync that did not call the connection: by its state, by its provider's, or since another one was at it."""
    assert order.connection_id is not None
    connection = store.connection(order.connection_id)
    if connection.state != "active":
        orders.end(order.order_id, "failed", f"{order.connection_id} is {connection.state}: it was not called")
    elif (why := switched_off(store, settings).get(connection.provider)) is not None:
        orders.end(order.order_id, "failed", f"it was not called: {why}")
    elif dt.datetime.now(dt.UTC) - order.asked_at < PATIENCE:
        orders.give_back(order.order_id)
    else:
        orders.end(order.order_id, "failed", "it was not called: another sync of it was running; ask again")
