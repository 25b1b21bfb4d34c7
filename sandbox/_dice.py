"""Chance that is the same everywhere: a stream of draws that only its names decide.

Only `random.Random(str).random()` is used, the one generator that Python promises to keep from version to version;
nothing here or above it may use `hash()`, sets in iteration order, or the other methods of `random`.
"""

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
_DIGITS = "abcdefghijklmnopqrstuvwxyz234567"


class Dice:
    """A stream of draws named by `names`; equal names give equal draws in every process."""

    __slots__ = ("roll",)

    def __init__(self, *names: object) -> None:
        self.roll = random.Random("/".join(map(str, names))).random  # noqa: S311 - play money

    def below(self, limit: int) -> int:
        """An integer from 0 up to and without `limit`."""
        return int(self.roll() * limit)

    def between(self, low: int, high: int) -> int:
        """An integer from `low` to `high`, both included."""
        return low + int(self.roll() * (high - low + 1))

    def pick(self, choices: Sequence[T]) -> T:
        """One of `choices`."""
        return choices[int(self.roll() * len(choices))]

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.roll() < probability


def digest(length: int, *names: object) -> str:
    """`length` (at most 40) hexadecimal digits that only `names` decide: the tail of an id."""
    return hashlib.blake2b("/".join(map(str, names)).encode(), digest_size=20).hexdigest()[:length]


def spell(number: int, length: int) -> str:
    """A number as `length` letters of base 32: the part of an id that says where to look."""
    letters = []
    for _ in range(length):
        number, digit = divmod(number, 32)
        letters.append(_DIGITS[digit])
    return "".join(reversed(letters))


def unspell(letters: str) -> int | None:
    """The number that `spell` wrote; None when the letters are not of base 32."""
    number = 0
    for letter in letters:
        digit = _DIGITS.find(letter)
        if digit < 0:
            return None
        number = number * 32 + digit
    return number
