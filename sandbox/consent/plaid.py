"""Plaid Link: link tokens, `link-initialize.js` with its global, the login that it shows, and public tokens.

Customers of Boreal Bank of Canada sign in at the bank itself where the link token has a `redirect_uri` (OAuth): the
browser leaves the page, and comes back to `redirect_uri?oauth_state_id=`, where Link is opened again with
`receivedRedirectUri`. All others sign in inside Link. Every account is shared.
"""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sandbox.consent.login import Cancelled, Login, back, hand_back, is_web, refuse, script
from sandbox.world import Customer

if TYPE_CHECKING:
    from sandbox.plaid import Plaid

_LINK_SECONDS, _UPDATE_SECONDS, _PUBLIC_SECONDS = 4 * 3600, 1800, 1800


@dataclass
class _Session:
    """A link token: until when it holds, what was asked with it, and of an OAuth bank who came back."""

    until: float
    webhook: str | None
    redirect_uri: str | None
    updates: Customer | None
    oauth_state: str = ""
    consented: Customer | None = None
    returned: bool = False


class PlaidLink:
    """Plaid Link over Plaid."""

    def __init__(self, plaid: "Plaid") -> None:
        self._plaid = plaid
        self._sessions: dict[str, _Session] = {}
        self._public: dict[str, tuple[Customer, float]] = {}

    def routes(self) -> list[BaseRoute]:
        """The scripts and the pages."""
        return [
            Route("/link/v2/stable/link-initialize.js", script("link-initialize.js")),
            Route("/link/result.js", script("result.js")),
            Route("/link/session", self._show, methods=["GET"]),
            Route("/link/session", self._decide, methods=["POST"]),
            Route("/link/oauth", self._show_oauth, methods=["GET"]),
            Route("/link/oauth", self._decide_oauth, methods=["POST"]),
        ]

    def open(self, webhook: str | None, redirect_uri: str | None, updates: Customer | None) -> dict[str, str]:
        """A new link token, for a new Item or for the one that it `updates`, and when it expires."""
        seconds = _UPDATE_SECONDS if updates is not None else _LINK_SECONDS
        token = f"link-sandbox-{secrets.token_hex(16)}"
        self._sessions[token] = _Session(self._now() + seconds, webhook, redirect_uri, updates)
        today = self._plaid.bank.clock.today
        ends = datetime.combine(today, datetime.now(UTC).time()) + timedelta(seconds=seconds)
        return {"expiration": f"{ends:%Y-%m-%dT%H:%M:%SZ}", "link_token": token}

    def publish(self, customer: Customer) -> str:
        """A public token that can be exchanged once."""
        token = f"public-sandbox-{secrets.token_hex(16)}"
        self._public[token] = (customer, self._now() + _PUBLIC_SECONDS)
        return token

    def exchange(self, token: str) -> Customer | None:
        """Whose Item a public token is for; it is spent."""
        customer, until = self._public.pop(token, (None, 0.0))
        return customer if until >= self._now() else None

    def _now(self) -> float:
        return self._plaid.bank.clock.now

    # Inside Link.

    async def _show(self, request: Request) -> Response:
        found = self._session(request)
        if isinstance(found, Response):
            return found
        state = request.query_params.get("oauth_state_id")
        if state is None:
            return self._login(found).show()
        if not found.returned or state != found.oauth_state:
            return self._exit(request, _error("INVALID_LINK_TOKEN", "the oauth_state_id does not match the link token"))
        customer, found.returned, found.oauth_state = found.consented, False, ""
        return self._succeed(request, found, customer) if customer is not None else self._exit(request, None)

    async def _decide(self, request: Request) -> Response:
        found = self._session(request)
        if isinstance(found, Response):
            return found
        decision = await self._login(found).decide(request)
        if isinstance(decision, Response):
            return decision
        if isinstance(decision, Cancelled):
            return self._exit(request, None)
        if found.redirect_uri is not None and self._plaid.uses_oauth(decision.institution):
            found.oauth_state = secrets.token_hex(16)
            base = f"{request.url.scheme}://{request.url.netloc}{request.scope['root_path']}"
            url = f"{base}/link/oauth?state={found.oauth_state}"
            return self._hand(request, {"kind": "oauth", "url": url})
        return self._succeed(request, found, decision)

    def _session(self, request: Request) -> _Session | Response:
        query = request.query_params
        if not is_web(query.get("origin")):
            return refuse("Link is opened by link-initialize.js: this address lacks the origin of a page.")
        found = self._sessions.get(query.get("token", ""))
        if found is None or found.until < self._now():
            return self._exit(request, _error("INVALID_LINK_TOKEN", "invalid or expired link token"))
        return found

    def _login(self, session: _Session) -> Login:
        updated = session.updates
        return Login(
            "Plaid Link",
            self._plaid.bank.world,
            lambda one: updated is None or one.index == updated.index,
            self._plaid.serves,
            refuses="is not the owner of this Item",
        )

    def _succeed(self, request: Request, session: _Session, customer: Customer) -> Response:
        plaid = self._plaid
        del self._sessions[request.query_params["token"]]
        if session.webhook:
            plaid.set_webhook(customer, session.webhook)
        plaid.bank.consent(customer, new=not plaid.serves(customer))
        metadata = _metadata("", customer) | {
            "accounts": plaid.link_accounts(customer),
            "transfer_status": None,
        }
        return self._hand(request, {"kind": "success", "public_token": self.publish(customer), "metadata": metadata})

    def _exit(self, request: Request, error: dict[str, Any] | None) -> Response:
        metadata = _metadata("" if error else "requires_credentials", None)
        return self._hand(request, {"kind": "exit", "error": error, "metadata": metadata})

    def _hand(self, request: Request, result: dict[str, Any]) -> Response:
        return hand_back(result, request.query_params["origin"], f"{request.scope['root_path']}/link/result.js")

    # At the bank itself.

    async def _show_oauth(self, request: Request) -> Response:
        found = self._at_bank(request)
        return found if isinstance(found, Response) else self._login(found).show()

    async def _decide_oauth(self, request: Request) -> Response:
        found = self._at_bank(request)
        if isinstance(found, Response):
            return found
        decision = await self._login(found).decide(request)
        if isinstance(decision, Response):
            return decision
        found.returned = True
        found.consented = None if isinstance(decision, Cancelled) else decision
        assert found.redirect_uri is not None
        return back(found.redirect_uri, oauth_state_id=found.oauth_state)

    def _at_bank(self, request: Request) -> _Session | Response:
        state = request.query_params.get("state")
        for session in self._sessions.values():
            if state and state == session.oauth_state and not session.returned and session.until >= self._now():
                return session
        return refuse("This sign-in is over, or was never begun.")


def _metadata(status: str, customer: Customer | None) -> dict[str, Any]:
    bank = customer.institution if customer is not None else None
    told: dict[str, Any] = {
        "institution": {"name": bank.name, "institution_id": bank.slug} if bank is not None else None,
        "link_session_id": secrets.token_hex(16),
    }
    return told if customer is not None else told | {"status": status, "request_id": secrets.token_hex(8)}


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error_type": "INVALID_INPUT", "error_code": code, "error_message": message, "display_message": None}
