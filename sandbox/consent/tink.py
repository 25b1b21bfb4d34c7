"""Tink Link: connect-accounts (once, or under a permanent user), update-consent and extend-consent.

Decisions where the documentation is silent: a delegated code is spent when the customer allows, not when the page is
opened; of a redirect with an error the reason is the parameter at fault; any absolute redirect_uri is registered.
"""

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sandbox.consent.login import Cancelled, Login, back, is_web, refuse
from sandbox.world import Customer

if TYPE_CHECKING:
    from sandbox.tink import Tink

_SCOPES = frozenset({
    "accounts:read", "balances:read", "transactions:read", "provider-consents:read", "credentials:read",
})  # fmt: skip
_Act = Literal["connect-accounts", "update-consent", "extend-consent"]


class TinkLink:
    """Tink Link over Tink."""

    def __init__(self, tink: "Tink") -> None:
        self._tink = tink

    def routes(self) -> list[BaseRoute]:
        """The pages."""
        acts: tuple[_Act, ...] = ("connect-accounts", "update-consent", "extend-consent")
        return [
            Route(f"/1.0/transactions/{act}", endpoint, methods=["GET", "POST"])
            for act in acts
            for endpoint in [self._endpoint(act)]
        ]

    def _endpoint(self, act: _Act) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            if (problem := self._problem(request, act)) is not None:
                return problem
            login = self._login(request, act)
            if request.method == "GET":
                return login.show()
            decision = await login.decide(request)
            if isinstance(decision, Response):
                return decision
            if isinstance(decision, Cancelled):
                return _fail(request, "USER_CANCELLED", "USER_CANCELLED", "The user cancelled")
            return self._consent(request, decision)

        return answer

    def _consent(self, request: Request, customer: Customer) -> Response:
        tink, query = self._tink, request.query_params
        code = query.get("authorization_code")
        user = tink.spend_code(code) if code is not None else None
        tink.bank.consent(customer, new=not tink.serves(customer))
        given = None
        if user is not None:
            tink.assign(customer, user)
        else:
            given = tink.give_code(customer, _SCOPES)
        return back(
            query["redirect_uri"], code=given, credentialsId=tink.connection_id(customer), state=query.get("state")
        )

    def _problem(self, request: Request, act: _Act) -> Response | None:
        tink, query = self._tink, request.query_params
        if query.get("client_id") != tink.credentials["client_id"]:
            return refuse("Tink knows no app of this client_id.")
        if not is_web(query.get("redirect_uri")):
            return refuse("redirect_uri is missing, or not registered for this app.")
        if query.get("market", "SE") not in tink.markets:
            return _fail(request, "BAD_REQUEST", "INVALID_PARAMETER_MARKET", "This market is not supported")
        code = query.get("authorization_code")
        if (code is not None or act != "connect-accounts") and tink.code_user(code or "") is None:
            reason = "INVALID_PARAMETER_AUTHORIZATION_CODE"
            return _fail(request, "BAD_REQUEST", reason, "The authorization code is unknown, used or too old")
        if act != "connect-accounts":
            customer = self._named(request)
            if customer is None:
                reason = "INVALID_PARAMETER_CREDENTIALS_ID"
                return _fail(request, "BAD_REQUEST", reason, "There are no such credentials")
            if act == "extend-consent" and customer.institution.country != "GB":
                return _fail(request, "BAD_REQUEST", "SESSION_NOT_EXTENDABLE", "This consent cannot be extended")
        return None

    def _named(self, request: Request) -> Customer | None:
        query = request.query_params
        return self._tink.find_connection(query.get("credentials_id", query.get("credentialsId", "")))

    def _login(self, request: Request, act: _Act) -> Login:
        mine = self._named(request) if act != "connect-accounts" else None
        return Login(
            "Tink Link",
            self._tink.bank.world,
            lambda one: mine is None or one.index == mine.index,
            self._tink.serves,
            refuses="did not give this consent",
        )


def _fail(request: Request, error: str, reason: str, message: str) -> Response:
    query = request.query_params
    return back(
        query["redirect_uri"],
        error=error,
        error_reason=reason,
        message=message,
        tracking_id=secrets.token_hex(16),
        state=query.get("state"),
    )
