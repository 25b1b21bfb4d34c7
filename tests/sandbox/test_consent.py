"""Consent in the browser: the pages' forms posted, what the redirects and messages carry, and that the truth holds after."""

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

import sandbox

TODAY = date(2026, 3, 1)
BACK = "http://127.0.0.1:9/back?tab=1"
ORIGIN = "http://127.0.0.1:9"
GUESTS = tuple(f"customer-{number:05}" for number in (13, 14, 15, 16))
BUSINESS, SECOND, THIRD, OTHER_BUSINESS = GUESTS


class Browser:
    """Who clicks: forms are posted to the address of their page, and redirects are read, not followed."""

    def __init__(self, server: sandbox.Server) -> None:
        self.where = server.where()
        self.http = httpx.Client(timeout=30)

    def sign_in(self, url: str, user: str, password: str = "password") -> httpx.Response:
        page = self.http.get(url)
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8"), page.text
        return self.http.post(url, data={"user": user, "password": password, "decision": "allow"})

    def cancel(self, url: str) -> httpx.Response:
        return self.http.post(url, data={"user": "", "password": "", "decision": "cancel"})

    def customers(self, provider: str) -> dict[str, dict[str, Any]]:
        told = self.http.get(f"{self.where['control_url']}/customers").json()
        return {one["customer_id"]: one for one in told if one["provider"] == provider}

    def truth(self, connection_id: str) -> dict[str, Any]:
        answer = self.http.get(f"{self.where['control_url']}/truth", params={"connection_id": connection_id})
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def control(self, path: str, body: object) -> Any:
        answer = self.http.post(self.where["control_url"] + path, json=body)
        assert answer.is_success, answer.text
        return answer

    def plaid(self, path: str, **body: object) -> Any:
        sent = {**self.where["plaid_credentials"], **body}
        return self.http.post(self.where["plaid_url"] + path, json=sent).json(parse_float=Decimal)


@pytest.fixture
def browser() -> Iterator[Browser]:
    world = sandbox.World.of(seed=1, customers=12, years=0, today=TODAY)
    with sandbox.Server(world, sandbox.Clock(TODAY)) as server:
        made = Browser(server)
        with closing(made.http):
            yield made


def came_back(answer: httpx.Response) -> dict[str, str]:
    """What a redirect carries; each name once, and what the address had before."""
    assert answer.status_code == 303, answer.text
    url = urlsplit(answer.headers["location"])
    assert f"{url.scheme}://{url.netloc}{url.path}" == "http://127.0.0.1:9/back"
    told = {name: value for name, (value,) in parse_qs(url.query, strict_parsing=True).items()}
    assert told.pop("tab") == "1"
    return told


def handed(answer: httpx.Response) -> Any:
    """What a page in an iframe hands to the page of `ORIGIN` around it."""
    assert answer.status_code == 200, answer.text
    assert f'data-origin="{ORIGIN}"' in answer.text
    found = re.search(r'data-result="([^"]*)"', answer.text)
    assert found is not None, answer.text
    return json.loads(html.unescape(found[1]))


# The page itself.


def test_the_page_has_labels_for_its_fields_and_no_script(browser: Browser) -> None:
    query = {"origin": ORIGIN, "environment": "sandbox"}
    page = browser.http.get(f"{browser.where['teller_url']}/connect/app_sandbox5f1d90be", params=query).text
    for name, text in (("user", "User name"), ("password", "Password")):
        assert f'<label for="{name}">{text}</label>' in page
        assert f'id="{name}"' in page
    assert re.findall(r'name="decision" value="(\w+)"[^>]*>(\w+)<', page) == [("allow", "Allow"), ("cancel", "Cancel")]
    assert "<script" not in page
    first = page.index(f'value="{BUSINESS}"')
    assert first < page.index('value="customer-00001"'), "guests come first, for they have nothing connected"


