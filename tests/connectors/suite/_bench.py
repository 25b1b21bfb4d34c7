"""
The bench that a connector is tried on: the sandbox's clock and truth, the hostile server before it, a store behind it.

Belongs here: syncing, looking into the store, moving the clock. Not here: what is right (the checks say it).
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, TypeVar
from unittest import mock

from psycopg import sql
from psycopg.rows import dict_row
from pydantic import SecretStr

import sandbox
from connectors import PROVIDERS, Account, Ask, Client, ClientConfig, Connector, Page, Session
from ledgerlake.ingest import ConnectionResult, SyncReport, sync
from ledgerlake.settings import Settings
from ledgerlake.store import Store, Vault
from sandbox.bank import Bank
from tests.connectors.suite._dialect import Dialect, Fact, Row
from tests.connectors.suite._hostile import Hostile, Trick, honest
from tests.connectors.suite._server import serving

TODAY = date(2026, 3, 2)
DAYS = 10
HISTORY = timedelta(days=40)
ROWS = 20
"""So many rows a page has at most here, that a small world has several pages."""
ENOUGH = 2000
"""More requests than any sync of so small a world may take."""

T = TypeVar("T")
Rows = dict[tuple[str, str], Row]
"""All records of a connection, by stream and id."""


class Vacuous(Exception):  # noqa: N818 - a check that proves nothing, and so neither right nor wrong
    """The world holds nothing of what a check is about: another seed is needed."""


@dataclass(frozen=True)
class Step:
    """A day of a story, after its sync: what is true, and what the store holds (`held`: what its current rows say)."""

    day: date
    outcome: str
    truth: Counter[Fact]
    held: dict[tuple[str, str], Fact]
    rows: Rows

    @property
    def held_facts(self) -> Counter[Fact]:
        """What the current rows say, and how often."""
        return Counter(self.held.values())

    def keys(self, fact: Fact) -> set[tuple[str, str]]:
        """The records that say so."""
        return {key for key, held in self.held.items() if held == fact}


class Bench:
    """One connector before one provider's hostile server. `connector` is the one on trial, the dialect's by default."""

    def __init__(
        self,
        dialect: Dialect,
        connector: type[Connector],
        store: Store,
        settings: Settings,
        vault: Vault,
        stories: dict[type[Connector], list[Step]],
    ) -> None:
        self.dialect = dialect
        self.connector = connector
        self.store = store
        self.today = TODAY
        self._settings = settings
        self._vault = vault
        self._stories = stories
        self._url = ""
        self._connected: dict[str, Mapping[str, Any]] = {}
        self.restart()

    def restart(self) -> None:
        """A sandbox that knows nothing of what was asked before, on the bench's day, and an honest server before it."""
        world = sandbox.World(self.dialect.seed, max(self.dialect.customers) + 1, TODAY - HISTORY)
        self._clock = sandbox.Clock(self.today)
        self.hostile = Hostile(
            sandbox.create_app(world, self._clock),
            self.dialect.sandbox(Bank(world, self._clock)),
            self.dialect.size,
            rows=ROWS,
        )

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Bench]:
        """Serve."""
        async with serving(lambda heard: self.hostile(heard)) as server:
            self._url = server.url
            yield self

    @contextmanager
    def playing(self, trick: Trick) -> Iterator[None]:
        """The hostile server plays this trick meanwhile."""
        self.hostile.trick = trick
        try:
            yield
        finally:
            self.hostile.trick = honest

    # The sandbox.

    async def control(self, method: str, path: str, **body: object) -> Any:
        """An answer of the sandbox's control endpoints."""
        answer = await self.hostile.ask(method, f"/_sandbox{path}", {}, json.dumps(body).encode())
        assert answer.status < 300, answer.body
        return json.loads(answer.body) if answer.body else None

    def let_pass(self, days: int) -> None:
        """So many days pass."""
        self.today += timedelta(days=days)
        self._clock.set(self.today)

    async def customer(self, which: int = 0) -> Mapping[str, Any]:
        """The dialect's customer, as the sandbox tells it: connection_id, secrets."""
        name = f"customer-{self.dialect.customers[which] + 1:05}"
        for one in await self.control("GET", "/customers"):
            if (one["provider"], one["customer_id"]) == (self.dialect.name, name):
                found: Mapping[str, Any] = one
                return found
        raise LookupError(f"the sandbox has no connection of {name} at {self.dialect.name}")

    async def truth(self, connection_id: str) -> Counter[Fact]:
        """What a perfect client holds of a connection."""
        there = self._connected[connection_id]["connection_id"]
        return Counter(self.dialect.facts(await self.control("GET", f"/truth?connection_id={there}")))

    # The connector alone.

    @asynccontextmanager
    async def session(self, which: int = 0, *, attempts: int = 3) -> AsyncIterator[Session]:
        """A session of a customer."""
        told = (await self.customer(which))["secrets"]
        secrets = {name: SecretStr(value) for name, value in told.items()}
        credentials = {name: SecretStr(value) for name, value in self.dialect.sandbox.credentials.items()}
        config = ClientConfig(base_url=self._url, requests_per_second=1e6, attempts=attempts, credentials=credentials)
        async with Client(config) as client:
            yield client.session(secrets)

    async def pages(self, session: Session) -> AsyncIterator[tuple[str, str | None, Page]]:
        """Everything that the connector reads for the first time: stream and account that were asked for, and the page."""
        connector = self.connector(session)
        page, accounts = await connector.accounts(self.today)
        yield "accounts", None, page
        for stream in connector.streams:
            asked: list[Account | None] = [None]
            if stream.scope == "account":
                asked = [one for one in accounts if stream.name in one.streams]
            for account in asked if stream.name != "accounts" else []:
                ask = Ask(today=self.today, account=account, known=_Nothing())
                async for page in connector.read(stream.name, ask):
                    yield stream.name, account.id if account else None, page

    # The store.

    async def connect(self, which: int = 0, connection_id: str | None = None) -> str:
        """A new connection of a customer, or the same one again, as after a new login; its id."""
        told = await self.customer(which)
        external = uuid.uuid4().hex if connection_id is None else self.store.connection(connection_id).external_id
        connection, _ = self.store.add_connection(
            self._vault,
            provider=self.dialect.name,
            external_id=external,
            customer_id=told["customer_id"],
            secrets={name: SecretStr(value) for name, value in told["secrets"].items()},
        )
        self._connected[connection.connection_id] = told
        return connection.connection_id

    async def sync(
        self, *connections: str, connector: type[Connector] | None = None, requests: int = ENOUGH, full: bool = False
    ) -> SyncReport:
        """A sync; AssertionError as soon as it has made more requests than that."""
        name = self.dialect.name
        credentials = {f"{name}_{one}": SecretStr(value) for one, value in self.dialect.sandbox.credentials.items()}
        known = {f"{name}_url": self._url, f"{name}_requests_per_second": 1e6, **credentials}
        settings = self._settings.model_copy(update=known)
        on_trial = {**PROVIDERS, name: connector or self.connector}
        with mock.patch("ledgerlake.ingest._sync.PROVIDERS", on_trial):
            work = sync(self.store, settings, connections=connections, today=self.today, full=full)
            return await self.within(requests, work)

    async def done(self, connection_id: str) -> ConnectionResult:
        """A sync that comes to its end."""
        (result,) = (await self.sync(connection_id)).connections
        assert (result.outcome, result.error) == ("done", None)
        return result

    async def within(self, requests: int, work: Awaitable[T]) -> T:
        """What the work gives; AssertionError as soon as it has made more requests than that."""
        self.hostile.limit = len(self.hostile.heard) + requests
        self.hostile.exceeded.clear()
        task, over = asyncio.ensure_future(work), asyncio.create_task(self.hostile.exceeded.wait())
        try:
            await asyncio.wait({task, over}, return_when=asyncio.FIRST_COMPLETED)
            if not self.hostile.exceeded.is_set():
                return task.result()
        finally:
            over.cancel()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        raise AssertionError(f"expected at most {requests} requests, found that more are made")

    async def killed(self, connection_id: str, pages: int | None) -> int:
        """A sync that is killed after so many pages, or is not (None); how many there were."""
        there = 0
        tasks: list[asyncio.Task[SyncReport]] = []

        async def turn() -> None:
            nonlocal there
            if there == pages:
                tasks[0].cancel()
                await asyncio.Event().wait()
            there += 1

        class Dying(self.connector):  # type: ignore[misc, name-defined]
            async def accounts(self, today: date) -> Any:
                found = await super().accounts(today)
                await turn()
                return found

            async def read(self, stream: str, ask: Ask) -> AsyncIterator[Page]:
                async for page in super().read(stream, ask):
                    await turn()
                    yield page

        tasks.append(asyncio.create_task(self.sync(connection_id, connector=Dying)))
        await asyncio.wait(tasks)
        if not tasks[0].cancelled():
            tasks[0].result()
        return there

    def query(self, text: str, *parameters: object) -> list[dict[str, Any]]:
        """Rows of a query."""
        with self.store.connect() as connection, connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(text, parameters).fetchall()

    def rows(self, connection_id: str) -> Rows:
        """All records that the store holds of a connection."""
        return {
            (stream, row["record_id"]): Row(row["text"].encode(), row["pending"], row["version"], row["removed_reason"])
            for stream, row in self._raw(
                connection_id, "record_id, payload::text AS text, pending, version, removed_reason"
            )
        }

    def places(self, connection_id: str) -> list[object]:
        """Where and by whom each row was last written, those of the history and the connection's revision as well."""
        history = "SELECT xmin::text, ctid::text FROM raw.history WHERE connection_id = %s"
        revision = "SELECT revision FROM ledgerlake.connections WHERE connection_id = %s"
        raw = self._raw(connection_id, "record_id, tableoid, xmin::text, xmax::text, ctid::text")
        return [*raw, *self.query(history, connection_id), *self.query(revision, connection_id)]

    def quarantine(self, connection_id: str) -> list[bytes]:
        """The payloads that are set aside."""
        found = self.query("SELECT payload FROM raw.quarantine WHERE connection_id = %s", connection_id)
        return [bytes(row["payload"]) for row in found]

    def held(self, rows: Rows) -> dict[tuple[str, str], Fact]:
        """What the current ones of these rows say."""
        told = {}
        for (stream, record_id), row in rows.items():
            if row.removed is None:
                found = self.dialect.fact(stream, json.loads(row.payload, parse_float=Decimal, parse_int=Decimal), row)
                if found is not None:
                    told[stream, record_id] = found
        return told

    def _raw(self, connection_id: str, columns: str) -> Iterator[tuple[str, dict[str, Any]]]:
        with self.store.connect() as connection, connection.cursor(row_factory=dict_row) as cursor:
            for stream in self.dialect.connector.streams:
                table = sql.Identifier("raw", f"{self.dialect.name}_{stream.name}")
                query = sql.SQL("SELECT {} FROM {} WHERE connection_id = %s ORDER BY record_id").format(
                    sql.SQL(columns),
                    table,
                )
                for row in cursor.execute(query, (connection_id,)):
                    yield stream.name, row

    # Both together.

    async def assert_true(self, connection_id: str) -> None:
        """The store's current rows are what a perfect client holds."""
        held, truth = Counter(self.held(self.rows(connection_id)).values()), await self.truth(connection_id)
        assert list(held - truth) == [], "held, and not true"
        assert list(truth - held) == [], "true, and not held"

    async def story(self) -> list[Step]:
        """What came of a connection that was synced on each of some days, told once for all checks."""
        if self.connector not in self._stories:
            await self.live()
        return self._stories[self.connector]

    async def live(self) -> tuple[str, list[Step]]:
        """A connection that is synced on each of some days, and what came of it on each."""
        connection_id, steps = await self.connect(), []
        for number in range(DAYS + 1):
            self.let_pass(int(number > 0))
            report = await self.sync(connection_id)
            rows = self.rows(connection_id)
            truth = await self.truth(connection_id)
            steps.append(Step(self.today, report.connections[0].outcome, truth, self.held(rows), rows))
        self._stories[self.connector] = steps
        return connection_id, steps


class _Nothing:
    """A store that holds nothing yet."""

    async def oldest_pending(self) -> date | None:
        return None

    async def newest_before(self, day: date) -> date | None:
        return None
