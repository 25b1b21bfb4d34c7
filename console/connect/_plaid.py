"""Plaid Link: its script on our page, a public token that is exchanged, and update mode, which keeps the Item's token."""

import datetime as dt
from collections.abc import Mapping

from pydantic import SecretStr

from connectors import PROVIDERS
from connectors.consent import plaid
from console.connect._consent import Given, Page, Question, Visit, calling, is_set, listed, one, origin
from ledgerlake.settings import Settings


class Plaid:
    """Plaid's consent."""

    provider = "plaid"
    title = "Bank or card"
    says = "Thousands of banks and card companies, through Plaid"

    def offered(self, settings: Settings) -> bool:
        return is_set(settings.plaid_client_id, settings.plaid_secret)

    def countries(self, settings: Settings) -> tuple[str, ...]:
        return ()

    async def begin(self, visit: Visit, asked: Mapping[str, str]) -> Page | Question:
        settings = visit.settings
        async with calling(settings, self.provider) as client:
            token = await plaid.link_token(
                client.session({}),
                name=settings.connect_name,
                user=plaid.user_of(visit.link.customer_id),
                countries=listed(settings.plaid_countries),
                redirect_uri=visit.back(self.provider),
                webhook=f"{settings.console_url}/webhooks/plaid" if settings.console_url else None,
                access_token=visit.held["access_token"] if visit.target else None,
            )
        return self.page(settings, token.get_secret_value(), returned=False)

    def page(self, settings: Settings, link_token: str, *, returned: bool) -> Page:
        """Link, to be opened, or to go on after a bank's own page."""
        script = settings.plaid_link_script
        source = origin(script)
        return Page(
            "connect_plaid.html",
            lambda state: {"script": script, "link_token": link_token, "returned": returned},
            kept={"link_token": link_token},
            keeps_state=True,
            sources={"script_src": source, "frame_src": source, "connect_src": origin(settings.plaid_url)},
        )

    def state(self, given: Given) -> tuple[str, str | None]:
        return "", None

    async def answer(self, visit: Visit, given: Given, pending: Mapping[str, SecretStr]) -> dict[str, SecretStr]:
        public_token = one(given, "public_token")
        async with calling(visit.settings, self.provider) as client:
            if visit.target is None:
                return await plaid.exchange(client.session({}), public_token)
            # In update mode the Item keeps its token. That it works again is asked of Plaid, not believed of a page.
            await PROVIDERS["plaid"](client.session(visit.held)).accounts(dt.datetime.now(dt.UTC).date())
            return dict(visit.held)
