"""The command as a user has it: a process of its own, with an environment of its own."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

import sandbox
from ledgerlake.settings import Settings
from tests.fork import Fork


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Done]


COMMAND = "from ledgerlake.cli import main; main()"
LOADED = ("ledgerlake.cli", "ledgerlake.ingest", "ledgerlake.integrity", "ledgerlake.lake", "dbt.cli.main")


@pytest.fixture
def ledgerlake(
    settings: Settings, environment: Callable[[Settings], dict[str, str]], fork: Fork, parsed: Path, tmp_path: Path
) -> Run:
    """Run the command; `env` changes variables, None takes one away. `started`: with Python's own start."""
    shutil.copytree(parsed, settings.home / "dbt")
    ours = {**environment(settings), "PYTHONWARNINGS": "error::ResourceWarning"}

    def run(
        *arguments: str, stdin: str | None = None, env: dict[str, str | None] | None = None, started: bool = False
    ) -> Done:
        given = {name: value for name, value in {**ours, **(env or {})}.items() if value is not None}
        if started:
            done = subprocess.run(
                [Path(sys.executable).with_name("ledgerlake"), *arguments],
                input=stdin,
                capture_output=True,
                text=True,
                cwd=tmp_path,
                env=given,
                timeout=100,
                check=False,
            )
        else:
            done = fork.start(COMMAND, *arguments, env=given, cwd=tmp_path, loaded=LOADED, stdin=stdin).wait()
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@dataclass(frozen=True)
class Bank:
    """Teller as the sandbox speaks it, and what it holds."""

    url: str
    control_url: str
    customers: list[dict[str, Any]]

    def truth(self, token: str) -> list[dict[str, Any]]:
        """Every transaction that a perfect client holds of that connection, signed from the holder's side."""
        answer = httpx.get(f"{self.control_url}/truth", params={"token": token}, trust_env=False).raise_for_status()
        return [row for account in answer.json()["accounts"] for row in account["transactions"]]


@pytest.fixture
def teller(bank: sandbox.Server, customers: list[dict[str, Any]]) -> Bank:
    return Bank(bank.teller_url, bank.control_url, customers)
