"""A process of ours that outlives the command which started it, and is found again by the next one.

What is known of it stands in one JSON file beside its data: pid with creation time (so that a pid the system
gave to somebody else is never mistaken for ours), and which commands use it. All reads and writes of that file
happen under one file lock, so two commands at once start one server, and the last one to leave stops it.
"""

import contextlib
import fcntl
import os
import pwd
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import msgspec
import psutil

from ledgerlake.errors import ServerError


class Process(msgspec.Struct, frozen=True):
    """A process by pid and creation time (seconds since the epoch): the pair is never used twice."""

    pid: int
    created: float

    @classmethod
    def of(cls, pid: int) -> "Process | None":
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            return cls(pid, process.create_time())
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return None

    def alive(self) -> bool:
        now = Process.of(self.pid)
        return now is not None and abs(now.created - self.created) < 0.05


class State(msgspec.Struct, forbid_unknown_fields=False):
    """What the next command must know of a server: where it is, and who uses it."""

    process: Process
    ports: dict[str, int]
    users: dict[str, Process] = {}
    keep: bool = False

    def in_use(self) -> bool:
        self.users = {token: user for token, user in self.users.items() if user.alive()}
        return self.keep or bool(self.users)


def read(path: Path) -> State | None:
    """The state in that file; a missing, cut or foreign file is no state."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=State)
    except (OSError, msgspec.DecodeError):
        return None


def write(path: Path, state: State) -> None:
    """Replace the file in one step, so that a kill -9 leaves the old or the new one."""
    aside = path.with_suffix(".new")
    aside.write_bytes(msgspec.json.encode(state))
    aside.replace(path)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on that file; the system drops it when the process dies, however it dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def free_ports(names: Sequence[str], before: Mapping[str, int] | None = None) -> dict[str, int]:
    """As many different free loopback ports as there are names.

    Args:
        before: the ports to take where they are free: those that whoever still uses the server knows.
    """
    with contextlib.ExitStack() as stack:
        found = {}
        for name in names:
            one = stack.enter_context(socket.socket())
            try:
                # Connections of the one that died linger on its port, and are nobody's.
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                one.bind(("127.0.0.1", (before or {}).get(name, 0)))
            except OSError:
                one = stack.enter_context(socket.socket())
                one.bind(("127.0.0.1", 0))
            found[name] = one.getsockname()[1]
        return found


def spawn(
    command: Sequence[str | Path], *, log: Path, env: Mapping[str, str], user: str | None = None
) -> subprocess.Popen[bytes]:
    """Start a server in a session of its own (Ctrl-C in a terminal must not reach it), logging to `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env),
            cwd=log.parent,
            start_new_session=True,
            **as_user(user),
        )


class _AsUser(TypedDict, total=False):
    user: str
    group: int
    extra_groups: list[int]


def as_user(user: str | None) -> _AsUser:
    """The arguments with which `subprocess` drops root for that user; none where there is nothing to drop."""
    return {} if user is None else _AsUser(user=user, group=pwd.getpwnam(user).pw_gid, extra_groups=[])


def wait(
    name: str, ready: Callable[[], bool], child: subprocess.Popen[bytes], log: Path, *, seconds: float = 60
) -> None:
    """Return when `ready`; raise with the end of the log when the child died or time is up."""
    deadline = time.monotonic() + seconds
    while not ready():
        code = child.poll()
        if code is not None or time.monotonic() > deadline:
            child.kill()
            child.wait()
            happened = f"ended with code {code}" if code is not None else f"did not answer in {seconds:.0f} s"
            raise ServerError(f"The embedded {name} {happened}: {_reason(log)}. Its log: {log}")
        time.sleep(0.05)
    # It may outlive us. If it dies before us it must not stay as a zombie, whose pid looks alive to PostgreSQL.
    threading.Thread(target=child.wait, name=f"reaper of {name}", daemon=True).start()


def _reason(log: Path) -> str:
    text = log.read_text(errors="replace")[-4000:] if log.exists() else ""
    if "No space left on device" in text:
        return "no space left on the device; free some and run the command again, nothing is lost"
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it wrote nothing"


def end(process: Process, *, sig: signal.Signals, seconds: float = 20) -> None:
    """Stop it: `sig`, then after `seconds` SIGKILL. Already gone is fine.

    Whose child it is does not matter: what its parent has not yet waited for is gone all the same.
    """
    for signal_, patience in ((sig, seconds), (signal.SIGKILL, 5.0)):
        if process.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal_)
            deadline = time.monotonic() + patience
            while process.alive() and time.monotonic() < deadline:
                time.sleep(0.02)


def traversable(path: Path, user: str | None) -> None:
    """Let another user pass through the folders above `path` (execute bit only): root's servers are not root."""
    if user is None:
        return
    for folder in path.absolute().parents:
        mode = folder.stat().st_mode
        if not mode & 0o001 and folder.stat().st_uid == os.getuid():
            folder.chmod(mode | 0o001)


class Child:
    """A helper process under a home, known by its name: at most one runs, and the next command finds it."""

    def __init__(self, home: Path, name: str) -> None:
        self.name = name
        self._path = home / f"{name}.json"
        self._log = home / f"{name}.log"

    def running(self) -> State | None:
        state = read(self._path)
        return state if state is not None and state.process.alive() else None

    def start(
        self,
        command: Sequence[str | Path],
        *,
        ready: Callable[[], bool],
        env: Mapping[str, str],
        ports: Mapping[str, int] | None = None,
        seconds: float = 60,
    ) -> State:
        """Start it and return when it is ready. Raises ServerError with the last line of its log."""
        child = spawn(command, log=self._log, env=env)
        process = Process.of(child.pid)
        if process is not None:
            write(self._path, State(process, dict(ports or {})))
        wait(self.name, ready, child, self._log, seconds=seconds)
        assert process is not None
        return State(process, dict(ports or {}))

    def stop(self, seconds: float = 10) -> bool:
        """Stop it, if it runs; whether it did."""
        state = self.running()
        if state is not None:
            end(state.process, sig=signal.SIGTERM, seconds=seconds)
        self._path.unlink(missing_ok=True)
        return state is not None