def test_a_wrong_password_or_user_name_shows_the_page_again(browser: Browser) -> None:
    url = f"{browser.where['teller_url']}/connect/app_sandbox5f1d90be?origin={ORIGIN}&environment=sandbox"
    for user, password in ((BUSINESS, "x"), ("nobody", "password"), ("<script>", "password")):
        answer = browser.sign_in(url, user, password)
        assert answer.status_code == 401
        assert '<p role="alert">The user name or the password is wrong.</p>' in answer.text
        assert "<script>" not in answer.text
    assert BUSINESS not in browser.customers("teller")


def test_guests_are_nobodys_customers_before_they_sign_in(browser: Browser) -> None:
    people = browser.http.get(f"{browser.where['control_url']}/people").json()
    assert [one["user"] for one in people if one["guest"]] == list(GUESTS)
    assert [one["kind"] for one in people if one["guest"]] == ["business", "person", "person", "business"]
    assert {tuple(one["connected"]) for one in people if one["guest"]} == {()}
    for provider in ("teller", "tink", "plaid", "gocardless", "stripe"):
        connected = {one["user"] for one in people if provider in one["connected"]}
        assert connected == browser.customers(provider).keys()
        assert not set(GUESTS) & browser.customers(provider).keys()


# Teller Connect.


def teller_url(browser: Browser, application: str = "", **query: str) -> str:
    application = application or browser.where["teller_credentials"]["application_id"]
    asked = {"origin": ORIGIN, "environment": "sandbox", **query}
    return f"{browser.where['teller_url']}/connect/{application}?{urlencode(asked)}"


def test_teller_connect_hands_over_an_enrollment_whose_signature_is_of_the_nonce(browser: Browser) -> None:
    told = handed(browser.sign_in(teller_url(browser, nonce="n-1"), BUSINESS))
    enrolled = told["enrollment"]
    listed = browser.customers("teller")[BUSINESS]
    token, user = enrolled["accessToken"], enrolled["user"]["id"]
    assert told["kind"] == "success"
    assert {"access_token": token, "enrollment_id": enrolled["enrollment"]["id"]} == listed["secrets"]
    assert enrolled["enrollment"]["institution"] == {"name": listed["institution"]["name"]}
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(browser.where["teller_credentials"]["token_signing_key"]))
    for nonce, good in (("n-1", True), ("n-2", False)):
        text = f"{nonce}.{token}.{user}.{enrolled['enrollment']['id']}.sandbox".encode()
        proven = [
            any(verifies(key, one, signed) for one in enrolled["signatures"])
            for signed in (text, hashlib.sha256(text).digest())
        ]
        assert proven == [good, good]


def verifies(key: Ed25519PublicKey, signature: str, signed: bytes) -> bool:
    try:
        key.verify(base64.b64decode(signature), signed)
    except InvalidSignature:
        return False
    return True


def test_what_teller_shows_of_a_guest_is_the_truth_then_and_days_later(browser: Browser) -> None:
    enrolled = handed(browser.sign_in(teller_url(browser), OTHER_BUSINESS))["enrollment"]
    assert "signatures" not in enrolled
    auth = (enrolled["accessToken"], "")
    for days in (0, 3, 3):
        browser.control("/clock", {"days": days})
        truth = {one["id"]: one for one in browser.truth(enrolled["enrollment"]["id"])["accounts"]}
        accounts = browser.http.get(f"{browser.where['teller_url']}/accounts", auth=auth).json()
        assert {one["id"] for one in accounts} == truth.keys()
        for one in accounts:
            if "transactions" in one["links"] and one["status"] == "open":
                url = f"{browser.where['teller_url']}/accounts/{one['id']}/transactions"
                rows = browser.http.get(url, auth=auth).json()
                assert len(rows) == truth[one["id"]]["totals"]["transactions"] > 0


