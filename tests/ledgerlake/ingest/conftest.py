"""What the tests of ingest share: a Teller that says exactly what a test wants, the sandbox, and the store looked into."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
import stamina
import uvicorn
from psycopg import sql
from psycopg.rows import dict_row
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response

import sandbox
from ledgerlake.ingest import SyncReport, sync
from ledgerlake.settings import Settings
from ledgerlake.store import Store, Vault

TODAY = dt.date(2026, 3, 1)
STREAMS = ("accounts", "balances", "transactions", "details", "identity")


@pytest.fixture(autouse=True)
def _retries_do_not_wait() -> Iterator[None]:
    """Retries as configured but for the pauses between them, and three of them at most."""
    stamina.set_testing(True, attempts=3, cap=True)
    yield
    stamina.set_testing(False)


class Bank:
    """One enrollment at the scripted Teller: its accounts and their rows are what a test makes of them.

    A row is a mapping, or bytes that are sent as they are; rows come newest first, those that are bytes before all others.
    """

    def __init__(self, token: str, enrollment: str) -> None:
        self.token = token
        self.enrollment = enrollment
        self.accounts: dict[str, dict[str, Any]] = {}
        self.rows: dict[str, list[dict[str, Any] | bytes]] = {}
        self.balances: dict[str, str] = {}
        self.heard: list[str] = []
        self.page_cap = 500
        self.say: Callable[[str, dict[str, str]], Any] = lambda path, query: None
        """Asked before anything else: None goes on, (status, body) answers in place, a callable answers instead."""

    def account(self, account_id: str = "acc_1", *, streams: Sequence[str] = ("balances", "transactions")) -> None:
        """Add an open account, which lists links for those streams."""
        links = {"self": f"https://api.teller.io/accounts/{account_id}"}
        links |= {stream: f"{links['self']}/{stream}" for stream in streams}
        self.accounts[account_id] = {
            "id": account_id,
            "type": "depository",
            "status": "open",
            "currency": "USD",
            "institution": {"id": "security_cu", "name": "Security Credit Union"},
            "links": links,
        }
        self.rows.setdefault(account_id, [])
        self.balances[account_id] = "10.00"

    def add(
        self,
        row_id: str,
        day: str,
        amount: str = "1.00",
        *,
        status: str = "posted",
        account: str = "acc_1",
        **more: object,
    ) -> dict[str, Any]:
        """Add a row, and hand it back to be changed."""
        row = {"id": row_id, "account_id": account, "date": day, "amount": amount, "status": status, **more}
        self.rows[account].append(row)
        return row

    def drop(self, row_id: str, account: str = "acc_1") -> dict[str, Any]:
        """The provider shows it no more."""
        for row in self.rows[account]:
            if isinstance(row, dict) and row["id"] == row_id:
                self.rows[account].remove(row)
                return row
        raise AssertionError(f"there is no {row_id}")

    def shown(self, account: str) -> list[bytes]:
        """The account's rows as they are listed, byte for byte."""
        broken = [row for row in self.rows[account] if isinstance(row, bytes)]
        dated = sorted((row for row in self.rows[account] if isinstance(row, dict)), key=_newest_first, reverse=True)
        return [*broken, *map(written, dated)]

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, bytes]:
        """What a Teller that keeps its protocol says."""
        parts = path.strip("/").split("/")
        match parts:
            case ["accounts"]:
                return 200, b"[" + b",".join(map(written, self.accounts.values())) + b"]"
            case ["identity"]:
                owned = [{"account": account, "owners": []} for account in self.accounts.values()]
                return 200, json.dumps(owned).encode()
            case ["accounts", account, *_] if account not in self.accounts:
                return refused(404, "not_found")
            case ["accounts", account, "balances"]:
                return 200, json.dumps({"account_id": account, "ledger": self.balances[account]}).encode()
            case ["accounts", account, "details"]:
                return 200, json.dumps({"account_id": account, "account_number": "1"}).encode()
            case ["accounts", account, "transactions"]:
                return self._list(account, query)
            case ["accounts", account, "transactions", row_id]:
                found = [row for row in self.rows[account] if isinstance(row, dict) and row.get("id") == row_id]
                return (200, written(found[0])) if found else refused(404, "not_found")
        return refused(404, "not_found")

    def _list(self, account: str, query: dict[str, str]) -> tuple[int, bytes]:
        rows = [(_of(row), row) for row in self.shown(account)]
        if "start_date" in query:
            rows = [(told, row) for told, row in rows if str(told.get("date", "9999")) >= query["start_date"]]
        if "from_id" in query:
            ids = [told.get("id") for told, _ in rows]
            if query["from_id"] not in ids:
                return refused(404, "not_found")
            rows = rows[len(ids) - ids[::-1].index(query["from_id"]) :]
        page = [row for _, row in rows[: min(int(query.get("count", "500")), self.page_cap)]]
        return 200, b"[" + b",\n ".join(page) + b"]"


