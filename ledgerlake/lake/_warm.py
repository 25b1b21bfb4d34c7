"""The lake for many readers at once: one locked-down DuckDB that stays open and follows the newest snapshot.

Belongs here: keeping it warm, renewing it, sharing it between threads, ending what takes too long. Does not belong here:
SQL of people (``_query``), what the pages ask (``ledgerlake.figures``).

A snapshot's files never change, so their footers and pages are kept in memory without asking S3 whether they are still the
same. A table becomes a view when the first query names it: opening a snapshot costs two queries of the catalog.
"""

import contextlib
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb
from duckdb import DuckDBPyConnection

from ledgerlake.lake._catalog import Catalog, Name, Table
from ledgerlake.lake._errors import LakeAway, QueryError, TooSlow
from ledgerlake.lake._project import models
from ledgerlake.lake._query import explained, lock, make_view, published, relation
from ledgerlake.lake._session import limit, use_s3
from ledgerlake.local import Servers
from ledgerlake.settings import Settings

PATIENCE = 10.0
"""Seconds that a query may take."""
CHECK = 1.0
"""Seconds for which the newest snapshot is taken to be the newest."""

KEPT_ANSWERS = 64
KEPT_ROWS = 20_000
"""How many answers of a snapshot are remembered, and how large one may be."""

Parameters = Sequence[object] | Mapping[str, object]

_WORD = re.compile(r"[a-z_][a-z0-9_]*(?:\.[a-z_][a-z0-9_]*)?")

_WARM = (
    "set parquet_metadata_cache = true",
    "set enable_http_metadata_cache = true",
    "set validate_external_file_cache = 'NO_VALIDATION'",
    "set httpfs_connection_caching = true",
    "set http_timeout = 5",
    "set http_retries = 1",
)


class Look:
    """The lake as it is at one snapshot; of one thread, for a moment."""

    def __init__(self, warm: "_Warm", patience: float) -> None:
        self.snapshot = warm.snapshot
        self._warm = warm
        self._patience = patience

    def rows(self, sql: str, parameters: Parameters = (), *, keep: bool = False) -> list[tuple[Any, ...]]:
        """The rows of a SELECT of ours, with outside values as parameters; money is Decimal.

        Args:
            keep: remember the answer while this snapshot is the newest: for figures that many ask for.

        Raises:
            LakeAway: S3 does not answer.
            TooSlow: it took longer than a reader may wait.
            QueryError: the SQL is wrong.
        """
        if not keep:
            return self._rows(sql, parameters)
        question = (sql, *(sorted(parameters.items()) if isinstance(parameters, Mapping) else parameters))
        if (known := self._warm.answers.get(question)) is None:
            known = self._rows(sql, parameters)
            self._warm.remember(question, known)
        return list(known)

    def _rows(self, sql: str, parameters: Parameters) -> list[tuple[Any, ...]]:
        with contextlib.closing(self._warm.duck.cursor()) as cursor:
            watch = threading.Timer(self._patience, cursor.interrupt)
            watch.daemon = True
            watch.start()
            try:
                self._warm.show(cursor, sql)
                return cursor.execute(sql, parameters or None).fetchall()
            except duckdb.InterruptException:
                raise TooSlow(
                    f"The lake took longer than {self._patience:g} s to answer. Ask for less, or again in a moment."
                ) from None
            except (duckdb.HTTPException, duckdb.IOException):
                # What DuckDB says names addresses and files, which are nobody's business who asks.
                raise LakeAway("The lake's files cannot be read: S3 does not answer as it should.") from None
            except duckdb.Error as error:
                raise QueryError(explained(error)) from None
            finally:
                watch.cancel()


