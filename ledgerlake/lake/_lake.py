"""The lake as its callers see it: build, publish, query, roll back.

Belongs here: the order of things in a build. Does not belong here: how each of them is done (the other modules).
"""

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from duckdb import DuckDBPyConnection

from ledgerlake.errors import UsageError
from ledgerlake.lake._catalog import NOTHING, Catalog, DataFile, Name, Record, Snapshot, Table
from ledgerlake.lake._errors import BuildFailed, PublishFailed
from ledgerlake.lake._plan import Ground, Plan, ground, new_build_id
from ledgerlake.lake._project import PROJECT, Model, absent, fingerprint, models
from ledgerlake.lake._publish import Cleaned, Moved, Publisher, build_prefix
from ledgerlake.lake._query import Answer, query, relation
from ledgerlake.lake._runner import ModelResult, Outcome, Progress, TestResult, run
from ledgerlake.lake._session import attach_postgres, session, use_s3
from ledgerlake.local import Servers
from ledgerlake.settings import Settings
from ledgerlake.store import Store

_ATTEMPTS = 3


@dataclass(frozen=True)
class BuildReport:
    """What a build did; with nothing to build, `build_id` and `snapshot` are None."""

    build_id: str | None
    snapshot: int | None
    buckets: tuple[int, ...]
    models: tuple[ModelResult, ...]
    tests: tuple[TestResult, ...]
    seconds: float


@dataclass(frozen=True)
class Status:
    """The lake at a glance."""

    snapshot: int | None
    published_at: datetime | None
    build_id: str | None
    dirty: tuple[int, ...]


@dataclass(frozen=True)
class Reading:
    """The store and the lake at one instant: `duck` has PostgreSQL attached read-only as `pg`, and reads the lake's files.

    Whoever reads PostgreSQL pins the instant in each transaction: ``SET TRANSACTION SNAPSHOT postgres_snapshot``.

    Attributes:
        snapshot: the lake's newest; None while nothing is published.
        behind: the buckets whose published tables are not what the store and the dbt project say now.
        revisions: of each bucket, the sum of its connections' revisions: a part of the record has the ones it was built of.
        record: what the snapshot says of itself.
        tables: what the snapshot is made of. `relation` gives one as SQL.
        snapshots: every commit of Ledgerlake that can be read, the newest first.
    """

    duck: DuckDBPyConnection
    snapshot: int | None
    postgres_snapshot: str
    behind: frozenset[int]
    revisions: Mapping[int, int]
    record: Record
    tables: Mapping[Name, Table]
    snapshots: Sequence[Snapshot]
    catalog: Catalog

    def earlier(self, name: Name, bucket: int) -> Iterator[str]:
        """What older snapshots had of a table's bucket: a SELECT in parentheses of each such file, the newest first."""
        for path in self.catalog.earlier(name, bucket):
            yield relation(replace(self.tables[name], data=(DataFile(path, 0, 0),)))

    def relation(self, name: Name, without: Collection[str] = ()) -> str:
        """A SELECT in parentheses of a published table, by its files: ten times as fast as by the catalog.

        Args:
            without: paths of files that are left out.
        """
        return relation(self.tables[name], without)


@dataclass
class _Note:
    snapshot: int | None = None
    models: tuple[ModelResult, ...] = ()


