"""A store and its lake over the sandbox, made once and copied for each test that changes it."""

import asyncio
import datetime as dt
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

import sandbox
from connectors import PROVIDERS
from ledgerlake.ingest import sync
from ledgerlake.integrity import Report, verify
from ledgerlake.lake import Lake
from ledgerlake.local import S3, Servers
from ledgerlake.settings import Settings
from ledgerlake.store import Store, Vault

TODAY = dt.date(2026, 3, 1)
OF = ("teller", "plaid", "stripe")


@dataclass(frozen=True)
class House:
    """A store and its lake. `copy` gives another that begins as this one is; published files are shared, and never change."""

    where: Servers
    settings: Settings
    servers: Servers
    server: sandbox.Server
    copies: list[str] = field(default_factory=list)

    def copy(self) -> "House":
        name = f"house_{secrets.token_hex(6)}"
        base, _, template = self.where.postgres_url.rpartition("/")
        with psycopg.connect(self.servers.postgres_url, dbname="postgres", autocommit=True) as admin:
            admin.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
                    sql.Identifier(name), sql.Identifier(template)
                )
            )
        self.copies.append(name)
        url = f"{base}/{name}"
        where = replace(self.where, postgres_url=url)
        return replace(
            self, where=where, settings=self.settings.model_copy(update={"postgres_url": SecretStr(url)}), copies=[]
        )

    def drop_copies(self) -> None:
        with psycopg.connect(self.servers.postgres_url, dbname="postgres", autocommit=True) as admin:
            for name in self.copies:
                admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def verify(self, **given: Any) -> Report:
        return verify(self.where, self.settings, **{"today": TODAY, "census": False, **given})

    def found(self) -> dict[tuple[Any, ...], int]:
        """The findings of a verification as (kind, step, model, stream, field), with their records."""
        return {(one.kind, one.step, one.model, one.stream, one.field): one.records for one in self.verify().findings}

    def sync(self, today: dt.date) -> None:
        store = Store(self.where.postgres_url)
        report = asyncio.run(sync(store, self.settings, today=today))
        assert {one.outcome for one in report.connections} == {"done"}, [one.error for one in report.connections]

    def run(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.where.postgres_url, autocommit=True) as store:
            cursor = store.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def file(self, model: str) -> tuple[str, int, int]:
        """The largest file of a published model: its address, rows and bucket."""
        [(path, rows)] = self.run(
            """
            SELECT f.path, f.record_count FROM ducklake.ducklake_data_file f JOIN ducklake.ducklake_table t USING (table_id)
            WHERE table_name = %s AND f.end_snapshot IS NULL AND t.end_snapshot IS NULL ORDER BY record_count DESC LIMIT 1
            """,
            model,
        )
        return path, rows, int(Path(path).stem)

    def content(self, path: str) -> bytes:
        bucket = self.where.s3.bucket
        found: bytes = (
            self.where.s3.client().get_object(Bucket=bucket, Key=path.removeprefix(f"s3://{bucket}/"))["Body"].read()
        )
        return found

    def ask(self, query: str) -> Any:
        """One value of the published lake."""
        return Lake(self.where, self.settings).query(query).rows[0][0]


def reached(told: Mapping[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for provider in OF:
        given |= {f"{provider}_url": told[f"{provider}_url"], f"{provider}_requests_per_second": 10_000}
        for name, value in told.get(f"{provider}_credentials", {}).items():
            given[f"{provider}_{name}"] = SecretStr(value)
    return given


def connect(house: House) -> None:
    vault, store = Vault.of(house.settings), Store(house.where.postgres_url)
    for one in httpx.get(f"{house.server.control_url}/customers").json():
        if one["provider"] in OF:
            given = PROVIDERS[one["provider"]].secrets(one["secrets"])
            external_id = PROVIDERS[one["provider"]].external_id(given)
            store.add_connection(
                vault, provider=one["provider"], external_id=external_id, customer_id=one["customer_id"], secrets=given
            )


@pytest.fixture(scope="session")
def house(
    shared_servers: Servers, _template: str, parsed: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """Four customers of three providers and two months, synced and published once for all tests of a worker."""
    there = shared_servers.s3
    s3 = S3(f"{there.url}/{secrets.token_hex(6)}", there.endpoint, there.access_key, there.secret_key, there.region)
    template = replace(
        shared_servers, postgres_url=f"{shared_servers.postgres_url.rpartition('/')[0]}/{_template}", s3=s3
    )
    with sandbox.Server(sandbox.World(7, 4, dt.date(2026, 1, 1)), sandbox.Clock(TODAY)) as server:
        told, home = server.where(), tmp_path_factory.mktemp("house")
        shutil.copytree(parsed, home / "dbt")
        settings = Settings(
            home=home,
            secret_keys=(SecretStr("x2ZRlGdZ7lYbLQ3jVYyDRMq3bq3aMqGmFrPyfjRkcHA="),),
            s3_url=s3.url,
            aws_endpoint_url_s3=s3.endpoint,
            aws_access_key_id=SecretStr(s3.access_key or ""),
            aws_secret_access_key=SecretStr(s3.secret_key or ""),
            aws_region=s3.region,
        ).model_copy(update=reached(told))
        empty = House(template, settings, shared_servers, server)
        made = empty.copy()
        connect(made)
        made.sync(TODAY)
        Lake(made.where, made.settings).build()
        yield made
        made.drop_copies()
        empty.drop_copies()


@pytest.fixture
def mine(house: House) -> House:
    """This test's own copy."""
    return house.copy()
