"""One endpoint a provider: a delivery is proved, kept, and answered, in this order and with nothing else done.

Belongs here: HTTP, from the raw bytes to the status. Does not belong here: how a delivery is proved and read
(``connectors.webhooks``), what becomes of an event (``ledgerlake.webhooks``).
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from connectors import ConnectorError
from connectors.webhooks import Delivery, Receiver, Refused
from ledgerlake.settings import Settings
from ledgerlake.webhooks import Closed, keep, receivers

MOST_BYTES = 4 * 1024 * 1024
"""Of a body: the largest that a provider documents brings some thousand transactions."""
SLOWEST = 10.0
"""Seconds for a body to come."""

_log = structlog.get_logger(__name__)


class Webhooks:
    """The endpoints as an application to mount. They answer while `open` lasts."""

    def __init__(self, settings: Settings, pool: AsyncConnectionPool[AsyncConnection]) -> None:
        self._settings = settings
        self._pool = pool
        self._receivers: Mapping[str, Receiver | Closed] = {}
        self.app = Starlette(routes=[Route("/{provider}", self._take, methods=["POST"])])

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Hold what the receivers need."""
        async with receivers(self._settings) as self._receivers:
            yield

    async def _take(self, request: Request) -> Response:
        provider = request.path_params["provider"]
        receiver = self._receivers.get(provider)
        if receiver is None:
            return _refuse(
                404, f"no webhooks are taken here of {', '.join(sorted(self._receivers))} but by their names"
            )
        if isinstance(receiver, Closed):
            _log.warning("webhook refused", provider=provider, reason=receiver.reason)
            return _refuse(503, f"webhooks of {provider} are not set up here")
        try:
            async with asyncio.timeout(SLOWEST):
                body = await _body(request)
        except TimeoutError:
            return _refuse(408, f"expected the body within {SLOWEST:.0f} s")
        except ClientDisconnect:
            return _refuse(400, "the body broke off")
        if body is None:
            _log.warning("webhook refused", provider=provider, reason=f"its body has more than {MOST_BYTES} bytes")
            return _refuse(413, f"expected at most {MOST_BYTES} bytes")
        return await self._prove(provider, receiver, Delivery(_headers(request), body, time.time()))

    async def _prove(self, provider: str, receiver: Receiver, delivery: Delivery) -> Response:
        try:
            signed_at = await receiver.verify(delivery)
        except Refused as refused:
            _log.warning("webhook refused", provider=provider, reason=str(refused))
            return _refuse(receiver.refused_status, str(refused))
        except ConnectorError as error:
            _log.warning("webhook not proved", provider=provider, reason=error.message)
            return _refuse(503, "the signature cannot be verified now")
        event = receiver.read(delivery.body, signed_at)
        if event.fault is not None:
            _log.warning("webhook cannot be read", provider=provider, event_id=event.event_id, reason=event.fault)
        try:
            async with self._pool.connection() as postgres:
                new = await keep(postgres, provider, event)
        except (psycopg.Error, PoolTimeout) as error:
            _log.error("webhook not kept", provider=provider, event_id=event.event_id, reason=type(error).__name__)
            return _refuse(503, "the event cannot be kept now")
        _log.info("webhook", provider=provider, event_id=event.event_id, kind=event.kind, new=new)
        return JSONResponse({"event": "kept" if new else "known"})


async def _body(request: Request) -> bytes | None:
    """The whole body as it came over the wire, or None as soon as it is too large."""
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told) > MOST_BYTES:
        return None
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MOST_BYTES:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _headers(request: Request) -> Mapping[str, str]:
    return {name: ",".join(request.headers.getlist(name)) for name in request.headers}


def _refuse(status: int, why: str) -> Response:
    return JSONResponse({"error": why}, status)
