"""Teller Connect: `connect.js` with its global, the login that it shows, and the enrollment that it hands to `onSuccess`.

Where Teller's documentation may be read in two ways there are two signatures: of the text `nonce.accessToken.userId.
enrollmentId.environment`, and of its SHA-256 digest. Every account is shared, whatever `selectAccount` says.
"""

import base64
import hashlib
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sandbox._dice import digest
from sandbox.consent.login import Cancelled, Login, hand_back, is_web, refuse, script
from sandbox.world import Customer

if TYPE_CHECKING:
    from sandbox.teller import Teller

APPLICATION = "app_sandbox5f1d90be"
ENVIRONMENT = "sandbox"
_KEY = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"the sandbox's token signing key").digest())
SIGNING_KEY = base64.b64encode(_KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
"""The application's token signing key: the public half, in base64."""


class TellerConnect:
    """Teller Connect over Teller."""

    def __init__(self, teller: "Teller") -> None:
        self._teller = teller

    def routes(self) -> list[BaseRoute]:
        """The scripts and the page."""
        return [
            Route("/connect/connect.js", script("connect.js")),
            Route("/connect/result.js", script("result.js")),
            Route("/connect/{application_id}", self._show, methods=["GET"]),
            Route("/connect/{application_id}", self._decide, methods=["POST"]),
        ]

    async def _show(self, request: Request) -> Response:
        return self._problem(request) or self._login(request).show()

    async def _decide(self, request: Request) -> Response:
        if (problem := self._problem(request)) is not None:
            return problem
        decision = await self._login(request).decide(request)
        if isinstance(decision, Response):
            return decision
        if isinstance(decision, Cancelled):
            return self._hand(request, {"kind": "exit"})
        teller = self._teller
        teller.bank.consent(decision, new=not teller.serves(decision))
        return self._hand(
            request, {"kind": "success", "enrollment": self._enrollment(decision, request.query_params.get("nonce"))}
        )

    def _enrollment(self, customer: Customer, nonce: str | None) -> dict[str, Any]:
        secrets = self._teller.secrets(customer)
        token, enrollment_id = secrets["access_token"], secrets["enrollment_id"]
        user_id = f"usr_{digest(17, self._teller.bank.world.seed, 'user', customer.index)}000"
        told = {
            "accessToken": token,
            "user": {"id": user_id},
            "enrollment": {"id": enrollment_id, "institution": {"name": customer.institution.name}},
        }
        if not nonce:
            return told
        text = ".".join((nonce, token, user_id, enrollment_id, ENVIRONMENT)).encode()
        signed = (text, hashlib.sha256(text).digest())
        return told | {"signatures": [base64.b64encode(_KEY.sign(one)).decode() for one in signed]}

    def _problem(self, request: Request) -> Response | None:
        query = request.query_params
        if not is_web(query.get("origin")):
            return refuse("Teller Connect is opened by connect.js: this address lacks the origin of a page.")
        message = None
        if request.path_params["application_id"] != APPLICATION:
            message = "There is no application of this id"
        elif query.get("environment") != ENVIRONMENT:
            message = f"This application is in the environment {ENVIRONMENT!r} only"
        elif (named := query.get("enrollment_id")) is not None and self._teller.find_connection(named) is None:
            message = "There is no enrollment of this id"
        if message is None:
            return None
        failure = {"type": "application", "code": "invalid", "message": message}
        return self._hand(request, {"kind": "failure", "failure": failure})

    def _login(self, request: Request) -> Login:
        teller, named = self._teller, request.query_params.get("enrollment_id")
        mine = teller.find_connection(named) if named is not None else None
        return Login(
            "Teller Connect",
            teller.bank.world,
            lambda one: mine is None or one.index == mine.index,
            teller.serves,
            refuses="is not who enrolled",
        )

    def _hand(self, request: Request, result: dict[str, Any]) -> Response:
        source = f"{request.scope['root_path']}/connect/result.js"
        return hand_back(result, request.query_params["origin"], source)
