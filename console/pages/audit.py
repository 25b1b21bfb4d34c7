"""The audit log: who did what, when, with what it was before and after."""

import datetime as dt
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request
from starlette.responses import Response

from console.house import House, house_of
from console.security import Admin
from console.sheets import of_records
from ledgerlake.store import Act, audit_log

router = APIRouter()

_SHOWN = 200
_SAVED = 50_000
Text = Annotated[str, Query(max_length=200)]


@router.get("/audit")
def audit(
    request: Request,
    caller: Admin,
    actor: Text = "",
    act: Text = "",
    target: Text = "",
    since: Text = "",
    until: Text = "",
) -> Response:
    house = house_of(request)
    given = {"actor": actor.strip(), "act": act.strip(), "target": target.strip(), "since": since, "until": until}
    return house.render(
        request, "audit.html", caller=caller, acts=_acts(house, given, _SHOWN), most=_SHOWN, given=given
    )


@router.get("/audit.csv")
def audit_csv(
    request: Request,
    caller: Admin,
    actor: Text = "",
    act: Text = "",
    target: Text = "",
    since: Text = "",
    until: Text = "",
) -> Response:
    given = {"actor": actor.strip(), "act": act.strip(), "target": target.strip(), "since": since, "until": until}
    return of_records("audit-log", Act, _acts(house_of(request), given, _SAVED))


def _acts(house: House, given: dict[str, str], most: int) -> list[Act]:
    with house.store.connect() as postgres:
        return audit_log(
            postgres,
            actor=given["actor"] or None,
            act=given["act"] or None,
            target=given["target"] or None,
            since=_day("since", given["since"]),
            until=_day("until", given["until"]),
            most=most,
        )


def _day(name: str, text: str) -> dt.date | None:
    """A form sends a field that was left empty as an empty text."""
    if not text:
        return None
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        raise HTTPException(422, f"{name}: expected a day as 2026-01-31.") from None
    if not dt.date(2000, 1, 1) <= day <= dt.date(2100, 1, 1):
        raise HTTPException(422, f"{name}: expected a day of this century.")
    return day
