"""The HTTP client against real servers: retries, budgets, limits, TLS, and what the sentences say."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import stamina
import trustme

from connectors import BadData, Client, ClientConfig, ConnectorError, Misconfigured, Retryable, Session
from connectors._http import Reply, unexpected

pytestmark = pytest.mark.anyio

OK = (200, [{"id": "a"}])


def config(server: Any, **changes: Any) -> ClientConfig:
    return ClientConfig(**{"base_url": server.url, "requests_per_second": 1000, "attempts": 4} | changes)


async def get(session: Session, path: str = "/things") -> Reply:
    return await session.get(path, {"count": 5}, classify=unexpected)


def saying(*answers: Any) -> Any:
    """One answer after the other, the last for ever."""
    left = list(answers)
    return lambda heard: left.pop(0) if len(left) > 1 else left[0]


async def test_an_answer_comes_back_whole_with_the_request_and_is_counted(serve: Any) -> None:
    async with serve(saying(OK)) as server, Client(config(server)) as client:
        session = client.session({})
        reply = await get(session)
    assert (reply.status, reply.request, reply.body) == (200, "GET /things?count=5", b'[{"id": "a"}]')
    assert (session.requests, session.bytes, session.retries) == (1, 13, 0)
    assert (client.requests, client.bytes, client.retries) == (1, 13, 0)


async def test_the_request_is_named_without_the_path_of_the_base_url(serve: Any) -> None:
    async with serve(saying(OK)) as server, Client(config(server, base_url=f"{server.url}/api/v2")) as client:
        reply = await get(client.session({}))
    assert server.targets == ["/api/v2/things?count=5"]
    assert reply.request == "GET /things?count=5"


async def test_one_socket_serves_many_requests(serve: Any) -> None:
    async with serve(saying(OK)) as server, Client(config(server)) as client:
        for _ in range(5):
            await get(client.session({}))
    assert (server.connections, len(server.heard)) == (1, 5)


BROKEN: dict[str, Any] = {
    "a page of HTML": (200, b"<!DOCTYPE html><html>We will be back</html>", {"Content-Type": "text/html"}),
    "JSON cut in the middle": (200, b'[{"id": "a"}, {"id'),
    "an empty body": (200, b""),
    "a raw NUL": (200, b'[{"id": "\0"}]'),
    "a body that ends before its length": b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[{"id": "a"}',
    "a chunk that never ends": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[{",
    "an answer that is not HTTP": b"220 smtp.example.com ready\r\n\r\n",
    "compression that is broken": (200, b"not gzip", {"Content-Encoding": "gzip"}),
    "a reset": None,
    "nothing at all": b"",
    "429": (429, {"error": {}}),
    "500": (500, {"error": {}}),
    "502 with HTML": (502, b"<html>Bad gateway</html>"),
    "404 with HTML": (404, b"<html>nginx</html>"),
    "408": (408, b""),
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
async def test_what_another_try_may_mend_is_tried_again(serve: Any, answer: Any) -> None:
    async with serve(saying(answer, answer, OK)) as server, Client(config(server)) as client:
        session = client.session({})
        assert (await get(session)).body == b'[{"id": "a"}]'
    assert (session.requests, session.retries, client.retries) == (3, 2, 2)


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
async def test_what_stays_broken_is_retryable_with_a_sentence(serve: Any, answer: Any) -> None:
    async with serve(saying(answer)) as server, Client(config(server)) as client:
        with pytest.raises(Retryable, match=r"GET /things\?count=5, found .*try again later.* \(4 attempts in \d+ s\)"):
            await get(client.session({}))
    assert len(server.heard) == 4


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ((200, b"<html></html>"), "found HTTP 200 with a page of HTML (13 bytes)"),
        ((200, b'[{"id"'), "found HTTP 200 with JSON that is broken or cut off (6 bytes)"),
        ((200, b" "), "found HTTP 200 with an empty body"),
        ((503, {}), "found HTTP 503 with a JSON body (2 bytes)"),
        (BROKEN["a body that ends before its length"], "found one cut off before its end"),
        (BROKEN["compression that is broken"], "found one whose compression is broken"),
        (None, "found a broken connection (ReadError)"),
    ],
)
async def test_the_sentence_says_what_was_found(serve: Any, answer: Any, found: str) -> None:
    async with serve(saying(answer)) as server, Client(config(server, attempts=1)) as client:
        with pytest.raises(Retryable) as broken:
            await get(client.session({}))
    assert found in broken.value.message


async def test_strings_that_are_not_unicode_leave_the_page_in_one_piece(serve: Any) -> None:
    body = b'[{"id": "\xff"}, {"id": "\\ud800"}]'
    async with serve(saying((200, body))) as server, Client(config(server)) as client:
        assert (await get(client.session({}))).body == body
    assert len(server.heard) == 1


@pytest.mark.parametrize("status", [400, 404, 409, 422])
async def test_a_refused_request_is_not_tried_again(serve: Any, status: int) -> None:
    async with serve(saying((status, {"error": "no"}))) as server, Client(config(server)) as client:
        with pytest.raises(BadData, match=f"found HTTP {status} with a JSON body") as bad:
            await get(client.session({}))
    assert (len(server.heard), bad.value.scope, bad.value.code) == (1, "stream", str(status))


async def test_a_redirect_is_not_followed(serve: Any) -> None:
    async with (
        serve(saying(OK)) as elsewhere,
        serve(saying((302, b"", {"Location": elsewhere.url}))) as server,
        Client(config(server)) as client,
    ):
        with pytest.raises(Misconfigured, match="redirects are not followed") as wrong:
            await get(client.session({}))
    assert (elsewhere.heard, wrong.value.scope) == ([], "provider")


async def test_an_answer_that_the_connector_lets_pass_is_handed_back(serve: Any) -> None:
    async with serve(saying((404, {"none": True}))) as server, Client(config(server)) as client:
        reply = await client.session({}).get("/one", classify=lambda reply: None)
    assert (reply.status, reply.body) == (404, b'{"none": true}')


@pytest.fixture
def waits() -> Iterator[list[float]]:
    """The pauses that retries ask for, as they really are."""
    stamina.set_testing(False)
    asked: list[float] = []
    stamina.instrumentation.set_on_retry_hooks([lambda details: asked.append(details.wait_for)])
    yield asked
    stamina.instrumentation.set_on_retry_hooks(None)


async def test_the_provider_says_how_long_to_wait(serve: Any, waits: list[float]) -> None:
    answer = (429, b"", {"Retry-After": "1"})
    async with serve(saying(answer, OK)) as server, Client(config(server, wait_initial=0, wait_jitter=0.1)) as client:
        started = time.monotonic()
        await get(client.session({}))
        took = time.monotonic() - started
    assert len(waits) == 1
    assert 1 <= waits[0] <= 1.1
    assert took >= 1


async def test_the_provider_may_say_a_time_of_day(serve: Any) -> None:
    when = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    async with serve(saying((503, b"", {"Retry-After": when}))) as server, Client(config(server)) as client:
        with pytest.raises(Retryable) as busy:
            await get(client.session({}))
    assert busy.value.retry_after is not None
    assert 3590 < busy.value.retry_after <= 3600


@pytest.mark.parametrize("header", ["soon", "-5", "nan", "", "Tue, 99 Foo 2026"])
async def test_a_time_to_wait_that_is_none_is_as_good_as_not_said(serve: Any, header: str) -> None:
    async with serve(saying((429, b"", {"Retry-After": header}), OK)) as server, Client(config(server)) as client:
        assert (await get(client.session({}))).status == 200


async def test_a_wait_beyond_the_budget_is_left_to_the_caller(serve: Any, waits: list[float]) -> None:
    answer = (429, b"", {"Retry-After": "86400"})
    async with serve(saying(answer)) as server, Client(config(server)) as client:
        with pytest.raises(Retryable) as busy:
            await get(client.session({}))
    assert (busy.value.retry_after, busy.value.code, len(server.heard), waits) == (86400, "429", 1, [])


async def test_pauses_grow_and_are_jittered(serve: Any, waits: list[float]) -> None:
    settings: dict[str, Any] = {"attempts": 4, "wait_initial": 0.02, "wait_jitter": 0.01, "wait_max": 0.05}
    async with serve(saying((500, b""))) as server, Client(config(server, **settings)) as client:
        with pytest.raises(Retryable):
            await get(client.session({}))
    bounds = zip((0.02, 0.04, 0.05), waits, (0.03, 0.05, 0.05), strict=True)
    assert [low <= round(wait, 9) <= high for low, wait, high in bounds] == [True] * 3


async def test_retries_end_with_the_budget(serve: Any, waits: list[float]) -> None:
    settings: dict[str, Any] = {"attempts": 1000, "budget": 0.2, "wait_initial": 0.05, "wait_jitter": 0}
    async with serve(saying((500, b""))) as server, Client(config(server, **settings)) as client:
        with pytest.raises(Retryable):
            await get(client.session({}))
    assert len(server.heard) <= 5


async def _never(heard: Any) -> Any:
    await asyncio.Event().wait()


async def test_a_server_that_does_not_answer_is_given_up(serve: Any) -> None:
    async with serve(_never) as server, Client(config(server, read_timeout=0.05, attempts=2)) as client:
        with pytest.raises(Retryable, match=r"found none in time \(ReadTimeout\)"):
            await get(client.session({}))
    assert len(server.heard) == 2


async def test_a_body_that_drips_is_given_up(serve: Any) -> None:
    async def drip(heard: Any, wire: Any) -> None:
        wire.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not wire.is_closing():
            wire.write(b" ")
            await asyncio.sleep(0.01)

    async with serve(drip) as server, Client(config(server, total_timeout=0.2, attempts=1)) as client:
        with pytest.raises(Retryable, match=r"found none in time \(TimeoutError\)"):
            await get(client.session({}))


async def test_nobody_listening_is_retryable(serve: Any) -> None:
    async with serve(saying(OK)) as server:
        pass
    async with Client(config(server, attempts=2)) as client:
        with pytest.raises(Retryable, match=r"found a broken connection \(ConnectError\)"):
            await get(client.session({}))


async def test_a_body_stops_at_the_limit(serve: Any) -> None:
    body = b"[" + b"1," * 500_000 + b"1]"
    async with serve(saying((200, body))) as server, Client(config(server, max_body=1000)) as client:
        with pytest.raises(BadData, match="expected at most 1000 bytes from GET /things") as large:
            await get(client.session({}))
        assert large.value.scope == "stream"
        assert client.bytes < len(body)
    async with serve(saying((200, body))) as server, Client(config(server, max_body=len(body))) as client:
        assert (await get(client.session({}))).body == body


async def test_a_connection_has_only_so_many_requests_in_flight(serve: Any) -> None:
    flying: dict[str, int] = {"a": 0, "b": 0}
    most = dict(flying)
    gate = asyncio.Event()

    async def say(heard: Any) -> Any:
        who = heard.headers["who"]
        flying[who] += 1
        most[who] = max(most[who], flying[who])
        if flying == {"a": 2, "b": 2}:
            gate.set()
        await gate.wait()
        flying[who] -= 1
        return OK

    async with serve(say) as server, Client(config(server, per_connection=2)) as client:
        first, second = client.session({}), client.session({})
        async with asyncio.timeout(10):
            await asyncio.gather(
                *(first.get("/", classify=unexpected, headers={"who": "a"}) for _ in range(20)),
                *(second.get("/", classify=unexpected, headers={"who": "b"}) for _ in range(2)),
            )
    assert most == {"a": 2, "b": 2}


async def test_all_connections_of_a_provider_share_its_budget(serve: Any) -> None:
    async with serve(saying(OK)) as server, Client(config(server, requests_per_second=20, per_connection=9)) as client:
        started = time.monotonic()
        await asyncio.gather(*(get(client.session({})) for _ in range(30)))
        took = time.monotonic() - started
    assert len(server.heard) == 30
    assert 0.4 <= took <= 5


@pytest.mark.parametrize(
    "url",
    [
        "api.example.com",
        "ftp://example.com",
        "https://",
        "https://user:pass@example.com",
        "https://a.b/?x=1",
        "http://",
        "\0",
    ],
)
def test_a_base_url_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(Misconfigured, match="expected a provider's base URL like https://") as wrong:
        Client(ClientConfig(base_url=url))
    assert "pass" not in wrong.value.message
    assert wrong.value.scope == "provider"


async def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(saying(OK)) as proxy, serve(saying(OK)) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        async with Client(config(server)) as here, Client(config(server, base_url="http://bank.example")) as outside:
            await get(here.session({}))
            await get(outside.session({}))
    assert (server.targets, proxy.targets) == (["/things?count=5"], ["http://bank.example/things?count=5"])


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("pem")
    application, other = authority.issue_cert("app.example.com"), authority.issue_cert("other.example.com")
    strange = trustme.CA().issue_cert("app.example.com")
    written = {
        "authority": authority.cert_pem.bytes(),
        "certificate": application.cert_chain_pems[0].bytes(),
        "private_key": application.private_key_pem.bytes(),
        "other_key": other.private_key_pem.bytes(),
        "strange_certificate": strange.cert_chain_pems[0].bytes(),
        "strange_key": strange.private_key_pem.bytes(),
        "rubbish": b"rubbish",
    }
    for name, content in written.items():
        (place / name).write_bytes(content)
    return {name: place / name for name in [*written, "missing"]}


class _Things(BaseHTTPRequestHandler):
    heard: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.heard.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, *args: Any) -> None:
        """Say nothing on stderr."""


class _Strict(ThreadingHTTPServer):
    """Demands a client certificate, and says so in a TLS alert as servers do that asyncio does not run."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A refused handshake is what these tests want; unread bytes at its end would reset the alert away."""
        with socket.socket(fileno=request.detach()) as plain, contextlib.suppress(OSError):
            plain.settimeout(5)
            plain.shutdown(socket.SHUT_WR)
            while plain.recv(65536):
                pass

    def shutdown_request(self, request: Any) -> None:
        """Close what is still open."""
        if request.fileno() >= 0:
            super().shutdown_request(request)


