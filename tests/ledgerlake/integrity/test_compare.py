"""The comparison of two relations: whatever is in them, as a diff by hand would have it."""

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledgerlake.integrity._compare import compare

KEY = ("connection", "id")
FIELDS = ("amount", "currency")

Row = tuple[str | None, str | None, int, Decimal | None, str | None]
row = st.tuples(
    st.sampled_from(["a", "b", None]),
    st.sampled_from(["1", "2", "3", "4", None]),
    st.sampled_from([1, 2]),
    st.sampled_from([Decimal(1), Decimal("1.00000001"), Decimal(-1), Decimal("9" * 20), None]),
    st.sampled_from(["EUR", "USD", None]),
)


@pytest.fixture(scope="module")
def duck() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        for side in ("l", "r"):
            connection.execute(
                f"CREATE TABLE {side} (connection VARCHAR, id VARCHAR, day INTEGER, amount DECIMAL(28, 8), currency VARCHAR)"
            )
        yield connection


def fill(duck: duckdb.DuckDBPyConnection, **sides: list[Row]) -> None:
    for side, rows in sides.items():
        duck.execute(f"DELETE FROM {side}")
        if rows:
            duck.executemany(f"INSERT INTO {side} VALUES (?, ?, ?, ?, ?)", rows)


def naive(left: list[Row], right: list[Row]) -> dict[Any, tuple[str, int, int]]:
    """Each key that differs, with its class and how often it is on each side."""
    found = {}
    for key in {one[:2] for one in left + right}:
        mine, theirs = (Counter((*one[:2], *one[3:]) for one in side if one[:2] == key) for side in (left, right))
        lefts, rights = mine.total(), theirs.total()
        if mine != theirs:
            found[key] = (
                "missing"
                if lefts > rights
                else "unexpected"
                if not lefts
                else "duplicate"
                if rights > lefts
                else "mismatch",
                lefts,
                rights,
            )
    return found


@settings(max_examples=60, deadline=None)
@given(
    left=st.lists(row, max_size=12),
    right=st.lists(row, max_size=12),
    shared=st.lists(row, max_size=12),
    group=st.sampled_from([("connection", "day"), ("connection",), ()]),
)
def test_each_key_is_in_the_class_that_a_diff_by_hand_gives_it(
    duck: duckdb.DuckDBPyConnection, left: list[Row], right: list[Row], shared: list[Row], group: tuple[str, ...]
) -> None:
    left, right = left + shared, right + shared
    fill(duck, l=left, r=right)
    expected = naive(left, right)
    differences = compare(duck, "l", "r", key=KEY, group=group, fields=FIELDS)
    table = differences.table
    rows = duck.execute(f"SELECT connection, id, class, lefts, rights FROM {table}").fetchall() if table else []
    assert {tuple(one[:2]): tuple(one[2:]) for one in rows} == expected
    assert (len(rows), differences.rows) == (len(expected), len(left))
    assert differences.counts == Counter(kind for kind, *_ in expected.values())


def test_a_mismatch_names_each_field_with_both_values(duck: duckdb.DuckDBPyConnection) -> None:
    fill(duck, l=[("a", "1", 1, Decimal("10.5"), "EUR")], r=[("a", "1", 2, Decimal("-10.5"), None)])
    table = compare(duck, "l", "r", key=KEY, group=("day",), fields=FIELDS).table
    assert duck.execute(f"FROM {table}").fetchall() == [
        ("a", "1", "mismatch", 1, 1, ["amount", "currency"], Decimal("10.5"), Decimal("-10.5"), "EUR", None)
    ]


def test_two_rows_that_swap_a_value_do_not_come_out_even(duck: duckdb.DuckDBPyConnection) -> None:
    amounts = [Decimal(n) for n in range(1000)]
    fill(duck, l=[("a", str(n), 1, amount, "EUR") for n, amount in enumerate(amounts)], r=[])
    duck.execute(
        "INSERT INTO r SELECT * REPLACE ((CASE WHEN amount::int % 2 = 0 THEN amount + 1 ELSE amount - 1 END) AS amount) FROM l"
    )
    assert compare(duck, "l", "r", key=KEY, fields=FIELDS).counts == {"mismatch": 1000}


def test_only_groups_that_differ_are_looked_into(duck: duckdb.DuckDBPyConnection) -> None:
    rows: list[Row] = [("a", str(n), n % 10, Decimal(n), "EUR") for n in range(100)]
    fill(duck, l=rows, r=rows[:99])
    differences = compare(duck, "l", "r", key=KEY, group=("day",), fields=FIELDS)
    assert (differences.rows, differences.groups, differences.differing) == (100, 10, 1)
    assert differences.counts == {"missing": 1}


def test_decimals_of_other_widths_are_compared_exactly(duck: duckdb.DuckDBPyConnection) -> None:
    left = "(SELECT 1 AS id, 0.12345678::DECIMAL(28, 8) AS amount UNION ALL SELECT 2, 7)"
    right = "(SELECT 1::BIGINT AS id, 0.12::DECIMAL(10, 2) AS amount UNION ALL SELECT 2, 7)"
    table = compare(duck, left, right, key=("id",), fields=("amount",)).table
    found = duck.execute(f"SELECT id, class, expected_amount, found_amount FROM {table}").fetchall()
    assert found == [(1, "mismatch", Decimal("0.12345678"), Decimal("0.12"))]


@pytest.mark.parametrize(
    ("left", "right", "sentence"),
    [
        ("1::DOUBLE", "1::DECIMAL(28, 8)", "amount is a DOUBLE, which rounds"),
        ("'1'", "1::DECIMAL(28, 8)", "amount is VARCHAR on the left and DECIMAL(28,8) on the right"),
        ("1::DECIMAL(38, 0)", "1::DECIMAL(38, 20)", "no type holds both exactly"),
    ],
)
def test_what_would_round_is_refused(duck: duckdb.DuckDBPyConnection, left: str, right: str, sentence: str) -> None:
    with pytest.raises(TypeError) as error:
        compare(
            duck,
            f"(SELECT 1 AS id, {left} AS amount)",
            f"(SELECT 1 AS id, {right} AS amount)",
            key=("id",),
            fields=("amount",),
        )
    assert sentence in str(error.value)


def test_a_side_without_the_column_is_no_pass(duck: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(TypeError, match="the right side has no amount"):
        compare(duck, "(SELECT 1 AS id, 1 AS amount)", "(SELECT 1 AS id)", key=("id",), fields=("amount",))
