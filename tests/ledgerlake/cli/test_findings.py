"""`ledgerlake findings`: what a person sees of findings and does with them, as a table, as JSON and by exit codes."""

import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from typer.testing import CliRunner

from ledgerlake.cli._findings import findings as commands
from ledgerlake.ingest import Counts
from ledgerlake.integrity import Finding, Findings, Repair, RepairReport
from ledgerlake.integrity._report import Behind
from ledgerlake.settings import Settings
from ledgerlake.store import Store

Run = Callable[..., Any]
TODAY = dt.date(2026, 3, 1)

LOST = Finding(
    kind="missing",
    step="raw",
    provider="teller",
    records=2,
    money={"EUR": Decimal("12.50"), "USD": Decimal("1000000000.00")},
    message="2 records are [bold]gone[/bold]",
    sample=(Behind("con_1", "transactions", "acc_1", "txn_1", "amount", "1.00", None, "deleted"),),
    repair=Repair("build", buckets=(0,)),
)
UNPUBLISHED = Finding(
    kind="missing", step="published", model="fct_refunds", records=1, message="a row", repair=Repair("build")
)
SILENT = Finding(
    kind="stale", step="source", records=0, message="silent", repair=Repair("person", advice="call the bank")
)


@pytest.fixture
def planted(store: Store, settings: Settings) -> Findings:
    """A store in which a verification found three things: one critical by its money, one high, one medium."""
    findings = Findings(store, settings)
    found = [LOST, UNPUBLISHED, SILENT]
    findings.merge(findings.begin(TODAY, None), found, [], today=TODAY, scope=None, snapshot=None, compared=9)
    return findings


def test_findings_are_listed_and_shown_with_their_records_and_their_repair(ledgerlake: Run, planted: Findings) -> None:
    listed = ledgerlake("findings")
    assert listed.code == 0
    assert [line.split()[:5] for line in listed.out.splitlines() if line.strip()[:1].isdigit()] == [
        ["1", "critical", "open", "missing", "raw"],
        ["2", "high", "open", "missing", "fct_refunds"],
        ["3", "medium", "open", "stale", "source"],
    ]
    assert "12.50 EUR, 1000000000.00 USD" in listed.out
    assert "1: 2 records are [bold]gone[/bold]" in listed.err

    as_json = ledgerlake("findings", "--json").json["findings"]
    assert [(one["finding_id"], one["severity"], one["money"]) for one in as_json] == [
        (1, "critical", {"EUR": "12.50", "USD": "1000000000.00"}),
        (2, "high", {}),
        (3, "medium", {}),
    ]

    shown = ledgerlake("findings", "show", "1")
    assert shown.out.startswith("1: 2 records are [bold]gone[/bold]\n")
    for told in ("build again: `ledgerlake findings repair`", "txn_1", "1 of 2 records", "opened"):
        assert told in shown.out, told
    told = ledgerlake("findings", "show", "1", "--json").json
    assert (told["sample"][0]["record_id"], told["history"][0]["act"]) == ("txn_1", "opened")
    assert "by a person: call the bank" in ledgerlake("findings", "show", "3").out


