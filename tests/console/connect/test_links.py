"""Who makes links: support in the console, whoever runs commands on the machine; and nobody else."""

import json
import re
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from typer.testing import CliRunner

from ledgerlake.cli._main import app
from ledgerlake.links import Links
from ledgerlake.people import People, Role
from ledgerlake.settings import Settings, variable
from ledgerlake.store import Store
from tests.console.connect.visitor import Visit, serving


@pytest.fixture
def console(settings: Settings, postgres_url: str) -> Iterator[httpx.Client]:
    with serving(settings, postgres_url) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def sign_in(console: httpx.Client, store: Store, role: Role) -> str:
    """A session of somebody with that role; what its forms carry."""
    people = People(store)
    person, password = people.add("test", f"a {role}", role)
    people.change_password(person.user_id, password, "correct horse battery staple")
    token, session = people.open_session(people.get(person.user_id))
    console.cookies.set("ledgerlake", token, path="/")
    return session.csrf


def test_support_makes_a_link_that_opens_its_customers_page(
    console: httpx.Client, store: Store, links: Links, visit: Visit
) -> None:
    csrf = sign_in(console, store, "support")
    assert "No link was made yet" in console.get("/links").text
    page = console.post("/links", data={"csrf": csrf, "customer": "acme <b>", "hours": "2"})
    found = re.search(r'value="(http[^"]*)" readonly', page.text)
    assert found
    assert "acme <b>" not in page.text
    (link,) = links.all()
    assert (link.customer_id, link.created_by) == ("acme <b>", "a support")
    visitor = visit(path=urlsplit(found[1]).path)
    assert "What would you like to connect?" in visitor.page.text
    assert found[1] not in console.get("/links").text


def test_what_cannot_be_made_is_told_with_what_was_given(console: httpx.Client, store: Store, links: Links) -> None:
    csrf = sign_in(console, store, "support")
    page = console.post("/links", data={"csrf": csrf, "customer": "acme", "connection": "con_none"})
    assert (page.status_code, "There is no connection con_none" in page.text) == (422, True)
    assert console.post("/links", data={"csrf": csrf, "customer": "acme", "hours": "9999"}).status_code == 422
    assert links.all() == []


def test_others_see_and_make_no_links(console: httpx.Client, store: Store, links: Links) -> None:
    assert console.get("/links").headers["location"].startswith("/sign-in")
    assert console.post("/links", data={"customer": "acme"}).status_code == 303
    csrf = sign_in(console, store, "viewer")
    assert console.get("/links").status_code == 403
    assert console.post("/links", data={"csrf": csrf, "customer": "acme"}).status_code == 403
    assert links.all() == []


def test_the_command_prints_the_address_and_nothing_else(
    settings: Settings,
    links: Links,
    environment: Callable[[Settings], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(app, ["connect-link", "--customer", "acme", "--hours", "1"], catch_exceptions=False)
    assert re.fullmatch(r"http://127\.0\.0\.1:3100/connect/\S+\n", done.stdout), done.stdout
    assert links.look(done.stdout.strip().rpartition("/")[2], None).customer_id == "acme"
    monkeypatch.setenv(variable("console_url"), "https://console.example.com")
    done = CliRunner().invoke(app, ["connect-link", "--customer", "acme", "--json"], catch_exceptions=False)
    told = json.loads(done.stdout)
    assert sorted(told) == ["connection_id", "customer_id", "expires_at", "link_id", "url"]
    assert told["url"].startswith("https://console.example.com/connect/")
