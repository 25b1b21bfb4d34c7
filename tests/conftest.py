"""Real servers, started once for all workers; a fresh database and a fresh S3 prefix for each test."""

import datetime as dt
import gc
import itertools
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr
from pytest_socket import socket_allow_hosts

import sandbox
from ledgerlake.lake import PROJECT
from ledgerlake.local import S3, Servers, servers
from ledgerlake.local._process import locked, read
from ledgerlake.settings import Settings, variable
from ledgerlake.store import Store, Vault, migrate
from tests.fork import Fork
from tests.ledgerlake.integrity.house import house, mine

__all__ = ["house", "mine"]

BUCKETS = 4
TODAY = dt.date(2026, 3, 1)

# Files in memory, where that is ample: each test's database is a thousand of them, which take a disk a second.
_MEMORY = Path("/dev/shm")
if "TMPDIR" not in os.environ and _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > 4 << 30:
    os.environ["TMPDIR"], tempfile.tempdir = str(_MEMORY), None

# In CI a property is tried with the same examples each time: new ones are found where somebody can look at them.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")


def _patience(item: pytest.Item) -> float:
    """The seconds that a test asks for."""
    asked = item.get_closest_marker("timeout")
    return float(asked.args[0]) if asked else 0.0


def pytest_collection_finish() -> None:
    """What was imported stays: looking through it for garbage, again and again, is a twentieth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each of xdist's workers, which get an equal part of the list, begins with its share of the slow tests, the slowest first."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    slow = sorted((one for one in items if one.get_closest_marker("slow")), key=_patience, reverse=True)
    rest = iter([one for one in items if not one.get_closest_marker("slow")])
    count = len(items)
    ordered: list[pytest.Item] = []
    for worker in range(workers):
        ordered += slow[worker::workers]
        ordered += itertools.islice(rest, max(0, count * (worker + 1) // workers - len(ordered)))
    items[:] = [*ordered, *rest]


@pytest.fixture(scope="session", autouse=True)
def _closed_house() -> Iterator[None]:
    """No setting of the developer's own, and no socket to the outside."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith(("LEDGERLAKE_", "AWS_", "DAGSTER_", "DBT_", "PG")):
                patch.delenv(name)
        patch.setenv("LEDGERLAKE_THREADS", "1")  # of these few rows more threads only wait for each other
        patch.setitem(Settings.model_config, "env_file", None)
        socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """A folder that all workers of this run share. Not one of pytest's: another run takes their permissions away."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    folder = Path(tempfile.gettempdir()) / f"ledgerlake-{os.getuid()}-{run[:12]}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def shared_servers(shared: Path) -> Iterator[Servers]:
    """PostgreSQL and S3, started by the first worker that asks; the last that leaves stops and removes them."""
    home = shared / "servers"
    with servers(Settings(home=home)) as where:
        _without_fsync(where)
        yield where
    states = [read(path) for path in home.glob("*.json")]
    if not any(state is not None and state.process.alive() for state in states):
        shutil.rmtree(shared, ignore_errors=True)


@pytest.fixture(scope="session")
def _template(shared: Path, shared_servers: Servers) -> str:
    """A migrated database that a session's own are copies of."""
    return _template_of(shared, shared_servers, BUCKETS)


def _template_of(shared: Path, where: Servers, buckets: int) -> str:
    """A migrated database of so many buckets, made once, that each test's database is a copy of."""
    name = f"template_store_{buckets}"
    with locked(shared / "template.lock"), _admin(where) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            migrate(_database(where, name), buckets=buckets)
    return name


def _without_fsync(where: Servers) -> None:
    """PostgreSQL need not outlive the machine: what makes it so costs ten times the copy of a database."""
    with _admin(where) as connection:
        for name in ("fsync", "full_page_writes", "synchronous_commit"):
            connection.execute(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(name)))
        connection.execute("SELECT pg_reload_conf()")


def _admin(where: Servers) -> psycopg.Connection:
    return psycopg.connect(where.postgres_url, dbname="postgres", autocommit=True)


def _database(where: Servers, name: str) -> str:
    return f"{where.postgres_url.rpartition('/')[0]}/{name}"


