"""Records: the search, and one record's way. Both masked for the token's scopes as the pages are for a role."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from console.api._shapes import PROBLEMS
from console.house import house_of
from console.pages.records import found_by, known_way
from console.security import MayRead
from ledgerlake.records import LONGEST, Match, Way, as_json

router = APIRouter(prefix="/api/v1/records", tags=["records"], responses=PROBLEMS)


@router.get("")
def records(
    request: Request, caller: MayRead, q: Annotated[str, Query(min_length=1, max_length=LONGEST)]
) -> list[Match]:
    """What a text may mean: an id of a record, account, connection or customer, an amount; with `act` also a description."""
    return found_by(house_of(request), caller, q)


@router.get("/{connection_id}/{stream}/{record_id:path}", response_class=Response, responses={200: {"model": Way}})
def record(request: Request, caller: MayRead, connection_id: str, stream: str, record_id: str) -> Response:
    """A record's versions, what brought them, the models on its way and the findings behind which it is."""
    found = known_way(house_of(request), caller, connection_id, stream, record_id)
    return Response(as_json(found), media_type="application/json")
