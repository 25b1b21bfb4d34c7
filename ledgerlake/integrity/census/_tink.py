"""Tink counted again: transactions of all accounts of the consent by ranges of booking days.

Syncs read account by account, and only those that were refreshed.

Source: https://docs.tink.com/api
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import date
from typing import Any, ClassVar

from pydantic import SecretStr

from connectors import BadData, Misconfigured, Retryable, Session
from connectors._http import Content, Reply
from ledgerlake.integrity.census._client import Caller, Refused
from ledgerlake.integrity.census._json import Piece, at_path, decode, elements, members, text_at
from ledgerlake.integrity.census._source import Listing, Row, Scope, Span, day_of

_PAGE = 100
_SCOPE = "accounts:read,balances:read,transactions:read,provider-consents:read"
_NO_END = date(2099, 12, 31)


class Tink:
    """One consent of a user."""

    provider: ClassVar[str] = "tink"

    def __init__(self, session: Session, today: date) -> None:
        self._session = session
        self._user: Caller | None = None
        self._today = today

    @staticmethod
    def scopes(accounts: Iterable[Row]) -> list[Scope]:
        return [Scope("transactions", None, _PAGE)] if any(True for _ in accounts) else []

    @staticmethod
    def balances_of(accounts: Iterable[Row]) -> list[str]:
        return []

    @staticmethod
    def postponed(cursor: Mapping[str, Any] | None, today: date, calls: int) -> str | None:
        return None

    async def listing(self) -> Listing:
        """The accounts that the consent names: the user may have others by other consents."""
        named = await self._named()
        accounts: list[Row] = []
        readings: list[Row] = []
        if not named:
            return Listing([], [])
        async for page in self._pages("/data/v2/accounts", {"idIn": named}, "accounts"):
            for one in page:
                account = text_at(one.value, "id")
                accounts.append(Row(account, account, None, False, one.text))
                balances = members(one.text, "an account of Tink").get("balances")
                if balances is not None and balances.value:
                    day = day_of(at_path(one.value, "dates", "lastRefreshed")) or self._today
                    readings.append(Row(f"{account}:{day}", account, day, False, balances.text))
        return Listing(accounts, readings)

    async def balance(self, account_id: str) -> list[Row]:
        raise ValueError("Tink tells balances with its accounts")

    async def records(self, scope: Scope, span: Span, accounts: Iterable[Row]) -> AsyncIterator[list[Row]]:
        params = {
            "accountIdIn": sorted(row.account_id for row in accounts if row.account_id),
            # Tink's own default would end today, and a pending row is dated when it is expected.
            "bookedDateLte": (span.until or _NO_END).isoformat(),
        }
        if span.since is not None:
            params["bookedDateGte"] = span.since.isoformat()
        async for page in self._pages("/data/v2/transactions", params, "transactions"):
            yield [
                Row(
                    text_at(one.value, "id"), text_at(one.value, "accountId"), day_of(at_path(one.value, "dates", "booked")),
                    text_at(one.value, "status") == "PENDING", one.text,
                )
                for one in page
            ]  # fmt: skip

    async def _pages(self, path: str, params: Mapping[str, Any], name: str) -> AsyncIterator[list[Piece]]:
        token: str | None = None
        seen: set[str] = set()
        while True:
            query = {**params, "pageSize": _PAGE} | ({"pageToken": token} if token else {})
            reply = await self._get(path, query)
            told = members(decode(reply.body), f"the answer to {reply.request}")
            if name in told:
                yield list(elements(told[name].text, f"Tink's {name}"))
            elif "nextPageToken" not in told:
                raise BadData(f"expected {name} from {reply.request}, found none", scope="stream")
            token = str(told["nextPageToken"].value or "") if "nextPageToken" in told else ""
            if not token:
                return
            if token in seen:
                raise Retryable(
                    f"expected more {name} after {reply.request}, found the same page again", scope="stream"
                )
            seen.add(token)

    async def _named(self) -> list[str]:
        consent = self._session.secrets["credentials_id"].get_secret_value()
        reply = await self._get("/api/v1/provider-consents", {"credentialsId": consent})
        told = members(decode(reply.body), "Tink's consents")
        for one in elements(told["providerConsents"].text if "providerConsents" in told else "[]", "Tink's consents"):
            if text_at(one.value, "credentialsId") == consent:
                return [account for account in at_path(one.value, "accountIds") or [] if isinstance(account, str)]
        raise Refused("expected this connection's consent in Tink's list, found it no more")

    async def _get(self, path: str, params: Mapping[str, Any]) -> Reply:
        if self._user is None:
            self._user = Caller(self._session, token=await self._user_token())
        return await self._user.get(path, params)

    async def _user_token(self) -> SecretStr:
        """A token of the user, by a code that is used once, by the application's own token."""
        application = Caller(self._session, token=await self._session.tokens.get("census", self._mint))
        user = self._session.secrets["external_user_id"].get_secret_value()
        asked = Content(form={"external_user_id": user, "scope": _SCOPE})
        code = _told(await application.post("/api/v1/oauth/authorization-grant", asked), "code")
        return _told(await self._token("authorization_code", code=code), "access_token")

    async def _mint(self) -> tuple[SecretStr, float]:
        scope = SecretStr("authorization:grant")
        return _told(await self._token("client_credentials", scope=scope), "access_token"), 600.0

    async def _token(self, grant: str, **more: SecretStr) -> Reply:
        keys = self._keys() | more
        form = {name: one.get_secret_value() for name, one in keys.items()} | {"grant_type": grant}
        return await Caller(self._session).post("/api/v1/oauth/token", Content(form=form))

    def _keys(self) -> dict[str, SecretStr]:
        credentials = self._session.credentials
        names = ("client_id", "client_secret")
        if missing := [name for name in names if name not in credentials]:
            raise Misconfigured(
                f"expected the application's {' and '.join(missing)} at Tink, found none: set LEDGERLAKE_TINK_CLIENT_ID and"
                " LEDGERLAKE_TINK_CLIENT_SECRET",
                scope="provider",
            )
        return {name: credentials[name] for name in names}


def _told(reply: Reply, name: str) -> SecretStr:
    told = members(decode(reply.body), f"the answer to {reply.request}")
    if name not in told or not isinstance(told[name].value, str):
        raise BadData(f"expected {name} from {reply.request}, found none")
    return SecretStr(told[name].value)
