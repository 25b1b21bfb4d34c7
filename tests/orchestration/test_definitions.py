"""What Dagster is shown, and that it can be shown while no server runs."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from connectors import PROVIDERS
from ledgerlake.settings import Settings
from orchestration.manifest import load_manifest

ROOT = Path(__file__).parents[2]

MODELS = {
    layer: sorted(path.stem for path in ROOT.glob(f"dbt_project/models/{layer}/**/*.sql"))
    for layer in ("staging", "intermediate", "marts")
}
SCHEMAS = {"staging": "staging", "intermediate": "intermediate", "marts": "main"}
STREAMS = {
    name: sorted([*(f"raw/{name}_{stream.name}" for stream in connector.streams), f"{name}/api"])
    for name, connector in PROVIDERS.items()
}
ASSETS = {
    "lake": ["lake/snapshot"],
    "store": [
        *("ledgerlake/accounts", "ledgerlake/connections", "ledgerlake/findings", "ledgerlake/syncs"),
        *("ledgerlake/verification_results", "ledgerlake/verifications", "raw/quarantine"),
    ],
    **{layer: [f"{SCHEMAS[layer]}/{name}" for name in names] for layer, names in MODELS.items()},
    **STREAMS,
}


def test_the_picture_that_the_others_compare_with_is_not_empty() -> None:
    assert STREAMS["teller"] == [
        "raw/teller_accounts",
        "raw/teller_balances",
        "raw/teller_details",
        "raw/teller_identity",
        "raw/teller_transactions",
        "teller/api",
    ]
    assert {"dim_accounts", "excluded_records", "fct_transactions", "fct_balances"} <= set(MODELS["marts"])


def test_every_stream_model_and_the_snapshot_is_an_asset_of_its_group(definitions: dg.Definitions) -> None:
    found: dict[str, list[str]] = {}
    for spec in definitions.resolve_all_asset_specs():
        found.setdefault(spec.group_name or "", []).append(spec.key.to_user_string())
    assert {group: sorted(keys) for group, keys in found.items()} == ASSETS


def test_the_lineage_leads_from_the_provider_to_the_snapshot(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    upstream = graph.get_ancestor_asset_keys(dg.AssetKey(["lake", "snapshot"]))
    everything = {spec.key for spec in definitions.resolve_all_asset_specs()} - {dg.AssetKey(["lake", "snapshot"])}
    assert upstream == everything


def test_every_asset_has_a_description_an_owner_and_a_kind(definitions: dg.Definitions) -> None:
    bare = [
        spec.key.to_user_string()
        for spec in definitions.resolve_all_asset_specs()
        if not spec.description or list(spec.owners) != ["team:data-platform"] or not spec.kinds
    ]
    assert bare == []


def test_models_are_partitioned_by_bucket_but_for_those_over_all_customers(definitions: dg.Definitions) -> None:
    partitions = {
        spec.key.to_user_string(): spec.partitions_def.get_partition_keys()
        for spec in definitions.resolve_all_asset_specs()
        if spec.partitions_def is not None
    }
    models = set(ASSETS["staging"] + ASSETS["intermediate"] + ASSETS["marts"]) - {
        "main/source_mix",
        "main/fct_findings",
    }
    assert partitions == {key: ["0", "1", "2", "3"] for key in models}


def test_a_models_columns_are_those_of_its_contract(definitions: dg.Definitions) -> None:
    specs = {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}
    schema = specs["main/fct_transactions"].metadata["dagster/column_schema"]
    amount = next(column for column in schema.columns if column.name == "amount")
    assert (amount.type, amount.description[:17]) == ("decimal(28,8)", "Positive is money")


def test_every_test_of_dbt_is_a_check_and_the_streams_have_their_own(
    definitions: dg.Definitions, settings: Settings
) -> None:
    graph = definitions.resolve_asset_graph()
    by_asset: dict[str, set[str]] = {}
    for key in graph.asset_check_keys:
        by_asset.setdefault(key.asset_key.to_user_string(), set()).add(key.name)
    assert by_asset["raw/teller_accounts"] == {"connections_synced", "fresh", "quarantine_is_empty", "verified"}
    assert by_asset["raw/teller_details"] == {"quarantine_is_empty", "verified"}
    assert by_asset["lake/snapshot"] == {"nothing_lost"}
    everywhere = {f"{SCHEMAS[layer]}/{name}" for layer, names in MODELS.items() for name in names}
    everywhere |= {key for keys in STREAMS.values() for key in keys if key.startswith("raw/")}
    assert {asset for asset, names in by_asset.items() if "verified" in names} == everywhere
    tests = {name for asset, names in by_asset.items() for name in names if asset.startswith("main/")} - {"verified"}
    manifest = load_manifest(settings)["nodes"].values()
    assert tests == {
        node["name"]
        for node in manifest
        if node["resource_type"] == "test" and str(node["attached_node"]).rpartition(".")[2] in MODELS["marts"]
    }
    conserved = {asset for asset, names in by_asset.items() if any("_conserves_" in name for name in names)}
    assert {"main/dim_accounts", "main/fct_transactions", "main/fct_balances"} <= conserved


def test_the_jobs_schedules_and_sensors_are_these_and_all_run_by_default(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    assert sorted(job.name for job in definitions.resolve_all_job_defs() if not job.name.startswith("__")) == [
        "build_buckets",
        "daily",
        "look",
        "repair",
        "retention",
        "sync_connections",
    ]
    assert {
        one.name: (one.cron_schedule, one.execution_timezone, one.job_name, one.default_status.value)
        for one in repository.schedule_defs
    } == {
        "daily_schedule": ("0 5 * * *", "UTC", "daily", "RUNNING"),
        "look_schedule": ("30 * * * *", "UTC", "look", "RUNNING"),
        "retention_schedule": ("0 3 * * *", "UTC", "retention", "RUNNING"),
    }
    assert {one.name: (one.minimum_interval_seconds, one.default_status.value) for one in repository.sensor_defs} == {
        "changed_buckets": (30, "RUNNING"),
        "failed_runs": (30, "RUNNING"),
        "findings": (60, "RUNNING"),
        "new_connections": (10, "RUNNING"),
        "repair_orders": (5, "RUNNING"),
        "sync_orders": (5, "RUNNING"),
        "webhook_events": (10, "RUNNING"),
    }


def test_the_schedule_asks_for_all_buckets_once_a_day(
    definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    context = dg.build_schedule_context(instance)
    (request,) = definitions.resolve_schedule_def("daily_schedule").evaluate_tick(context).run_requests or ()
    assert {name: value for name, value in request.tags.items() if "partition" in name} == {
        "dagster/asset_partition_range_start": "0",
        "dagster/asset_partition_range_end": "3",
    }


def test_connections_that_are_new_come_before_builds_and_those_before_the_daily_pass(
    definitions: dg.Definitions,
) -> None:
    priorities = {
        name: int(definitions.resolve_job_def(name).tags["dagster/priority"])
        for name in ("sync_connections", "build_buckets", "daily")
    }
    assert sorted(priorities, key=lambda name: -priorities[name]) == ["sync_connections", "build_buckets", "daily"]


@pytest.mark.slow
def test_dagster_finds_the_definitions_valid_without_a_server_and_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "dagster", "definitions", "validate", "--workspace", ROOT / "workspace.yaml"],
        cwd=ROOT,
        env={
            "PATH": os.defpath,
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "DAGSTER_HOME": str(tmp_path),
            "LEDGERLAKE_HOME": str(tmp_path),
            # Nothing listens there.
            "LEDGERLAKE_POSTGRES_URL": "postgresql://nobody:x@127.0.0.1:1/none",
            "LEDGERLAKE_S3_URL": "s3://none",
            "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
            "PYTHONWARNINGS": "default",
        },
        capture_output=True,
        text=True,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "Validation successful for code location ledgerlake" in said
    # Two are not ours: the command's own (its successor is no dependency), and sqlglot's accelerator's.
    others = ("definitions_validate_command", "sqlglotrs")
    ours = [line for line in said.splitlines() if "arning" in line and not any(name in line for name in others)]
    assert ours == []
