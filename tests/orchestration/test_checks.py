"""Checks that read the store: what they say of connections that are behind, of quarantine, and of nothing at all."""

import datetime as dt
from collections.abc import Callable

import dagster as dg
import pytest

from ledgerlake.store import Connection, Store
from orchestration.checks import freshness, quarantined


@pytest.fixture
def look(definitions: dg.Definitions, instance: dg.DagsterInstance) -> Callable[[], dict[str, tuple[bool, str, str]]]:
    """Runs the job `look`; asset and check -> passed, severity, description."""

    def run() -> dict[str, tuple[bool, str, str]]:
        result = definitions.resolve_job_def("look").execute_in_process(instance=instance)
        return {
            f"{one.asset_key.to_user_string()} {one.check_name}": (
                one.passed,
                one.severity.value,
                one.description or "",
            )
            for one in result.get_asset_check_evaluations()
        }

    return run


Look = Callable[[], dict[str, tuple[bool, str, str]]]


def test_without_a_connection_nothing_is_called_fresh(look: Look) -> None:
    assert look()["raw/teller_transactions fresh"] == (
        False,
        "WARN",
        "There is no active connection: nothing can be fresh. `ledgerlake connect` adds one.",
    )


def test_a_connection_that_was_never_synced_is_behind(look: Look, connect: Callable[[int], Connection]) -> None:
    connect(0)
    assert look()["raw/teller_transactions fresh"] == (False, "WARN", "1 of 1 active connections are behind.")


def test_a_stream_is_as_fresh_as_its_oldest_open_account(store: Store, connect: Callable[[int], Connection]) -> None:
    connection = connect(0)
    now = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
    with store.connect() as postgres:
        postgres.execute("UPDATE ledgerlake.connections SET last_synced_at = %s", (now,))
        for account, state, hours in [("new", "open", 1), ("old", "open", 30), ("closed", "closed", 300)]:
            postgres.execute(
                "INSERT INTO ledgerlake.accounts (connection_id, account_id, state, since) VALUES (%s, %s, %s, %s)",
                (connection.connection_id, account, state, now.date()),
            )
            postgres.execute(
                """
                INSERT INTO ledgerlake.cursors (connection_id, stream, account_id, read_on, updated_at)
                VALUES (%s, 'transactions', %s, %s, %s)
                """,
                (connection.connection_id, account, now.date(), now - dt.timedelta(hours=hours)),
            )
    (transactions,) = freshness(store, "teller", "transactions")
    (balances,) = freshness(store, "teller", "balances")
    assert (transactions.read_at, balances.read_at) == (now - dt.timedelta(hours=30), now)


def test_what_is_in_quarantine_is_a_warning_with_its_reasons_and_what_was_released_is_not(
    look: Look, store: Store, connect: Callable[[int], Connection]
) -> None:
    connection = connect(0)
    assert look()["raw/teller_transactions quarantine_is_empty"] == (True, "WARN", "Nothing is in quarantine.")
    with store.connect() as postgres:
        for number, released in enumerate([None, None, "2026-03-01"]):
            postgres.execute(
                """
                INSERT INTO raw.quarantine (bucket, connection_id, provider, stream, payload, hash, reason, released_at)
                VALUES (%s, %s, 'teller', 'transactions', '{}', gen_random_uuid(), %s, %s)
                """,
                (connection.bucket, connection.connection_id, f"amount {number // 2}", released),
            )
    assert quarantined(store, "teller", "transactions") == {"amount 0": 2}
    assert look()["raw/teller_transactions quarantine_is_empty"] == (
        False,
        "WARN",
        "2 payloads are in quarantine, for 1 reasons.",
    )
    assert look()["raw/teller_balances quarantine_is_empty"][0]
