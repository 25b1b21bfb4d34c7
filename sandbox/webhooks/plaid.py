"""Plaid's webhooks of transactions and Items, and the Items' own webhook URLs.

They carry no data and no id: two of one kind are equal bytes. The body is pretty printed, so it cannot be verified after
it was parsed. Decisions where the documentation is silent: SYNC_UPDATES_AVAILABLE comes once for each move of the clock
that brought changes, with the older webhooks beside it; a new account is told, and is in the Item at once.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import date
from typing import TYPE_CHECKING, Any

import msgspec

from sandbox.bank import State
from sandbox.webhooks.hook import Hook, Receiver, to_nobody
from sandbox.webhooks.signature import KeyRing
from sandbox.world import Customer

if TYPE_CHECKING:
    from sandbox.plaid import Plaid

_OF_TRANSACTIONS = (
    "DEFAULT_UPDATE", "HISTORICAL_UPDATE", "INITIAL_UPDATE", "SYNC_UPDATES_AVAILABLE", "TRANSACTIONS_REMOVED",
)  # fmt: skip


class PlaidHooks:
    """See `sandbox.webhooks.hook.Hooks` for what the methods without underscore are."""

    kinds: tuple[str, ...] = (
        *_OF_TRANSACTIONS, "ERROR", "LOGIN_REPAIRED", "NEW_ACCOUNTS_AVAILABLE", "PENDING_DISCONNECT",
        "PENDING_EXPIRATION", "USER_ACCOUNT_REVOKED", "USER_PERMISSION_REVOKED", "WEBHOOK_UPDATE_ACKNOWLEDGED",
    )  # fmt: skip

    def __init__(self, plaid: "Plaid") -> None:
        self._plaid = plaid
        self.announce: Callable[[Iterable[Hook]], None] = to_nobody
        self.signer = KeyRing()
        self._urls: dict[str, Receiver] = {}
        self._synced: set[int] = set()

    def set_url(self, customer: Customer, url: str | None) -> None:
        """Set the webhook URL of the customer's Item; None takes it away."""
        item_id = self._plaid.connection_id(customer)
        self._urls.pop(item_id, None)
        if url:
            self._urls[item_id] = Receiver(url, self.signer)

    def url(self, customer: Customer) -> str | None:
        """The webhook URL of the customer's Item."""
        found = self._urls.get(self._plaid.connection_id(customer))
        return found.url if found is not None else None

    def sync_was_called(self, customer: Customer) -> None:
        """From now on the Item tells that there are updates to sync."""
        self._synced.add(customer.index)

    def tell(self, customer: Customer, before: State, after: State) -> Iterator[Hook]:
        since, until = before.read_on, after.read_on
        if before.revoked:  # it was just linked
            for kind, first in (("INITIAL_UPDATE", until - 30), ("HISTORICAL_UPDATE", since)):
                count = sum(1 for _ in self._plaid.bank.changes(customer, first, until))
                yield self._hook(customer, kind, error=None, new_transactions=count)
            return
        changed = [
            tuple(self._plaid.row_id(row.phase) if row is not None else None for row in change)
            for _, change in self._plaid.bank.changes(customer, since, until)
        ]
        added = sum(new is not None and new != old for old, new in changed)
        removed = [old for old, new in changed if old is not None and new != old]
        if before.outage is not None and after.outage is None:
            yield self._hook(customer, "LOGIN_REPAIRED")
        if changed and customer.index in self._synced:
            yield self._hook(customer, "SYNC_UPDATES_AVAILABLE")
        if changed:
            yield self._hook(customer, "DEFAULT_UPDATE", error=None, new_transactions=added)
        if removed:
            yield self._hook(customer, "TRANSACTIONS_REMOVED", error=None, removed_transactions=removed)
        if any(since < account.opens_on <= until for account in self._plaid.bank.accounts(customer)):
            yield self._hook(customer, "NEW_ACCOUNTS_AVAILABLE", error=None)
        if after.outage is not None and after.outage != before.outage:
            if after.outage.reason == "USER_PERMISSION_REVOKED":
                yield self._hook(customer, "USER_PERMISSION_REVOKED", error=self._error(after.outage.reason))
            else:
                yield self._hook(customer, "ERROR", error=self._error(after.outage.reason))

    def make(self, customer: Customer, kind: str) -> Hook | None:
        bank = self._plaid.bank
        soon = f"{date.fromordinal(bank.day + 7)}T12:00:00Z"
        more: dict[str, Any] = {}
        match kind:
            case "INITIAL_UPDATE" | "HISTORICAL_UPDATE" | "DEFAULT_UPDATE":
                more = {"error": None, "new_transactions": 1}
            case "TRANSACTIONS_REMOVED":
                more = {"error": None, "removed_transactions": []}
            case "ERROR":
                outage = bank.broken(customer)
                more = {"error": self._error(outage.reason if outage else "")}
            case "USER_PERMISSION_REVOKED":
                more = {"error": self._error(kind)}
            case "PENDING_EXPIRATION":
                more = {"consent_expiration_time": soon}
            case "PENDING_DISCONNECT":
                more = {"reason": "INSTITUTION_TOKEN_EXPIRATION", "disconnect_time": soon}
            case "USER_ACCOUNT_REVOKED":
                more = {"account_id": self._plaid.account_id(bank.accounts(customer)[0])}
            case "NEW_ACCOUNTS_AVAILABLE":
                more = {"error": None}
            case "WEBHOOK_UPDATE_ACKNOWLEDGED":
                more = {"error": None, "new_webhook_url": self.url(customer)}
        return self._hook(customer, kind, **more)

    def receivers(self, connection_id: str) -> list[Receiver]:
        found = self._urls.get(connection_id)
        return [found] if found is not None else []

    def again(self, status: int | None) -> bool:
        return True

    def _error(self, reason: str) -> dict[str, Any]:
        """An error as webhooks have it: with its status, without a request's id."""
        status, body = self._plaid.disconnected(reason)
        told: dict[str, Any] = msgspec.json.decode(body)
        return {name: value for name, value in told.items() if name != "request_id"} | {"status": status}

    def _hook(self, customer: Customer, kind: str, **more: Any) -> Hook:
        item_id = self._plaid.connection_id(customer)
        body: dict[str, Any] = {
            "webhook_type": "TRANSACTIONS" if kind in _OF_TRANSACTIONS else "ITEM",
            "webhook_code": kind,
            "item_id": item_id,
            **more,
        }
        if kind == "SYNC_UPDATES_AVAILABLE":
            body |= {"initial_update_complete": True, "historical_update_complete": True}
        body["environment"] = "sandbox"
        return Hook(kind, item_id, msgspec.json.format(msgspec.json.encode(body), indent=2))
