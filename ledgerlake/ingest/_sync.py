"""A sync: many connections at once, each under its lock, one bad one stopping no other."""

import asyncio
import datetime as dt
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

import psycopg
import structlog
from psycopg import AsyncConnection
from pydantic import SecretStr

from connectors import PROVIDERS, Client, ClientConfig, ConnectorError, Misconfigured
from ledgerlake.errors import LedgerlakeError, NotThere, ServerError, UsageError
from ledgerlake.ingest._reader import Range, Reader, Stopped, Tally, outcome_of
from ledgerlake.ingest._report import ConnectionResult, Counts, Event, Outcome, Progress, SyncReport
from ledgerlake.ingest._writer import Writer
from ledgerlake.settings import Settings, variable
from ledgerlake.store import Connection, Store, Vault

_log = structlog.get_logger(__name__)


async def sync(
    store: Store,
    settings: Settings,
    *,
    providers: Sequence[str] | None = None,
    connections: Sequence[str] | None = None,
    accounts: Sequence[str] | None = None,
    since: dt.date | None = None,
    full: bool = False,
    today: dt.date | None = None,
    progress: Progress | None = None,
) -> SyncReport:
    """Fetch what is new from every active connection, or from those providers and connections.

    `since` reads everything dated that day or later again, `full` everything; neither moves a cursor. `accounts` are the
    provider's ids of those whose own streams are read, by default all. `today` is the day it is, for windows and readings. Connections that were never synced come first.

    Raises:
        UsageError: an unknown provider or connection.
        ServerError: PostgreSQL went away; what was committed stays, and the next sync goes on from there.
    """
    for name in providers or ():
        if name not in PROVIDERS:
            raise UsageError(f"There is no provider {name}; known: {', '.join(sorted(PROVIDERS))}.")
    chosen = store.connections(ids=connections, providers=providers)
    for connection_id in connections or ():
        if connection_id not in {one.connection_id for one in chosen}:
            raise NotThere(f"There is no connection {connection_id}; `ledgerlake connections` lists them.")
    chosen.sort(key=lambda one: (one.last_synced_at is not None, one.last_synced_at, one.connection_id))
    span = Range(
        today or dt.datetime.now(dt.UTC).date(), since, full, frozenset(accounts) if accounts is not None else None
    )
    started = time.monotonic()
    run = _Run(store, Vault.of(settings), span, settings, len(chosen), progress)
    run.off = switched_off(store, settings)
    async with AsyncExitStack() as stack:
        for provider in {one.provider for one in chosen if one.state == "active"} - run.off.keys():
            try:
                run.clients[provider] = await stack.enter_async_context(Client(client_config(settings, provider)))
            except ConnectorError as error:
                run.stopped[provider] = error
        slots = asyncio.Semaphore(settings.sync_concurrency)

        async def one(connection: Connection) -> ConnectionResult:
            async with slots:
                return run.done(await run.connection(connection))

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(connection)) for connection in chosen]
        except BaseExceptionGroup as group:
            raise _first(group) from None
    return SyncReport(tuple(task.result() for task in tasks), time.monotonic() - started)


def client_config(settings: Settings, provider: str) -> ClientConfig:
    """How to call that provider, by the settings that begin with its name; those that are secret are its credentials."""
    if provider not in PROVIDERS:
        raise UsageError(f"There is no provider {provider}; known: {', '.join(sorted(PROVIDERS))}.")
    given = {name.removeprefix(f"{provider}_"): value for name, value in settings if name.startswith(f"{provider}_")}
    return ClientConfig(
        base_url=given["url"],
        certificate=given.get("certificate"),
        private_key=given.get("private_key"),
        requests_per_second=given["requests_per_second"],
        credentials={name: value for name, value in given.items() if isinstance(value, SecretStr)},
    )


def switched_off(store: Store, settings: Settings) -> dict[str, str]:
    """The providers that are not to be called at all, by the settings or by `ledgerlake pause --provider`, and why."""
    off = {name: f"{variable(f'{name}_enabled')} is false" for name in PROVIDERS if not settings.enabled(name)}
    paused = {name: one for name, one in store.providers().items() if one.state == "paused"}
    return off | {name: f"all of {name}: {one.reason}" for name, one in paused.items()}


