"""The guard in front of every route: each one names the right that it needs, and one without a guard is a fault.

A browser proves itself by its session's cookie, and for everything that changes something also by the session's CSRF token,
in the form or in a header. A program proves itself by a token of the API.
"""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, HTTPException, Request
from starlette.concurrency import run_in_threadpool

from ledgerlake.people import Role, Scope, Session, Token, allows

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_ROLE_OF: dict[Scope, Role] = {"read": "viewer", "act": "support", "admin": "admin"}
HEADER = "x-csrf-token"
FIELD = "csrf"


@dataclass(frozen=True)
class Caller:
    """Who calls: a person with a session, or a program with a token."""

    name: str
    role: Role
    session: Session | None = None
    token: Token | None = None

    @property
    def csrf(self) -> str:
        return self.session.csrf if self.session else ""

    def may(self, role: Role) -> bool:
        """Whether the caller may do what that role may."""
        return allows(self.role, role)


class NotSignedIn(Exception):  # noqa: N818 - an answer: go and sign in
    """A page was asked for by somebody who is not signed in; `back` is where to go on afterwards."""

    def __init__(self, back: str) -> None:
        self.back = back


class MustChange(Exception):  # noqa: N818 - an answer: choose a password first
    """Somebody with a one-time password has to choose one before anything else."""


Guard = Callable[[Request], Awaitable[Any]]


def _marked(guard: Guard, right: str) -> Any:
    """The dependency, with its right for whoever walks over the routes."""
    guard.right = right  # type: ignore[attr-defined]
    return Depends(guard)


def page(role: Role) -> Any:
    """Somebody who is signed in and may do what that role may."""

    async def guard(request: Request) -> Caller:
        caller = await _signed_in(request)
        if caller is None:
            back = request.url.path if request.method in _SAFE else "/"
            if request.method in _SAFE and request.url.query:
                back += f"?{request.url.query}"
            raise NotSignedIn(back)
        assert caller.session is not None
        if caller.session.person.must_change:
            raise MustChange
        await _own_form(request, caller)
        _enough(caller, role)
        return caller

    return _marked(guard, role)


def fresh() -> Any:
    """Somebody who is signed in, also with a one-time password."""

    async def guard(request: Request) -> Caller:
        caller = await _signed_in(request)
        if caller is None:
            raise NotSignedIn("/")
        await _own_form(request, caller)
        return caller

    return _marked(guard, "signed in")


def api(scope: Scope) -> Any:
    """A program with a token of that scope, or somebody who is signed in with the right that equals it."""
    role = _ROLE_OF[scope]

    async def guard(request: Request) -> Caller:
        given = request.headers.get("authorization", "")
        kind, _, secret = given.partition(" ")
        if kind.lower() == "bearer":
            token = await run_in_threadpool(request.app.state.house.people.token, secret.strip())
            if token is None:
                raise HTTPException(401, "the token is unknown, revoked or has expired", {"www-authenticate": "Bearer"})
            caller = Caller(f"token {token.name}", max((_ROLE_OF[one] for one in token.scopes), key=_rank), token=token)
            if role not in {_ROLE_OF[one] for one in token.scopes}:
                raise HTTPException(403, f"expected a token of the scope {scope}")
            return caller
        found = await _signed_in(request)
        if found is None or (found.session is not None and found.session.person.must_change):
            raise HTTPException(401, "expected a token: Authorization: Bearer …", {"www-authenticate": "Bearer"})
        await _own_form(request, found)
        _enough(found, role)
        return found

    return _marked(guard, f"scope {scope}")


def public(why: str) -> Any:
    """Everybody; `why` says the reason."""

    async def guard(request: Request) -> None:
        return None

    return _marked(guard, f"public: {why}")


def _rank(role: Role) -> int:
    return ("viewer", "support", "admin").index(role)


def _enough(caller: Caller, role: Role) -> None:
    if not caller.may(role):
        raise HTTPException(403, f"This needs the role {role}; yours is {caller.role}.")


async def _signed_in(request: Request) -> Caller | None:
    house = request.app.state.house
    cookie = request.cookies.get(house.cookie)
    if not cookie:
        return None
    session = await run_in_threadpool(house.people.session, cookie)
    return None if session is None else Caller(session.person.name, session.person.role, session=session)


async def _own_form(request: Request, caller: Caller) -> None:
    """What changes something comes from a page of ours: it carries the session's CSRF token."""
    if request.method in _SAFE:
        return
    given = request.headers.get(HEADER)
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if given is None and kind in {"application/x-www-form-urlencoded", "multipart/form-data"}:
        value = (await request.form()).get(FIELD)
        given = value if isinstance(value, str) else None
    if given is None or not secrets.compare_digest(given.encode(), caller.csrf.encode()):
        raise HTTPException(403, "This form is not from a page that you have open: load the page again and repeat it.")


def own_path(given: str | None) -> str:
    """A path of this console to go on to; anything else leads to the first page."""
    if not given or not given.startswith("/") or given.startswith(("//", "/\\")) or "\\" in given:
        return "/"
    return quote(given, safe="/?&=%-._~+:,")


Viewer = Annotated[Caller, page("viewer")]
Support = Annotated[Caller, page("support")]
Admin = Annotated[Caller, page("admin")]
SignedIn = Annotated[Caller, fresh()]
MayRead = Annotated[Caller, api("read")]
MayAct = Annotated[Caller, api("act")]
MayAdminister = Annotated[Caller, api("admin")]
