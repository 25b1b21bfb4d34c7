"""Changing what is published: a build's files, an older snapshot again, letting go of old files.

Each is one DuckLake transaction, under an advisory lock that is held around the commit alone. Does not belong here:
making the files (``_lake``), reading what is published (``_catalog``).
"""
# ruff: noqa: S608 (names go through `named`, texts through `quoted`; DuckDB takes no parameters there)

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath

import duckdb
import msgspec
from duckdb import DuckDBPyConnection

from ledgerlake.lake._catalog import AUTHOR, Catalog, Name, Part, Record, Snapshot, Table, require_own
from ledgerlake.lake._errors import LakeError, PublishFailed
from ledgerlake.lake._plan import File, Plan, new_build_id
from ledgerlake.lake._session import attach_lake, named, quoted, session
from ledgerlake.local import Servers
from ledgerlake.settings import Settings
from ledgerlake.store import Store

_LOCK = 0x1ED6E41A4E
"""The PostgreSQL advisory lock of whoever commits to the lake."""

_GRACE = timedelta(days=1)
"""A file that nothing refers to may still be read, or still be written: it is left alone for so long."""


class Moved(Exception):  # noqa: N818 - not a failure: the build is done again
    """What the build stood on was published anew while it ran."""


@dataclass(frozen=True)
class Cleaned:
    """What a cleaning let go of."""

    snapshots: int
    files: int


class Publisher:
    """The one who commits to the lake."""

    def __init__(self, where: Servers, settings: Settings) -> None:
        self._where = where
        self._settings = settings
        self._catalog = Catalog(where)

    def publish(self, plan: Plan, files: Sequence[File], fingerprint: str) -> int:
        """Make a build's files the published ones, all tables and buckets in one commit; returns the snapshot.

        Raises:
            Moved: a model and bucket of this build, or one that it read, was published meanwhile.
            PublishFailed: a file is not as it was written, a column changed its type, or the commit failed.
        """
        part = Part(
            plan.build_id,
            fingerprint,
            tuple(sorted({file.model for file in files})),
            {bucket: plan.ground.revisions[bucket] for bucket in plan.buckets},
            plan.ground.at,
        )
        whole = set(plan.buckets) == set(plan.ground.revisions)
        with self._lake() as lake:
            _verify(lake, files)
            shapes = {name: _shape(lake, own[0]) for name, own in _by_table(files).items()}
            with self._alone():
                now = self._catalog.newest()
                before = self._catalog.record(now)
                if now != plan.base:
                    _check_ground(plan, files, self._catalog.record(plan.base), before)
                tables = self._catalog.tables(now) if now is not None else {}
                record = Record(plan.build_id, before.with_part(part), plan.buckets)
                built = _by_table(files)
                replaced = {name: [file.bucket for file in own] for name, own in built.items() if name in tables}

                def commit(kept: Mapping[Name, list[str]]) -> None:
                    with _commit(lake, record, f"build {plan.build_id}"):
                        for name, own in built.items():
                            every = whole or own[0].bucket is None
                            if name in kept:
                                lake.execute(f"drop table lake.{named(*name)}")
                                _create(lake, name, shapes[name])
                                _add(lake, name, kept[name], older=True)
                            elif _make_table(lake, name, tables.get(name), shapes[name], whole=every):
                                _delete(lake, name, replaced[name])
                            _add(lake, name, [file.path for file in own if file.rows])

                try:
                    commit({})
                except PublishFailed as error:
                    damaged = _damaged(lake, replaced) if isinstance(error.__cause__, duckdb.Error) else set()
                    if not damaged:
                        raise
                    commit({name: self._others(plan.build_id, name, tables[name], replaced[name]) for name in damaged})
                return self._catalog.snapshots()[0].id

    def rollback(self, to: int | None = None) -> Snapshot:
        """Publish an older snapshot again, as a new one; by default the one before the newest build.

        Raises:
            LakeError: there is no such snapshot, or none before the newest build.
        """
        build_id = new_build_id()
        with self._lake() as lake, self._alone():
            known = self._catalog.snapshots()
            target = _target(known, to, self._settings.snapshot_days)
            then, now = self._catalog.tables(target.id), self._catalog.tables(self._catalog.newest() or 0)
            require_own(then)
            record = Record(build_id, target.record.parts, target.record.buckets, target.id)
            same = {name for name, table in then.items() if name in now and now[name].columns == table.columns}
            replaced = {name: _buckets_of(set(then[name].files) ^ set(now[name].files)) for name in same}

            def commit(kept: set[Name]) -> None:
                """`kept`: the tables whose files are kept but for those that differ; all others are made anew."""
                copies = {
                    name: self._copy(
                        build_id, name, set(table.files) - (set(now[name].files) if name in kept else set())
                    )
                    for name, table in then.items()
                }
                with _commit(lake, record, f"rollback to snapshot {target.id}"):
                    for name in now.keys() - kept:
                        lake.execute(f"drop table lake.{named(*name)}")
                    for name, table in then.items():
                        if name in kept:
                            _delete(lake, name, replaced[name])
                        else:
                            _create(lake, name, table.columns)
                        _add(lake, name, copies[name], older=True)

            try:
                commit(same)
            except PublishFailed as error:
                damaged = _damaged(lake, replaced) if isinstance(error.__cause__, duckdb.Error) else set()
                if not damaged:
                    raise
                commit(same - damaged)
            return self._catalog.snapshots()[0]

    def _others(self, build_id: str, name: Name, table: Table, replaced: Collection[int | None]) -> list[str]:
        """Copies of a table's files of the buckets that are not replaced."""
        if None in replaced:
            return []
        return self._copy(build_id, name, [file.path for file in table.data if file.bucket not in replaced])

    def _copy(self, build_id: str, name: Name, paths: Iterable[str]) -> list[str]:
        """Copy files on the server.

        A file that an expired snapshot let go is deleted in time, even when another entry of the catalog names the
        same path: so an old file is never registered again, a copy of it is.
        """
        from boto3.exceptions import S3UploadFailedError
        from botocore.exceptions import BotoCoreError, ClientError

        client, bucket = self._where.s3.client(seconds=60), self._where.s3.bucket
        copies = []
        for path in sorted(paths):
            copy = f"{build_prefix(self._where, build_id)}/{name[0]}/{name[1]}/{PurePosixPath(path).name}"
            try:
                client.copy({"Bucket": bucket, "Key": _key(path, bucket)}, bucket, _key(copy, bucket))
            except (BotoCoreError, ClientError, S3UploadFailedError) as error:
                raise PublishFailed(
                    f"{path} cannot be copied: {error}. Nothing was published; run `ledgerlake build --all`."
                ) from None
            copies.append(copy)
        return copies

    def clean(self, now: datetime | None = None) -> Cleaned:
        """Let go of snapshots older than the settings keep, and of files that nothing has referred to for a day."""
        at = now or datetime.now(UTC)
        if self._catalog.newest() is None:
            return Cleaned(0, 0)
        kept = at - timedelta(days=self._settings.snapshot_days)
        with self._lake() as lake, self._alone():
            expired = lake.execute("from ducklake_expire_snapshots('lake', older_than => ?)", [kept]).fetchall()
            grace = [at - _GRACE]
            old = lake.execute("from ducklake_cleanup_old_files('lake', older_than => ?)", grace).fetchall()
            orphans = lake.execute("from ducklake_delete_orphaned_files('lake', older_than => ?)", grace).fetchall()
        return Cleaned(len(expired), len(old) + len(orphans))

    @contextlib.contextmanager
    def _lake(self) -> Iterator[DuckDBPyConnection]:
        """The lake attached as `lake`; made, by one process alone, if there is none."""
        with session(self._settings) as connection:
            if self._catalog.newest() is None:
                with self._alone():
                    attach_lake(connection, self._where, read_only=False)
                    # Rows and deletions kept in the catalog are out of sight for whoever reads the files.
                    connection.execute("call lake.set_option('data_inlining_row_limit', 0)")
            else:
                attach_lake(connection, self._where, read_only=False)
            yield connection

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """No other commits meanwhile. Held by a connection of its own, so that a crash lets it go."""
        with Store(self._where.postgres_url).connect() as lock:
            lock.execute("select pg_advisory_lock(%s)", [_LOCK])
            yield


