"""Commands in processes of their own that need not import everything first: forks of one that has.

Each has its own environment, folder, stdin and exit code, as a started one has, and can be killed like it. What a
start itself does (the interpreter, the first import) is seen by the few tests that start a real one.

Run as a script this is the process that forks: alone in it, one thread, nothing open.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn


class Child:
    """A process that was forked off; its output is kept in files, so that nobody has to read along."""

    def __init__(self, pid: int, status: IO[bytes], out: IO[bytes], err: IO[bytes]) -> None:
        self.pid = pid
        self._status, self._out, self._err = status, out, err

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> subprocess.CompletedProcess[str]:
        """Its end: the exit code, or the signal's number, negative; it is there once its parent has seen it."""
        code = int(self._status.read())
        said = []
        for file in (self._out, self._err):
            file.seek(0)
            said.append(file.read().decode())
        for file in (self._status, self._out, self._err):
            file.close()
        return subprocess.CompletedProcess([], code, *said)


class Fork:
    """The process that forks, and asking it to."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={"PATH": os.environ["PATH"], "HOME": tempfile.gettempdir()},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )

    def start(
        self,
        code: str,
        *arguments: str,
        env: Mapping[str, str],
        cwd: Path,
        loaded: Sequence[str],
        stdin: str | None = None,
    ) -> Child:
        """Fork a process off, once the modules `loaded` are, that runs the Python `code` with these arguments."""
        asked = {"code": code, "arguments": arguments, "env": dict(env), "cwd": str(cwd), "loaded": loaded}
        status, theirs = os.pipe()
        out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 (Child closes them)
        with tempfile.TemporaryFile() as given:
            given.write((stdin or "").encode())
            given.seek(0)
            files = [given.fileno(), out.fileno(), err.fileno(), theirs]
            socket.send_fds(self._ours, [json.dumps(asked).encode()], files)
        os.close(theirs)
        told = os.fdopen(status, "rb")
        line = told.readline()
        assert line, f"the process that forks is gone, exit code {self._process.poll()}; stderr says why"
        return Child(int(line), told, out, err)

    def close(self) -> None:
        self._ours.close()
        self._process.wait()


def _serve(ours: socket.socket) -> None:
    while True:
        said, files, *_ = socket.recv_fds(ours, 1 << 20, 4)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        if not said:
            return
        asked = json.loads(said)
        for module in asked["loaded"]:
            importlib.import_module(module)
        gc.collect()
        gc.freeze()
        if os.fork() == 0:
            ours.close()
            _watch(asked, *files)
        for file in files:
            os.close(file)


def _watch(asked: Any, stdin: int, out: int, err: int, status: int) -> None:
    """Fork once more: this process tells how that one ends, that one goes on."""
    pid = os.fork()
    if pid:
        for file in (stdin, out, err):
            os.close(file)
        os.write(status, f"{pid}\n".encode())
        _, ended = os.waitpid(pid, 0)
        os.write(status, str(os.waitstatus_to_exitcode(ended)).encode())
        os._exit(0)
    for number, file in enumerate((stdin, out, err)):
        os.dup2(file, number)
        os.close(file)
    os.close(status)
    _become(asked)


def _become(asked: Any) -> NoReturn:
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
    sys.argv = ["-c", *asked["arguments"]]
    warnings._processoptions([one for one in os.environ.get("PYTHONWARNINGS", "").split(",") if one])  # type: ignore[attr-defined]
    code = 0
    try:
        exec(compile(asked["code"], "<forked>", "exec"), {"__name__": "__main__"})
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    # What the interpreter does at its end, but for taking every imported module apart, which is most of a second.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()  # type: ignore[attr-defined]
    gc.collect()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    try:
        _serve(socket.socket(fileno=int(sys.argv[1])))
    except Exception:
        traceback.print_exc()
        raise
