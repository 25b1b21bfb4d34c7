"""Integrity: the findings, and one with its records, its repair and its history."""

import datetime as dt
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import RedirectResponse, Response

from console import acts
from console.charts import Chart, Series, pivot
from console.house import house_of
from console.security import Support, Viewer
from ledgerlake import figures
from ledgerlake.errors import UsageError
from ledgerlake.integrity import proposed
from ledgerlake.orders import Orders

router = APIRouter()

_SHOWN = 200
_DAYS = 60
_RECORDS = 50
_COLUMNS = ("field", "expected", "found", "reason")
"""What a finding may tell of a record; a column that none of its records fills is not shown."""


@router.get("/integrity")
def findings(
    request: Request, caller: Viewer, show: Annotated[Literal["open", "muted", "resolved"], Query()] = "open"
) -> Response:
    house = house_of(request)
    every = acts.findings(house).listed(states=None)
    states = {"open": {"open", "acknowledged", "repairing"}, "muted": {"muted"}, "resolved": {"resolved"}}
    counts = {name: sum(one.state in of for one in every) for name, of in states.items()}
    complete = figures.completeness(house.store, _DAYS)
    told = figures.finding_days(house.store, _DAYS)
    days, series = pivot(((one.day, one.provider, one.per_mille) for one in complete), missing=None)
    return house.render(
        request,
        "integrity.html",
        caller=caller,
        found=[one for one in every if one.state in states[show]][:_SHOWN],
        counts=counts,
        show=show,
        last=acts.findings(house).last_verification(),
        complete=[one for one in complete if one.day == complete[-1].day],
        told=list(reversed(told)),
        finding_chart=Chart(
            "Findings of each day's last verification",
            "bar",
            [one.day for one in told],
            [Series("Findings", [one.findings for one in told])],
        ),
        complete_chart=Chart("Completeness of each provider, per mille", "line", days, series, "‰"),
    )


@router.get("/integrity/{finding_id}")
def finding(request: Request, caller: Viewer, finding_id: int) -> Response:
    house = house_of(request)
    one = acts.known_finding(house, finding_id)
    try:
        steps, advice = proposed(house.store, one), None
    except UsageError as error:
        steps, advice = (), str(error)
    records = acts.findings(house).records(finding_id)[:_RECORDS]
    return house.render(
        request,
        "finding.html",
        caller=caller,
        one=one,
        steps=steps,
        advice=advice,
        records=records,
        shown_columns=[name for name in _COLUMNS if any(getattr(record, name) is not None for record in records)],
        history=acts.findings(house).history(finding_id),
        orders=Orders(house.store).newest(finding_id=finding_id, most=3),
        today=dt.datetime.now(dt.UTC).date(),
    )


@router.post("/integrity/{finding_id}/acknowledge")
def acknowledge(
    request: Request, caller: Support, finding_id: int, comment: Annotated[str, Form(max_length=2000)] = ""
) -> Response:
    acts.acknowledge(house_of(request), caller.name, finding_id, comment)
    return _back(finding_id)


@router.post("/integrity/{finding_id}/comment")
def comment(
    request: Request, caller: Support, finding_id: int, comment: Annotated[str, Form(min_length=1, max_length=2000)]
) -> Response:
    acts.comment(house_of(request), caller.name, finding_id, comment)
    return _back(finding_id)


@router.post("/integrity/{finding_id}/assign")
def assign(
    request: Request, caller: Support, finding_id: int, owner: Annotated[str, Form(max_length=200)] = ""
) -> Response:
    acts.assign(house_of(request), caller.name, finding_id, owner)
    return _back(finding_id)


@router.post("/integrity/{finding_id}/mute")
def mute(
    request: Request,
    caller: Support,
    finding_id: int,
    until: Annotated[dt.date, Form()],
    comment: Annotated[str, Form(max_length=2000)] = "",
) -> Response:
    acts.mute(house_of(request), caller.name, finding_id, until, comment)
    return _back(finding_id)


@router.post("/integrity/{finding_id}/resolve")
def resolve(
    request: Request,
    caller: Support,
    finding_id: int,
    reason: Annotated[acts.Resolution, Form()],
    comment: Annotated[str, Form(max_length=2000)] = "",
) -> Response:
    acts.resolve(house_of(request), caller.name, finding_id, reason, comment)
    return _back(finding_id)


@router.post("/integrity/{finding_id}/repair")
def repair(request: Request, caller: Support, finding_id: int) -> Response:
    acts.repair(house_of(request), caller.name, finding_id)
    return _back(finding_id)


def _back(finding_id: int) -> Response:
    return RedirectResponse(f"/integrity/{finding_id}", 303)
