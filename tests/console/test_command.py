"""`python -m console`: what it says when it cannot serve, and that it ends when it is told to."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from console.server import listen
from ledgerlake.local import Child
from ledgerlake.local._process import read
from ledgerlake.settings import Settings, variable


@pytest.fixture
def home() -> Iterator[Path]:
    """Not one of pytest's: root's PostgreSQL is not root, and may not pass through those."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def environment(settings: Settings, home: Path) -> Mapping[str, str]:
    """An operator's, who names PostgreSQL and Teller's secret."""
    assert settings.postgres_url is not None
    return {
        "PATH": os.defpath,
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        variable("home"): str(home),
        variable("postgres_url"): settings.postgres_url.get_secret_value(),
        variable("teller_webhook_secrets"): "canary-secret",
    }


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", trust_env=False, timeout=5).text == "ok"
    except httpx.HTTPError:
        return False


def start(home: Path, environment: Mapping[str, str], *options: str) -> tuple[Child, str]:
    """The console as a process that answers, and its address."""
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    child, url = Child(home, "console"), f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "console", "--port", str(port), *options]
    child.start(command, ready=lambda: answers(url), env=environment)
    return child, url


def test_it_serves_until_it_is_told_to_stop(home: Path, environment: Mapping[str, str]) -> None:
    child, url = start(home, environment, "--only", "webhooks")
    try:
        assert httpx.post(f"{url}/webhooks/teller", content=b"{}", trust_env=False).status_code == 400
    finally:
        assert child.stop()
    said = (home / "console.log").read_text()
    assert "expected a header Teller-Signature, found none" in said
    assert "Traceback" not in said
    assert "canary" not in said


@pytest.mark.slow
def test_the_servers_that_it_started_end_with_it(home: Path, environment: Mapping[str, str]) -> None:
    alone = {name: value for name, value in environment.items() if name != variable("postgres_url")}
    child, _ = start(home, alone)
    states = [read(home / f"{name}.json") for name in ("postgres", "s3")]
    child.stop(seconds=60)
    assert [state is not None and state.process.alive() for state in states] == [False, False]
    assert None not in states


def test_a_port_that_is_taken_is_one_sentence_and_exit_1(environment: Mapping[str, str]) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "console", "--port", str(port)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"The console cannot listen on 127.0.0.1 port {port}: Address already in use. "
        "Stop what listens there, or name another port in LEDGERLAKE_CONSOLE_PORT.\n"
    )