def test_teller_connect_repairs_with_the_same_token_and_only_for_who_enrolled(browser: Browser) -> None:
    first, second = (browser.customers("teller")[f"customer-0000{n}"] for n in (1, 2))
    enrollment = first["connection_id"]
    browser.control(f"/enrollments/{enrollment}/disconnect", {"reason": "credentials_invalid"})
    url = teller_url(browser, enrollment_id=enrollment)
    assert browser.sign_in(url, second["customer_id"]).status_code == 403
    assert browser.truth(enrollment)["state"] == "disconnected"
    told = handed(browser.sign_in(url, first["customer_id"]))
    assert told["enrollment"]["accessToken"] == first["secrets"]["access_token"]
    assert browser.truth(enrollment)["state"] == "active"


def test_teller_connect_tells_of_cancelling_and_of_what_cannot_be_opened(browser: Browser) -> None:
    assert handed(browser.cancel(teller_url(browser))) == {"kind": "exit"}
    for url in (
        teller_url(browser, "app_x"),
        teller_url(browser, environment="production"),
        teller_url(browser, enrollment_id="enr_x"),
    ):
        told = handed(browser.http.get(url))
        assert (told["kind"], told["failure"].keys()) == ("failure", {"type", "code", "message"})
    assert browser.http.get(teller_url(browser, origin="javascript:alert(1)")).status_code == 400


# Tink Link.


def tink_token(browser: Browser, scope: str) -> str:
    form = {**browser.where["tink_credentials"], "grant_type": "client_credentials", "scope": scope}
    return str(browser.http.post(f"{browser.where['tink_url']}/api/v1/oauth/token", data=form).json()["access_token"])


def tink_code(browser: Browser, user: str) -> str:
    """A delegated code for Tink Link."""
    form = {
        "external_user_id": user,
        "id_hint": "Acme",
        "actor_client_id": "df05e4b379934cd09963197cc855bfe9",
        "scope": "authorization:read,authorization:grant,credentials:refresh,credentials:read,credentials:write",
    }
    answer = browser.http.post(
        f"{browser.where['tink_url']}/api/v1/oauth/authorization-grant/delegate",
        data=form,
        headers={"authorization": f"Bearer {tink_token(browser, 'authorization:grant')}"},
    )
    return str(answer.json()["code"])


def tink_url(browser: Browser, act: str = "connect-accounts", **query: str) -> str:
    asked = {
        "client_id": browser.where["tink_credentials"]["client_id"],
        "redirect_uri": BACK,
        "market": "GB",
        "locale": "en_US",
        "state": "s&1",
    }
    return f"{browser.where['tink_link_url']}/1.0/transactions/{act}?{urlencode({**asked, **query})}"


def tink_exchange(browser: Browser, code: str) -> httpx.Response:
    form = {**browser.where["tink_credentials"], "grant_type": "authorization_code", "code": code}
    return browser.http.post(f"{browser.where['tink_url']}/api/v1/oauth/token", data=form)


def tink_accounts(browser: Browser, token: str) -> set[str]:
    url = f"{browser.where['tink_url']}/data/v2/accounts"
    told = browser.http.get(url, headers={"authorization": f"Bearer {token}"}).json()
    return {one["id"] for one in told["accounts"]}


def test_tink_link_once_gives_a_code_that_reads_the_accounts_once(browser: Browser) -> None:
    told = came_back(browser.sign_in(tink_url(browser), BUSINESS))
    assert told.keys() == {"code", "credentialsId", "state"}
    assert told["state"] == "s&1"
    given = tink_exchange(browser, told["code"])
    truth = browser.truth(told["credentialsId"])
    assert tink_accounts(browser, given.json()["access_token"]) == {one["id"] for one in truth["accounts"]} != set()
    assert tink_exchange(browser, told["code"]).status_code == 400
    assert browser.customers("tink")[BUSINESS]["connection_id"] == told["credentialsId"]


