"""Events are kept once, name connections as far as they are known, go together, and are handled by the sync after them."""

import asyncio
import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from psycopg import AsyncConnection
from pydantic import SecretStr

from connectors.webhooks import Event
from ledgerlake.store import Store, Vault
from ledgerlake.webhooks import Wanted, due, keep, mark_asked, prune, settle, unknown

Connect = Callable[..., str]
DAY = dt.date(2026, 1, 5)


def later(**by: float) -> dt.datetime:
    return dt.datetime.now(dt.UTC) + dt.timedelta(**by)


@pytest.fixture
def connect(store: Store, vault: Vault) -> Connect:
    """`connect(provider, external_id)`: a connection that was synced, an hour ago unless told otherwise."""

    def add(provider: str, external_id: str, *accounts: str, synced: bool = True) -> str:
        secrets = {"access_token": SecretStr("token")}
        added, _ = store.add_connection(
            vault, provider=provider, external_id=external_id, customer_id="acme", secrets=secrets
        )
        with store.connect() as postgres:
            for account in accounts:
                postgres.execute(
                    "INSERT INTO ledgerlake.accounts (connection_id, account_id, state, since) VALUES (%s, %s, 'open', %s)",
                    (added.connection_id, account, DAY),
                )
            if synced:
                postgres.execute(
                    "UPDATE ledgerlake.connections SET last_synced_at = now() - interval '1 hour' WHERE connection_id = %s",
                    (added.connection_id,),
                )
        return added.connection_id

    return add


def tell(store: Store, provider: str, event_id: str = "e1", **names: Any) -> bool:
    """Keep an event that asks for a sync."""

    async def kept() -> bool:
        async with await AsyncConnection.connect(store.postgres_url, autocommit=True) as postgres:
            event = Event(event_id=event_id, kind="kind", **{"asks": True, **names})
            return await keep(postgres, provider, event)

    return asyncio.run(kept())


def sync(
    store: Store, connection_id: str, *, outcome: str | None = "done", since: dt.date | None = None, began: float = 0
) -> None:
    """A sync that began so many seconds from now; without an outcome it goes on."""
    with store.connect() as postgres:
        postgres.execute(
            """
            INSERT INTO ledgerlake.syncs (connection_id, today, mode, since, started_at, ended_at, outcome)
            VALUES (%(id)s, '2026-03-01', %(mode)s, %(since)s, now() + %(began)s,
                    CASE WHEN %(outcome)s::text IS NULL THEN NULL ELSE now() END, %(outcome)s)
            """,
            {
                "id": connection_id,
                "mode": "since" if since else "incremental",
                "since": since,
                "began": dt.timedelta(seconds=began),
                "outcome": outcome,
            },
        )


def row(store: Store, column: str, event_id: str = "e1") -> Any:
    with store.connect() as postgres:
        found = postgres.execute("SELECT * FROM ledgerlake.webhook_events WHERE event_id = %s", (event_id,))
        names = [one.name for one in found.description or ()]
        rows = found.fetchall()
    assert len(rows) == 1
    return dict(zip(names, rows[0], strict=True))[column]


def test_an_event_that_comes_again_is_kept_once(store: Store, connect: Connect) -> None:
    connection_id = connect("teller", "enr_1")
    assert [tell(store, "teller", external_id="enr_1") for _ in range(3)] == [True, False, False]
    assert row(store, "connection_ids") == [connection_id]
    assert row(store, "handled_at") is None


def test_the_same_id_of_another_provider_is_another_event(store: Store) -> None:
    assert [tell(store, "teller"), tell(store, "stripe")] == [True, True]


def test_an_event_that_comes_many_times_at_once_is_kept_once(store: Store) -> None:
    async def at_once() -> list[bool]:
        async def one() -> bool:
            async with await AsyncConnection.connect(store.postgres_url, autocommit=True) as postgres:
                return await keep(postgres, "teller", Event(event_id="e1", kind="kind", asks=True))

        return await asyncio.gather(*(one() for _ in range(12)))

    assert sorted(asyncio.run(at_once())) == [False] * 11 + [True]


def test_an_event_that_asks_for_nothing_is_handled_at_once(store: Store, connect: Connect) -> None:
    connect("plaid", "item_1")
    tell(store, "plaid", external_id="item_1", asks=False)
    assert row(store, "handled_at") == row(store, "received_at")
    assert due(store, later()) == []


