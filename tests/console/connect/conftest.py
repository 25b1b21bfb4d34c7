"""A customer's browser before the console, and a sandbox whose pages he signs in on."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg
import pytest
import structlog
from psycopg.rows import dict_row

import sandbox
from ledgerlake.cli._sandbox import _environment
from ledgerlake.links import Links
from ledgerlake.settings import Settings
from ledgerlake.store import Store, Vault
from tests.console.connect.visitor import Visit, Visitor, serving


@pytest.fixture(scope="session")
def bank() -> Iterator[sandbox.Server]:
    """The providers, over as small a world as there can be, on the day that it is."""
    today = datetime.now(UTC).date()
    world = sandbox.World.of(seed=1, customers=6, years=0, today=today)
    with sandbox.Server(world, sandbox.Clock(today)) as server:
        yield server


@pytest.fixture(scope="session")
def control(bank: sandbox.Server) -> Iterator[httpx.Client]:
    """The sandbox's control endpoints."""
    with httpx.Client(base_url=bank.control_url, timeout=30) as client:
        yield client


@pytest.fixture
def settings(settings: Settings, bank: sandbox.Server) -> Settings:
    """As `up --sandbox` sets them."""
    told = {name: value for name, value in bank.where().items() if value is not None}
    given = {name.removeprefix("LEDGERLAKE_").lower(): value for name, value in _environment(told).items()}
    kept = {name: getattr(settings, name) for name in settings.model_fields_set}
    return Settings(**{**kept, **given})


@pytest.fixture
def links(store: Store, vault: Vault) -> Links:
    return Links(store, vault)


@pytest.fixture
def visit(settings: Settings, postgres_url: str, bank: sandbox.Server, links: Links) -> Iterator[Visit]:
    """`visit(customer, connection_id=…, **settings)`: a new link, opened and claimed; `path` opens that one instead."""

    def make(
        customer: str = "acme",
        *,
        connection_id: str | None = None,
        path: str | None = None,
        claimed: bool = True,
        **changed: Any,
    ) -> Visitor:
        if path is None:
            path = f"/connect/{links.create('ana', customer, connection_id=connection_id)[1]}"
        url = stack.enter_context(serving(settings.model_copy(update=changed), postgres_url))
        made = Visitor(stack.enter_context(httpx.Client(base_url=url, timeout=60)), bank, path)
        if claimed:
            made.claim()
        return made

    with contextlib.ExitStack() as stack:
        yield make


@pytest.fixture
def rows(postgres_url: str) -> Callable[[str], list[dict[str, Any]]]:
    """The rows that a query finds in the store."""

    def ask(query: str) -> list[dict[str, Any]]:
        with psycopg.connect(postgres_url, row_factory=dict_row, autocommit=True) as postgres:
            return postgres.execute(query).fetchall()  # type: ignore[arg-type]

    return ask


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as lines:
        yield lines
