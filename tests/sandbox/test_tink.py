"""Tink's protocol: who may ask, what is answered, how consents and pages look, and a frugal client that holds the truth."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

TODAY = date(2026, 3, 1)
ALBION, RHEINBANK, RIBEIRA, FJORDBANKEN = range(4)
"""The connection of this place is at this bank."""
SCOPE = "accounts:read,balances:read,transactions:read,provider-consents:read"
LINK = "df05e4b379934cd09963197cc855bfe9"


class Tink:
    """A client of one sandbox at Tink: it mints tokens, reads lists to their ends, and knows no connector."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.base = f"{client.server.url}/tink"
        where = client.server.where()
        assert where["tink_url"] == self.base
        self.credentials: dict[str, str] = where["tink_credentials"]
        listed = client.control("GET", "/customers").json()
        self.connections = [one for one in listed if one["provider"] == "tink"]

    def post(self, path: str, token: str = "", **sent: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        answer: httpx.Response = self.client.http.post(self.base + path, headers=headers, **sent)
        return answer

    def get(self, token: str, path: str, *query: tuple[str, object]) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"}
        answer: httpx.Response = self.client.http.get(self.base + path, params=list(query), headers=headers)
        return answer

    def application(self, scope: str = "authorization:grant") -> str:
        form = {**self.credentials, "grant_type": "client_credentials", "scope": scope}
        answer = self.post("/api/v1/oauth/token", data=form)
        assert answer.json() == {
            "access_token": answer.json()["access_token"],
            "token_type": "bearer",
            "expires_in": 1800,
            "scope": scope,
        }
        return str(answer.json()["access_token"])

    def code(self, place: int, scope: str = SCOPE) -> str:
        form = {"external_user_id": self.connections[place]["secrets"]["external_user_id"], "scope": scope}
        return str(self.post("/api/v1/oauth/authorization-grant", self.application(), data=form).json()["code"])

    def exchange(self, code: str) -> httpx.Response:
        form = {**self.credentials, "grant_type": "authorization_code", "code": code}
        return self.post("/api/v1/oauth/token", data=form)

    def user(self, place: int, scope: str = SCOPE) -> str:
        return str(self.exchange(self.code(place, scope)).json()["access_token"])

    def consent(self, token: str, place: int) -> dict[str, Any]:
        wanted = self.connections[place]["secrets"]["credentials_id"]
        found = self.get(token, "/api/v1/provider-consents").json()["providerConsents"]
        return next(one for one in found if one["credentialsId"] == wanted)

    def all(self, token: str, name: str, *query: tuple[str, object]) -> list[dict[str, Any]]:
        """A list over all its pages."""
        found: list[dict[str, Any]] = []
        page: dict[str, Any] = {"nextPageToken": None}
        while not found or page["nextPageToken"]:
            more = [("pageToken", page["nextPageToken"])] if page["nextPageToken"] else []
            page = self.get(token, f"/data/v2/{name}", *query, *more).json()
            found += page[name]
            if not page[name]:
                break
        return found

    def truth(self, place: int) -> dict[str, Any]:
        told = self.client.control("GET", f"/truth?connection_id={self.connections[place]['connection_id']}")
        assert told.status_code == 200, told.text
        truth: dict[str, Any] = told.json()
        return truth


@pytest.fixture
def tink(client: Any) -> Tink:
    return Tink(client)


@pytest.fixture
def own_tink(own_client: Any) -> Tink:
    return Tink(own_client)


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["errorCode"]


def money(amount: dict[str, Any]) -> Decimal:
    return Decimal(amount["value"]["unscaledValue"]).scaleb(-int(amount["value"]["scale"]))


def test_every_third_customer_has_a_connection_at_tink_with_a_currency_of_its_own(tink: Tink) -> None:
    assert [one["customer_id"][-2:] for one in tink.connections] == ["02", "05", "08", "11"]
    currencies = [{account["currency"] for account in tink.truth(place)["accounts"]} for place in range(4)]
    assert currencies == [{"GBP"}, {"EUR"}, {"EUR"}, {"SEK"}]


def test_oauth_takes_forms_and_user_create_takes_json_and_else_it_is_415(tink: Tink) -> None:
    application = tink.application("authorization:grant,user:create")
    for path in (
        "/api/v1/oauth/token",
        "/api/v1/oauth/authorization-grant",
        "/api/v1/oauth/authorization-grant/delegate",
    ):
        assert refusal(tink.post(path, application, json={})) == (415, "UNSUPPORTED_MEDIA_TYPE")
    user = {"external_user_id": "ann", "market": "GB", "locale": "en_US"}
    assert refusal(tink.post("/api/v1/user/create", application, data=user)) == (415, "UNSUPPORTED_MEDIA_TYPE")
    made = tink.post("/api/v1/user/create", application, json=user)
    assert (made.status_code, list(made.json())) == (200, ["external_user_id", "user_id"])
    assert refusal(tink.post("/api/v1/user/create", application, json=user)) == (409, "USER_ALREADY_EXISTS")
    assert tink.post("/api/v1/user/create", application, json={**user, "market": "XX"}).status_code == 400
    for named in ({"external_user_id": "ann"}, {"user_id": made.json()["user_id"]}):
        grant = tink.post("/api/v1/oauth/authorization-grant", application, data={**named, "scope": SCOPE})
        token = tink.exchange(grant.json()["code"]).json()["access_token"]
        assert tink.get(token, "/api/v1/provider-consents").json() == {"providerConsents": []}
        assert tink.get(token, "/data/v2/accounts").json() == {"accounts": [], "nextPageToken": ""}


def test_a_code_works_once_and_for_known_users_only(tink: Tink) -> None:
    code = tink.code(ALBION)
    assert tink.exchange(code).status_code == 200
    assert refusal(tink.exchange(code)) == (400, "INVALID_CODE")
    form = {"external_user_id": "nobody", "scope": SCOPE}
    application = tink.application()
    path = "/api/v1/oauth/authorization-grant"
    assert refusal(tink.post(path, application, data=form)) == (404, "USER_NOT_FOUND")
    assert tink.post(path, application, data={**form, "user_id": "x"}).status_code == 400
    assert tink.post(path, application, data={"scope": SCOPE}).status_code == 400
    assert refusal(tink.post(path, tink.user(ALBION), data=form)) == (401, "UNAUTHENTICATED")
    assert refusal(tink.post(path, tink.application("user:create"), data=form)) == (403, "MISSING_SCOPE")
    wrong = {**tink.credentials, "client_secret": "x", "grant_type": "client_credentials", "scope": SCOPE}
    assert refusal(tink.post("/api/v1/oauth/token", data=wrong)) == (401, "UNAUTHORIZED")


def test_delegation_needs_the_actor_and_a_hint(tink: Tink) -> None:
    path, application = "/api/v1/oauth/authorization-grant/delegate", tink.application()
    name = tink.connections[ALBION]["secrets"]["external_user_id"]
    form = {"external_user_id": name, "scope": "user:read", "id_hint": "Ann", "actor_client_id": LINK}
    assert tink.post(path, application, data=form).status_code == 200
    assert refusal(tink.post(path, application, data={**form, "actor_client_id": "me"})) == (400, "INVALID_ACTOR")
    assert refusal(tink.post(path, application, data={**form, "id_hint": ""})) == (400, "MISSING_ID_HINT")


def test_tokens_end_after_half_an_hour_and_open_only_their_scopes(own_tink: Tink) -> None:
    tink = own_tink
    user, application = tink.user(ALBION, "accounts:read"), tink.application()
    assert tink.get(user, "/data/v2/accounts").status_code == 200
    assert refusal(tink.get(user, "/data/v2/transactions")) == (403, "MISSING_SCOPE")
    assert refusal(tink.get(application, "/data/v2/accounts")) == (401, "UNAUTHENTICATED")
    assert tink.client.control("POST", "/clock", {"seconds": 1700}).status_code == 200
    assert tink.get(user, "/data/v2/accounts").status_code == 200
    tink.client.control("POST", "/clock", {"seconds": 200})
    assert refusal(tink.get(user, "/data/v2/accounts")) == (401, "UNAUTHENTICATED")


def test_a_consent_has_the_documented_shape_and_a_second_one_shares_an_account(tink: Tink) -> None:
    user = tink.user(ALBION)
    second, first = tink.get(user, "/api/v1/provider-consents").json()["providerConsents"]
    assert first == {
        "credentialsId": tink.connections[ALBION]["secrets"]["credentials_id"],
        "providerName": "gb-albion-ob",
        "status": "UPDATED",
        "statusUpdated": int(datetime(2026, 3, 1, 3, 59, tzinfo=UTC).timestamp() * 1000),
        "sessionExpiryDate": int(datetime(2026, 5, 30, 12, tzinfo=UTC).timestamp() * 1000),
        "sessionExtendable": True,
        "accountIds": [one["id"] for one in tink.truth(ALBION)["accounts"]],
    }
    assert second["accountIds"] == first["accountIds"][:1]
    path = "/api/v1/provider-consents"
    assert tink.get(user, path, ("credentialsId", second["credentialsId"])).json() == {"providerConsents": [second]}


def test_accounts_and_balances_are_those_of_the_truth_at_any_scale(tink: Tink) -> None:
    kinds, scales = set(), set()
    for place in range(4):
        told = {one["id"]: one for one in tink.truth(place)["accounts"] if one["status"] == "open"}
        accounts = tink.all(tink.user(place), "accounts", ("pageSize", 1))
        assert {one["id"] for one in accounts} == set(told)
        for one in accounts:
            kinds.add((one["type"], "balances" in one, "identifiers" in one))
            truth = told[one["id"]]
            found = {name: one.get("balances", {}).get(name) for name in ("booked", "available")}
            for name, amount in zip(found, ("ledger", "available"), strict=True):
                expected = truth["balances"][amount]
                assert (found[name] is None) == (expected is None)
                if expected is not None:
                    assert money(found[name]["amount"]) == Decimal(expected)
                    assert found[name]["amount"]["currencyCode"] == truth["currency"]
            assert one["dates"]["lastRefreshed"][:10] == "2026-03-01"
        for row in tink.all(tink.user(place), "transactions"):
            scales.add(int(row["amount"]["value"]["scale"]))
    assert {kind for kind, _, _ in kinds} == {"CHECKING", "SAVINGS", "CREDIT_CARD"}
    assert {(balances, named) for _, balances, named in kinds} == {(True, True), (True, False), (False, True)}
    assert {3, 2, 1, 0} < scales
    assert min(scales) < 0


def test_the_endpoint_of_balances_has_integers_and_a_scope_of_its_own(tink: Tink) -> None:
    account = tink.truth(ALBION)["accounts"][0]
    path = f"/data/v2/accounts/{account['id']}/balances"
    assert refusal(tink.get(tink.user(ALBION), path)) == (403, "MISSING_SCOPE")
    shown = tink.get(tink.user(ALBION, "accounts.balances:readonly"), path).json()
    value = shown["balances"]["bookedBalance"]["amount"]["value"]
    assert value == {"scale": 2, "unscaledValue": int(Decimal(account["balances"]["ledger"]) * 100)}


def test_pages_hold_at_most_a_hundred_and_any_size_gives_the_same_list(tink: Tink) -> None:
    user = tink.user(FJORDBANKEN)
    far = ("bookedDateLte", "2099-12-31")
    whole = tink.all(user, "transactions", far)
    assert len(whole) > 200
    assert len(tink.get(user, "/data/v2/transactions", far).json()["transactions"]) == 100
    for size in (7, 99):
        assert tink.all(user, "transactions", far, ("pageSize", size)) == whole
    for wrong in (("pageSize", 101), ("pageSize", "many"), ("pageToken", "x"), ("bookedDateGte", "2026-02-30")):
        assert tink.get(user, "/data/v2/transactions", wrong).status_code == 400


def test_accounts_and_statuses_are_repeated_keys_and_both_days_of_a_window_belong_to_it(tink: Tink) -> None:
    user = tink.user(ALBION)
    far = ("bookedDateLte", "2099-12-31")
    whole = tink.all(user, "transactions", far)
    first, second, *_ = [one["id"] for one in tink.truth(ALBION)["accounts"]]
    chosen = tink.all(user, "transactions", far, ("accountIdIn", first), ("accountIdIn", second))
    assert chosen == [row for row in whole if row["accountId"] in {first, second}]
    assert {row["accountId"] for row in chosen} == {first, second}
    assert tink.all(user, "transactions", far, ("accountIdIn", f"{first},{second}")) == []
    pending = tink.all(user, "transactions", far, ("statusIn", "PENDING"))
    assert pending == [row for row in whole if row["status"] == "PENDING"]
    window = tink.all(user, "transactions", ("bookedDateGte", "2026-01-20"), ("bookedDateLte", "2026-02-10"))
    assert window == [row for row in whole if "2026-01-20" <= row["dates"]["booked"] <= "2026-02-10"]


def test_pending_rows_are_expected_in_the_future_and_not_shown_without_a_far_end(tink: Tink) -> None:
    user = tink.user(ALBION)
    whole = tink.all(user, "transactions", ("bookedDateLte", "2099-12-31"))
    pending = {row["dates"]["booked"] for row in whole if row["status"] == "PENDING"}
    assert min(pending) > TODAY.isoformat()
    assert {row["status"] for row in tink.all(user, "transactions")} == {"BOOKED"}


def test_one_bank_shows_no_booked_date_and_one_no_balances_by_the_documented_absence(tink: Tink) -> None:
    rows = tink.all(tink.user(RIBEIRA), "transactions")
    assert {tuple(sorted(row["dates"])) for row in rows} == {("transaction", "value")}
    assert all("balances" not in one for one in tink.all(tink.user(RIBEIRA), "accounts"))
    assert {name for account in tink.truth(RIBEIRA)["accounts"] for name in account["streams"]} == {"transactions"}


def test_a_refresh_is_accepted_shows_in_the_consent_later_and_too_many_are_429(own_tink: Tink) -> None:
    tink = own_tink
    user = tink.user(RHEINBANK, f"{SCOPE},credentials:refresh")
    path = f"/api/v1/credentials/{tink.connections[RHEINBANK]['secrets']['credentials_id']}/refresh"
    before = tink.consent(user, RHEINBANK)
    assert (tink.post(path, user).status_code, tink.post(path, user).status_code) == (204, 429)
    during, after = tink.consent(user, RHEINBANK), tink.consent(user, RHEINBANK)
    assert (before["status"], during["status"], after["status"]) == ("UPDATED", "UPDATING", "UPDATED")
    assert after["statusUpdated"] == before["statusUpdated"] + 3600_000
    assert tink.all(user, "accounts")[0]["dates"]["lastRefreshed"] == "2026-03-01T04:56:00Z"
    for _ in range(3):
        assert tink.post(path, user).status_code == 204
        tink.consent(user, RHEINBANK)
    assert refusal(tink.post(path, user)) == (429, "INVALID_STATE_REFRESH_CREDENTIALS_RATE_LIMITED")
    other = tink.user(ALBION, "credentials:refresh")
    assert refusal(tink.post(path, other)) == (404, "CREDENTIALS_NOT_FOUND")


@pytest.mark.parametrize(
    ("reason", "status", "why"),
    [
        ("credentials_invalid", "AUTHENTICATION_ERROR", "STATIC_CREDENTIALS_INCORRECT"),
        ("account_locked", "AUTHENTICATION_ERROR", "USER_BLOCKED"),
        ("user_action.mfa_required", "AWAITING_SUPPLEMENTAL_INFORMATION", None),
        ("user_action.web_login_required", "SESSION_EXPIRED", "SESSION_EXPIRED"),
        ("TEMPORARY_ERROR", "TEMPORARY_ERROR", "PROVIDER_UNAVAILABLE"),
        ("PERMANENT_ERROR", "PERMANENT_ERROR", None),
    ],
)
def test_a_broken_consent_says_so_and_goes_on_showing_old_data_with_200(
    own_tink: Tink, reason: str, status: str, why: str | None
) -> None:
    tink = own_tink
    path = f"/enrollments/{tink.connections[ALBION]['connection_id']}"
    before = tink.all(tink.user(ALBION), "transactions"), tink.all(tink.user(ALBION), "accounts")
    assert tink.client.control("POST", f"{path}/disconnect", {"reason": reason}).status_code == 204
    tink.client.control("POST", "/clock", {"days": 9})
    user = tink.user(ALBION)
    consent = tink.consent(user, ALBION)
    assert (consent["status"], consent.get("detailedError", {}).get("details", {}).get("reason")) == (status, why)
    far = ("bookedDateLte", "2026-03-01")
    assert (tink.all(user, "transactions", far), tink.all(user, "accounts")) == before
    assert tink.truth(ALBION)["state"] == "disconnected"
    assert {one["provider"] for one in tink.connections} == {"tink"}
    assert tink.client.truth(1)["state"] == "active"
    tink.client.control("POST", f"{path}/repair")
    assert tink.consent(user, ALBION)["status"] == "UPDATED"
    assert tink.all(user, "accounts") != before[1]


def test_a_session_that_ran_out_still_says_updated_until_somebody_refreshes(own_tink: Tink) -> None:
    tink = own_tink
    path = f"/enrollments/{tink.connections[ALBION]['connection_id']}"
    tink.client.control("POST", f"{path}/disconnect")
    tink.client.control("POST", "/clock", {"days": 2})
    user = tink.user(ALBION, f"{SCOPE},credentials:refresh")
    consent = tink.consent(user, ALBION)
    assert (consent["status"], consent["sessionExpiryDate"]) == (
        "UPDATED",
        int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp() * 1000),
    )
    tink.post(f"/api/v1/credentials/{consent['credentialsId']}/refresh", user)
    assert [tink.consent(user, ALBION)["status"] for _ in range(2)] == ["UPDATING", "SESSION_EXPIRED"]


