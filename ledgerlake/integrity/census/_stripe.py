"""Stripe counted again: each list by ranges of the time of creation.

Syncs read the events instead, and then the objects that those name; what the events forget is here.

Source: https://docs.stripe.com/api/pagination
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar

from connectors import BadData, Retryable, Session
from connectors.stripe._api import VERSION
from ledgerlake.integrity.census._client import Caller
from ledgerlake.integrity.census._json import at_path, decode, elements, members, text_at
from ledgerlake.integrity.census._source import Listing, Row, Scope, Span

_LIMIT = 100
_EVERY = {
    "balance_transactions": 1,
    "charges": 1,
    "invoices": 1,
    "refunds": 3,
    "payouts": 3,
    "subscriptions": 7,
    "disputes": 7,
    "credit_notes": 7,
}
"""In how many days what is recent of a list is counted once: the ledger daily, what also shows there less often."""


class Stripe:
    """One account."""

    provider: ClassVar[str] = "stripe"

    def __init__(self, session: Session, today: date) -> None:
        headers = {"Stripe-Version": VERSION}
        if "account" in session.secrets:
            headers["Stripe-Account"] = session.secrets["account"].get_secret_value()
        self._call = Caller(session, headers, token=session.secrets["api_key"])

    @staticmethod
    def scopes(accounts: Iterable[Row]) -> list[Scope]:
        return [Scope(stream, None, _LIMIT, every) for stream, every in _EVERY.items()]

    @staticmethod
    def balances_of(accounts: Iterable[Row]) -> list[str]:
        return []

    @staticmethod
    def postponed(cursor: Mapping[str, Any] | None, today: date, calls: int) -> str | None:
        return None

    async def listing(self) -> Listing:
        text = decode((await self._call.get("/v1/account")).body).strip()
        told = members(text, "an account of Stripe")
        account = str(told["id"].value) if "id" in told else None
        return Listing([Row(account, account, None, False, text)])

    async def balance(self, account_id: str) -> list[Row]:
        raise ValueError("an account of Stripe has no balance that syncs read")

    async def records(self, scope: Scope, span: Span, accounts: Iterable[Row]) -> AsyncIterator[list[Row]]:
        query: dict[str, str] = {"limit": str(_LIMIT)}
        if span.since is not None:
            query["created[gte]"] = str(_second(span.since))
        if span.until is not None:
            query["created[lt]"] = str(_second(span.until + timedelta(days=1)))
        if scope.stream == "subscriptions":
            query["status"] = "all"
        after: str | None = None
        while True:
            reply = await self._call.get(f"/v1/{scope.stream}", query | ({"starting_after": after} if after else {}))
            told = members(decode(reply.body), f"the answer to {reply.request}")
            if "data" not in told or "has_more" not in told:
                raise BadData(f"expected a list from {reply.request}, found none", scope="stream")
            page = [
                Row(
                    text_at(one.value, "id"), None, _day(at_path(one.value, "created")),
                    scope.stream == "balance_transactions" and text_at(one.value, "status") == "pending", one.text,
                )
                for one in elements(told["data"].text, f"Stripe's {scope.stream}")
            ]  # fmt: skip
            yield page
            if told["has_more"].value is not True:
                return
            last = next((row.record_id for row in reversed(page) if row.record_id), None)
            if last is None or last == after:
                raise Retryable(f"expected more {scope.stream} after {reply.request}, found none", scope="stream")
            after = last


def _second(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def _day(seconds: object) -> date | None:
    """The UTC day of a time, which came as the text of a whole number."""
    if not isinstance(seconds, str) or not seconds.isdecimal() or len(seconds) > 11:
        return None
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(seconds))).date()
