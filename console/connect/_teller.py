"""Teller Connect: its script on our page, and an enrollment that its signatures prove."""

import secrets
from collections.abc import Mapping

from pydantic import SecretStr

from connectors.consent import teller
from console.connect._consent import Given, Page, Question, Visit, Void, is_set, one, origin, stated
from ledgerlake.settings import Settings

_SCRIPT_ORIGIN = "https://cdn.teller.io"
_FRAMES = "https://teller.io https://connect.teller.io"
"""Where Teller's own script finds its page."""


class Teller:
    """Teller's consent."""

    provider = "teller"
    title = "Bank in the United States"
    says = "Checking, savings and credit cards, through Teller"

    def offered(self, settings: Settings) -> bool:
        certified = settings.teller_environment == "sandbox" or (
            settings.teller_certificate is not None and settings.teller_private_key is not None
        )
        return certified and is_set(settings.teller_application_id, settings.teller_token_signing_key)

    def countries(self, settings: Settings) -> tuple[str, ...]:
        return ()

    async def begin(self, visit: Visit, asked: Mapping[str, str]) -> Page | Question:
        settings, nonce = visit.settings, secrets.token_urlsafe(24)
        script = settings.teller_connect_script
        source = origin(script)
        return Page(
            "connect_teller.html",
            lambda state: {
                "script": script,
                "application": settings.teller_application_id,
                "environment": settings.teller_environment,
                "nonce": nonce,
                "enrollment": visit.target.external_id if visit.target else None,
            },
            pending={"nonce": nonce},
            sources={
                "script_src": source,
                "frame_src": f"{source} {_FRAMES}" if source == _SCRIPT_ORIGIN else source,
            },
        )

    def state(self, given: Given) -> tuple[str, str | None]:
        return stated(given, "state")

    async def answer(self, visit: Visit, given: Given, pending: Mapping[str, SecretStr]) -> dict[str, SecretStr]:
        settings = visit.settings
        access_token, enrollment_id = one(given, "access_token"), one(given, "enrollment_id")
        proved = teller.proved(
            settings.teller_token_signing_key or "",
            given.get("signature", ()),
            nonce=pending["nonce"].get_secret_value(),
            access_token=access_token,
            user_id=one(given, "user_id"),
            enrollment_id=enrollment_id,
            environment=settings.teller_environment,
        )
        if not proved:
            raise Void("unproven", "no signature of the enrollment is Teller's")
        return {"access_token": SecretStr(access_token), "enrollment_id": SecretStr(enrollment_id)}
