"""The command: one line when it answers, the same bytes from every process, a clean end, and mutual TLS."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest

import sandbox
from sandbox.certificates import certificates

START = (sys.executable, "-m", "sandbox")


@contextmanager
def running(*options: str, hash_seed: str = "0") -> Iterator[tuple[dict[str, Any], subprocess.Popen[str]]]:
    """A sandbox process, and what it printed when it answered."""
    process = subprocess.Popen(
        [*START, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline()), process
    finally:
        process.kill()
        process.communicate()


def everything(where: dict[str, Any]) -> list[bytes]:
    """All that Teller shows, byte for byte."""
    shown = []
    with httpx.Client() as http:
        told = http.get(f"{where['control_url']}/customers").json()
        for customer in [one for one in told if one["provider"] == "teller"]:
            auth = (customer["secrets"]["access_token"], "")
            accounts = http.get(f"{where['teller_url']}/accounts", auth=auth)
            shown.append(accounts.content)
            for account in accounts.json():
                for stream in ("balances", "details", "transactions"):
                    url = f"{where['teller_url']}/accounts/{account['id']}/{stream}"
                    shown.append(http.get(url, auth=auth).content)
            shown.append(http.get(f"{where['teller_url']}/identity", auth=auth).content)
    return shown


def test_two_processes_show_the_same_bytes_and_stop_cleanly_when_told() -> None:
    options = ("--customers", "4", "--years", "0", "--seed", "5", "--today", "2026-04-10")
    with running(*options, hash_seed="1") as (one, first), running(*options, hash_seed="2") as (two, second):
        assert one != two
        shown = everything(one)
        assert shown == everything(two)
        assert sum(map(len, shown)) > 100_000
        first.send_signal(signal.SIGTERM)
        second.send_signal(signal.SIGINT)
        assert [first.wait(10), second.wait(10)] == [0, 0]
        assert [first.stderr and first.stderr.read(), second.stderr and second.stderr.read()] == ["", ""]


def test_the_ready_file_holds_the_line_that_is_printed(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    with running("--customers", "1", "--years", "0", "--ready-file", str(ready)) as (where, _):
        assert json.loads(ready.read_text()) == where
        clock = httpx.get(f"{where['control_url']}/clock").json()
        assert clock["fixed"] is False


def test_a_taken_port_is_one_clear_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert sandbox.main(["--port", str(port)]) == 1
    assert capfd.readouterr().err == (
        f"The sandbox cannot listen on 127.0.0.1 port {port}: address already in use. "
        "Stop what listens there, or use --port 0 for a free port.\n"
    )


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--host", "0.0.0.0"], 1, "The sandbox listens on loopback only, not on '0.0.0.0'"),
        (["--customers", "0"], 2, "--customers"),
        (["--today", "2026-02-30"], 2, "does not match the format"),
        (["--opening", "2026-03-02", "--today", "2026-03-01"], 2, "History cannot begin on 2026-03-02"),
        (["--nonsense"], 2, "No such option"),
    ],
)
def test_wrong_usage_is_one_clear_sentence(
    capfd: pytest.CaptureFixture[str], options: list[str], status: int, said: str
) -> None:
    assert sandbox.main(options) == status
    told = capfd.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_help_is_no_failure(capfd: pytest.CaptureFixture[str]) -> None:
    assert sandbox.main(["--help"]) == 0
    assert "--ready-file" in capfd.readouterr().out


def test_mutual_tls_wants_the_applications_certificate_and_answers_400_without(tmp_path: Path) -> None:
    today = date(2026, 3, 1)
    world = sandbox.World.of(seed=1, customers=1, years=0, today=today)
    with sandbox.Server(world, sandbox.Clock(today), mtls=tmp_path) as server:
        where = server.where()["mtls"]
        url = f"{where['teller_url']}/accounts"
        told = httpx.get(f"{server.control_url}/customers").json()
        token = next(one for one in told if one["provider"] == "teller")["secrets"]["access_token"]
        plain = ssl.create_default_context(cafile=where["ca"])
        refused = httpx.get(url, auth=(token, ""), verify=plain)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "bad_request")
        assert refused.json()["error"]["message"].startswith("Missing certificate")
        mutual = ssl.create_default_context(cafile=where["ca"])
        mutual.load_cert_chain(where["certificate"], where["private_key"])
        allowed = httpx.get(url, auth=(token, ""), verify=mutual)
        assert allowed.content == httpx.get(f"{server.teller_url}/accounts", auth=(token, "")).content
        assert allowed.status_code == 200
        foreign = certificates(tmp_path / "other")
        stranger = ssl.create_default_context(cafile=where["ca"])
        stranger.load_cert_chain(foreign.client, foreign.client_key)
        with pytest.raises(httpx.TransportError):
            httpx.get(url, auth=(token, ""), verify=stranger)


def test_certificates_are_kept_and_private_keys_are_the_owners_alone(tmp_path: Path) -> None:
    first = certificates(tmp_path)
    written = {file: file.read_bytes() for file in first}
    assert certificates(tmp_path) == first
    assert {file: file.read_bytes() for file in first} == written
    assert {file.stat().st_mode & 0o077 for file in (first.server_key, first.client_key)} == {0}
    first.client_key.unlink()
    assert certificates(tmp_path).ca.read_bytes() != written[first.ca]
