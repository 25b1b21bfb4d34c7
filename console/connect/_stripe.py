"""Stripe: by Connect's OAuth where the platform is set up for it, or by a restricted key of the customer's own."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr

from connectors import PROVIDERS, Misconfigured, NeedsReauth
from connectors.consent import stripe
from console.connect._consent import Given, Page, Question, Visit, Void, calling, is_set, one, optional, stated
from ledgerlake.settings import Settings


class Stripe:
    """Stripe's consent."""

    provider = "stripe"
    title = "Stripe"
    says = "Charges, invoices, subscriptions and payouts"

    def offered(self, settings: Settings) -> bool:
        return True

    def countries(self, settings: Settings) -> tuple[str, ...]:
        return ()

    async def begin(self, visit: Visit, asked: Mapping[str, str]) -> Page | Question:
        settings = visit.settings
        client_id = settings.stripe_client_id if is_set(settings.stripe_secret_key) else None

        def values(state: str) -> Mapping[str, Any]:
            if client_id is None:
                return {"address": None}
            back = visit.back(self.provider)
            return {
                "address": stripe.address(
                    settings.stripe_connect_url, client_id=client_id, redirect_uri=back, state=state
                )
            }

        return Page("connect_stripe.html", values)

    def state(self, given: Given) -> tuple[str, str | None]:
        return stated(given, "state")

    async def answer(self, visit: Visit, given: Given, pending: Mapping[str, SecretStr]) -> dict[str, SecretStr]:
        if "key" in given:
            return await self._keyed(visit, given)
        if error := optional(given, "error"):
            raise Void("cancelled" if error == "access_denied" else "declined", f"Stripe Connect: {error[:40]!r}")
        async with calling(visit.settings, self.provider, visit.settings.stripe_connect_url) as client:
            return await stripe.account(client.session({}), one(given, "code"))

    async def _keyed(self, visit: Visit, given: Given) -> dict[str, SecretStr]:
        """A key that was pasted, once Stripe has taken it."""
        connector = PROVIDERS[self.provider]
        pasted = optional(given, "key").strip()
        try:
            secrets = connector.secrets({"api_key": pasted})
        except ValueError:
            raise Void("key", "what was pasted is no key") from None
        async with calling(visit.settings, self.provider) as client:
            try:
                await connector(client.session(secrets)).accounts(dt.datetime.now(dt.UTC).date())
            except (NeedsReauth, Misconfigured) as error:
                raise Void("key", error.message) from None
        return secrets