class LakeReader:
    """Reads the published lake, warm. Any thread may use it at any time.

    Args:
        where: the servers that hold the store and the lake.
        settings: its limits.
        patience: seconds that a query may take.
    """

    def __init__(self, where: Servers, settings: Settings, *, patience: float = PATIENCE) -> None:
        self._where = where
        self._settings = settings
        self._patience = patience
        self._catalog = Catalog(where)
        self._lock = threading.Lock()
        self._renewing = threading.Lock()
        self._warm: _Warm | None = None
        self._checked = -CHECK

    def __repr__(self) -> str:
        return "LakeReader()"

    @contextlib.contextmanager
    def look(self) -> Iterator[Look]:
        """Several queries over one and the same snapshot.

        Raises:
            LakeEmpty: nothing was published yet.
            ServerError: PostgreSQL does not answer.
        """
        warm = self._take()
        try:
            yield Look(warm, self._patience)
        finally:
            self._leave(warm)

    def rows(self, sql: str, parameters: Parameters = (), *, keep: bool = False) -> list[tuple[Any, ...]]:
        """The rows of one SELECT over the newest snapshot, as `Look.rows`."""
        with self.look() as look:
            return look.rows(sql, parameters, keep=keep)

    def check(self) -> None:
        """Return when S3 answers now, whatever is remembered of it. Raises ServerError in one sentence."""
        self._where.s3.check()

    def close(self) -> None:
        """Let go of it; the next query opens it again."""
        with self._lock:
            old, self._warm = self._warm, None
            if old is not None and not old.users:
                old.duck.close()

    def _take(self) -> "_Warm":
        if (warm := self._kept()) is not None:
            return warm
        # While one thread looks whether there is a newer snapshot, the others go on with the one that is open.
        with self._lock:
            waits = self._warm is None
        if not self._renewing.acquire(blocking=waits):
            return self._kept(however_old=True) or self._take()
        try:
            if (warm := self._kept()) is not None:
                return warm
            self._renew()
        finally:
            self._renewing.release()
        return self._kept(however_old=True) or self._take()

    def _kept(self, *, however_old: bool = False) -> "_Warm | None":
        with self._lock:
            if self._warm is None or not (however_old or time.monotonic() - self._checked < CHECK):
                return None
            self._warm.users += 1
            return self._warm

    def _leave(self, warm: "_Warm") -> None:
        with self._lock:
            warm.users -= 1
            if not warm.users and warm is not self._warm:
                warm.duck.close()

    def _renew(self) -> None:
        newest = self._catalog.newest()
        with self._lock:
            present = self._warm
        fresh = present
        if present is None or present.snapshot != newest:
            fresh = _Warm(*published(self._catalog), self._where, self._settings)
        with self._lock:
            self._warm, self._checked = fresh, time.monotonic()
            if present is not None and present is not fresh and not present.users:
                present.duck.close()


class _Warm:
    """A database in memory with one snapshot's tables, and how many are using it."""

    def __init__(self, snapshot: int, tables: dict[Name, Table], where: Servers, settings: Settings) -> None:
        self.snapshot = snapshot
        self.users = 0
        self._tables = tables
        self._shown: set[str] = set()
        self._showing = threading.Lock()
        self._models = models()
        self.answers: dict[object, list[tuple[Any, ...]]] = {}
        self.duck: DuckDBPyConnection = duckdb.connect(":memory:")
        try:
            limit(self.duck, settings)
            use_s3(self.duck, where.s3)
            for statement in _WARM:
                self.duck.execute(statement)
            lock(self.duck, tables)
        except BaseException:
            self.duck.close()
            raise

    def remember(self, question: object, rows: list[tuple[Any, ...]]) -> None:
        """Keep an answer, unless it is large; the oldest gives way."""
        if len(rows) <= KEPT_ROWS:
            while len(self.answers) >= KEPT_ANSWERS:
                self.answers.pop(next(iter(self.answers)), None)
            self.answers[question] = rows

    def show(self, cursor: DuckDBPyConnection, sql: str) -> None:
        """Make views of the tables that the SQL names, where they are not there yet.

        A table that this snapshot does not have yet, of a new model or of a provider that nobody connects, is empty.
        """
        words = set(_WORD.findall(sql.lower()))
        if words <= self._shown:
            return
        with self._showing:
            # What only looks like a table's name costs nothing: a view of nothing that nobody asks for.
            for word in words - self._shown:
                schema, _, name = word.rpartition(".")
                key = (schema or "main", name)
                if key in self._tables:
                    make_view(cursor, key, f"from {relation(self._tables[key])}")
                elif (model := self._models.get(name)) is not None and model.schema == key[0]:
                    make_view(cursor, key, model.nothing)
                self._shown.add(word)
