"""A filter that somebody put into a model: from the overview to its name and its records, and back to a clean house."""

import re
from collections.abc import Callable

from playwright.sync_api import expect

from ledgerlake.integrity import repair
from ledgerlake.orders import Orders
from tests.console.browser.conftest import MODEL, TODAY, Here, aside, serious

SCRIPT = "<script>document.title = 'owned'</script>"


def test_a_misplaced_filter_is_found_looked_into_and_repaired(here: Here, picture: Callable[..., None]) -> None:
    page = here.enter("support", "sue")
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto("/")
    needs = page.get_by_role("region", name="What needs somebody now")
    expect(needs).to_contain_text("1 critical finding is open")
    needs.get_by_role("link", name="Integrity").click()
    row = page.get_by_role("row").filter(has_text="critical")
    expect(row).to_contain_text(MODEL)
    row.get_by_role("link").click()

    expect(page.get_by_role("heading", level=1)).to_have_text(f"Finding 1: missing at {MODEL}")
    expect(page.locator(".notice")).to_contain_text(f"correct {MODEL}, then ledgerlake build --all")
    expect(page.get_by_text("Money at risk")).to_be_visible()
    page.get_by_role("region", name="Records").get_by_role("link").first.click()

    expect(page.get_by_text("not published")).to_be_visible()
    steps = page.locator(".steps > li")
    expect(steps.filter(has_text="stg_")).to_contain_text("The row there")
    expect(steps.filter(has=page.get_by_text(MODEL, exact=True))).to_contain_text(
        "It is not there, and no model says why"
    )
    record = page.url
    page.get_by_role("link", name="Finding 1").click()

    page.get_by_role("button", name="Acknowledge").click()
    page.get_by_label("Who looks after it").fill("sue")
    page.get_by_role("button", name="Assign").click()
    page.get_by_label("Comment").last.fill(SCRIPT)
    page.get_by_role("button", name="Add it").click()
    expect(page.locator(".steps")).to_contain_text(SCRIPT)
    # The build that is asked for is one by the models as they are in the checkout: without the filter.
    page.get_by_role("button", name="Repair it").dblclick()
    expect(page.get_by_text(re.compile("Asked for by sue.*waiting"))).to_have_count(1)
    assert serious(page) == []
    aside(_carry_out, here)

    page.reload()
    expect(page.get_by_text("done, mended")).to_be_visible()
    expect(page.get_by_text("resolved", exact=True).first).to_be_visible()
    expect(page.get_by_role("button", name="Repair it")).to_have_count(0)
    picture(page, "repaired-light")
    assert page.title() == "Finding 1 · Ledgerlake"
    page.goto(record)
    expect(page.get_by_text("published", exact=True)).to_be_visible()
    page.goto("/integrity")
    expect(page.get_by_role("heading", name="No finding is open")).to_be_visible()


def _carry_out(here: Here) -> None:
    """As the job of Dagster does it that takes orders."""
    orders = Orders(here.store)
    [order] = orders.take(orders.waiting())
    assert order.finding_id is not None
    report = repair(here.house.where, here.house.settings, order.finding_id, actor=order.actor, today=TODAY)
    assert report.mended
    orders.end(order.order_id, "done", "mended")
