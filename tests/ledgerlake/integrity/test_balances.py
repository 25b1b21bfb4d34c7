"""Balances: two readings of a day may differ, and what proves that ours is wrong. Each bank is a few readings in PostgreSQL."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import uuid
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from ledgerlake.integrity._balances import balances
from ledgerlake.integrity._expect import expected
from ledgerlake.integrity._report import Compared
from ledgerlake.integrity._source import nothing
from ledgerlake.integrity._steps import Graph, Steps
from ledgerlake.lake._session import attach_postgres, session
from ledgerlake.settings import Settings
from ledgerlake.store import Store, Vault

DAY = dt.date(2026, 3, 1)


def digest(text: str) -> uuid.UUID:
    return uuid.UUID(bytes=hashlib.sha256(text.encode()).digest()[:16])


class Bank:
    """One account at Teller. Each day our sync reads at six o'clock, first the balance, and the census at seven."""

    def __init__(self, postgres: psycopg.Connection, settings: Settings, connection_id: str, bucket: int) -> None:
        self.postgres, self.settings = postgres, settings
        self.connection_id, self.bucket = connection_id, bucket
        self.rows = 0
        account = {"id": "acc", "type": "depository", "currency": "USD", "status": "open"}
        self._held("accounts", "acc", None, account, self.at(0, 6))

    def at(self, day: int, hour: int, minute: int = 0) -> dt.datetime:
        return dt.datetime.combine(DAY + dt.timedelta(days=day), dt.time(hour, minute), dt.UTC)

    def ours(self, day: int, ledger: str | None, available: str | None = None, *, hour: int = 6) -> None:
        told = {"account_id": "acc", "ledger": ledger, "available": available}
        on = DAY + dt.timedelta(days=day)
        self._held("balances", f"acc:{on}", on, told, self.at(day, hour))

    def theirs(self, day: int, ledger: str | None, available: str | None = None, *, hour: int = 7) -> None:
        text = json.dumps({"account_id": "acc", "ledger": ledger, "available": available})
        on = DAY + dt.timedelta(days=day)
        row = self.postgres.execute(
            """
            INSERT INTO ledgerlake.census_reads (census_id, connection_id, stream, account_id, today, read_at, outcome)
            VALUES ('c', %s, 'balances', 'acc', %s, %s, 'done') RETURNING read_id
            """,
            (self.connection_id, on, self.at(day, hour)),
        ).fetchone()
        assert row is not None
        self.postgres.execute(
            """
            INSERT INTO ledgerlake.census_records
                (read_id, position, connection_id, stream, account_id, record_id, record_date, pending, payload, hash)
            VALUES (%s, 0, %s, 'balances', 'acc', %s, %s, false, %s, %s)
            """,
            (row[0], self.connection_id, f"acc:{on}", on, text, digest(text)),
        )

    def moves(self, day: int, amount: str, *, dated: int | None = None, pending: bool = False) -> None:
        """A transaction that our sync of the day brings, a minute after the balance."""
        self.rows += 1
        on = DAY + dt.timedelta(days=day if dated is None else dated)
        told = {
            "id": f"txn_{self.rows}",
            "account_id": "acc",
            "date": on.isoformat(),
            "amount": amount,
            "status": "pending" if pending else "posted",
        }
        self._held("transactions", f"txn_{self.rows}", on, told, self.at(day, 6, 1), pending=pending)

    def _held(
        self,
        stream: str,
        record: str,
        on: dt.date | None,
        told: dict[str, Any],
        at: dt.datetime,
        *,
        pending: bool = False,
    ) -> None:
        text = json.dumps(told)
        self.postgres.execute(
            f"""
            INSERT INTO raw.teller_{stream} (bucket, connection_id, record_id, account_id, record_date, pending, payload, hash,
                                             version, sync_id, first_synced_at, synced_at)
            VALUES (%s, %s, %s, 'acc', %s, %s, %s, %s, 1, 1, %s, %s)
            """,
            (self.bucket, self.connection_id, record, on, pending, text, digest(text), at, at),
        )

    def became(self, record: str, day: int, **told: str) -> None:
        """The sync of the day found this transaction changed."""
        row = self.postgres.execute(
            """
            INSERT INTO raw.history (provider, stream, bucket, connection_id, record_id, account_id, record_date, pending, payload,
                                     hash, version, sync_id, first_synced_at, synced_at, superseded_at, superseded_by)
            SELECT 'teller', 'transactions', bucket, connection_id, record_id, account_id, record_date, pending, payload, hash,
                   version, sync_id, first_synced_at, synced_at, %s, 2
            FROM raw.teller_transactions WHERE record_id = %s RETURNING payload
            """,
            (self.at(day, 6, 1), record),
        ).fetchone()
        assert row is not None
        text = json.dumps(row[0] | told)
        self.postgres.execute(
            "UPDATE raw.teller_transactions SET payload = %s, hash = %s, pending = %s, version = version + 1, synced_at = %s"
            " WHERE record_id = %s",
            (text, digest(text), (row[0] | told)["status"] == "pending", self.at(day, 6, 1), record),
        )

    def judged(self) -> tuple[dict[str, int], list[tuple[str, list[str], list[str], list[str], bool]]]:
        """The classes, and of what differs: record, fields, the source's values, ours, whether it may only be late."""
        with session(self.settings) as duck:
            attach_postgres(duck, self.settings.postgres_url.get_secret_value())  # type: ignore[union-attr]
            row = self.postgres.execute("SELECT pg_export_snapshot()").fetchone()
            assert row is not None
            at: Any = SimpleNamespace(duck=duck, postgres_snapshot=row[0])
            steps = Steps(at, expected, Graph({}, {}), None)
            steps.read_raw()
            nothing(steps)
            classes = balances(steps)
            told = duck.execute(
                "SELECT record_id, fields, expected::DECIMAL(18, 2)[]::VARCHAR[], found::DECIMAL(18, 2)[]::VARCHAR[], late"
                " FROM source_suspects"
            ).fetchall()
        [one] = classes
        assert one == Compared(
            self.connection_id,
            "balances",
            "source",
            one.compared,
            one.matched,
            mismatched=one.mismatched,
            late=one.late,
        )
        return {name: getattr(one, name) for name in ("matched", "mismatched", "late") if getattr(one, name)}, told

    @property
    def verdict(self) -> str:
        counts, _ = self.judged()
        [(name, rows)] = counts.items()
        assert rows == 1
        return name


