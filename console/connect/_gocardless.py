"""GoCardless: the customer chooses a bank here, and leaves for it by the link of a requisition."""

import secrets
from collections.abc import Mapping

from pydantic import SecretStr

from connectors.consent import gocardless
from console.connect._consent import Given, Page, Question, Visit, Void, calling, is_set, listed, one, optional, stated
from ledgerlake.settings import Settings


class GoCardless:
    """GoCardless' consent."""

    provider = "gocardless"
    title = "Bank in Europe, by its name"
    says = "Choose your bank from a list, through GoCardless"

    def offered(self, settings: Settings) -> bool:
        return is_set(settings.gocardless_secret_id, settings.gocardless_secret_key)

    def countries(self, settings: Settings) -> tuple[str, ...]:
        return listed(settings.gocardless_countries)

    async def begin(self, visit: Visit, asked: Mapping[str, str]) -> Page | Question:
        country, institution = asked.get("country", ""), asked.get("institution", "")
        if visit.target is not None and visit.target.institution_id is not None:
            institution = visit.target.institution_id
        elif country not in self.countries(visit.settings):
            raise Void("incomplete", "expected one of the countries")
        async with calling(visit.settings, self.provider) as client:
            session = client.session({})
            if not institution:
                banks = await gocardless.institutions(session, country)
                return Question("connect_banks.html", {"banks": banks, "country": country})
            reference = f"{visit.key}.{secrets.token_urlsafe(16)}"
            requisition_id, address = await gocardless.requisition(
                session, institution, reference=reference, redirect=visit.back(self.provider)
            )
        return Page(
            "connect_leave.html",
            lambda state: {"address": address},
            pending={"requisition_id": requisition_id, "reference": reference},
            keeps_state=True,
        )

    def state(self, given: Given) -> tuple[str, str | None]:
        return stated(given, "ref")[0], None

    async def answer(self, visit: Visit, given: Given, pending: Mapping[str, SecretStr]) -> dict[str, SecretStr]:
        reference = pending["reference"].get_secret_value()
        if not secrets.compare_digest(one(given, "ref").encode(), reference.encode()):
            raise Void("unproven", "the reference is not that of the requisition")
        if error := optional(given, "error"):
            raise Void("cancelled" if "Cancel" in error else "declined", f"GoCardless: {error[:40]!r}")
        requisition_id = pending["requisition_id"].get_secret_value()
        async with calling(visit.settings, self.provider) as client:
            if not await gocardless.is_linked(client.session({}), requisition_id, reference):
                raise Void("declined", "the requisition is not linked")
        return {"requisition_id": SecretStr(requisition_id)}