def test_tink_link_for_a_permanent_user_makes_each_login_one_of_his_credentials(browser: Browser) -> None:
    created = browser.http.post(
        f"{browser.where['tink_url']}/api/v1/user/create",
        json={"external_user_id": "acme", "market": "GB", "locale": "en_US"},
        headers={"authorization": f"Bearer {tink_token(browser, 'user:create')}"},
    )
    assert created.status_code == 200
    found = []
    for guest in (SECOND, THIRD):
        code = tink_code(browser, "acme")
        assert tink_exchange(browser, code).status_code == 400, "a delegated code is Tink Link's"
        code = tink_code(browser, "acme")
        told = came_back(browser.sign_in(tink_url(browser, authorization_code=code), guest))
        assert told.keys() == {"credentialsId", "state"}
        found.append(told["credentialsId"])
        again = browser.http.get(tink_url(browser, authorization_code=code))
        assert came_back(again)["error_reason"] == "INVALID_PARAMETER_AUTHORIZATION_CODE"
        assert browser.customers("tink")[guest]["secrets"]["external_user_id"] == "acme"
    grant = browser.http.post(
        f"{browser.where['tink_url']}/api/v1/oauth/authorization-grant",
        data={"external_user_id": "acme", "scope": "accounts:read,provider-consents:read"},
        headers={"authorization": f"Bearer {tink_token(browser, 'authorization:grant')}"},
    )
    token = tink_exchange(browser, grant.json()["code"]).json()["access_token"]
    truths = [browser.truth(credentials_id) for credentials_id in found]
    assert tink_accounts(browser, token) == {one["id"] for truth in truths for one in truth["accounts"]}
    url = f"{browser.where['tink_url']}/api/v1/provider-consents"
    consents = browser.http.get(url, headers={"authorization": f"Bearer {token}"}).json()["providerConsents"]
    assert set(found) <= {one["credentialsId"] for one in consents}


def test_tink_link_renews_a_consent_for_who_gave_it(browser: Browser) -> None:
    first = browser.customers("tink")["customer-00002"]
    browser.control(f"/enrollments/{first['connection_id']}/disconnect", {"reason": "credentials_invalid"})
    query = {"credentials_id": first["connection_id"]}
    for act in ("update-consent", "extend-consent"):
        code = tink_code(browser, first["secrets"]["external_user_id"])
        url = tink_url(browser, act, authorization_code=code, **query)
        assert browser.sign_in(url, "customer-00005").status_code == 403
        told = came_back(browser.sign_in(url, "customer-00002"))
        assert told == {"credentialsId": first["connection_id"], "state": "s&1"}
        assert browser.truth(first["connection_id"])["state"] == "active"
    without = came_back(browser.http.get(tink_url(browser, "update-consent", **query)))
    assert without["error"] == "BAD_REQUEST"
    other = browser.customers("tink")["customer-00005"]
    code = tink_code(browser, other["secrets"]["external_user_id"])
    url = tink_url(browser, "extend-consent", authorization_code=code, credentials_id=other["connection_id"])
    assert came_back(browser.http.get(url))["error_reason"] == "SESSION_NOT_EXTENDABLE"


def test_tink_link_comes_back_with_an_error_or_refuses_where_no_redirect_can_be_trusted(browser: Browser) -> None:
    told = came_back(browser.cancel(tink_url(browser)))
    assert told.keys() == {"error", "error_reason", "message", "tracking_id", "state"}
    assert (told["error"], told["state"]) == ("USER_CANCELLED", "s&1")
    assert came_back(browser.http.get(tink_url(browser, market="XX")))["error"] == "BAD_REQUEST"
    for query in ({"client_id": "x"}, {"redirect_uri": "javascript:alert(1)"}, {"redirect_uri": ""}):
        assert browser.http.get(tink_url(browser, **query)).status_code == 400


# GoCardless.


