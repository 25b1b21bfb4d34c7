"""Ids, amounts and days as stream contracts take them."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors._values import day, decimal, identifier


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "-0.00",
        "86.46",
        "1000000",
        "+5",
        ".5",
        "5.",
        "1.5e3",
        "1E-8",
        "99999999999999999999.99999999",
        "1.10000000000000",
        "0e9999",
    ],
)
def test_an_amount_that_fits_is_taken_exactly(text: str) -> None:
    assert decimal(text) == Decimal(text)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=-(10**20) + 1, max_value=10**20 - 1))
def test_every_amount_of_the_store_is_taken_exactly(value: Decimal) -> None:
    assert decimal(format(value, "f")) == value
    assert decimal(str(value)) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("NaN", "amount 'NaN' is not a decimal number"),
        ("Infinity", "amount 'Infinity' is not a decimal number"),
        ("", "amount '' is not a decimal number"),
        (" 1", "amount ' 1' is not a decimal number"),
        ("1,00", "amount '1,00' is not a decimal number"),
        ("1_0", "amount '1_0' is not a decimal number"),
        ("١", "amount '١' is not a decimal number"),  # noqa: RUF001 (a digit of another script)
        ("1\n", "amount '1\\n' is not a decimal number"),
        ("1e99999", "amount '1e99999' is not a decimal number"),
        ("1e400", "amount '1e400' has more than 20 digits before the point"),
        ("100000000000000000000", "amount '100000000000000000000' has more than 20 digits before the point"),
        ("0.000000001", "amount '0.000000001' has more than 8 digits after the point"),
        ("1e-9", "amount '1e-9' has more than 8 digits after the point"),
        ("9" * 100, f"amount '{'9' * 63}…' is not a decimal number"),
    ],
)
def test_an_amount_that_would_lose_something_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError) as refused:
        decimal(text)
    assert str(refused.value) == reason


def test_a_day_of_the_calendar_is_taken() -> None:
    assert day("2024-02-29") == date(2024, 2, 29)


@pytest.mark.parametrize(
    "text", ["2023-02-30", "2023-2-3", "20230203", "2023-W05-5", "2023-02-03T00:00:00", "", "0000-01-01"]
)
def test_any_other_text_is_no_day(text: str) -> None:
    with pytest.raises(ValueError) as refused:
        day(text)
    assert str(refused.value) == f"date {text!r} is not a day of the calendar, YYYY-MM-DD"


@pytest.mark.parametrize("text", ["", "a\0b", "a\nb", "a" * 256])
def test_an_id_that_no_database_key_can_hold_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not 1 to 255 printable characters"):
        identifier(text)


def test_an_id_is_taken_as_it_is() -> None:
    assert identifier("txn_ö 1") == "txn_ö 1"
