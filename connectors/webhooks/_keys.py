"""
The public keys that Plaid signs its webhooks with, asked for by their id and remembered.

Belongs here: `/webhook_verification_key/get` and what is remembered of it. Not here: tokens (`plaid`).

Whoever sends a token chooses the id of its key before anything is proved. So an id that Plaid does not know is
remembered, too, and only a few new ids a minute are asked for at all.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Literal, NamedTuple

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from connectors._errors import BadData, ConnectorError, Misconfigured, Retryable
from connectors._http import Client, Content, Reply, unexpected

KNOWN_FOR = 3600.0
"""Seconds after which a key is asked for again: it may have expired since."""
UNKNOWN_FOR = 3600.0
MOST = 256
"""So many unknown ids are remembered."""
NEW_A_MINUTE = 10
"""So many ids that are not known as good are asked for in a minute."""

_PATH = "/webhook_verification_key/get"
_NAMES = ("client_id", "secret")
_OURS = frozenset({"INVALID_API_KEYS", "UNAUTHORIZED_ENVIRONMENT", "MISSING_FIELDS"})
_BUSY = frozenset({"RATE_LIMIT_EXCEEDED", "API_ERROR", "INSTITUTION_ERROR"})


class _Jwk(msgspec.Struct):
    kid: str
    alg: Literal["ES256"]
    crv: Literal["P-256"]
    kty: Literal["EC"]
    x: str
    y: str
    expired_at: int | None = None


class _Found(msgspec.Struct):
    key: _Jwk


class _Fault(msgspec.Struct):
    error_type: str = ""
    error_code: str = ""


class _Remembered(NamedTuple):
    key: ECKey | None
    until: float


class Keys:
    """
    Keys by id, through a client of Plaid that has the application's credentials.

    The client's limits are the request's own: it is waiting for us while we ask.
    """

    def __init__(self, client: Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._session = client.session({})
        self._clock = clock
        self._known: dict[str, _Remembered] = {}
        self._asked: deque[float] = deque(maxlen=NEW_A_MINUTE)
        self._lock = asyncio.Lock()

    async def get(self, kid: str) -> ECKey | None:
        """
        That key; None when Plaid does not know it, or it has expired.

        Raises Retryable when Plaid does not answer, or was asked for too many new ids; Misconfigured when it refuses the
        application.
        """
        if (known := self._fresh(kid)) is not None:
            return known.key
        async with self._lock:
            if (known := self._fresh(kid)) is not None:
                return known.key  # asked for by who held the lock
            known = self._known.get(kid)
            if known is None or known.key is None:
                self._ration()
            key = await self._fetch(kid)
            if key is not None and known is None:
                # Plaid signs with a new key, so the ones before it may have expired.
                self._known = {
                    one: kept._replace(until=0 if kept.key else kept.until) for one, kept in self._known.items()
                }
            self._known[kid] = _Remembered(key, self._clock() + (UNKNOWN_FOR if key is None else KNOWN_FOR))
            unknown = [one for one, kept in self._known.items() if kept.key is None]
            if len(unknown) > MOST:
                del self._known[unknown[0]]
            return key

    def _fresh(self, kid: str) -> _Remembered | None:
        known = self._known.get(kid)
        return known if known is not None and self._clock() < known.until else None

    def _ration(self) -> None:
        now = self._clock()
        if len(self._asked) == NEW_A_MINUTE and now - self._asked[0] < 60:
            raise Retryable(
                f"expected few new keys of webhooks, found more than {NEW_A_MINUTE} within a minute: somebody makes them"
                " up; the next ones wait",
                code="KEYS",
            )
        self._asked.append(now)

    async def _fetch(self, kid: str) -> ECKey | None:
        given = self._session.credentials
        if not all(name in given and given[name].get_secret_value().strip() for name in _NAMES):
            raise Misconfigured(
                "expected the application's credentials at Plaid, for the keys of its webhooks, found none: set"
                " LEDGERLAKE_PLAID_CLIENT_ID and LEDGERLAKE_PLAID_SECRET",
                scope="provider",
            )
        content = Content({name: given[name].get_secret_value() for name in _NAMES} | {"key_id": kid})
        reply = await self._session.post(_PATH, content=content, classify=_classify)
        if not 200 <= reply.status < 300:
            return None
        try:
            told = msgspec.json.decode(reply.body, type=_Found).key
            key = ECKey.import_key({"kty": told.kty, "crv": told.crv, "x": told.x, "y": told.y})
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, JoseError, ValueError):
            raise BadData(f"expected a key of ES256 from {reply.request}, found another answer") from None
        return key if told.kid == kid and told.expired_at is None else None


def _classify(reply: Reply) -> ConnectorError | None:
    """Plaid says with a 4xx that it has no such key; what says that of something else is an error."""
    try:
        fault = msgspec.json.decode(reply.body, type=_Fault)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return unexpected(reply)
    if fault.error_code in _OURS or reply.status in {401, 403}:
        return Misconfigured(
            f"Plaid refuses the application at {reply.request}: check LEDGERLAKE_PLAID_CLIENT_ID,"
            " LEDGERLAKE_PLAID_SECRET and LEDGERLAKE_PLAID_URL",
            code=fault.error_code or str(reply.status),
            scope="provider",
        )
    unknown = reply.status in {400, 404} and fault.error_code and fault.error_type not in _BUSY
    return None if unknown else unexpected(reply)
