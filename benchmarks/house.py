"""Where a benchmark is run: a database and an S3 prefix of its own on the embedded servers, for each measurement.

Does not belong here: what is measured.
"""

import asyncio
import contextlib
import datetime as dt
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from cryptography.fernet import Fernet
from psycopg import sql
from pydantic import SecretStr

from benchmarks.bank import NEWEST
from ledgerlake.ingest import SyncReport, sync
from ledgerlake.local import S3, Servers
from ledgerlake.settings import Settings, variable
from ledgerlake.store import Connection, Store, Vault, require_current

TODAY = NEWEST + dt.timedelta(days=1)


@dataclass(frozen=True)
class Size:
    """How much, and how often."""

    rows: int
    runs: int


@dataclass(frozen=True)
class Place:
    """A store and a lake, empty when made."""

    settings: Settings
    where: Servers

    @property
    def store(self) -> Store:
        return Store(self.where.postgres_url)

    def connect(self, customer: str = "customer") -> Connection:
        """Add a connection to the bank."""
        secret = {"access_token": SecretStr("token_bench"), "enrollment_id": SecretStr(f"enr_{customer}")}
        added, _ = self.store.add_connection(
            Vault.of(self.settings),
            provider="teller",
            external_id=f"enr_{customer}",
            customer_id=customer,
            secrets=secret,
        )
        return added

    def sync(self, *, full: bool = False) -> SyncReport:
        """Sync all connections; anything but a whole sync is an error of the benchmark."""
        report = asyncio.run(sync(self.store, self.settings, full=full, today=TODAY))
        for one in report.failed:
            raise RuntimeError(f"expected a whole sync, found {one.outcome}: {one.error}")
        return report

    def environment(self) -> dict[str, str]:
        """The settings as a child process reads them."""
        given = {}
        for name in self.settings.model_fields_set:
            value = getattr(self.settings, name)
            if isinstance(value, tuple):
                text = ",".join(one.get_secret_value() for one in value)
            elif isinstance(value, SecretStr):
                text = value.get_secret_value()
            else:
                text = str(value)
            given[variable(name)] = text
        return os.environ | given | {"PYTHONPATH": str(Path(__file__).parents[1])}


class House:
    """The servers, and a folder for what is needed beside them."""

    def __init__(self, where: Servers, home: Path) -> None:
        self._where = where
        self._home = home

    @contextlib.contextmanager
    def place(
        self, bank: str = "http://127.0.0.1:9", *, memory_limit: str = "1GB", store: bool = True
    ) -> Iterator[Place]:
        """A fresh database and prefix, dropped afterwards; without `store` the database is empty."""
        name = f"bench_{secrets.token_hex(6)}"
        home = self._home / name
        home.mkdir()
        url = f"{self._where.postgres_url.rpartition('/')[0]}/{name}"
        there = self._where.s3
        s3 = S3(f"{there.url}/{name}", there.endpoint, there.access_key, there.secret_key, there.region)
        settings = Settings(
            home=home,
            postgres_url=SecretStr(url),
            secret_keys=(SecretStr(Fernet.generate_key().decode()),),
            s3_url=s3.url,
            memory_limit=memory_limit,
            teller_url=bank,
            # The budget is the provider's to set: here it must not be what is measured.
            teller_requests_per_second=100_000,
            aws_endpoint_url_s3=s3.endpoint,
            aws_access_key_id=SecretStr(s3.access_key or ""),
            aws_secret_access_key=SecretStr(s3.secret_key or ""),
            aws_region=s3.region,
        )
        with psycopg.connect(self._where.postgres_url, autocommit=True) as admin:
            admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
            try:
                if store:
                    require_current(url, buckets=settings.buckets)
                # What earlier measurements left to be written must not slow down this one.
                admin.execute("CHECKPOINT")
                yield Place(settings, Servers(url, s3))
            finally:
                admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
                shutil.rmtree(home, ignore_errors=True)
