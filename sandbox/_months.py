"""Calendar months as consecutive integers, and days as ordinals: cheap to compare, count and use as keys."""

from datetime import date


def month_of(day: int) -> int:
    """The month (year x 12 + month - 1) of an ordinal day."""
    d = date.fromordinal(day)
    return d.year * 12 + d.month - 1


def first_of(month: int) -> int:
    """The ordinal of a month's first day."""
    return date(month // 12, month % 12 + 1, 1).toordinal()


def length_of(month: int) -> int:
    """How many days a month has."""
    return first_of(month + 1) - first_of(month)
