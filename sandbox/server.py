"""Serving the application on loopback, plain and with mutual TLS, from the command line or in a thread of a test."""

import asyncio
import contextlib
import ipaddress
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from sandbox.app import PROVIDERS, create_app
from sandbox.certificates import Certificates, certificates
from sandbox.clock import Clock
from sandbox.gate import MTLS, TRANSPORT
from sandbox.world import World


class CannotListen(Exception):  # noqa: N818 - reads as the sentence it carries
    """The address cannot be listened on; the message says why and what to do."""


class _Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """Uvicorn's HTTP, letting the application see the connection's transport: to reset it, or read its certificate."""

    app: ASGIApp
    mtls = False

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self.app = _with_extensions(self.app, {TRANSPORT: transport, **({MTLS: True} if self.mtls else {})})


class _MtlsProtocol(_Protocol):
    mtls = True


def _with_extensions(app: ASGIApp, extensions: dict[str, Any]) -> ASGIApp:
    async def extended(scope: Scope, receive: Receive, send: Send) -> None:
        scope["extensions"] = {**(scope.get("extensions") or {}), **extensions}
        await app(scope, receive, send)

    return extended


class _Uvicorn(uvicorn.Server):
    """A server that leaves signals to who runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Server:
    """A sandbox that listens from the moment it is made, and answers inside `with` (in a thread) or in `run`.

    `port` 0 is a free port. `mtls` is a directory for certificates: a second listener then asks for a client certificate
    and answers 400 without one. Without `expose` only a loopback address is taken, for the control endpoints ask nobody
    who he is. Raises CannotListen.
    """

    def __init__(
        self,
        world: World,
        clock: Clock,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        mtls: Path | None = None,
        expose: bool = False,
    ) -> None:
        if not expose and not _is_loopback(host):
            raise CannotListen(
                f"The sandbox listens on loopback only, not on {host!r}: use 127.0.0.1, ::1 or localhost, or --expose"
                " inside a container."
            )
        app = create_app(world, clock)
        self.certificates: Certificates | None = None
        self._plain = _listen(host, port)
        self._servers = [(_Uvicorn(_config(app, _Protocol)), self._plain)]
        self._secure: socket.socket | None = None
        if mtls is not None:
            self.certificates = certificates(mtls)
            self._secure = _listen(host, 0)
            self._servers.append((_Uvicorn(_config(app, _MtlsProtocol, self.certificates)), self._secure))
        self._thread = threading.Thread(target=self.run, name="sandbox", daemon=True)
        self._answers = threading.Event()

    @property
    def url(self) -> str:
        """The address of the plain listener, without a path."""
        return f"http://{_address(self._plain)}"

    @property
    def teller_url(self) -> str:
        """Teller's base URL."""
        return f"{self.url}/teller"

    @property
    def control_url(self) -> str:
        """The base URL of the control endpoints."""
        return f"{self.url}/_sandbox"

    def where(self) -> dict[str, Any]:
        """Everything a client needs to know: base URL, credentials, webhook secrets (joined by commas) and the browser's
        addresses a provider, the control URL, and the secure side."""
        found: dict[str, Any] = {f"{kind.name}_url": f"{self.url}/{kind.name}" for kind in PROVIDERS}
        found |= {f"{kind.name}_credentials": dict(kind.credentials) for kind in PROVIDERS if kind.credentials}
        found |= {
            f"{kind.name}_webhook_secrets": ",".join(kind.webhook_secrets) for kind in PROVIDERS if kind.webhook_secrets
        }
        for kind in PROVIDERS:
            found |= {f"{kind.name}_{name}": f"{self.url}/{kind.name}{path}" for name, path in kind.pages.items()}
        found["control_url"] = self.control_url
        if self._secure is not None and self.certificates is not None:
            secure = f"https://{_address(self._secure)}"
            found["mtls"] = {
                **{f"{kind.name}_url": f"{secure}/{kind.name}" for kind in PROVIDERS},
                "ca": str(self.certificates.ca),
                "certificate": str(self.certificates.client),
                "private_key": str(self.certificates.client_key),
            }
        return found

    def run(self, when_ready: "Callable[[Server], None] | None" = None) -> None:
        """Serve until `stop`, or until SIGTERM or SIGINT when called in the main thread."""
        asyncio.run(self._serve(when_ready))

    def stop(self) -> None:
        """Let `run` return once open requests are answered; may be called from any thread."""
        for server, _ in self._servers:
            server.should_exit = True

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._answers.wait(30):
            raise RuntimeError("the sandbox did not begin to answer within 30 s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._thread.join()

    async def _serve(self, when_ready: "Callable[[Server], None] | None") -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, self.stop)
        serving = [asyncio.create_task(server.serve([sock])) for server, sock in self._servers]
        while not all(server.started for server, _ in self._servers):
            if any(task.done() for task in serving):
                break
            await asyncio.sleep(0.005)
        else:
            self._answers.set()
            if when_ready is not None:
                when_ready(self)
        await asyncio.gather(*serving)


def _config(app: Starlette, protocol: type[Any], files: Certificates | None = None) -> uvicorn.Config:
    secure: dict[str, Any] = {}
    if files is not None:
        secure = {
            "ssl_certfile": str(files.server),
            "ssl_keyfile": str(files.server_key),
            "ssl_ca_certs": str(files.ca),
            "ssl_cert_reqs": ssl.CERT_OPTIONAL,
        }
    return uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
        **secure,
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named so that asyncio turns Nagle off: without it each answer waits 40 ms for the client.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(512)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
        raise CannotListen(
            f"The sandbox cannot listen on {host} port {port}: {reason}. "
            "Stop what listens there, or use --port 0 for a free port."
        ) from None
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
