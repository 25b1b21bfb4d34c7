"""Findings: all, one, and the acts on one."""

import datetime as dt
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from console import acts
from console.api._shapes import PROBLEMS, Given, Text
from console.house import House, house_of
from console.security import MayAct, MayRead
from ledgerlake.errors import UsageError
from ledgerlake.integrity import Behind, FindingEvent, StoredFinding, proposed
from ledgerlake.orders import Order, Orders

router = APIRouter(prefix="/api/v1/findings", tags=["findings"], responses=PROBLEMS)

State = Literal["open", "acknowledged", "repairing", "resolved", "muted"]


class OneFinding(BaseModel):
    """A finding with the records behind it and its history; `repair` is what an order would do, else `advice`."""

    finding: StoredFinding
    records: list[Behind]
    history: list[FindingEvent]
    repair: list[str]
    advice: str | None
    orders: list[Order]


class Acknowledging(Given):
    comment: Text = ""


class Commenting(Given):
    comment: Annotated[str, Field(min_length=1, max_length=2000, pattern=r"\S")]


class Assigning(Given):
    owner: Annotated[str, Field(max_length=200)] = ""


class Muting(Given):
    until: dt.date
    comment: Text = ""


class Resolving(Given):
    reason: acts.Resolution
    comment: Text = ""


@router.get("")
def findings(
    request: Request,
    caller: MayRead,
    state: Annotated[list[State] | None, Query()] = None,
    most: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> list[StoredFinding]:
    """Findings, the most severe and oldest first: those that nobody has settled, or those in the states."""
    found = acts.findings(house_of(request))
    return (found.listed(states=state) if state else found.listed())[:most]


@router.get("/{finding_id}")
def finding(request: Request, caller: MayRead, finding_id: int) -> OneFinding:
    """One finding."""
    return _one(house_of(request), finding_id)


@router.post("/{finding_id}/acknowledge")
def acknowledge(request: Request, caller: MayAct, finding_id: int, given: Acknowledging) -> OneFinding:
    """Say that somebody has seen it."""
    house = house_of(request)
    acts.acknowledge(house, caller.name, finding_id, given.comment)
    return _one(house, finding_id)


@router.post("/{finding_id}/comment")
def comment(request: Request, caller: MayAct, finding_id: int, given: Commenting) -> OneFinding:
    """Say something about it."""
    house = house_of(request)
    acts.comment(house, caller.name, finding_id, given.comment)
    return _one(house, finding_id)


@router.post("/{finding_id}/assign")
def assign(request: Request, caller: MayAct, finding_id: int, given: Assigning) -> OneFinding:
    """Name who looks after it; an empty owner: nobody."""
    house = house_of(request)
    acts.assign(house, caller.name, finding_id, given.owner)
    return _one(house, finding_id)


@router.post("/{finding_id}/mute")
def mute(request: Request, caller: MayAct, finding_id: int, given: Muting) -> OneFinding:
    """Hear nothing of it until a day."""
    house = house_of(request)
    acts.mute(house, caller.name, finding_id, given.until, given.comment)
    return _one(house, finding_id)


@router.post("/{finding_id}/resolve")
def resolve(request: Request, caller: MayAct, finding_id: int, given: Resolving) -> OneFinding:
    """Settle it."""
    house = house_of(request)
    acts.resolve(house, caller.name, finding_id, given.reason, given.comment)
    return _one(house, finding_id)


@router.post("/{finding_id}/repair", status_code=202)
def repair(request: Request, caller: MayAct, finding_id: int) -> Order:
    """Order the repair that it proposes."""
    return acts.repair(house_of(request), caller.name, finding_id)


def _one(house: House, finding_id: int) -> OneFinding:
    one = acts.known_finding(house, finding_id)
    steps: tuple[str, ...] = ()
    advice = None
    try:
        steps = proposed(house.store, one)
    except UsageError as error:
        advice = str(error)
    known = acts.findings(house)
    return OneFinding(
        finding=one,
        records=known.records(finding_id),
        history=known.history(finding_id),
        repair=list(steps),
        advice=advice,
        orders=Orders(house.store).newest(finding_id=finding_id, most=3),
    )
