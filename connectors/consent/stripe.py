"""
Stripe Connect's OAuth: the page's address, and the account that came of it. It is read with the platform's key.

Source: https://docs.stripe.com/connect/oauth-reference
"""

from __future__ import annotations

import re
from urllib.parse import urlencode

import msgspec
from pydantic import SecretStr

from connectors._errors import BadData, ConnectorError, Misconfigured, NeedsReauth
from connectors._http import Content, Reply, Session, unexpected

_ERROR = re.compile(r"[a-z_]{1,60}")


class _Given(msgspec.Struct):
    stripe_user_id: str


class _Failure(msgspec.Struct):
    error: str = ""


def address(base: str, *, client_id: str, redirect_uri: str, state: str) -> str:
    """Where the customer gives this application access to read his account."""
    query = {
        "response_type": "code",
        "client_id": client_id,
        "scope": "read_only",
        "redirect_uri": redirect_uri,
        "state": state,
    }
    return f"{base.rstrip('/')}/oauth/authorize?{urlencode(query)}"


async def account(session: Session, code: str) -> dict[str, SecretStr]:
    """
    The secrets of the account that a code is for: the platform's key, and the account's id.

    `session` is one of a client whose base URL is Connect's. The code is taken once, within five minutes.
    """
    key = session.credentials.get("secret_key")
    if key is None:
        raise Misconfigured(
            "expected the platform's secret key, found none: set LEDGERLAKE_STRIPE_SECRET_KEY, from Stripe's dashboard",
            scope="provider",
        )
    form = {"grant_type": "authorization_code", "code": code, "client_secret": key.get_secret_value()}
    reply = await session.post("/oauth/token", content=Content(form=form), classify=_meaning)
    try:
        given = msgspec.json.decode(reply.body, type=_Given)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadData(
            f"expected an account's id from {reply.request}, found {reply.describe()} of another shape; if it stays so,"
            " this needs an update"
        ) from None
    return {"api_key": key, "account": SecretStr(given.stripe_user_id)}


def _meaning(reply: Reply) -> ConnectorError:
    try:
        error = msgspec.json.decode(reply.body, type=_Failure).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        error = ""
    code = error if _ERROR.fullmatch(error) else ""
    if code == "invalid_grant":
        return NeedsReauth("Stripe reports invalid_grant: the code is unknown, used or too old", code=code)
    if code in {"invalid_client", "unauthorized"} or reply.status in {401, 403}:
        return Misconfigured(
            f"Stripe refuses the platform ({code or f'HTTP {reply.status}'}): check LEDGERLAKE_STRIPE_CLIENT_ID and"
            " LEDGERLAKE_STRIPE_SECRET_KEY, which are of one platform and one mode, live or test",
            code=code or str(reply.status),
            scope="provider",
        )
    failure = unexpected(reply)
    failure.code = code or failure.code
    return failure
