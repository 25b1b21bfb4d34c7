"""kill -9 at any instant: nothing is lost, nothing is doubled, and the next sync completes."""

import datetime as dt
import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

TODAY = dt.date(2026, 3, 1)
# CRASHES=100 is the long version.
CRASHES = int(os.environ.get("CRASHES", "5"))


def _kill(town: Any, child: Callable[..., Any], kills: int, seed: int, each: Callable[[], None]) -> int:
    """Kill that many syncs, each at a random instant of its life, and return how many were killed before their end."""
    dice, longest, struck = random.Random(seed), 1.0, 0
    for _ in range(kills):
        process = child(town.desk.settings)
        assert process.stdout.readline() == "ready\n"
        started = time.monotonic()
        try:
            process.wait(dice.uniform(0, longest))
            longest = max(0.2, time.monotonic() - started)
        except Exception:  # it runs still
            process.send_signal(signal.SIGKILL)
            process.wait()
            struck += process.returncode == -signal.SIGKILL
        each()
    return struck


def _start_over(town: Any) -> None:
    """As if nothing had been synced yet, so that a kill may strike a first read again."""
    with town.desk.store.connect() as connection:
        connection.execute("DELETE FROM ledgerlake.cursors")


@pytest.mark.parametrize("town", [{"customers": 3, "years": 3}], indirect=True)
def test_eight_kills_lose_nothing_and_double_nothing(town: Any, child: Callable[..., Any]) -> None:
    struck = _kill(town, child, 8, 1, town.desk.assert_receipts_agree)
    report = town.desk.sync(TODAY)
    assert {one.outcome for one in report.connections} == {"done"}
    assert struck >= 4
    town.assert_true()
    town.desk.assert_receipts_agree()
    killed = town.desk.one("SELECT count(*) FROM ledgerlake.syncs WHERE error = 'it was killed before its end'")
    assert killed >= 1


@pytest.mark.slow
@pytest.mark.timeout(60 + 10 * CRASHES)
@pytest.mark.parametrize("town", [{"customers": 6, "years": 4}], indirect=True)
def test_kills_each_followed_by_a_sync_lose_nothing_and_double_nothing(town: Any, child: Callable[..., Any]) -> None:
    days = 0

    def follow() -> None:
        nonlocal days
        town.desk.assert_receipts_agree()
        report = town.desk.sync(TODAY + dt.timedelta(days=days))
        assert {one.outcome for one in report.connections} <= {"done", "needs_reauth", "skipped"}
        town.assert_true()
        if days < 60:
            days += 1
            town.control("POST", "/clock", {"days": 1})
        _start_over(town)

    struck = _kill(town, child, CRASHES, 2, follow)
    assert struck >= CRASHES / 2
