"""A town that faults are planted in: all providers of the sandbox, synced, built and counted again, and copies of it.

A copy is a database of its own and begins as the town is; published files are shared, and none is ever changed by a build.
Does not belong here: faults.
"""

import asyncio
import contextlib
import datetime as dt
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import psycopg
import yaml  # type: ignore[import-untyped]
from cryptography.fernet import Fernet
from psycopg import sql
from pydantic import SecretStr

import sandbox
from connectors import PROVIDERS
from ledgerlake.ingest import sync
from ledgerlake.integrity import Report, verify
from ledgerlake.integrity.census import census
from ledgerlake.lake import PROJECT, Lake
from ledgerlake.local import S3, Servers
from ledgerlake.settings import Settings
from ledgerlake.store import Store, Vault, require_current

TODAY = dt.date(2026, 3, 1)
FIRST = TODAY - dt.timedelta(days=2)
"""The day of the sync and census before today's: what stopped moving since then is seen."""
_BUCKETS = 4
_HELD = """
    SELECT raw.connection_id, raw.record_id, raw.account_id, raw.record_date, raw.pending, raw.removed_at IS NOT NULL,
           raw.version, coalesce(by_id.record_id, '#' || by_hash.read_id || ':' || by_hash.position)
    FROM raw.{table} AS raw
    LEFT JOIN (
        SELECT DISTINCT connection_id, record_id FROM ledgerlake.census_records WHERE stream = {stream} AND record_id IS NOT NULL
    ) AS by_id USING (connection_id, record_id)
    LEFT JOIN (
        SELECT connection_id, hash, max(read_id) AS read_id, max(position) AS position FROM ledgerlake.census_records
        WHERE stream = {stream} AND record_id IS NULL GROUP BY 1, 2 HAVING count(*) = 1
    ) AS by_hash ON by_id.record_id IS NULL AND by_hash.connection_id = raw.connection_id AND by_hash.hash = raw.hash
    ORDER BY 1, 2
"""


@dataclass(frozen=True)
class Connection:
    """One connection of the town."""

    connection_id: str
    provider: str
    customer_id: str
    bucket: int


@dataclass(frozen=True)
class Held:
    """One raw record; `shown_as` is its name in the census, None where the census did not show it alone."""

    connection_id: str
    stream: str
    record_id: str
    account_id: str | None
    day: dt.date | None
    pending: bool
    removed: bool
    version: int
    shown_as: str | None


@dataclass(frozen=True)
class Town:
    """A store and its lake."""

    where: Servers
    settings: Settings
    project: Path

    @contextlib.contextmanager
    def copy(self) -> Iterator["Town"]:
        """Another that begins as this one is, dropped in the end."""
        base, _, template = self.where.postgres_url.rpartition("/")
        with _database(self.where.postgres_url, template) as name:
            url = f"{base}/{name}"
            yield replace(
                self,
                where=replace(self.where, postgres_url=url),
                settings=self.settings.model_copy(update={"postgres_url": SecretStr(url)}),
            )

    @property
    def lake(self) -> Lake:
        return Lake(self.where, self.settings, self.project)

    def verify(self, *, census: bool = False) -> Report:
        return verify(self.where, self.settings, today=TODAY, census=census, project=self.project)

    def run(self, query: str | sql.Composed, **values: Any) -> list[tuple[Any, ...]]:
        """One statement on the store."""
        with psycopg.connect(self.where.postgres_url, autocommit=True) as store:
            cursor = store.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    @cached_property
    def connections(self) -> tuple[Connection, ...]:
        rows = self.run(
            "SELECT connection_id, provider, customer_id, bucket FROM ledgerlake.connections ORDER BY provider, connection_id"
        )
        return tuple(Connection(*row) for row in rows)

    @cached_property
    def held(self) -> tuple[Held, ...]:
        """Every raw record."""
        found = []
        for provider, connector in PROVIDERS.items():
            for stream in connector.streams:
                query = sql.SQL(_HELD).format(
                    table=sql.Identifier(f"{provider}_{stream.name}"), stream=sql.Literal(stream.name)
                )
                found += [Held(row[0], stream.name, *row[1:]) for row in self.run(query)]
        return tuple(found)