def build_prefix(where: Servers, build_id: str) -> str:
    """The S3 prefix under which a build writes: no two builds share one."""
    return f"{where.s3.url.rstrip('/')}/builds/{build_id}"


def _verify(lake: DuckDBPyConnection, files: Sequence[File]) -> None:
    """Each file can be opened, and holds as many rows as were written."""
    try:
        found = dict(
            lake.execute(
                "select file_name, num_rows from parquet_file_metadata(?)", [[file.path for file in files]]
            ).fetchall()
        )
    except duckdb.Error as error:
        raise PublishFailed(
            f"A file of the build cannot be read: {_sentence(error)} Nothing was published; build again."
        ) from None
    for file in files:
        if found.get(file.path) != file.rows:
            raise PublishFailed(
                f"{file.path}: expected {file.rows} rows, found {found.get(file.path)}. "
                "Nothing was published; build again."
            )


def _check_ground(plan: Plan, files: Sequence[File], then: Record, now: Record) -> None:
    """Raise Moved where this build would put an older state over a newer one."""
    old, new = then.published(), now.published()
    changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    reads_all = any(file.bucket is None for file in files)
    if changed and (reads_all or any(bucket in plan.buckets for _, bucket in changed)):
        raise Moved


@contextlib.contextmanager
def _commit(lake: DuckDBPyConnection, record: Record, message: str) -> Iterator[None]:
    """One DuckLake transaction that carries its record."""
    lake.execute("begin")
    try:
        yield
        lake.execute(
            "call ducklake_set_commit_message('lake', ?, ?, extra_info => ?)",
            [AUTHOR, message, msgspec.json.encode(record).decode()],
        )
        lake.execute("commit")
    except BaseException as error:
        with contextlib.suppress(duckdb.Error):
            lake.execute("rollback")
        if isinstance(error, duckdb.Error):
            raise PublishFailed(
                f"The commit of {message} failed: {_sentence(error)} Nothing was published; build again."
            ) from error
        raise


