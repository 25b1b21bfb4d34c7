"""What is forged, late, reused, foreign or broken: one page with what to do, nothing connected, no token in the log."""

import datetime as dt
from typing import Any

import httpx
import psycopg
import pytest

from ledgerlake.links import Links
from ledgerlake.store import Store, Vault
from tests.console.connect.visitor import Visit, handed_over, query_of


def test_a_forged_link_is_unknown(visit: Visit, links: Links) -> None:
    visitor = visit(path="/connect/forged", claimed=False)
    token = links.create("ana", "acme")[1]
    for wrong in ("forged", token[:-1], token + "x", "a.b.c", "%F0%9F%92%A9", "lnk_00"):
        page = visitor.client.get(f"/connect/{wrong}")
        assert (page.status_code, "not one of ours" in page.text) == (404, True)
        for act in ("claim", "begin", "cancel", "answer/teller"):
            assert visitor.client.post(f"/connect/{wrong}/{act}", data={"csrf": "x"}).status_code == 404


def test_an_expired_link_says_so_also_in_the_middle_of_a_consent(visit: Visit, store: Store) -> None:
    visitor = visit()
    visitor.begin("stripe")
    back = visitor.sign_in(visitor.leaving()).headers["location"]
    with psycopg.connect(store.postgres_url, autocommit=True) as postgres:
        postgres.execute("UPDATE ledgerlake.connect_links SET expires_at = now() - interval '1 minute'")
    for page in (visitor.look(), visitor.client.get(back)):
        assert (page.status_code, "This link has expired" in page.text) == (410, True)
    assert store.connections() == []


def test_looking_uses_nothing_up_and_a_second_browser_is_refused(visit: Visit) -> None:
    first = visit(claimed=False)
    for _ in range(2):
        assert "Connect an account for" in first.look().text
    first.claim()
    other = visit(path=first.path, claimed=False)
    for page in (other.look(), other.client.post(f"{first.path}/claim"), other.client.post(f"{first.path}/begin")):
        assert (page.status_code, "open in another browser" in page.text) == (403, True)
    assert "What would you like to connect?" in first.look().text


def test_a_used_link_shows_its_own_browser_what_came_of_it_and_others_nothing(visit: Visit) -> None:
    visitor = visit()
    visitor.consent("teller")
    assert visitor.look().status_code == 200
    other = visit(path=visitor.path, claimed=False).look()
    assert (other.status_code, "was used already" in other.text) == (410, True)


def test_an_answer_that_comes_twice_connects_once(visit: Visit, store: Store) -> None:
    visitor = visit()
    visitor.begin("stripe")
    back = visitor.sign_in(visitor.leaving()).headers["location"]
    for _ in range(2):
        assert "Your account is connected" in visitor.went(visitor.client.get(back)).text
    assert len(store.connections()) == 1


def test_a_form_that_is_posted_twice_connects_once(visit: Visit, store: Store) -> None:
    visitor = visit()
    visitor.begin("teller")
    form, told = visitor.answering(), handed_over("teller", visitor.teller())
    for _ in range(2):
        assert "Your account is connected" in visitor.post(form, **told).text
    assert len(store.connections()) == 1


def test_an_answer_counts_only_with_the_state_of_this_step(visit: Visit, store: Store) -> None:
    visitor = visit()
    visitor.begin("stripe")
    old = visitor.sign_in(visitor.leaving()).headers["location"]
    visitor.look()
    visitor.begin("stripe")  # the back button, or a second tab: what was under way is over
    asked = query_of(visitor.leaving())
    key, _, state = asked["state"].partition(".")
    code = query_of(old)["code"]
    for url in (
        old,
        f"{visitor.url}/connect/return/stripe?code={code}&state={key}.{'A' * len(state)}",
        f"{visitor.url}/connect/return/stripe?code={code}&state={key}.",
        f"{visitor.url}/connect/return/tink?credentialsId=x&state={asked['state']}",
        f"{visitor.url}/connect/return/stripe?error=access_denied&state={key}.forged",
    ):
        page = visitor.client.get(url)
        assert (page.status_code, "does not belong to the step" in page.text) == (409, True), url
        assert f'href="{visitor.path}"' in page.text
    assert store.connections() == []
    good = visitor.sign_in(visitor.leaving()).headers["location"]
    assert "Your account is connected" in visitor.went(visitor.client.get(good)).text