def written(row: Mapping[str, Any]) -> bytes:
    """A row as this server writes it: with spaces, keys out of order and text beyond ASCII, so that bytes are proved."""
    return json.dumps(dict(sorted(row.items(), reverse=True)), ensure_ascii=False, separators=(" , ", ":  ")).encode()


def _newest_first(row: dict[str, Any]) -> tuple[str, str]:
    return str(row.get("date")), str(row.get("id"))


def _of(row: bytes) -> dict[str, Any]:
    try:
        told = json.loads(row.decode("utf-8", "replace"))
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def refused(status: int, code: str, message: str = "no") -> tuple[int, bytes]:
    """Teller's words for an error."""
    return status, json.dumps({"error": {"code": code, "message": message}}).encode()


@dataclass
class Scripted:
    """The server of the scripted banks: which one answers is told by the access token."""

    url: str = ""
    banks: dict[str, Bank] = field(default_factory=dict)
    in_flight: int = 0
    most_in_flight: int = 0
    order: list[str] = field(default_factory=list)

    def bank(self, name: str = "enr_1") -> Bank:
        """A new enrollment, and its token."""
        bank = Bank(f"token_canary_{name}", name)
        self.banks[bank.token] = bank
        return bank

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        path, query = scope["path"], dict(parse_qsl(scope["query_string"].decode()))
        user = _user(request.headers.get("authorization", ""))
        bank = self.banks.get(user)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if bank is None:
                await Response(b"{}", 403)(scope, receive, send)
                return
            bank.heard.append(path + ("?" + scope["query_string"].decode() if query else ""))
            self.order.append(bank.enrollment)
            told = bank.say(path, query)
            if asyncio.iscoroutine(told):
                told = await told
            status, body = told if told is not None else bank.answer(path, query)
            await Response(body, status, media_type="application/json")(scope, receive, send)
        finally:
            self.in_flight -= 1


def _user(header: str) -> str:
    return base64.b64decode(header.removeprefix("Basic ")).decode().removesuffix(":") if header else ""


@pytest.fixture(scope="session")
def _listening() -> Iterator[tuple[str, list[Scripted]]]:
    """One listener for the whole run; each test's own server stands behind it."""
    current: list[Scripted] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await current[-1](scope, receive, send)

    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error", access_log=False, ws="none"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", current
    server.should_exit = True
    thread.join()


@pytest.fixture
def server(_listening: tuple[str, list[Scripted]]) -> Scripted:
    url, current = _listening
    current[:] = [Scripted(url)]
    return current[0]


@pytest.fixture
def bank(server: Scripted) -> Bank:
    """The enrollment enr_1 with one empty account, acc_1."""
    bank = server.bank()
    bank.account()
    return bank