def test_a_guest_of_gocardless_is_linked_by_signing_in_and_the_truth_is_found_by_the_requisition(
    browser: Browser,
) -> None:
    base, credentials = browser.where["gocardless_url"], browser.where["gocardless_credentials"]
    access = browser.http.post(f"{base}/token/new/", json=credentials).json()["access"]
    headers = {"authorization": f"Bearer {access}"}
    order = {"redirect": BACK, "institution_id": "LUNDGREN_LNDGSESS", "reference": "r-1"}
    made = browser.http.post(f"{base}/requisitions/", json=order, headers=headers).json()
    assert browser.sign_in(made["link"], BUSINESS).status_code == 403, "he banks elsewhere"
    assert came_back(browser.sign_in(made["link"], SECOND)) == {"ref": "r-1"}
    told = browser.http.get(f"{base}/requisitions/{made['id']}/", headers=headers).json()
    assert (told["status"], browser.customers("gocardless")[SECOND]["connection_id"]) == ("LN", made["id"])
    truth = browser.truth(made["id"])
    assert set(told["accounts"]) == {one["id"] for one in truth["accounts"]} != set()
    for one in truth["accounts"]:
        rows = browser.http.get(f"{base}/accounts/{one['id']}/transactions/", headers=headers).json()["transactions"]
        assert len(rows["booked"]) + len(rows["pending"]) == one["totals"]["transactions"]
    again = came_back(browser.http.get(made["link"]))
    assert (again["ref"], again["error"]) == ("r-1", "RequisitionLinkReused")


# Plaid Link.


def link(browser: Browser, **more: object) -> str:
    order = {"client_name": "x", "language": "en", "country_codes": ["US"], "user": {"client_user_id": "u"}}
    return str(browser.plaid("/link/token/create", **order, **more)["link_token"])


def plaid_url(browser: Browser, token: str, **query: str) -> str:
    asked = {"token": token, "origin": ORIGIN, **query}
    return f"{browser.where['plaid_url']}/link/session?{urlencode(asked)}"


def test_plaid_link_hands_over_a_public_token_that_is_exchanged_once(browser: Browser) -> None:
    token = link(browser, webhook="http://127.0.0.1:1/hook")
    told = handed(browser.sign_in(plaid_url(browser, token), BUSINESS))
    assert told.keys() == {"kind", "public_token", "metadata"}
    given = browser.plaid("/item/public_token/exchange", public_token=told["public_token"])
    listed = browser.customers("plaid")[BUSINESS]
    assert {name: given[name] for name in ("access_token", "item_id")} == listed["secrets"]
    again = browser.plaid("/item/public_token/exchange", public_token=told["public_token"])
    assert again["error_code"] == "INVALID_PUBLIC_TOKEN"
    item = browser.plaid("/item/get", access_token=given["access_token"])["item"]
    assert item["webhook"] == "http://127.0.0.1:1/hook"
    assert told["metadata"]["institution"] == {
        "name": item["institution_name"],
        "institution_id": item["institution_id"],
    }
    truth = browser.truth(given["item_id"])
    assert {one["id"] for one in told["metadata"]["accounts"]} == {one["id"] for one in truth["accounts"]} != set()
    page = browser.plaid("/transactions/sync", access_token=given["access_token"], count=500)
    first = next(one for one in truth["accounts"] if one["subtype"] == "checking")
    shown = [row for row in page["added"] if row["account_id"] == first["id"]]
    assert len(shown) == first["totals"]["transactions"] or page["has_more"]
    spent = handed(browser.http.get(plaid_url(browser, token)))
    assert spent["error"]["error_code"] == "INVALID_LINK_TOKEN"


def test_plaid_links_tokens_expire(browser: Browser) -> None:
    token = link(browser)
    public = handed(browser.sign_in(plaid_url(browser, link(browser)), BUSINESS))["public_token"]
    browser.control("/clock", {"seconds": 4 * 3600 + 1})
    assert handed(browser.http.get(plaid_url(browser, token)))["error"]["error_code"] == "INVALID_LINK_TOKEN"
    answer = browser.plaid("/item/public_token/exchange", public_token=public)
    assert answer["error_code"] == "INVALID_PUBLIC_TOKEN"


