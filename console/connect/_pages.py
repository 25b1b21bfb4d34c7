"""The way of a customer through the pages: look, claim, choose, consent, come back, see what arrives.

Looking changes nothing. Whatever goes wrong leads to a page with one sentence and what to do, and to one line in the log
that names the link by its id, never by its token.
"""

import asyncio
import hashlib
import secrets as random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import structlog
from fastapi import APIRouter, Depends, HTTPException, Query, Request
from pydantic import SecretStr
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.responses import RedirectResponse, Response

from connectors import PROVIDERS, BadData, ConnectorError, Gone, NeedsReauth, Retryable
from console.connect import _cookie
from console.connect._consent import Consent, Given, Page, Question, Reason, Visit, Void
from console.connect._gocardless import GoCardless
from console.connect._notes import note as note_of
from console.connect._plaid import Plaid
from console.connect._stripe import Stripe
from console.connect._teller import Teller
from console.connect._tink import Tink
from console.house import House, house_of
from console.security import policy, public
from ledgerlake.errors import LedgerlakeError, ServerError, UsageError
from ledgerlake.ingest import connect, switched_off
from ledgerlake.links import Link, LinkRefused, Links, arrival
from ledgerlake.orders import Orders
from ledgerlake.store import Connection

CONSENTS: Mapping[str, Consent] = {one.provider: one for one in (Plaid(), Teller(), Tink(), GoCardless(), Stripe())}
"""The ways to connect, as customers are shown them."""

_STATUS = {"unknown": 404, "expired": 410, "used": 410, "elsewhere": 403, "state": 409}
_OURS = frozenset({"same-origin", "none"})

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Browser:
    """A browser with a link's token: what its cookie holds."""

    house: House
    request: Request
    token: str
    key: str
    held: Mapping[str, str]

    @classmethod
    def of(cls, request: Request, token: str) -> "_Browser":
        house, key = house_of(request), _cookie.key_of(token)
        return cls(house, request, token, key, _cookie.read(house, request, key))

    @property
    def secret(self) -> str | None:
        """What proves that it is the browser which claimed the link."""
        return self.held.get("browser") if self.held.get("token") == self.token else None

    @property
    def links(self) -> Links:
        return Links(self.house.store, self.house.vault)

    @property
    def csrf(self) -> str:
        """What forms of this browser's own pages carry."""
        return hashlib.blake2b((self.secret or "").encode(), digest_size=16, person=b"connect forms").hexdigest()

    def to(self, note: str = "") -> Response:
        """On to the link's own page."""
        return RedirectResponse(f"/connect/{self.token}{f'?note={note}' if note else ''}", 303)

    def render(self, template: str, *, status: int = 200, **given: Any) -> Response:
        return self.house.render(
            self.request, template, status=status, token=self.token, csrf=self.csrf, name=_name(self.house), **given
        )


def _name(house: House) -> str:
    return house.settings.connect_name


async def _posted(request: Request) -> FormData:
    """The form, from a page of this address: browsers say where a form comes from."""
    if request.headers.get("sec-fetch-site", "none") not in _OURS:
        raise HTTPException(403, "This form is not from a page of ours: open your link again.")
    return await request.form()


Posted = Annotated[FormData, Depends(_posted)]


def connect_routes() -> APIRouter:
    """The routes under /connect."""
    router = APIRouter(prefix=_cookie.PATH, dependencies=[public("the customer's link is what lets in")])

    @router.get("/return/{provider}")
    def returned(request: Request, provider: str) -> Response:
        return _return(request, provider)

    @router.get("/{token}")
    def look(request: Request, token: str, note: Annotated[str, Query(max_length=20)] = "") -> Response:
        return _guarded(_Browser.of(request, token), lambda browser: _look(browser, note), show=True)

    @router.post("/{token}/claim")
    def claim(request: Request, token: str, form: Posted) -> Response:
        return _guarded(_Browser.of(request, token), _claim)

    @router.post("/{token}/begin")
    async def begin(request: Request, token: str, form: Posted) -> Response:
        asked = {name: value for name, value in form.items() if isinstance(value, str) and len(value) <= 200}
        return await run_in_threadpool(_guarded, _Browser.of(request, token), lambda browser: _begin(browser, asked))

    @router.post("/{token}/answer/{provider}")
    async def answer(request: Request, token: str, provider: str, form: Posted) -> Response:
        given = {name: [one for one in form.getlist(name) if isinstance(one, str)] for name in form}
        state = next(iter(given.get("state", [])), "").partition(".")[2]
        return await run_in_threadpool(
            _guarded, _Browser.of(request, token), lambda browser: _answer(browser, provider, given, state)
        )

    @router.post("/{token}/cancel")
    async def cancel(request: Request, token: str, form: Posted) -> Response:
        csrf, failed = str(form.get("csrf", "")), form.get("reason") == "failed"
        return await run_in_threadpool(
            _guarded, _Browser.of(request, token), lambda browser: _cancel(browser, csrf, failed=failed)
        )

    return router


