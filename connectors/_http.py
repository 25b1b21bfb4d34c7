"""
HTTP for connectors: one `Client` a provider and process, one `Session` a connection on it.

Belongs here: timeouts, connection reuse, mTLS, the provider's rate budget, fairness between connections, retries, the
limit on a body, the count of requests, bytes and retries. Not here: what an answer means (the connector's
`classify` says it) and how a body splits into records (`_split`).

Errors are raised outside the handlers of the HTTP library's exceptions, so that no error drags along a
traceback whose frames hold an Authorization header.
"""

from __future__ import annotations

import asyncio
import functools
import json
import random
import re
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import httpx
import msgspec
import stamina
from aiolimiter import AsyncLimiter
from pydantic import SecretStr

from connectors._errors import BadData, ConnectorError, Misconfigured, Retryable

_RAW = msgspec.json.Decoder(msgspec.Raw)
_BUSY = frozenset({408, 425, 429})
_SECONDS = re.compile(r"\d{1,9}(?:\.\d+)?", re.ASCII)
_CERTIFICATE_ALERT = re.compile(r"ALERT.*CERTIFICATE|ALERT_HANDSHAKE_FAILURE|ALERT_UNKNOWN_CA")


@functools.cache
def _public_authorities() -> ssl.SSLContext:
    """Whom everybody trusts, read once a process: a context without a certificate of one's own can be shared."""
    return httpx.create_ssl_context()


@dataclass(frozen=True, kw_only=True)
class ClientConfig:
    """
    How to call one provider. Times are seconds.

    `certificate` and `private_key` are PEM files for mTLS, `authority` a PEM file of who vouches for the server
    where that is no public authority. `requests_per_second` is the provider's budget for all connections together,
    `per_connection` how many requests one connection may have in flight. `credentials` are the application's own, by
    the provider's names. `attempts` and `budget` bound a request
    with its retries, `total_timeout` one attempt.
    """

    base_url: str
    certificate: Path | None = None
    private_key: Path | None = None
    authority: Path | None = None
    requests_per_second: float = 20.0
    per_connection: int = 2
    sockets: int = 32
    max_body: int = 64 * 1024 * 1024
    attempts: int = 6
    budget: float = 180.0
    wait_initial: float = 0.5
    wait_max: float = 20.0
    wait_jitter: float = 1.0
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    total_timeout: float = 120.0
    user_agent: str = "ledgerlake"
    credentials: Mapping[str, SecretStr] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Reply:
    """An answer: `request` is method, path and query; `body` is whole and, with a 2xx status, JSON."""

    status: int
    request: str
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)

    def describe(self) -> str:
        """What came, for sentences; nothing of the body itself, since a body may echo a secret."""
        return f"HTTP {self.status} with {_content(self.body)}"

    @property
    def is_html(self) -> bool:
        """Whether a page for people came, which no API sends: a proxy, a firewall or a maintenance page."""
        return _is_html(self.body)


Params = Mapping[str, str | int | Sequence[str]]
"""A query; a name whose value is a sequence is repeated."""


class Content(NamedTuple):
    """The body of a request: JSON, a form, or none. It may hold secrets and is never shown."""

    json: object = None
    form: Mapping[str, str] | None = None

    def __repr__(self) -> str:
        return "Content(…)"


_NOTHING = Content()

Classify = Callable[[Reply], ConnectorError | None]
"""What an answer that is not 2xx means to the provider; None: it is an answer like any other, hand it back."""


def unexpected(reply: Reply) -> ConnectorError:
    """What an answer means that the provider's own rules say nothing of."""
    expected = f"expected JSON from {reply.request}, found {reply.describe()}"
    if reply.status in _BUSY or reply.status >= 500:
        return Retryable(f"{expected}: the provider is busy or down, try again later", code=str(reply.status))
    if 300 <= reply.status < 400:
        return Misconfigured(
            f"{expected}: redirects are not followed, since they would carry credentials elsewhere; set the"
            " provider's base URL to the address it is redirected to",
            code=str(reply.status),
            scope="provider",
        )
    if reply.is_html:
        return Retryable(
            f"{expected}: something between here and the provider answers in its place, try again later; if it"
            " stays so, check the provider's base URL and the proxy",
            code=str(reply.status),
        )
    return BadData(
        f"{expected}: the provider refuses a request that its protocol allows; if it stays so, this connector needs"
        " an update",
        code=str(reply.status),
        scope="stream",
    )


