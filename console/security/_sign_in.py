"""Signing in: by OpenID Connect where an identity provider is set, else by name and password."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Form, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from console.house import House, house_of
from console.identity import role_of
from console.security._guard import SignedIn, own_path, public
from ledgerlake.errors import UsageError
from ledgerlake.people import Person, SignInRefused

_log = structlog.get_logger(__name__)


def sign_in_routes() -> APIRouter:
    """The routes of signing in and out."""
    router = APIRouter()

    @router.get("/sign-in", dependencies=[public("whoever signs in is nobody yet")])
    async def form(request: Request, back: str = "/") -> Response:
        house = house_of(request)
        return house.render(request, "sign_in.html", back=own_path(back), by_provider=house.oidc is not None)

    @router.post("/sign-in", dependencies=[public("whoever signs in is nobody yet")])
    async def sign_in(
        request: Request,
        name: Annotated[str, Form(max_length=200)],
        password: Annotated[str, Form(max_length=1000)],
        back: Annotated[str, Form(max_length=2000)] = "/",
    ) -> Response:
        house = house_of(request)
        if house.oidc is not None:
            return RedirectResponse("/sign-in", 303)
        address = request.client.host if request.client else ""
        said, status = "", 401
        if not house.limiter.allows(name, address):
            said, status = "Too many tries. Wait a minute, then try again.", 429
        else:
            try:
                person = await run_in_threadpool(house.people.sign_in, name, password)
                return await _enter(request, person, own_path(back))
            except SignInRefused:
                said = "Name and password do not belong together."
        _log.warning("sign-in refused", address=address, status=status)
        return house.render(
            request, "sign_in.html", status=status, back=own_path(back), by_provider=False, said=said, name=name
        )

    @router.get("/sign-in/provider", dependencies=[public("the way to the identity provider")])
    async def to_provider(request: Request, back: str = "/") -> Response:
        house = house_of(request)
        if house.oidc is None:
            return RedirectResponse("/sign-in", 303)
        request.session["back"] = own_path(back)
        try:
            answer = await house.oidc.authorize_redirect(request, f"{house.url}/sign-in/answer")
        except Exception as error:
            _log.error("identity provider", error=type(error).__name__)
            return house.render(
                request, "sign_in.html", status=503, back="/", by_provider=True,
                said="The identity provider does not answer. Try again in a moment.",
            )  # fmt: skip
        assert isinstance(answer, Response)
        return answer

    @router.get("/sign-in/answer", dependencies=[public("the identity provider's redirect")])
    async def from_provider(request: Request) -> Response:
        house = house_of(request)
        if house.oidc is None:
            return RedirectResponse("/sign-in", 303)
        back = own_path(request.session.pop("back", "/"))
        try:
            person = await _from_provider(house, request)
        except Exception as error:  # what an answer that is forged, late or cancelled raises is Authlib's affair
            said = str(error) if isinstance(error, SignInRefused) else "The sign-in was not completed. Try again."
            _log.warning("sign-in refused", error=type(error).__name__)
            return house.render(request, "sign_in.html", status=401, back=back, by_provider=True, said=said)
        return await _enter(request, person, back)

    @router.post("/sign-out")
    async def sign_out(request: Request, _: SignedIn) -> Response:
        house = house_of(request)
        await run_in_threadpool(house.people.close_session, request.cookies[house.cookie])
        answer = RedirectResponse("/sign-in", 303)
        answer.delete_cookie(house.cookie, path="/", secure=house.secure, httponly=True, samesite="lax")
        return answer

    @router.get("/password")
    async def password_form(request: Request, caller: SignedIn) -> Response:
        return house_of(request).render(request, "password.html", caller=caller)

    @router.post("/password")
    async def change_password(
        request: Request,
        old: Annotated[str, Form(max_length=1000)],
        new: Annotated[str, Form(max_length=1000)],
        again: Annotated[str, Form(max_length=1000)],
        caller: SignedIn,
    ) -> Response:
        house = house_of(request)
        assert caller.session is not None
        said = "The new password was not typed the same twice." if new != again else ""
        if not said:
            try:
                await run_in_threadpool(house.people.change_password, caller.session.person.user_id, old, new)
            except (SignInRefused, UsageError) as error:
                said = str(error).capitalize()
        if said:
            return house.render(request, "password.html", status=422, caller=caller, said=said)
        person = await run_in_threadpool(house.people.get, caller.session.person.user_id)
        return await _enter(request, person, "/")

    return router


async def _from_provider(house: House, request: Request) -> Person:
    """Whom the identity provider's answer names, with the role that its groups give."""
    answer = await house.oidc.authorize_access_token(request)
    claims = answer.get("userinfo") or {}
    role = role_of(house.settings, claims)
    if role is None or not claims.get("sub"):
        raise SignInRefused("You are in no group that may use the console; ask your administrator.")
    name = str(claims.get("email") or claims.get("preferred_username") or claims["sub"])[:200]
    subject = f"{house.settings.oidc_issuer}#{claims['sub']}"
    return await run_in_threadpool(house.people.from_provider, subject, name, role)


async def _enter(request: Request, person: Person, back: str) -> Response:
    """A new session in a new cookie: one that somebody else planted is worth nothing."""
    house = house_of(request)
    token, _ = await run_in_threadpool(house.people.open_session, person)
    answer = RedirectResponse("/password" if person.must_change else back, 303)
    answer.set_cookie(house.cookie, token, path="/", secure=house.secure, httponly=True, samesite="lax")
    return answer
