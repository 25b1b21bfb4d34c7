"""Records: the search, and one record's way from the provider's bytes to the published row."""

from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec
from fastapi import APIRouter, HTTPException, Query, Request
from starlette.responses import Response

from console.house import House, house_of
from console.security import Caller, Viewer
from ledgerlake.records import LONGEST, MOST, Match, Way, as_json, masked, masked_matches, search, way

router = APIRouter()


@router.get("/records")
def records(request: Request, caller: Viewer, q: Annotated[str, Query(max_length=LONGEST)] = "") -> Response:
    house = house_of(request)
    found = found_by(house, caller, q)
    return house.render(
        request,
        "records.html",
        caller=caller,
        q=q,
        found=found,
        most=MOST,
        hrefs=[_href(one) for one in found],
        descriptions=caller.may("support"),
    )


@router.get("/records/{connection_id}/{stream}/{record_id:path}")
def record(
    request: Request,
    caller: Viewer,
    connection_id: str,
    stream: str,
    record_id: str,
    format: Annotated[Literal["html", "json"], Query()] = "html",  # noqa: A002 - the word in the address
) -> Response:
    house = house_of(request)
    found = known_way(house, caller, connection_id, stream, record_id)
    if format == "json":
        return Response(as_json(found), media_type="application/json")
    return house.render(
        request,
        "record.html",
        caller=caller,
        way=found,
        shown=_shown,
        whole=caller.may("admin"),
        as_json=f"{_path(connection_id, stream, record_id)}?format=json",
    )


def found_by(house: House, caller: Caller, q: str) -> list[Match]:
    """What a text may mean, as the caller may see it."""
    return masked_matches(search(house.store, house.lake, q, descriptions=caller.may("support")), caller.role)


def known_way(house: House, caller: Caller, connection_id: str, stream: str, record_id: str) -> Way:
    """That record's way as the caller may see it; 404 when there is no such record."""
    found = way(house.store, house.lake, connection_id, stream, record_id)
    if found is None:
        raise HTTPException(404)
    return masked(found, caller.role)


def _href(one: Match) -> str:
    if one.stream is None or one.record_id is None:
        return f"/connections/{quote(one.connection_id, safe='')}"
    return _path(one.connection_id, one.stream, one.record_id)


def _path(*parts: str) -> str:
    return "/records/" + "/".join(quote(one, safe="") for one in parts)


_ENCODER = msgspec.json.Encoder(decimal_format="number")


def _shown(value: Any) -> str:
    """A payload, or a value in it, for people: indented, its numbers exact."""
    return value if isinstance(value, str) else msgspec.json.format(_ENCODER.encode(value), indent=2).decode()