class TokenCache:
    """
    Tokens of the application, by name, each minted by one session while the others wait for it.

    A token that the provider refuses is dropped with `drop`, so that the next `get` mints another.
    """

    def __init__(self) -> None:
        self._tokens: dict[str, tuple[SecretStr, float]] = {}
        self._lock = asyncio.Lock()

    async def get(self, name: str, mint: Callable[[], Awaitable[tuple[SecretStr, float]]]) -> SecretStr:
        """The token of that name; `mint` gives a new one with the seconds that it lives."""
        async with self._lock:
            token, until = self._tokens.get(name, (SecretStr(""), 0.0))
            if time.monotonic() >= until:
                token, seconds = await mint()
                # A little earlier than it ends, so that none ends on its way.
                self._tokens[name] = (token, time.monotonic() + seconds * 0.9)
            return token

    def held(self, name: str) -> SecretStr | None:
        """The token of that name while it lives, for who mints another with its help."""
        token, until = self._tokens.get(name, (None, 0.0))
        return token if time.monotonic() < until else None

    def keep(self, name: str, token: SecretStr, seconds: float) -> None:
        """Keep a token that came along with another, and lives so long."""
        self._tokens[name] = (token, time.monotonic() + seconds * 0.9)

    def drop(self, name: str, token: SecretStr) -> None:
        """Forget that token, unless it has been replaced already."""
        if name in self._tokens and self._tokens[name][0] == token:
            del self._tokens[name]


