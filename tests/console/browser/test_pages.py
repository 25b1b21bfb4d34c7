"""What operators see and may do: signing in, every page in both colour schemes and on a phone, charts, and the keyboard."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.console.browser.conftest import NAMES, Here, serious, unreadable

PAGES = {
    "overview": "/",
    "connections": "/connections",
    "connection": "/connections/{connection}",
    "integrity": "/integrity",
    "finding": "/integrity/1",
    "records": f"/records?q={NAMES[0]}",
    "record": "/records/{connection}/transactions/{record}",
    "sources": "/sources",
    "money": "/money",
    "cost": "/cost",
    "links": "/links",
    "people": "/people",
    "audit": "/audit",
}
EMPTY = (
    "/connections?q=nobody",
    "/integrity?show=muted",
    "/records",
    "/records?q=nothing",
    "/audit?actor=nobody",
    "/gone",
)
PICTURED = {
    *("overview-light", "overview-phone", "finding-light", "finding-dark", "record-light", "connections-dark"),
    *("sources-dark", "money-light"),
}
PHONE = {"width": 390, "height": 844}
LEFT_OUT = """
    FROM raw.teller_transactions WHERE abs((payload->>'amount')::numeric) > 2000 AND NOT pending
    ORDER BY record_date DESC, record_id LIMIT 1
