"""A day of the platform as one process, against the sandbox, and what must be true afterwards."""

import datetime as dt
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from ledgerlake.lake import Lake
from ledgerlake.local import S3, Servers
from ledgerlake.settings import Settings
from ledgerlake.store import Store, Vault
from sandbox import Clock, Server, World
from tests.fork import Child, Fork

OPENING = dt.date(2025, 9, 1)
FIRST_DAY = dt.date(2026, 3, 1)

_DAY = """
import asyncio, datetime, sys
from ledgerlake import log
from ledgerlake.ingest import sync
from ledgerlake.lake import Lake
from ledgerlake.local import servers
from ledgerlake.settings import load
from ledgerlake.store import Store

settings = load()
log.configure("error")
with servers(settings) as where:
    report = asyncio.run(sync(Store(where.postgres_url), settings, today=datetime.date.fromisoformat(sys.argv[1])))
    assert not report.broken, report.broken
    Lake(where, settings).build()
"""
_LOADED = ("ledgerlake.ingest", "ledgerlake.lake", "dbt.cli.main")


@dataclass
class Platform:
    """A store and a lake, the sandbox that feeds them, and a clock that moves both."""

    settings: Settings
    environment: dict[str, str]
    fork: Fork
    where: Servers
    server: Server
    clock: Clock
    dice: random.Random
    tokens: dict[str, str] = field(default_factory=dict)
    day_takes: float = 5.0

    def connect(self) -> None:
        store, vault = Store(self.where.postgres_url), Vault.of(self.settings)
        for one in self._get("customers"):
            if one["provider"] != "teller":
                continue
            self.tokens[one["customer_id"]] = one["secrets"]["access_token"]
            store.add_connection(
                vault,
                provider=one["provider"],
                external_id=one["connection_id"],
                customer_id=one["customer_id"],
                secrets={name: SecretStr(value) for name, value in one["secrets"].items()},
            )

    def run_day(self) -> None:
        """A whole day, to its end."""
        started = time.monotonic()
        done = self._start().wait()
        assert done.returncode == 0, done.stderr
        self.day_takes = time.monotonic() - started

    def kill_day(self) -> bool:
        """A day that is killed at a random instant; False where it was over before that."""
        child = self._start()
        time.sleep(self.dice.uniform(0, self.day_takes))
        child.kill()
        return child.wait().returncode == -signal.SIGKILL

    def next_day(self) -> None:
        self.clock.move(1)

    def held(self) -> dict[tuple[str, str], tuple[Any, ...]]:
        """The published transactions, by customer and id; a doubled one is an error."""
        answer = Lake(self.where, self.settings).query(
            "SELECT customer_id, provider_transaction_id, amount, currency, booked_on::varchar, status FROM fct_transactions"
        )
        rows = {(row[0], row[1]): tuple(row[2:]) for row in answer.rows}
        assert len(rows) == len(answer.rows)
        return rows

    def truth(self) -> dict[tuple[str, str], tuple[Any, ...]]:
        """What the sandbox says a perfect client holds today."""
        return {
            (customer, row["id"]): (Decimal(row["amount"]), row["currency"], row["date"], row["status"])
            for customer, token in self.tokens.items()
            for account in self._get("truth", token=token)["accounts"]
            for row in account["transactions"]
        }

    def differences(self) -> dict[tuple[str, str], tuple[Any, Any]]:
        """Each record that is not as it should be: what is expected, what was found."""
        expected, found = self.truth(), self.held()
        return {
            key: (expected.get(key), found.get(key))
            for key in expected.keys() | found.keys()
            if expected.get(key) != found.get(key)
        }

    def _start(self) -> Child:
        return self.fork.start(
            _DAY, self.clock.today.isoformat(), env=self.environment, cwd=self.settings.home, loaded=_LOADED
        )

    def _get(self, path: str, **params: str) -> Any:
        url = f"{self.server.control_url}/{path}"
        return httpx.get(url, params=params, trust_env=False, timeout=60).raise_for_status().json()


@pytest.fixture
def buckets() -> int:
    """Two: each day builds all of them."""
    return 2


@pytest.fixture
def platform(
    settings: Settings,
    environment: Callable[[Settings], dict[str, str]],
    fork: Fork,
    parsed: Path,
    postgres_url: str,
    s3: S3,
) -> Iterator[Callable[[int], Platform]]:
    """Make a platform of so many customers; its seed is printed by a test that fails."""
    servers = []
    shutil.copytree(parsed, settings.home / "dbt")

    def make(customers: int) -> Platform:
        clock = Clock(FIRST_DAY)
        server = Server(World(1, customers, OPENING), clock)
        server.__enter__()
        servers.append(server)
        reached = settings.model_copy(update={"teller_url": server.teller_url, "teller_requests_per_second": 1000})
        seed = int(os.environ.get("LEDGERLAKE_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
        print(f"seed {seed}")
        where = Servers(postgres_url, s3)
        made = Platform(reached, environment(reached), fork, where, server, clock, random.Random(seed))
        made.connect()
        return made

    yield make
    for server in servers:
        server.__exit__(None, None, None)
