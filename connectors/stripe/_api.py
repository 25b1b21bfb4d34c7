"""One request at Stripe: with the key, the pinned version, and the connected account if there is one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from connectors._auth import Bearer
from connectors._errors import ConnectorError
from connectors._http import Reply, Session
from connectors.stripe._answers import classify

VERSION = "2026-08-26.dahlia"
LIMIT = 100
"""Objects of a page, the most there can be."""


class Api:
    """Asks as one account."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._auth = Bearer(session.secrets["api_key"])
        self._headers = {"Stripe-Version": VERSION}
        if "account" in session.secrets:
            self._headers["Stripe-Account"] = session.secrets["account"].get_secret_value()

    async def get(
        self,
        path: str,
        params: Mapping[str, str | int] | None = None,
        *,
        passing: Callable[[Reply], bool] | None = None,
    ) -> Reply:
        connected = "Stripe-Account" in self._headers

        def meaning(reply: Reply) -> ConnectorError | None:
            return None if passing is not None and passing(reply) else classify(reply, connected=connected)

        return await self._session.get(path, params, classify=meaning, auth=self._auth, headers=self._headers)
