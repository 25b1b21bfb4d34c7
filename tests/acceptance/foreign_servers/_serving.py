"""A protocol over HTTP, on the standard library's server."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

Tables = Mapping[str, Sequence[tuple[object, ...]]]
"""The published rows that a query must find; decimals and days as text."""

Said = tuple[int, Any] | tuple[int, Any, Mapping[str, str]]
"""An answer: status, body (JSON text, or what JSON is made of), headers."""


@dataclass(frozen=True)
class Asked:
    """A request: `query` has every value of a repeated key, names of `headers` are in lower case."""

    method: str
    path: str
    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, str]
    body: bytes

    def one(self, name: str) -> str | None:
        """The value of a key that may be given once."""
        (value,) = self.query.get(name, [None])
        return value

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}

    def __str__(self) -> str:
        query = "&".join(f"{name}={','.join(values)}" for name, values in sorted(self.query.items()))
        return f"{self.method} {self.path}{'?' if query else ''}{query}"


class Foreign(Protocol):
    """A provider's server with what a reader of its documentation expects: first of one day, then of another."""

    secrets: Mapping[str, str]
    credentials: Mapping[str, str]
    path: str
    """What of the base URL comes behind the host."""
    first: Tables
    second: Tables

    def __call__(self, asked: Asked) -> Said: ...

    def go_on(self) -> None:
        """It is the second day."""
        ...

    def check(self) -> None:
        """What must be true of the requests that it had."""
        ...


@contextlib.contextmanager
def serving(answer: Callable[[Asked], Said]) -> Iterator[str]:
    """Serve a protocol on this machine; gives its base URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def respond(self) -> None:
            url = urlsplit(self.path)
            answered = answer(
                Asked(
                    self.command,
                    url.path,
                    parse_qs(url.query, keep_blank_values=True),
                    {name.lower(): value for name, value in self.headers.items()},
                    self.rfile.read(int(self.headers.get("Content-Length", 0))),
                )
            )
            status, body = answered[:2]
            sent = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            for name, value in {
                "Content-Type": "application/json",
                **(answered[2] if len(answered) > 2 else {}),
            }.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = respond  # noqa: N815 (the standard library's names)

        def log_message(self, *told: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join(10)
