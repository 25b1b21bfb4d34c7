"""People: users with their roles, and the API's tokens. A password or a token is shown once, in the answer that makes it."""

import datetime as dt
from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request
from starlette.responses import RedirectResponse, Response

from console.house import House, house_of
from console.security import Admin, Caller
from ledgerlake.errors import UsageError
from ledgerlake.people import Person, Role, Scope, Token

router = APIRouter()


@router.get("/people")
def people(request: Request, caller: Admin) -> Response:
    return _page(request, caller)


@router.post("/people/users")
def add_user(
    request: Request, caller: Admin, name: Annotated[str, Form(max_length=200)], role: Annotated[Role, Form()]
) -> Response:
    house = house_of(request)
    if house.oidc is not None:
        raise HTTPException(422, "People come from the identity provider: give them its groups there.")
    person, password = house.people.add(caller.name, name, role)
    return _page(request, caller, made=f"user {person.name}", secret=password)


@router.post("/people/users/{user_id}/role")
def set_role(request: Request, caller: Admin, user_id: int, role: Annotated[Role, Form()]) -> Response:
    house = house_of(request)
    if _user(house, user_id).role != role:
        house.people.set_role(caller.name, user_id, role)
    return _back()


@router.post("/people/users/{user_id}/disable")
def disable(request: Request, caller: Admin, user_id: int) -> Response:
    house = house_of(request)
    if _user(house, user_id).disabled_at is None:
        house.people.disable(caller.name, user_id)
    return _back()


@router.post("/people/users/{user_id}/enable")
def enable(request: Request, caller: Admin, user_id: int) -> Response:
    house = house_of(request)
    if _user(house, user_id).disabled_at is not None:
        house.people.enable(caller.name, user_id)
    return _back()


@router.post("/people/tokens")
def add_token(
    request: Request,
    caller: Admin,
    name: Annotated[str, Form(min_length=1, max_length=200)],
    scopes: Annotated[list[Scope], Form()],
    days: Annotated[int, Form(ge=1, le=366)] = 90,
) -> Response:
    house = house_of(request)
    now = dt.datetime.now(dt.UTC)
    if any(one.name == name.strip() and _live(one, now) for one in house.people.tokens()):
        raise UsageError("a token of that name is valid: revoke it first, or choose another name.")
    token, secret = house.people.add_token(caller.name, name, scopes, days)
    return _page(request, caller, made=f"token {token.name}", secret=secret)


@router.post("/people/tokens/{token_id}/revoke")
def revoke(request: Request, caller: Admin, token_id: int) -> Response:
    house = house_of(request)
    found = [one for one in house.people.tokens() if one.token_id == token_id]
    if not found:
        raise HTTPException(404)
    if found[0].revoked_at is None:
        house.people.revoke_token(caller.name, token_id)
    return _back()


def _page(request: Request, caller: Caller, *, made: str = "", secret: str = "") -> Response:
    house = house_of(request)
    now = dt.datetime.now(dt.UTC)
    return house.render(
        request,
        "people.html",
        caller=caller,
        people=house.people.all(),
        tokens=[(one, _state(one, now)) for one in house.people.tokens()],
        by_provider=house.oidc is not None,
        made=made,
        secret=secret,
    )


def _state(token: Token, now: dt.datetime) -> str:
    if token.revoked_at is not None:
        return "revoked"
    return "valid" if _live(token, now) else "expired"


def _live(token: Token, now: dt.datetime) -> bool:
    return token.revoked_at is None and token.expires_at > now


def _user(house: House, user_id: int) -> Person:
    if not 0 < user_id < 2**63:
        raise HTTPException(404)
    try:
        return house.people.get(user_id)
    except UsageError:
        raise HTTPException(404) from None


def _back() -> Response:
    return RedirectResponse("/people", 303)