@pytest.fixture(scope="module", params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda tls: tls.name)
def strict(request: pytest.FixtureRequest, authority: trustme.CA) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = request.param
    authority.issue_cert("localhost").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    with _Strict(("127.0.0.1", 0), _Things) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield f"https://localhost:{server.server_port}"
        server.shutdown()


async def test_the_application_shows_its_certificate(strict: str, files: dict[str, Path]) -> None:
    shown: dict[str, Any] = {name: files[name] for name in ("authority", "certificate", "private_key")}
    async with Client(ClientConfig(base_url=strict, **shown)) as client:
        assert (await get(client.session({}))).body == b"[]"


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ({"authority": "authority"}, "expects a client certificate, found none"),
        (
            {"authority": "authority", "certificate": "strange_certificate", "private_key": "strange_key"},
            "expects a client certificate, found one it does not accept",
        ),
        ({"certificate": "certificate", "private_key": "private_key"}, "that is trusted here, found: "),
    ],
)
async def test_tls_that_is_refused_stops_the_provider(
    strict: str, files: dict[str, Path], names: dict[str, str], sentence: str
) -> None:
    shown: dict[str, Any] = {name: files[file] for name, file in names.items()}
    _Things.heard.clear()
    async with Client(ClientConfig(base_url=strict, **shown)) as client:
        session = client.session({})
        with pytest.raises(Misconfigured, match=sentence) as wrong:
            await get(session)
    assert (_Things.heard, session.requests, wrong.value.scope) == ([], 1, "provider")


