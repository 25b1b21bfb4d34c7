"""Plaid counted again: `/transactions/get` by ranges of days and offsets, whose total says when all has come.

Syncs read the feed of changes instead; what that feed forgets is here.

Source: https://plaid.com/docs/api/products/transactions/#transactionsget
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import date, timedelta
from typing import Any, ClassVar

from connectors import BadData, Misconfigured, Retryable, Session
from connectors._http import Content
from ledgerlake.integrity.census._client import Caller
from ledgerlake.integrity.census._json import at_path, decode, elements, members, text_at
from ledgerlake.integrity.census._source import Listing, Row, Scope, Span, day_of

_COUNT = 500
_OLDEST = date(2000, 1, 1)
_AHEAD = timedelta(days=14)


class Plaid:
    """One Item."""

    provider: ClassVar[str] = "plaid"

    def __init__(self, session: Session, today: date) -> None:
        self._call = Caller(session, {"Plaid-Version": "2020-09-14"})
        self._today = today

    @staticmethod
    def scopes(accounts: Iterable[Row]) -> list[Scope]:
        return [Scope("transactions", None, _COUNT)]

    @staticmethod
    def balances_of(accounts: Iterable[Row]) -> list[str]:
        return []

    @staticmethod
    def postponed(cursor: Mapping[str, Any] | None, today: date, calls: int) -> str | None:
        return None

    async def listing(self) -> Listing:
        told = await self._ask("/accounts/get", {})
        found = [(text_at(one.value, "account_id"), one) for one in elements(told["accounts"].text, "Plaid's accounts")]
        readings = [
            Row(f"{account}:{self._today}", account, self._today, False, one.text)
            for account, one in found
            if any(at_path(one.value, "balances", name) is not None for name in ("current", "available"))
        ]
        return Listing([Row(account, account, None, False, one.text) for account, one in found], readings)

    async def balance(self, account_id: str) -> list[Row]:
        raise ValueError("Plaid tells balances with its accounts")

    async def records(self, scope: Scope, span: Span, accounts: Iterable[Row]) -> AsyncIterator[list[Row]]:
        since, until = span.since or _OLDEST, span.until or self._today + _AHEAD
        total: int | None = None
        shown = 0
        ids: set[str | None] = set()
        while total is None or shown < total:
            told = await self._ask(
                "/transactions/get",
                {
                    "start_date": since.isoformat(),
                    "end_date": until.isoformat(),
                    "options": {"count": _COUNT, "offset": shown},
                },
            )
            page = [
                Row(
                    text_at(one.value, "transaction_id"), text_at(one.value, "account_id"),
                    day_of(at_path(one.value, "date")), at_path(one.value, "pending") is True, one.text,
                )
                for one in elements(told["transactions"].text, "Plaid's transactions")
            ]  # fmt: skip
            counted = int(told["total_transactions"].value)
            shown += len(page)
            ids.update(row.record_id for row in page)
            if counted != (counted if total is None else total) or (not page and shown < counted):
                raise _moving(since, until)
            total = counted
            yield page
        if None not in ids and len(ids) != total:
            raise _moving(since, until)

    async def _ask(self, path: str, more: Mapping[str, object]) -> dict[str, Any]:
        credentials, token = self._call.session.credentials, self._call.session.secrets["access_token"]
        missing = [name for name in ("client_id", "secret") if name not in credentials]
        if missing:
            raise Misconfigured(
                f"expected the application's {' and '.join(missing)} at Plaid, found none: set LEDGERLAKE_PLAID_CLIENT_ID and"
                " LEDGERLAKE_PLAID_SECRET",
                scope="provider",
            )
        keys = {"client_id": credentials["client_id"], "secret": credentials["secret"], "access_token": token}
        sent = Content(json={name: one.get_secret_value() for name, one in keys.items()} | dict(more))
        reply = await self._call.post(path, sent)
        told = members(decode(reply.body), f"the answer to {reply.request}")
        wanted = {"/accounts/get": ("accounts",), "/transactions/get": ("transactions", "total_transactions")}[path]
        if lacking := [name for name in wanted if name not in told]:
            raise BadData(f"expected {' and '.join(lacking)} from {reply.request}, found none", scope="stream")
        return told


def _moving(since: date, until: date) -> Retryable:
    return Retryable(
        f"expected Plaid's transactions of {since} to {until} to stay as they are while they are counted, found that they"
        " moved: they are counted at the next census",
        scope="stream",
    )
