"""How the census calls: within its allowance of requests, and with refusals told apart from failures.

Belongs here: what is the same for all providers. Does not belong here: paths and parameters (a module for each provider).
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import httpx
from pydantic import SecretStr

from connectors import Client, ClientConfig, ConnectorError, Retryable, Session
from connectors._auth import Bearer
from connectors._http import Content, Params, Reply
from ledgerlake.integrity.census._json import at_path, decode, members

ATTEMPTS = 3
BUDGET = 30.0
"""Seconds for a request with its retries: a verification does not wait as long as a sync does."""

_CODES = (("error", "code"), ("error_code",), ("errorCode",), ("type",))
_CODE = re.compile(r"[A-Za-z][A-Za-z_.]{0,79}", re.ASCII)
_TRANSIENT = frozenset({408, 425})


class Spent(Exception):  # noqa: N818 - reads as the state it tells
    """The connection's allowance of requests is used up: the next one was not made."""


class Refused(ConnectorError):  # noqa: N818 - one of the connectors' tree, whose names say who acts
    """The provider does not show what was asked for, and will not at the next try either."""


class Busy(ConnectorError):  # noqa: N818
    """The provider has no room now: the census does not press, since syncs need it more."""


class Frugal(Client):
    """A provider's client that makes no request beyond a session's allowance, retries counted."""

    def __init__(self, config: ClientConfig) -> None:
        super().__init__(replace(config, attempts=min(config.attempts, ATTEMPTS), budget=min(config.budget, BUDGET)))
        self._allowed: WeakKeyDictionary[Session, int] = WeakKeyDictionary()

    def allow(self, secrets: Mapping[str, SecretStr], requests: int) -> Session:
        """A session that may make so many requests."""
        session = self.session(secrets)
        self._allowed[session] = requests
        return session

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
        """One try. Raises Spent where it would be one too many."""
        if session.requests >= self._allowed[session]:
            raise Spent
        return await super().attempt(session, method, path, params, headers, auth, content)


class Caller:
    """One connection's calls. `headers` go with each of them, and the `token` as the bearer where there is one."""

    def __init__(
        self, session: Session, headers: Mapping[str, str] | None = None, *, token: SecretStr | None = None
    ) -> None:
        self.session = session
        self._headers = dict(headers or {})
        self._token = token

    async def get(self, path: str, params: Params | None = None, *, auth: httpx.Auth | None = None) -> Reply:
        """The answer to a GET. Raises Refused, Busy, or what the kit raises."""
        return await self.session.get(
            path, params, classify=self._meaning, auth=auth or self._bearer, headers=self._headers
        )

    async def post(self, path: str, content: Content) -> Reply:
        """The answer to a POST that changes nothing; raises as `get` does."""
        return await self.session.post(
            path, content=content, classify=self._meaning, auth=self._bearer, headers=self._headers
        )

    @property
    def _bearer(self) -> httpx.Auth | None:
        return None if self._token is None else Bearer(self._token)

    def _meaning(self, reply: Reply) -> ConnectorError:
        code = self._code(reply)
        said = f"expected an answer to {reply.request}, found HTTP {reply.status}" + (f" ({code})" if code else "")
        if reply.status == 429:
            return Busy(f"{said}: it is asked again at the next census", code=code)
        if reply.status >= 500 or reply.status in _TRANSIENT or reply.is_html:
            return Retryable(f"{said}: it is asked again at the next census", code=code)
        return Refused(f"{said}: what the source holds there is not known", code=code)

    def _code(self, reply: Reply) -> str | None:
        """The provider's own code. Whatever does not look like one, or is part of a secret, is not repeated."""
        with suppress(ConnectorError):
            told: dict[str, Any] = {name: one.value for name, one in members(decode(reply.body), "an error").items()}
            for path in _CODES:
                code = at_path(told, *path)
                if isinstance(code, str) and _CODE.fullmatch(code) and not self._is_secret(code):
                    return code
        return None

    def _is_secret(self, text: str) -> bool:
        held = [
            *self.session.secrets.values(),
            *self.session.credentials.values(),
            *([self._token] if self._token else []),
        ]
        return any(text in value or value in text for one in held if (value := one.get_secret_value()))