def test_an_answer_in_a_browser_without_the_link_is_refused(visit: Visit, store: Store) -> None:
    visitor = visit()
    visitor.begin("stripe")
    back = visitor.sign_in(visitor.leaving()).headers["location"]
    stranger = visit(path=visitor.path, claimed=False)
    for url in (back, "/connect/return/plaid?oauth_state_id=x", "/connect/return/gocardless?ref=a.b"):
        page = stranger.client.get(url)
        assert (page.status_code, "open in another browser" in page.text) == (403, True)
    assert stranger.client.get("/connect/return/nobody").status_code == 404
    assert store.connections() == []


def test_another_customers_cookie_does_not_open_a_link(visit: Visit, links: Links) -> None:
    mine = visit("acme")
    theirs = visit("globex")
    (cookie,) = theirs.client.cookies.jar
    mine_name = next(iter(mine.client.cookies.jar)).name
    stranger = visit(path=mine.path, claimed=False)
    stranger.client.cookies.set(mine_name, cookie.value or "", path="/connect")
    assert stranger.look().status_code == 403


def test_forms_need_the_token_of_the_page_and_come_from_it(visit: Visit, store: Store) -> None:
    visitor = visit()
    for act in ("begin", "cancel"):
        for csrf in ("", "0" * 32):
            page = visitor.client.post(f"{visitor.path}/{act}", data={"provider": "stripe", "csrf": csrf})
            assert page.status_code == 403
    fields = visitor.forms()[0].fields
    page = visitor.client.post(f"{visitor.path}/begin", data=fields, headers={"sec-fetch-site": "cross-site"})
    assert (page.status_code, "not from a page of ours" in page.text) == (403, True)


@pytest.mark.parametrize("what", ["access_token", "user_id", "enrollment_id", "signature", "nonce"])
def test_an_enrollment_that_teller_did_not_sign_is_not_believed(
    what: str, visit: Visit, store: Store, logged: list[Any]
) -> None:
    visitor = visit()
    visitor.begin("teller")
    if what == "nonce":
        told = handed_over("teller", visitor.teller())  # of the page before, shown again on this one
        visitor.look()
        visitor.begin("teller")
    else:
        told = handed_over("teller", visitor.teller())
        told[what] = ["not base64!", "AAAA"] if what == "signature" else f"{told[what]}x"
    visitor.post(visitor.answering(), **told)
    assert "could not be proved to be genuine" in visitor.note()
    assert store.connections() == []
    assert (logged[-1]["reason"], told["access_token"] in str(logged)) == ("unproven", False)


@pytest.mark.parametrize("provider", ["teller", "plaid"])
def test_an_answer_that_lacks_what_it_should_bring_connects_nothing(provider: str, visit: Visit, store: Store) -> None:
    visitor = visit()
    visitor.begin(provider)
    visitor.post(visitor.answering(), user_id=["a", "b"])
    assert "Something was missing" in visitor.note()
    assert store.connections() == []


def test_credentials_of_somebody_else_at_tink_are_not_taken(
    visit: Visit, store: Store, control: httpx.Client, logged: list[Any]
) -> None:
    foreign = next(one["secrets"] for one in control.get("/customers").json() if one["provider"] == "tink")
    visitor = visit()
    visitor.begin("tink")
    query = {"state": query_of(visitor.leaving())["state"], "credentialsId": foreign["credentials_id"]}
    visitor.went(visitor.client.get("/connect/return/tink", params=query))
    assert "could not be proved to be genuine" in visitor.note()
    assert store.connections() == []


def test_a_code_that_was_used_is_void(visit: Visit, store: Store) -> None:
    visitor = visit()
    visitor.begin("plaid")
    visitor.post(visitor.answering(), public_token="public-sandbox-unknown")
    assert "That sign-in took too long, or was used before" in visitor.note()
    assert store.connections() == []


def test_a_consent_that_is_another_customers_is_not_taken_over(visit: Visit, store: Store, logged: list[Any]) -> None:
    visit("acme").consent("teller")
    visitor = visit("globex")
    visitor.consent("teller")
    assert "connected already, for another customer" in visitor.note()
    assert "acme" not in visitor.page.text
    assert [one.customer_id for one in store.connections()] == ["acme"]


