"""The page on which a customer of the sandbox signs in at a bank and allows access, or cancels.

The user name is the customer's id, the password is `password`. The page works without scripts; the form goes to the
address that the page has.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import jinja2
import msgspec
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from sandbox.world import GUESTS, Customer, World

PASSWORD = "password"  # noqa: S105 - what the page says to type
_SUGGESTED = 200
_NAMED = 4
_HERE = Path(__file__).parent
_pages = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
)


@dataclass(frozen=True)
class Login:
    """A page: whose it is, who may sign in there, and who of them has a connection already."""

    title: str
    world: World
    admits: Callable[[Customer], bool]
    connected: Callable[[Customer], bool]
    refuses: str = "has no account at this bank"
    """What is said of a customer who may not."""

    def show(self, problem: str = "", status: int = 200) -> Response:
        """The page, with what was wrong before."""
        people = sorted(
            (one for one in self._nearest() if self.admits(one)), key=lambda one: (self.connected(one), one.index)
        )
        shown = [
            {
                "user": one.customer_id,
                "text": f"{one.name}, {one.institution.name}{' (connected)' if self.connected(one) else ''}",
            }
            for one in people
        ]
        unconnected = [one.customer_id for one in people if not self.connected(one)][:_NAMED]
        return _page(
            "login.html",
            status,
            title=self.title,
            people=shown,
            unconnected=unconnected,
            problem=problem,
            password=PASSWORD,
        )

    def _nearest(self) -> Iterator[Customer]:
        """The first customers of the world, and the guests, who are its last."""
        size = self.world.size
        return map(self.world.customer, (*range(min(size, _SUGGESTED)), *range(size, size + GUESTS)))

    def _find(self, user: str) -> Customer | None:
        number = user.removeprefix("customer-")
        index = int(number) - 1 if number.isascii() and number.isdigit() and len(number) < 9 else -1
        if not 0 <= index < self.world.size + GUESTS:
            return None
        found = self.world.customer(index)
        return found if found.customer_id == user else None

    async def decide(self, request: Request) -> "Customer | Cancelled | Response":
        """Who signed in and allows it, that he cancelled, or the page again."""
        form = dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
        if form.get("decision") != "allow":
            return Cancelled()
        user = form.get("user", "").strip()
        customer = self._find(user)
        if customer is None or form.get("password") != PASSWORD:
            return self.show("The user name or the password is wrong.", 401)
        return customer if self.admits(customer) else self.show(f"{user} {self.refuses}.", 403)


class Cancelled:
    """The customer does not allow it."""


def refuse(message: str, status: int = 400) -> Response:
    """A page that says why there is nothing to sign in for: where no redirect can be trusted."""
    return _page("refused.html", status, message=message)


def hand_back(result: dict[str, Any], origin: str, script: str) -> Response:
    """A page in an iframe that hands the result to the page around it, if that is of this origin."""
    return _page("handed.html", 200, result=msgspec.json.encode(result).decode(), origin=origin, script=script)


def back(url: str, **query: str | None) -> Response:
    """A redirect to where the customer came from, with what came of it."""
    parts = urlsplit(url)
    told = [*parse_qsl(parts.query, keep_blank_values=True), *((k, v) for k, v in query.items() if v is not None)]
    return RedirectResponse(urlunsplit(parts._replace(query=urlencode(told))), 303)


def is_web(url: str | None) -> bool:
    """Whether a redirect may go there: an absolute address of http or https."""
    parts = urlsplit(url or "")
    return parts.scheme in {"http", "https"} and bool(parts.netloc)


def script(name: str) -> Callable[[Request], Any]:
    """An endpoint that serves one of the scripts here."""

    async def serve(_: Request) -> Response:
        return FileResponse(_HERE / name, media_type="text/javascript", headers={"cache-control": "no-cache"})

    return serve


def _page(template: str, status: int, **values: object) -> Response:
    body = _pages.get_template(template).render(**values)
    headers = {"cache-control": "no-store", "referrer-policy": "no-referrer"}
    return Response(body, status, headers, media_type="text/html")
