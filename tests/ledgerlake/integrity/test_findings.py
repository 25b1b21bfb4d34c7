"""The life of findings: one a cause, closed by themselves, reopened with their history, never closed unseen."""

import contextlib
import dataclasses
import datetime as dt
from decimal import Decimal
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerlake.errors import UsageError
from ledgerlake.integrity._findings import Findings
from ledgerlake.integrity._report import Behind, Compared, Finding, Repair
from ledgerlake.settings import Settings
from ledgerlake.store import Store

TODAY = dt.date(2026, 3, 2)

LOST = Finding(
    kind="missing",
    step="raw",
    provider="teller",
    connection_id="con_a",
    stream="transactions",
    account_id="acc_1",
    records=2,
    sample=(
        Behind("con_a", "transactions", "acc_1", "txn_1", reason="receipts tell of it"),
        Behind("con_a", "transactions", "acc_1", "txn\0two"),
    ),
    money={"EUR": Decimal("12.30"), "USD": Decimal("0.00000001")},
    message="expected 2 rows more in raw",
    repair=Repair("fetch", "con_a", "transactions", "acc_1", dt.date(2026, 2, 1), dt.date(2026, 2, 3)),
)
FILTERED = Finding(
    kind="missing", step="marts", model="fct_transactions", stream="transactions", records=10_000, message="a filter"
)
UNREAD = Finding(kind="not_compared", step="source", connection_id="con_a", records=0, message="the census was refused")


@pytest.fixture
def findings(store: Store, settings: Settings) -> Findings:
    return Findings(store, settings)


def verify(findings: Findings, *found: Finding, scope: set[str] | None = None, today: dt.date = TODAY) -> None:
    verification_id = findings.begin(today, sorted(scope) if scope is not None else None)
    classes = [Compared("con_a", "transactions", "raw", compared=5, matched=3, missing=2)]
    findings.merge(verification_id, found, classes, today=today, scope=scope, snapshot=1, compared=5)


def acts(findings: Findings, finding_id: int) -> list[tuple[str, str | None, str | None]]:
    return [(one.act, one.before, one.after) for one in findings.history(finding_id)]


def test_a_finding_is_kept_whole(findings: Findings) -> None:
    verify(findings, LOST)
    (kept,) = findings.listed()
    assert (kept.kind, kept.step, kept.connection_id, kept.records) == ("missing", "raw", "con_a", 2)
    assert kept.money == {"EUR": Decimal("12.30"), "USD": Decimal("0.00000001")}
    assert kept.repair == LOST.repair
    assert (kept.state, kept.severity, kept.times_seen, kept.times_opened) == ("open", "high", 1, 1)
    first, second = findings.records(kept.finding_id)
    assert first == LOST.sample[0]
    assert second.record_id == "txn\\0two"
    assert acts(findings, kept.finding_id) == [("opened", None, "open")]


def test_the_same_cause_is_one_finding_whatever_its_records(findings: Findings) -> None:
    verify(findings, LOST)
    verify(findings, dataclasses.replace(LOST, records=3, sample=LOST.sample[:1]))
    (kept,) = findings.listed(states=None)
    assert (kept.records, kept.times_seen, kept.times_opened) == (3, 2, 1)
    assert len(findings.records(kept.finding_id)) == 1
    assert acts(findings, kept.finding_id)[1:] == [("records", "2", "3")]


def test_it_closes_by_itself_and_comes_back_with_its_history(findings: Findings) -> None:
    verify(findings, LOST)
    verify(findings)
    (closed,) = findings.listed(states=None)
    assert (closed.state, closed.resolution) == ("resolved", "passed")
    verify(findings, LOST)
    (again,) = findings.listed()
    assert again.finding_id == closed.finding_id
    assert (again.state, again.resolution, again.resolved_at, again.times_opened) == ("open", None, None, 2)
    assert acts(findings, again.finding_id) == [
        ("opened", None, "open"),
        ("closed", "open", "resolved: passed"),
        ("reopened", "resolved: passed".partition(":")[0], "open"),
    ]


def test_a_check_that_could_not_be_made_closes_nothing_that_it_might_have_found(findings: Findings) -> None:
    never_fetched = dataclasses.replace(LOST, step="source")
    verify(findings, never_fetched, LOST)
    verify(findings, UNREAD)
    assert {(one.step, one.kind) for one in findings.listed()} == {("source", "missing"), ("source", "not_compared")}
    verify(findings)
    assert findings.listed() == []


