"""One connection's sync: its accounts, then each stream of each, page by page into the store."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import date, timedelta

import msgspec
import structlog
from psycopg import AsyncConnection

from connectors import (
    Account,
    Ask,
    BadData,
    Connector,
    ConnectorError,
    Gone,
    Misconfigured,
    NeedsReauth,
    Page,
    Retryable,
    Stream,
)
from ledgerlake.ingest._known import Known
from ledgerlake.ingest._report import Counts, Outcome
from ledgerlake.ingest._writer import Missing, Writer
from ledgerlake.store import Connection

_log = structlog.get_logger(__name__)
_LISTED_AS_CLOSED = "the provider lists it as closed"
_NOT_LISTED = "the provider no longer lists it"
_ASK_AT_MOST = 20
# A stream that is seldom read and brought nothing, as a verification that is pending does, is due again so soon.
_EMPTY_AGAIN = 3


@dataclass(frozen=True)
class Range:
    """What a sync reads: what is new, or everything since a day again, or everything again; of all accounts, or of those."""

    today: date
    since: date | None = None
    full: bool = False
    accounts: frozenset[str] | None = None

    @property
    def mode(self) -> str:
        return "full" if self.full else "since" if self.since else "incremental"


@dataclass
class Tally:
    """What a running sync has done so far."""

    streams: dict[str, Counts] = field(default_factory=dict)
    errors: list[ConnectorError] = field(default_factory=list)
    fatal: ConnectorError | None = None
    read: int = 0

    def add(self, stream: str, counts: Counts) -> None:
        self.streams[stream] = self.streams.get(stream, Counts()) + counts

    @property
    def outcome(self) -> Outcome:
        worst = self.fatal or (self.errors[0] if self.errors else None)
        if worst is None:
            return "done"
        if self.fatal is None and self.read:
            return "partial"
        return outcome_of(worst)

    @property
    def error(self) -> str | None:
        worst = self.fatal or (self.errors[0] if self.errors else None)
        if worst is None:
            return None
        others = len(self.errors) - 1 if self.fatal is None else 0
        return worst.message + (f" (and {others} more)" if others > 0 else "")


class Stopped(Exception):  # noqa: N818 - somebody asked for it
    """The connection is no longer to be called, by the state that it has by now. What was committed stays."""


def outcome_of(error: ConnectorError) -> Outcome:
    match error:
        case NeedsReauth():
            return "needs_reauth"
        case Gone():
            return "gone"
        case Misconfigured():
            return "misconfigured"
        case Retryable():
            return "retry"
        case BadData():
            return "bad_data"
    return "failed"


class Reader:
    """Reads one connection. Whatever happens, `tally` holds what was committed."""

    def __init__(
        self,
        connector: Connector,
        connection: Connection,
        postgres: AsyncConnection,
        writer: Writer,
        span: Range,
        stored: Callable[[Counts], None],
        tally: Tally,
    ) -> None:
        self._connector = connector
        self._connection = connection
        self._postgres = postgres
        self._writer = writer
        self._span = span
        self._stored = stored
        self.tally = tally
        self._uncommitted: list[tuple[str, Counts]] = []

    async def read(self) -> None:
        """Read all that is due. A ConnectorError ends up in the tally; one of scope provider is raised, too.

        Raises:
            Stopped: the connection or its provider was paused, and this was the next page.
        """
        try:
            accounts = await self._accounts()
            for stream in self._connector.streams:
                if stream.name != "accounts" and stream.scope == "connection" and await self._due(stream, None):
                    await self._guarded(stream, None)
            await self._each(accounts)
        except ConnectorError as error:
            self.tally.fatal = error
            if error.scope == "provider":
                raise

    async def _each(self, accounts: list[Account]) -> None:
        """All accounts' streams: one account that fails does not stop the others, a bank that is down does."""
        down = 0
        for account in accounts:
            if self._span.accounts is not None and account.id not in self._span.accounts:
                continue
            for stream in self._connector.streams:
                if stream.scope != "account" or stream.name not in account.streams:
                    continue
                if not await self._due(stream, account):
                    continue
                error = await self._guarded(stream, account)
                if isinstance(error, Gone):
                    await self._account_state({}, account.id, "closed", error.code or error.message)
                    break
                # A budget of one account, or an answer about it, says nothing of the bank.
                down = down + 1 if isinstance(error, Retryable) and error.scope == "connection" else 0
                if down == 3:
                    return

    async def _guarded(self, stream: Stream, account: Account | None) -> ConnectorError | None:
        """Read one stream. What concerns more than this account is raised; the rest is noted and handed back."""
        try:
            await self._stream(stream, account)
        except ConnectorError as error:
            if error.scope == "provider" or (
                error.scope == "connection" and not isinstance(error, Retryable | BadData)
            ):
                raise
            if not isinstance(error, Gone):
                self.tally.errors.append(error)
            tell = _log.info if isinstance(error, Gone) else _log.warning
            tell(
                "stream not read to its end",
                connection=self._connection.connection_id,
                stream=stream.name,
                account=account.id if account else None,
                error=error.message,
            )
            return error
        self.tally.read += 1
        return None

    async def _accounts(self) -> list[Account]:
        """The accounts to read: listed, open, and not known as closed by an earlier answer."""
        states = await self._states()
        accounts, missing = await self._listed()
        if any(states.get(one, ("open",))[0] != "vanished" for one in missing):
            accounts, again = await self._listed()
            for account_id in sorted(missing & again):
                await self._account_state(states, account_id, "vanished", _NOT_LISTED)
        await self._institution(accounts)
        found = []
        for account in accounts:
            if account.closed:
                await self._account_state(states, account.id, "closed", _LISTED_AS_CLOSED)
                continue
            state, reason = states.get(account.id, ("open", None))
            if state != "closed" or reason == _LISTED_AS_CLOSED or self._span.full:
                await self._account_state(states, account.id, "open", None)
                found.append(account)
        return found

    async def _listed(self) -> tuple[list[Account], set[str]]:
        """The accounts as the provider lists them, and the ids of those that it listed once and does not now."""
        await self._writer.watch("accounts", None)
        page, accounts = await self._connector.accounts(self._span.today)
        await self._write(page, None)
        # A broken account that does not tell its id may be any of the missing: then nothing is known of them.
        missing = [] if self._writer.anonymous else self._writer.missing
        return accounts, {one.record_id for one in missing}

    async def _stream(self, stream: Stream, account: Account | None) -> None:
        """Read a stream to its end; where it lacks what the store holds, read it once more before believing that."""
        account_id = account.id if account else None
        cursor, unfinished = await self._cursor(stream, account_id)
        unfinished = unfinished and self._span.mode == "incremental"
        ask = Ask(
            today=self._span.today,
            account=account,
            cursor=cursor,
            since=self._span.since,
            full=self._span.full,
            known=Known(
                self._postgres,
                provider=self._connection.provider,
                stream=stream.name,
                bucket=self._connection.bucket,
                connection_id=self._connection.connection_id,
                account_id=account_id or "",
            ),
        )
        before = self.tally.streams.get(stream.name, Counts()).records
        whole = await self._pages(stream, ask, account_id)
        if not whole and unfinished:
            # A first read that was interrupted has gone on to its end; what is new since it began comes now.
            cursor, _ = await self._cursor(stream, account_id)
            ask = msgspec.structs.replace(ask, cursor=cursor)
            await self._pages(stream, ask, account_id)
        missing, anonymous = self._writer.missing, self._writer.anonymous
        if missing and await self._pages(stream, ask, account_id):
            believed = {one.record_id for one in missing}
            again = [one for one in self._writer.missing if one.record_id in believed]
            await self._removed(stream, account, again, doubtful=anonymous or self._writer.anonymous)
        read_on = self._span.today
        if stream.every_days and self.tally.streams.get(stream.name, Counts()).records == before:
            read_on -= timedelta(days=max(stream.every_days - _EMPTY_AGAIN, 0))
        await self._writer.read_to_the_end(stream.name, account_id, read_on)

    async def _pages(self, stream: Stream, ask: Ask, account_id: str | None) -> bool:
        """Read and store the stream once; True when the read was complete, so that the writer knows what it lacks."""
        await self._writer.watch(stream.name, account_id)
        complete = False
        try:
            async with contextlib.aclosing(_ahead(self._connector.read(stream.name, ask))) as pages:
                async for page in pages:
                    await self._write(page, account_id)
                    complete = complete or (page.complete is not None and page.complete.doubt == "read_again")
        finally:
            self._uncommitted.clear()
            await self._writer.roll_back()
        return complete

    async def _removed(
        self, stream: Stream, account: Account | None, missing: list[Missing], *, doubtful: bool
    ) -> None:
        """Two complete reads in a row lacked these. A posted record is asked for by its id before it is believed.

        Where many are missing a sample is asked for: one that is still there means that the reads were wrong. Reads
        that were `doubtful`, for a broken record in them told no id, are believed of no record that was not asked for; the
        rest is left to the next sync.
        """
        if account is None:
            gone = [] if doubtful else [one.record_id for one in missing]
        else:
            missing = missing[:_ASK_AT_MOST] if doubtful else missing
            asked = [one.record_id for one in missing if doubtful or not one.pending]
            there = await self._there(stream, account, asked)
            gone = [one.record_id for one in missing if one.record_id not in there]
        if gone:
            counts = await self._writer.remove(stream.name, gone)
            self.tally.add(stream.name, counts)
            self._stored(counts)

    async def _there(self, stream: Stream, account: Account, ids: list[str]) -> set[str]:
        """Which of these the provider shows when asked for them one by one, as after a move out of the window."""
        there = set()
        for record_id in ids[:_ASK_AT_MOST]:
            try:
                record = await self._connector.show(stream.name, account, record_id)
            except BadData as error:
                if error.scope != "record":
                    raise
                self.tally.errors.append(error)  # it is there, and the version that the store holds stays
                record = None
                there.add(record_id)
            if record is None and record_id not in there:
                continue
            if len(ids) > _ASK_AT_MOST:
                raise Retryable(
                    f"expected {len(ids)} records of account {account.id} in the window, found none of them in two "
                    f"reads, yet {record_id} is there when asked for: none was marked as removed, try again later",
                    scope="account",
                )
            there.add(record_id)
            if record is not None:
                shown = Page(
                    stream=stream.name, records=[record], request=f"show {record.id}", size=len(record.payload)
                )
                await self._write(shown, account.id)
        return there

    async def _write(self, page: Page, account_id: str | None) -> None:
        if page.discard:
            self._uncommitted.clear()
            await self._writer.roll_back()
            return
        self._uncommitted.append((page.stream, await self._writer.write(page, account_id=account_id)))
        if page.commit:
            for stream, counts in self._uncommitted:
                self.tally.add(stream, counts)
                self._stored(counts)
            self._uncommitted.clear()
        if not self._writer.called:
            raise Stopped

    async def _due(self, stream: Stream, account: Account | None) -> bool:
        if self._span.full or stream.every_days == 0:
            return True
        if self._span.since is not None:
            return False
        cursor = await self._postgres.execute(
            "SELECT read_on FROM ledgerlake.cursors WHERE connection_id = %s AND stream = %s AND account_id = %s",
            (self._connection.connection_id, stream.name, account.id if account else ""),
        )
        row = await cursor.fetchone()
        return row is None or row[0] is None or (self._span.today - row[0]).days >= stream.every_days

    async def _cursor(self, stream: Stream, account_id: str | None) -> tuple[dict[str, object] | None, bool]:
        """The stored cursor, and whether it is that of a first read which has not come to its end.

        Raises Stopped, for a read may cost requests before it has a page to stop at.
        """
        cursor = await self._postgres.execute(
            """
            SELECT cursor, cursor IS NOT NULL AND read_on IS NULL
            FROM ledgerlake.connection_states
            LEFT JOIN ledgerlake.cursors
                ON cursors.connection_id = connection_states.connection_id AND stream = %s AND account_id = %s
            WHERE connection_states.connection_id = %s AND connection_states.state = 'active'
            """,
            (stream.name, account_id or "", self._connection.connection_id),
        )
        row = await cursor.fetchone()
        if row is None:
            raise Stopped
        return row

    async def _institution(self, accounts: list[Account]) -> None:
        """The institution is the provider's to name: the first account that names one does."""
        for account in accounts:
            if account.institution_id or account.institution_name:
                # A NUL may stand in a text of JSON, in one of PostgreSQL it may not.
                found = [text and text.replace("\0", "") for text in (account.institution_id, account.institution_name)]
                await self._postgres.execute(
                    """
                    UPDATE ledgerlake.connections
                    SET institution_id = %(id)s, institution_name = %(name)s, revision = revision + 1
                    WHERE connection_id = %(connection)s
                      AND (institution_id, institution_name) IS DISTINCT FROM (%(id)s, %(name)s)
                    """,
                    {
                        "id": found[0],
                        "name": found[1],
                        "connection": self._connection.connection_id,
                    },
                )
                return

    async def _states(self) -> dict[str, tuple[str, str | None]]:
        """State and reason of each account that is known."""
        cursor = await self._postgres.execute(
            "SELECT account_id, state, reason FROM ledgerlake.accounts WHERE connection_id = %s",
            (self._connection.connection_id,),
        )
        return {account_id: (state, reason) for account_id, state, reason in await cursor.fetchall()}

    async def _account_state(
        self, states: dict[str, tuple[str, str | None]], account_id: str, state: str, reason: str | None
    ) -> None:
        if states.get(account_id, ("", None))[0] == state:
            return
        async with self._postgres.transaction():
            cursor = await self._postgres.execute(
                """
                INSERT INTO ledgerlake.accounts (connection_id, account_id, state, reason, since)
                VALUES (%(connection)s, %(account)s, %(state)s, %(reason)s, %(today)s)
                ON CONFLICT (connection_id, account_id) DO UPDATE
                SET state = excluded.state, reason = excluded.reason, since = excluded.since
                WHERE accounts.state <> excluded.state
                """,
                {
                    "connection": self._connection.connection_id,
                    "account": account_id,
                    "state": state,
                    "reason": reason,
                    "today": self._span.today,
                },
            )
            if cursor.rowcount:
                await self._postgres.execute(
                    "UPDATE ledgerlake.connections SET revision = revision + 1 WHERE connection_id = %s",
                    (self._connection.connection_id,),
                )


async def _ahead(pages: AsyncIterator[Page]) -> AsyncGenerator[Page, None]:
    """The same pages, the next one being fetched while the last one is stored."""
    queue: asyncio.Queue[Page | Exception | None] = asyncio.Queue(maxsize=1)

    async def fetch() -> None:
        try:
            async for page in pages:
                await queue.put(page)
            await queue.put(None)
        except Exception as error:
            await queue.put(error)

    task = asyncio.create_task(fetch())
    try:
        while (item := await queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        task.cancel()
        await asyncio.wait([task])
