"""The daily job, on real servers and the sandbox."""

import datetime as dt
import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from ledgerlake.lake import Lake
from ledgerlake.lake._project import PROJECT
from ledgerlake.local import servers
from ledgerlake.settings import Settings
from ledgerlake.store import Connection, Store, position
from orchestration import runs
from orchestration.daily import run_config
from orchestration.definitions import build_definitions
from orchestration.engine import Engine

SNAPSHOT = dg.AssetKey(["lake", "snapshot"])


def execute(
    definitions: dg.Definitions, instance: dg.DagsterInstance, today: str = "2026-03-01", last_bucket: int = 3
) -> dg.ExecuteInProcessResult:
    """The job `daily` over all buckets."""
    return definitions.resolve_job_def("daily").execute_in_process(
        run_config=run_config(dt.date.fromisoformat(today), ()),
        instance=instance,
        raise_on_error=False,
        tags=dict(runs.partition_range(0, last_bucket)),
    )


def materialized(result: dg.ExecuteInProcessResult) -> dict[str, list[dg.AssetMaterialization]]:
    found: dict[str, list[dg.AssetMaterialization]] = {}
    for event in result.all_events:
        if event.is_step_materialization:
            one = event.step_materialization_data.materialization
            found.setdefault(one.asset_key.to_user_string(), []).append(one)
    return found


def checked(result: dg.ExecuteInProcessResult) -> dict[tuple[str, str], tuple[bool, str, str]]:
    return {
        (one.asset_key.to_user_string(), one.check_name): (one.passed, one.severity.value, one.description or "")
        for one in result.get_asset_check_evaluations()
    }


def why(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """The sentence of each step that failed."""
    found = {}
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data.user_failure_data
            found[str(event.step_key)] = str(data.description if data else event.step_failure_data.error)
    return found


@pytest.mark.slow
def test_a_day_brings_all_to_the_lake_and_the_next_pass_of_that_day_brings_nothing(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    settings: Settings,
    connect: Callable[[int], Connection],
) -> None:
    for index in range(4):
        connect(index)
    first = execute(definitions, instance)
    assert why(first) == {}
    made = materialized(first)
    with servers(settings) as where:
        lake = Lake(where, settings)
        snapshots = lake.snapshots()
        ((rows,),) = lake.query("select count(*) from main.fct_transactions").rows
    transactions = made["main/fct_transactions"]
    assert sorted(int(one.partition or -1) for one in transactions) == [0, 1, 2, 3]
    by_bucket = [one.metadata["rows"].value for one in transactions]
    assert sum(count for count in by_bucket if isinstance(count, int)) == rows
    assert rows > 0
    assert [one.metadata["snapshot"].value for one in made["lake/snapshot"]] == [snapshots[0].id]
    (raw,) = made["raw/teller_transactions"]
    assert raw.metadata["records_new"].value == rows
    assert raw.metadata["connections_done"].value == 4
    assert (
        checked(first)["raw/teller_accounts", "connections_synced"]
        == (
            True,
            "ERROR",
            "All 4 connections were read to their end, or are not called by their state.",
        )
        or checked(first)["raw/teller_accounts", "connections_synced"][0]
    )
    assert checked(first)["raw/teller_transactions", "fresh"][2] == (
        "All 4 active connections were read in the last 26 hours."
    )
    failed = {key: found for key, found in checked(first).items() if not found[0] and found[1] == "ERROR"}
    assert failed == {}

    second = execute(definitions, instance)
    assert why(second) == {}
    again = materialized(second)
    assert again["raw/teller_transactions"][0].metadata["records_new"].value == 0
    assert "main/fct_transactions" not in again
    assert again["lake/snapshot"][0].metadata["buckets_built"].value == 0
    with servers(settings) as where:
        assert [one.id for one in Lake(where, settings).snapshots()] == [one.id for one in snapshots]


@pytest.mark.slow
def test_a_failed_test_fails_the_run_is_shown_as_its_check_and_publishes_nothing(
    settings: Settings,
    instance: dg.DagsterInstance,
    connect: Callable[[int], Connection],
    tmp_path: Path,
) -> None:
    project = tmp_path / "project"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("target", "logs"))
    (project / "tests").mkdir(exist_ok=True)
    (project / "tests" / "nobody_is_a_customer.sql").write_text("select customer_id from {{ ref('dim_customers') }}\n")
    connect(0)
    definitions = build_definitions(settings, Engine(settings, project=project), project=project)
    result = execute(definitions, instance)
    assert not result.success
    assert list(why(result)) == ["build"]
    assert "nobody_is_a_customer" in why(result)["build"]
    assert checked(result)["main/dim_customers", "nobody_is_a_customer"][:2] == (False, "ERROR")
    assert "main/dim_customers" not in materialized(result)
    with servers(settings) as where:
        assert Lake(where, settings).snapshots() == []


def test_a_store_behind_the_code_stops_the_job_before_it_does_anything(
    definitions: dg.Definitions, instance: dg.DagsterInstance, store: Store, connect: Callable[[int], Connection]
) -> None:
    connect(0)
    newest = position(store.postgres_url).newest
    with store.connect() as postgres:
        postgres.execute("UPDATE ledgerlake.schema_version SET version_num = '0001'")
    result = execute(definitions, instance)
    assert why(result)["sync_teller"] == (
        f"The store is at version 0001, this Ledgerlake needs {newest}: run `ledgerlake migrate`. Nothing was changed."
    )
    assert materialized(result) == {}
    with store.connect() as postgres:
        assert postgres.execute("SELECT count(*) FROM ledgerlake.syncs").fetchone() == (0,)
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags["dagster/max_retries"] == "0"


def test_a_store_with_another_number_of_buckets_stops_the_job(
    settings: Settings, instance: dg.DagsterInstance, engine: Engine, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBT_TARGET_PATH", str(shared / "dbt"))
    definitions = build_definitions(settings.model_copy(update={"buckets": 8}), engine)
    result = execute(definitions, instance, last_bucket=7)
    assert why(result)["sync_teller"] == (
        "LEDGERLAKE_BUCKETS is 8, but the store was made with 4 buckets, which is for ever: "
        "set LEDGERLAKE_BUCKETS=4 and reload the code location. Nothing was done."
    )
