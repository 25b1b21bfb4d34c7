"""Source mix: which kinds of source customers connect, what they add next, and who is likely to add one."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from console.charts import Chart, pivot
from console.house import house_of
from console.security import Viewer
from console.sheets import of_records
from ledgerlake import figures
from ledgerlake.lake import LakeEmpty

router = APIRouter()

_SHOWN = 100
Days = Annotated[int, Query(ge=7, le=730)]


@router.get("/sources")
def sources(request: Request, caller: Viewer, days: Days = figures.DAYS) -> Response:
    house = house_of(request)
    try:
        with house.lake.look() as look:
            mixes = figures.mixes(look)
            customers = figures.customers(look)
            additions = figures.additions(look)
            habits = figures.habits(look, days)
            likely = figures.likely(look, days)
    except LakeEmpty:
        return house.render(request, "sources.html", caller=caller, published=False, days=days)
    places, series = pivot((one.day, one.combination, one.customers) for one in mixes)
    months, added = pivot((one.month, one.kind, one.customers) for one in additions)
    last = [one for one in mixes if one.day == mixes[-1].day]
    return house.render(
        request,
        "sources.html",
        caller=caller,
        published=True,
        days=days,
        mix=Chart("Customers by combination of sources, day by day", "area", places, series),
        last=sorted(last, key=lambda one: -one.customers),
        additions=additions,
        added=Chart("Sources that customers added, month by month", "stack", months, added),
        habits=habits,
        minimum=figures.MINIMUM,
        likely=likely[:_SHOWN],
        likely_count=len(likely),
        customers=customers[:_SHOWN],
        customer_count=len(customers),
    )


@router.get("/sources.csv")
def sources_csv(
    request: Request,
    caller: Viewer,
    what: Annotated[Literal["mix", "added", "habits", "likely", "customers"], Query()] = "mix",
    days: Days = figures.DAYS,
) -> Response:
    try:
        with house_of(request).lake.look() as look:
            match what:
                case "mix":
                    return of_records("source-mix", figures.Mix, figures.mixes(look, 3650))
                case "added":
                    return of_records("sources-added", figures.Added, figures.additions(look))
                case "habits":
                    return of_records("sources-next", figures.Habit, figures.habits(look, days))
                case "likely":
                    return of_records("sources-likely", figures.Likely, figures.likely(look, days))
                case "customers":
                    return of_records("customers", figures.Customer, figures.customers(look))
    except LakeEmpty:
        return of_records("empty", figures.Mix, [])