@dataclass
class _Run:
    """What all connections of one sync share."""

    store: Store
    vault: Vault
    span: Range
    settings: Settings
    total: int
    progress: Progress | None
    clients: dict[str, Client] = field(default_factory=dict)
    stopped: dict[str, ConnectorError] = field(default_factory=dict)
    off: dict[str, str] = field(default_factory=dict)
    finished: int = 0
    records: int = 0

    def stored(self, counts: Counts) -> None:
        self.records += counts.records
        self._tell(None)

    def done(self, result: ConnectionResult) -> ConnectionResult:
        self.finished += 1
        self._tell(result)
        return result

    def _tell(self, result: ConnectionResult | None) -> None:
        if self.progress is not None:
            self.progress(Event(self.finished, self.total, self.records, result))

    async def connection(self, connection: Connection) -> ConnectionResult:
        """Sync one connection. Only what concerns all of them is raised."""
        result = ConnectionResult(connection.connection_id, connection.customer_id, connection.provider, "skipped")
        if connection.state != "active":
            return replace(result, error=_why(connection.state, connection.reason))
        if (off := self.off.get(connection.provider)) is not None:
            return replace(result, error=_why("paused", off))
        if (stop := self.stopped.get(connection.provider)) is not None:
            return replace(result, outcome=outcome_of(stop), error=stop.message)
        started = time.monotonic()
        async with await AsyncConnection.connect(
            self.store.postgres_url, autocommit=True, connect_timeout=10
        ) as postgres:
            if not await _lock(postgres, connection.connection_id):
                return replace(result, outcome="busy", error="another sync of it has been running for 30 s")
            # It may be another connection by now: another sync of it, or a person, has just let it go.
            if (refused := await _refused(postgres, connection)) is not None:
                return replace(result, error=_why(*refused))
            if (stop := self.stopped.get(connection.provider)) is not None:
                return replace(result, outcome=outcome_of(stop), error=stop.message)
            result = await self._locked(connection, postgres, result)
        return replace(result, seconds=time.monotonic() - started)

    async def _locked(
        self, connection: Connection, postgres: AsyncConnection, result: ConnectionResult
    ) -> ConnectionResult:
        sync_id = await _begin(postgres, connection, self.span)
        try:
            secrets = self.vault.open(connection.connection_id, await _ciphertext(postgres, connection))
        except LedgerlakeError as refused:
            result = replace(result, outcome="misconfigured", error=str(refused))
            await _end(postgres, sync_id, result)
            return result
        session = self.clients[connection.provider].session(secrets)
        writer = Writer(
            postgres,
            provider=connection.provider,
            connection_id=connection.connection_id,
            bucket=connection.bucket,
            sync_id=sync_id,
        )
        await writer.prepare()
        tally = Tally()
        outcome: Outcome | None = None
        error: str | None = None
        try:
            connector = PROVIDERS[connection.provider](session)
            await Reader(connector, connection, postgres, writer, self.span, self.stored, tally).read()
        except Misconfigured as stop:
            self.stopped.setdefault(connection.provider, stop)
        except ConnectorError:
            pass  # it is in the tally
        except Stopped:
            outcome, error = await self._stopped(postgres, connection)
        except (psycopg.OperationalError, psycopg.InterfaceError):
            raise
        except Exception as bug:
            outcome, error = "failed", f"a fault of Ledgerlake: {type(bug).__name__}; see the log"
            _log.exception("sync failed", connection=connection.connection_id)
        result = replace(
            result,
            outcome=outcome or tally.outcome,
            error=error or tally.error,
            requests=session.requests,
            retries=session.retries,
            bytes=session.bytes,
            streams=dict(tally.streams),
        )
        await _end(postgres, sync_id, result)
        return result

    async def _stopped(self, postgres: AsyncConnection, connection: Connection) -> tuple[Outcome, str]:
        """What came of a sync that a change of state stopped, and the state's own words."""
        state, reason = await _refused(postgres, connection) or ("paused", "it was paused, and resumed since")
        match state:
            case "needs_reauth" | "gone":
                return state, reason or _why(state, reason)
        return "paused", _why(state, reason)


def _why(state: str, reason: str | None) -> str:
    return f"{state}: {reason or 'no reason was given'}"


async def _refused(postgres: AsyncConnection, connection: Connection) -> tuple[str, str | None] | None:
    """The state for which the connection is not to be called at this moment, its own or its provider's, and its reason."""
    cursor = await postgres.execute(
        "SELECT state, reason FROM ledgerlake.connection_states WHERE connection_id = %s", (connection.connection_id,)
    )
    state, reason = await cursor.fetchone() or ("gone", "it was deleted")
    return None if state == "active" else (state, reason)


