"""Killed at random instants of sync, build and publish, a day is as if it had run once."""

import os
from collections.abc import Callable
from typing import Any

import pytest

from ledgerlake.integrity import verify

# CRASHES=100 is the long version; each crash costs two runs.
CRASHES = int(os.environ.get("CRASHES", "2"))


@pytest.mark.slow
@pytest.mark.timeout(120 + 40 * CRASHES)
def test_whatever_instant_it_is_killed_at_the_next_run_sets_all_right(platform: Callable[[int], Any]) -> None:
    day = platform(4)
    day.run_day()
    assert day.differences() == {}
    killed = 0
    for _ in range(CRASHES):
        day.next_day()
        killed += day.kill_day()
        day.run_day()
        assert day.differences() == {}
        report = verify(day.where, day.settings, today=day.clock.today)
        assert (report.findings, report.compared > 0) == ((), True)
    assert killed >= CRASHES / 2
