"""Builds with dbt: what is built, audited and published, and what becomes of one that fails."""

import datetime as dt
import shutil
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from ledgerlake.errors import UsageError
from ledgerlake.lake import BuildFailed, Lake, Progress
from ledgerlake.lake._project import PROJECT, fingerprint, models
from ledgerlake.settings import Settings
from tests.fork import Fork

COUNT = "select bucket, count(*) from fct_transactions group by all order by all"


def test_a_build_publishes_what_changed_and_the_next_one_has_nothing_to_do(
    seed, where, settings: Settings, lake: Lake, tmp_path: Path
) -> None:
    seed.transaction("txn_1", "10.00000001")
    other = seed.other("con_2", bucket=2)
    assert lake.dirty() == [0, 1, 2, 3]
    assert (lake.status().snapshot, lake.status().dirty) == (None, (0, 1, 2, 3))
    heard: list[Progress] = []

    first = lake.build(progress=heard.append)

    assert first.buckets == (0, 1, 2, 3)
    assert {model.name: model.rows for model in first.models if model.rows} == {
        "dim_accounts": 2,
        "dim_connections": 2,
        "dim_customers": 2,
        "customer_months": 1,
        "fct_transactions": 1,
        "int_accounts": 2,
        "int_transactions": 1,
        "source_mix": 1,
        "stg_teller__accounts": 2,
        "stg_teller__transactions": 1,
    }
    assert {test.status for test in first.tests} == {"passed"}
    assert {(one.kind, one.name, one.status) for one in heard} >= {
        ("model", "fct_transactions", "started"),
        ("model", "fct_transactions", "passed"),
    }
    assert str(lake.query("select amount from fct_transactions").rows[0][0]) == "10.00000001"
    assert lake.dirty() == []
    assert lake.build().build_id is None
    assert [snapshot.id for snapshot in lake.snapshots()] == [first.snapshot]

    other.transaction("txn_2", "1")
    assert lake.dirty() == [2]
    status = lake.status()
    assert (status.snapshot, status.build_id, status.dirty) == (first.snapshot, first.build_id, (2,))
    assert status.published_at is not None
    assert dt.datetime.now(dt.UTC) - status.published_at < dt.timedelta(minutes=5)
    second = lake.build()

    assert second.buckets == (2,)
    assert lake.query(COUNT).rows == [(0, 1), (2, 1)]
    assert lake.query("select customers from source_mix").rows == [(2,)]
    assert lake.query("select count(*) from fct_transactions", at=first.snapshot).rows == [(1,)]
    with psycopg.connect(seed.postgres_url) as store:
        noted = store.execute("select build_id, outcome, snapshot_id from ledgerlake.builds order by started_at")
        assert noted.fetchall() == [
            (first.build_id, "published", first.snapshot),
            (second.build_id, "published", second.snapshot),
        ]
        took = store.execute(
            "select model, seconds, rows, files from ledgerlake.build_models where build_id = %s", [first.build_id]
        )
        assert set(took) == {(one.name, one.seconds, one.rows, len(one.files)) for one in first.models}

    project = tmp_path / "dbt_project"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("target", "logs"))
    copied = Lake(where, settings, project)
    assert copied.dirty() == []
    model = project / "models" / "marts" / "dim_customers.sql"
    model.write_text(model.read_text() + "\n-- more\n")
    assert copied.dirty() == [0, 1, 2, 3]


def test_a_failed_audit_publishes_nothing_and_says_what_failed(seed, lake: Lake) -> None:
    seed.transaction("txn_1", "10")
    published = lake.build()
    seed.record("details", "acc", "{}", account_id=None)
    seed.transaction("txn_2", "20")

    with pytest.raises(BuildFailed) as failed:
        lake.build()

    assert "test stg_teller__details_has_no_gaps: 1 row of stg_teller__details" in str(failed.value)
    assert str(failed.value).endswith(
        "Nothing was published. To look into it: cd dbt_project && dbt build -s +stg_teller__details"
    )
    assert [snapshot.id for snapshot in lake.snapshots()] == [published.snapshot]
    assert lake.query(COUNT).rows == [(0, 1)]
    assert lake.dirty() == [0]


