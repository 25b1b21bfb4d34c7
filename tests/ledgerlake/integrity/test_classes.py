"""Each record is in exactly one class, whatever is in raw and whatever a build made of it: small worlds in plain DuckDB."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledgerlake.integrity._steps import Graph, Steps, Stream
from ledgerlake.integrity._trail import differences
from ledgerlake.integrity._verify import _Run

CONNECTIONS = ("con_a", "con_b")
STREAM = Stream("plaid", "transactions")
DAY = dt.date(2026, 2, 1)
NOW = dt.datetime(2026, 2, 2, tzinfo=dt.UTC)

# What became of a record: in staging and in the marts. Of two marks of one record the later stands.
FATES = (
    "whole",
    "unstaged",
    "staged twice",
    "staged with another stamp",
    "not in its mart",
    "twice in its mart",
    "of another amount",
    "of another currency",
    "of another day",
    "left out for a true reason",
    "left out for an untrue reason",
    "left out twice",
    "left out and yet there",
    "on its way",
    "made up",
)
record = st.tuples(st.sampled_from(CONNECTIONS), st.integers(1, 6), st.booleans(), st.sampled_from(FATES))

_TABLES = """
    CREATE TABLE records (
        provider VARCHAR, stream VARCHAR, bucket SMALLINT, connection_id VARCHAR, record_id VARCHAR, account_id VARCHAR,
        record_date DATE, pending BOOLEAN, synced_at TIMESTAMPTZ, removed_at TIMESTAMPTZ, told BOOLEAN, day DATE,
        source_amount DECIMAL(28, 8), amount DECIMAL(28, 8), currency VARCHAR, status VARCHAR, said_account_id VARCHAR
    );
    CREATE TABLE staged (
        provider VARCHAR, stream VARCHAR, bucket SMALLINT, connection_id VARCHAR, record_id VARCHAR, synced_at TIMESTAMPTZ,
        removed_at TIMESTAMPTZ
    );
    CREATE TABLE ended (
        provider VARCHAR, stream VARCHAR, bucket SMALLINT, connection_id VARCHAR, record_id VARCHAR, amount DECIMAL(28, 8),
        currency VARCHAR, day DATE, status VARCHAR, account_id VARCHAR
    );
    CREATE TABLE excluded (
        provider VARCHAR, stream VARCHAR, bucket SMALLINT, connection_id VARCHAR, record_id VARCHAR, model VARCHAR, reason VARCHAR
    );
    CREATE TABLE waiting (connection_id VARCHAR, stream VARCHAR, record_id VARCHAR, since TIMESTAMPTZ);
    CREATE TABLE heirs (connection_id VARCHAR, stream VARCHAR, record_id VARCHAR);
"""


@pytest.fixture(scope="module")
def duck() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(_TABLES)
        yield connection


def run_over(duck: duckdb.DuckDBPyConnection) -> _Run:
    """A verification whose tables are those, and whose files are all there."""
    names = [("staging", STREAM.staging), ("main", "fct_transactions"), ("main", "excluded_records")]
    at: Any = SimpleNamespace(duck=duck, snapshot=1, tables={name: SimpleNamespace(data=()) for name in names})
    nothing: Any = None
    no_connections: Any = SimpleNamespace(execute=lambda _: [])
    run = _Run(nothing, nothing, at, no_connections, Graph({}, {}), None, DAY, replayed=True)
    run.steps = Steps(at, nothing, Graph({}, {}), None, told={STREAM})
    return run


def build(duck: duckdb.DuckDBPyConnection, world: dict[tuple[str, int], tuple[bool, str]]) -> None:
    rows: dict[str, list[list[Any]]] = {name: [] for name in ("records", "staged", "ended", "excluded", "waiting")}
    for (connection, number), (removed, fate) in world.items():
        name, amount = str(number), Decimal(number)
        gone = NOW if removed else None
        home = ["plaid", "transactions", 0, connection, name]
        if fate != "made up":
            rows["records"].append(
                [*home, "acc", DAY, False, NOW, gone, True, DAY, -amount, amount, "EUR", "posted", "acc"]
            )
        stamped = NOW + dt.timedelta(seconds=fate == "staged with another stamp")
        staged = {"unstaged": 0, "on its way": 0, "staged twice": 2}.get(fate, 1)
        rows["staged"] += [[*home, stamped, gone]] * staged
        ended = {"not in its mart": 0, "on its way": 0, "unstaged": 0, "twice in its mart": 2}.get(fate, 1)
        value = [
            -amount if fate == "of another amount" else amount,
            "USD" if fate == "of another currency" else "EUR",
            DAY - dt.timedelta(days=1) if fate == "of another day" else DAY,
            "posted",
            "acc",
        ]
        left_out = {"left out for a true reason": ["a bank's"], "left out for an untrue reason": ["no_amount"]}
        reasons = left_out.get(fate, [])
        if fate in ("left out twice", "left out and yet there"):
            reasons = ["a bank's"] * (1 + (fate == "left out twice"))
        if removed and fate not in ("unstaged", "on its way", "not in its mart"):
            reasons = reasons or ["removed"]
        if reasons and fate != "left out and yet there":
            ended = 0
        rows["ended"] += [[*home, *value]] * ended
        rows["excluded"] += [[*home, "int_transactions", reason] for reason in reasons]
        if fate == "on its way":
            rows["waiting"].append([connection, "transactions", name, NOW])
    for table, ones in rows.items():
        duck.execute(f"DELETE FROM {table}")
        if ones:
            duck.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(ones[0]))})", ones)


def fared(fate: str, removed: bool) -> tuple[str, str]:
    """The class of a record in staging and in the marts, as one would say it by hand."""
    staging = {
        "unstaged": "missing",
        "staged twice": "duplicate",
        "staged with another stamp": "mismatched",
        "on its way": "late",
        "made up": "unexpected",
    }
    left = "excluded" if removed else "matched"
    marts = {
        "unstaged": "missing",
        "not in its mart": "missing",
        "on its way": "late",
        "made up": "unexpected",
        "left out for a true reason": "excluded",
        "left out for an untrue reason": "missing",
        "left out twice": "duplicate",
        "left out and yet there": "unexpected",
    }
    if not removed:
        marts |= {
            "twice in its mart": "duplicate",
            "of another amount": "mismatched",
            "of another currency": "mismatched",
            "of another day": "mismatched",
        }
    return staging.get(fate, "matched"), marts.get(fate, left)


@settings(deadline=None, max_examples=40)
@given(st.lists(record, min_size=1, max_size=12))
def test_each_record_is_in_exactly_one_class_at_each_step(
    duck: duckdb.DuckDBPyConnection, drawn: list[tuple[str, int, bool, str]]
) -> None:
    world = {(connection, number): (removed, fate) for connection, number, removed, fate in drawn}
    build(duck, world)
    run = run_over(duck)
    differences(run.steps)
    run._count("staging")
    run._count("marts")
    expected: dict[tuple[str, str], Counter[str]] = {}
    for (connection, _), (removed, fate) in world.items():
        for step, name in zip(("staging", "marts"), fared(fate, removed), strict=True):
            expected.setdefault((connection, step), Counter())[name] += 1
    found = {
        (one.connection_id, one.step): +Counter(
            matched=one.matched,
            missing=one.missing,
            unexpected=one.unexpected,
            duplicate=one.duplicate,
            mismatched=one.mismatched,
            late=one.late,
            excluded=one.excluded,
        )
        for one in run.classes
    }
    assert found == expected
    for one in run.classes:
        assert one.compared == sum(found[one.connection_id, one.step].values())
