"""
A listening HTTP server that says whatever a test wants, down to the bytes on the wire.

Not here: any provider's protocol.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

Say = Callable[..., Any]
"""
What a server says to a request: (status, body[, headers]), the body bytes or a value for JSON; bytes for the wire as they
are, after which it hangs up; None to reset the connection. Or an awaitable of one of these, or, with a second parameter,
the awaitable of one who writes on the wire himself.
"""


@dataclass(frozen=True)
class Heard:
    """One request as the server got it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))


@dataclass
class Server:
    """A listening server. `say` may be replaced at any time."""

    url: str
    say: Say = field(repr=False)
    heard: list[Heard] = field(default_factory=list, repr=False)
    connections: int = 0
    in_flight: int = 0
    most_in_flight: int = 0

    @property
    def targets(self) -> list[str]:
        return [heard.target for heard in self.heard]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                line, *lines = head.decode("latin-1").strip().split("\r\n")
                method, target, _ = line.split(" ")
                headers = {k.lower(): v for k, v in (one.split(": ", 1) for one in lines)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                heard = Heard(method, target, headers, body)
                self.heard.append(heard)
                self.in_flight += 1
                self.most_in_flight = max(self.most_in_flight, self.in_flight)
                try:
                    alone = len(inspect.signature(self.say).parameters) == 1
                    answer = self.say(heard) if alone else self.say(heard, writer)
                    answer = await answer if inspect.isawaitable(answer) else answer
                finally:
                    self.in_flight -= 1
                if answer is None and alone:
                    linger = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    writer.transport.abort()
                    return
                if answer is None:
                    return
                writer.write(answer if isinstance(answer, bytes) else on_the_wire(*answer))
                await writer.drain()
                if isinstance(answer, bytes):
                    return
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()


def on_the_wire(status: int, body: Any, headers: Mapping[str, str] | None = None) -> bytes:
    """An answer as its bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"Content-Type": "application/json", "Content-Length": str(len(content)), **(headers or {})}
    lines = [f"HTTP/1.1 {status} said", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1") + content


@asynccontextmanager
async def serving(say: Say, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """A server on loopback, stopped at the end."""
    server = Server("", say)
    listening = await asyncio.start_server(server._serve, "127.0.0.1", 0, ssl=tls)
    port = listening.sockets[0].getsockname()[1]
    server.url = f"https://localhost:{port}" if tls else f"http://127.0.0.1:{port}"
    try:
        yield server
    finally:
        listening.close()