def _guarded(browser: _Browser, step: Callable[[_Browser], Response], *, show: bool = False) -> Response:
    """A step, or the page of a link or an answer that cannot be used."""
    try:
        return step(browser)
    except LinkRefused as refused:
        return _refuse(browser, refused, show=show)


def _claim(browser: _Browser) -> Response:
    claimed = browser.links.claim(browser.token, browser.secret)
    answer = browser.to()
    held = {**browser.held, "token": browser.token, "browser": claimed.browser}
    _cookie.write(browser.house, answer, browser.key, claimed.link, held)
    return answer


def _look(browser: _Browser, note: str) -> Response:
    link = browser.links.look(browser.token, browser.secret)
    target = _target(browser.house, link)
    if link.opened_at is None:
        return browser.render("connect_open.html", repairs=target, expires=link.expires_at)
    offered = _offered(browser.house, target)
    return browser.render(
        "connect_choose.html",
        repairs=target,
        offered=[(one, one.countries(browser.house.settings)) for one in offered],
        note=note_of(note),
    )


def _begin(browser: _Browser, asked: Mapping[str, str]) -> Response:
    link = browser.links.look(browser.token, browser.secret)
    if link.opened_at is None:
        raise LinkRefused("elsewhere")
    _own_form(browser, asked.get("csrf", ""))
    target = _target(browser.house, link)
    consent = next((one for one in _offered(browser.house, target) if one.provider == asked.get("provider")), None)
    if consent is None:
        return browser.to("broken" if asked.get("provider") in CONSENTS else "incomplete")
    visit = _visit(browser, link, target)
    try:
        next_one = asyncio.run(consent.begin(visit, asked))
    except (ConnectorError, Void) as error:
        return browser.to(_told(browser, link, consent.provider, error))
    if isinstance(next_one, Question):
        return browser.render(next_one.template, consent=consent, **next_one.values)
    state = browser.links.begin(browser.token, browser.secret, consent.provider, next_one.pending)
    return _show(browser, link, consent, next_one, state)


def _show(browser: _Browser, link: Link, consent: Consent, page: Page, state: str) -> Response:
    """The page on which consent begins or goes on, with the policy that it needs and the cookie that it leaves."""
    stated = f"{browser.key}.{state}"
    answer = browser.render(page.template, consent=consent, state=stated, **page.values(stated))
    if page.sources:
        answer.headers["content-security-policy"] = policy(**page.sources)
        # A bank's own sign-in may open in a window of its own, which tells this one when it is done.
        answer.headers["cross-origin-opener-policy"] = "same-origin-allow-popups"
    held = {"token": browser.token, "browser": browser.secret or "", **page.kept}
    _cookie.write(browser.house, answer, browser.key, link, held | ({"state": state} if page.keeps_state else {}))
    if consent.provider == Plaid.provider:
        # Plaid sends back without a word of ours: the link that was begun last is the one that goes on.
        _cookie.write(browser.house, answer, Plaid.provider, link, {"token": browser.token})
    return answer


def _return(request: Request, provider: str) -> Response:
    """A provider sent the customer back."""
    consent, house = CONSENTS.get(provider), house_of(request)
    if consent is None:
        raise HTTPException(404)
    given = {name: request.query_params.getlist(name) for name in request.query_params}
    key, state = consent.state(given)
    token = _cookie.read(house, request, key or Plaid.provider).get("token")
    if token is None:
        _log.warning("connect", provider=provider, reason="elsewhere", said="an answer without a link's cookie")
        return house.render(
            request, "connect_refused.html", status=403, sentence=str(LinkRefused("elsewhere")), again=None,
            name=_name(house),
        )  # fmt: skip
    browser = _Browser.of(request, token)
    if isinstance(consent, Plaid):
        return _guarded(browser, lambda browser: _go_on(browser, consent))
    brought = state or browser.held.get("state", "")
    return _guarded(browser, lambda browser: _answer(browser, provider, given, brought))


def _go_on(browser: _Browser, consent: Plaid) -> Response:
    """Back from a bank's own page, Plaid Link is opened again with the same token, and hands over what came of it."""
    link_token, state = browser.held.get("link_token"), browser.held.get("state")
    link = browser.links.look(browser.token, browser.secret)
    if link_token is None or state is None or link.provider != consent.provider:
        raise LinkRefused("state")
    return _show(browser, link, consent, consent.page(browser.house.settings, link_token, returned=True), state)


