import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest

from ledgerlake.errors import ServerError, UsageError
from ledgerlake.local import S3, Servers, keep, servers, stop
from ledgerlake.local._process import Process, State, free_ports, read, spawn, wait, write
from ledgerlake.settings import Settings

NAMES = ("postgres", "s3")


def states(settings: Settings) -> dict[str, State]:
    found = {name: read(settings.home / f"{name}.json") for name in NAMES}
    return {name: state for name, state in found.items() if state is not None}


def alive(settings: Settings) -> set[str]:
    return {name for name, state in states(settings).items() if state.process.alive()}


def put(where: Servers, key: str, body: bytes) -> None:
    where.s3.client().put_object(Bucket=where.s3.bucket, Key=key, Body=body)


def get(where: Servers, key: str) -> bytes:
    return bytes(where.s3.client().get_object(Bucket=where.s3.bucket, Key=key)["Body"].read())


def test_servers_survive_whatever_is_killed_and_keep_what_was_stored(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")

    with servers(settings) as first:
        put(first, "kept", b"before")
        with psycopg.connect(first.postgres_url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
        with servers(settings) as second:  # a second command at once finds the same
            assert second == first
        assert alive(settings) == set(NAMES)
    assert alive(settings) == set()

    command = "import os; from ledgerlake.local import servers; from ledgerlake.settings import Settings\n"
    command += f"with servers(Settings(home={str(settings.home)!r})): os.kill(os.getpid(), 9)"
    killed = subprocess.run([sys.executable, "-c", command], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert alive(settings) == set(NAMES)  # orphans: the next command takes them over

    before = {name: state.process for name, state in states(settings).items()}
    (settings.home / "postgres.json").write_text("{cut off")  # and finds PostgreSQL by PostgreSQL's own file
    with servers(settings) as third:
        assert {name: state.process.pid for name, state in states(settings).items()} == {
            name: process.pid for name, process in before.items()
        }
        assert get(third, "kept") == b"before"
        for state in states(settings).values():  # now the servers themselves
            server = psutil.Process(state.process.pid)
            server.kill()
            server.wait()
        with servers(settings) as fourth:  # whoever still uses them finds the new ones where the old ones were
            assert fourth == third
            assert get(third, "kept") == b"before"
            with psycopg.connect(third.postgres_url) as connection:
                assert connection.execute("SELECT one FROM kept").fetchall() == [(1,)]
            keep(settings)
    assert alive(settings) == set(NAMES)
    stop(settings)
    assert alive(settings) == set()


def test_two_homes_side_by_side_do_not_disturb_each_other(tmp_path: Path, shared_servers: Servers) -> None:
    with servers(Settings(home=tmp_path / "a-home-whose-path-is-longer-than-a-socket-may-have" / ("x" * 60))) as other:
        assert other.postgres_url != shared_servers.postgres_url
        assert other.s3.endpoint != shared_servers.s3.endpoint
        put(other, "mine", b"1")
    with pytest.raises(shared_servers.s3.client().exceptions.NoSuchKey):
        get(shared_servers, "mine")


def test_everything_listens_on_loopback_alone(shared_servers: Servers, shared: Path) -> None:
    listening = set()
    for state in states(Settings(home=shared / "servers")).values():
        process = psutil.Process(state.process.pid)
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):  # PostgreSQL's backends come and go
                listening |= {c.laddr.ip for c in one.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}


def test_files_with_secrets_are_for_their_owner_alone(shared_servers: Servers, shared: Path) -> None:
    home = shared / "servers"
    assert {name: (home / name).stat().st_mode & 0o777 for name in ("postgres.password", "s3.keys")} == {
        "postgres.password": 0o600,
        "s3.keys": 0o600,
    }


def test_secrets_do_not_show(shared_servers: Servers) -> None:
    shown = repr(shared_servers)
    assert shared_servers.s3.secret_key is not None
    assert shared_servers.s3.secret_key not in shown
    assert shared_servers.postgres_url not in shown


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"url": "s3://no-such-bucket"},
            "there is no bucket no-such-bucket; create it, or name another in LEDGERLAKE_S3_URL",
        ),
        (
            {"secret_key": "wrong"},
            r"refuses the credentials for bucket ledgerlake \(HTTP 403\); check AWS_ACCESS_KEY_ID",
        ),
        (
            {"endpoint": "http://127.0.0.1:1"},
            "cannot be reached .*; check AWS_ENDPOINT_URL_S3 and that the server runs",
        ),
    ],
)
def test_an_s3_that_cannot_be_used_is_one_sentence(
    shared_servers: Servers, change: dict[str, str], sentence: str
) -> None:
    there: S3 = dataclasses.replace(shared_servers.s3, **change)  # type: ignore[arg-type]
    with pytest.raises(ServerError, match=sentence):
        there.check()


def test_a_home_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(
            UsageError, match=r"LEDGERLAKE_HOME=.* cannot be written: Not a directory. Name a folder that can"
        ),
        servers(Settings(home=tmp_path / "file" / "home")),
    ):
        pass


def test_a_pid_that_the_system_gave_to_somebody_else_is_not_ours(tmp_path: Path) -> None:
    me = Process.of(os.getpid())
    assert me is not None
    assert me.alive()
    assert not Process(me.pid, me.created - 60).alive()
    write(tmp_path / "state.json", State(me, {"x": 1}, {"gone": Process(me.pid, me.created - 60)}))
    state = read(tmp_path / "state.json")
    assert state is not None
    assert not state.in_use()


def test_free_ports_are_all_different() -> None:
    assert len(set(free_ports([str(n) for n in range(20)]).values())) == 20


def test_ports_of_before_are_taken_again_where_they_are_free() -> None:
    before = free_ports(["free", "taken"])
    with socket.socket() as other:
        other.bind(("127.0.0.1", before["taken"]))
        other.listen()
        found = free_ports(["free", "taken", "new"], before)
    assert found["free"] == before["free"]
    assert before["taken"] not in found.values()


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("echo could not listen >&2; exit 3", "The embedded Test ended with code 3: could not listen. Its log: "),
        (
            "echo write: No space left on device; exit 1",
            "no space left on the device; free some and run the command again",
        ),
        ("sleep 60", "did not answer in 0 s: it wrote nothing"),
    ],
)
def test_a_server_that_does_not_come_up_is_told_with_its_last_word(tmp_path: Path, script: str, sentence: str) -> None:
    child = spawn(["/bin/sh", "-c", script], log=tmp_path / "log", env={"PATH": os.defpath})
    with pytest.raises(ServerError, match=sentence):
        wait("Test", lambda: False, child, tmp_path / "log", seconds=5 if "exit" in script else 0.2)
    assert child.poll() is not None
