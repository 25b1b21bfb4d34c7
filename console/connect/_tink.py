"""Tink Link: the customer leaves for Tink's page, and comes back with the id of his credentials."""

from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr

from connectors.consent import tink
from console.connect._consent import (
    Given,
    Page,
    Question,
    Reason,
    Visit,
    Void,
    calling,
    is_set,
    listed,
    one,
    optional,
    stated,
)
from ledgerlake.settings import Settings

_LOCALE = "en_US"


class Tink:
    """Tink's consent."""

    provider = "tink"
    title = "Bank in Europe"
    says = "Accounts and cards under open banking, through Tink"

    def offered(self, settings: Settings) -> bool:
        return is_set(settings.tink_client_id, settings.tink_client_secret)

    def countries(self, settings: Settings) -> tuple[str, ...]:
        return listed(settings.tink_markets)

    async def begin(self, visit: Visit, asked: Mapping[str, str]) -> Page | Question:
        settings, target = visit.settings, visit.target
        market = asked.get("country", "")
        if market not in self.countries(settings):
            raise Void("incomplete", "expected one of the markets")
        user = visit.held["external_user_id"].get_secret_value() if target else tink.user_of(visit.link.customer_id)
        async with calling(settings, self.provider) as client:
            code = await tink.code_of(
                client.session({}), user, market=market, locale=_LOCALE, hint=visit.link.customer_id
            )
        assert settings.tink_client_id is not None
        client_id = settings.tink_client_id.get_secret_value()

        def values(state: str) -> Mapping[str, Any]:
            address = tink.address(
                settings.tink_link_url,
                "update-consent" if target else "connect-accounts",
                client_id=client_id,
                code=code,
                redirect_uri=visit.back(self.provider),
                state=state,
                market=market,
                locale=_LOCALE,
                credentials_id=target.external_id if target else None,
            )
            return {"address": address}

        return Page("connect_leave.html", values, pending={"external_user_id": user})

    def state(self, given: Given) -> tuple[str, str | None]:
        return stated(given, "state")

    async def answer(self, visit: Visit, given: Given, pending: Mapping[str, SecretStr]) -> dict[str, SecretStr]:
        if error := optional(given, "error"):
            raise Void(_reason(error), f"Tink Link: {error[:40]!r}")
        credentials_id = optional(given, "credentialsId") or one(given, "credentials_id")
        if visit.target is not None and credentials_id != visit.target.external_id:
            raise Void("other", "the credentials are not those of the connection")
        secrets = {"external_user_id": pending["external_user_id"], "credentials_id": SecretStr(credentials_id)}
        async with calling(visit.settings, self.provider) as client:
            if not await tink.is_of_user(client.session(secrets)):
                raise Void("unproven", "the credentials are not this user's")
        return secrets


def _reason(error: str) -> Reason:
    if error == "USER_CANCELLED":
        return "cancelled"
    return "unavailable" if error in {"TEMPORARY_ERROR", "INTERNAL_ERROR"} else "declined"
