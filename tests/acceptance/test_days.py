"""Day after day, what is published is what the provider shows: to the row and to the cent."""

import os
from collections.abc import Callable
from typing import Any

import pytest

DAYS = int(os.environ.get("DAYS", "2"))


@pytest.mark.slow
@pytest.mark.timeout(60 + 30 * DAYS)
def test_each_day_the_lake_is_what_the_provider_shows(platform: Callable[[int], Any]) -> None:
    day = platform(12)
    for _ in range(DAYS):
        day.run_day()
        assert day.differences() == {}
        day.next_day()