@pytest.mark.parametrize(
    ("blind", "stays"),
    [
        ({"step": "staging", "connection_id": None, "stream": None}, True),
        ({"step": "staging", "connection_id": None, "stream": "balances"}, False),
        ({"step": "published", "connection_id": None, "stream": None}, False),
    ],
)
def test_what_lies_behind_a_step_that_was_not_compared_stays_open(
    findings: Findings, blind: dict[str, str | None], stays: bool
) -> None:
    verify(findings, FILTERED)
    verify(findings, dataclasses.replace(UNREAD, **blind))  # type: ignore[arg-type]
    assert any(one.model == "fct_transactions" for one in findings.listed()) is stays


def test_a_verification_of_some_connections_leaves_the_others_alone(findings: Findings) -> None:
    verify(findings, LOST, FILTERED)
    verify(findings, dataclasses.replace(FILTERED, records=7, message="seen from here"), scope={"con_b"})
    assert {(one.step, one.records, one.message) for one in findings.listed()} == {
        ("raw", 2, "expected 2 rows more in raw"),
        ("marts", 10_000, "a filter"),
    }
    verify(findings, scope={"con_a"})
    assert [one.step for one in findings.listed()] == ["marts"]


def test_a_muted_finding_is_quiet_until_its_day_has_passed(findings: Findings) -> None:
    verify(findings, LOST)
    (kept,) = findings.listed()
    findings.mute(kept.finding_id, "ana", TODAY + dt.timedelta(days=2), "the bank knows")
    verify(findings, LOST, today=TODAY + dt.timedelta(days=2))
    assert findings.listed() == []
    assert findings.get(kept.finding_id).state == "muted"
    verify(findings, LOST, today=TODAY + dt.timedelta(days=3))
    assert [one.state for one in findings.listed()] == ["open"]
    assert acts(findings, kept.finding_id)[-1] == ("unmuted", "muted", "open")


def test_people_act_and_every_act_is_in_the_history(findings: Findings) -> None:
    verify(findings, LOST)
    (kept,) = findings.listed()
    findings.acknowledge(kept.finding_id, "ana", "I look into it")
    findings.assign(kept.finding_id, "ana", "ben")
    findings.comment(kept.finding_id, "ben", "the page was cut")
    verify(findings, LOST)
    assert findings.get(kept.finding_id).state == "acknowledged"
    resolved = findings.resolve(kept.finding_id, "ben", "false_alarm", "it was a test")
    assert (resolved.state, resolved.resolution, resolved.owner) == ("resolved", "false_alarm", "ben")
    assert [(one.actor, one.act, one.comment) for one in findings.history(kept.finding_id)] == [
        ("ledgerlake", "opened", None),
        ("ana", "acknowledged", "I look into it"),
        ("ana", "assigned", None),
        ("ben", "commented", "the page was cut"),
        ("ben", "resolved", "it was a test"),
    ]


def test_an_act_that_does_not_fit_the_state_is_refused(findings: Findings) -> None:
    verify(findings, LOST)
    (kept,) = findings.listed()
    findings.resolve(kept.finding_id, "ana", "accepted")
    with pytest.raises(UsageError, match=f"Finding {kept.finding_id} is resolved; it cannot be acknowledged"):
        findings.acknowledge(kept.finding_id, "ana")
    with pytest.raises(UsageError, match="There is no finding 99"):
        findings.comment(99, "ana", "?")


def test_money_age_and_repairs_raise_the_severity(findings: Findings, store: Store, settings: Settings) -> None:
    unread = dataclasses.replace(UNREAD, connection_id="con_b")
    verify(findings, LOST, unread)
    kept = {one.kind: one.finding_id for one in findings.listed()}
    assert [findings.get(kept[kind]).severity for kind in ("missing", "not_compared")] == ["high", "medium"]
    verify(findings, dataclasses.replace(LOST, money={"EUR": settings.severe_amount}), unread)
    assert findings.get(kept["missing"]).severity == "critical"
    for _ in range(3):
        findings.repairing(kept["not_compared"], "ana")
        verify(findings, LOST, unread)
    repaired = findings.get(kept["not_compared"])
    assert (repaired.severity, repaired.state, repaired.repairs) == ("high", "open", 3)
    with store.connect() as postgres:
        postgres.execute("UPDATE ledgerlake.findings SET opened_at = now() - interval '4 days'")
    verify(findings, LOST, unread)
    assert [findings.get(kept[kind]).severity for kind in ("missing", "not_compared")] == ["critical", "critical"]


def test_what_comes_back_soon_is_not_announced_again(findings: Findings, store: Store) -> None:
    verify(findings, LOST)
    (kept,) = findings.unannounced()
    findings.announced([kept.finding_id])
    verify(findings)
    verify(findings, LOST)
    assert findings.unannounced() == []
    verify(findings)
    with store.connect() as postgres:
        postgres.execute("UPDATE ledgerlake.findings SET resolved_at = now() - interval '25 hours'")
    verify(findings, LOST)
    assert [one.finding_id for one in findings.unannounced()] == [kept.finding_id]


