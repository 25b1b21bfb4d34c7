"""What is published: snapshots, the record each carries, and which files each table is made of.

Read from the catalog's own tables in PostgreSQL, as DuckLake's specification 1.0 lays them out
(https://ducklake.select/docs/stable/specification/tables/overview): a query of milliseconds, without DuckDB.
Does not belong here: changing any of it (``_publish``).

What is published, bucket by bucket, stands in the commit itself (DuckLake's commit_extra_info): a commit can never
disagree with its own message, whatever crashes, and an older snapshot carries the record of its own time.
"""
# ruff: noqa: S608 (the names are this module's constants and the catalog's own)

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

import msgspec
import psycopg

from ledgerlake.lake._errors import LakeError
from ledgerlake.lake._session import METADATA_SCHEMA
from ledgerlake.local import Servers
from ledgerlake.store import Store

AUTHOR = "ledgerlake"
"""The author of Ledgerlake's own commits."""

Name = tuple[str, str]
"""Schema and name of a table."""

# DuckLake's names of types that are not DuckDB's.
_TYPES = {
    "int8": "TINYINT",
    "int16": "SMALLINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "int128": "HUGEINT",
    "float32": "FLOAT",
    "float64": "DOUBLE",
    "timestamptz": "TIMESTAMP WITH TIME ZONE",
}