@pytest.mark.parametrize("provider", ["plaid", "tink", "gocardless"])
def test_a_provider_that_is_down_is_told_in_one_sentence(provider: str, visit: Visit, logged: list[Any]) -> None:
    visitor = visit(**{f"{provider}_url": "http://127.0.0.1:9"})
    visitor.went(visitor.begin(provider))
    assert visitor.note().startswith("The other side does not answer at the moment.")
    assert logged[-1]["reason"] == "unavailable"


def test_wrong_credentials_of_the_application_are_no_fault_of_the_customer(visit: Visit, logged: list[Any]) -> None:
    from pydantic import SecretStr

    visitor = visit(tink_client_secret=SecretStr("canary"))
    visitor.went(visitor.begin("tink"))
    assert "through no fault of yours" in visitor.note()
    assert (logged[-1]["reason"], "LEDGERLAKE_TINK_CLIENT_SECRET" in logged[-1]["said"]) == ("broken", True)
    assert "canary" not in str(logged)


def test_only_what_is_set_up_and_not_paused_is_offered(visit: Visit, store: Store) -> None:
    def offered(**changed: Any) -> list[str]:
        return sorted(one.fields["provider"] for one in visit(**changed).forms())

    assert offered() == ["gocardless", "plaid", "stripe", "teller", "tink"]
    assert offered(
        teller_token_signing_key=None, plaid_secret=None, tink_client_id=None, gocardless_secret_key=None
    ) == ["stripe"]
    assert offered(teller_environment="production", tink_enabled=False) == ["gocardless", "plaid", "stripe"]
    store.pause_provider("plaid", "they are moving", "ana")
    assert offered() == ["gocardless", "stripe", "teller", "tink"]
    visitor = visit()
    form = visitor.forms()[0]
    for wrong in ("plaid", "nobody", ""):
        page = visitor.went(visitor.client.post(form.action, data={**form.fields, "provider": wrong}))
        assert (page.status_code, visitor.note() != "") == (200, True)


def test_a_note_is_one_of_ours_or_none(visit: Visit) -> None:
    visitor = visit()
    page = visitor.client.get(f"{visitor.path}?note=<script>")
    assert (page.status_code, "<script>" in page.text.replace("<script src", "")) == (200, False)


def test_only_the_page_of_a_script_is_given_its_origin(visit: Visit) -> None:
    visitor = visit()
    strict = visitor.page.headers["content-security-policy"]
    assert visitor.bank.url not in strict
    for provider, directives in (
        ("teller", {"script-src", "frame-src"}),
        ("plaid", {"script-src", "frame-src", "connect-src"}),
    ):
        visitor.look()
        page = visitor.begin(provider)
        policy = dict(one.split(" ", 1) for one in page.headers["content-security-policy"].split("; "))
        assert {name for name, sources in policy.items() if visitor.bank.url in sources} == directives
        assert (policy["default-src"], policy["form-action"]) == ("'none'", "'self'")
    for provider in ("tink", "stripe"):
        visitor.look()
        assert visitor.begin(provider).headers["content-security-policy"] == strict


def test_the_cookie_is_for_these_pages_only_and_tells_nothing(visit: Visit, links: Links) -> None:
    visitor = visit(claimed=False)
    answer = visitor.client.post(f"{visitor.path}/claim")
    cookie = answer.headers["set-cookie"]
    assert [part for part in ("HttpOnly", "Path=/connect", "SameSite=lax") if part not in cookie] == []
    assert visitor.path.rpartition("/")[2] not in cookie


def test_whoever_repairs_sees_nothing_of_the_connection_but_where_it_is(
    visit: Visit, store: Store, vault: Vault
) -> None:
    from pydantic import SecretStr

    made, _ = store.add_connection(
        vault,
        provider="teller",
        external_id="enr_1",
        customer_id="acme",
        secrets={"access_token": SecretStr("canary"), "enrollment_id": SecretStr("enr_1")},
    )
    visitor = visit(connection_id=made.connection_id, claimed=False)
    assert "Renew your connection" in visitor.look().text
    visitor.claim()
    page = visitor.begin("teller")
    assert ("canary" in page.text, 'data-enrollment="enr_1"' in page.text) == (False, True)


def test_hours_are_of_the_link(visit: Visit, links: Links) -> None:
    link, token = links.create("ana", "acme", hours=1)
    assert dt.timedelta(minutes=59) < link.expires_at - dt.datetime.now(dt.UTC) <= dt.timedelta(hours=1)
    assert f"{link.expires_at:%Y-%m-%d %H:%M} UTC" in visit(path=f"/connect/{token}", claimed=False).look().text