@pytest.fixture
def bank(store: Store, settings: Settings, vault: Vault) -> Iterator[Bank]:
    made, _ = store.add_connection(vault, provider="teller", external_id="e", customer_id="c", secrets={})
    assert isinstance(settings.postgres_url, SecretStr)
    with store.connect() as postgres:
        postgres.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        yield Committed(postgres, settings, made.connection_id, made.bucket)


class Committed(Bank):
    """Writes at once: what another connection reads must be there."""

    def judged(self) -> Any:
        self.postgres.execute("COMMIT")
        self.postgres.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        return super().judged()


def test_a_reading_that_repeats_the_one_before_is_wrong_where_the_transactions_moved(bank: Bank) -> None:
    bank.ours(0, "100.00", "90.00")
    bank.theirs(0, "100.00", "90.00")
    bank.moves(2, "5.10", dated=1)
    bank.moves(2, "-0.10")
    bank.ours(2, "100.00", "90.00")
    bank.theirs(2, "105.00", "95.00")
    assert bank.judged() == (
        {"mismatched": 1},
        [("acc:2026-03-03", ["amount", "available"], ["105.00", "95.00"], ["100.00", "90.00"], False)],
    )


def test_readings_that_agree_match_and_one_that_we_have_not_is_late(bank: Bank) -> None:
    bank.ours(0, "100.00")
    bank.theirs(0, "100.00")
    assert bank.judged() == ({"matched": 1}, [])
    bank.theirs(1, "100.00")
    assert bank.judged() == ({"late": 1}, [])


def test_the_same_amount_in_other_bytes_matches(bank: Bank) -> None:
    bank.ours(0, "100.0")
    bank.theirs(0, "100.00")
    assert bank.judged() == ({"matched": 1}, [])


@pytest.mark.parametrize("history", [0, 1, 5])
def test_a_bank_that_moved_between_our_sync_and_the_census_is_no_fault_of_ours(bank: Bank, history: int) -> None:
    for day in range(history):
        bank.ours(day, "100.00")
        bank.theirs(day, "100.00")
    bank.ours(history, "100.00")
    bank.theirs(history, "130.00")
    assert bank.verdict == "late"


