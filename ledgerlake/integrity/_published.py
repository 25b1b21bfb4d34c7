"""The published snapshot itself: its files against the catalog, its builds against the store, and what is not in it yet.

Belongs here: whether what readers see is what was audited. Does not belong here: whether that is right (``_verify``
compares it record by record).
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import duckdb
import psycopg
from duckdb import DuckDBPyConnection

from ledgerlake.integrity._report import Finding, Kind, Repair
from ledgerlake.lake import DataFile, Name, Reading
from ledgerlake.local import Servers

NEVER = dt.datetime(1, 1, 1, tzinfo=dt.UTC)
"""The ground of a bucket that was never built."""

_REBUILD = "build the buckets again"


@dataclass(frozen=True)
class Fault:
    """What is wrong with these models in these buckets, so that all that is wrong in their records comes of it.

    `rows` is how many rows that is where the files themselves tell; else the comparison of the records tells.
    """

    kind: Kind
    message: str
    places: frozenset[tuple[str, int | None]]
    model: str | None = None
    rows: int | None = None

    def finding(self, records: int) -> Finding:
        buckets = tuple(sorted({bucket for _, bucket in self.places if bucket is not None}))
        return Finding(
            kind=self.kind,
            step="published",
            model=self.model,
            records=records,
            message=self.message,
            repair=Repair("build", buckets=buckets),
        )


@dataclass(frozen=True)
class Published:
    """The state of what is published.

    Attributes:
        unreadable: paths of files that cannot be read at all.
        grounds: of each bucket that is behind, since when records may be stamped that it cannot hold yet.
        restored: the snapshot that a rollback published again, if that is what readers see.
    """

    faults: tuple[Fault, ...] = ()
    unreadable: frozenset[str] = frozenset()
    grounds: Mapping[int, dt.datetime] = field(default_factory=dict)
    restored: int | None = None


def published(at: Reading, where: Servers, postgres: psycopg.Connection, needed: Iterable[str]) -> Published:
    """Look at the snapshot.

    Args:
        postgres: the store as of the reading.
        needed: the models that records are compared in: a bucket is behind when one of them is.
    """
    sizes = _sizes(at, where)
    faults, unreadable = _files(at, sizes)
    return Published(
        (*faults, *_foreign(at), *_older(at, postgres)),
        frozenset(unreadable),
        _grounds(at, needed),
        at.record.restored,
    )


def unreadable_files(duck: DuckDBPyConnection, files: Iterable[DataFile]) -> set[str]:
    """The files of which not every page can be read: dear, for when a statement over them broke off."""
    found = set()
    for file in files:
        try:
            duck.execute("SELECT sum(hash(COLUMNS(*))) FROM read_parquet(?)", [file.path])
        except duckdb.Error:
            found.add(file.path)
    return found


def file_fault(name: Name, kind: Kind, said: Iterable[str], files: Iterable[DataFile], rows: int) -> Fault:
    places = frozenset((name[1], file.bucket) for file in files)
    return Fault(kind, f"{name[1]}: {'; '.join(said)}; {_REBUILD}", places, name[1], rows)


def _sizes(at: Reading, where: Servers) -> dict[str, int]:
    """The bytes of each object under the builds of this snapshot, by its address: a list costs one request in 1,000 files."""
    prefix = f"s3://{where.s3.bucket}/"
    wanted = {file.path for table in at.tables.values() for file in table.data if file.path.startswith(prefix)}
    folders = {"/".join(path.removeprefix(prefix).split("/")[:-3]) for path in wanted}
    client = where.s3.client()
    found = {}
    for folder in sorted(folders):
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=where.s3.bucket, Prefix=f"{folder}/")
        for page in pages:
            for one in page.get("Contents", ()):
                found[prefix + one["Key"]] = int(one["Size"])
    return found


def _files(at: Reading, sizes: Mapping[str, int]) -> tuple[list[Fault], set[str]]:
    """Each file's bytes, and the rows of its row groups, against the catalog."""
    present = {file.path: file for table in at.tables.values() for file in table.data if file.path in sizes}
    rows = _rows(at.duck, list(present))
    faults, unreadable = [], set()
    for name, table in at.tables.items():
        wrong: dict[Kind, list[tuple[DataFile, str, int]]] = defaultdict(list)
        for file in table.data:
            bucket = "" if file.bucket is None else f"bucket {file.bucket}: "
            if file.path not in sizes or rows.get(file.path) is None:
                unreadable.add(file.path)
                what = "cannot be read" if file.path in sizes else "is gone"
                said = f"{bucket}the file {what}, expected {file.rows:,} rows"
                wrong["missing"].append((file, said, file.rows))
            elif (found := rows[file.path]) != file.rows:
                kind: Kind = "missing" if found < file.rows else "unexpected"
                said = f"{bucket}expected {file.rows:,} rows in the file, found {found:,}"
                wrong[kind].append((file, said, abs(found - file.rows)))
            elif sizes[file.path] != file.size:
                said = (
                    f"{bucket}expected a file of {file.size:,} bytes, found {sizes[file.path]:,}: it was written again"
                )
                wrong["mismatch"].append((file, said, 0))
        for kind, ones in wrong.items():
            files, sentences, lost = zip(*ones, strict=True)
            faults.append(file_fault(name, kind, sentences, files, sum(lost)))
    return faults, unreadable


