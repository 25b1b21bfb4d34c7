"""
The value checks of stream contracts: ids, exact money and calendar days, from text.

Belongs here: pure functions from text to a value, that raise ValueError with a reason fit for a quarantined record.
Not here: any rounding, any sign convention, any currency.
"""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal

INTEGER_DIGITS = 20
DECIMALS = 8

_PLAIN = re.compile(r"-?\d{1,20}(?:\.\d{1,8})?", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
_LONGEST = 64
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_LONGEST_ID = 255


def identifier(text: str) -> str:
    """An id that a database key can hold: 1 to 255 printable characters."""
    if not 0 < len(text) <= _LONGEST_ID or not text.isprintable():
        raise ValueError(f"id {shown(text)} is not 1 to {_LONGEST_ID} printable characters")
    return text


def decimal(text: str) -> Decimal:
    """An amount without loss: finite, at most 20 digits before the point and 8 after it (trailing zeros aside)."""
    if _PLAIN.fullmatch(text):
        return Decimal(text)
    if len(text) > _LONGEST or not _NUMBER.fullmatch(text):
        raise ValueError(f"amount {shown(text)} is not a decimal number")
    value = Decimal(text)
    if not value:
        return value
    _, digits, exponent = value.as_tuple()
    significant = "".join(map(str, digits)).rstrip("0")
    decimals = -(int(exponent) + len(digits) - len(significant))
    if value.adjusted() >= INTEGER_DIGITS:
        raise ValueError(f"amount {shown(text)} has more than {INTEGER_DIGITS} digits before the point")
    if decimals > DECIMALS:
        raise ValueError(f"amount {shown(text)} has more than {DECIMALS} digits after the point")
    return value


def day(text: str) -> date:
    """A calendar day, YYYY-MM-DD, that exists."""
    if _DAY.fullmatch(text):
        try:
            return date.fromisoformat(text)
        except ValueError:
            pass
    raise ValueError(f"date {shown(text)} is not a day of the calendar, YYYY-MM-DD")


def shown(text: str) -> str:
    """The text as a reason may quote it: escaped, and short."""
    return repr(text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…")
