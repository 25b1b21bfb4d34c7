"""A sandbox of few customers, the definitions over a test's own servers, and a Dagster instance to run them on."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import pytest

import sandbox
from connectors import PROVIDERS
from ledgerlake.settings import Settings
from ledgerlake.store import Connection, Store, Vault

with warnings.catch_warnings():
    # sqlglot, which dagster-dbt imports, still tries its old accelerator where that is installed.
    warnings.filterwarnings("ignore", "sqlglotrs is deprecated", DeprecationWarning)
    import dagster_dbt  # noqa: F401

from orchestration.definitions import build_definitions
from orchestration.engine import Engine


@pytest.fixture
def settings(settings: Settings, bank: sandbox.Server) -> Settings:
    """The test's own servers, and the sandbox as Teller."""
    return settings.model_copy(update={"teller_url": bank.teller_url})


@pytest.fixture
def connect(store: Store, vault: Vault, customers: list[dict[str, Any]]) -> Callable[[int], Connection]:
    """Adds the connection of the bank's customer of that index."""

    def add(index: int) -> Connection:
        given = customers[index]["secrets"]
        connection, _ = store.add_connection(
            vault,
            provider="teller",
            external_id=given["enrollment_id"],
            customer_id=customers[index]["customer_id"],
            secrets=PROVIDERS["teller"].secrets(given),
        )
        return connection

    return add


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """An instance that forgets."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def engine(settings: Settings) -> Engine:
    """The engine over the test's servers."""
    return Engine(settings)


@pytest.fixture
def definitions(settings: Settings, engine: Engine, shared: Path, monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    """The definitions over the test's servers; dbt's manifest is parsed once for all tests."""
    monkeypatch.setenv("DBT_TARGET_PATH", str(shared / "dbt"))
    return build_definitions(settings, engine)


class Evaluation(NamedTuple):
    """What one evaluation of a sensor gave."""

    requests: list[dg.RunRequest]
    skipped: str | None
    cursor: str | None


@pytest.fixture
def evaluate(definitions: dg.Definitions, instance: dg.DagsterInstance, engine: Engine) -> Callable[..., Evaluation]:
    """Evaluates a sensor once."""

    def once(name: str, cursor: str | None = None) -> Evaluation:
        with dg.build_sensor_context(instance, cursor=cursor, resources={"engine": engine}) as context:
            tick = definitions.resolve_sensor_def(name).evaluate_tick(context)
        return Evaluation(list(tick.run_requests or ()), tick.skip_message, tick.cursor)

    return once