@contextlib.contextmanager
def town(servers: Servers, home: Path, *, customers: int, seed: int) -> Iterator[Town]:
    """Two months of so many customers at every provider, synced twice; a clean one, or it is an error of the benchmark.

    Raises:
        RuntimeError: a verification of the town finds something before any fault is planted.
    """
    there = servers.s3
    prefix = f"{there.url}/{secrets.token_hex(6)}"
    s3 = S3(prefix, there.endpoint, there.access_key, there.secret_key, there.region)
    world = sandbox.World.of(seed, customers, 0, TODAY)
    with (
        _database(servers.postgres_url, "template0") as name,
        sandbox.Server(world, sandbox.Clock(FIRST)) as server,
    ):
        url = f"{servers.postgres_url.rpartition('/')[0]}/{name}"
        require_current(url, buckets=_BUCKETS)
        settings = Settings(
            home=home,
            postgres_url=SecretStr(url),
            secret_keys=(SecretStr(Fernet.generate_key().decode()),),
            s3_url=s3.url,
            aws_endpoint_url_s3=s3.endpoint,
            aws_access_key_id=SecretStr(s3.access_key or ""),
            aws_secret_access_key=SecretStr(s3.secret_key or ""),
            aws_region=s3.region,
            census_days=1,
            census_requests=1_000,
        ).model_copy(update=_reached(server.where()))
        made = Town(replace(servers, postgres_url=url, s3=s3), settings, untested(home / "project"))
        _connect(made, server)
        for day in (FIRST, TODAY):
            httpx.post(
                f"{server.control_url}/clock", json={"today": day.isoformat()}, trust_env=False
            ).raise_for_status()
            report = asyncio.run(sync(Store(url), settings, today=day))
            if report.failed:
                raise RuntimeError(f"expected a whole sync, found {report.failed[0].outcome}: {report.failed[0].error}")
            asyncio.run(census(Store(url), settings, today=day))
        made.lake.build()
        if found := made.verify(census=True).findings:
            raise RuntimeError(f"expected a clean town, found {'; '.join(one.message for one in found)}")
        yield made


def untested(folder: Path) -> Path:
    """The dbt project without its tests, which would stop a faulty model before it is published."""
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("target", "logs"))
    for path in (folder / "models").rglob("*.yml"):
        path.write_text(yaml.safe_dump(_without_tests(yaml.safe_load(path.read_text()))))
    return folder


def _without_tests(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _without_tests(value) for key, value in node.items() if key not in {"data_tests", "tests"}}
    return [_without_tests(one) for one in node] if isinstance(node, list) else node


@contextlib.contextmanager
def _database(postgres_url: str, template: str) -> Iterator[str]:
    name = f"town_{secrets.token_hex(6)}"
    with psycopg.connect(postgres_url, dbname="postgres", autocommit=True) as admin:
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
    try:
        yield name
    finally:
        with psycopg.connect(postgres_url, dbname="postgres", autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _reached(told: dict[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for provider in PROVIDERS:
        given |= {f"{provider}_url": told[f"{provider}_url"], f"{provider}_requests_per_second": 10_000}
        for name, value in told.get(f"{provider}_credentials", {}).items():
            if f"{provider}_{name}" in Settings.model_fields:
                given[f"{provider}_{name}"] = SecretStr(value)
    return given


def _connect(made: Town, server: sandbox.Server) -> None:
    vault, store = Vault.of(made.settings), Store(made.where.postgres_url)
    for one in httpx.get(f"{server.control_url}/customers", trust_env=False).json():
        given = PROVIDERS[one["provider"]].secrets(one["secrets"])
        store.add_connection(
            vault,
            provider=one["provider"],
            external_id=PROVIDERS[one["provider"]].external_id(given),
            customer_id=one["customer_id"],
            secrets=given,
        )