@dataclass
class Desk:
    """Whoever runs Ledgerlake: connects customers, syncs, and looks into PostgreSQL."""

    store: Store
    settings: Settings
    vault: Vault

    def connect(self, token: str, enrollment: str = "enr_1", customer: str = "acme") -> str:
        """Connect an enrollment; the connection's id."""
        secrets = {"access_token": SecretStr(token), "enrollment_id": SecretStr(enrollment)}
        found, _ = self.store.add_connection(
            self.vault, provider="teller", external_id=enrollment, customer_id=customer, secrets=secrets
        )
        return found.connection_id

    def sync(self, today: dt.date | str = TODAY, **options: Any) -> SyncReport:
        """One sync on that day."""
        day = today if isinstance(today, dt.date) else dt.date.fromisoformat(today)
        return asyncio.run(sync(self.store, self.settings, today=day, **options))

    def query(self, text: str, *parameters: object) -> list[dict[str, Any]]:
        with self.store.connect() as connection, connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(text, parameters).fetchall()  # type: ignore[arg-type]

    def one(self, text: str, *parameters: object) -> Any:
        """The single value of a query."""
        (row,) = self.query(text, *parameters)
        (value,) = row.values()
        return value

    def rows(self, stream: str = "transactions") -> dict[str, dict[str, Any]]:
        """Every row of a stream by its id, with the payload as text."""
        query = sql.SQL("SELECT *, payload::text AS text FROM {} ORDER BY record_id")
        with self.store.connect() as connection, connection.cursor(row_factory=dict_row) as cursor:
            found = cursor.execute(query.format(sql.Identifier("raw", f"teller_{stream}"))).fetchall()
        return {row["record_id"]: row for row in found}

    def current(self, connection_id: str | None = None) -> dict[str, bytes]:
        """The payload of each current transaction, of all connections or of one."""
        return {
            row["record_id"]: row["text"].encode()
            for row in self.query(
                """SELECT record_id, payload::text AS text FROM raw.teller_transactions
                WHERE removed_at IS NULL AND (%s::text IS NULL OR connection_id = %s)""",
                *(connection_id, connection_id),
            )
        }

    def marks(self) -> dict[str, str | None]:
        """Each transaction's mark: None is current."""
        return {record_id: row["removed_reason"] for record_id, row in self.rows().items()}

    def history(self, record_id: str) -> list[dict[str, Any]]:
        return self.query(
            "SELECT *, payload::text AS text FROM raw.history WHERE record_id = %s ORDER BY version", record_id
        )

    def quarantine(self) -> list[tuple[str | None, bytes, str, int, bool]]:
        """(id, payload, reason, times, released) of all, in the order in which they came."""
        return [
            (row["record_id"], bytes(row["payload"]), row["reason"], row["times"], row["released_at"] is not None)
            for row in self.query("SELECT * FROM raw.quarantine ORDER BY quarantine_id")
        ]

    def physical(self) -> dict[str, tuple[Any, ...]]:
        """Where and by whom each raw row was last written, history and quarantine included, with the revisions."""
        found: dict[str, tuple[Any, ...]] = {}
        for table in (*(f"teller_{stream}" for stream in STREAMS), "history"):
            query = sql.SQL("SELECT tableoid::regclass, xmin, xmax, ctid FROM {} ORDER BY 1, 4")
            with self.store.connect() as connection:
                rows = connection.execute(query.format(sql.Identifier("raw", table))).fetchall()
            found[table] = tuple(rows)
        found["revision"] = tuple(self.store.bucket_revisions().items())
        return found

    def assert_receipts_agree(self) -> None:
        """Each row stands in one receipt as new, each superseded version in one as changed."""
        for stream in STREAMS:
            said = self.query(
                "SELECT coalesce(sum(new), 0)::int AS rows, coalesce(sum(changed), 0)::int AS versions "
                "FROM ledgerlake.receipts WHERE stream = %s",
                stream,
            )
            held = {
                "rows": self.one(f"SELECT count(*)::int FROM raw.teller_{stream}"),
                "versions": self.one("SELECT count(*)::int FROM raw.history WHERE stream = %s", stream),
            }
            assert said == [held], stream


@pytest.fixture
def desk(store: Store, settings: Settings, vault: Vault, server: Scripted) -> Desk:
    """A desk in front of the scripted server."""
    settings = settings.model_copy(update={"teller_url": server.url, "teller_requests_per_second": 1e6})
    return Desk(store, settings, vault)


def ids_hash(ids: Sequence[str]) -> uuid.UUID:
    """What a receipt must say, computed from the description of the table alone."""
    return uuid.UUID(bytes=hashlib.blake2b(b"".join(one.encode() + b"\0" for one in ids), digest_size=16).digest())


