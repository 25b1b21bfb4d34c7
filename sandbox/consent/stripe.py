"""Stripe Connect's OAuth: the page where a business gives an application access, and the tokens for it.

Decisions where the documentation is silent: any absolute redirect_uri is registered; the access token of an account is
its own restricted key; who shows a code again takes nothing away.
"""

import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sandbox._dice import digest
from sandbox.consent.login import Cancelled, Login, back, is_web
from sandbox.provider import Refused
from sandbox.world import Customer

if TYPE_CHECKING:
    from sandbox.stripe import Stripe

_CODE_SECONDS = 300
_SCOPES = ("read_only", "read_write")


class StripeConnect:
    """Connect's OAuth over Stripe."""

    def __init__(self, stripe: "Stripe") -> None:
        self._stripe = stripe
        self._codes: dict[str, tuple[Customer, str, float]] = {}

    def routes(self) -> list[BaseRoute]:
        """The page and the endpoints."""
        return [
            Route("/oauth/authorize", self._show, methods=["GET"]),
            Route("/oauth/authorize", self._decide, methods=["POST"]),
            Route("/oauth/token", self._give_token, methods=["POST"]),
            Route("/oauth/deauthorize", self._deauthorize, methods=["POST"]),
        ]

    async def _show(self, request: Request) -> Response:
        self._check(request)
        return self._login.show()

    async def _decide(self, request: Request) -> Response:
        redirect_uri = self._check(request)
        decision = await self._login.decide(request)
        if isinstance(decision, Response):
            return decision
        query = request.query_params
        if isinstance(decision, Cancelled):
            told = "The user denied your request"
            return back(redirect_uri, error="access_denied", error_description=told, state=query.get("state"))
        scope, code = query.get("scope", "read_only"), f"ac_{secrets.token_urlsafe(24)}"
        self._codes[code] = (decision, scope, self._stripe.bank.clock.now + _CODE_SECONDS)
        return back(redirect_uri, scope=scope, code=code, state=query.get("state"))

    async def _give_token(self, request: Request) -> Response:
        form = await _form(request)
        self._authenticate(request, form)
        if form.get("grant_type") != "authorization_code":
            raise _refusal("unsupported_grant_type", "grant_type must be authorization_code")
        code = form.get("code", "")
        customer, scope, until = self._codes.pop(code, (None, "", 0.0))
        if customer is None or until < self._stripe.bank.clock.now:
            raise _refusal("invalid_grant", f"Authorization code does not exist: {code[:6]}****")
        stripe = self._stripe
        stripe.authorize(customer)
        account = stripe.connection_id(customer)
        return _answer(
            {
                "access_token": stripe.secrets(customer)["api_key"],
                "livemode": False,
                "refresh_token": f"rt_{digest(32, stripe.bank.world.seed, 'refresh', account)}",
                "token_type": "bearer",
                "stripe_publishable_key": f"pk_test_{digest(24, stripe.bank.world.seed, 'publishable', account)}",
                "stripe_user_id": account,
                "scope": scope,
            }
        )

    async def _deauthorize(self, request: Request) -> Response:
        form = await _form(request)
        self._authenticate(request, form)
        account = form.get("stripe_user_id", "")
        customer = self._stripe.find_connection(account)
        if form.get("client_id") != self._stripe.credentials["client_id"] or customer is None:
            raise _refusal("invalid_client", "This application is not connected to that account", 401)
        self._stripe.bank.drop_connection(customer)
        return _answer({"stripe_user_id": account})

    def _check(self, request: Request) -> str:
        query = request.query_params
        if query.get("response_type") != "code":
            raise _refusal("unsupported_response_type", "response_type must be code")
        if query.get("client_id") != self._stripe.credentials["client_id"]:
            raise _refusal("invalid_client", "No application matches the supplied client identifier", 401)
        if query.get("scope", "read_only") not in _SCOPES:
            raise _refusal("invalid_scope", f"scope must be one of {', '.join(_SCOPES)}")
        redirect_uri = query.get("redirect_uri", "")
        if not is_web(redirect_uri):
            raise _refusal("invalid_redirect_uri", "redirect_uri is missing, or not registered for this application")
        return redirect_uri

    def _authenticate(self, request: Request, form: dict[str, str]) -> None:
        given = form.get("client_secret", self._stripe.token(request.scope) or "")
        if given != self._stripe.credentials["secret_key"]:
            raise _refusal("invalid_client", "Invalid API key provided", 401)

    @property
    def _login(self) -> Login:
        stripe = self._stripe
        return Login(
            "Stripe Connect",
            stripe.bank.world,
            lambda one: one.kind == "business",
            lambda one: stripe.serves(one) and stripe.is_connected(one),
            refuses="is a person, and has no account at Stripe",
        )


async def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl((await request.body()).decode("utf-8", "replace")))


def _refusal(error: str, description: str, status: int = 400) -> Refused:
    return Refused(status, msgspec.json.encode({"error": error, "error_description": description}))


def _answer(value: dict[str, Any]) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