def test_deleting_a_consent_takes_it_off_the_list(own_tink: Tink) -> None:
    tink = own_tink
    user = tink.user(RHEINBANK, f"{SCOPE},credentials:write")
    secrets = tink.connections[RHEINBANK]["secrets"]
    url, headers = f"{tink.base}/api/v1/credentials/{secrets['credentials_id']}", {"authorization": f"Bearer {user}"}
    assert [tink.client.http.delete(url, headers=headers).status_code for _ in range(2)] == [204, 404]
    assert tink.get(user, "/api/v1/provider-consents").json() == {"providerConsents": []}


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        ("missing_id", lambda one: "id" not in one),
        ("missing_amount", lambda one: "amount" not in one),
        ("nan", lambda one: one["amount"]["value"]["unscaledValue"] == "NaN"),
        ("1e400", lambda one: one["amount"]["value"]["scale"] == "-400"),
        ("nine_decimals", lambda one: one["amount"]["value"]["scale"] == "9"),
        ("february_30", lambda one: one["dates"]["booked"] == "2026-02-30"),
        ("nul", lambda one: one["descriptions"]["original"].startswith("NUL\0")),
        ("wrong_type", lambda one: one["amount"] == [12]),
        ("shared_id", lambda one: len(one["id"]) == 32),
    ],
)
def test_a_bad_row_comes_first_before_the_true_ones(tink: Tink, row: str, wrong: Callable[[Any], bool]) -> None:
    user = tink.user(ALBION)
    true = tink.get(user, "/data/v2/transactions").json()
    tink.client.fault(kind="bad_row", row=row, path="/data/v2/transactions")
    bad, *others = tink.get(user, "/data/v2/transactions").json()["transactions"]
    assert wrong(bad)
    assert others == true["transactions"]


