"""A census: many connections at once, each within its allowance, page by page into PostgreSQL.

Belongs here: which reads are made and in which order, and storing what they show. Does not belong here: when what is
due (``_plan``), and how a provider is asked (its module).

A read counts only when it came to its end. Then what older reads showed of the same days goes.
"""

import asyncio
import datetime as dt
import hashlib
import secrets
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import psycopg
import structlog
from psycopg import AsyncConnection, sql
from psycopg.rows import dict_row
from pydantic import SecretStr

from connectors import BadData, ConnectorError, Misconfigured, Retryable
from ledgerlake.errors import LedgerlakeError, ServerError
from ledgerlake.ingest import client_config, switched_off
from ledgerlake.integrity.census._client import Busy, Frugal, Spent
from ledgerlake.integrity.census._gocardless import GoCardless
from ledgerlake.integrity.census._plaid import Plaid
from ledgerlake.integrity.census._plan import Past, answered, due, is_recent_due, last_recent, read_on, recent, spans
from ledgerlake.integrity.census._report import CensusReport, Outcome, Overdue, Read
from ledgerlake.integrity.census._source import Row, Scope, Source, Span
from ledgerlake.integrity.census._stripe import Stripe
from ledgerlake.integrity.census._teller import Teller
from ledgerlake.integrity.census._tink import Tink
from ledgerlake.settings import Settings, variable
from ledgerlake.store import Connection, Store, Vault

SOURCES: dict[str, type[Source]] = {one.provider: one for one in (GoCardless, Plaid, Stripe, Teller, Tink)}

_ANY = Span()
_DOWN = 3
"""After so many reads in a row without an answer the connection is left for the next census."""

_log = structlog.get_logger(__name__)

_BEGIN = """
INSERT INTO ledgerlake.census_reads (census_id, connection_id, stream, account_id, today, asked_since, asked_until)
VALUES (%(census)s, %(connection)s, %(stream)s, %(account)s, %(today)s, %(asked_since)s, %(asked_until)s)
RETURNING read_id
"""
_END = """
UPDATE ledgerlake.census_reads
SET since = %(since)s, until = %(until)s, whole_pending = %(whole_pending)s, ended_at = now(), requests = %(requests)s,
    bytes = %(bytes)s, rows = %(rows)s, outcome = %(outcome)s, error = %(error)s
WHERE read_id = %(read)s
"""
_COPY = """
COPY ledgerlake.census_records
    (read_id, position, connection_id, stream, account_id, record_id, record_date, pending, payload, hash)
FROM STDIN
"""
# What is without a day goes with a read that has no beginning; pending rows with one that shows them all.
_REPLACE = """
DELETE FROM ledgerlake.census_records AS old
USING ledgerlake.census_reads AS reads
WHERE reads.read_id = old.read_id AND old.read_id <> %(read)s AND reads.connection_id = %(connection)s
  AND reads.stream = %(stream)s AND reads.account_id IS NOT DISTINCT FROM %(account)s
  AND old.connection_id = %(connection)s AND old.stream = %(stream)s
  AND (
      old.record_date BETWEEN coalesce(%(asked_since)s::date, '-infinity') AND coalesce(%(asked_until)s::date, 'infinity')
      OR old.record_date IS NULL AND %(asked_since)s::date IS NULL
      OR old.pending AND %(whole_pending)s
  )
"""
_MONTHS = """
SELECT account_id, date_trunc('month', record_date)::date AS month, count(*) AS rows FROM {table}
WHERE bucket = %s AND connection_id = %s AND record_date IS NOT NULL GROUP BY 1, 2
"""
# What was killed has no outcome; what is older than thrice the days of a round says nothing any more.
_SWEEP = """
DELETE FROM ledgerlake.census_reads
WHERE connection_id = %(connection)s AND (outcome IS NULL OR today < %(oldest)s)
"""