class Part(msgspec.Struct, frozen=True):
    """What is visible of one build: these models, in these buckets, of these revisions of the store.

    `at`: whatever was stamped before it was visible to the build; what was stamped later may not have been.
    """

    build_id: str
    fingerprint: str
    models: tuple[str, ...]
    revisions: dict[int, int]
    at: datetime | None = None


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a commit says of itself; `restored` is the snapshot that a rollback published again."""

    build_id: str
    parts: tuple[Part, ...]
    buckets: tuple[int, ...] = ()
    restored: int | None = None

    def published(self) -> dict[tuple[str, int], tuple[str, int, str]]:
        """(model, bucket) -> (build, revision, fingerprint)."""
        return {
            place: (part.build_id, part.revisions[place[1]], part.fingerprint) for place, part in self.places().items()
        }

    def places(self) -> dict[tuple[str, int], Part]:
        """(model, bucket) -> the build that it is of."""
        return {(model, bucket): part for part in self.parts for model in part.models for bucket in part.revisions}

    def with_part(self, new: Part) -> tuple[Part, ...]:
        """The parts once `new` is published over them."""
        parts = []
        for old in self.parts:
            kept = tuple(model for model in old.models if model not in new.models)
            covered = tuple(model for model in old.models if model in new.models)
            rest = {bucket: rev for bucket, rev in old.revisions.items() if bucket not in new.revisions}
            if kept:
                parts.append(msgspec.structs.replace(old, models=kept))
            if covered and rest:
                parts.append(msgspec.structs.replace(old, models=covered, revisions=rest))
        return (*parts, new)


NOTHING = Record("", ())


@dataclass(frozen=True)
class Snapshot:
    """One commit of the lake."""

    id: int
    at: datetime
    record: Record

    @property
    def build_id(self) -> str:
        return self.record.build_id


@dataclass(frozen=True)
class DataFile:
    """A published Parquet file as the catalog knows it: its rows, and its bytes."""

    path: str
    rows: int
    size: int

    @property
    def bucket(self) -> int | None:
        """The bucket that its name tells; None of a table over all customers."""
        stem = PurePosixPath(self.path).stem
        return int(stem) if stem.isdigit() else None


@dataclass(frozen=True)
class Table:
    """A published table: its columns with their DuckDB types, and its files, named by their buckets.

    `foreign`: something else than Ledgerlake wrote or deleted rows, so that the files do not tell all.
    """

    columns: tuple[tuple[str, str], ...]
    data: tuple[DataFile, ...]
    foreign: bool

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(file.path for file in self.data)


def require_own(tables: Mapping[Name, Table]) -> None:
    """Return when the files tell all.

    Raises:
        LakeError: rows of a table were changed by something else than Ledgerlake.
    """
    if foreign := sorted(".".join(name) for name, table in tables.items() if table.foreign):
        raise LakeError(
            f"{', '.join(foreign)}: rows were written or deleted by something else than Ledgerlake, "
            "which replaces whole files. Run `ledgerlake build --all` to publish them anew."
        )


class Catalog:
    """The lake's catalog, read."""

    def __init__(self, where: Servers) -> None:
        self._store = Store(where.postgres_url)

    def newest(self) -> int | None:
        """The newest snapshot, whoever made it; None while the lake was never made."""
        with self._store.connect() as connection:
            return _newest(connection)

    def snapshots(self) -> list[Snapshot]:
        """Every commit of Ledgerlake that can still be read, the newest first."""
        with self._store.connect() as connection:
            if _newest(connection) is None:
                return []
            rows = connection.execute(
                f"""
                select snapshot_id, snapshot_time::timestamptz, commit_extra_info
                from {METADATA_SCHEMA}.ducklake_snapshot
                join {METADATA_SCHEMA}.ducklake_snapshot_changes using (snapshot_id)
                where author = %s and commit_extra_info is not null
                order by snapshot_id desc
                """,
                [AUTHOR],
            )
            return [Snapshot(id_, at, msgspec.json.decode(text, type=Record)) for id_, at, text in rows]

    def record(self, at: int | None) -> Record:
        """What was published at a snapshot."""
        return next((one.record for one in self.snapshots() if at is not None and one.id <= at), NOTHING)

    def earlier(self, name: Name, bucket: int) -> list[str]:
        """The paths of the files of a table's bucket that only older snapshots have, the newest first."""
        with self._store.connect() as connection:
            rows = connection.execute(
                f"""
                select f.path from {METADATA_SCHEMA}.ducklake_schema s
                join {METADATA_SCHEMA}.ducklake_table t using (schema_id)
                join {METADATA_SCHEMA}.ducklake_data_file f using (table_id)
                where schema_name = %s and table_name = %s and f.end_snapshot is not null and not f.path_is_relative
                order by f.begin_snapshot desc, f.data_file_id desc
                """,
                name,
            ).fetchall()
        paths = dict.fromkeys(path for (path,) in rows)
        return [path for path in paths if DataFile(path, 0, 0).bucket in (None, bucket)]

    def tables(self, at: int) -> dict[Name, Table]:
        """Every table of a snapshot."""
        with self._store.connect() as connection:
            columns = connection.execute(
                f"""
                select schema_name, table_name, column_name, column_type
                from {METADATA_SCHEMA}.ducklake_schema s
                join {METADATA_SCHEMA}.ducklake_table t using (schema_id)
                join {METADATA_SCHEMA}.ducklake_column c using (table_id)
                where {_seen("s")} and {_seen("t")} and {_seen("c")} and parent_column is null
                order by schema_name, table_name, column_order
                """,
                {"at": at},
            ).fetchall()
            files = connection.execute(
                f"""
                select schema_name, table_name, f.path, f.record_count, f.file_size_bytes,
                       f.path_is_relative or d.delete_file_id is not null
                from {METADATA_SCHEMA}.ducklake_schema s
                join {METADATA_SCHEMA}.ducklake_table t using (schema_id)
                join {METADATA_SCHEMA}.ducklake_data_file f using (table_id)
                left join {METADATA_SCHEMA}.ducklake_delete_file d on d.data_file_id = f.data_file_id and {_seen("d")}
                where {_seen("s")} and {_seen("t")} and {_seen("f")}
                order by f.data_file_id
                """,
                {"at": at},
            ).fetchall()
        return {
            name: Table(
                tuple((column, _duckdb_type(kind)) for *table, column, kind in columns if tuple(table) == name),
                tuple(DataFile(path, rows, size) for *table, path, rows, size, _ in files if tuple(table) == name),
                any(foreign for *table, _, _, _, foreign in files if tuple(table) == name),
            )
            for name in _names(columns)
        }


def _names(rows: Iterable[tuple[str, ...]]) -> list[Name]:
    return list(dict.fromkeys((row[0], row[1]) for row in rows))


def _newest(connection: psycopg.Connection) -> int | None:
    found = connection.execute("select to_regclass(%s)", [f"{METADATA_SCHEMA}.ducklake_snapshot"]).fetchone()
    if found is None or found[0] is None:
        return None
    row = connection.execute(f"select max(snapshot_id) from {METADATA_SCHEMA}.ducklake_snapshot").fetchone()
    return None if row is None else row[0]


def _seen(alias: str) -> str:
    return f"({alias}.begin_snapshot <= %(at)s and ({alias}.end_snapshot is null or %(at)s < {alias}.end_snapshot))"


def _duckdb_type(kind: str) -> str:
    return _TYPES.get(kind, kind.upper())
