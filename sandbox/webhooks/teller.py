"""Teller's webhooks: enrollment.disconnected, transactions.processed, account.number_verification.processed, webhook.test.

Decisions where its documentation is silent: new and changed rows are told, at most 100 in one webhook, oldest first; a
new login is not told; what is not answered with 2xx is sent again.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import msgspec

from sandbox._dice import digest
from sandbox.bank import State
from sandbox.webhooks.hook import Hook, Receiver, to_nobody
from sandbox.webhooks.signature import Secrets
from sandbox.world import Customer

if TYPE_CHECKING:
    from sandbox.teller import Teller

SECRETS = ("sandbox-teller-signing-secret-1", "sandbox-teller-signing-secret-2")
"""The newer one, and the one that it replaces, still good."""
_ROWS = 100


class TellerHooks:
    """See `sandbox.webhooks.hook.Hooks` for what the methods without underscore are."""

    signer = Secrets("Teller-Signature", *SECRETS)
    kinds: tuple[str, ...] = (
        "account.number_verification.processed", "enrollment.disconnected", "transactions.processed", "webhook.test",
    )  # fmt: skip

    def __init__(self, teller: "Teller") -> None:
        self._teller = teller
        self.announce: Callable[[Iterable[Hook]], None] = to_nobody
        self._number = 0

    def tell(self, customer: Customer, before: State, after: State) -> Iterator[Hook]:
        since, until = before.read_on, after.read_on
        rows = self._rows(customer, since, until)
        for place in range(0, len(rows), _ROWS):
            yield self._processed(customer, rows[place : place + _ROWS])
        for account in self._teller.bank.accounts(customer):
            verified = self._teller.verified_on(account)
            if verified is not None and since < verified.day <= until:
                yield self._verification(customer, self._teller.account_id(account), verified.status)
        if after.outage is not None and after.outage != before.outage:
            yield self._disconnected(customer, after.outage.reason)

    def make(self, customer: Customer, kind: str) -> Hook | None:
        day = self._teller.bank.day
        match kind:
            case "enrollment.disconnected":
                outage = self._teller.bank.broken(customer)
                return self._disconnected(customer, outage.reason if outage else "")
            case "transactions.processed":
                return self._processed(customer, self._rows(customer, day - 7, day)[-_ROWS:])
            case "account.number_verification.processed":
                account = self._teller.bank.accounts(customer)[0]
                return self._verification(customer, self._teller.account_id(account), "completed")
            case _:
                return self._hook(customer, kind, {})

    def receivers(self, connection_id: str) -> list[Receiver]:
        return []

    def again(self, status: int | None) -> bool:
        return True

    def _rows(self, customer: Customer, since: int, until: int) -> list[bytes]:
        found = [
            (change.after.phase.day, change.after.movement.order, self._teller.shown(account, change.after, until))
            for account, change in self._teller.bank.changes(customer, since, until)
            if change.after is not None and "transactions" in self._teller.streams(account)
        ]
        return [row for _, _, row in sorted(found, key=lambda one: one[:2])]

    def _processed(self, customer: Customer, rows: Sequence[bytes]) -> Hook:
        told = {"transactions": list(map(msgspec.Raw, rows)), "enrollment_id": self._teller.connection_id(customer)}
        return self._hook(customer, "transactions.processed", told)

    def _verification(self, customer: Customer, account_id: str, status: str) -> Hook:
        told = {"status": status, "account_id": account_id, "enrollment_id": self._teller.connection_id(customer)}
        return self._hook(customer, "account.number_verification.processed", told)

    def _disconnected(self, customer: Customer, reason: str) -> Hook:
        told = {
            "reason": f"disconnected.{reason}" if reason else "disconnected",
            "enrollment_id": self._teller.connection_id(customer),
        }
        return self._hook(customer, "enrollment.disconnected", told)

    def _hook(self, customer: Customer, kind: str, payload: dict[str, Any]) -> Hook:
        self._number += 1
        today = date.fromordinal(self._teller.bank.day)
        connection_id = self._teller.connection_id(customer)
        body = {
            "id": f"wh_{digest(17, kind, connection_id, today, self._number)}000",
            "payload": payload,
            "timestamp": f"{today}T06:00:00Z",
            "type": kind,
        }
        return Hook(kind, connection_id, msgspec.json.encode(body))