def test_several_events_of_one_connection_become_one_sync_from_the_first_day_that_they_name(
    store: Store, connect: Connect
) -> None:
    one, other = connect("tink", "cred_1", "acc_1", "acc_2"), connect("teller", "enr_1")
    tell(store, "tink", "a", external_id="cred_1")
    tell(store, "tink", "b", account_id="acc_1", since=DAY, until=DAY)
    tell(store, "teller", "c", external_id="enr_1")
    tell(store, "tink", "d", account_id="acc_2", since=DAY - dt.timedelta(days=3))
    assert due(store, later()) == [
        Wanted(one, "tink", DAY - dt.timedelta(days=3), ("a", "b", "d")),
        Wanted(other, "teller", None, ("c",)),
    ]


def test_an_account_that_is_seen_through_two_consents_has_both_synced(store: Store, connect: Connect) -> None:
    both = sorted([connect("tink", "cred_1", "acc_1"), connect("tink", "cred_2", "acc_1")])
    connect("teller", "enr_1", "acc_1")
    tell(store, "tink", account_id="acc_1")
    assert sorted(one.connection_id for one in due(store, later())) == both
    sync(store, both[0])
    assert settle(store) == 0
    assert [one.connection_id for one in due(store, later(minutes=2))] == [both[1]]
    sync(store, both[1])
    assert settle(store) == 1


def test_an_event_of_a_connection_that_is_added_later_waits_for_it(store: Store, connect: Connect) -> None:
    tell(store, "plaid", external_id="item_1")
    settle(store)
    assert (row(store, "connection_ids"), unknown(store), due(store, later())) == ([], 1, [])
    connection_id = connect("plaid", "item_1", synced=False)
    settle(store)
    assert (row(store, "connection_ids"), unknown(store)) == ([connection_id], 0)
    assert due(store, later()) == []  # its first sync is asked for by its being new
    sync(store, connection_id)
    assert settle(store) == 1


def test_a_connection_that_is_not_called_waits(store: Store, connect: Connect) -> None:
    connection_id = connect("plaid", "item_1")
    tell(store, "plaid", external_id="item_1")
    store.set_state(connection_id, "needs_reauth", "the customer signs in")
    assert due(store, later()) == []
    store.set_state(connection_id, "active", None)
    assert [one.connection_id for one in due(store, later())] == [connection_id]


def test_a_connection_that_was_just_synced_waits_a_minute(store: Store, connect: Connect) -> None:
    connection_id = connect("stripe", "acct_1")
    sync(store, connection_id, began=-20)
    tell(store, "stripe", external_id="acct_1")
    assert due(store, later()) == []
    assert [one.connection_id for one in due(store, later(seconds=60))] == [connection_id]


@pytest.mark.parametrize("outcome", ["done", "partial", "retry", "needs_reauth", "gone", "misconfigured", "failed"])
def test_an_event_is_handled_by_the_end_of_a_sync_that_began_after_it(
    store: Store, connect: Connect, outcome: str
) -> None:
    connection_id = connect("plaid", "item_1")
    tell(store, "plaid", external_id="item_1")
    sync(store, connection_id, outcome=outcome)
    assert settle(store) == 1
    assert row(store, "handled_at") is not None


@pytest.mark.parametrize(("began", "outcome"), [(-10, "done"), (0, None)])
def test_a_sync_that_began_before_it_or_goes_on_handles_no_event(
    store: Store, connect: Connect, began: float, outcome: str | None
) -> None:
    connection_id = connect("plaid", "item_1")
    tell(store, "plaid", external_id="item_1")
    sync(store, connection_id, began=began, outcome=outcome)
    assert settle(store) == 0


@pytest.mark.parametrize(
    ("outcome", "since", "handled"),
    [
        ("done", DAY, 1),
        ("done", DAY - dt.timedelta(days=1), 1),
        ("done", DAY + dt.timedelta(days=1), 0),
        ("done", None, 0),
        ("retry", DAY, 0),
    ],
)
def test_days_that_an_event_names_must_have_been_read(
    store: Store, connect: Connect, outcome: str, since: dt.date | None, handled: int
) -> None:
    connection_id = connect("tink", "cred_1", "acc_1")
    tell(store, "tink", account_id="acc_1", since=DAY)
    sync(store, connection_id, outcome=outcome, since=since)
    assert settle(store) == handled