async def test_a_server_that_hangs_up_may_miss_the_certificate(serve: Any, authority: trustme.CA, files: Any) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    async with (
        serve(saying(None), tls=context) as server,
        Client(config(server, authority=files["authority"])) as client,
    ):
        with pytest.raises(Retryable, match="it may miss the application's client certificate"):
            await get(client.session({}))


@pytest.mark.parametrize(
    ("certificate", "private_key"),
    [
        ("certificate", None),
        (None, "private_key"),
        ("missing", "private_key"),
        ("certificate", "missing"),
        ("rubbish", "private_key"),
        ("certificate", "rubbish"),
        ("certificate", "other_key"),
    ],
)
def test_files_that_are_no_certificate_and_key_are_refused(
    files: dict[str, Path], certificate: str | None, private_key: str | None
) -> None:
    with pytest.raises(Misconfigured, match=r"^expected .*certificate.*private key.*, found") as wrong:
        Client(
            ClientConfig(
                base_url="https://api.example.com",
                certificate=files[certificate] if certificate else None,
                private_key=files[private_key] if private_key else None,
            )
        )
    assert wrong.value.scope == "provider"


def test_an_error_knows_its_code_and_its_reach() -> None:
    error = Retryable("later", code="429", scope="account", retry_after=2.5)
    assert isinstance(error, ConnectorError)
    assert (str(error), error.code, error.scope, error.retry_after) == ("later", "429", "account", 2.5)
