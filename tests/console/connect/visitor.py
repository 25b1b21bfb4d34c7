"""Somebody with a browser and a link: what he does at the console, and on the pages of the sandbox."""

import asyncio
import contextlib
import html
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import uvicorn

import sandbox
from console import create_app
from console.server import config, listen
from ledgerlake.settings import Settings

PROVIDERS = ("gocardless", "plaid", "stripe", "teller", "tink")
USER = "customer-00001"
"""A business that banks at an institution of each provider."""


class _Uvicorn(uvicorn.Server):
    """A server that leaves signals to who runs the tests."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass
class Form:
    """A form of a page: where it goes, its hidden fields, and what its data attributes say."""

    action: str
    fields: dict[str, str]
    data: dict[str, str]


@dataclass
class Visitor:
    """Somebody with a browser and a link."""

    client: httpx.Client
    bank: sandbox.Server
    path: str
    page: httpx.Response = field(init=False)

    def look(self) -> httpx.Response:
        self.page = self.client.get(self.path)
        return self.page

    def claim(self) -> httpx.Response:
        return self.went(self.client.post(f"{self.path}/claim"))

    def begin(self, provider: str, **asked: str) -> httpx.Response:
        """Choose a way to connect, with the first country there is; of banks, the one that is the user's."""
        form = next(one for one in self.forms() if one.fields.get("provider") == provider)
        countries = {"tink": "DE", "gocardless": "DE"}
        fields = {**form.fields, "country": countries.get(provider, ""), **asked}
        self.page = self.client.post(form.action, data=fields)
        return self.page

    def post(self, form: Form, **more: Any) -> httpx.Response:
        return self.went(self.client.post(form.action, data={**form.fields, **more}))

    def went(self, answer: httpx.Response) -> httpx.Response:
        """Follow redirects to pages of the console."""
        while answer.status_code == 303:
            answer = self.client.get(answer.headers["location"])
        self.page = answer
        return answer

    def forms(self) -> list[Form]:
        found = []
        for tag, inside in re.findall(r"<form ([^>]*)>(.*?)</form>", self.page.text, re.DOTALL):
            attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
            fields = {
                html.unescape(name): html.unescape(value)
                for name, value in re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', inside)
            }
            data = {
                name.removeprefix("data-"): html.unescape(value)
                for name, value in attributes.items()
                if name.startswith("data-")
            }
            found.append(Form(attributes["action"], fields, data))
        return found

    def answering(self) -> Form:
        """The form that brings what the provider's script hands over."""
        return next(one for one in self.forms() if "/answer/" in one.action)

    def leaving(self) -> str:
        """Where the page sends to the provider."""
        found = re.search(r'<a class="button" href="([^"]+)" rel="noreferrer"', self.page.text)
        assert found, self.page.text
        return html.unescape(found[1])

    def note(self) -> str:
        found = re.search(r'<p class="notice[^>]*>(.*?)</p>', self.page.text, re.DOTALL)
        return html.unescape(found[1]) if found else ""

    @property
    def url(self) -> str:
        """The console's."""
        return str(self.client.base_url).rstrip("/")

    # What happens at the provider.

    def sign_in(self, url: str, user: str = USER, *, allow: bool = True) -> httpx.Response:
        """Sign in on a page of the sandbox; its answer is not followed."""
        data = {"user": user, "password": "password", "decision": "allow" if allow else "cancel"}
        return httpx.post(url, data=data, timeout=30)

    def handed(self, answer: httpx.Response) -> dict[str, Any]:
        """What a page in an iframe hands to ours."""
        found = re.search(r'data-result="([^"]*)"', answer.text)
        assert found, answer.text
        told: dict[str, Any] = json.loads(html.unescape(found[1]))
        return told

    def teller(self, user: str = USER, *, allow: bool = True) -> dict[str, Any]:
        """What Teller Connect hands over on this page."""
        data = self.answering().data
        query = {"origin": self.url, "environment": data["environment"], "nonce": data["nonce"]}
        if "enrollment" in data:
            query["enrollment_id"] = data["enrollment"]
        url = f"{self.bank.teller_url}/connect/{data['application']}?{urlencode(query)}"
        return self.handed(self.sign_in(url, user, allow=allow))

    def plaid(self, user: str = USER, *, allow: bool = True, **query: str) -> dict[str, Any]:
        """What Plaid Link hands over on this page."""
        asked = {"token": self.answering().data["token"], "origin": self.url, **query}
        url = f"{self.bank.where()['plaid_url']}/link/session?{urlencode(asked)}"
        return self.handed(self.sign_in(url, user, allow=allow))

    def consent(self, provider: str, user: str = USER, *, allow: bool = True) -> httpx.Response:
        """All of it, from the choice to where it leads."""
        self.begin(provider)
        if provider == "gocardless" and "/answer/" not in self.page.text and "institution" in self.page.text:
            self.page = self.client.post(self.forms()[0].action, data=self.forms()[0].fields | self.institution(user))
        if provider in {"teller", "plaid"}:
            told = self.teller(user, allow=allow) if provider == "teller" else self.plaid(user, allow=allow)
            if told["kind"] == "exit":
                return self.post(next(one for one in self.forms() if one.action.endswith("/cancel")))
            return self.post(self.answering(), **handed_over(provider, told))
        answer = self.sign_in(self.leaving(), user, allow=allow)
        assert answer.status_code == 303, answer.text
        return self.went(self.client.get(answer.headers["location"]))

    def institution(self, user: str = USER) -> dict[str, str]:
        """Where the user banks, as GoCardless calls it."""
        people = httpx.get(f"{self.bank.control_url}/people").json()
        (mine,) = (one for one in people if one["user"] == user)
        return {"institution": mine["institutions"]["gocardless"]}


def handed_over(provider: str, told: dict[str, Any]) -> dict[str, Any]:
    """The fields that our script makes of what the provider's hands over."""
    if provider == "plaid":
        return {"public_token": told["public_token"]}
    enrollment = told["enrollment"]
    return {
        "access_token": enrollment["accessToken"],
        "user_id": enrollment["user"]["id"],
        "enrollment_id": enrollment["enrollment"]["id"],
        "signature": enrollment["signatures"],
    }


@contextlib.contextmanager
def serving(settings: Settings, postgres_url: str) -> Iterator[str]:
    """The console on a port of its own, which its redirects name."""
    with listen("127.0.0.1", 0) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = _Uvicorn(config(create_app(settings, postgres_url, url=url)))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        try:
            yield url
        finally:
            server.should_exit = True
            thread.join()


Visit = Callable[..., Visitor]
"""Makes a visitor: `visit(customer, connection_id=…, path=…, claimed=…, **settings)`."""


def query_of(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))
