"""The checks `verified` on streams and models: passed by evidence alone, and evaluated also where nothing is built."""

import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from ledgerlake.errors import LedgerlakeError
from ledgerlake.integrity import Finding, Findings, StoredFinding
from ledgerlake.settings import Settings
from ledgerlake.store import Store
from orchestration import audit, runs
from orchestration.daily import run_config
from orchestration.definitions import build_definitions
from orchestration.engine import Engine
from orchestration.manifest import load_manifest
from orchestration.models import SNAPSHOT, build_model_assets
from orchestration.verified import CHECK, Counts, Evidence, Places, evidence_of
from tests.ledgerlake.integrity.house import TODAY, House

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
WHOLE = Counts(compared=10, matched=10)
SOUND = Evidence(
    ended_at=NOW,
    trouble=None,
    connections={"teller": 2},
    counts={("teller", stream, step): WHOLE for stream in ("accounts", "transactions") for step in ("raw", "staging", "marts")},
    findings=(),
)  # fmt: skip
RAW, STAGED, MART, TINK, NONE = (
    dg.AssetKey(path)
    for path in (
        ["raw", "teller_transactions"],
        ["staging", "stg_teller__transactions"],
        ["main", "fct_transactions"],
        ["raw", "tink_transactions"],
        ["main", "dim_connections"],
    )
)
"""The way of a record of Teller; what has nothing to do with it; and a model that no records go through."""

Judge = Callable[..., list[str]]


@pytest.fixture(scope="module")
def places(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Places:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DBT_TARGET_PATH", str(shared / "dbt"))
        return Places(build_model_assets(load_manifest(Settings(home=tmp_path_factory.mktemp("home"))), 4).specs)


def stored(**given: Any) -> StoredFinding:
    """A finding of that kind and step, open and high unless it says otherwise."""
    nothing = dict.fromkeys(StoredFinding.__dataclass_fields__)
    whole = {"finding_id": 7, "severity": "high", "state": "open", "records": 1, "message": "gone", "money": {}}
    return StoredFinding(**{**nothing, **whole, **given})


@pytest.fixture
def judge(places: Places) -> Judge:
    """What is said of RAW, STAGED, MART, TINK and NONE: `pass`, `WARN` or `ERROR`, by sound evidence with these changes."""

    def said(*findings: Mapping[str, Any], **changes: Any) -> list[str]:
        evidence = replace(SOUND, findings=tuple(stored(**one) for one in findings), **changes)
        verdicts = [places.judge(key, evidence, None) for key in (RAW, STAGED, MART, TINK, NONE)]
        return ["pass" if one.passed else one.severity.value for one in verdicts]

    return said


TELLER = {"provider": "teller", "stream": "transactions", "connection_id": "con_1"}


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        pytest.param([], ["pass", "pass", "pass", "WARN", "pass"], id="nothing found"),
        pytest.param(
            [{"kind": "missing", "step": "source", **TELLER}],
            ["ERROR", "WARN", "WARN", "WARN", "pass"],
            id="what was lost before the store is lacking in all that is made of it",
        ),
        pytest.param(
            [{"kind": "missing", "step": "staging", "model": "stg_teller__transactions", **TELLER}],
            ["pass", "ERROR", "WARN", "WARN", "pass"],
            id="what a model lost is in the store",
        ),
        pytest.param(
            [{"kind": "mismatch", "step": "marts", "model": "fct_transactions", "severity": "medium"}],
            ["pass", "pass", "WARN", "WARN", "pass"],
            id="a finding that is not severe warns",
        ),
        pytest.param(
            [{"kind": "missing", "step": "published", "model": "dim_connections", "state": "muted"}],
            ["pass", "pass", "pass", "WARN", "WARN"],
            id="a muted one warns, and passes nothing",
        ),
        pytest.param(
            [{"kind": "stale", "step": "source", **TELLER, "severity": "medium"}],
            ["WARN", "pass", "pass", "WARN", "pass"],
            id="what is stale is stale where it is read",
        ),
        pytest.param(
            [{"kind": "not_compared", "step": "source", "severity": "medium"}],
            ["WARN", "pass", "pass", "WARN", "pass"],
            id="without the source all other steps are compared all the same",
        ),
        pytest.param(
            [{"kind": "not_compared", "step": "receipts", "severity": "medium"}],
            ["WARN", "WARN", "WARN", "WARN", "pass"],
            id="what was not compared at one step is no proof for the ones after it",
        ),
        pytest.param(
            [{"kind": "not_compared", "step": "published", "severity": "medium"}],
            ["pass", "WARN", "WARN", "WARN", "WARN"],
            id="what is published was not compared, so no model was",
        ),
    ],
)
def test_a_finding_fails_the_check_of_its_asset_and_warns_at_what_is_made_of_it(
    judge: Judge, findings: list[Mapping[str, Any]], expected: list[str]
) -> None:
    assert judge(*findings) == expected


def test_nothing_passes_without_evidence(judge: Judge) -> None:
    assert judge(connections={}) == ["WARN"] * 5
    assert judge(trouble="No verification has come to its end yet: nothing was compared.") == ["ERROR"] * 5
    assert judge(counts={}) == ["WARN", "WARN", "WARN", "WARN", "pass"]
    raw_alone = {place: counts for place, counts in SOUND.counts.items() if place[2] == "raw"}
    assert judge(counts=raw_alone) == ["pass", "ERROR", "ERROR", "WARN", "pass"]