class Lake:
    """The published lake of a store.

    Args:
        where: the servers that hold the store and the lake.
        settings: limits, and how long snapshots are kept.
        project: the dbt project.
    """

    def __init__(self, where: Servers, settings: Settings, project: Path = PROJECT) -> None:
        self._where = where
        self._settings = settings
        self._project = project
        self._catalog = Catalog(where)
        self._publisher = Publisher(where, settings)

    def dirty(self) -> list[int]:
        """The buckets whose published tables are not what the store and the dbt project say now."""
        with ground(self._where.postgres_url) as now:
            return self._dirty(now, fingerprint(self._project))

    def build(
        self,
        buckets: Sequence[int] | None = None,
        select: str | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> BuildReport:
        """Transform buckets (by default those that changed), audit them, publish them in one commit.

        Args:
            buckets: which ones; None for the dirty ones.
            select: dbt's selection of models; None for all. What it leaves out stays as published.
            progress: told when a model or a test begins and ends.

        Raises:
            BuildFailed: a model or a test failed. Nothing was published.
            PublishFailed: the commit did not go through. Nothing was published.
            UsageError: there is no such bucket.
        """
        started = time.monotonic()
        for _ in range(_ATTEMPTS):
            code = fingerprint(self._project)
            with ground(self._where.postgres_url) as now:
                chosen = self._chosen(buckets, now, code)
                if not chosen:
                    return BuildReport(None, None, (), (), (), time.monotonic() - started)
                plan = self._plan(chosen, now)
                try:
                    with self._noted(plan) as note:
                        outcome = run(plan, select, progress, self._project)
                        note.models = outcome.models
                        _audit(outcome)
                        note.snapshot = snapshot = self._publisher.publish(plan, outcome.files, code)
                except Moved:
                    continue
            return BuildReport(
                plan.build_id,
                snapshot,
                chosen,
                outcome.models,
                outcome.tests,
                time.monotonic() - started,
            )
        raise PublishFailed(
            f"Other builds published these buckets while this one ran, {_ATTEMPTS} times over. "
            "Nothing was published; let the others finish, or build fewer buckets at once."
        )

    def rollback(self, to: int | None = None) -> Snapshot:
        """Publish an older snapshot again, as a new one: by default the one before the newest build.

        The next build publishes the newest state once more: mend first what the rollback was for.

        Raises:
            LakeError: there is no such snapshot.
        """
        return self._publisher.rollback(to)

    def query(self, sql: str, at: int | None = None) -> Answer:
        """Answer one SELECT over the lake as it is, or was at snapshot `at`.

        Raises:
            QueryError: the SQL is wrong, or reaches for something other than the lake.
            LakeError: the lake is empty, or there is no snapshot `at`.
        """
        return query(sql, self._where, self._settings, at)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Reading]:
        """Store and lake side by side, for comparing them; the buckets that are behind cannot be."""
        with ground(self._where.postgres_url) as now, session(self._settings) as duck:
            known = self.snapshots()
            newest = self._catalog.newest() if known else None
            attach_postgres(duck, self._where.postgres_url)
            use_s3(duck, self._where.s3)
            behind = frozenset(self._dirty(now, fingerprint(self._project)))
            yield Reading(
                duck,
                newest,
                now.snapshot,
                behind,
                now.revisions,
                next((one.record for one in known if newest is not None and one.id <= newest), NOTHING),
                self._catalog.tables(newest) if newest is not None else {},
                known,
                self._catalog,
            )

    def snapshots(self) -> list[Snapshot]:
        """Every commit that can be read and rolled back to, the newest first."""
        return self._catalog.snapshots()

    def status(self) -> Status:
        """What is published, and which buckets are behind."""
        known = self.snapshots()
        newest = known[0] if known else None
        return Status(
            newest.id if newest else None,
            newest.at if newest else None,
            newest.build_id if newest else None,
            tuple(self.dirty()),
        )

    def clean(self, now: datetime | None = None) -> Cleaned:
        """Let go of snapshots older than the settings keep, and of files that nothing refers to any more."""
        return self._publisher.clean(now)

    @contextlib.contextmanager
    def _noted(self, plan: Plan) -> Iterator["_Note"]:
        """Take the build down in the store: it ran, and how it ended."""
        note = _Note()
        store = Store(self._where.postgres_url)
        with store.connect() as connection:
            connection.execute(
                "insert into ledgerlake.builds (build_id, buckets) values (%s, %s)", [plan.build_id, list(plan.buckets)]
            )
        outcome, error = "failed", None
        try:
            yield note
            outcome = "published"
        except Moved:
            error = "Another build published these buckets meanwhile; built again."
            raise
        except Exception as raised:
            error = str(raised)
            raise
        finally:
            with store.connect() as connection, connection.transaction():
                with connection.cursor() as cursor:
                    cursor.executemany(
                        """
                        insert into ledgerlake.build_models (build_id, model, seconds, rows, files)
                        values (%s, %s, %s, %s, %s)
                        """,
                        [(plan.build_id, one.name, one.seconds, one.rows, len(one.files)) for one in note.models],
                    )
                connection.execute(
                    """
                    update ledgerlake.builds set ended_at = now(), outcome = %s, snapshot_id = %s, error = %s
                    where build_id = %s
                    """,
                    [outcome, note.snapshot, error, plan.build_id],
                )

    def _chosen(self, buckets: Sequence[int] | None, now: Ground, code: str) -> tuple[int, ...]:
        if buckets is None:
            return tuple(self._dirty(now, code))
        unknown = sorted(set(buckets) - set(now.revisions))
        if unknown:
            raise UsageError(f"There is no bucket {unknown[0]}: they go from 0 to {max(now.revisions)}.")
        return tuple(sorted(set(buckets)))

    def _dirty(self, now: Ground, code: str) -> list[int]:
        known = self._catalog.snapshots()
        all_models = models(self._project).values()
        names = [one.name for one in all_models if one.provider is None or one.provider in now.providers]
        published = known[0].record.published() if known else {}
        return [
            bucket
            for bucket, revision in now.revisions.items()
            if any(published.get((model, bucket), ("", -1, ""))[1:] != (revision, code) for model in names)
        ]

    def _absent(self, now: Ground) -> tuple[Model, ...]:
        return absent(now.providers, self._project)

    def _plan(self, buckets: tuple[int, ...], now: Ground) -> Plan:
        build_id = new_build_id()
        return Plan(
            build_id,
            self._settings,
            self._where,
            build_prefix(self._where, build_id),
            buckets,
            now,
            self._catalog.newest(),
            self._absent(now),
        )


def _audit(outcome: Outcome) -> None:
    if outcome.failures:
        listed = "; ".join(failure.sentence for failure in outcome.failures)
        first = outcome.failures[0].model
        raise BuildFailed(f"{listed}. Nothing was published. To look into it: cd dbt_project && dbt build -s +{first}")
