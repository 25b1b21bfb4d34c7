"""Stripe's webhooks: its events, in the very bytes that `/v1/events` gives.

An account that is connected (not one that gave its own key) has its id in each event, as `account`. Also told, and in no
list: `account.application.deauthorized`, when a connected account takes the application's access away.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from sandbox._dice import digest
from sandbox.bank import State
from sandbox.saas import API_VERSION, seconds
from sandbox.webhooks.hook import Hook, Receiver, to_nobody
from sandbox.webhooks.signature import Secrets
from sandbox.world import Customer

if TYPE_CHECKING:
    from sandbox.stripe import Stripe

SECRETS = ("whsec_sandbox5f1d90be",)
DEAUTHORIZED = "account.application.deauthorized"


class StripeHooks:
    """See `sandbox.webhooks.hook.Hooks` for what the methods without underscore are."""

    signer = Secrets("Stripe-Signature", *SECRETS, extra=f",v0={'6f' * 32}")
    kinds: tuple[str, ...] = ()

    def __init__(self, stripe: "Stripe") -> None:
        self._stripe = stripe
        self.announce: Callable[[Iterable[Hook]], None] = to_nobody

    def tell(self, customer: Customer, before: State, after: State) -> Iterator[Hook]:
        if before.revoked:  # what happened before it was connected is told by nobody
            return
        first, last = seconds(before.read_on + 1) - 1, seconds(after.read_on + 1) - 1
        for kind, body in self._stripe.events(customer, first, last):
            yield Hook(kind, self._stripe.connection_id(customer), body)
        revoked = after.outage is not None and after.outage.reason in {"account_invalid", "account_locked"}
        if revoked and after.outage != before.outage and self._stripe.is_connected(customer):
            yield self._deauthorized(customer)

    def make(self, customer: Customer, kind: str) -> Hook | None:
        if kind == DEAUTHORIZED:
            return self._deauthorized(customer)
        last = seconds(self._stripe.bank.state(customer).read_on + 1) - 1
        found = None
        for type_, body in self._stripe.events(customer, 0, last):
            if kind in ("", type_):
                found = Hook(type_, self._stripe.connection_id(customer), body)
        return found

    def receivers(self, connection_id: str) -> list[Receiver]:
        return []

    def again(self, status: int | None) -> bool:
        return True

    def _deauthorized(self, customer: Customer) -> Hook:
        account, day = self._stripe.connection_id(customer), self._stripe.bank.day
        event: dict[str, Any] = {
            "id": f"evt_{digest(16, DEAUTHORIZED, account, day)}",
            "object": "event",
            "account": account,
            "api_version": API_VERSION,
            "created": seconds(day) + 43_200,
            "data": {
                "object": {"id": self._stripe.credentials["client_id"], "object": "application", "name": "Sandbox"}
            },
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": DEAUTHORIZED,
        }
        return Hook(DEAUTHORIZED, account, msgspec.json.encode(event))
