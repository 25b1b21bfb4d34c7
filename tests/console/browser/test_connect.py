"""Customers connect at each provider's own pages, and whatever else a browser makes of a link."""

import asyncio
import re
from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import FrameLocator, Page, expect

from ledgerlake.ingest import sync
from ledgerlake.links import Links
from ledgerlake.store import Connection, Vault
from tests.console.browser.conftest import TODAY, Here, aside, serious, unreadable
from tests.console.connect.visitor import PROVIDERS, USER

CANCELLED = "You came back without allowing access. Nothing was connected; choose again whenever you like."


def link(here: Here, customer: str = "acme", **given: object) -> str:
    return "/connect/" + Links(here.store, Vault.of(here.house.settings)).create("ana", customer, **given)[1]  # type: ignore[arg-type]


def opened(here: Here, path: str | None = None) -> Page:
    """A customer's browser at the choice of his link."""
    page = here.visitor().new_page()
    page.goto(path or link(here))
    page.get_by_role("button", name="Begin").click()
    return page


def choose(page: Page, provider: str) -> None:
    form = page.locator(f"form:has(input[value='{provider}'])")
    if provider in {"gocardless", "tink"}:
        form.get_by_role("combobox").select_option("DE")
    form.get_by_role("button").click()
    if provider == "gocardless":
        page.get_by_label("Bank in DE").select_option("SANDBOXFINANCE_SFIN0000")
        page.get_by_role("button", name="Continue").click()
    if provider == "stripe":
        page.get_by_role("link", name="Continue to Stripe").click()


def sign_in(page: Page, provider: str, decision: str = "Allow", user: str = USER) -> None:
    """At the provider: a page of its own, or a frame over ours."""
    within: Page | FrameLocator = page
    if provider in {"teller", "plaid"}:
        within = page.frame_locator("iframe")
    within.get_by_label("User name").fill(user)
    within.get_by_label("Password").fill("password")
    within.get_by_role("button", name=decision).click()


def connections(here: Here, customer: str) -> list[tuple[str, str]]:
    return [(one.provider, one.state) for one in here.store.connections() if one.customer_id == customer]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_customer_connects_by_clicks_alone(provider: str, here: Here) -> None:
    page = opened(here)
    choose(page, provider)
    sign_in(page, provider, "Cancel")
    expect(page.get_by_text(CANCELLED)).to_be_visible()
    assert (provider, "active") not in connections(here, "acme")
    choose(page, provider)
    sign_in(page, provider)
    expect(page.get_by_role("heading", name="Your account is connected")).to_be_visible()
    assert (provider, "active") in connections(here, "acme")


def test_what_arrives_is_told_without_a_reload_and_the_same_page_renews_it(
    here: Here, picture: Callable[..., None]
) -> None:
    page = opened(here, link(here, "acme"))
    page.set_viewport_size({"width": 390, "height": 844})
    picture(page, "connect-phone")
    assert serious(page) == []
    choose(page, "teller")
    sign_in(page, "teller")
    expect(page.get_by_text("Reading begins in a moment")).to_be_visible()
    [connection] = [one for one in here.store.connections(providers=["teller"]) if one.customer_id == "acme"]
    aside(_sync, here, connection)
    expect(page.get_by_text("What is there was read")).to_be_visible()
    expect(page.locator(".fact", has_text="Transactions").locator("dd")).to_have_text(re.compile("^[1-9]"))
    assert serious(page) + _dark(page) == []
    picture(page, "connected-phone")

    here.store.set_state(connection.connection_id, "needs_reauth", "the bank asks for a new login")
    page = opened(here, link(here, "acme", connection_id=connection.connection_id))
    expect(page.get_by_role("heading", name="Sign in again")).to_be_visible()
    choose(page, "teller")
    sign_in(page, "teller")
    expect(page.get_by_role("heading", name="Your connection works again")).to_be_visible()
    renewed = here.store.connection(connection.connection_id)
    assert (renewed.state, renewed.bucket) == ("active", connection.bucket)


def _sync(here: Here, connection: Connection) -> None:
    asyncio.run(sync(here.store, here.house.settings, connections=[connection.connection_id], today=TODAY))


def _dark(page: Page) -> list[str]:
    page.emulate_media(color_scheme="dark")
    found = unreadable(page)
    page.emulate_media(color_scheme="light")
    return found


def test_a_link_that_is_over_or_is_somebody_elses_says_so(here: Here) -> None:
    path = link(here)
    mine, other = here.visitor().new_page(), here.visitor().new_page()
    mine.goto(path)
    assert serious(mine) + _dark(mine) == []
    mine.get_by_role("button", name="Begin").click()
    expect(mine.get_by_role("heading", name="What would you like to connect?")).to_be_visible()
    other.goto(path)
    expect(other.get_by_role("heading", name="This link cannot be used")).to_be_visible()

    with here.store.connect() as postgres:
        postgres.execute("UPDATE ledgerlake.connect_links SET expires_at = now()")
    mine.reload()
    expect(mine.get_by_text("has expired")).to_be_visible()
    expect(mine.get_by_text("can send you another")).to_be_visible()
    assert serious(mine) + _dark(mine) == []


def test_of_two_tabs_the_one_that_began_last_connects_and_the_other_leads_there(here: Here) -> None:
    path = link(here)
    first = opened(here, path)
    choose(first, "tink")
    expect(first.get_by_label("User name")).to_be_visible()
    second = first.context.new_page()
    second.goto(path)
    choose(second, "tink")
    expect(second.get_by_label("User name")).to_be_visible()

    sign_in(first, "tink")
    expect(first.get_by_role("heading", name="Begin again")).to_be_visible()
    sign_in(second, "tink")
    expect(second.get_by_role("heading", name="Your account is connected")).to_be_visible()
    first.get_by_role("link", name="Back to your link").click()
    expect(first.get_by_role("heading", name="Your account is connected")).to_be_visible()
    # Neither the way back nor an answer that nobody asked for connects again.
    second.go_back()
    second.reload()
    second.goto(f"{here.url}/connect/return/tink?error=INTERNAL_ERROR&state=forged.state")
    expect(second.get_by_role("heading", name="This link cannot be used")).to_be_visible()
    assert [one for one in connections(here, "acme") if one[0] == "tink"] == [("tink", "active")]


def test_a_key_that_is_sent_by_a_double_click_connects_once(here: Here) -> None:
    page = opened(here, link(here, "beta"))
    page.locator("form:has(input[value='stripe'])").get_by_role("button").click()
    told = httpx.get(f"{here.bank.control_url}/customers").json()
    [secrets] = [one["secrets"] for one in told if (one["provider"], one["customer_id"]) == ("stripe", USER)]
    assert serious(page) == []
    page.get_by_label("Restricted key").fill(secrets["api_key"])
    page.get_by_role("button", name="Connect with this key").dblclick()
    expect(page.get_by_role("heading", name="Your account is connected")).to_be_visible()
    assert connections(here, "beta") == [("stripe", "active")]
