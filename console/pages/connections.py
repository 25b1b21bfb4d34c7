"""Connections: all of them, and one with its syncs and what can be done with it."""

import datetime as dt
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import RedirectResponse, Response

from console import acts
from console.house import house_of
from console.security import Support, Viewer
from ledgerlake.ingest import Standing, past_syncs, standings
from ledgerlake.integrity import Findings
from ledgerlake.orders import Orders

router = APIRouter()

ADVICE = {
    "needs_reauth": "Its customer has to sign in at the bank again: send a connect link for it.",
    "paused": "Nobody calls it until it is resumed.",
    "gone": "The consent is over for good: its customer has to connect anew.",
}
"""What to do about a connection that is not called."""


@router.get("/connections")
def connections(
    request: Request,
    caller: Viewer,
    q: Annotated[str, Query(max_length=200)] = "",
    provider: Annotated[str, Query(max_length=40)] = "",
    state: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    house = house_of(request)
    every = standings(house.store)
    found = [one for one in every if matches(one, q, provider, state)]
    return house.render(
        request,
        "connections.html",
        caller=caller,
        found=found,
        total=len(every),
        providers=sorted({one.provider for one in every}),
        states=sorted({one.state for one in every}),
        q=q,
        provider=provider,
        state=state,
    )


def matches(one: Standing, q: str, provider: str, state: str) -> bool:
    """Whether a connection has every word of `q`, and is of the provider and in the state, where they are given."""
    text = " ".join(filter(None, (one.connection_id, one.customer_id, one.institution_name, one.reason))).lower()
    return (
        provider in {"", one.provider} and state in {"", one.state} and all(part in text for part in q.lower().split())
    )


@router.get("/connections/{connection_id}")
def connection(request: Request, caller: Viewer, connection_id: str) -> Response:
    house = house_of(request)
    acts.known_connection(house, connection_id)
    (standing,) = standings(house.store, ids=[connection_id])
    return house.render(
        request,
        "connection.html",
        caller=caller,
        one=standing,
        advice=ADVICE.get(standing.state),
        syncs=past_syncs(house.store, connection_id),
        orders=Orders(house.store).newest(connection_id, most=5),
        findings=Findings(house.store, house.settings).listed(connections=[connection_id]),
        today=dt.datetime.now(dt.UTC).date(),
    )


@router.post("/connections/{connection_id}/pause")
def pause(
    request: Request, caller: Support, connection_id: str, reason: Annotated[str, Form(max_length=500)] = ""
) -> Response:
    acts.pause(house_of(request), caller.name, connection_id, reason)
    return _back(connection_id)


@router.post("/connections/{connection_id}/resume")
def resume(request: Request, caller: Support, connection_id: str) -> Response:
    acts.resume(house_of(request), caller.name, connection_id)
    return _back(connection_id)


@router.post("/connections/{connection_id}/sync")
def sync(request: Request, caller: Support, connection_id: str) -> Response:
    acts.sync(house_of(request), caller.name, connection_id)
    return _back(connection_id)


@router.post("/connections/{connection_id}/refetch")
def refetch(request: Request, caller: Support, connection_id: str, since: Annotated[dt.date, Form()]) -> Response:
    acts.refetch(house_of(request), caller.name, connection_id, since)
    return _back(connection_id)


def _back(connection_id: str) -> Response:
    return RedirectResponse(f"/connections/{connection_id}", 303)