"""
DESK = {"width": 1280, "height": 860}
FITS = """() => new Promise((settle) => {
    const until = performance.now() + 3000;
    const look = () => {
        const fits = document.documentElement.scrollWidth <= window.innerWidth;
        if (fits || performance.now() > until) settle(fits); else requestAnimationFrame(look);
    };
    look();
})"""
"""Whether the page is no wider than its window, once its charts have seen that."""
SCRIPT = "<img src=x onerror=\"document.title='owned'\">"


@pytest.fixture(scope="module")
def admin(here: Here) -> Iterator[Page]:
    page = here.enter("admin", "ada")
    yield page
    page.context.close()


@pytest.fixture(scope="module")
def record(here: Here) -> dict[str, str]:
    """One that the planted filter leaves out."""
    [(connection, name)] = here.house.run(f"SELECT connection_id, record_id {LEFT_OUT}")
    return {"connection": connection, "record": name}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_can_be_read_in_both_colour_schemes_and_on_a_phone(
    name: str, admin: Page, record: dict[str, str], picture: Callable[..., None]
) -> None:
    admin.set_viewport_size({"width": 1280, "height": 1400} if name == "record" else DESK)
    admin.emulate_media(color_scheme="light")
    admin.goto(PAGES[name].format(**record))
    charts = admin.locator("[data-chart]").count()
    expect(admin.locator("[data-chart][data-drawn=yes]")).to_have_count(charts)
    shown = {f"{name}-{look}" for look in ("light", "dark", "phone")} & PICTURED
    if f"{name}-light" in shown:
        picture(admin, f"{name}-light")
    found = serious(admin)
    admin.emulate_media(color_scheme="dark")
    found += unreadable(admin)
    if f"{name}-dark" in shown:
        picture(admin, f"{name}-dark")
    admin.emulate_media(color_scheme="light")
    admin.set_viewport_size(PHONE)
    assert admin.evaluate(FITS)
    if f"{name}-phone" in shown:
        picture(admin, f"{name}-phone")
    assert found == []


@pytest.mark.parametrize("path", EMPTY)
def test_a_page_with_nothing_to_show_says_what_to_do(path: str, admin: Page) -> None:
    admin.set_viewport_size(DESK)
    admin.goto(path)
    expect(admin.locator(".empty, .narrow")).to_be_visible()
    assert serious(admin) == []


def test_charts_show_the_figures_of_the_tables(admin: Page) -> None:
    drawn = {}
    for path in ("/sources", "/money?currency=EUR", "/cost"):
        admin.goto(path)
        expect(admin.locator("[data-chart]:not([data-drawn=yes])")).to_have_count(0)
        drawn[path] = [
            {
                "marks": figure.locator(".main-svg .point, .main-svg .js-line, .main-svg .js-fill").count() > 0,
                "places": figure.locator(".xtick").count() > 0,
                "values": figure.locator(".ytick").count() > 2,
                "named": figure.locator(".legendtext").count(),
            }
            for figure in admin.locator("[data-chart]").all()
        ]
    whole = {"marks": True, "places": True, "values": True}
    assert drawn == {
        "/sources": [{**whole, "named": 2}, {**whole, "named": 0}],
        "/money?currency=EUR": [{**whole, "named": 3}, {**whole, "named": 0}, {**whole, "named": 6}],
        "/cost": [{**whole, "named": 8}, {**whole, "named": 5}, {**whole, "named": 5}],
    }


def test_everything_is_reached_by_keys(admin: Page) -> None:
    admin.set_viewport_size(DESK)
    admin.goto("/")
    admin.keyboard.press("Tab")
    skip = admin.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    admin.keyboard.press("Enter")
    expect(admin.locator("main")).to_be_focused()

    admin.goto("/connections")
    stops = []
    for _ in range(8):
        admin.keyboard.press("Tab")
        stops.append(admin.evaluate("document.activeElement.innerText.trim()"))
        ring = admin.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert (ring, stops[-1] != "") == ("solid", True)
    assert stops == [
        "Skip to the content",
        "Ledgerlake",
        *("Overview", "Connections", "Integrity", "Records"),
        *("Source mix", "Money"),
    ]

    admin.keyboard.press("/")
    search = admin.get_by_role("searchbox")
    expect(search).to_be_focused()
    admin.keyboard.type("/gi")
    expect(search).to_have_value("/gi")
    admin.keyboard.press("Escape")
    expect(search).not_to_be_focused()
    admin.keyboard.press("?")
    keys = admin.get_by_role("dialog", name="Keys")
    expect(keys).to_be_visible()
    assert serious(admin) == []
    admin.keyboard.press("Escape")
    expect(keys).not_to_be_visible()
    admin.keyboard.press("g")
    admin.keyboard.press("i")
    expect(admin).to_have_title("Integrity · Ledgerlake")


def test_chosen_colours_stay_from_page_to_page(here: Here) -> None:
    page = here.enter("viewer", color_scheme="light")
    page.goto("/")
    light = page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor")
    choice = page.get_by_role("button", name=re.compile("Colours"))
    choice.click()
    choice.click()
    expect(choice).to_have_text("Dark")
    page.goto("/money")
    expect(page.get_by_role("button", name="Colours: dark")).to_be_visible()
    assert page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor") != light
    page.get_by_role("button", name="Colours: dark").click()
    assert page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor") == light


def test_somebody_is_added_signs_in_and_may_do_what_the_role_says(here: Here, admin: Page) -> None:
    admin.set_viewport_size(DESK)
    admin.goto("/people")
    admin.get_by_label("Name", exact=True).fill("vic")
    admin.get_by_label("Role", exact=True).select_option("viewer")
    admin.get_by_role("button", name="Add").click()
    once = admin.get_by_role("status").locator("code").inner_text()

    page = here.visitor().new_page()
    page.goto("/integrity/1")
    assert serious(page) == []
    for password in ("wrong", once):
        page.get_by_label("Name").fill("vic")
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
        if password == "wrong":
            expect(page.get_by_role("alert")).to_have_text("Name and password do not belong together.")
    expect(page.get_by_role("heading", name="Choose a password")).to_be_visible()
    assert serious(page) == []
    page.get_by_label("Present password").fill(once)
    page.get_by_label("New password", exact=True).fill("a sentence of my own")
    page.get_by_label("New password, again").fill("a sentence of my own")
    page.get_by_role("button", name="Keep it").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()

    page.goto("/integrity/1")
    expect(page.get_by_role("heading", name="Finding 1")).to_be_visible()
    expect(page.get_by_role("button", name="Repair it")).to_have_count(0)
    expect(page.get_by_role("link", name="People")).to_have_count(0)
    page.goto("/people")
    expect(page.get_by_role("heading", name="Not allowed")).to_be_visible()

    page.goto("/")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_script_in_a_description_or_a_name_is_shown_and_does_nothing(
    here: Here, admin: Page, record: dict[str, str]
) -> None:
    here.house.run(
        """
        UPDATE raw.teller_transactions SET payload = replace(payload::text, payload->>'description', %s)::json
        WHERE (connection_id, record_id) = (%s, %s)
        """,
        SCRIPT.replace('"', '\\"'),
        *record.values(),
    )
    admin.set_viewport_size(DESK)
    admin.goto(PAGES["record"].format(**record))
    expect(admin.locator("pre").first).to_contain_text("<img src=x onerror=")
    admin.goto(f"/records?q={SCRIPT}")
    expect(admin.get_by_role("searchbox")).to_have_value(SCRIPT)
    admin.goto("/links")
    admin.get_by_label("Your id of the customer").fill(SCRIPT)
    admin.get_by_role("button", name="Make link").click()
    expect(admin.get_by_text(f"Send this to {SCRIPT}")).to_be_visible()
    assert admin.title() == "Connect links · Ledgerlake"


def test_what_is_asked_for_twice_is_one_order(here: Here, admin: Page, record: dict[str, str]) -> None:
    admin.goto(PAGES["connection"].format(**record))
    admin.get_by_role("button", name="Sync now").dblclick()
    expect(admin.get_by_text("sync by ada")).to_have_count(1)
    admin.get_by_role("button", name="Sync now").click()
    expect(admin.get_by_text("sync by ada")).to_have_count(1)
    admin.go_back()
    admin.reload()
    [kinds] = here.house.run("SELECT array_agg(kind) FROM ledgerlake.orders")
    assert kinds == (["sync"],)
