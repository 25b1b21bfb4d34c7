"""The project as an analytics engineer meets it: dbt's own commands, in a process of their own."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from ledgerlake.lake import Lake
from ledgerlake.lake._project import PROJECT
from ledgerlake.settings import Settings
from tests.fork import Fork


@pytest.fixture
def dbt(
    settings: Settings, environment: Callable[[Settings], dict[str, str]], fork: Fork, parsed: Path, tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `dbt …` in the project's folder, as its users do; `started`: with Python's own start, and parsing."""
    ours = environment(settings)

    def run(*arguments: str, started: bool = False, **extra: str) -> subprocess.CompletedProcess[str]:
        given = ["--no-use-colors", "--log-path", str(tmp_path), *arguments, "--target-path", str(tmp_path / "target")]
        if not started:
            shutil.copytree(parsed, tmp_path / "target", dirs_exist_ok=True)
            code = "from dbt.cli.main import cli; cli()"
            return fork.start(code, *given, env=ours | extra, cwd=PROJECT, loaded=["dbt.cli.main"]).wait()
        return subprocess.run(
            [Path(sys.executable).with_name("dbt"), *given],
            cwd=PROJECT,
            env=ours | extra,
            capture_output=True,
            text=True,
            check=False,
            timeout=110,
        )

    return run


@pytest.fixture(scope="module")
def manifest(parsed: Path) -> dict[str, Any]:
    """The parsed project; nothing but files is needed for it."""
    found: dict[str, Any] = json.loads((parsed / "manifest.json").read_text())
    return found


def models(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]


def test_every_model_and_column_is_described_and_typed(manifest: dict[str, Any]) -> None:
    assert {model["name"] for model in models(manifest)} == {path.stem for path in PROJECT.glob("models/**/*.sql")}
    gaps = [
        f"{model['name']}.{column['name']}"
        for model in models(manifest)
        for column in [{"name": "(model)", "data_type": "-", **model}, *model["columns"].values()]
        if not column["description"] or not column["data_type"]
    ]
    assert gaps == []


def test_every_source_and_its_columns_are_described(manifest: dict[str, Any]) -> None:
    gaps = [
        f"{source['name']}.{column['name']}"
        for source in manifest["sources"].values()
        for column in [source, *source["columns"].values()]
        if not column["description"] or not source["columns"]
    ]
    assert gaps == []


def test_every_model_has_an_enforced_contract_and_one_file_a_bucket(manifest: dict[str, Any]) -> None:
    assert {(m["config"]["materialized"], m["config"]["contract"]["enforced"]) for m in models(manifest)} == {
        ("parquet", True)
    }


def test_every_stream_of_every_provider_is_conserved(manifest: dict[str, Any]) -> None:
    streams = {s["name"] for s in manifest["sources"].values() if s["source_name"] == "raw"} - {"quarantine"}
    tests = [n["test_metadata"] for n in manifest["nodes"].values() if n["resource_type"] == "test"]
    conserved = {
        f"{test['kwargs']['provider']}_{test['kwargs']['stream']}" for test in tests if test["name"] == "conservation"
    }
    assert conserved == streams


def test_every_model_stands_in_a_schema_of_the_lake(manifest: dict[str, Any]) -> None:
    assert {(m["fqn"][1], m["schema"]) for m in models(manifest)} == {
        ("staging", "staging"),
        ("intermediate", "intermediate"),
        ("marts", "main"),
    }


def test_a_plain_dbt_build_tests_everything_publishes_nothing_and_tidies_up(
    books, dbt, lake: Lake, settings: Settings, tmp_path: Path
) -> None:
    book = books()
    book.account("checking")
    book.transaction("one", "1")

    built = dbt("build", started=True)

    assert built.returncode == 0, built.stdout
    assert "PASS=" in built.stdout
    assert "ERROR=0" in built.stdout
    units = re.search(r"(\d+) unit tests", built.stdout)
    assert units is not None
    assert int(units[1]) == sum(path.read_text().count("\n    model: ") for path in PROJECT.glob("models/**/*.yml"))
    assert lake.snapshots() == []
    assert [path.name for path in settings.home.iterdir() if path.name.startswith("dbt-")] == []
    log = (tmp_path / "dbt.log").read_text()
    assert settings.aws_secret_access_key is not None
    assert settings.aws_secret_access_key.get_secret_value() not in log
    assert settings.postgres_url is not None
    password = urlsplit(settings.postgres_url.get_secret_value()).password
    assert password is not None
    assert password not in log


def test_a_subset_of_one_bucket_shows_rows_of_the_published_lake_and_docs_are_made(
    books, dbt, lake: Lake, tmp_path: Path, manifest: dict[str, Any]
) -> None:
    book = books()
    book.account("checking")
    book.transaction("one", "1")
    lake.build(buckets=[1])
    book.transaction("two", "2")

    built = dbt("build", "-s", "fct_transactions", LEDGERLAKE_BUILD_BUCKETS="1")
    docs = dbt("docs", "generate")

    assert built.returncode == 0, built.stdout
    assert "1 parquet model" in built.stdout
    assert docs.returncode == 0, docs.stdout
    catalog = json.loads((tmp_path / "target" / "catalog.json").read_text())
    assert (len(catalog["nodes"]), catalog["errors"]) == (len(models(manifest)), None)
    assert len(catalog["sources"]) == len(manifest["sources"])


def test_a_subset_over_an_empty_lake_says_what_to_run(books, dbt) -> None:
    books()

    built = dbt("build", "-s", "fct_transactions")

    assert built.returncode == 1
    assert "Run `dbt build -s +fct_transactions`, or publish everything once with `ledgerlake build`." in built.stdout
