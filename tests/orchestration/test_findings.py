"""The sensor of findings: each is told of once, the most severe first, and so is a verification that did not run."""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal

import dagster as dg

from ledgerlake.integrity import Finding, Findings
from ledgerlake.settings import Settings
from ledgerlake.store import Connection, Store

Evaluate = Callable[..., tuple[list[dg.RunRequest], str | None, str | None]]
TODAY = dt.date(2026, 3, 1)

STALE = Finding(kind="stale", step="source", provider="teller", records=0, message="silent")
LOST = Finding(kind="missing", step="raw", provider="teller", records=1, message="gone", money={"EUR": Decimal(5)})


def found(findings: Findings, *those: Finding) -> None:
    findings.merge(findings.begin(TODAY, None), those, [], today=TODAY, scope=None, snapshot=None, compared=3)


def test_a_finding_is_told_of_once_the_most_severe_first(
    evaluate: Evaluate, store: Store, settings: Settings, connect: Callable[[int], Connection]
) -> None:
    connect(0)
    findings = Findings(store, settings)
    found(findings, STALE, LOST)
    assert evaluate("findings") == ([], "Told of 2 findings: 2 (high): gone; 1 (medium): silent", None)
    assert evaluate("findings") == ([], "No finding is new.", None)
    found(findings, STALE)
    found(findings, STALE, LOST)
    assert evaluate("findings") == ([], "No finding is new.", None), "it came back within the sustain period"


def test_a_muted_finding_is_not_told_of(evaluate: Evaluate, store: Store, settings: Settings) -> None:
    findings = Findings(store, settings)
    found(findings, LOST)
    findings.mute(1, "ana", TODAY)
    assert evaluate("findings") == ([], "No finding is new.", None)


def test_a_verification_that_did_not_run_is_told_of_until_one_has(
    evaluate: Evaluate, store: Store, settings: Settings, connect: Callable[[int], Connection]
) -> None:
    connect(0)
    with store.connect() as postgres:
        postgres.execute("UPDATE ledgerlake.connections SET created_at = now() - interval '3 days'")
    told = evaluate("findings")[1]
    assert str(told).startswith("Told of 1 findings: 1 (medium): expected a verification at least every 36 hours")
    assert evaluate("findings")[1] == "No finding is new."
    findings = Findings(store, settings)
    found(findings)
    assert findings.listed() == []
