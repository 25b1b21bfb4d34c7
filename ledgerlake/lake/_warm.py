"""The lake for many readers at once: one locked-down DuckDB that stays open and follows the newest snapshot.

Belongs here: keeping it warm, renewing it, sharing it between threads, ending what takes too long. Does not belong here:
SQL of people (``_query``), what the pages ask (``ledgerlake.figures``).

A snapshot's files never change, so their footers and pages are kept in memory without asking S3 whether they are still the
same. A table becomes a view when the first query names it: opening a snapshot costs two queries of the catalog. Where a
thread follows the lake, a new snapshot is shown once what was asked of the last one is answered of it: nobody waits for that.
"""

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import psycopg
import structlog
from duckdb import DuckDBPyConnection

from ledgerlake.errors import LedgerlakeError
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

FOLLOW = 2.0
"""Seconds after which a thread that follows the lake looks for a newer snapshot."""
TRUSTED = 30.0
"""Seconds for which readers take what that thread saw last to be the newest; then each looks for itself, and is told."""

KEPT_ANSWERS = 64
KEPT_ROWS = 20_000
"""How many answers of a snapshot are remembered, and how large one may be."""

Parameters = Sequence[object] | Mapping[str, object]

_log = structlog.get_logger(__name__)

_WORD = re.compile(r"[a-z_][a-z0-9_]*(?:\.[a-z_][a-z0-9_]*)?")

_WARM = (
    "set parquet_metadata_cache = true",
    "set httpfs_connection_caching = true",
    "set http_timeout = 5",
    "set http_retries = 1",
)


@dataclass(frozen=True)
class Answered:
    """A question, and what a snapshot says to it."""

    sql: str
    parameters: Parameters
    rows: list[tuple[Any, ...]]


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
            known = Answered(sql, parameters, self._rows(sql, parameters))
            self._warm.remember(question, known)
        return list(known.rows)

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
        self._following: threading.Thread | None = None
        self._closed = threading.Event()

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

    def follow(self, first: Callable[[Look], object]) -> None:
        """Look for newer snapshots in a thread, until `close`: readers then see one as soon as it is warm.

        Args:
            first: asks of the lake what people will ask soon.
        """
        self._closed.clear()
        self._following = threading.Thread(target=self._follow, args=(first,), name="lake", daemon=True)
        self._following.start()

    def _follow(self, first: Callable[[Look], object]) -> None:
        while True:
            try:
                with self._renewing:
                    self._renew(first)
            except LedgerlakeError:
                pass  # it goes wrong for the next reader, too, who is told
            except (psycopg.Error, duckdb.Error) as error:
                # A server that went in the middle of an answer: its message may name addresses.
                _log.warning("the lake is not followed", error=type(error).__name__)
            if self._closed.wait(FOLLOW):
                return

    def close(self) -> None:
        """Let go of it; the next query opens it again."""
        self._closed.set()
        if self._following is not None:
            self._following.join()
            self._following = None
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
            known_for = TRUSTED if self._following is not None else CHECK
            if self._warm is None or not (however_old or time.monotonic() - self._checked < known_for):
                return None
            self._warm.users += 1
            return self._warm

    def _leave(self, warm: "_Warm") -> None:
        with self._lock:
            warm.users -= 1
            if not warm.users and warm is not self._warm:
                warm.duck.close()

    def _renew(self, first: Callable[[Look], object] | None = None) -> None:
        newest = self._catalog.newest()
        with self._lock:
            present = self._warm
        fresh = present
        if present is None or present.snapshot != newest:
            fresh = _Warm(*published(self._catalog), self._where, self._settings)
            if first is not None:
                self._prepare(fresh, first, list(present.answers.values()) if present is not None else [])
        with self._lock:
            self._warm, self._checked = fresh, time.monotonic()
            if present is not None and present is not fresh and not present.users:
                present.duck.close()

    def _prepare(self, warm: "_Warm", first: Callable[[Look], object], asked: Sequence[Answered]) -> None:
        """Ask what was asked of the snapshot before; what has no answer any more is asked again by who wants it."""
        look = Look(warm, self._patience)
        with contextlib.suppress(LedgerlakeError):
            first(look)
        for one in asked:
            if self._closed.is_set():
                return
            with contextlib.suppress(LedgerlakeError):
                look.rows(one.sql, one.parameters, keep=True)


class _Warm:
    """A database in memory with one snapshot's tables, and how many are using it."""

    def __init__(self, snapshot: int, tables: dict[Name, Table], where: Servers, settings: Settings) -> None:
        self.snapshot = snapshot
        self.users = 0
        self._tables = tables
        self._shown: set[str] = set()
        self._showing = threading.Lock()
        self._models = models()
        self.answers: dict[object, Answered] = {}
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

    def remember(self, question: object, answered: Answered) -> None:
        """Keep an answer, unless it is large; the oldest gives way."""
        if len(answered.rows) <= KEPT_ROWS:
            while len(self.answers) >= KEPT_ANSWERS:
                self.answers.pop(next(iter(self.answers)), None)
            self.answers[question] = answered

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
