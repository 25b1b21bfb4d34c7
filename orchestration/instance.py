"""Dagster's instance: its folder, its tables, and the environment in which its processes find both.

Belongs here: DAGSTER_HOME under LEDGERLAKE_HOME, the schema `dagster` in the store's PostgreSQL. Does not belong here:
which processes are started (``up``) and what runs (``jobs``).
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from ledgerlake.errors import ServerError, UsageError
from ledgerlake.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

SCHEMA = "dagster"
POSTGRES_URL = "DAGSTER_POSTGRES_URL"

_TEMPLATE = Path(__file__).with_name("dagster.yaml")
_CONSOLE = "console.yaml"
"""The instance of a command at a terminal: the same, but a step's output is the terminal's."""

_NO_LOGS = """
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
"""


def storage_url(postgres_url: str) -> str:
    """The address of Dagster's tables: the store's database, the schema `dagster`.

    The driver is named because SQLAlchemy would take psycopg 3, with which dagster-postgres' NOTIFY is a syntax error.
    """
    parts = urlsplit(postgres_url)
    if parts.scheme not in {"postgresql", "postgres"} or not parts.netloc:
        given = conninfo_to_dict(postgres_url)
        user, password = quote(str(given.get("user", "")), safe=""), quote(str(given.get("password", "")), safe="")
        host = f"{user}:{password}@{given.get('host', 'localhost')}:{given.get('port', 5432)}"
        parts = urlsplit(f"postgresql://{host}/{given.get('dbname', user)}")
    options = dict(parse_qsl(parts.query))
    options["options"] = f"{options.get('options', '')} -csearch_path={SCHEMA}".strip()
    return urlunsplit(("postgresql+psycopg2", parts.netloc, parts.path, urlencode(options, quote_via=quote), ""))


def prepare(settings: Settings, postgres_url: str) -> Mapping[str, str]:
    """Make the folder and the schema where they are missing; the environment for Dagster's processes.

    Raises:
        ServerError: PostgreSQL cannot be reached, or does not let a schema be made.
        UsageError: LEDGERLAKE_HOME cannot be written.
    """
    home = settings.home / "dagster"
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = _TEMPLATE.read_text()
        _write(home / "dagster.yaml", text)
        _write(home / _CONSOLE, text + _NO_LOGS)
    except OSError as error:
        raise UsageError(
            f"{home} cannot be written: {error.strerror}. Name a folder that can in LEDGERLAKE_HOME."
        ) from None
    _make_schema(postgres_url)
    return {
        "DAGSTER_HOME": str(home),
        POSTGRES_URL: storage_url(postgres_url),
        "LEDGERLAKE_HOME": str(settings.home),
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }


@contextlib.contextmanager
def at_terminal(environment: Mapping[str, str]) -> "Iterator[dg.DagsterInstance]":
    """The instance of a command at a terminal, over the same tables; this process's environment is set for it."""
    import dagster as dg

    os.environ.update(environment)
    with dg.DagsterInstance.from_config(environment["DAGSTER_HOME"], _CONSOLE) as instance:
        # Connections are kept: without this each of some hundred events makes two anew, at 9 ms.
        instance.optimize_for_webserver(statement_timeout=60_000, pool_recycle=3600, max_overflow=20)
        yield instance


def _make_schema(postgres_url: str) -> None:
    try:
        with psycopg.connect(postgres_url, autocommit=True, connect_timeout=10) as connection:
            connection.execute("SELECT pg_advisory_lock(hashtext('ledgerlake.dagster'))")
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    except psycopg.errors.InsufficientPrivilege:
        raise ServerError(
            f"PostgreSQL does not let this user make the schema {SCHEMA}, where Dagster keeps its runs: "
            f"`CREATE SCHEMA {SCHEMA} AUTHORIZATION …` as its owner, then try again."
        ) from None
    except psycopg.OperationalError as error:
        found = (str(error).strip().splitlines() or ["no answer"])[0]
        raise ServerError(f"PostgreSQL cannot be reached: {found}.") from None


def _write(path: Path, text: str) -> None:
    """Write it where it is not so already: Dagster's processes may be reading it."""
    if path.exists() and path.read_text() == text:
        return
    aside = path.with_suffix(".new")
    aside.write_text(text)
    aside.replace(path)
