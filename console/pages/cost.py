"""Cost and speed: what syncs take at the providers, and what each model takes in a build."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from console.charts import Chart, pivot
from console.house import house_of
from console.security import Viewer
from console.sheets import of_records
from ledgerlake import figures

router = APIRouter()

_DRAWN = 8
Days = Annotated[int, Query(ge=1, le=366)]


@router.get("/cost")
def cost(request: Request, caller: Viewer, days: Days = 30) -> Response:
    house = house_of(request)
    syncs = figures.sync_days(house.store, days)
    models = figures.model_times(house.store)
    slowest = [one.model for one in models[:_DRAWN]]
    requests_on, requests = pivot((one.day, one.provider, one.requests) for one in syncs)
    seconds_on, seconds = pivot((one.day, one.provider, one.seconds) for one in syncs)
    built_at, times = pivot(
        ((at, model, took) for model, at, took in figures.model_days(house.store, slowest)), missing=None
    )
    return house.render(
        request,
        "cost.html",
        caller=caller,
        days=days,
        syncs=syncs,
        dearest=figures.dearest(house.store, days),
        models=models,
        drawn=_DRAWN,
        noticed=[one for one in models if one.slower or (one.new and one.seconds >= 1)],
        requests=Chart("Requests by provider, day by day", "stack", requests_on, requests),
        seconds=Chart("Seconds of syncs by provider, day by day", "stack", seconds_on, seconds, "s"),
        times=Chart(f"The {len(slowest)} slowest models, build by build", "line", built_at, times, "s"),
    )


@router.get("/cost.csv")
def cost_csv(
    request: Request,
    caller: Viewer,
    what: Annotated[Literal["syncs", "connections", "models"], Query()] = "syncs",
    days: Days = 30,
) -> Response:
    store = house_of(request).store
    match what:
        case "syncs":
            return of_records("sync-cost", figures.SyncDay, figures.sync_days(store, days))
        case "connections":
            return of_records("connection-cost", figures.Dear, figures.dearest(store, days, most=10_000))
        case "models":
            return of_records("model-times", figures.ModelTime, figures.model_times(store))
