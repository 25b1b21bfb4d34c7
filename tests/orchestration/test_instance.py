"""Where Dagster keeps its runs: an address without surprises, a folder without secrets."""

from pathlib import Path

import psycopg
import pytest
import yaml  # type: ignore[import-untyped]

from ledgerlake.settings import Settings
from orchestration import instance


@pytest.mark.parametrize(
    ("given", "made"),
    [
        (
            "postgresql://u:p%40x@db:5433/lake",
            "postgresql+psycopg2://u:p%40x@db:5433/lake?options=-csearch_path%3Ddagster",
        ),
        (
            "postgresql://u@db/lake?sslmode=require&options=-cjit%3Doff",
            "postgresql+psycopg2://u@db/lake?sslmode=require&options=-cjit%3Doff%20-csearch_path%3Ddagster",
        ),
        (
            "host=db port=5433 user=u password=a/b dbname=lake",
            "postgresql+psycopg2://u:a%2Fb@db:5433/lake?options=-csearch_path%3Ddagster",
        ),
    ],
)
def test_dagsters_tables_are_in_the_stores_database_in_a_schema_of_their_own(given: str, made: str) -> None:
    assert instance.storage_url(given) == made


def test_preparing_makes_schema_and_folder_and_writes_no_password(settings: Settings, postgres_url: str) -> None:
    environment = instance.prepare(settings, postgres_url)
    assert instance.prepare(settings, postgres_url) == environment
    home = Path(environment["DAGSTER_HOME"])
    assert sorted(path.name for path in home.iterdir()) == ["console.yaml", "dagster.yaml"]
    password = psycopg.conninfo.conninfo_to_dict(postgres_url)["password"]
    assert [path.name for path in home.iterdir() if str(password) in path.read_text()] == []
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT to_regnamespace('dagster') IS NOT NULL").fetchone() == (True,)


def test_the_instance_is_the_same_in_containers_and_tells_nobody() -> None:
    root = Path(__file__).parents[2]
    ours = yaml.safe_load((root / "orchestration" / "dagster.yaml").read_text())
    assert ours["storage"] == {"postgres": {"postgres_url": {"env": "DAGSTER_POSTGRES_URL"}}}
    assert ours["telemetry"] == {"enabled": False}
    assert ours["concurrency"]["pools"] == {"granularity": "run", "default_limit": 1}
