"""Connect links: those that were made, and what came of them; making one."""

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import Response

from console import acts
from console.house import house_of
from console.security import Caller, Support
from ledgerlake.errors import UsageError
from ledgerlake.links import Link, Links

router = APIRouter()

HOURS = 72


@router.get("/links")
def links(
    request: Request,
    caller: Support,
    customer: Annotated[str, Query(max_length=200)] = "",
    connection: Annotated[str, Query(max_length=80)] = "",
) -> Response:
    return _page(request, caller, customer=customer, connection=connection)


@router.post("/links")
def make(
    request: Request,
    caller: Support,
    customer: Annotated[str, Form(max_length=200)],
    connection: Annotated[str, Form(max_length=80)] = "",
    hours: Annotated[int, Form()] = HOURS,
) -> Response:
    house = house_of(request)
    try:
        link, address = acts.make_link(house, caller.name, customer, connection.strip() or None, hours)
    except UsageError as error:
        return _page(request, caller, customer=customer, connection=connection, said=str(error), status=422)
    return _page(request, caller, made=link, address=address)


def _page(
    request: Request,
    caller: Caller,
    *,
    customer: str = "",
    connection: str = "",
    said: str = "",
    status: int = 200,
    made: Link | None = None,
    address: str = "",
) -> Response:
    house = house_of(request)
    return house.render(
        request,
        "links.html",
        status=status,
        caller=caller,
        found=Links(house.store, house.vault).all(),
        customer=customer,
        connection=connection,
        hours=HOURS,
        said=said,
        made=made,
        address=address,
    )
