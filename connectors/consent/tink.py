"""
Tink Link: a permanent user of the application, a code with which Tink Link acts as that user, and the page's address.

Source: https://docs.tink.com (Tink Link, continuous access)
"""

from __future__ import annotations

import hashlib
from typing import Literal
from urllib.parse import urlencode

import msgspec
from pydantic import SecretStr

from connectors._auth import Bearer
from connectors._errors import BadData, Misconfigured
from connectors._http import Content, Session
from connectors.tink import (
    _GRANT,
    _code,
    _decode,
    _list,
    _order,
    _token,
    _unless,
    _User,
    _wrong_credentials,
)

_ACTOR = "df05e4b379934cd09963197cc855bfe9"
"""Tink Link itself: the same for every application."""
_APPLICATION_SCOPE = "user:create,authorization:grant"
_LINK_SCOPE = "authorization:read,authorization:grant,credentials:refresh,credentials:read,credentials:write,providers:read,user:read"
_PAGE = "/1.0/transactions"

Act = Literal["connect-accounts", "update-consent"]


class _Held(msgspec.Struct, rename="camel"):
    credentials_id: str = ""


def user_of(customer_id: str) -> str:
    """The name of a customer's user at Tink: always the same, and it says nothing of the customer."""
    return f"ledgerlake-{hashlib.blake2b(customer_id.encode(), digest_size=16).hexdigest()}"


async def code_of(session: Session, external_user_id: str, *, market: str, locale: str, hint: str) -> SecretStr:
    """A code with which Tink Link acts as the user, who is made where there is none; Tink Link shows `hint`."""
    token = await session.tokens.get("consent", lambda: _mint(session))
    made = await session.request(
        "POST",
        "/api/v1/user/create",
        content=Content(json={"external_user_id": external_user_id, "market": market, "locale": locale}),
        classify=_unless({400, 401, 409}),
        auth=Bearer(token),
    )
    if made.status == 401:
        raise _wrong_credentials(made)
    if made.status == 400:
        raise Misconfigured(
            f"Tink makes no user in the market {market}: check LEDGERLAKE_TINK_MARKETS against the markets of the application",
            code=_code(made) or "400",
        )
    form = {
        "external_user_id": external_user_id,
        "id_hint": hint.encode("latin-1", "replace").decode("latin-1"),
        "actor_client_id": _ACTOR,
        "scope": _LINK_SCOPE,
    }
    reply = await session.post(
        "/api/v1/oauth/authorization-grant/delegate",
        content=Content(form=form),
        classify=_unless({401}),
        auth=Bearer(token),
    )
    if reply.status == 401:
        raise _wrong_credentials(reply)
    return SecretStr(_decode(reply, _GRANT).code)


async def is_of_user(session: Session) -> bool:
    """Whether the credentials in the session's secrets are its user's: what came by the browser may name any."""
    wanted = session.secrets["credentials_id"].get_secret_value()
    reply = await _User(session).get("/api/v1/provider-consents", {"credentialsId": wanted})
    listed, _ = _list(reply, "providerConsents")
    return wanted in _ids(listed)


def address(
    base: str,
    act: Act,
    *,
    client_id: str,
    code: SecretStr,
    redirect_uri: str,
    state: str,
    market: str,
    locale: str,
    credentials_id: str | None = None,
) -> str:
    """Where the customer consents: anew, or again to what `credentials_id` names."""
    query = {
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "authorization_code": code.get_secret_value(),
        "market": market,
        "locale": locale,
        "state": state,
        **({"credentials_id": credentials_id} if credentials_id is not None else {}),
    }
    return f"{base.rstrip('/')}{_PAGE}/{act}?{urlencode(query)}"


async def _mint(session: Session) -> tuple[SecretStr, float]:
    content = _order(session, grant_type="client_credentials", scope=_APPLICATION_SCOPE)
    reply = await session.post("/api/v1/oauth/token", content=content, classify=_unless({400, 401, 403}))
    if reply.status >= 300:
        raise _wrong_credentials(reply)
    return _token(reply)


def _ids(listed: bytes) -> list[str]:
    try:
        return [one.credentials_id for one in msgspec.json.decode(listed, type=list[_Held])]
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadData("expected consents with a credentialsId from Tink, found another shape") from None
