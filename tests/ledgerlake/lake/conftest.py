"""A lake of each test's own, and two ways to fill it: files by hand, or records that a build transforms."""

import datetime as dt
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg
import pytest

from ledgerlake.lake import File, Lake
from ledgerlake.lake._catalog import Catalog
from ledgerlake.lake._plan import Ground, Plan, new_build_id
from ledgerlake.lake._publish import Publisher, build_prefix
from ledgerlake.lake._session import session, use_s3
from ledgerlake.local import S3, Servers
from ledgerlake.settings import Settings


@pytest.fixture
def where(postgres_url: str, s3: S3) -> Servers:
    return Servers(postgres_url, s3)


@pytest.fixture
def lake(where: Servers, settings: Settings, parsed: Path) -> Lake:
    shutil.copytree(parsed, settings.home / "dbt")
    return Lake(where, settings)


@dataclass
class Press:
    """Publishes tables without dbt: SQL for each model and bucket."""

    where: Servers
    settings: Settings
    revisions: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(4), 1))

    @property
    def publisher(self) -> Publisher:
        return Publisher(self.where, self.settings)

    def plan(self, buckets: Sequence[int]) -> Plan:
        build_id = new_build_id()
        return Plan(
            build_id,
            self.settings,
            self.where,
            build_prefix(self.where, build_id),
            tuple(buckets),
            Ground("unused", dict(self.revisions)),
            Catalog(self.where).newest(),
        )

    def write(self, plan: Plan, model: str, sql: Mapping[int | None, str], schema: str = "main") -> list[File]:
        files = []
        with session(self.settings) as connection:
            use_s3(connection, self.where.s3)
            for bucket, query in sql.items():
                path = f"{plan.prefix}/{schema}/{model}/{'all' if bucket is None else bucket}.parquet"
                written = connection.execute(f"copy ({query}) to '{path}' (format parquet)").fetchone()
                assert written is not None
                files.append(File(schema, model, bucket, path, written[0]))
        return files

    def publish(self, **models: Mapping[int | None, str]) -> int:
        buckets = sorted({bucket for sql in models.values() for bucket in sql if bucket is not None})
        plan = self.plan(buckets)
        files = [file for model, sql in models.items() for file in self.write(plan, model, sql)]
        return self.publisher.publish(plan, files, "code")


@pytest.fixture
def press(where: Servers, settings: Settings) -> Press:
    return Press(where, settings)


@dataclass(frozen=True)
class Seed:
    """One customer of bucket 0 with one connection and one checking account."""

    postgres_url: str
    connection_id: str = "con_1"
    bucket: int = 0

    def customer(self) -> "Seed":
        with psycopg.connect(self.postgres_url, autocommit=True) as store:
            store.execute(
                """
                insert into ledgerlake.connections
                    (connection_id, customer_id, provider, external_id, bucket, created_at, last_synced_at, state_since)
                values (%(id)s, 'cust_' || %(id)s, 'teller', 'enr_' || %(id)s, %(bucket)s, %(at)s, %(at)s, %(at)s)
                """,
                {"id": self.connection_id, "bucket": self.bucket, "at": dt.datetime(2026, 1, 2, tzinfo=dt.UTC)},
            )
        self.record(
            "accounts", "acc", '{"type": "depository", "currency": "USD", "status": "open", "name": "Everyday"}'
        )
        return self

    def other(self, connection_id: str, bucket: int) -> "Seed":
        return replace(self, connection_id=connection_id, bucket=bucket).customer()

    def transaction(self, record_id: str, amount: str) -> None:
        self.record("transactions", record_id, f'{{"amount": "{amount}", "date": "2026-01-02", "description": "Rent"}}')

    def record(self, stream: str, record_id: str, payload: str, account_id: str | None = "acc") -> None:
        """Put a record into the store as a sync does: with the connection's revision, in one transaction."""
        with psycopg.connect(self.postgres_url) as store:
            store.execute(
                f"""
                insert into raw.teller_{stream}
                    (bucket, connection_id, record_id, account_id, record_date, pending, payload, hash, version, sync_id,
                     first_synced_at, synced_at)
                values (%s, %s, %s, %s, '2026-01-02', false, %s, gen_random_uuid(), 1, 1, now(), now())
                """,
                [self.bucket, self.connection_id, record_id, account_id, payload],
            )
            self._changed(store)

    def remove(self, record_id: str, reason: str) -> None:
        with psycopg.connect(self.postgres_url) as store:
            store.execute(
                "update raw.teller_transactions set removed_at = now(), removed_reason = %s where record_id = %s",
                [reason, record_id],
            )
            self._changed(store)

    def _changed(self, store: psycopg.Connection) -> None:
        store.execute(
            "update ledgerlake.connections set revision = revision + 1 where connection_id = %s", [self.connection_id]
        )


@pytest.fixture
def seed(postgres_url: str) -> Seed:
    return Seed(postgres_url).customer()


@pytest.fixture
def objects(where: Servers) -> Callable[[], list[str]]:
    """The keys of this test's own prefix on S3."""

    def keys() -> list[str]:
        found = where.s3.client().list_objects_v2(Bucket=where.s3.bucket, Prefix=where.s3.prefix + "/")
        return sorted(one["Key"].removeprefix(where.s3.prefix + "/") for one in found.get("Contents", []))

    return keys
