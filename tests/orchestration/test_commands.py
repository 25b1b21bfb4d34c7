"""`python -m orchestration`: exit codes, the summary, and processes that are left running and found again."""

import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

import psycopg
import pytest

from ledgerlake.settings import Settings
from ledgerlake.store import Connection, Store
from orchestration import processes

ROOT = Path(__file__).parents[2]

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(settings: Settings, shared: Path) -> Mapping[str, str]:
    """The test's settings, as an operator's environment has them."""
    return {
        "PATH": os.defpath,
        "HOME": str(settings.home),
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "DBT_TARGET_PATH": str(shared / "dbt"),
        **processes.environment_of(settings),
    }


@pytest.fixture
def command(environment: Mapping[str, str]) -> Command:
    def run(*arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "orchestration", *arguments],
            cwd=ROOT,
            env={**environment, **changed},
            capture_output=True,
            text=True,
            timeout=110,
        )

    return run


@pytest.mark.slow
def test_a_pass_ends_with_one_json_object_and_its_run_is_in_the_persistent_instance(
    command: Command, connect: Callable[[int], Connection], postgres_url: str
) -> None:
    connect(0)
    done = command("run", "--today", "2026-03-01", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["outcome"], summary["connections"], summary["errors"]) == ("done", {"done": 1}, [])
    assert summary["built"]["buckets"] == [0, 1, 2, 3]
    assert summary["tables"]["fct_transactions"] > 0
    with psycopg.connect(postgres_url) as connection:
        runs = connection.execute("SELECT run_id, status FROM dagster.runs").fetchall()
    assert runs == [(summary["run_id"], "SUCCESS")]

    again = command("run", "--today", "2026-03-01")
    assert again.returncode == 0, again.stderr
    assert "build   skipped: nothing changed, every bucket is published as it is" in again.stderr
    assert "0 new, 0 changed" in again.stdout
    assert f"{summary['snapshot']}, as before: nothing changed" in again.stdout


@pytest.mark.slow
def test_a_pass_in_which_no_connection_could_be_read_fails_and_says_so(
    command: Command, connect: Callable[[int], Connection]
) -> None:
    connect(0)
    done = command(
        "run", "--json", LEDGERLAKE_TELLER_CERTIFICATE="/nowhere.pem", LEDGERLAKE_TELLER_PRIVATE_KEY="/no.key"
    )
    assert done.returncode == 1
    summary = json.loads(done.stdout)
    assert summary["connections"] == {"misconfigured": 1}
    assert summary["errors"][0].startswith("None of 1 teller connections could be read. The first: ")
    assert "Traceback" not in done.stderr


def test_wrong_settings_are_one_sentence_and_exit_2(command: Command) -> None:
    done = command("run", LEDGERLAKE_BUCKETS="many")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("settings: LEDGERLAKE_BUCKETS:")
    assert len(done.stderr.splitlines()) == 1


def test_an_unknown_provider_is_one_sentence_and_exit_2(command: Command) -> None:
    done = command("run", "--provider", "bank")
    assert (done.returncode, done.stderr) == (
        2,
        "There is no provider bank; known: gocardless, plaid, stripe, teller, tink.\n",
    )


def test_a_server_that_is_not_there_is_one_sentence_and_exit_1(command: Command) -> None:
    done = command("run", LEDGERLAKE_POSTGRES_URL="postgresql://u:secret@127.0.0.1:1/none")
    assert (done.returncode, done.stdout) == (1, "")
    assert "PostgreSQL cannot be reached" in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_to_stop_is_fine(command: Command) -> None:
    done = command("down")
    assert (done.returncode, done.stdout) == (0, "Nothing was running.\n")


@pytest.mark.slow
def test_what_is_left_running_answers_is_found_again_and_is_stopped(
    command: Command, settings: Settings, store: Store
) -> None:
    settings.home.mkdir(parents=True, exist_ok=True)
    # A process that the system has long given to somebody else.
    (settings.home / "dagster-webserver.json").write_text(
        '{"process": {"pid": 1, "created": 1.0}, "ports": {"http": 1}}'
    )
    try:
        started = command("up", "--detach")
        assert started.returncode == 0, started.stderr
        url = started.stdout.split()[2]
        with urllib.request.urlopen(f"{url}/server_info", timeout=10) as reply:
            assert reply.status == 200
        assert command("up", "--detach").stdout == started.stdout
    finally:
        stopped = command("down")
    assert stopped.stdout == "Stopped.\n"
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as gone:
        assert gone.connect_ex((host, int(port))) != 0