async def census(
    store: Store,
    settings: Settings,
    *,
    today: dt.date | None = None,
    connections: Sequence[str] | None = None,
    census_id: str | None = None,
) -> CensusReport:
    """Count again at the sources of these connections, or of all that are active.

    Each connection's accounts, balances and recent records are read once a day, the older ones in rotation, so that all
    of them are read within LEDGERLAKE_CENSUS_DAYS; what was done today is not done again. `today` is the day it is.

    Raises:
        ServerError: PostgreSQL went away; reads that had come to their end stay.
    """
    started = time.monotonic()
    day = today or dt.datetime.now(dt.UTC).date()
    run = _Run(store, settings, day, census_id or secrets.token_hex(8))
    off = switched_off(store, settings)
    active = [
        one
        for one in store.connections(ids=connections)
        if one.state == "active" and one.provider in SOURCES and one.provider not in off
    ]
    if settings.census_requests:
        await run.all(active)
    ids = [one.connection_id for one in active]
    with store.connect() as postgres:
        row = postgres.execute(
            "SELECT coalesce(sum(requests), 0) FROM ledgerlake.syncs WHERE today = %s AND connection_id = ANY(%s)",
            (day, ids),
        ).fetchone()
    return CensusReport(
        census_id=run.census_id,
        today=day,
        off=not settings.census_requests,
        connections=len(active),
        reads=dict(run.outcomes),
        troubles=tuple(run.troubles),
        overdue=tuple(run.overdue),
        postponed=run.postponed,
        requests=run.requests,
        bytes=run.bytes,
        rows=run.rows,
        sync_requests=int(row[0]) if row else 0,
        seconds=time.monotonic() - started,
    )


@dataclass
class _Run:
    """What all connections of one census share."""

    store: Store
    settings: Settings
    today: dt.date
    census_id: str
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    troubles: list[Read] = field(default_factory=list)
    overdue: list[Overdue] = field(default_factory=list)
    postponed: int = 0
    requests: int = 0
    bytes: int = 0
    rows: int = 0
    clients: dict[str, Frugal] = field(default_factory=dict)
    stopped: dict[str, ConnectorError] = field(default_factory=dict)

    async def all(self, active: Sequence[Connection]) -> None:
        vault = Vault.of(self.settings)
        slots = asyncio.Semaphore(self.settings.sync_concurrency)

        async def one(connection: Connection) -> None:
            async with slots:
                await self._connection(connection, vault)

        async with AsyncExitStack() as stack:
            for provider in {one.provider for one in active}:
                try:
                    client = Frugal(client_config(self.settings, provider))
                except ConnectorError as error:
                    self.stopped[provider] = error
                else:
                    self.clients[provider] = await stack.enter_async_context(client)
            try:
                async with asyncio.TaskGroup() as group:
                    for connection in active:
                        group.create_task(one(connection))
            except BaseExceptionGroup as errors:
                raise _first(errors) from None

    async def _connection(self, connection: Connection, vault: Vault) -> None:
        try:
            postgres = await AsyncConnection.connect(self.store.postgres_url, autocommit=True, connect_timeout=10)
        except psycopg.OperationalError as error:
            raise _lost(error) from None
        async with postgres:
            counter = _Counter(self, connection, postgres)
            try:
                if await counter.begin():
                    await counter.count(vault)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                raise _lost(error) from None

    def done(self, read: Read, received: int) -> None:
        """A read is over."""
        self.outcomes[read.outcome] += 1
        self.requests += read.requests
        self.bytes += received
        self.rows += read.rows
        if read.outcome != "done":
            self.troubles.append(read)


@dataclass(frozen=True)
class _Known:
    """What earlier reads of this connection left behind."""

    past: dict[tuple[str, str | None], list[Past]]
    calls: Counter[tuple[str, str | None]]
    spent: int
    began: dt.date