def test_plaid_link_in_update_mode_repairs_the_item_of_its_owner(browser: Browser) -> None:
    listed = browser.customers("plaid")
    mine = listed["customer-00001"]
    access = mine["secrets"]["access_token"]
    browser.plaid("/sandbox/item/reset_login", access_token=access)
    url = plaid_url(browser, link(browser, access_token=access))
    assert browser.sign_in(url, "customer-00003").status_code == 403
    assert handed(browser.sign_in(url, "customer-00001"))["kind"] == "success"
    assert browser.plaid("/item/get", access_token=access)["item"]["error"] is None
    refused = browser.plaid(
        "/link/token/create", client_name="x", language="en", country_codes=["US"],
        user={"client_user_id": "u"}, access_token="access-sandbox-x",
    )  # fmt: skip
    assert refused["error_code"] == "INVALID_ACCESS_TOKEN"


def test_plaid_link_exits_without_an_error_when_it_is_cancelled(browser: Browser) -> None:
    told = handed(browser.cancel(plaid_url(browser, link(browser))))
    assert (told["kind"], told["error"], told["metadata"]["status"]) == ("exit", None, "requires_credentials")


def test_a_bank_with_oauth_is_left_for_and_come_back_from(browser: Browser) -> None:
    token = link(browser, redirect_uri=BACK)
    told = handed(browser.sign_in(plaid_url(browser, token), SECOND))
    assert told.keys() == {"kind", "url"}
    state = came_back(browser.sign_in(told["url"], SECOND))["oauth_state_id"]
    assert browser.http.get(told["url"]).status_code == 400
    assert handed(browser.http.get(plaid_url(browser, token, oauth_state_id="x")))["kind"] == "exit"
    done = handed(browser.http.get(plaid_url(browser, token, oauth_state_id=state)))
    given = browser.plaid("/item/public_token/exchange", public_token=done["public_token"])
    assert given["item_id"] == browser.customers("plaid")[SECOND]["connection_id"]
    token = link(browser, redirect_uri=BACK)
    told = handed(browser.sign_in(plaid_url(browser, token), SECOND))
    state = came_back(browser.cancel(told["url"]))["oauth_state_id"]
    assert handed(browser.http.get(plaid_url(browser, token, oauth_state_id=state)))["error"] is None


# Stripe Connect.


def stripe_url(browser: Browser, **query: str) -> str:
    asked = {
        "response_type": "code",
        "client_id": browser.where["stripe_credentials"]["client_id"],
        "scope": "read_only",
        "redirect_uri": BACK,
        "state": "s-1",
    }
    return f"{browser.where['stripe_connect_url']}/oauth/authorize?{urlencode({**asked, **query})}"


def stripe_token(browser: Browser, code: str, secret: str = "") -> httpx.Response:
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "client_secret": secret or browser.where["stripe_credentials"]["secret_key"],
    }
    return browser.http.post(f"{browser.where['stripe_connect_url']}/oauth/token", data=form)


def test_stripe_connect_gives_a_code_for_a_token_that_reads_the_account(browser: Browser) -> None:
    told = came_back(browser.sign_in(stripe_url(browser), BUSINESS))
    assert {name: told[name] for name in ("scope", "state")} == {"scope": "read_only", "state": "s-1"}
    assert BUSINESS not in browser.customers("stripe"), "connected when the code is exchanged"
    assert stripe_token(browser, told["code"], "sk_x").json()["error"] == "invalid_client"
    given = stripe_token(browser, told["code"]).json()
    assert given.keys() == {
        "access_token", "livemode", "refresh_token", "scope", "stripe_publishable_key", "stripe_user_id", "token_type",
    }  # fmt: skip
    assert stripe_token(browser, told["code"]).json()["error"] == "invalid_grant"
    account, platform = given["stripe_user_id"], browser.where["stripe_credentials"]["secret_key"]
    assert browser.customers("stripe")[BUSINESS]["secrets"] == {"api_key": given["access_token"], "account": account}
    for key, headers in ((given["access_token"], {}), (platform, {"stripe-account": account})):
        url = f"{browser.where['stripe_url']}/v1/account"
        shown = browser.http.get(url, headers={"authorization": f"Bearer {key}", **headers})
        assert shown.json()["id"] == account
    url = f"{browser.where['stripe_url']}/v1/charges?limit=100"
    charges = browser.http.get(url, headers={"authorization": f"Bearer {given['access_token']}"}).json()
    truth = browser.truth(account)["billing"]["charges"]["count"]
    assert len(charges["data"]) == truth or charges["has_more"]
    form = {"client_id": browser.where["stripe_credentials"]["client_id"], "stripe_user_id": account}
    url = f"{browser.where['stripe_connect_url']}/oauth/deauthorize"
    assert browser.http.post(url, data={**form, "client_secret": platform}).json() == {"stripe_user_id": account}
    url = f"{browser.where['stripe_url']}/v1/account"
    gone = browser.http.get(url, headers={"authorization": f"Bearer {platform}", "stripe-account": account})
    assert (gone.status_code, gone.json()["error"]["code"]) == (403, "account_invalid")


