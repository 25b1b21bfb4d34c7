"""Serving the application: the socket, and the server on it until a signal."""

import socket

import uvicorn
from starlette.types import ASGIApp

from ledgerlake.errors import ServerError

PORT = 3100


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises ServerError when it cannot."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(512)
    except OSError as error:
        listener.close()
        raise ServerError(
            f"The console cannot listen on {host} port {port}: {error.strerror}. "
            "Stop what listens there, or name another port in LEDGERLAKE_CONSOLE_PORT."
        ) from None
    return listener


def config(app: ASGIApp) -> uvicorn.Config:
    """How it is served: quiet, since what happens is in the log already, and gone soon after a signal."""
    return uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=5,
    )