def test_faults_speak_tinks_words_and_endless_pages_repeat_their_token(tink: Tink) -> None:
    user = tink.user(ALBION)
    tink.client.fault(kind="rate_limited", path="/data/v2/accounts", retry_after=3, times=1)
    answer = tink.get(user, "/data/v2/accounts")
    assert (refusal(answer), answer.headers["retry-after"]) == ((429, "RATE_LIMIT_EXCEEDED"), "3")
    tink.client.fault(kind="endless_page", path="/data/v2/transactions")
    pages = [tink.get(user, "/data/v2/transactions", ("pageToken", token)).json() for token in ("a", "b")]
    assert pages[0] == pages[1]
    assert pages[0]["nextPageToken"]


class Reader:
    """A frugal client of one consent: it asks for an account only when it was refreshed, thirty days back."""

    def __init__(self, tink: Tink, place: int) -> None:
        self.tink = tink
        self.place = place
        self.held: dict[str, dict[str, dict[str, Any]]] = {}
        self.refreshed: dict[str, str] = {}
        self.read_on: dict[str, date] = {}

    def read(self, today: date) -> bool:
        """Read what is new today; False when the consent is over."""
        user = self.tink.user(self.place)
        consent = self.tink.consent(user, self.place)
        expiry = datetime.fromtimestamp(consent["sessionExpiryDate"] / 1000, UTC).date()
        if consent["status"] != "UPDATED" or expiry < today:
            return False
        for account in self.tink.all(user, "accounts"):
            name, refreshed = account["id"], account["dates"]["lastRefreshed"]
            if name not in consent["accountIds"] or self.refreshed.get(name) == refreshed:
                continue
            held = self.held.setdefault(name, {})
            query: list[tuple[str, object]] = [("accountIdIn", name), ("bookedDateLte", "2099-12-31")]
            since = date.min
            if name in self.read_on:
                pending = (row["date"] for row in held.values() if row["status"] == "pending")
                since = min([self.read_on[name] - timedelta(days=30), *map(date.fromisoformat, pending)])
                query.append(("bookedDateGte", since))
            shown = self.tink.all(user, "transactions", *query)
            for gone in [one for one, row in held.items() if row["date"] >= since.isoformat()]:
                del held[gone]
            held.update({row["id"]: _like_truth(row) for row in shown})
            self.refreshed[name], self.read_on[name] = refreshed, today
        return True