class Client:
    """
    The HTTP client of one provider, used as an asynchronous context manager.

    Raises Misconfigured (scope provider) when the certificate, the key or the base URL cannot be used.
    """

    def __init__(self, config: ClientConfig) -> None:
        self.config = config
        self.requests = 0
        self.bytes = 0
        self.retries = 0
        base = _base_url(config.base_url)
        self.tokens = TokenCache()
        self._path_prefix = base.path.rstrip("/")
        rate = config.requests_per_second
        self._budget = AsyncLimiter(rate, 1) if rate >= 1 else AsyncLimiter(1, 1 / rate)
        self._http = httpx.AsyncClient(
            base_url=base,
            verify=_tls(config),
            headers={"Accept": "application/json", "User-Agent": config.user_agent},
            timeout=httpx.Timeout(config.read_timeout, connect=config.connect_timeout, pool=config.total_timeout),
            limits=httpx.Limits(max_connections=config.sockets, max_keepalive_connections=config.sockets),
            # A proxy of the environment is for the outside, never for a server on this machine.
            trust_env=base.host not in {"localhost", "127.0.0.1", "::1"},
            follow_redirects=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the idle sockets."""
        await self._http.aclose()

    def session(self, secrets: Mapping[str, SecretStr]) -> Session:
        """One connection's use of this client."""
        return Session(self, secrets)

    async def attempt(
        self,
        session: Session,
        method: str,
        path: str,
        params: Params,
        headers: Mapping[str, str],
        auth: httpx.Auth | None,
        content: Content,
    ) -> Reply:
        """One try. Raises Retryable for what another try may mend."""
        async with self._budget:
            self.count(session, requests=1)
            request = self._http.build_request(
                method, path, params=params or None, headers=headers, json=content.json, data=content.form
            )
            shown = f"{method} {request.url.raw_path.decode('ascii').removeprefix(self._path_prefix)}"
            try:
                async with asyncio.timeout(self.config.total_timeout):
                    response = await self._http.send(request, auth=auth, stream=True)
                    try:
                        body = await self._body(session, response)
                    finally:
                        await response.aclose()
            except (httpx.HTTPError, OSError) as error:  # OSError: a TLS alert after the handshake; TimeoutError
                failure = _transport(error, shown, self.config)
            else:
                if body is None:
                    failure = BadData(
                        f"expected at most {self.config.max_body} bytes from {shown}, found more: nothing of it is"
                        " stored; raise the limit on a body (max_body) if such an answer is right",
                        scope="stream",
                    )
                else:
                    return Reply(response.status_code, shown, body, response.headers)
        raise failure

    async def _body(self, session: Session, response: httpx.Response) -> bytes | None:
        """The whole body, or None as soon as it passes the limit."""
        chunks: list[bytes] = []
        size = 0
        try:
            async for chunk in response.aiter_bytes():
                size += len(chunk)
                if size > self.config.max_body:
                    return None
                chunks.append(chunk)
        finally:
            self.count(session, received=response.num_bytes_downloaded)
        return b"".join(chunks)

    def count(self, session: Session, *, requests: int = 0, received: int = 0, retries: int = 0) -> None:
        """Add to what this client and the session have used."""
        for counter in (self, session):
            counter.requests += requests
            counter.bytes += received
            counter.retries += retries


class Session:
    """
    One connection at its provider: its secrets, its share of the provider's budget, and what it has used so far.

    `requests` counts every attempt, `bytes` the bodies as they came over the wire, `retries` the attempts
    after the first.
    """

    def __init__(self, client: Client, secrets: Mapping[str, SecretStr]) -> None:
        self.secrets = secrets
        self.requests = 0
        self.bytes = 0
        self.retries = 0
        self._client = client
        self._in_flight = asyncio.Semaphore(client.config.per_connection)

    @property
    def credentials(self) -> Mapping[str, SecretStr]:
        """The application's own credentials at the provider, as the operator set them."""
        return self._client.config.credentials

    @property
    def tokens(self) -> TokenCache:
        """Where a provider's module keeps what it was given for the application: one for all its sessions."""
        return self._client.tokens

    async def get(
        self,
        path: str,
        params: Params | None = None,
        *,
        classify: Classify,
        auth: httpx.Auth | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """GET, with retries; see `request`."""
        return await self.request("GET", path, params=params, classify=classify, auth=auth, headers=headers)

    async def post(
        self,
        path: str,
        *,
        content: Content,
        classify: Classify,
        auth: httpx.Auth | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """POST with a JSON or a form body, with retries: only for what may be sent twice; see `request`."""
        return await self.request("POST", path, content=content, classify=classify, auth=auth, headers=headers)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        content: Content = _NOTHING,
        classify: Classify,
        auth: httpx.Auth | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """
        A request, with retries: a 2xx answer whose body is JSON, or one that `classify` lets pass.

        Raises what `classify` makes of any other answer; Retryable when no attempt within the budget brought JSON;
        Misconfigured when TLS is refused; BadData when the body passes the limit.
        """
        config = self._client.config
        started = time.monotonic()
        attempts = 0
        try:
            async with self._in_flight:
                async for attempt in stamina.retry_context(
                    on=_backoff(started, config),
                    attempts=config.attempts,
                    timeout=config.budget,
                    wait_initial=config.wait_initial,
                    wait_max=config.wait_max,
                    wait_jitter=config.wait_jitter,
                ):
                    with attempt:
                        attempts = attempt.num
                        self._client.count(self, retries=int(attempts > 1))
                        reply = await self._client.attempt(
                            self, method, path, params or {}, headers or {}, auth, content
                        )
                        return _checked(reply, classify)
            raise AssertionError("a retry context ends in a return or a raise")
        except Retryable as error:
            last = error
        took = f"{attempts} attempt{'s' * (attempts != 1)} in {time.monotonic() - started:.0f} s"
        raise Retryable(f"{last.message} ({took})", code=last.code, scope=last.scope, retry_after=last.retry_after)


def _checked(reply: Reply, classify: Classify) -> Reply:
    if 200 <= reply.status < 300:
        if _is_json(reply.body):
            return reply
        raise Retryable(
            f"expected JSON from {reply.request}, found {reply.describe()}: nothing of it is stored, try again later"
        )
    error = classify(reply)
    if error is None:
        return reply
    if isinstance(error, Retryable) and error.retry_after is None:
        error.retry_after = _retry_after(reply.headers)
    raise error


def _backoff(started: float, config: ClientConfig) -> Callable[[Exception], bool | float]:
    """Whether to try again, and after how long where the provider says so itself."""

    def hook(error: Exception) -> bool | float:
        if not isinstance(error, Retryable):
            return False
        if error.retry_after is None:
            return True
        left = started + config.budget - time.monotonic()
        if error.retry_after > left:
            return False
        return error.retry_after + random.uniform(0, config.wait_jitter)  # noqa: S311 (spreads load)

    return hook


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds, from either of its forms (RFC 9110, 10.2.3)."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def _transport(error: Exception, shown: str, config: ClientConfig) -> ConnectorError:
    """What a request means that brought no whole answer."""
    tls = _tls_failure(error)
    if isinstance(tls, ssl.SSLCertVerificationError):
        return Misconfigured(
            f"expected a certificate of {config.base_url} that is trusted here, found: {tls.verify_message}; check the"
            " provider's base URL, or give the authority that signed it",
            scope="provider",
        )
    if tls is not None and _CERTIFICATE_ALERT.search(str(tls.reason)):
        found = "one it does not accept" if config.certificate else "none"
        return Misconfigured(
            f"{config.base_url} expects a client certificate, found {found} ({tls.reason}); set certificate and"
            " private key of the application to the provider's PEM files",
            scope="provider",
        )
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        found = f"none in time ({type(error).__name__})"
    elif isinstance(error, httpx.DecodingError):
        found = "one whose compression is broken"
    elif isinstance(error, httpx.RemoteProtocolError):
        found = "one cut off before its end"
    else:
        found = f"a broken connection ({type(error).__name__})"
    hint = ""
    if isinstance(error, httpx.NetworkError) and config.base_url.startswith("https:") and not config.certificate:
        # Some servers hang up without a word on a client that shows no certificate.
        hint = "; if it stays so, it may miss the application's client certificate"
    return Retryable(f"expected an answer to {shown}, found {found}: nothing of it is stored, try again later{hint}")


def _tls_failure(error: BaseException | None) -> ssl.SSLError | None:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _base_url(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in {"http", "https"} or not url.host or url.userinfo or url.query or url.fragment:
        raise Misconfigured(
            "expected a provider's base URL like https://api.example.com, without user, query and fragment, found"
            f" {url.scheme or 'no scheme'!r} with {'a' if url.host else 'no'} host; correct the setting",
            scope="provider",
        )
    return url


def _tls(config: ClientConfig) -> ssl.SSLContext:
    """The TLS side of a client: who is trusted, and the application's own certificate."""
    if (config.certificate is None) != (config.private_key is None):
        raise Misconfigured(
            "expected a client certificate and its private key, found only one of the two; set both, or neither",
            scope="provider",
        )
    try:
        if config.authority is None:
            context = httpx.create_ssl_context() if config.certificate else _public_authorities()
        else:
            context = ssl.create_default_context(cafile=config.authority)
        if config.certificate is not None:
            # An empty password, so that an encrypted key is an error and no prompt.
            context.load_cert_chain(config.certificate, config.private_key, password="")
    except (OSError, ValueError) as error:
        files = ", ".join(str(path) for path in (config.authority, config.certificate, config.private_key) if path)
        raise Misconfigured(
            "expected PEM files of a certificate, and of the unencrypted private key that belongs to it, at"
            f" {files}, found: {error}; correct the paths or the files",
            scope="provider",
        ) from None
    return context


def _is_json(body: bytes) -> bool:
    """Whether the body is one JSON text. A string in it that is not Unicode is the affair of its record alone."""
    try:
        _RAW.decode(body)
    except msgspec.DecodeError:
        try:
            json.loads(body.decode("utf-8", "surrogateescape"))
        except RecursionError:
            return True
        except ValueError:
            return False
    except RecursionError:
        return True
    return True


def _is_html(body: bytes) -> bool:
    return body.lstrip()[:1] == b"<"


def _content(body: bytes) -> str:
    if not body.strip():
        return "an empty body"
    if _is_html(body):
        return f"a page of HTML ({len(body)} bytes)"
    if _is_json(body):
        return f"a JSON body ({len(body)} bytes)"
    return f"JSON that is broken or cut off ({len(body)} bytes)"