@pytest.fixture
def independent_ids_hash() -> Callable[[Sequence[str]], uuid.UUID]:
    return ids_hash


@pytest.fixture
def refuse() -> Callable[..., tuple[int, bytes]]:
    return refused


@pytest.fixture
def wire() -> Callable[[Mapping[str, Any]], bytes]:
    """A row's bytes as the scripted server sends them."""
    return written


@dataclass
class Town:
    """A sandbox with its truth, and the desk that syncs from it."""

    server: sandbox.Server
    desk: Desk
    connections: dict[str, str] = field(default_factory=dict)
    """Access token by connection."""

    def control(self, method: str, path: str, body: object = None) -> Any:
        answer = httpx.request(method, self.server.control_url + path, json=body, timeout=60)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def connect_all(self) -> None:
        for customer in self.control("GET", "/customers"):
            if customer["provider"] != "teller":
                continue
            secrets = customer["secrets"]
            connection = self.desk.connect(secrets["access_token"], secrets["enrollment_id"], customer["customer_id"])
            self.connections[connection] = secrets["access_token"]

    def truth(self, connection_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.control("GET", f"/truth?token={self.connections[connection_id]}")
        return found

    def assert_true(self) -> None:
        """The store's current rows are what the sandbox holds, of every connection that can be read."""
        for connection_id in self.connections:
            truth = self.truth(connection_id)
            held = {
                (row["account_id"], row["record_id"]): (row["date"], row["status"], row["text"])
                for row in self.desk.query(
                    """SELECT account_id, record_id, payload->>'date' AS date, payload->>'status' AS status,
                              payload->>'description' AS text
                    FROM raw.teller_transactions WHERE connection_id = %s AND removed_at IS NULL""",
                    connection_id,
                )
            }
            expected = {
                (account["id"], row["id"]): (row["date"], row["status"], row["description"])
                for account in truth["accounts"]
                for row in account["transactions"]
            }
            assert held == expected, connection_id


@pytest.fixture
def town(request: pytest.FixtureRequest, store: Store, settings: Settings, vault: Vault) -> Iterator[Town]:
    """A sandbox of its own with all its customers connected; an indirect parameter tells its size."""
    options = getattr(request, "param", {"customers": 3, "years": 1})
    world = sandbox.World.of(seed=7, today=TODAY, **options)
    with sandbox.Server(world, sandbox.Clock(TODAY)) as server:
        settings = settings.model_copy(update={"teller_url": server.teller_url, "teller_requests_per_second": 1e6})
        town = Town(server, Desk(store, settings, vault))
        town.connect_all()
        yield town


SYNC = """
import asyncio, datetime, resource, sys, time
from ledgerlake.ingest import sync
from ledgerlake.settings import Settings
from ledgerlake.store import Store
settings = Settings()
store = Store(settings.postgres_url.get_secret_value())
print("ready", flush=True)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.monotonic()
report = asyncio.run(sync(store, settings, today=datetime.date.fromisoformat(sys.argv[1])))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(report.counts.new, report.counts.records, time.monotonic() - started, before, peak, flush=True)
"""


@pytest.fixture
def child() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a sync in a process of its own, which says "ready" as it begins."""
    started: list[subprocess.Popen[str]] = []

    def start(settings: Settings, today: dt.date = TODAY) -> subprocess.Popen[str]:
        assert settings.postgres_url is not None
        environment = {
            "PATH": os.environ["PATH"],
            "LEDGERLAKE_HOME": str(settings.home),
            "LEDGERLAKE_POSTGRES_URL": settings.postgres_url.get_secret_value(),
            "LEDGERLAKE_SECRET_KEYS": ",".join(key.get_secret_value() for key in settings.secret_keys),
            "LEDGERLAKE_TELLER_URL": settings.teller_url,
            "LEDGERLAKE_TELLER_REQUESTS_PER_SECOND": "1000000",
        }
        process = subprocess.Popen(
            [sys.executable, "-c", SYNC, today.isoformat()],
            cwd=Path(__file__).parents[3],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