def test_a_verification_that_does_not_run_is_a_finding_until_one_does(findings: Findings, store: Store) -> None:
    assert findings.overdue() is None
    verify(findings)
    now = dt.datetime.now(dt.UTC)
    assert findings.overdue(now + dt.timedelta(hours=35)) is None
    late = findings.overdue(now + dt.timedelta(hours=37))
    assert late is not None
    assert (late.kind, late.state) == ("not_compared", "open")
    assert findings.overdue(now + dt.timedelta(hours=38)) == late
    verify(findings, scope={"con_a"})
    assert findings.get(late.finding_id).state == "open"
    verify(findings)
    assert findings.get(late.finding_id).resolution == "passed"


def test_a_verification_that_breaks_off_changes_no_finding(findings: Findings, store: Store) -> None:
    verify(findings, LOST)
    findings.failed(findings.begin(TODAY, None), "PostgreSQL went away")
    assert [one.state for one in findings.listed()] == ["open"]
    with store.connect() as postgres:
        rows = postgres.execute("SELECT error, findings FROM ledgerlake.verifications ORDER BY started_at").fetchall()
        results = postgres.execute("SELECT * FROM ledgerlake.verification_results").fetchall()
    assert rows == [(None, 1), ("PostgreSQL went away", None)]
    assert [row[1:] for row in results] == [("con_a", "transactions", "raw", 5, 3, 2, 0, 0, 0, 0, 0)]


# Differences as they come and go: two of one connection, one of another, one of a model, and the acts of people between.
POOL = (
    LOST,
    dataclasses.replace(LOST, kind="mismatch", field="amount"),
    dataclasses.replace(LOST, connection_id="con_b"),
    FILTERED,
)
VERIFICATIONS = st.tuples(
    st.just("verified"), st.sets(st.sampled_from(range(len(POOL)))), st.sampled_from([None, "con_a", "con_b"])
)
ACTS = st.tuples(
    st.sampled_from(["acknowledge", "mute", "resolve", "repair begun", "repair ended"]),
    st.sampled_from(range(len(POOL))),
    st.none(),
)


@hypothesis.settings(
    max_examples=25, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@given(st.lists(VERIFICATIONS | ACTS, min_size=1, max_size=12))
def test_whatever_happens_findings_are_closed_exactly_when_the_difference_is_gone(
    findings: Findings, steps: list[tuple[str, Any, str | None]]
) -> None:
    with findings._store.connect() as postgres:
        postgres.execute("TRUNCATE ledgerlake.findings, ledgerlake.verifications CASCADE")
    known: set[int] = set()  # whose last verification that could tell found the difference
    settled: set[int] = set()  # of which a person said since that it is none
    for what, which, scope in steps:
        kept = stored(findings)
        if what == "verified":
            looked = {
                number
                for number, one in enumerate(POOL)
                if scope is None or (one.connection_id == scope and not one.model)
            }
            found = which & looked
            verify(findings, *(POOL[number] for number in sorted(found)), scope=None if scope is None else {scope})
            known, settled = (known - looked) | found, settled - looked
        elif POOL[which].fingerprint in kept and kept[POOL[which].fingerprint][1] != "resolved":
            act(findings, what, kept[POOL[which].fingerprint][0])
            if what == "resolve":
                settled.add(which)
        standing = {fingerprint for fingerprint, (_, state) in stored(findings).items() if state != "resolved"}
        assert standing == {POOL[number].fingerprint for number in known - settled}


def stored(findings: Findings) -> dict[str, tuple[int, str]]:
    """By fingerprint the number and the state."""
    with findings._store.connect() as postgres:
        rows = postgres.execute("SELECT fingerprint, finding_id, state FROM ledgerlake.findings").fetchall()
    return {fingerprint: (finding_id, state) for fingerprint, finding_id, state in rows}


def act(findings: Findings, what: str, finding_id: int) -> None:
    """Let a person do it, if the finding's state allows it."""
    with contextlib.suppress(UsageError):
        match what:
            case "acknowledge":
                findings.acknowledge(finding_id, "ana")
            case "mute":
                findings.mute(finding_id, "ana", TODAY + dt.timedelta(days=1))
            case "resolve":
                findings.resolve(finding_id, "ana", "accepted")
            case "repair begun":
                findings.repairing(finding_id, "ana")
            case "repair ended":
                findings.repaired(finding_id, "ana", "nothing")