class _Counter:
    """One connection, counted."""

    def __init__(self, run: _Run, connection: Connection, postgres: AsyncConnection) -> None:
        self._run = run
        self._connection = connection
        self._id = connection.connection_id
        self._postgres = postgres
        self._today = run.today
        self._source: Source
        self._usage: Any = None
        self._left = 0
        self._down = 0
        self._accounts: list[Row] = []
        self._closed: frozenset[str | None] = frozenset()

    async def begin(self) -> bool:
        """Take the connection's lock; False while another census has it."""
        found = await self._postgres.execute(
            "SELECT pg_try_advisory_lock(hashtextextended('census:' || %s, 0))", (self._id,)
        )
        row = await found.fetchone()
        if row is None or not row[0]:
            return False
        oldest = self._today - dt.timedelta(days=3 * self._run.settings.census_days)
        await self._postgres.execute(_SWEEP, {"connection": self._id, "oldest": oldest})
        self._known = await self._remember()
        found = await self._postgres.execute(
            "SELECT account_id FROM ledgerlake.accounts WHERE connection_id = %s AND state <> 'open'", (self._id,)
        )
        self._closed = frozenset(account_id for (account_id,) in await found.fetchall())
        return True

    async def count(self, vault: Vault) -> None:
        """All that is due today, the dearest first, as far as the allowance goes."""
        self._left = max(self._run.settings.census_requests - self._known.spent, 0)
        provider = self._connection.provider
        stop = self._run.stopped.get(provider)
        if stop is None:
            try:
                session = self._run.clients[provider].allow(await self._secrets(vault), self._left)
            except LedgerlakeError as refused:
                stop = Misconfigured(str(refused))
            else:
                self._usage = session
                self._source = SOURCES[provider](session, self._today)
        if stop is not None:
            await self._refused(stop)
            return
        if await self._list():
            # An account that syncs know as closed answers no more, though some providers go on listing it.
            scopes = [one for one in self._source.scopes(self._accounts) if one.account_id not in self._closed]
            todo = await self._todo(scopes)
            await self._balances()
            for scope, span in todo:
                if self._down >= _DOWN:
                    break
                if span.until is not None and self._usage.requests >= self._left:
                    self._run.postponed += 1
                    continue
                await self._records(scope, span)
            self._run.overdue += await self._overdue(scopes)

    async def _list(self) -> bool:
        """The accounts, and where the same answer tells them the balances; False where there is nothing to go on from."""
        if self._is_done("accounts", None):
            self._accounts = await self._listed()
            return True
        listed: list[Row] = []
        balances: list[list[Row]] = []

        async def pages() -> AsyncIterator[list[Row]]:
            listing = await self._source.listing()
            listed.extend(listing.accounts)
            if listing.balances is not None:
                balances.append(listing.balances)
            yield listing.accounts

        if not await self._read("accounts", None, _ANY, _ANY, pages()):
            return False
        self._accounts = listed
        for rows in balances:
            await self._reading(None, rows)
        return True

    async def _balances(self) -> None:
        for account_id in self._source.balances_of(self._accounts):
            if (
                account_id in self._closed
                or self._down >= _DOWN
                or self._is_done("balances", account_id)
                or await self._postpone("balances", account_id)
            ):
                continue
            await self._reading(account_id, None)

    async def _reading(self, account_id: str | None, rows: list[Row] | None) -> None:
        async def pages() -> AsyncIterator[list[Row]]:
            yield await self._source.balance(account_id or "") if rows is None else rows

        today = Span(self._today, self._today)
        await self._read("balances", account_id, today, today, pages())

    async def _records(self, scope: Scope, span: Span) -> None:
        if await self._postpone(scope.stream, scope.account_id):
            return
        asked, now = span.widened(), recent(scope, self._today)
        pages = self._source.records(scope, asked, self._accounts)
        await self._read(scope.stream, scope.account_id, asked, span, pages, recents=now, whole_pending=scope.scarce)

    async def _todo(self, scopes: Sequence[Scope]) -> list[tuple[Scope, Span]]:
        """What is to be read by spans: the recent ones, those that were read the longest ago first, then the rotation."""
        never = dt.date.min
        todo = [
            (scope, recent(scope, self._today))
            for scope in sorted(scopes, key=lambda one: last_recent(self._past(one)) or never)
            if is_recent_due(scope, self._past(scope), self._today)
        ]
        every = await self._spans(scopes)
        ages = [read_on(span, self._past(scope)) for scope, span in every]
        days = self._run.settings.census_days
        chosen = [every[place] for place in due(every, ages, today=self._today, began=self._known.began, days=days)]
        for scope, span in chosen:
            if not scope.scarce:
                todo.append((scope, span))
            elif (scope, recent(scope, self._today)) in todo and self._may_wait(scope):
                todo.remove((scope, recent(scope, self._today)))
                newest = span.until is not None and span.until >= self._today - dt.timedelta(days=11)
                todo.append((scope, Span(span.since) if newest else span))
        return todo

    def _may_wait(self, scope: Scope) -> bool:
        """Whether what is recent of a scarce scope was read so lately that today's one request may go to the past."""
        last = last_recent(self._past(scope))
        return last is not None and (self._today - last).days <= 2

    async def _spans(self, scopes: Sequence[Scope]) -> list[tuple[Scope, Span]]:
        """The past of all scopes, cut by what the store holds."""
        months: dict[tuple[str, str | None], Counter[dt.date]] = defaultdict(Counter)
        for stream in {scope.stream for scope in scopes}:
            table = sql.Identifier("raw", f"{self._connection.provider}_{stream}")
            found = await self._postgres.execute(
                sql.SQL(_MONTHS).format(table=table), (self._connection.bucket, self._id)
            )
            for account_id, month, rows in await found.fetchall():
                months[stream, account_id][month] += rows
                if account_id is not None:
                    months[stream, None][month] += rows
        return [
            (scope, span)
            for scope in scopes
            for span in spans(scope, sorted(months[scope.stream, scope.account_id].items()), self._today)
        ]

    async def _overdue(self, scopes: Sequence[Scope]) -> list[Overdue]:
        """Days that were left out for more than two rounds."""
        limit = 2 * self._run.settings.census_days
        self._known = await self._remember()
        found = []
        for scope, span in await self._spans(scopes):
            last = read_on(span, self._past(scope))
            if (self._today - (last or self._known.began)).days > limit:
                provider = self._connection.provider
                found.append(Overdue(self._id, provider, scope.stream, scope.account_id, span.since, span.until, last))
        return found

    async def _postpone(self, stream: str, account_id: str | None) -> bool:
        """Whether the provider's own budget leaves nothing for us today."""
        found = await self._postgres.execute(
            "SELECT cursor FROM ledgerlake.cursors WHERE connection_id = %s AND stream = %s AND account_id = %s",
            (self._id, stream, account_id or ""),
        )
        row = await found.fetchone()
        calls = self._known.calls[stream, account_id]
        if self._source.postponed(row[0] if row else None, self._today, calls) is None:
            return False
        self._run.postponed += 1
        return True

    async def _read(
        self,
        stream: str,
        account_id: str | None,
        asked: Span,
        span: Span,
        pages: AsyncIterator[list[Row]],
        *,
        recents: Span | None = None,
        whole_pending: bool = False,
    ) -> bool:
        """Make one read and store what it shows; True when it came to its end."""
        named: dict[str, Any] = {
            "census": self._run.census_id,
            "connection": self._id,
            "stream": stream,
            "account": account_id,
            "today": self._today,
            "asked_since": asked.since,
            "asked_until": asked.until,
            "whole_pending": whole_pending,
        }
        found = await self._postgres.execute(_BEGIN, named)
        begun = await found.fetchone()
        assert begun is not None
        named["read"] = begun[0]
        before, received, rows = self._usage.requests, self._usage.bytes, 0
        oldest: dt.date | None = None
        outcome: Outcome = "done"
        error: str | None = None
        try:
            async for page in pages:
                await self._store(begun[0], stream, rows, page)
                rows += len(page)
                days = [row.record_date for row in page if row.record_date is not None]
                oldest = min([*days, oldest or dt.date.max])
        except Spent:
            outcome, error = "budget", self._no_more()
        except (Retryable, Busy, BadData) as trouble:
            outcome, error = "failed", trouble.message
            self._stop(trouble)
        except ConnectorError as trouble:
            outcome, error = "refused", trouble.message
            self._stop(trouble)
        except psycopg.DataError as trouble:
            outcome, error = (
                "failed",
                f"expected records that PostgreSQL can hold, found {trouble.diag.message_primary}",
            )
        except (psycopg.OperationalError, psycopg.InterfaceError):
            raise
        except Exception as bug:
            outcome, error = "failed", f"a fault of Ledgerlake: {type(bug).__name__}; see the log"
            _log.exception("census read failed", connection=self._id, stream=stream)
        if recents is not None:
            span = answered(span, None if oldest == dt.date.max else oldest, recents)
        requests = self._usage.requests - before
        self._down = self._down + 1 if outcome == "failed" else 0
        self._known.calls[stream, account_id] += requests > 0
        named |= {
            "since": span.since,
            "until": span.until,
            "requests": requests,
            "bytes": self._usage.bytes - received,
            "rows": rows if outcome == "done" else 0,
            "outcome": outcome,
            "error": error,
        }
        async with self._postgres.transaction():
            await self._postgres.execute(_END, named)
            if outcome == "done":
                await self._postgres.execute(_REPLACE, named)
            else:
                await self._postgres.execute("DELETE FROM ledgerlake.census_records WHERE read_id = %(read)s", named)
        told = Read(
            self._id, self._connection.provider, stream, account_id, span.since, span.until, outcome, requests,
            named["rows"], error,
        )  # fmt: skip
        self._run.done(told, named["bytes"])
        return outcome == "done"

    async def _store(self, read_id: int, stream: str, position: int, page: Sequence[Row]) -> None:
        async with self._postgres.cursor() as cursor, cursor.copy(_COPY) as copy:
            for number, row in enumerate(page, position):
                digest = hashlib.sha256(row.payload.encode()).digest()[:16]
                await copy.write_row(
                    (
                        read_id, number, self._id, stream, row.account_id, _clean(row.record_id), row.record_date,
                        row.pending, row.payload, uuid.UUID(bytes=digest),
                    )
                )  # fmt: skip

    async def _refused(self, stop: ConnectorError) -> None:
        """Nothing of this connection can be asked."""
        self._usage = _Nothing()

        await self._read("accounts", None, _ANY, _ANY, _nothing(stop))

    def _stop(self, trouble: ConnectorError) -> None:
        if trouble.scope == "provider":
            self._run.stopped.setdefault(self._connection.provider, trouble)

    def _no_more(self) -> str:
        return (
            f"expected to read it within {self._run.settings.census_requests} requests of this connection a day, found none"
            f" left: raise {variable('census_requests')}, or it waits for another day"
        )

    def _past(self, scope: Scope) -> list[Past]:
        return self._known.past.get((scope.stream, scope.account_id), [])

    def _is_done(self, stream: str, account_id: str | None) -> bool:
        return any(one.on == self._today for one in self._known.past.get((stream, account_id), []))

    async def _remember(self) -> _Known:
        async with self._postgres.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(
                "SELECT stream, account_id, asked_since, asked_until, today, requests, outcome FROM ledgerlake.census_reads"
                " WHERE connection_id = %s AND today <= %s",
                (self._id, self._today),
            )
            rows = await cursor.fetchall()
        past: dict[tuple[str, str | None], list[Past]] = defaultdict(list)
        calls: Counter[tuple[str, str | None]] = Counter()
        for row in rows:
            key = row["stream"], row["account_id"]
            if row["outcome"] == "done":
                past[key].append(Past(Span(row["asked_since"], row["asked_until"]), row["today"]))
            calls[key] += row["today"] == self._today and row["requests"] > 0
        spent = sum(row["requests"] for row in rows if row["today"] == self._today)
        return _Known(dict(past), calls, spent, min((row["today"] for row in rows), default=self._today))

    async def _listed(self) -> list[Row]:
        """The accounts as an earlier census of today listed them."""
        found = await self._postgres.execute(
            """
            SELECT record_id, account_id, record_date, pending, payload::text FROM ledgerlake.census_records
            WHERE connection_id = %s AND stream = 'accounts' ORDER BY read_id, position
            """,
            (self._id,),
        )
        return [Row(*row) for row in await found.fetchall()]

    async def _secrets(self, vault: Vault) -> dict[str, SecretStr]:
        found = await self._postgres.execute(
            "SELECT ciphertext FROM ledgerlake.secrets WHERE connection_id = %s", (self._id,)
        )
        row = await found.fetchone()
        if row is None:
            raise LedgerlakeError(f"{self._id} has no secrets; connect it again with `ledgerlake connect`.")
        return dict(vault.open(self._id, bytes(row[0])))


async def _nothing(stop: ConnectorError) -> AsyncIterator[list[Row]]:
    """No pages, for that reason."""
    pages: tuple[list[Row], ...] = ()
    for page in pages:
        yield page
    raise stop


class _Nothing:
    """What was used where nothing was asked."""

    requests = 0
    bytes = 0


def _clean(text: str | None) -> str | None:
    """An id as PostgreSQL can hold it; a NUL names no row for good."""
    return None if text is None or "\0" in text else text


def _lost(error: Exception) -> ServerError:
    return ServerError(
        f"PostgreSQL went away during the census ({type(error).__name__}): what was read to its end stays."
    )


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
