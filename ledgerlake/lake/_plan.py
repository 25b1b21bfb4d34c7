"""What one build builds, and from which state of the store and the lake.

Belongs here: the plan, the PostgreSQL snapshot it holds open, and handing it to the dbt plugin of this process.
Does not belong here: carrying it out.
"""

import contextlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psycopg
from duckdb import DuckDBPyConnection

from ledgerlake.errors import SchemaError
from ledgerlake.lake._project import Model
from ledgerlake.local import Servers
from ledgerlake.settings import Settings
from ledgerlake.store import Store


@dataclass(frozen=True)
class Ground:
    """The store at one instant: all that a build reads is read as it was then."""

    snapshot: str
    revisions: Mapping[int, int]
    """The sum of the revisions of each bucket's connections, for every bucket of the store."""
    providers: frozenset[str] = frozenset()
    """Those that have a connection."""
    at: datetime | None = None
    """Whatever was stamped before is visible: when the oldest transaction began that was open at that instant."""


@dataclass(frozen=True)
class Plan:
    """One build: where its files go, what it builds, what it stands on."""

    build_id: str
    settings: Settings = field(repr=False)
    where: Servers = field(repr=False)
    prefix: str
    buckets: tuple[int, ...]
    ground: Ground
    base: int | None
    """The lake's snapshot that models outside the build are read from; None while the lake is empty."""
    absent: tuple[Model, ...] = ()
    """Models of providers that have no connection: empty relations, which are not built."""


@dataclass(frozen=True)
class File:
    """A Parquet file of a build; `bucket` is None for a model over all customers."""

    schema: str
    model: str
    bucket: int | None
    path: str
    rows: int


@contextlib.contextmanager
def ground(postgres_url: str) -> Iterator[Ground]:
    """Hold the store's present state open for as many readers as like.

    The snapshot lives as long as this transaction: PostgreSQL keeps the row versions it needs, and nothing waits.

    Raises:
        SchemaError: there is no store yet.
    """
    with Store(postgres_url).connect() as connection:
        # Before the snapshot is taken: whoever began earlier than this, and is not among them, is visible in it.
        (at,) = connection.execute(
            """
            select least(now(), min(xact_start)) from pg_stat_activity
            where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
            """
        ).fetchone() or (None,)
        connection.execute("begin isolation level repeatable read, read only")
        connection.execute("set local idle_in_transaction_session_timeout = 0")
        try:
            rows = connection.execute(
                """
                select bucket, coalesce(sum(revision), 0)::bigint
                from ledgerlake.store
                cross join generate_series(0, buckets - 1) as bucket
                left join ledgerlake.connections using (bucket)
                group by bucket
                order by bucket
                """
            ).fetchall()
        except psycopg.errors.UndefinedTable:
            raise SchemaError(
                "Expected Ledgerlake's tables in PostgreSQL, found none. Run `ledgerlake migrate`."
            ) from None
        (snapshot,) = connection.execute("select pg_export_snapshot()").fetchone() or ("",)
        providers = connection.execute("select distinct provider from ledgerlake.connections").fetchall()
        yield Ground(
            snapshot,
            {int(bucket): int(revision) for bucket, revision in rows},
            frozenset(provider for (provider,) in providers),
            at,
        )


def new_build_id(now: datetime | None = None) -> str:
    """Sorts by time, and is never given twice."""
    return f"{(now or datetime.now(UTC)):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


class Handover:
    """Gives a plan to the plugin that dbt makes in this process, and takes back what was written.

    dbt makes plugins itself, by the name of their module, so what they need waits here for them.
    """

    def __init__(self) -> None:
        self.plan: Plan | None = None
        self._connection: DuckDBPyConnection | None = None

    @contextlib.contextmanager
    def give(self, plan: Plan) -> Iterator[None]:
        assert self.plan is None, "dbt runs once at a time in a process"
        self.plan = plan
        try:
            yield
        finally:
            self.plan = self._connection = None

    def opened(self, connection: DuckDBPyConnection) -> None:
        self._connection = connection

    def files(self) -> Sequence[File]:
        """What the build wrote."""
        if self._connection is None:
            return ()
        with self._connection.cursor() as cursor:
            rows = cursor.execute("select schema_name, model, bucket, path, row_count from build.files order by all")
            return tuple(File(*row) for row in rows.fetchall())


HANDOVER = Handover()
