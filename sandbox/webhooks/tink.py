"""Tink's webhooks (events v2): refresh:finished, account-transactions:modified and :deleted, account:created and :updated.

An endpoint is registered at Tink's own API with a secret that is told once, or by the control endpoint with one that all
share. Decisions where the documentation is silent: the background refresh of a day is told once; a consent that ran out
or waits for the user is refreshed no more, so nothing tells it; a booking is counted as a modification of the window of
its old and its new booked date.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from sandbox.bank import State
from sandbox.books import Change
from sandbox.webhooks.hook import Hook, Receiver, to_nobody
from sandbox.webhooks.signature import Secrets
from sandbox.world import Account, Customer

if TYPE_CHECKING:
    from sandbox.tink import Tink

SECRETS = ("sandbox-tink-webhook-secret",)
HEADER = "X-Tink-Signature"
_TOLD = ("UPDATED", "TEMPORARY_ERROR", "AUTHENTICATION_ERROR", "SESSION_EXPIRED")
_AGAIN = (408, 429, 500, 502, 503, 504)


@dataclass
class Endpoint:
    """A webhook endpoint as Tink's API shows it, and who receives there."""

    shown: dict[str, Any]
    receiver: Receiver


@dataclass
class _Window:
    """What changed in an account: how many rows, and between which booked dates."""

    inserted: int = 0
    updated: int = 0
    deleted: list[str] = field(default_factory=list)
    days: list[int] = field(default_factory=list)


class TinkHooks:
    """See `sandbox.webhooks.hook.Hooks` for what the methods without underscore are."""

    signer = Secrets(HEADER, *SECRETS)
    kinds: tuple[str, ...] = (
        "account-booked-transactions:modified", "account-transactions:deleted", "account-transactions:modified",
        "account:created", "account:updated", "refresh:finished",
    )  # fmt: skip

    def __init__(self, tink: "Tink") -> None:
        self._tink = tink
        self.announce: Callable[[Iterable[Hook]], None] = to_nobody
        self._endpoints: dict[str, Endpoint] = {}

    # Endpoints, as Tink's API makes them.

    def endpoints(self) -> list[dict[str, Any]]:
        """Those made so far, without their secrets."""
        return [one.shown for one in self._endpoints.values()]

    def add(self, url: str, kinds: list[str], description: str) -> dict[str, Any] | None:
        """Make one; the answer has the secret, once. None when the URL is registered for one of these kinds already."""
        if any(one.receiver.url == url and set(kinds) & set(one.shown["enabledEvents"]) for one in self._made()):
            return None
        secret, now = secrets.token_hex(32), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        shown: dict[str, Any] = {
            "id": secrets.token_hex(16), "description": description, "disabled": False, "enabledEvents": kinds,
            "url": url, "createdAt": now, "updatedAt": now,
        }  # fmt: skip
        self._endpoints[shown["id"]] = Endpoint(shown, Receiver(url, Secrets(HEADER, secret), frozenset(kinds)))
        return shown | {"secret": secret}

    def remove(self, endpoint_id: str) -> bool:
        """Whether there was such an endpoint."""
        return self._endpoints.pop(endpoint_id, None) is not None

    def _made(self) -> list[Endpoint]:
        return list(self._endpoints.values())

    # What is told.

    def tell(self, customer: Customer, before: State, after: State) -> Iterator[Hook]:
        since, until = before.read_on, after.read_on
        if until > since:
            for account in self._tink.bank.accounts(customer):
                kind = "account:created" if since < account.opens_on <= until else "account:updated"
                if self._tink.bank.closed(account) is None:
                    yield self._hook(customer, kind, {"id": self._tink.account_id(account)})
            yield from self._changes(customer, since, until)
        if after != before:
            yield from self.refreshed(customer, "OPERATION_SOURCE_BACKGROUND")

    def make(self, customer: Customer, kind: str) -> Hook | None:
        if kind == "refresh:finished":
            return next(self.refreshed(customer, "OPERATION_SOURCE_BACKGROUND"), None)
        if kind in ("account:created", "account:updated"):
            account = self._tink.bank.accounts(customer)[0]
            return self._hook(customer, kind, {"id": self._tink.account_id(account)})
        until = self._tink.bank.state(customer).read_on
        return next((one for one in self._changes(customer, until - 14, until) if one.kind == kind), None)

    def receivers(self, connection_id: str) -> list[Receiver]:
        return [one.receiver for one in self._endpoints.values()]

    def again(self, status: int | None) -> bool:
        return status in _AGAIN

    def refreshed(self, customer: Customer, source: str) -> Iterator[Hook]:
        """That a refresh ended, if it ended as Tink tells."""
        consent = self._tink.consent(customer)
        if consent["status"] not in _TOLD:
            return
        content: dict[str, Any] = {
            "credentialsId": consent["credentialsId"],
            "status": consent["status"],
            "credentialsStatus": consent["status"],
            "finished": consent["statusUpdated"],
            "source": source,
            "sessionExpiryDate": consent["sessionExpiryDate"],
        }
        if "detailedError" in consent:
            content["detailedError"] = consent["detailedError"]
        yield self._hook(customer, "refresh:finished", content)

    def _changes(self, customer: Customer, since: int, until: int) -> Iterator[Hook]:
        changed: dict[str, dict[str, _Window]] = {}
        for account, change in self._tink.bank.changes(customer, since, until):
            windows = changed.setdefault(self._tink.account_id(account), {})
            self._count(windows.setdefault("account-transactions:modified", _Window()), account, change)
            if any(row is not None and row.phase.posted for row in change):
                self._count(windows.setdefault("account-booked-transactions:modified", _Window()), account, change)
        for account_id, windows in changed.items():
            for kind, window in windows.items():
                counts = {
                    "earliestModifiedBookedDate": date.fromordinal(min(window.days)).isoformat(),
                    "latestModifiedBookedDate": date.fromordinal(max(window.days)).isoformat(),
                    "inserted": window.inserted,
                    "updated": window.updated,
                    "deleted": len(window.deleted),
                }
                yield self._hook(customer, kind, self._of_account(customer, account_id, counts))
            if gone := windows["account-transactions:modified"].deleted:
                told = self._of_account(customer, account_id, {"ids": gone})
                yield self._hook(customer, "account-transactions:deleted", told)

    def _count(self, window: _Window, account: Account, change: Change) -> None:
        old, new = change
        window.days += [self._tink.booked_on(account, row) for row in change if row is not None]
        if old is not None and (new is None or new.phase.ref != old.phase.ref):
            window.deleted.append(self._tink.record_id(old.phase.ref))
        if new is not None and (old is None or new.phase.ref != old.phase.ref):
            window.inserted += 1
        elif new is not None:
            window.updated += 1

    def _of_account(self, customer: Customer, account_id: str, transactions: dict[str, Any]) -> dict[str, Any]:
        return {**self._tink.user(customer), "account": {"id": account_id}, "transactions": transactions}

    def _hook(self, customer: Customer, kind: str, content: dict[str, Any]) -> Hook:
        body = {"context": self._tink.user(customer), "content": content, "event": kind}
        return Hook(kind, self._tink.connection_id(customer), msgspec.json.encode(body))
