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
from ledgerlake.errors import LedgerlakeError, ServerError, UsageError
from ledgerlake.ingest._reader import Range, Reader, Tally, outcome_of
from ledgerlake.ingest._report import ConnectionResult, Counts, Event, Outcome, Progress, SyncReport
from ledgerlake.ingest._writer import Writer
from ledgerlake.settings import Settings
from ledgerlake.store import Connection, Store, Vault

_log = structlog.get_logger(__name__)


async def sync(
    store: Store,
    settings: Settings,
    *,
    providers: Sequence[str] | None = None,
    connections: Sequence[str] | None = None,
    since: dt.date | None = None,
    full: bool = False,
    today: dt.date | None = None,
    progress: Progress | None = None,
) -> SyncReport:
    """Fetch what is new from every active connection, or from those providers and connections.

    `since` reads everything dated that day or later again, `full` everything; neither moves a cursor. `today` is the
    day it is, for windows and readings. Connections that were never synced come first.

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
            raise UsageError(f"There is no connection {connection_id}; `ledgerlake connections` lists them.")
    chosen.sort(key=lambda one: (one.last_synced_at is not None, one.last_synced_at, one.connection_id))
    span = Range(today or dt.datetime.now(dt.UTC).date(), since, full)
    started = time.monotonic()
    run = _Run(store, Vault.of(settings), span, settings, len(chosen), progress)
    async with AsyncExitStack() as stack:
        for provider in {one.provider for one in chosen if one.state == "active"}:
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
    """How to call that provider, by the settings."""
    match provider:
        case "teller":
            return ClientConfig(
                base_url=settings.teller_url,
                certificate=settings.teller_certificate,
                private_key=settings.teller_private_key,
                requests_per_second=settings.teller_requests_per_second,
            )
        case "plaid":
            return ClientConfig(
                base_url=settings.plaid_url,
                requests_per_second=settings.plaid_requests_per_second,
                credentials=_given(client_id=settings.plaid_client_id, secret=settings.plaid_secret),
            )
        case "stripe":
            return ClientConfig(base_url=settings.stripe_url, requests_per_second=settings.stripe_requests_per_second)
        case "gocardless":
            return ClientConfig(
                base_url=settings.gocardless_url,
                requests_per_second=settings.gocardless_requests_per_second,
                credentials=_given(secret_id=settings.gocardless_secret_id, secret_key=settings.gocardless_secret_key),
            )
        case "tink":
            return ClientConfig(
                base_url=settings.tink_url,
                requests_per_second=settings.tink_requests_per_second,
                credentials=_given(client_id=settings.tink_client_id, client_secret=settings.tink_client_secret),
            )
    raise UsageError(f"There is no provider {provider}; known: {', '.join(sorted(PROVIDERS))}.")


def _given(**credentials: SecretStr | None) -> dict[str, SecretStr]:
    """Those of the application's credentials that are set."""
    return {name: secret for name, secret in credentials.items() if secret is not None}


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
                return replace(result, error=refused)
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


def _why(state: str, reason: str | None) -> str:
    return f"{state}: {reason or 'no reason was given'}"


async def _refused(postgres: AsyncConnection, connection: Connection) -> str | None:
    """Why the connection is not to be called, by its state at this moment."""
    cursor = await postgres.execute(
        "SELECT state, reason FROM ledgerlake.connections WHERE connection_id = %s", (connection.connection_id,)
    )
    state, reason = await cursor.fetchone() or ("gone", "it was deleted")
    return None if state == "active" else _why(state, reason)


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
                WHERE connection_id = %(id)s AND state = 'active'
                """,
                {"id": result.connection_id, "state": result.outcome, "reason": result.error},
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