def test_what_people_decide_is_kept_with_their_names(ledgerlake: Run, planted: Findings) -> None:
    tomorrow = (dt.datetime.now(dt.UTC) + dt.timedelta(days=1)).date().isoformat()
    said = [
        ledgerlake("findings", *arguments).out
        for arguments in (
            ("acknowledge", "1", "--by", "ana", "--comment", "looking"),
            ("assign", "1", "[ben]", "--by", "ana"),
            ("comment", "1", "it was the filter", "--by", "ben"),
            ("mute", "2", "--until", tomorrow, "--by", "ana"),
            ("resolve", "3", "--reason", "accepted"),
        )
    ]
    assert said == [
        "Finding 1 is acknowledged.\n",
        "Finding 1 is [ben]'s.\n",
        "Finding 1 has a remark more.\n",
        f"Finding 2 is muted until {tomorrow}.\n",
        "Finding 3 is resolved: accepted.\n",
    ]
    history = [(one.actor, one.act, one.comment) for one in planted.history(1)[1:]]
    assert history == [
        ("ana", "acknowledged", "looking"),
        ("ana", "assigned", None),
        ("ben", "commented", "it was the filter"),
    ]
    assert planted.get(1).owner == "[ben]"
    assert [one["finding_id"] for one in ledgerlake("findings", "--json").json["findings"]] == [1]
    everything = ledgerlake("findings", "--all", "--json").json["findings"]
    assert sorted((one["finding_id"], one["state"]) for one in everything) == [
        (1, "acknowledged"),
        (2, "muted"),
        (3, "resolved"),
    ]
    assert ledgerlake("findings", "assign", "1", "-").out == "Finding 1 is nobody's.\n"


def test_nothing_found_is_said(ledgerlake: Run) -> None:
    assert ledgerlake("findings").out == "No finding is open.\n"
    assert ledgerlake("findings", "--all").out == "No finding was ever made.\n"
    assert ledgerlake("findings", "--json").json == {"findings": []}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("show", "9"), "There is no finding 9; `ledgerlake findings` lists them."),
        (("mute", "1", "--until", "2026-01-31"), "Expected a day of --until that is not past, found 2026-01-31."),
        (("repair", "3"), "Finding 3 cannot be repaired by Ledgerlake alone: call the bank."),
        (("repair", "3", "--dry-run"), "Finding 3 cannot be repaired by Ledgerlake alone: call the bank."),
        (("repair", "9"), "There is no finding 9; `ledgerlake findings` lists them."),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_exit_2(
    ledgerlake: Run, planted: Findings, arguments: tuple[str, ...], sentence: str
) -> None:
    done = ledgerlake("findings", *arguments)
    assert (done.code, done.out, done.err) == (2, "", f"ledgerlake: {sentence}\n")
    assert [one.state for one in planted.listed()] == ["open"] * 3


def test_a_repair_is_told_before_it_is_done_and_its_exit_says_whether_the_finding_is_gone(
    ledgerlake: Run, planted: Findings
) -> None:
    steps = ["build the buckets 0, audit and publish them", "verify again, and close the finding if it passes"]
    dry = ledgerlake("findings", "repair", "1", "--dry-run")
    assert (dry.code, dry.out) == (0, "".join(f"{number}. {step}\n" for number, step in enumerate(steps, 1)))
    as_json = ledgerlake("findings", "repair", "1", "--dry-run", "--json").json
    assert (as_json["steps"], as_json["dry_run"], as_json["state"]) == (steps, True, "open")

    mended = ledgerlake("findings", "repair", "1", "--by", "ana")
    assert (mended.code, mended.out.startswith("Finding 1 is resolved: 0 records new, 0 changed")) == (0, True)
    assert mended.err.splitlines() == ["building …", "verifying …"]


def test_a_repair_that_does_not_mend_ends_with_1(
    planted: Findings,
    settings: Settings,
    environment: Callable[[Settings], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    still = RepairReport(planted.get(1), ("build",), False, Counts(new=1, changed=2), 3, 1.5)
    monkeypatch.setattr("ledgerlake.integrity.repair", lambda *_, **__: still)
    done = [
        CliRunner().invoke(commands, ["repair", "1", *more], env=environment(settings)) for more in ((), ("--json",))
    ]
    assert [one.exit_code for one in done] == [1, 1]
    assert done[0].stdout == "Finding 1 is open: 1 records new, 2 changed, 0 removed, in 1.5 s.\n"
    assert json.loads(done[1].stdout) == {
        "finding_id": 1,
        "steps": ["build"],
        "dry_run": False,
        "state": "open",
        "counts": {"new": 1, "changed": 2, "unchanged": 0, "removed": 0, "quarantined": 0},
        "snapshot": 3,
        "seconds": 1.5,
    }
