"""`python -m orchestration`: exit codes, the summary, and processes that are left running and found again."""

import json
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from ledgerlake.settings import Settings
from ledgerlake.store import Connection, Store
from tests.fork import Fork

ROOT = Path(__file__).parents[2]

Command = Callable[..., subprocess.CompletedProcess[str]]


LOADED = ("orchestration.daily", "orchestration.definitions", "orchestration.terminal", "dbt.cli.main")


@pytest.fixture
def buckets() -> int:
    """Two: what is built is built of all of them."""
    return 2


@pytest.fixture
def command(
    settings: Settings, environment: Callable[[Settings], dict[str, str]], fork: Fork, parsed: Path, shared: Path
) -> Command:
    """Run it, with the test's settings as an operator's environment has them. `started`: with Python's own start."""
    shutil.copytree(parsed, settings.home / "dbt")
    ours = {**environment(settings), "DBT_TARGET_PATH": str(shared / "dbt")}

    def run(*arguments: str, started: bool = False, **changed: str) -> subprocess.CompletedProcess[str]:
        env = {**ours, **changed}
        if not started:
            code = "import sys; from orchestration.__main__ import main; sys.exit(main())"
            return fork.start(code, *arguments, env=env, cwd=ROOT, loaded=LOADED).wait()
        return subprocess.run(
            [sys.executable, "-m", "orchestration", *arguments],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            timeout=110,
        )

    return run


@pytest.mark.slow
def test_a_pass_ends_with_one_json_object_and_its_run_is_in_the_persistent_instance_without_a_secret(
    command: Command,
    connect: Callable[[int], Connection],
    customers: list[dict[str, dict[str, str]]],
    settings: Settings,
    postgres_url: str,
) -> None:
    connect(0)
    done = command("run", "--today", "2026-03-01", "--json", started=True)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["outcome"], summary["connections"], summary["errors"]) == ("done", {"done": 1}, [])
    assert summary["built"]["buckets"] == [0, 1]
    assert summary["tables"]["fct_transactions"] > 0
    with psycopg.connect(postgres_url) as connection:
        runs = connection.execute("SELECT run_id, status FROM dagster.runs").fetchall()
    assert runs == [(summary["run_id"], "SUCCESS")]
    secrets = {
        "token": customers[0]["secrets"]["access_token"],
        "PostgreSQL": str(conninfo_to_dict(postgres_url)["password"]),
        "S3": settings.aws_secret_access_key.get_secret_value() if settings.aws_secret_access_key else "",
        "vault": settings.secret_keys[0].get_secret_value(),
    }
    assert all(secrets.values())
    assert where_dagster_holds({"run": summary["run_id"]}, postgres_url) != []
    assert where_dagster_holds(secrets, postgres_url) == []
    assert not any(secret in done.stdout + done.stderr for secret in secrets.values())

    again = command("run", "--today", "2026-03-01")
    assert again.returncode == 0, again.stderr
    assert "build   skipped: nothing changed, every bucket is published as it is" in again.stderr
    assert "0 new, 0 changed" in again.stdout
    assert f"{summary['snapshot']}, as before: nothing changed" in again.stdout


def where_dagster_holds(secrets: Mapping[str, str], postgres_url: str) -> list[tuple[str, str]]:
    """The tables of Dagster that hold one of these texts."""
    with psycopg.connect(postgres_url) as connection:
        named = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'dagster'").fetchall()
        tables = [sql.Identifier("dagster", name) for (name,) in named]
        ((events,),) = connection.execute("SELECT count(*) FROM dagster.event_logs").fetchall()
        assert events > 50
        looking = sql.SQL("SELECT 1 FROM {} AS t WHERE strpos(t::text, %s) > 0 LIMIT 1")
        return [
            (table.as_string(connection), name)
            for table in tables
            for name, secret in secrets.items()
            if connection.execute(looking.format(table), (secret,)).fetchone()
        ]


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
        # Once, to people and not to scripts: the second `up` starts no console.
        assert "Sign in to the console as admin with the one-time password " in started.stderr
        url = started.stdout.split()[2]
        with urllib.request.urlopen(f"{url}/server_info", timeout=10) as reply:
            assert reply.status == 200
        console = started.stdout.splitlines()[1].removeprefix("Console: ")
        with urllib.request.urlopen(f"{console}/readyz", timeout=10) as reply:
            assert reply.read() == b"ok"
        again = command("up", "--detach")
        assert (again.stdout, "one-time" in again.stderr) == (started.stdout, False)
    finally:
        stopped = command("down")
    assert stopped.stdout == "Stopped.\n"
    for address in (url, console):
        host, port = address.removeprefix("http://").split(":")
        with socket.socket() as gone:
            assert gone.connect_ex((host, int(port))) != 0