def _like_truth(row: dict[str, Any]) -> dict[str, Any]:
    parties = [one["name"] for one in row.get("counterparties", {}).values()]
    return {
        "id": row["id"],
        "date": row["dates"].get("booked", row["dates"]["value"]),
        "status": "pending" if row["status"] == "PENDING" else "posted",
        "amount": f"{money(row['amount']):.2f}",
        "currency": row["amount"]["currencyCode"],
        "description": row["descriptions"]["original"],
        "type": row["types"]["type"],
        "category": row["categories"]["pfm"]["id"] if "categories" in row else None,
        "counterparty": parties[0] if parties else None,
    }


def test_a_frugal_client_holds_the_truth_on_each_of_seventy_days(own_tink: Tink) -> None:
    tink, client = own_tink, own_tink.client
    readers = [Reader(tink, place) for place in range(4)]
    seen, reissued = set(), set()
    for number in range(70):
        today = date.fromisoformat(client.control("POST", "/clock", {"days": 1}).json()["today"])
        for reader in readers:
            before = {one: row for rows in reader.held.values() for one, row in rows.items()}
            sound = reader.read(today)
            truth = tink.truth(reader.place)
            assert truth["state"] == ("active" if sound else "disconnected")
            assert reader.held == {
                one["id"]: {row["id"]: row for row in one["transactions"]}
                for one in truth["accounts"]
                if one["as_of"] is not None
            }
            after = {one for rows in reader.held.values() for one in rows}
            reissued |= {row["status"] for one, row in before.items() if one not in after}
            seen |= {one["status"] for one in truth["accounts"]} | {truth["state"]}
            if not sound and number % 5 == 0:
                client.control("POST", f"/enrollments/{tink.connections[reader.place]['connection_id']}/repair")
        if number == 30:
            client.control("DELETE", "/requests")
            for reader in readers:
                reader.read(today)
            asked = client.control("GET", "/requests").json()["routes"]
            assert "GET /tink/data/v2/transactions" not in asked
    assert seen == {"open", "closed", "active", "disconnected"}
    assert reissued == {"pending"}
