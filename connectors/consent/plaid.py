"""
Plaid Link: the link token with which the page opens, and the exchange of what the page hands back.

Source: https://plaid.com/docs/api/link
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from pydantic import SecretStr

from connectors._errors import BadData, ConnectorError, Gone, Misconfigured, NeedsReauth
from connectors._http import Content, Reply, Session
from connectors.plaid import _VERSION, _classify, _code, _Keys, _plain

_DAYS = 730
"""How much history is asked for; it cannot be asked for later."""
_SPENT = frozenset({"INVALID_PUBLIC_TOKEN", "EXPIRED_PUBLIC_TOKEN"})


class _Linked(msgspec.Struct):
    link_token: str


class _Exchanged(msgspec.Struct):
    access_token: str
    item_id: str


def user_of(customer_id: str) -> str:
    """The customer's name at Plaid: always the same, and it says nothing of the customer, as Plaid asks."""
    return hashlib.blake2b(customer_id.encode(), digest_size=16).hexdigest()


async def link_token(
    session: Session,
    *,
    name: str,
    user: str,
    countries: Sequence[str],
    redirect_uri: str,
    webhook: str | None,
    access_token: SecretStr | None = None,
) -> SecretStr:
    """
    A token that opens Plaid Link once: for a new Item, or in update mode for the one of `access_token`.

    `name` is the company's as the customer reads it, at most 30 characters.
    """
    order: dict[str, Any] = {
        "client_name": name,
        "language": "en",
        "country_codes": list(countries),
        "user": {"client_user_id": user},
        "redirect_uri": redirect_uri,
    }
    if webhook is not None:
        order["webhook"] = webhook
    if access_token is not None:
        order["access_token"] = access_token.get_secret_value()
    else:
        order |= {"products": ["transactions"], "transactions": {"days_requested": _DAYS}}
    reply = await _post(session, "/link/token/create", order)
    return SecretStr(_decoded(reply, _Linked).link_token)


async def exchange(session: Session, public_token: str) -> dict[str, SecretStr]:
    """The Item's secrets for the token that Link handed to the page; it is taken once, within half an hour."""
    reply = await _post(session, "/item/public_token/exchange", {"public_token": public_token})
    found = _decoded(reply, _Exchanged)
    return {"access_token": SecretStr(found.access_token), "item_id": SecretStr(found.item_id)}


async def _post(session: Session, path: str, body: Mapping[str, object]) -> Reply:
    given = {name: session.credentials.get(name, SecretStr("")) for name in ("client_id", "secret")}
    if not all(_plain(one.get_secret_value()) for one in given.values()):
        raise Misconfigured(
            "expected the application's client id and secret at Plaid, found none or only one: set"
            " LEDGERLAKE_PLAID_CLIENT_ID and LEDGERLAKE_PLAID_SECRET to the keys of Plaid's dashboard",
            scope="provider",
        )
    auth = _Keys(given["client_id"], given["secret"])
    return await session.post(
        path, content=Content(json=body), classify=_meaning, auth=auth, headers={"Plaid-Version": _VERSION}
    )


def _meaning(reply: Reply) -> ConnectorError:
    code = _code(reply)
    if code in _SPENT:
        return NeedsReauth(f"Plaid reports {code}: what Link handed over is unknown, used or too old", code=code)
    error = _classify(reply)
    if isinstance(error, BadData):
        return Misconfigured(
            f"Plaid refuses {reply.request} with {code or f'HTTP {reply.status}'}: check in Plaid's dashboard that the"
            " redirect URI <LEDGERLAKE_CONSOLE_URL>/connect/return/plaid is allowed, and the countries of"
            " LEDGERLAKE_PLAID_COUNTRIES and the product transactions are enabled",
            code=code,
        )
    if isinstance(error, Gone):
        error.message = (
            f"Plaid reports {code}: this Item is gone for good; the customer connects anew, with another link"
        )
    return error


def _decoded(reply: Reply, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadData(
            f"expected a token from {reply.request}, found {reply.describe()} of another shape; if it stays so, this"
            " needs an update"
        ) from None
