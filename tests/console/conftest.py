"""The console over a test's own store, asked without a socket, or served by uvicorn in a thread."""

import asyncio
import contextlib
import hashlib
import hmac
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

import httpx
import psycopg
import pytest
import uvicorn
from psycopg.rows import dict_row
from pydantic import SecretStr

from console import create_app
from console.server import config, listen
from ledgerlake.settings import Settings

SECRETS = ("canary-old-secret", "canary-new-secret")


@pytest.fixture
def anyio_backend() -> str:
    """The only event loop that the product runs on."""
    return "asyncio"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The test's own servers, and secrets of webhooks for all but Stripe."""
    secrets = tuple(map(SecretStr, SECRETS))
    return settings.model_copy(update={"teller_webhook_secrets": secrets, "tink_webhook_secrets": secrets})


Ask = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def ask(settings: Settings, postgres_url: str) -> Ask:
    """`async with ask(url=…) as client`: a client of the application while it is open."""

    @contextlib.asynccontextmanager
    async def client(url: str = postgres_url, **changed: Any) -> AsyncIterator[httpx.AsyncClient]:
        app = create_app(settings.model_copy(update=changed), url)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://c") as made,
        ):
            yield made

    return client


class _Uvicorn(uvicorn.Server):
    """A server that leaves signals to who runs the tests."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@pytest.fixture
def served(settings: Settings, postgres_url: str) -> Callable[..., AbstractContextManager[str]]:
    """`with served(**settings) as url`: the console on a port of its own."""

    @contextlib.contextmanager
    def serve(**changed: Any) -> Iterator[str]:
        server = _Uvicorn(config(create_app(settings.model_copy(update=changed), postgres_url)))
        with listen("127.0.0.1", 0) as listener:
            thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
            thread.start()
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                server.should_exit = True
                thread.join()

    return serve


@pytest.fixture
def signed() -> Callable[..., dict[str, str]]:
    """`signed(body, header=…, secret=…, ago=…)`: the header that proves a body."""

    def sign(body: bytes, header: str = "Teller-Signature", secret: str = SECRETS[0], ago: int = 0) -> dict[str, str]:
        at = int(time.time()) - ago
        value = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
        return {header: f"t={at},v1={value}"}

    return sign


@pytest.fixture
def events(postgres_url: str) -> Callable[[], list[dict[str, Any]]]:
    """The events that are kept, as `provider`, `event_id`, `kind`, `fault` and whether they are handled."""

    def all_of_them() -> list[dict[str, Any]]:
        with psycopg.connect(postgres_url, row_factory=dict_row) as postgres:
            return postgres.execute(
                """
                SELECT provider, event_id, kind, fault, handled_at IS NOT NULL AS handled
                FROM ledgerlake.webhook_events ORDER BY received_at, event_id
                """
            ).fetchall()

    return all_of_them