def test_stripe_connect_says_why_it_gives_no_code(browser: Browser) -> None:
    assert came_back(browser.cancel(stripe_url(browser))) == {
        "error": "access_denied",
        "error_description": "The user denied your request",
        "state": "s-1",
    }
    assert browser.sign_in(stripe_url(browser), SECOND).status_code == 403
    for query, error in (
        ({"client_id": "ca_x"}, "invalid_client"),
        ({"redirect_uri": "file:///x"}, "invalid_redirect_uri"),
        ({"scope": "all"}, "invalid_scope"),
        ({"response_type": "token"}, "unsupported_response_type"),
    ):
        assert browser.http.get(stripe_url(browser, **query)).json()["error"] == error
    code = came_back(browser.sign_in(stripe_url(browser), BUSINESS))["code"]
    browser.control("/clock", {"seconds": 301})
    assert stripe_token(browser, code).json()["error"] == "invalid_grant"


# Scripts, and webhooks of a consent.


@pytest.mark.parametrize(
    ("provider", "setting", "name", "method"),
    [("teller", "connect_script", "TellerConnect", "setup"), ("plaid", "link_script", "Plaid", "create")],
)
def test_the_scripts_are_served_and_make_the_providers_global(
    browser: Browser, provider: str, setting: str, name: str, method: str
) -> None:
    served = browser.http.get(browser.where[f"{provider}_{setting}"])
    assert (served.status_code, served.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
    assert f"window.{name} = " in served.text
    assert re.search(rf"return {{ {method}: {method} }};", served.text)
    node = shutil.which("node")
    if node is not None:
        page = f"const window = globalThis; const document = {{currentScript: {{src: {browser.where[f'{provider}_{setting}']!r}}}}};"
        check = f"{served.text}; if (typeof {name}.{method} !== 'function') throw 1;"
        subprocess.run([node, "-e", page + check], check=True, timeout=30)
    result = "/connect/result.js" if provider == "teller" else "/link/result.js"
    assert "postMessage" in browser.http.get(browser.where[f"{provider}_url"] + result).text


def test_a_consent_is_told_by_the_providers_webhooks(browser: Browser) -> None:
    sent: dict[str, list[str]] = {}
    for provider in ("teller", "tink", "plaid", "stripe"):
        browser.control("/webhooks", {"provider": provider, "url": "http://127.0.0.1:1/"})
    handed(browser.sign_in(teller_url(browser), BUSINESS))
    came_back(browser.sign_in(tink_url(browser), BUSINESS))
    handed(browser.sign_in(plaid_url(browser, link(browser)), BUSINESS))
    stripe_token(browser, came_back(browser.sign_in(stripe_url(browser), BUSINESS))["code"])
    told = browser.http.get(f"{browser.where['control_url']}/webhooks?wait=20").json()
    for one in told["deliveries"]:
        if one["kind"] not in sent.setdefault(one["provider"], []):
            sent[one["provider"]].append(one["kind"])
    assert sent == {
        "teller": ["transactions.processed"],
        "tink": [
            "account:created",
            "account-transactions:modified",
            "account-booked-transactions:modified",
            "refresh:finished",
        ],
        "plaid": ["INITIAL_UPDATE", "HISTORICAL_UPDATE"],
    }
