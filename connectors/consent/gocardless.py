"""
GoCardless' way to a consent: the institutions of a country, an agreement with one, and a requisition whose link the
customer follows.

Source: https://developer.gocardless.com/bank-account-data/quick-start-guide
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec
from pydantic import SecretStr

from connectors._auth import Bearer
from connectors._errors import BadData, Misconfigured, NeedsReauth
from connectors._http import Content, Reply, Session
from connectors.gocardless import _CREDENTIALS, _SET_THEM, _classify, _decoded, _Pair, _requisition_fault, _token_fault

_SCOPE = ("balances", "details", "transactions")
_DAYS = 90
"""How long access and history are at a bank that grants no more, and what a bank with continuous access may be asked for."""


class Institution(msgspec.Struct, frozen=True):
    """A bank as a customer finds it, and what it grants: days of history, days of access."""

    id: str
    name: str
    transaction_total_days: int | str = _DAYS
    max_access_valid_for_days: int | str = _DAYS
    separate_continuous_history_consent: bool | None = None


class _Made(msgspec.Struct):
    id: str


class _Opened(msgspec.Struct):
    id: str
    link: str


class _State(msgspec.Struct):
    status: str
    reference: str | None = None


async def institutions(session: Session, country: str) -> list[Institution]:
    """The banks of a country, by name."""
    reply = await _call(session, "GET", "/institutions/", params={"country": country.lower()})
    found: list[Institution] = _decoded(reply, list[Institution], "a list of institutions")
    return sorted(found, key=lambda one: one.name.casefold())


async def requisition(session: Session, institution_id: str, *, reference: str, redirect: str) -> tuple[str, str]:
    """
    A requisition over a new agreement, for as much history and access as the bank grants: its id, and its link.

    Raises NeedsReauth when there is no such institution.
    """
    reply = await _call(session, "GET", f"/institutions/{quote(institution_id, safe='')}/", allow={400, 404})
    if reply.status >= 300:
        raise NeedsReauth("GoCardless knows no such institution: the customer chooses one of the list", code="404")
    bank: Institution = _decoded(reply, Institution, "an institution")
    history, access = _days(bank.transaction_total_days), _days(bank.max_access_valid_for_days)
    if bank.separate_continuous_history_consent:
        history = min(history, _DAYS)
    order = {"institution_id": bank.id, "max_historical_days": history, "access_valid_for_days": access}
    made = await _call(session, "POST", "/agreements/enduser/", json=order | {"access_scope": _SCOPE}, allow={400})
    if made.status >= 300 and access > _DAYS:
        order["access_valid_for_days"] = _DAYS
        made = await _call(session, "POST", "/agreements/enduser/", json=order | {"access_scope": _SCOPE}, allow={400})
    if made.status >= 300:
        raise BadData(
            f"GoCardless refuses an agreement of {history} days of history and {order['access_valid_for_days']} of access,"
            " which the institution itself names; choose another bank, and report it",
            code=str(made.status),
        )
    agreement: _Made = _decoded(made, _Made, "an agreement")
    opened: _Opened = _decoded(
        await _call(
            session,
            "POST",
            "/requisitions/",
            json={
                "redirect": redirect,
                "institution_id": bank.id,
                "reference": reference,
                "agreement": agreement.id,
                "user_language": "EN",
            },
        ),
        _Opened,
        "a requisition",
    )
    return opened.id, opened.link


async def is_linked(session: Session, requisition_id: str, reference: str) -> bool:
    """Whether the customer has consented to that requisition, which is the one of this reference."""
    reply = await _call(session, "GET", f"/requisitions/{quote(requisition_id, safe='')}/", of_requisition=True)
    state: _State = _decoded(reply, _State, "a requisition")
    return state.status == "LN" and state.reference == reference


async def _call(
    session: Session,
    method: str,
    path: str,
    *,
    params: Mapping[str, str] | None = None,
    json: object = None,
    allow: set[int] | None = None,
    of_requisition: bool = False,
) -> Reply:
    """A request by the application's token; answers of a status in `allow` are handed back."""

    def meaning(reply: Reply) -> Any:
        if reply.status in (allow or set()) and not reply.is_html:
            return None
        return _requisition_fault(reply) if of_requisition else _classify(reply)

    token = await session.tokens.get("consent", lambda: _mint(session))
    return await session.request(
        method, path, params=params, content=Content(json=json), classify=meaning, auth=Bearer(token)
    )


async def _mint(session: Session) -> tuple[SecretStr, float]:
    given = session.credentials
    if not all(name in given and given[name].get_secret_value() for name in _CREDENTIALS):
        raise Misconfigured(f"GoCardless expects the application's secrets, found none: {_SET_THEM}", scope="provider")
    reply = await session.request(
        "POST",
        "/token/new/",
        content=Content(json={name: given[name].get_secret_value() for name in _CREDENTIALS}),
        classify=_token_fault,
    )
    pair: _Pair = _decoded(reply, _Pair, "a pair of tokens", scope="provider")
    return SecretStr(pair.access), pair.access_expires


def _days(told: int | str) -> int:
    text = str(told)
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text) < 10_000 else _DAYS
