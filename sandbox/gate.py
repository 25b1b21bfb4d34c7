"""The gate before a provider: counts its requests, asks for certificates, and carries out the `faults` that strike.

A fault that replaces the answer never reaches the provider; one that spoils the answer changes the provider's true bytes.
"""

import asyncio
import re
import socket
import struct
from collections import Counter
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode

import msgspec
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox._dice import digest
from sandbox.faults import Fault, Faults
from sandbox.provider import Provider

TRANSPORT = "sandbox.transport"
"""The scope's extension that holds the connection's transport, put there by the sandbox's server."""
MTLS = "sandbox.mtls"
"""The scope's extension that is there on the listener that wants client certificates."""
_ID = re.compile(r"/[a-z]+_[a-z0-9]{10,}[^/]*")
_ROWS = re.compile(r"/transactions$")
_RESET = struct.pack("ii", 1, 0)


class Requests:
    """How often each path was asked, for tests of frugality."""

    def __init__(self) -> None:
        self.paths: Counter[str] = Counter()
        self.routes: Counter[str] = Counter()

    def count(self, method: str, provider: str, path: str) -> None:
        """Count one request, by its path and by its route (ids replaced)."""
        self.paths[f"{method} /{provider}{path}"] += 1
        self.routes[f"{method} /{provider}{_ID.sub('/{id}', path)}"] += 1

    def clear(self) -> None:
        """Count from zero."""
        self.paths.clear()
        self.routes.clear()


class Gate:
    """An ASGI application that stands before a provider's."""

    def __init__(self, app: ASGIApp, provider: Provider, faults: Faults, requests: Requests) -> None:
        self._app = app
        self._provider = provider
        self._faults = faults
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        self._requests.count(scope["method"], self._provider.name, path)
        extensions = scope.get("extensions") or {}
        if MTLS in extensions and not _has_certificate(extensions[TRANSPORT]):
            status, body = self._provider.missing_certificate()
            await _json(status, body)(scope, receive, send)
            return
        fault = self._faults.strike(path, self._provider.token(scope))
        if fault is None:
            await self._app(scope, receive, send)
        elif fault.kind == "reset":
            _reset(extensions.get(TRANSPORT))
            while (await receive())["type"] != "http.disconnect":
                pass
        elif (instead := self._instead(fault)) is not None:
            await instead(scope, receive, send)
        else:
            await self._spoil(fault, scope, receive, send)

    def _instead(self, fault: Fault) -> Response | None:
        match fault.kind:
            case "rate_limited":
                response = _json(429, self._provider.rate_limited())
                if fault.retry_after is not None:
                    response.headers["retry-after"] = f"{fault.retry_after:g}"
                return response
            case "error":
                return _json(fault.status, self._provider.failed(fault.status))
            case "disconnected":
                return _json(*self._provider.disconnected(fault.reason))
            case "account_closed":
                return _json(*self._provider.account_closed(fault.reason))
            case "html":
                page = "<!DOCTYPE html><html><body><h1>We are down for maintenance</h1></body></html>"
                return Response(page, 200, media_type="text/html")
            case "empty":
                return _json(200, b"")
            case _:
                return None

    async def _spoil(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        if fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
            await self._app(scope, receive, send)
            return
        if fault.kind == "endless_page":
            # The page after any row is the first page again.
            kept = [(k, v) for k, v in parse_qsl(scope["query_string"].decode()) if k != "from_id"]
            await self._app({**scope, "query_string": urlencode(kept).encode()}, receive, send)
            return
        status, body = await self._answer(scope, receive)
        if status == 200:
            body = _spoilt(fault, scope["path"], body, self._provider.token(scope))
        await _json(status, body)(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, bytes]:
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self._app(scope, receive, keep)
        body = b"".join(m.get("body", b"") for m in messages if m["type"] == "http.response.body")
        return messages[0]["status"], body


def _spoilt(fault: Fault, path: str, body: bytes, token: str | None) -> bytes:
    if fault.kind == "truncated":
        return body[: len(body) // 2]
    if fault.kind == "bad_utf8":
        cut = body.find(b'":"') + 3
        return body[:cut] + b"\xff\xfe" + body[cut:]
    if not _ROWS.search(path):
        return body
    rows = msgspec.json.decode(body, type=list[msgspec.Raw])
    if fault.kind == "short_page":
        return msgspec.json.encode(rows[: len(rows) // 2])
    if rows:
        return b"[" + b",".join([_bad_row(fault, bytes(rows[0]), token), *map(bytes, rows)]) + b"]"
    return body


def _bad_row(fault: Fault, first: bytes, token: str | None) -> bytes:
    """A row like the page's first, of an id of its own, with what is wrong."""
    row: dict[str, Any] = msgspec.json.decode(first)
    owner = token if fault.row == "shared_id" else row["id"]
    row["id"] = f"{row['id'][:7]}{digest(15, 'bad', fault.row, owner)}000"
    match fault.row:
        case "missing_id":
            del row["id"]
        case "missing_amount":
            del row["amount"]
        case "nan":
            row["amount"] = "NaN"
        case "1e400":
            row["amount"] = "1e400"
        case "nine_decimals":
            row["amount"] = "12.123456789"
        case "february_30":
            row["date"] = f"{row['date'][:4]}-02-30"
        case "nul":
            row["description"] = f"NUL\0{row['description']}"
        case "wrong_type":
            row["amount"] = {"value": 12}
        case "shared_id":
            row["id"] = f"txn_{digest(18, 'shared', token)}000"
    return msgspec.json.encode(row)


def _json(status: int, body: bytes) -> Response:
    return Response(body, status, media_type="application/json")


def _has_certificate(transport: asyncio.Transport) -> bool:
    return bool(transport.get_extra_info("ssl_object").getpeercert())


def _reset(transport: asyncio.Transport | None) -> None:
    if transport is None:
        raise RuntimeError("the fault `reset` needs the sandbox's own server: start it with `sandbox.Server`")
    # Without lingering, closing a socket tells the peer "connection reset" instead of an end.
    cast("socket.socket", transport.get_extra_info("socket")).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()
