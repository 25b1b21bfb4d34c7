"""Accounts and connections as wholes: what no single record shows."""

import datetime as dt
from decimal import Decimal

import duckdb
import pytest

from ledgerlake.integrity._accounts import silent, still, twice
from ledgerlake.integrity._steps import Steps
from ledgerlake.store import Store, Vault

DAY = dt.date(2026, 3, 1)


class Books(Steps):
    """The table ``records`` of a reading, filled by hand."""

    def __init__(self) -> None:
        self.duck = duckdb.connect()
        self.at = self  # type: ignore[assignment]
        self.duck.execute(
            """
            CREATE TABLE records (
                provider VARCHAR, stream VARCHAR, connection_id VARCHAR, account_id VARCHAR, record_id VARCHAR, day DATE,
                amount DECIMAL(28, 8), currency VARCHAR, status VARCHAR, synced_at TIMESTAMPTZ, removed_at TIMESTAMPTZ
            )
            """
        )
        self.rows = 0

    def add(
        self, connection: str, amount: str, day: dt.date = DAY, *, stream: str = "transactions", status: str = "posted"
    ) -> None:
        self.rows += 1
        self.duck.execute(
            "INSERT INTO records VALUES ('teller', ?, ?, 'acc_' || ?, ?, ?, ?, 'EUR', ?, ?, NULL)",
            [
                *(stream, connection, connection, f"r{self.rows}", day, Decimal(amount), status),
                dt.datetime.now(dt.UTC) + dt.timedelta(hours=1),
            ],
        )


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.fixture
def connection(store: Store, vault: Vault) -> str:
    return store.add_connection(vault, provider="teller", external_id="e", customer_id="c", secrets={})[0].connection_id


def synced(store: Store, connection: str, today: dt.date, outcome: str = "done", error: str | None = None) -> None:
    with store.connect() as postgres:
        postgres.execute(
            """
            INSERT INTO ledgerlake.syncs (connection_id, today, mode, ended_at, outcome, error)
            VALUES (%s, %s, 'incremental', now(), %s, %s)
            """,
            (connection, today, outcome, error),
        )


def days_after(count: int) -> dt.date:
    return DAY + dt.timedelta(days=count)


def test_a_connection_that_no_sync_reads_to_its_end_is_silent_after_three_days(store: Store, connection: str) -> None:
    synced(store, connection, DAY)
    synced(store, connection, days_after(2), "retry", "the bank is away")
    with store.connect() as postgres:
        assert silent(postgres, days_after(2), 3) == []
        [finding] = silent(postgres, days_after(3), 3)
        assert silent(postgres, None, 3) == [], "by the clock it was read just now"
        postgres.execute("UPDATE ledgerlake.syncs SET ended_at = now() - interval '4 days'")
        assert [one.connection_id for one in silent(postgres, None, 3)] == [connection]
        postgres.execute("UPDATE ledgerlake.connections SET state = 'paused'")
        assert silent(postgres, days_after(9), 3) == [], "nobody calls it"
    assert (finding.kind, finding.step, finding.field, finding.connection_id) == ("stale", "source", "sync", connection)
    assert "since 2026-03-01; the last one said: the bank is away" in finding.message


def test_two_accounts_with_the_same_transactions_are_one_account_twice(books: Books) -> None:
    for count in range(6):
        books.add("a", f"{count}.50", days_after(count))
        books.add("b", f"{count}.50", days_after(count))
        books.add("c", f"{count}.50", days_after(count))
    books.add("b", "77", days_after(9))
    found = list(twice(books, {"a": "one", "b": "one", "c": "another customer"}))
    [finding] = found
    assert (finding.kind, finding.step, finding.connection_id, finding.account_id) == (
        "duplicate",
        "source",
        "b",
        "acc_b",
    )
    assert finding.money == {"EUR": Decimal("18.00000000")}
    assert [(one.record_id, one.reason) for one in finding.sample] == [("acc_b", "the same as acc_a of a")]


@pytest.mark.parametrize("same", [4, 6])
def test_accounts_that_share_some_transactions_are_two(books: Books, same: int) -> None:
    """As of a transfer each month, or too few to tell."""
    for count in range(12):
        books.add("a", f"{count}.50", days_after(count))
        books.add("b", f"{count}.50" if count < same else f"-{count}", days_after(count))
    assert list(twice(books, {"a": "one", "b": "one"})) == []


def test_an_account_that_was_busy_and_is_no_more_is_stale(books: Books) -> None:
    for count in range(0, 90, 2):
        books.add("busy", "1", days_after(count))
        books.add("silent", "1", days_after(count))
    for count in range(0, 90, 30):
        books.add("slow", "1", days_after(count))
    last = days_after(88)
    assert list(still(books, last + dt.timedelta(days=10), set())) == []
    found = list(still(books, last + dt.timedelta(days=11), {"silent"}))
    assert [(one.kind, one.connection_id, one.field) for one in found] == [("stale", "busy", "transactions")]
