"""The command as a user has it: a process of its own, with an environment of its own."""

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from ledgerlake.settings import Settings, variable
from sandbox import Clock, Server, World


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Done]


def environment(settings: Settings) -> dict[str, str]:
    """The variables that give a process these settings, and nothing else of ours."""
    given: dict[str, str] = {}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if value is None or value == ():
            continue
        if isinstance(value, tuple):
            given[variable(name)] = ",".join(part.get_secret_value() for part in value)
        else:
            given[variable(name)] = value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
    return {"PATH": os.environ["PATH"], "HOME": str(settings.home), "PYTHONWARNINGS": "error::ResourceWarning", **given}


@pytest.fixture
def ledgerlake(settings: Settings, tmp_path: Path) -> Run:
    """Run the command; `env` changes variables, None takes one away."""

    def run(*arguments: str, stdin: str | None = None, env: dict[str, str | None] | None = None) -> Done:
        given = {**environment(settings), **(env or {})}
        done = subprocess.run(
            [sys.executable, "-c", "from ledgerlake.cli import main; main()", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={name: value for name, value in given.items() if value is not None},
            timeout=100,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@dataclass(frozen=True)
class Sandbox:
    """A running sandbox of three customers."""

    teller_url: str
    control_url: str

    def customers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._get("customers")
        return [one for one in found if one["provider"] == "teller"]

    def truth(self, token: str) -> list[dict[str, Any]]:
        """Every transaction that a perfect client holds of that connection, signed from the holder's side."""
        accounts = self._get("truth", token=token)["accounts"]
        return [row for account in accounts for row in account["transactions"]]

    def _get(self, path: str, **params: str) -> Any:
        return httpx.get(f"{self.control_url}/{path}", params=params, trust_env=False).raise_for_status().json()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    today = dt.date(2026, 3, 1)
    with Server(World.of(1, 3, 1, today), Clock(today)) as server:
        yield Sandbox(server.teller_url, server.control_url)