def _target(known: Sequence[Snapshot], to: int | None, days: int) -> Snapshot:
    by_id = {snapshot.id: snapshot for snapshot in known}
    if to is not None:
        if to not in by_id:
            listed = ", ".join(str(id_) for id_ in sorted(by_id)) or "none"
            raise LakeError(f"There is no snapshot {to}; kept for {days} days are: {listed}.")
        return by_id[to]
    head = known[0] if known else None
    while head is not None and head.record.restored is not None:
        head = by_id.get(head.record.restored)
    older = [snapshot for snapshot in known if head is not None and snapshot.id < head.id]
    if not older:
        raise LakeError(f"There is no snapshot before the newest build; they are kept for {days} days.")
    return older[0]


def _by_table(files: Iterable[File]) -> dict[Name, list[File]]:
    tables: dict[Name, list[File]] = {}
    for file in files:
        tables.setdefault((file.schema, file.model), []).append(file)
    return tables


def _shape(lake: DuckDBPyConnection, file: File) -> tuple[tuple[str, str], ...]:
    rows = lake.execute(f"describe select * from read_parquet({quoted(file.path)})").fetchall()
    return tuple((row[0], row[1]) for row in rows)


def _make_table(
    lake: DuckDBPyConnection, name: Name, old: Table | None, shape: tuple[tuple[str, str], ...], *, whole: bool
) -> bool:
    """Create the table, or bring it to the shape; False when it is new, so that there is nothing to delete."""
    if old is None:
        _create(lake, name, shape)
        return False
    found, wanted = dict(old.columns), dict(shape)
    if all(wanted.get(column) == kind for column, kind in found.items()):
        for column in wanted.keys() - found.keys():
            lake.execute(f"alter table lake.{named(*name)} add column {named(column)} {wanted[column]}")
        return True
    if not whole:
        changed = ", ".join(
            f"{column} from {kind} to {wanted.get(column, 'nothing')}"
            for column, kind in found.items()
            if wanted.get(column) != kind
        )
        raise PublishFailed(
            f"{name[1]} changes {changed}, and its other buckets still have the old columns. "
            "Nothing was published; run `ledgerlake build --all`."
        )
    lake.execute(f"drop table lake.{named(*name)}")
    _create(lake, name, shape)
    return False


def _create(lake: DuckDBPyConnection, name: Name, columns: tuple[tuple[str, str], ...]) -> None:
    listed = ", ".join(f"{named(column)} {kind}" for column, kind in columns)
    lake.execute(f"create schema if not exists lake.{named(name[0])}")
    lake.execute(f"create table lake.{named(*name)} ({listed})")


def _delete(lake: DuckDBPyConnection, name: Name, buckets: Sequence[int | None]) -> None:
    """Every file holds one bucket, so this lets whole files go and writes no delete files."""
    if not buckets:
        return
    which = "true" if None in buckets else f"bucket in ({', '.join(str(bucket) for bucket in buckets)})"
    lake.execute(f"delete from lake.{named(*name)} where {which}")


def _damaged(lake: DuckDBPyConnection, replaced: Mapping[Name, Sequence[int | None]]) -> set[Name]:
    """The tables of which a file that is let go cannot be read: DuckLake reads it to let it go."""
    found = set()
    for name, buckets in replaced.items():
        lake.execute("begin")
        try:
            _delete(lake, name, buckets)
        except duckdb.Error:
            found.add(name)
        finally:
            with contextlib.suppress(duckdb.Error):
                lake.execute("rollback")
    return found


def _add(lake: DuckDBPyConnection, name: Name, paths: Iterable[str], *, older: bool = False) -> None:
    """Register files. Those of an `older` build may be of before a column was added, and not have it; no other may."""
    for path in paths:
        lake.execute(
            "call ducklake_add_data_files('lake', ?, ?, schema => ?, allow_missing => ?)",
            [name[1], path, name[0], older],
        )


def _buckets_of(paths: Iterable[str]) -> list[int | None]:
    stems = {PurePosixPath(path).stem for path in paths}
    return [int(stem) if stem.isdigit() else None for stem in stems]


def _key(path: str, bucket: str) -> str:
    return path.removeprefix(f"s3://{bucket}/")


def _sentence(error: duckdb.Error) -> str:
    return str(error).splitlines()[0].rstrip(".") + "."