def test_a_subset_reads_the_rest_from_the_lake_and_needs_the_lake_to_have_it(seed, lake: Lake) -> None:
    seed.transaction("txn_1", "10")
    with pytest.raises(BuildFailed) as failed:
        lake.build(select="fct_transactions")
    assert (
        "fct_transactions reads int_transactions, which this run does not build and the lake does not hold yet. "
        "Run `dbt build -s +fct_transactions`, or publish everything once with `ledgerlake build`."
    ) in str(failed.value)
    lake.build()
    seed.transaction("txn_2", "20")

    report = lake.build(select="fct_transactions")

    assert [model.name for model in report.models] == ["fct_transactions"]
    assert lake.query(COUNT).rows == [(0, 1)]
    assert lake.dirty() == [0]


def test_all_models_read_the_store_as_it_was_when_the_build_began(seed, lake: Lake) -> None:
    seed.transaction("txn_1", "10")
    late: list[str] = []

    def sync_meanwhile(progress: Progress) -> None:
        if progress.name == "stg_teller__accounts" and progress.status == "passed":
            seed.transaction("late", "20")
            late.append("late")

    lake.build(progress=sync_meanwhile)

    assert late == ["late"]
    assert lake.query(COUNT).rows == [(0, 1)]
    assert lake.dirty() == [0]


def test_a_build_that_is_killed_before_the_commit_leaves_nothing(
    seed, lake: Lake, settings: Settings, environment: Callable[[Settings], dict[str, str]], fork: Fork, tmp_path: Path
) -> None:
    seed.transaction("txn_1", "10")
    lake.build()
    before = lake.snapshots()
    seed.transaction("txn_2", "20")
    script = """
import os
from ledgerlake.lake import Lake
from ledgerlake.lake import _publish
from ledgerlake.local import servers
from ledgerlake.settings import load

_publish._verify = lambda lake, files: os._exit(9)
with servers(load()) as where:
    Lake(where, load()).build()
"""
    killed = fork.start(script, env=environment(settings), cwd=tmp_path, loaded=["ledgerlake.lake", "dbt.cli.main"])

    assert killed.wait().returncode == 9
    assert lake.snapshots() == before
    assert lake.query(COUNT).rows == [(0, 1)]
    lake.build()
    assert lake.query(COUNT).rows == [(0, 2)]


def test_a_model_that_breaks_its_contract_names_each_difference(
    seed, where, settings: Settings, tmp_path: Path
) -> None:
    project = tmp_path / "dbt_project"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("target", "logs"))
    model = project / "models" / "marts" / "dim_connections.sql"
    model.write_text("select 1::decimal(18,3) as connection_id, 2 as more\n")

    with pytest.raises(BuildFailed) as failed:
        Lake(where, settings, project).build(select="dim_connections")

    text = str(failed.value)
    assert "The contract of dim_connections is broken." in text
    assert "connection_id: expected VARCHAR, the model gives DECIMAL(18,3)" in text
    assert "bucket: expected SMALLINT, the model has no such column" in text
    assert "more: the contract has no such column" in text


def test_a_bucket_or_model_that_is_not_there_is_named(lake: Lake) -> None:
    with pytest.raises(UsageError, match=r"^There is no bucket 9: they go from 0 to 3\.$"):
        lake.build(buckets=[9])
    with pytest.raises(BuildFailed, match=r"^--select nothing: no model is selected"):
        lake.build(select="nothing")


def test_the_fingerprint_does_not_see_what_dbt_writes(tmp_path: Path) -> None:
    project = tmp_path / "dbt_project"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("target", "logs"))
    before = fingerprint(project)

    (project / "target").mkdir()
    (project / "target" / "manifest.yml").write_text("x: 1")
    (project / ".user.yml").write_text("id: 1")

    assert fingerprint(project) == before == fingerprint()
    assert models(project) == models()


def test_a_build_writes_nothing_on_stdout(seed, lake: Lake, capfd: pytest.CaptureFixture[str]) -> None:
    lake.build(select="dim_connections")

    assert capfd.readouterr().out == ""


def test_files_lie_under_the_builds_own_prefix(seed, lake: Lake, objects: Callable[[], list[str]]) -> None:
    report = lake.build(buckets=[0], select="dim_connections")

    assert objects() == [f"builds/{report.build_id}/main/dim_connections/0.parquet"]


def test_a_project_that_cannot_be_parsed_says_where(seed, where, settings: Settings, tmp_path: Path) -> None:
    project = tmp_path / "dbt_project"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("target", "logs"))
    (project / "models" / "marts" / "dim_customers.sql").write_text("select {{ nothing")

    with pytest.raises(BuildFailed, match=r"^dbt cannot build the project: .*models/marts/dim_customers\.sql"):
        Lake(where, settings, project).build()