def test_what_came_while_the_sync_ran_is_believed_until_the_next_day(bank: Bank) -> None:
    """The balance was read a minute before the transactions, and the movement may have come in that minute."""
    bank.ours(0, "100.00")
    bank.theirs(0, "100.00")
    bank.moves(1, "30.00")
    bank.ours(1, "100.00")
    bank.theirs(1, "130.00")
    assert bank.verdict == "late"
    bank.moves(2, "0.50")
    bank.ours(2, "100.00")
    bank.theirs(2, "130.50")
    assert bank.verdict == "mismatched"


def test_a_bank_whose_balance_does_not_follow_its_transactions_is_not_judged_by_them(bank: Bank) -> None:
    for day, value in enumerate(("100.00", "104.00", "97.00", "113.00")):
        bank.ours(day, value)
        bank.theirs(day, value)
    bank.moves(4, "5.00", dated=3)
    bank.ours(4, "113.00")
    bank.theirs(4, "118.00")
    assert bank.verdict == "late"


def test_one_day_on_which_the_bank_moved_after_our_sync_does_not_spoil_what_is_known_of_it(bank: Bank) -> None:
    bank.ours(0, "100.00")
    bank.theirs(0, "100.00")
    bank.ours(1, "100.00")
    bank.theirs(1, "107.00")
    bank.moves(2, "7.00", dated=1)
    bank.ours(2, "107.00")
    bank.theirs(2, "107.00")
    bank.moves(3, "1.00", dated=2)
    bank.ours(3, "107.00")
    bank.theirs(3, "108.00")
    assert bank.verdict == "mismatched"


@pytest.mark.parametrize("counts_pendings", [False, True])
def test_whether_a_bank_counts_pendings_in_is_learned(bank: Bank, counts_pendings: bool) -> None:
    bank.ours(0, None, "100.00")
    bank.theirs(0, None, "100.00")
    bank.moves(2, "-40.00", dated=1, pending=True)
    bank.moves(2, "5.00", dated=1)
    bank.ours(2, None, "100.00")
    bank.theirs(2, None, "65.00" if counts_pendings else "105.00")
    counts, [(_, fields, _, _, late)] = bank.judged()
    assert (counts, fields, late) == ({"mismatched": 1}, ["available"], False)


def test_a_transaction_counts_with_the_amount_that_it_had_then(bank: Bank) -> None:
    bank.moves(0, "-20.00", pending=True)
    bank.moves(0, "-3.00")
    bank.ours(0, "97.00")
    bank.theirs(0, "97.00")
    bank.became("txn_1", 2, status="posted", amount="-22.00", date="2026-03-02")
    bank.became("txn_2", 2, amount="-4.00", date="2026-03-02")
    bank.ours(2, "97.00")
    bank.theirs(2, "74.00")
    assert bank.verdict == "mismatched"


def test_a_reading_of_ours_that_is_younger_than_the_census_is_not_held_against_it(bank: Bank) -> None:
    bank.ours(0, "100.00")
    bank.theirs(0, "100.00")
    bank.moves(1, "5.00", dated=0)
    bank.theirs(2, "105.00", hour=5)
    bank.ours(2, "100.00", hour=9)
    assert bank.verdict == "late"


def test_a_balance_that_stays_while_the_source_moves_is_wrong_whatever_its_transactions_say(bank: Bank) -> None:
    for day, value in enumerate(("104.00", "97.00")):
        bank.ours(day, "100.00")
        bank.theirs(day, value)
    assert bank.verdict == "late"
    bank.ours(2, "100.00")
    bank.theirs(2, "113.00")
    assert bank.verdict == "mismatched"


@pytest.mark.parametrize("seen", [("104.00", "100.00", "113.00"), ("104.00", "104.00", "104.00")])
def test_a_source_that_was_seen_at_our_value_or_that_stays_as_well_proves_nothing(
    bank: Bank, seen: tuple[str, str, str]
) -> None:
    """As of an account that is swept each night, and of two answers of a bank that never agree."""
    for day, value in enumerate(seen):
        bank.ours(day, "100.00")
        bank.theirs(day, value)
    if seen[1] == seen[2]:
        bank.moves(2, "3.00")
    assert bank.verdict == "late"


def test_the_day_after_only_the_new_reading_is_compared(bank: Bank) -> None:
    bank.ours(0, "100.00")
    bank.theirs(0, "100.00")
    bank.moves(2, "5.00", dated=1)
    bank.ours(2, "100.00")
    bank.theirs(2, "105.00")
    assert bank.verdict == "mismatched"
    bank.ours(3, "105.00")
    bank.theirs(3, "105.00")
    assert bank.verdict == "matched"