def _answer(browser: _Browser, provider: str, given: Given, state: str) -> Response:
    """What came back: checked, exchanged, connected, and the first sync asked for."""
    consent, links = CONSENTS.get(provider), browser.links
    if consent is None:
        raise HTTPException(404)
    link = links.look(browser.token, browser.secret)
    pending = links.answer(browser.token, browser.secret, provider, state)
    target = _target(browser.house, link)
    try:
        secrets = asyncio.run(consent.answer(_visit(browser, link, target), given, pending))
        connection = _connect(browser.house, link, provider, secrets, target)
    except ServerError:
        raise
    except (ConnectorError, Void, LedgerlakeError) as error:
        reason = _told(browser, link, provider, error)
        links.end(browser.token, browser.secret, "cancelled" if reason == "cancelled" else "failed")
        return browser.to(reason)
    links.end(browser.token, browser.secret, "connected", connection.connection_id)
    Orders(browser.house.store).sync(f"customer {link.customer_id}", connection.connection_id)
    _log.info("connect", link=link.link_id, provider=provider, connection=connection.connection_id)
    return browser.to()


def _connect(
    house: House, link: Link, provider: str, secrets: Mapping[str, SecretStr], target: Connection | None
) -> Connection:
    """Add the connection, or give the one that is repaired its new consent. Raises Void for another one's consent."""
    connector = PROVIDERS[provider]
    try:
        checked = connector.secrets({name: one.get_secret_value() for name, one in secrets.items()})
    except ValueError as error:
        raise BadData(str(error)) from None
    external_id = connector.external_id(checked)
    holder = next(
        (one for one in house.store.connections(providers=[provider]) if one.external_id == external_id), None
    )
    if holder is not None and holder.customer_id != link.customer_id:
        raise Void("taken", f"the consent is {holder.connection_id}'s")
    try:
        connected = asyncio.run(
            connect(
                house.store,
                house.settings,
                provider=provider,
                customer_id=link.customer_id,
                secrets=checked,
                repair=target.connection_id if target else None,
            )
        )
    except UsageError as error:
        raise Void("other" if target else "unclear", str(error)) from None
    return connected.connection


def _cancel(browser: _Browser, csrf: str, *, failed: bool) -> Response:
    """The customer closed the provider's window, or it told that it failed."""
    link = browser.links.look(browser.token, browser.secret)
    _own_form(browser, csrf)
    browser.links.end(browser.token, browser.secret, "failed" if failed else "cancelled")
    reason: Literal["declined", "cancelled"] = "declined" if failed else "cancelled"
    _log.info("connect", link=link.link_id, provider=link.provider, reason=reason)
    return browser.to(reason)


def _refuse(browser: _Browser, refused: LinkRefused, *, show: bool = False) -> Response:
    """Why the link or the answer cannot be used; for the browser that connected by it, what came of it."""
    if refused.reason == "used":
        try:
            link = browser.links.connected(browser.token, browser.secret)
        except LinkRefused:
            pass
        else:
            if not show:
                return browser.to()
            return browser.render("connect_done.html", arrival=arrival(browser.house.store, link), link=link)
    _log.warning("connect", link=browser.key, reason=refused.reason)
    again = f"/connect/{browser.token}" if refused.reason == "state" else None
    return browser.render("connect_refused.html", status=_STATUS[refused.reason], sentence=str(refused), again=again)


def _told(browser: _Browser, link: Link, provider: str, error: ConnectorError | Void | LedgerlakeError) -> Reason:
    """The reason that the customer is shown; what was the matter is in the log."""
    match error:
        case Void(reason=reason):
            said = error.said
        case Retryable():
            reason, said = "unavailable", error.message
        case NeedsReauth():
            reason, said = "void", error.message
        case Gone():
            reason, said = ("gone" if link.connection_id else "void"), error.message
        case ConnectorError():
            reason, said = "broken", error.message
        case _:
            reason, said = "unavailable", str(error)
    speak = _log.info if reason == "cancelled" else _log.warning
    speak("connect", link=link.link_id, provider=provider, reason=reason, said=said)
    return reason


def _visit(browser: _Browser, link: Link, target: Connection | None) -> Visit:
    house = browser.house
    return Visit(
        house.settings, house.url, browser.key, link, target, _secrets_of(house, target) if target is not None else {}
    )


def _target(house: House, link: Link) -> Connection | None:
    """The connection that the link repairs."""
    return house.store.connection(link.connection_id) if link.connection_id is not None else None


def _secrets_of(house: House, target: Connection) -> dict[str, SecretStr]:
    with house.store.connect() as postgres:
        row = postgres.execute(
            "SELECT ciphertext FROM ledgerlake.secrets WHERE connection_id = %s", (target.connection_id,)
        ).fetchone()
    return house.vault.open(target.connection_id, bytes(row[0])) if row is not None else {}


def _offered(house: House, target: Connection | None) -> Sequence[Consent]:
    """The ways to connect that are set up and not paused; to repair, the one that the connection came by."""
    off = switched_off(house.store, house.settings)
    return [
        one
        for one in CONSENTS.values()
        if one.provider not in off
        and one.offered(house.settings)
        and (target is None or target.provider == one.provider)
    ]


def _own_form(browser: _Browser, csrf: str) -> None:
    if browser.secret is None or not random.compare_digest(csrf.encode(), browser.csrf.encode()):
        raise HTTPException(403, "This form is not from a page that you have open: open your link again.")
