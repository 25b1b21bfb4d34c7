"""Connections: all, one, and the acts on one."""

import datetime as dt
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from console import acts
from console.api._shapes import PROBLEMS, Given
from console.house import House, house_of
from console.pages.connections import ADVICE, matches
from console.security import MayAct, MayRead
from ledgerlake.ingest import PastSync, Standing, past_syncs, standings
from ledgerlake.orders import Order, Orders

router = APIRouter(prefix="/api/v1/connections", tags=["connections"], responses=PROBLEMS)


class OneConnection(BaseModel):
    """A connection with its last syncs and orders, and what to do when it is not called."""

    connection: Standing
    advice: str | None
    syncs: list[PastSync]
    orders: list[Order]


class Pausing(Given):
    reason: Annotated[str, Field(max_length=500)] = ""


class Refetching(Given):
    since: dt.date


@router.get("")
def connections(
    request: Request,
    caller: MayRead,
    q: Annotated[str, Query(max_length=200)] = "",
    provider: Annotated[str, Query(max_length=40)] = "",
    state: Annotated[str, Query(max_length=40)] = "",
) -> list[Standing]:
    """All connections, those first that somebody must look at; or those that match."""
    return [one for one in standings(house_of(request).store) if matches(one, q, provider, state)]


@router.get("/{connection_id}")
def connection(request: Request, caller: MayRead, connection_id: str) -> OneConnection:
    """One connection."""
    return _one(house_of(request), connection_id)


@router.post("/{connection_id}/pause")
def pause(request: Request, caller: MayAct, connection_id: str, given: Pausing) -> OneConnection:
    """Stop calling it, until it is resumed."""
    house = house_of(request)
    acts.pause(house, caller.name, connection_id, given.reason)
    return _one(house, connection_id)


@router.post("/{connection_id}/resume")
def resume(request: Request, caller: MayAct, connection_id: str) -> OneConnection:
    """Call it again."""
    house = house_of(request)
    acts.resume(house, caller.name, connection_id)
    return _one(house, connection_id)


@router.post("/{connection_id}/sync", status_code=202)
def sync(request: Request, caller: MayAct, connection_id: str) -> Order:
    """Order a sync now; one that waits already is that order."""
    return acts.sync(house_of(request), caller.name, connection_id)


@router.post("/{connection_id}/refetch", status_code=202)
def refetch(request: Request, caller: MayAct, connection_id: str, given: Refetching) -> Order:
    """Order that everything since a day is read again."""
    return acts.refetch(house_of(request), caller.name, connection_id, given.since)


def _one(house: House, connection_id: str) -> OneConnection:
    acts.known_connection(house, connection_id)
    (standing,) = standings(house.store, ids=[connection_id])
    return OneConnection(
        connection=standing,
        advice=ADVICE.get(standing.state),
        syncs=past_syncs(house.store, connection_id),
        orders=Orders(house.store).newest(connection_id, most=5),
    )