async def _lock(postgres: AsyncConnection, connection_id: str, seconds: int = 30) -> bool:
    """The connection's advisory lock, held until the PostgreSQL connection ends, however it ends."""
    await postgres.execute(f"SET lock_timeout = '{seconds}s'")
    try:
        await postgres.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (connection_id,))
    except psycopg.errors.LockNotAvailable:
        return False
    await postgres.execute("SET lock_timeout = 0")
    return True


async def _begin(postgres: AsyncConnection, connection: Connection, span: Range) -> int:
    """A row for this sync. One without an end is a sync that was killed, since we hold the lock."""
    async with postgres.transaction():
        await postgres.execute(
            """
            UPDATE ledgerlake.syncs
            SET ended_at = now(), outcome = 'failed', error = 'it was killed before its end',
                (new, changed, unchanged, removed, quarantined) = (
                    SELECT coalesce(sum(new), 0), coalesce(sum(changed), 0), coalesce(sum(unchanged), 0),
                           coalesce(sum(removed), 0), coalesce(sum(rejected), 0)
                    FROM ledgerlake.receipts WHERE receipts.sync_id = syncs.sync_id
                )
            WHERE connection_id = %s AND ended_at IS NULL
            """,
            (connection.connection_id,),
        )
        cursor = await postgres.execute(
            "INSERT INTO ledgerlake.syncs (connection_id, today, mode, since) VALUES (%s, %s, %s, %s) RETURNING sync_id",
            (connection.connection_id, span.today, span.mode, span.since),
        )
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def _end(postgres: AsyncConnection, sync_id: int, result: ConnectionResult) -> None:
    """Write down what the sync did, and what it means for the connection, in one transaction."""
    counts = result.counts
    async with postgres.transaction():
        await postgres.execute(
            """
            UPDATE ledgerlake.syncs
            SET ended_at = now(), outcome = %(outcome)s, error = %(error)s, requests = %(requests)s, retries = %(retries)s,
                bytes = %(bytes)s, new = %(new)s, changed = %(changed)s, unchanged = %(unchanged)s,
                removed = %(removed)s, quarantined = %(quarantined)s
            WHERE sync_id = %(sync)s
            """,
            {
                "sync": sync_id,
                "outcome": result.outcome,
                "error": result.error,
                "requests": result.requests,
                "retries": result.retries,
                "bytes": result.bytes,
                **_columns(counts),
            },
        )
        if result.outcome in {"needs_reauth", "gone"}:
            await postgres.execute(
                """
                UPDATE ledgerlake.connections
                SET state = %(state)s, reason = %(reason)s, state_since = now(), revision = revision + 1
                WHERE connection_id = %(id)s AND state = 'active' AND NOT EXISTS (
                    SELECT FROM ledgerlake.secrets JOIN ledgerlake.syncs USING (connection_id)
                    WHERE sync_id = %(sync)s AND secrets.updated_at > syncs.started_at  -- repaired meanwhile
                )
                """,
                {"id": result.connection_id, "state": result.outcome, "reason": result.error, "sync": sync_id},
            )
        elif result.outcome == "done":
            await postgres.execute(
                "UPDATE ledgerlake.connections SET last_synced_at = now() WHERE connection_id = %s",
                (result.connection_id,),
            )


def _columns(counts: Counts) -> Mapping[str, int]:
    return {
        "new": counts.new,
        "changed": counts.changed,
        "unchanged": counts.unchanged,
        "removed": counts.removed,
        "quarantined": counts.quarantined,
    }


async def _ciphertext(postgres: AsyncConnection, connection: Connection) -> bytes:
    cursor = await postgres.execute(
        "SELECT ciphertext FROM ledgerlake.secrets WHERE connection_id = %s", (connection.connection_id,)
    )
    row = await cursor.fetchone()
    if row is None:
        raise LedgerlakeError(f"{connection.connection_id} has no secrets; connect it again with `ledgerlake connect`.")
    return bytes(row[0])


def _first(error: BaseException) -> BaseException:
    """What a person is told of the tasks' errors: the first one, since it stopped the others."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, psycopg.Error):
        return error
    said = (str(error).strip().splitlines() or ["it said nothing"])[0]
    if isinstance(error, psycopg.errors.DiskFull):
        said = "no space is left on its disk; free some"
    return ServerError(
        f"PostgreSQL failed during the sync: {said}. What was committed stays; the next sync goes on from there."
    )
