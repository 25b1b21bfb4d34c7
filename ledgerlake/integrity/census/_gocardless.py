"""GoCardless counted again: whole spans in one answer, from what the day's few answers leave after the sync's plan.

A bank may allow four answers a day for an account and endpoint. The census takes one only after today's sync has read the
account, and only where two are left then: a sync keeps the last one for the second half of the day, and may be asked for
another before.

Source: https://developer.gocardless.com/bank-account-data
"""

import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import date
from typing import Any, ClassVar
from urllib.parse import quote

from pydantic import SecretStr

from connectors import BadData, Misconfigured, Session
from connectors._http import Content
from ledgerlake.integrity.census._client import Caller, Refused
from ledgerlake.integrity.census._json import Piece, decode, elements, members, text_at
from ledgerlake.integrity.census._source import Listing, Row, Scope, Span, day_of

FEWEST = 4
"""What a bank allows at least, where it does not say."""
KEPT = 2
"""So many answers of the day are left to syncs."""

_ROWS = 5_000
_DATES = ("bookingDate", "bookingDateTime", "valueDate", "valueDateTime")


class GoCardless:
    """One requisition."""

    provider: ClassVar[str] = "gocardless"

    def __init__(self, session: Session, today: date) -> None:
        self._session = session
        self._call: Caller | None = None
        self._today = today

    @staticmethod
    def scopes(accounts: Iterable[Row]) -> list[Scope]:
        return [Scope("transactions", row.account_id, _ROWS, scarce=True) for row in accounts]

    @staticmethod
    def balances_of(accounts: Iterable[Row]) -> list[str]:
        return [row.account_id for row in accounts if row.account_id]

    @staticmethod
    def postponed(cursor: Mapping[str, Any] | None, today: date, calls: int) -> str | None:
        if cursor is None or cursor.get("synced_on") != today.isoformat():
            return "today's sync has not read it yet, and comes first"
        left = cursor.get("remaining")
        left = (left if isinstance(left, int) else FEWEST - 1) - calls
        return None if left > KEPT else f"{max(left, 0)} of the day's answers are left, and are kept for syncs"

    async def listing(self) -> Listing:
        requisition = self._session.secrets["requisition_id"].get_secret_value()
        told = await self._ask(f"/requisitions/{quote(requisition, safe='')}/")
        if "status" not in told or told["status"].value != "LN":
            raise Refused("expected a requisition that is linked (LN), found another state")
        listed = told["accounts"].value if "accounts" in told else None
        ids = [one for one in dict.fromkeys(listed or ()) if isinstance(one, str)]
        # What else is known of an account costs a request each, and changes with every look at it.
        return Listing([Row(one, one, None, False, json.dumps({"id": one})) for one in ids])

    async def balance(self, account_id: str) -> list[Row]:
        """One reading; a bank that lists no balance tells nothing, which is not zero."""
        text = decode(await self._get(f"/accounts/{quote(account_id, safe='')}/balances/")).strip()
        told = members(text, "GoCardless' balances")
        if "balances" not in told or not told["balances"].value:
            return []
        return [Row(f"{account_id}:{self._today}", account_id, self._today, False, text)]

    async def records(self, scope: Scope, span: Span, accounts: Iterable[Row]) -> AsyncIterator[list[Row]]:
        """All of it at once, and with it every pending row of the account, whatever the span."""
        bounds = {"date_from": span.since, "date_to": span.until}
        params = {name: day.isoformat() for name, day in bounds.items() if day is not None}
        account_id = scope.account_id or ""
        told = await self._ask(f"/accounts/{quote(account_id, safe='')}/transactions/", params)
        if "transactions" not in told:
            raise BadData("expected booked and pending transactions of GoCardless, found none", scope="stream")
        lists = members(told["transactions"].text, "GoCardless' transactions")
        booked = list(elements(lists["booked"].text if "booked" in lists else "[]", "GoCardless' booked transactions"))
        pending = lists.get("pending")
        several = _ambiguous(booked)
        rows = [Row(_id(account_id, one, several), account_id, _day(one.value), False, one.text) for one in booked]
        if pending is not None and pending.value is not None:
            rows += [
                Row(None, account_id, _day(one.value), True, one.text)
                for one in elements(pending.text, "GoCardless' pending transactions")
            ]
        yield rows

    async def _ask(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Piece]:
        return members(decode(await self._get(path, params)), f"the answer to {path}")

    async def _get(self, path: str, params: Mapping[str, str] | None = None) -> bytes:
        if self._call is None:
            self._call = Caller(self._session, token=await self._session.tokens.get("census", self._mint))
        return (await self._call.get(path, params)).body

    async def _mint(self) -> tuple[SecretStr, float]:
        credentials = self._session.credentials
        names = ("secret_id", "secret_key")
        if missing := [name for name in names if name not in credentials]:
            raise Misconfigured(
                f"expected the application's {' and '.join(missing)} at GoCardless, found none: set"
                " LEDGERLAKE_GOCARDLESS_SECRET_ID and LEDGERLAKE_GOCARDLESS_SECRET_KEY",
                scope="provider",
            )
        keys = Content(json={name: credentials[name].get_secret_value() for name in names})
        reply = await Caller(self._session).post("/token/new/", keys)
        told = members(decode(reply.body), "GoCardless' tokens")
        if "access" not in told:
            raise BadData("expected a token from GoCardless, found none", scope="provider")
        return SecretStr(str(told["access"].value)), 3600.0


def _own(piece: Piece) -> str:
    return (text_at(piece.value, "internalTransactionId") or "").strip()


def _ambiguous(booked: Iterable[Piece]) -> set[str]:
    """GoCardless' own ids that stand on rows which say different things: they name none of them."""
    texts: dict[str, set[str]] = defaultdict(set)
    for one in booked:
        texts[_own(one)].add(one.text)
    return {key for key, said in texts.items() if len(said) > 1}


def _id(account_id: str, piece: Piece, several: set[str]) -> str | None:
    own = _own(piece)
    return f"{account_id}:{own}" if own and own not in several else None


def _day(value: object) -> date | None:
    return next((day_of(text) for name in _DATES if (text := text_at(value, name)) is not None), None)
