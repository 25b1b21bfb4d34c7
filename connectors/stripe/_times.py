"""Stripe's times: whole seconds since 1970."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def day(seconds: int) -> date:
    try:
        return (_EPOCH + timedelta(seconds=seconds)).date()
    except OverflowError:
        raise ValueError(f"created {seconds} is no time of the calendar, in seconds since 1970") from None


def seconds(day: date) -> int:
    return int((datetime(day.year, day.month, day.day, tzinfo=UTC) - _EPOCH).total_seconds())