def _fresh(where: Servers, template: str) -> Iterator[str]:
    name = f"test_{secrets.token_hex(6)}"
    with _admin(where) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        yield _database(where, name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def empty_postgres_url(shared_servers: Servers) -> Iterator[str]:
    """A database without a store."""
    yield from _fresh(shared_servers, "template0")


@pytest.fixture
def buckets() -> int:
    """How many buckets the test's store has. Where a test builds all of them, fewer cost less: it says so by its own."""
    return BUCKETS


@pytest.fixture
def postgres_url(shared: Path, shared_servers: Servers, buckets: int) -> Iterator[str]:
    """A database with an empty store."""
    yield from _fresh(shared_servers, _template_of(shared, shared_servers, buckets))


@pytest.fixture
def store(postgres_url: str) -> Store:
    return Store(postgres_url)


@pytest.fixture
def s3(shared_servers: Servers) -> S3:
    """A prefix of its own in the shared bucket."""
    there = shared_servers.s3
    return S3(f"{there.url}/{secrets.token_hex(6)}", there.endpoint, there.access_key, there.secret_key, there.region)


@pytest.fixture
def settings(tmp_path: Path, postgres_url: str, s3: S3, buckets: int) -> Settings:
    """Settings that name this test's own database and prefix, as an operator's environment would."""
    return Settings(
        home=tmp_path / "home",
        postgres_url=SecretStr(postgres_url),
        secret_keys=(SecretStr("x2ZRlGdZ7lYbLQ3jVYyDRMq3bq3aMqGmFrPyfjRkcHA="),),
        s3_url=s3.url,
        aws_endpoint_url_s3=s3.endpoint,
        aws_access_key_id=SecretStr(s3.access_key or ""),
        aws_secret_access_key=SecretStr(s3.secret_key or ""),
        aws_region=s3.region,
        buckets=buckets,
    )


@pytest.fixture
def vault(settings: Settings) -> Vault:
    return Vault.of(settings)


@pytest.fixture(scope="session")
def bank() -> Iterator[sandbox.Server]:
    """A sandbox of four customers and two months, for all tests that only read it."""
    with sandbox.Server(sandbox.World.of(seed=7, customers=4, years=0, today=TODAY), sandbox.Clock(TODAY)) as server:
        yield server


@pytest.fixture(scope="session")
def customers(bank: sandbox.Server) -> list[dict[str, Any]]:
    """The customers that the bank has at Teller, with the secrets that their connections have."""
    told: list[dict[str, Any]] = httpx.get(f"{bank.control_url}/customers", trust_env=False).json()
    return [one for one in told if one["provider"] == "teller"]


@pytest.fixture(scope="session")
def environment() -> Callable[[Settings], dict[str, str]]:
    """Turns settings into the whole environment of a process that is to have them and nothing else of ours."""

    def of(settings: Settings) -> dict[str, str]:
        given: dict[str, str] = {}
        for name in Settings.model_fields:
            value = getattr(settings, name)
            parts = [_shown(part) for part in (value if isinstance(value, tuple) else (value,)) if part is not None]
            if parts:
                given[variable(name)] = ",".join(parts)
        return {"PATH": os.environ["PATH"], "HOME": str(settings.home), **given}

    return of


def _shown(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


@pytest.fixture(scope="session")
def fork() -> Iterator[Fork]:
    """Runs commands in processes of their own, without their seconds of imports."""
    fork = Fork()
    yield fork
    fork.close()


_PARSE = """
import sys
from dbt.cli.main import dbtRunner

project, folder = sys.argv[1:]
arguments = ["--quiet", "--log-level-file", "none", "--log-path", folder, "parse", "--target-path", folder]
assert dbtRunner().invoke([*arguments, "--project-dir", project, "--profiles-dir", project]).success
"""


@pytest.fixture(scope="session")
def parsed(shared: Path, fork: Fork) -> Path:
    """What dbt keeps of a parsed project, made once for all workers: copied to a home's `dbt`, it spares it seconds."""
    folder = shared / "parsed"
    with locked(shared / "parsed.lock"):
        if not folder.exists():
            env = {"PATH": os.environ["PATH"], "HOME": str(shared)}
            fork.start(
                _PARSE, str(PROJECT), str(shared / "parsing"), env=env, cwd=shared, loaded=["dbt.cli.main"]
            ).wait().check_returncode()
            (shared / "parsing").rename(folder)
    return folder