def test_deleted_records_are_read_from_the_day_of_the_oldest_that_is_still_there(
    store: Store, connect: Connect
) -> None:
    connection_id = connect("tink", "cred_1", "acc_1")
    with store.connect() as postgres:
        for record, day, removed in (("t1", DAY, False), ("t2", DAY + dt.timedelta(days=1), False), ("t0", None, True)):
            postgres.execute(
                """
                INSERT INTO raw.tink_transactions (bucket, connection_id, record_id, account_id, record_date, pending,
                    payload, hash, version, sync_id, first_synced_at, synced_at, removed_at, removed_reason)
                SELECT bucket, connection_id, %s, 'acc_1', %s, false, '{}', gen_random_uuid(), 1, 1, now(), now(),
                       CASE WHEN %s THEN now() END, CASE WHEN %s THEN 'removed' END
                FROM ledgerlake.connections
                """,
                (record, day or DAY - dt.timedelta(days=9), removed, removed),
            )
    tell(store, "tink", account_id="acc_1", stream="transactions", record_ids=("t0", "t1", "t2", "t9"))
    assert due(store, later()) == [Wanted(connection_id, "tink", DAY, ("e1",))]
    with store.connect() as postgres:
        postgres.execute("UPDATE raw.tink_transactions SET removed_at = now(), removed_reason = 'removed'")
    assert due(store, later()) == [Wanted(connection_id, "tink", None, ("e1",))]


def test_an_event_of_a_stripe_key_is_of_the_only_one_or_of_the_one_that_has_its_customer(
    store: Store, connect: Connect
) -> None:
    connect("stripe", "acct_1")
    first = connect("stripe", "key_1")
    tell(store, "stripe", "a")
    assert row(store, "connection_ids", "a") == [first]
    second = connect("stripe", "key_2")
    with store.connect() as postgres:
        postgres.execute(
            """
            INSERT INTO raw.stripe_customers (bucket, connection_id, record_id, pending, payload, hash, version, sync_id,
                                              first_synced_at, synced_at)
            SELECT bucket, connection_id, 'cus_2', false, '{}', gen_random_uuid(), 1, 1, now(), now()
            FROM ledgerlake.connections WHERE connection_id = %s
            """,
            (second,),
        )
    tell(store, "stripe", "b")
    tell(store, "stripe", "c", stream="customers", record_ids=("cus_2",))
    tell(store, "stripe", "d", stream="customers", record_ids=("cus_9",))
    assert [row(store, "connection_ids", event) for event in "bcd"] == [[], [second], []]
    settle(store)
    assert unknown(store) == 2


def test_what_was_asked_for_in_vain_is_asked_for_ever_more_rarely(store: Store, connect: Connect) -> None:
    connect("tink", "cred_1", "acc_1")
    tell(store, "tink", account_id="acc_1", since=DAY)
    for times, minutes in ((1, 2), (2, 4), (3, 8)):
        mark_asked(store, due(store, later(days=2)))
        assert row(store, "asked") == times
        assert due(store, later(minutes=minutes - 1)) == []
        assert len(due(store, later(minutes=minutes, seconds=1))) == 1
    with store.connect() as postgres:
        postgres.execute("UPDATE ledgerlake.webhook_events SET asked = 1000")
    assert due(store, later(hours=23)) == []
    assert len(due(store, later(hours=25))) == 1


def test_a_new_event_takes_those_that_wait_with_it(store: Store, connect: Connect) -> None:
    connection_id = connect("tink", "cred_1", "acc_1")
    tell(store, "tink", "a", account_id="acc_1", since=DAY)
    mark_asked(store, due(store, later()))
    tell(store, "tink", "b", external_id="cred_1")
    assert due(store, later()) == [Wanted(connection_id, "tink", DAY, ("a", "b"))]


def test_old_events_go_handled_or_not(store: Store, connect: Connect) -> None:
    connect("plaid", "item_1")
    tell(store, "plaid", "a", external_id="item_1", asks=False)
    tell(store, "plaid", "b", external_id="nobody")
    assert prune(store, before=later(days=-1)) == 0
    assert prune(store, before=later()) == 2