def test_a_check_shows_counts_completeness_and_links_to_the_consoles_pages(places: Places) -> None:
    counted = Counts(compared=1000, matched=990, missing=5, excluded=5)
    evidence = replace(
        SOUND,
        counts={**SOUND.counts, ("teller", "transactions", "marts"): counted},
        findings=(stored(kind="missing", step="marts", model="fct_transactions", message="a | b"),),
    )
    shown = places.judge(MART, evidence, "https://console.example").metadata
    numbers = {name: shown[name].value for name in ("compared", "matched", "missing", "excluded")}
    assert numbers == {"compared": 1000, "matched": 990, "missing": 5, "excluded": 5}
    assert shown["completeness_per_mille"].value == 995.0
    assert "| [7](https://console.example/integrity/7) | high | open |" in str(shown["findings"].value)
    assert "a \\| b" in str(shown["findings"].value)
    assert "`ledgerlake findings show 7`" in str(places.judge(MART, evidence, None).metadata["findings"].value)


def test_evidence_tells_of_a_verification_that_is_missing_old_or_broke_off(store: Store, settings: Settings) -> None:
    def trouble() -> str | None:
        return evidence_of(store, settings).trouble

    findings = Findings(store, settings)
    assert trouble() == "No verification has come to its end yet: nothing was compared."
    first = findings.begin(TODAY, None)
    assert trouble() == "No verification has come to its end yet: nothing was compared.", "it still runs"
    lost = Finding(kind="missing", step="raw", provider="teller", records=1, message="gone", money={"EUR": Decimal(5)})
    findings.merge(first, [lost], [], today=TODAY, scope=None, snapshot=None, compared=3)
    assert trouble() is None
    assert [one.kind for one in evidence_of(store, settings).findings] == ["missing"]
    findings.failed(findings.begin(TODAY, None), "the disk is full")
    assert trouble() == "The last verification broke off: the disk is full"
    findings.merge(findings.begin(TODAY, None), [lost], [], today=TODAY, scope=None, snapshot=None, compared=3)
    assert trouble() is None
    with store.connect() as postgres:
        postgres.execute("UPDATE ledgerlake.verifications SET ended_at = ended_at - interval '37 hours'")
    assert str(trouble()).startswith("The last verification ended at ")


def test_a_verification_that_breaks_off_fails_every_check(
    places: Places, engine: Engine, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise LedgerlakeError("the disk is full")

    monkeypatch.setattr(audit, "verify", broken)
    alone = dg.Definitions(
        assets=[dg.AssetSpec(SNAPSHOT)],
        asset_checks=[audit.build_audit(places, 4)],
        jobs=[dg.define_asset_job("verify", dg.AssetSelection.all_asset_checks())],
        resources={"engine": engine},
    )
    result = alone.resolve_job_def("verify").execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    said = {(one.asset_key, one.passed, one.description) for one in result.get_asset_check_evaluations()}
    assert said == {(key, False, "The verification broke off: the disk is full") for key in [*places.keys, SNAPSHOT]}


@pytest.mark.timeout(240)
def test_a_day_on_which_nothing_is_built_is_verified_and_its_checks_tell_of_it(
    mine: House, places: Places, instance: dg.DagsterInstance, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBT_TARGET_PATH", str(shared / "dbt"))
    [(record_id, payload)] = mine.run(
        """
        SELECT record_id, payload::text FROM raw.teller_transactions
        WHERE NOT pending AND removed_at IS NULL AND record_date BETWEEN '2026-01-10' AND '2026-01-20'
        ORDER BY connection_id, record_id LIMIT 1
        """
    )
    altered = payload.replace('"amount":"', '"amount":"9', 1)
    mine.run("UPDATE raw.teller_transactions SET payload = %s::json WHERE record_id = %s", altered, record_id)
    settings = mine.settings.model_copy(update={"buckets": 4, "console_url": "https://console.example"})
    definitions = build_definitions(settings, Engine(settings))

    def verdicts(result: dg.ExecuteInProcessResult) -> dict[str, tuple[bool, str]]:
        return {
            one.asset_key.to_user_string(): (one.passed, one.severity.value)
            for one in result.get_asset_check_evaluations()
            if one.check_name == CHECK
        }

    daily = definitions.resolve_job_def("daily").execute_in_process(
        run_config(TODAY, ()), instance=instance, raise_on_error=False, tags=dict(runs.partition_range(0, 3))
    )
    made = [
        event.step_materialization_data.materialization for event in daily.all_events if event.is_step_materialization
    ]
    assert {one.asset_key.path[0] for one in made} == {"raw", "lake"}
    said = verdicts(daily)
    assert set(said) == {key.to_user_string() for key in places.keys}
    [finding] = Findings(Store(mine.where.postgres_url), settings).listed()
    assert said["raw/teller_transactions"] == (False, "ERROR")
    assert said["main/fct_transactions"] == (False, "WARN")
    # Nobody is connected to Tink and GoCardless, and no credit note has a line.
    empty = re.compile("tink|gocardless|credit_note_lines")
    assert {key for key, (passed, _) in said.items() if not passed and not empty.search(key)} == {
        *("raw/teller_transactions", "staging/stg_teller__transactions", "intermediate/int_transactions"),
        *("main/fct_transactions", "main/customer_months", "main/excluded_records"),
    }
    [shown] = [
        str(one.metadata["findings"].value)
        for one in daily.get_asset_check_evaluations()
        if one.asset_key == RAW and one.check_name == CHECK
    ]
    assert f"[{finding.finding_id}](https://console.example/integrity/{finding.finding_id})" in shown

    look = definitions.resolve_job_def("look").execute_in_process(instance=instance)
    assert verdicts(look) == said
    record = instance.get_latest_asset_check_evaluation_record(dg.AssetCheckKey(RAW, CHECK))
    assert record is not None
    assert record.run_id == look.run_id
