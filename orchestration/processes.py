"""`python -m orchestration up` and `down`: Dagster's UI and daemon and the console, in front or left running.

Belongs here: which processes there are, their environment, and finding them again. Does not belong here: the servers
themselves (``ledgerlake.local``), what the daemon then runs (``jobs``, ``sensors``).
"""

import contextlib
import os
import socket
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

import typer
from pydantic import SecretStr

from ledgerlake.errors import ServerError
from ledgerlake.local import Child, keep, servers, stop
from ledgerlake.people import BOOTSTRAP, People
from ledgerlake.settings import Settings, load, variable
from ledgerlake.store import Store, require_current
from orchestration import instance

PORT = 3000
CONSOLE_PORT = 3100

_WORKSPACE = """\
load_from:
  - python_module:
      module_name: orchestration.definitions
      location_name: ledgerlake
"""
_UI = "dagster-webserver"
_DAEMON = "dagster-daemon"
_CONSOLE = "console"


def up(*, detach: bool) -> None:
    """Start what does not run yet, and print where UI and console are; without `detach`, stop it all at Ctrl-C.

    Raises:
        ServerError: a server or process did not come up; with the last line of its log.
        SchemaError: the store does not fit the code. Nothing was started but servers.
    """
    settings = load()
    with servers(settings) as where:
        require_current(where.postgres_url, buckets=settings.buckets)
        settings = settings.model_copy(update={"buckets": Store(where.postgres_url).buckets()})
        environment = {**os.environ, **environment_of(settings), **instance.prepare(settings, where.postgres_url)}
        new = Child(settings.home, _CONSOLE).running() is None
        try:
            ui, console = _start(settings, environment)
        except BaseException:
            _stop(settings.home)
            raise
        if detach:
            keep(settings)
        typer.echo(f"Dagster's UI: {ui}\nConsole: {console}")
        if new and settings.oidc_issuer is None and (password := People(Store(where.postgres_url)).bootstrap()):
            # To people, and not into what scripts read of stdout.
            typer.echo(f"Sign in to the console as {BOOTSTRAP} with the one-time password {password}", err=True)
        typer.echo(f"{'`ledgerlake down`' if detach else 'Ctrl-C'} stops them.")
        if detach:
            return
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


def _start(settings: Settings, environment: Mapping[str, str]) -> tuple[str, str]:
    """All processes, new or found; the addresses of the UI and the console."""
    home = settings.home
    workspace = home / "dagster" / "workspace.yaml"
    workspace.write_text(_WORKSPACE)
    daemon, scripts = Child(home, _DAEMON), Path(sys.executable).parent
    console = _serving(
        Child(home, _CONSOLE),
        lambda port: [sys.executable, "-m", "console", "--port", str(port)],
        settings.console_port or _free_port(CONSOLE_PORT, "the console"),
        "healthz",
        environment,
    )
    # Runs write links to it into their checks.
    environment = {variable("console_url"): console, **environment}
    if daemon.running() is None:
        daemon.start([scripts / _DAEMON, "run", "--workspace", workspace], ready=lambda: True, env=environment)
    options: list[str | Path] = ["--host", "127.0.0.1", "--workspace", workspace, "--log-level", "warning"]
    ui = _serving(
        Child(home, _UI),
        lambda port: [scripts / _UI, *options, "--port", str(port)],
        _free_port(PORT, "Dagster's UI"),
        "server_info",
        environment,
    )
    return ui, console


def _serving(
    child: Child,
    command: Callable[[int], list[str | Path]],
    port: int,
    health: str,
    environment: Mapping[str, str],
) -> str:
    """A process that serves HTTP on loopback, new on that port or found on its own; its address."""
    state = child.running() or child.start(
        command(port), ready=lambda: _answers(port, health), env=environment, ports={"http": port}, seconds=120
    )
    return f"http://127.0.0.1:{state.ports['http']}"


def _watch(home: Path) -> NoReturn:
    """Until Ctrl-C, or until one of them ends by itself."""
    while True:
        for name in (_UI, _DAEMON, _CONSOLE):
            if Child(home, name).running() is None:
                raise ServerError(f"{name} ended by itself. Its log: {home / f'{name}.log'}")
        time.sleep(1)


def _stop(home: Path) -> bool:
    """The daemon first, so that it starts no run whose UI is gone."""
    stopped = [Child(home, name).stop() for name in (_DAEMON, _UI, _CONSOLE)]
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


def _free_port(first: int, of: str) -> int:
    """That port, or the next one that is free."""
    for port in range(first, first + 100):
        with contextlib.closing(socket.socket()) as found:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                found.bind(("127.0.0.1", port))
                return port
    raise ServerError(f"No port from {first} to {first + 99} is free for {of}. Stop what listens there.")


def _answers(port: int, health: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{health}", timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False
