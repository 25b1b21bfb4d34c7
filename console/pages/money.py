"""Money: what came in, went out and was there, and recurring revenue, one currency at a time."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from console.charts import Chart, Series
from console.house import house_of
from console.security import Viewer
from console.sheets import of_records
from ledgerlake import figures
from ledgerlake.lake import LakeEmpty

router = APIRouter()

Customer = Annotated[str, Query(max_length=200)]
Currency = Annotated[str, Query(max_length=20)]


@router.get("/money")
def money(request: Request, caller: Viewer, customer: Customer = "", currency: Currency = "") -> Response:
    house = house_of(request)
    who = customer.strip()
    try:
        with house.lake.look() as look:
            currencies = figures.currencies(look, who or None)
            chosen = currency if currency in currencies else next(iter(currencies), "")
            flows = figures.flows(look, chosen, who or None)
            mrr = figures.mrr(look, chosen, who or None)
    except LakeEmpty:
        return house.render(request, "money.html", caller=caller, published=False)
    months = [one.month for one in flows]
    return house.render(
        request,
        "money.html",
        caller=caller,
        published=True,
        customer=who,
        currency=chosen,
        currencies=sorted(currencies),
        flows=flows,
        mrr=mrr,
        flow_chart=Chart(
            "Inflow, outflow and net, month by month",
            "bar",
            months,
            [
                Series("Inflow", [one.inflow for one in flows]),
                Series("Outflow", [one.outflow for one in flows]),
                Series("Net", [one.net for one in flows], line=True),
            ],
            chosen,
        ),
        balance_chart=Chart(
            "Closing balances, month by month",
            "line",
            months,
            [Series("Closing balance", [one.closing_balance for one in flows])],
            chosen,
        ),
        mrr_chart=Chart(
            "Movements of monthly recurring revenue",
            "stack",
            [one.month for one in mrr],
            [
                *(
                    Series(name.capitalize(), [getattr(one, name) for one in mrr])
                    for name in ("new", "reactivation", "expansion", "contraction", "churn")
                ),
                Series("MRR at the end", [one.ending for one in mrr], line=True),
            ],
            chosen,
        ),
    )


@router.get("/money.csv")
def money_csv(
    request: Request,
    caller: Viewer,
    what: Annotated[Literal["flows", "mrr"], Query()] = "flows",
    customer: Customer = "",
) -> Response:
    who = customer.strip() or None
    try:
        with house_of(request).lake.look() as look:
            if what == "mrr":
                return of_records("mrr", figures.Mrr, figures.mrr(look, None, who))
            return of_records("money", figures.Flow, figures.flows(look, None, who))
    except LakeEmpty:
        return of_records("empty", figures.Flow, [])
