"""The gate before a provider: counts its requests, asks for certificates, and carries out the `faults` that strike.

A fault that replaces the answer never reaches the provider; one that spoils the answer changes the provider's true bytes.
"""

import asyncio
import re
import socket
import struct
from collections import Counter
from typing import cast
from urllib.parse import parse_qsl, urlencode

import msgspec
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.faults import Fault, Faults
from sandbox.provider import Provider

TRANSPORT = "sandbox.transport"
"""The scope's extension that holds the connection's transport, put there by the sandbox's server."""
MTLS = "sandbox.mtls"
"""The scope's extension that is there on the listener that wants client certificates."""
BODY = "sandbox.body"
"""Where the scope that a provider sees holds the body of a POST, since some providers' tokens are in it."""
_ID = re.compile(r"/(?:[a-z]+_[a-z0-9]{10,}[^/]*|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22})(?=/|$)")
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
        if scope["method"] == "POST":
            body = await _body(receive)
            scope, receive = {**scope, BODY: body}, _again(body, receive)
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
            kept = [(k, v) for k, v in parse_qsl(scope["query_string"].decode()) if k != self._provider.page_parameter]
            if sent := scope.get(BODY):
                sent = _without(self._provider.page_parameter, sent)
                scope, receive = {**scope, BODY: sent}, _again(sent, receive)
            await self._app({**scope, "query_string": urlencode(kept).encode()}, receive, send)
            return
        status, body = await self._answer(scope, receive)
        if status == 200:
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            body = _spoilt(fault, self._provider, path, body, self._provider.token(scope))
        await _json(status, body)(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, bytes]:
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self._app(scope, receive, keep)
        body = b"".join(m.get("body", b"") for m in messages if m["type"] == "http.response.body")
        return messages[0]["status"], body


def _spoilt(fault: Fault, provider: Provider, path: str, body: bytes, token: str | None) -> bytes:
    if fault.kind == "truncated":
        return body[: len(body) // 2]
    if fault.kind == "bad_utf8":
        cut = body.find(b'":"') + 3
        return body[:cut] + b"\xff\xfe" + body[cut:]
    found = provider.rows(path, body)
    if found is None or not found.rows:
        return body
    if fault.kind == "short_page":
        return found._replace(rows=found.rows[: len(found.rows) // 2]).body()
    return found._replace(rows=[provider.bad_row(fault, found.rows[0], token), *found.rows]).body()


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    """Receive that body, and then whatever else there is to receive."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again


def _without(name: str, body: bytes) -> bytes:
    """The JSON object without that member; any other body as it is."""
    try:
        sent = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        return body
    sent.pop(name, None)
    return msgspec.json.encode(sent)


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
