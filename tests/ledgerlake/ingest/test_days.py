"""Day after day: whatever the provider changes, the store's current rows are what it shows, each exactly once."""

import datetime as dt
import json
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

FIRST = dt.date(2026, 3, 1)

CHANGES = st.lists(
    st.tuples(
        st.sampled_from(
            ["add", "late", "pending", "correct", "post", "repost", "cancel", "remove", "move", "break", "mend"]
        ),
        st.integers(0, 9),
    ),
    max_size=6,
)
DAYS = st.lists(st.tuples(st.integers(0, 4), CHANGES), min_size=1, max_size=6)


class Life:
    """The provider's side of the property: applies changes to one account, and knows what must be current."""

    def __init__(self, bank: Any) -> None:
        self.bank = bank
        self.day = FIRST
        self.made = 0
        self.last_good: dict[str, str] = {}
        self.ever: set[str] = set()

    @property
    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.bank.rows["acc_1"]
        return rows

    def add(self, day: dt.date, status: str = "posted") -> None:
        self.made += 1
        self.bank.add(f"txn_{self.made:04}", day.isoformat(), f"{self.made}.00", status=status)

    def change(self, what: str, which: int) -> None:
        recent = [row for row in self.rows if row["date"] >= (self.day - dt.timedelta(days=6)).isoformat()]
        of = {
            "correct": recent,
            "break": recent,
            "mend": [row for row in self.rows if row["amount"] == "NaN"],
            "post": [row for row in self.rows if row["status"] == "pending"],
            "repost": [row for row in self.rows if row["status"] == "pending"],
            "cancel": [row for row in self.rows if row["status"] == "pending"],
            "remove": [row for row in recent if row["status"] == "posted"],
            "move": [row for row in recent if row["status"] == "posted"],
        }
        if what in of:
            if not of[what]:
                return
            row = of[what][which % len(of[what])]
        match what:
            case "add":
                self.add(self.day)
            case "late":
                self.add(self.day - dt.timedelta(days=which % 7))
            case "pending":
                self.add(self.day, "pending")
            case "correct" | "mend":
                self.made += 1
                row["amount"] = f"{self.made}.50"
            case "break":
                row["amount"] = "NaN"
            case "post":
                row.update(status="posted", date=self.day.isoformat())
            case "repost":
                self.rows.remove(row)
                self.add(self.day)
            case "cancel" | "remove":
                self.rows.remove(row)
            case "move":
                row["date"] = (self.day - dt.timedelta(days=which)).isoformat()

    def expected(self) -> dict[str, bytes]:
        """What the server shows; of a broken row the last good version, if there was one."""
        for row in self.rows:
            if row["amount"] != "NaN":
                self.last_good[row["id"]] = json.dumps(row)
        shown = {row["id"] for row in self.rows}
        return {one: text.encode() for one, text in self.last_good.items() if one in shown}


@settings(
    max_examples=8,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(days=DAYS, page_cap=st.sampled_from([1, 3, 500]))
def test_whatever_a_provider_changes_the_current_rows_are_what_it_shows(
    desk: Any, server: Any, days: list[tuple[int, list[tuple[str, int]]]], page_cap: int
) -> None:
    name = f"enr_{len(server.banks)}"
    bank = server.bank(name)
    bank.account()
    bank.page_cap = page_cap
    connection = desk.connect(bank.token, name)
    life = Life(bank)
    life.add(FIRST - dt.timedelta(days=40))
    for passed, changes in days:
        life.day += dt.timedelta(days=passed)
        for what, which in changes:
            life.change(what, which)

        (result,) = desk.sync(life.day, connections=[connection]).connections

        assert (result.outcome, result.error) == ("done", None)
        held = {one: json.loads(text) for one, text in desk.current(connection).items()}
        assert held == {one: json.loads(text) for one, text in life.expected().items()}
        (again,) = desk.sync(life.day, connections=[connection]).connections
        assert (again.counts.new, again.counts.changed, again.counts.removed) == (0, 0, 0)
    desk.assert_receipts_agree()


# DAYS=30 is the long version.
MANY = int(os.environ.get("DAYS", "14"))


def _days(town: Any, days: int) -> None:
    for _ in range(days):
        today = dt.date.fromisoformat(town.control("GET", "/clock")["today"])
        report = town.desk.sync(today)
        assert {one.outcome for one in report.connections} <= {"done", "needs_reauth", "skipped"}
        town.assert_true()
        town.control("POST", "/clock", {"days": 1})
    town.desk.assert_receipts_agree()


def test_after_each_of_a_week_of_days_the_store_is_what_the_sandbox_holds(town: Any) -> None:
    _days(town, 7)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("town", [{"customers": 8, "years": 1}], indirect=True)
def test_after_each_of_many_days_the_store_is_what_the_sandbox_holds(town: Any) -> None:
    _days(town, MANY)


def test_bad_rows_among_the_sandbox_s_rows_cost_none_of_the_good_ones(town: Any) -> None:
    for kind in ("missing_id", "nan", "nul", "february_30", "shared_id", "wrong_type"):
        town.control("POST", "/faults", {"kind": "bad_row", "row": kind, "path": "*/transactions"})
        report = town.desk.sync()
        assert {one.outcome for one in report.connections} <= {"done", "needs_reauth"}
        town.control("DELETE", "/faults")
        # A NUL keeps the contract; an id that comes in two accounts is the first one's.
        assert (report.counts.quarantined > 0) == (kind != "nul"), kind
    town.desk.sync(full=True)
    town.assert_true()
    town.desk.assert_receipts_agree()


def test_a_provider_that_stumbles_over_and_over_loses_and_doubles_nothing(town: Any) -> None:
    faults = ("error", "reset", "truncated", "html", "empty", "short_page", "bad_utf8")
    for number, kind in enumerate(faults):
        town.control("POST", "/faults", {"kind": kind, "path": "/accounts*", "probability": 0.08, "seed": number})
    for _ in range(4):
        town.desk.sync()
    town.control("DELETE", "/faults")
    report = town.desk.sync()
    assert {one.outcome for one in report.connections} <= {"done", "needs_reauth", "skipped"}
    town.assert_true()
    town.desk.assert_receipts_agree()
