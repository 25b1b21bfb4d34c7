"""`python -m orchestration up` and `down`: Dagster's UI and daemon over the servers, in front or left running.

Belongs here: which processes there are, their environment, and finding them again. Does not belong here: the servers
themselves (``ledgerlake.local``), what the daemon then runs (``jobs``, ``sensors``).
"""

import contextlib
import os
import socket
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import typer
from pydantic import SecretStr

from ledgerlake.errors import ServerError
from ledgerlake.local import Child, keep, servers, stop
from ledgerlake.settings import Settings, load, variable
from ledgerlake.store import Store, require_current
from orchestration import instance

PORT = 3000

_WORKSPACE = """\
load_from:
  - python_module:
      module_name: orchestration.definitions
      location_name: ledgerlake
"""
_UI = "dagster-webserver"
_DAEMON = "dagster-daemon"


def up(*, detach: bool) -> None:
    """Start what does not run yet, and print where the UI is; without `detach`, stop it all at Ctrl-C.

    Raises:
        ServerError: a server or process did not come up; with the last line of its log.
        SchemaError: the store does not fit the code. Nothing was started but servers.
    """
    settings = load()
    with servers(settings) as where:
        require_current(where.postgres_url, buckets=settings.buckets)
        settings = settings.model_copy(update={"buckets": Store(where.postgres_url).buckets()})
        environment = {**os.environ, **environment_of(settings), **instance.prepare(settings, where.postgres_url)}
        try:
            url = _start(settings.home, environment)
        except BaseException:
            _stop(settings.home)
            raise
        if detach:
            keep(settings)
            typer.echo(f"Dagster's UI: {url} (`ledgerlake down` stops it)")
            return
        typer.echo(f"Dagster's UI: {url} (Ctrl-C stops it)")
        try:
            _watch(settings.home)
        finally:
            _stop(settings.home)


def down() -> None:
    """Stop what runs; nothing running is fine."""
    settings = load()
    ran = _stop(settings.home)
    stop(settings)
    typer.echo("Stopped." if ran else "Nothing was running.")


def _start(home: Path, environment: Mapping[str, str]) -> str:
    """Both processes, new or found; the UI's address."""
    workspace = home / "dagster" / "workspace.yaml"
    workspace.write_text(_WORKSPACE)
    daemon, ui = Child(home, _DAEMON), Child(home, _UI)
    scripts = Path(sys.executable).parent
    if daemon.running() is None:
        daemon.start([scripts / _DAEMON, "run", "--workspace", workspace], ready=lambda: True, env=environment)
    state = ui.running()
    if state is None:
        port = _free_port()
        command: list[str | Path] = [
            scripts / _UI,
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--workspace",
            workspace,
        ]
        state = ui.start(
            [*command, "--log-level", "warning"],
            ready=lambda: _answers(port),
            env=environment,
            ports={"http": port},
            seconds=120,
        )
    return f"http://127.0.0.1:{state.ports['http']}"


def _watch(home: Path) -> NoReturn:
    """Until Ctrl-C, or until one of them ends by itself."""
    while True:
        for name in (_UI, _DAEMON):
            if Child(home, name).running() is None:
                raise ServerError(f"{name} ended by itself. Its log: {home / f'{name}.log'}")
        time.sleep(1)


def _stop(home: Path) -> bool:
    """The daemon first, so that it starts no run whose UI is gone."""
    stopped = [Child(home, name).stop() for name in (_DAEMON, _UI)]
    return any(stopped)


def environment_of(settings: Settings) -> Mapping[str, str]:
    """What was set, as environment variables: the processes have another working directory, with no .env in it."""
    return {
        variable(name): _text(getattr(settings, name))
        for name in (*settings.model_fields_set, "buckets")
        if getattr(settings, name) is not None
    }


def _text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        return ",".join(_text(one) for one in value)
    return str(value.absolute() if isinstance(value, Path) else value)


def _free_port() -> int:
    """The well-known one, or the next that is free."""
    for port in range(PORT, PORT + 100):
        with contextlib.closing(socket.socket()) as found:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                found.bind(("127.0.0.1", port))
                return port
    raise ServerError(f"No port from {PORT} to {PORT + 99} is free for Dagster's UI. Stop what listens there.")


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False