def _rows(duck: DuckDBPyConnection, paths: list[str]) -> dict[str, int]:
    """The rows of each file that can be opened, counted over its row groups."""
    if not paths:
        return {}
    query = """
        SELECT file_name, sum(row_group_num_rows)::BIGINT FROM parquet_metadata(?) WHERE column_id = 0 GROUP BY 1
    """
    try:
        found = dict(duck.execute(query, [paths]).fetchall())
    except duckdb.Error:
        if len(paths) == 1:
            return {}
        half = len(paths) // 2
        return _rows(duck, paths[:half]) | _rows(duck, paths[half:])
    return {path: found.get(path, 0) for path in paths}


def _foreign(at: Reading) -> list[Fault]:
    """Rows that something else than Ledgerlake wrote or deleted: builds replace whole files."""
    return [
        Fault(
            "mismatch",
            f"{name[1]}: rows were written or deleted by something else than Ledgerlake; run `ledgerlake build --all`",
            frozenset((name[1], file.bucket) for file in table.data),
            name[1],
        )
        for name, table in at.tables.items()
        if table.foreign
    ]


def _older(at: Reading, postgres: psycopg.Connection) -> list[Fault]:
    """What readers see must be of the last build that published a bucket, and each file of the build that the record names."""
    if at.snapshot is None or at.record.restored is not None:
        return []
    rows = postgres.execute(
        "SELECT build_id, buckets, snapshot_id FROM ledgerlake.builds WHERE outcome = 'published' ORDER BY snapshot_id"
    ).fetchall()
    known = {build_id for build_id, _, _ in rows}
    last = {bucket: build_id for build_id, buckets, _ in rows for bucket in buckets}
    restored = {one.id for one in at.snapshots if one.record.restored is not None and one.id <= at.snapshot}
    since = max((snapshot or 0 for _, _, snapshot in rows), default=0)
    places = at.record.places()
    shown = {part.build_id for part in places.values()}
    older: dict[tuple[str, int | None], tuple[str, str]] = {}
    for bucket, build_id in last.items():
        of_bucket = {(model, part.build_id) for (model, at_bucket), part in places.items() if at_bucket == bucket}
        if of_bucket and build_id not in {of for _, of in of_bucket} and not any(one > since for one in restored):
            older |= {(model, bucket): (build_id, of) for model, of in of_bucket}
    for (_, model), table in at.tables.items():
        for file in table.data:
            part = places.get((model, file.bucket)) if file.bucket is not None else None
            of = file.path.rpartition("/builds/")[2].partition("/")[0]
            if part is not None and of in known and of != part.build_id:
                older[model, file.bucket] = (part.build_id, of)
    if not older:
        return []
    expected, found = (", ".join(sorted({pair[side] for pair in older.values()})) for side in (0, 1))
    buckets = sorted({bucket for _, bucket in older if bucket is not None})
    message = (
        f"expected what build {expected} made, found in snapshot {at.snapshot} what the older build {found} made, in "
        f"{_counted(len(buckets), 'bucket')} ({', '.join(map(str, buckets))}); {_REBUILD}"
    )
    assert shown
    return [Fault("stale", message, frozenset(older))]


def _grounds(at: Reading, needed: Iterable[str]) -> dict[int, dt.datetime]:
    """The buckets whose connections moved on since they were built, or that were never built in one of the models."""
    places = at.record.places()
    grounds = {}
    for bucket, revision in at.revisions.items():
        parts = [places.get((model, bucket)) for model in needed]
        behind = [part for part in parts if part is None or part.revisions[bucket] != revision]
        if behind:
            grounds[bucket] = min((part.at or NEVER) if part is not None else NEVER for part in behind)
    return grounds


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
