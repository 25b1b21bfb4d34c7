"""A town of customers at all five providers: the sandbox, and the store that syncs and censuses fill."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest
import stamina
from psycopg.rows import dict_row
from pydantic import SecretStr

import sandbox
from ledgerlake.ingest import SyncReport, sync
from ledgerlake.integrity._expect import PROVIDERS, expected
from ledgerlake.lake._session import attach_postgres, session
from ledgerlake.settings import Settings
from ledgerlake.store import Store, Vault

TODAY = dt.date(2026, 3, 1)
_ACCOUNT_STREAMS = {"gocardless": ("accounts", "details")}
_COLUMNS = "connection_id, record_id, account_id, record_date, pending, payload"


@pytest.fixture(autouse=True)
def _retries_do_not_wait() -> Iterator[None]:
    """Retries as configured but for the pauses between them, and three of them at most."""
    stamina.set_testing(True, attempts=3, cap=True)
    yield
    stamina.set_testing(False)


class Town:
    """Customers whose connections are in the store, and a clock that moves their banks and us."""

    def __init__(self, server: sandbox.Server, settings: Settings, providers: Sequence[str]) -> None:
        where = server.where()
        self.control_url: str = where["control_url"]
        self.http = httpx.Client(timeout=30, trust_env=False)
        given: dict[str, Any] = {}
        for provider in PROVIDERS:
            given |= {f"{provider}_url": where[f"{provider}_url"], f"{provider}_requests_per_second": 1e6}
            for name, value in where.get(f"{provider}_credentials", {}).items():
                if f"{provider}_{name}" in Settings.model_fields:
                    given[f"{provider}_{name}"] = SecretStr(value)
        self.settings = settings.model_copy(update=given)
        assert settings.postgres_url is not None
        self.store = Store(settings.postgres_url.get_secret_value())
        self.connections: dict[str, dict[str, Any]] = {}
        for one in self.control("GET", "/customers"):
            if one["provider"] in providers:
                found, _ = self.store.add_connection(
                    Vault.of(settings),
                    provider=one["provider"],
                    external_id=one["connection_id"],
                    customer_id=one["customer_id"],
                    secrets={name: SecretStr(value) for name, value in one["secrets"].items()},
                )
                self.connections[found.connection_id] = one

    @property
    def today(self) -> dt.date:
        return dt.date.fromisoformat(self.control("GET", "/clock")["today"])

    def control(self, method: str, path: str, /, **body: object) -> Any:
        answer = self.http.request(method, self.control_url + path, json=body or None)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def next_day(self, days: int = 1) -> None:
        self.control("POST", "/clock", days=days)

    def of(self, provider: str) -> list[str]:
        """The connections of a provider."""
        return [key for key, one in self.connections.items() if one["provider"] == provider]

    def truth(self, connection_id: str) -> Any:
        """What a perfect client holds of a connection today."""
        external = self.connections[connection_id]["connection_id"]
        answer = self.http.get(f"{self.control_url}/truth", params={"connection_id": external})
        return answer.raise_for_status().json()

    def sync(self, **options: Any) -> SyncReport:
        return asyncio.run(sync(self.store, self.settings, today=self.today, **options))

    def query(self, text: str, *parameters: object) -> list[dict[str, Any]]:
        with self.store.connect() as connection, connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(text, parameters).fetchall()  # type: ignore[arg-type]

    @contextmanager
    def reading(self) -> Iterator[Callable[[str, str], list[dict[str, Any]]]]:
        """Let a SELECT over the oracle's two relations read what raw shows of a provider's stream."""
        with session(self.settings) as duck:
            attach_postgres(duck, self.store.postgres_url)

            def read(provider: str, stream: str) -> list[dict[str, Any]]:
                accounts = " UNION ALL ".join(
                    f"SELECT {_COLUMNS} FROM pg.raw.{provider}_{one}"
                    for one in _ACCOUNT_STREAMS.get(provider, ("accounts",))
                )
                duck.execute(f"CREATE OR REPLACE TEMP VIEW account_payloads AS {accounts}")
                duck.execute(
                    f"CREATE OR REPLACE TEMP VIEW payloads AS SELECT {_COLUMNS} FROM pg.raw.{provider}_{stream}"
                    " WHERE removed_at IS NULL"
                )
                query = expected(provider, stream)
                assert query is not None
                found = duck.execute(query)
                names = [column[0] for column in found.description]
                return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

            yield read


@pytest.fixture
def make_town(settings: Settings) -> Iterator[Callable[..., Town]]:
    """Make a town of so many customers and years of history, of all providers or of some."""
    open_now = ExitStack()

    def make(
        customers: int = 6, years: int = 0, providers: Sequence[str] = PROVIDERS, today: dt.date = TODAY, seed: int = 7
    ) -> Town:
        world = sandbox.World.of(seed, customers, years, today)
        server = open_now.enter_context(sandbox.Server(world, sandbox.Clock(today)))
        town = Town(server, settings, providers)
        open_now.callback(town.http.close)
        return town

    with open_now:
        yield make
