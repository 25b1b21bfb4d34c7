"""GoCardless' protocol: tokens, consent, budgets, rows of any identity, and how errors look."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

import sandbox

TODAY = date(2026, 3, 1)
KINGSWELL, COPPERFIELD, EUROCARD, SANDBOX, COPPERFIELD_2, LUNDGREN = 1, 2, 4, 5, 7, 8
"""The customer of this index is at this bank."""


def sign_in(user: str) -> dict[str, str]:
    """The form of who signs in and allows it."""
    return {"user": user, "password": "password", "decision": "allow"}


class Api:
    """Plain HTTP to GoCardless as the application, and to the control endpoints."""

    def __init__(self, server: sandbox.Server) -> None:
        self.where = server.where()
        self.url = self.where["gocardless_url"]
        self.http = httpx.Client(timeout=30)
        told = self.http.get(f"{self.where['control_url']}/customers").json()
        self.customers = {int(one["customer_id"][-5:]) - 1: one for one in told if one["provider"] == "gocardless"}
        self.pair: dict[str, Any] = self.post("/token/new/", self.where["gocardless_credentials"]).json()
        self.access: str = self.pair["access"]

    def post(self, path: str, body: object) -> httpx.Response:
        return self.http.post(self.url + path, json=body, headers=self._auth())

    def get(self, path: str, **query: object) -> httpx.Response:
        return self.http.get(self.url + path, params={k: str(v) for k, v in query.items()}, headers=self._auth())

    def _auth(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.access}"} if hasattr(self, "access") else {}

    def control(self, method: str, path: str, body: object = None) -> Any:
        answer = self.http.request(method, self.where["control_url"] + path, json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def move(self, days: int = 1) -> str:
        """Another day: yesterday's access token is over, the refresh token is not."""
        today: str = self.control("POST", "/clock", {"days": days})["today"]
        self.access = self.post("/token/refresh/", {"refresh": self.pair["refresh"]}).json()["access"]
        return today

    def requisition(self, customer: int) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/requisitions/{self.customers[customer]['connection_id']}/").json()
        return found

    def accounts(self, customer: int) -> list[str]:
        found: list[str] = self.requisition(customer)["accounts"]
        return found

    def transactions(self, account: str, **query: object) -> dict[str, Any]:
        answer = self.get(f"/accounts/{account}/transactions/", **query)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()["transactions"]
        return found

    def truth(self, customer: int) -> dict[str, Any]:
        found: dict[str, Any] = self.control("GET", f"/truth?token={self.customers[customer]['connection_id']}")
        return found


@pytest.fixture
def api() -> Iterator[Api]:
    """A client of a sandbox of its own."""
    world = sandbox.World.of(seed=1, customers=12, years=1, today=TODAY)
    with sandbox.Server(world, sandbox.Clock(TODAY)) as server:
        client = Api(server)
        with closing(client.http):
            yield client


def refusal(answer: httpx.Response) -> tuple[int, str, str | None]:
    told = answer.json()
    assert told["status_code"] == answer.status_code
    return answer.status_code, told["summary"], told.get("type")


def test_tokens_come_as_a_pair_are_refreshed_and_end_with_the_day(api: Api) -> None:
    assert (api.pair["access_expires"], api.pair["refresh_expires"]) == (86400, 2592000)
    wrong = api.post("/token/new/", api.where["gocardless_credentials"] | {"secret_key": "x"})
    assert refusal(wrong) == (401, "Authentication failed", None)
    assert api.post("/token/new/", {}).json() == {
        "secret_id": {"summary": "This field is required.", "detail": "This field is required."},
        "status_code": 400,
    }
    api.control("POST", "/clock", {"days": 1})
    assert refusal(api.get("/institutions/")) == (401, "Invalid token", None)
    renewed = api.post("/token/refresh/", {"refresh": api.pair["refresh"]}).json()
    assert set(renewed) == {"access", "access_expires"}
    api.access = renewed["access"]
    assert api.get("/institutions/").status_code == 200
    api.control("POST", "/clock", {"days": 30})
    assert refusal(api.post("/token/refresh/", {"refresh": api.pair["refresh"]})) == (401, "Invalid token", None)


def test_a_path_without_its_last_slash_is_nowhere(api: Api) -> None:
    for path in ("/institutions", "/token/new", f"/accounts/{api.accounts(SANDBOX)[0]}/balances"):
        assert refusal(api.get(path)) == (404, "Not found.", None)


def test_institutions_write_their_days_as_text(api: Api) -> None:
    assert {one["id"] for one in api.get("/institutions/", country="gb").json()} == {
        "KINGSWELL_KGWLGB21",
        "COPPERFIELD_CPFDGB22",
    }
    assert api.get("/institutions/SANDBOXFINANCE_SFIN0000/").json() == {
        "id": "SANDBOXFINANCE_SFIN0000",
        "name": "Sandbox Finance",
        "bic": "SFIN0000",
        "transaction_total_days": "730",
        "max_access_valid_for_days": "180",
        "countries": ["DE", "DE"],
        "logo": "https://cdn-logos.gocardless.com/ais/SANDBOXFINANCE_SFIN0000.png",
    }
    assert refusal(api.get("/institutions/x/")) == (404, "Not found.", None)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"institution_id": "KINGSWELL_KGWLGB21", "access_valid_for_days": 180}, "access_valid_for_days"),
        ({"institution_id": "KINGSWELL_KGWLGB21", "max_historical_days": 731}, "max_historical_days"),
        ({"institution_id": "EUROCARD_SE_SKHSFI21", "access_scope": ["balances"]}, "access_scope"),
        ({"institution_id": "KINGSWELL_KGWLGB21", "access_scope": ["payments"]}, "access_scope"),
        ({"institution_id": "x"}, "institution_id"),
    ],
)
def test_an_agreement_that_a_bank_does_not_grant_is_a_field_error(api: Api, asked: Any, field: str) -> None:
    answer = api.post("/agreements/enduser/", asked)
    assert (answer.status_code, set(answer.json())) == (400, {field, "status_code"})


def test_a_requisition_is_made_followed_once_and_deleted(api: Api) -> None:
    agreement = api.post("/agreements/enduser/", {"institution_id": "COPPERFIELD_CPFDGB22", "max_historical_days": 90})
    assert (agreement.status_code, agreement.json()["accepted"]) == (201, None)
    asked = {
        "redirect": "http://127.0.0.1:9/back?x=1",
        "institution_id": "COPPERFIELD_CPFDGB22",
        "agreement": agreement.json()["id"],
        "reference": "mine",
    }
    made = api.post("/requisitions/", asked).json()
    assert (made["status"], made["accounts"], api.post("/requisitions/", asked).status_code) == ("CR", [], 400)
    path = f"/requisitions/{made['id']}/"
    assert api.http.get(made["link"]).status_code == 200
    assert (api.get(path).json()["status"], api.get(path).json()["accounts"]) == ("GC", [])
    followed = api.http.post(made["link"], data=sign_in("customer-00008"))
    assert (followed.status_code, followed.headers["location"]) == (303, "http://127.0.0.1:9/back?x=1&ref=mine")
    linked = api.get(path).json()
    assert (linked["status"], linked["accounts"]) == ("LN", api.accounts(COPPERFIELD_2))
    assert api.get(f"/agreements/enduser/{made['agreement']}/").json()["accepted"].startswith("2026-03-01")
    assert "error=RequisitionLinkReused" in api.http.get(made["link"]).headers["location"]
    assert api.http.delete(api.url + path, headers=api._auth()).json()["summary"] == "Requisition deleted"
    assert (api.get(path).status_code, api.get(f"/agreements/enduser/{made['agreement']}/").status_code) == (404, 404)

    declined = api.post("/requisitions/", {**asked, "reference": "other", "agreement": None}).json()
    cancelled = api.http.post(declined["link"], data={"decision": "cancel"})
    assert "error=UserCancelledSession" in cancelled.headers["location"]
    assert api.get(f"/requisitions/{declined['id']}/").json()["status"] == "RJ"


def test_requisitions_are_listed_in_pages(api: Api) -> None:
    whole = api.get("/requisitions/").json()
    assert (whole["count"], whole["next"], whole["previous"]) == (8, None, None)
    page = api.get("/requisitions/", limit=5).json()
    rest = api.http.get(page["next"], headers=api._auth()).json()
    assert page["results"] + rest["results"] == whole["results"]


def test_each_account_and_endpoint_has_four_answers_a_day_by_the_real_header_names(api: Api) -> None:
    account = api.accounts(SANDBOX)[0]
    for left in (3, 2, 1, 0):
        answer = api.get(f"/accounts/{account}/balances/")
        assert {name: value for name, value in answer.headers.items() if name.startswith("http_")} == {
            "http_x_ratelimit_limit": "100",
            "http_x_ratelimit_remaining": "99",
            "http_x_ratelimit_reset": "59",
            "http_x_ratelimit_account_success_limit": "4",
            "http_x_ratelimit_account_success_remaining": str(left),
            "http_x_ratelimit_account_success_reset": "86307",
        }
    refused = api.get(f"/accounts/{account}/balances/")
    assert refusal(refused) == (429, "Rate limit exceeded", None)
    assert "in 86307 seconds" in refused.json()["detail"]
    assert refused.headers["http_x_ratelimit_account_success_remaining"] == "0"
    assert api.get(f"/accounts/{account}/transactions/").status_code == 200
    for _ in range(6):
        assert api.get(f"/accounts/{account}/").status_code == 200
    api.move()
    assert api.get(f"/accounts/{account}/balances/").status_code == 200


def test_rows_have_an_id_of_their_own_a_blank_one_one_of_many_or_none(api: Api) -> None:
    seen: dict[str, Counter[str]] = {}
    for name, customer in {"kingswell": KINGSWELL, "copperfield": COPPERFIELD, "lundgren": LUNDGREN}.items():
        rows = api.transactions(api.accounts(customer)[0])["booked"]
        assert [row for row in rows if "internalTransactionId" in row] == []
        seen[name] = Counter(row.get("transactionId", "missing") for row in rows)
    assert [seen["kingswell"][" "] > 9, seen["copperfield"]["9998"] > 9, seen["lundgren"]["missing"] > 9] == [True] * 3
    rows = api.transactions(api.accounts(SANDBOX)[0])["booked"]
    assert len({row["internalTransactionId"] for row in rows}) == len(rows)
    assert any(row["transactionId"] != row["transactionId"].strip() for row in rows)


def test_banks_differ_in_dates_exchange_and_pending(api: Api) -> None:
    lundgren = api.transactions(api.accounts(LUNDGREN)[0])["booked"]
    assert {name for row in lundgren for name in row if "Date" in name} == {"bookingDateTime", "valueDateTime"}
    assert {type(row["currencyExchange"]) for row in lundgren if "currencyExchange" in row} == {dict, list}
    pending = api.transactions(api.accounts(KINGSWELL)[2])["pending"]
    assert all(row["bookingDate"] > TODAY.isoformat() and "transactionId" not in row for row in pending)
    assert pending


def test_a_range_bounds_the_booked_rows_only(api: Api) -> None:
    account = api.accounts(SANDBOX)[0]
    whole = api.transactions(account)
    some = api.transactions(account, date_from="2026-02-01", date_to="2026-02-20")
    assert some["booked"] == [row for row in whole["booked"] if "2026-02-01" <= row["bookingDate"] <= "2026-02-20"]
    assert some["pending"] == whole["pending"]
    for wrong in ({"date_from": "2026-02-30"}, {"date_from": "2026-02-02", "date_to": "2026-02-01"}):
        answer = api.get(f"/accounts/{account}/transactions/", **wrong)
        assert (answer.status_code, set(answer.json())) == (400, {"date_from", "status_code"})


def test_balances_may_be_of_several_dates_and_currencies_turned_or_none(api: Api) -> None:
    def listed(customer: int) -> list[tuple[str, str, str]]:
        rows = api.get(f"/accounts/{api.accounts(customer)[0]}/balances/").json()["balances"]
        return [(one["balanceType"], one["balanceAmount"]["currency"], one["balanceAmount"]["amount"]) for one in rows]

    def told(customer: int) -> dict[str, Any]:
        found: dict[str, Any] = api.truth(customer)["accounts"][0]["balances"]
        return found

    assert listed(COPPERFIELD) == []
    assert [one[:2] for one in listed(SANDBOX)] == [
        ("interimAvailable", "EUR"), ("interimAvailable", "EUR"), ("interimBooked", "EUR"), ("information", "EUR"),
    ]  # fmt: skip
    assert listed(LUNDGREN)[0] == ("interimBooked", "EUR", "1234.56")
    assert listed(LUNDGREN)[1] == ("expected", "SEK", told(LUNDGREN)["ledger"])
    assert Decimal(listed(EUROCARD)[0][2]) == -Decimal(told(EUROCARD)["ledger"])


@pytest.mark.parametrize(
    ("reason", "status", "account_status", "refused"),
    [
        ("account_locked", "SU", "SUSPENDED", (409, "Account suspended", None)),
        ("credentials_invalid", "EX", "EXPIRED", (401, "Couldn't update account transactions", "AccessExpiredError")),
        (
            "user_action.mfa_required",
            "LN",
            "READY",
            (401, "Couldn't update account transactions", "AccessExpiredError"),
        ),
    ],
)
def test_a_broken_connection_says_so_each_in_its_way_and_heals(
    api: Api, reason: str, status: str, account_status: str, refused: Any
) -> None:
    connection, account = api.customers[SANDBOX]["connection_id"], api.accounts(SANDBOX)[0]
    api.control("POST", f"/enrollments/{connection}/disconnect", {"reason": reason})
    assert api.requisition(SANDBOX)["status"] == status
    assert api.get(f"/accounts/{account}/").json()["status"] == account_status
    for stream in ("balances", "details", "transactions"):
        assert refusal(api.get(f"/accounts/{account}/{stream}/")) == refused
    api.control("POST", f"/enrollments/{connection}/repair")
    assert (api.requisition(SANDBOX)["status"], api.get(f"/accounts/{account}/details/").status_code) == ("LN", 200)


def test_an_agreement_that_is_over_ended_after_the_last_readable_day(api: Api) -> None:
    connection, account = api.customers[SANDBOX]["connection_id"], api.accounts(SANDBOX)[0]
    api.control("POST", f"/enrollments/{connection}/disconnect", {"reason": "enrollment_inactive"})
    api.move()
    agreement = api.get(f"/agreements/enduser/{api.requisition(SANDBOX)['agreement']}/").json()
    accepted = date.fromisoformat(agreement["accepted"][:10])
    assert accepted + timedelta(agreement["access_valid_for_days"]) == TODAY + timedelta(1)
    status, summary, kind = refusal(api.get(f"/accounts/{account}/transactions/"))
    assert (status, summary[:26], kind) == (401, "End User Agreement (EUA) " + summary[25], None)


def test_a_closed_account_is_inactive_and_faults_speak_gocardless(api: Api) -> None:
    first, second = api.accounts(SANDBOX)[:2]
    api.control("POST", f"/accounts/{first}/close")
    inactive = (401, "Couldn't update account balances", "AccountInactiveError")
    assert refusal(api.get(f"/accounts/{first}/balances/")) == inactive
    connection = api.customers[SANDBOX]["connection_id"]
    faults = {
        "rate_limited": (429, "Couldn't update account transactions", "RateLimitError"),
        "error": (503, "Couldn't update account transactions", "ServiceError"),
        "disconnected": (401, "Couldn't update account transactions", "AccessExpiredError"),
        "account_closed": inactive,
    }
    for kind, expected in faults.items():
        status = {"status": 503} if kind == "error" else {}
        fault = {"kind": kind, "times": 1, "token": connection, "path": "*/balances/", **status}
        api.control("POST", "/faults", fault)
        assert api.get(f"/accounts/{api.accounts(KINGSWELL)[0]}/").status_code == 200
        assert refusal(api.get(f"/accounts/{second}/balances/")) == expected
        assert api.get(f"/accounts/{second}/details/").status_code in (200, 429)
    for row, broken in {"nan": "NaN", "1e400": "1e400", "nine_decimals": "12.123456789"}.items():
        api.control("POST", "/faults", {"kind": "bad_row", "row": row, "times": 1, "path": "*/transactions/"})
        assert api.transactions(second)["booked"][0]["transactionAmount"]["amount"] == broken
    routes = api.control("GET", "/requests")["routes"]
    assert routes["GET /gocardless/accounts/{id}/transactions/"] == 3


def test_the_official_client_reads_and_connects(api: Api) -> None:
    import nordigen

    client = nordigen.NordigenClient(**api.where["gocardless_credentials"], base_url=api.url)
    assert set(client.generate_token()) == {"access", "access_expires", "refresh", "refresh_expires"}
    assert len(client.institution.get_institutions("SE")) == 2
    requisition = client.requisition.get_requisition_by_id(api.customers[SANDBOX]["connection_id"])
    account = client.account_api(id=requisition["accounts"][0])
    assert account.get_metadata()["status"] == "READY"
    assert account.get_details()["account"]["currency"] == "EUR"
    assert len(account.get_balances()["balances"]) == 4
    assert account.get_transactions(date_from="2026-02-01")["transactions"]["booked"]
    session = client.initialize_session(
        redirect_uri="http://127.0.0.1:9/",
        institution_id="COPPERFIELD_CPFDGB22",
        reference_id="r",
        max_historical_days=90,
    )
    assert api.http.post(session.link, data=sign_in("customer-00003")).status_code == 303
    assert client.requisition.get_requisition_by_id(session.requisition_id)["status"] == "LN"


class Reader:
    """A frugal client of one customer: one request for transactions and one for balances, an account and day."""

    def __init__(self, api: Api, customer: int) -> None:
        self.api = api
        self.customer = customer
        self.booked: dict[str, list[dict[str, Any]]] = {}
        self.pending: dict[str, list[dict[str, Any]]] = {}
        self.read_on: dict[str, str] = {}

    def read(self, today: str) -> str:
        """Read what can be read today; the state in which the connection was found."""
        requisition = self.api.requisition(self.customer)
        agreement = self.api.get(f"/agreements/enduser/{requisition['agreement']}/").json()
        over = date.fromisoformat(agreement["accepted"][:10]) + timedelta(agreement["access_valid_for_days"])
        for account in requisition["accounts"]:
            self.booked.setdefault(account, [])
            self.pending.setdefault(account, [])
        if requisition["status"] != "LN" or over <= date.fromisoformat(today):
            return "disconnected"
        for account in requisition["accounts"]:
            since = "2000-01-01"
            if account in self.read_on:
                since = (date.fromisoformat(self.read_on[account]) - timedelta(14)).isoformat()
            answer = self.api.get(f"/accounts/{account}/transactions/", date_from=since)
            if answer.status_code == 401 and answer.json().get("type") == "AccessExpiredError":
                return "disconnected"
            if answer.status_code == 401:
                continue
            shown = answer.json()["transactions"]
            kept = [row for row in self.booked[account] if _day(row) < since]
            self.booked[account], self.pending[account] = shown["booked"] + kept, shown["pending"]
            self.read_on[account] = today
        return "active"

    def like_truth(self, account: str) -> Counter[tuple[Any, ...]]:
        """What is held of an account, in the truth's words."""
        eurocard = self.customer == EUROCARD
        return Counter(
            (
                row.get("internalTransactionId") if status == "posted" else None,
                _day(row),
                status,
                Decimal(row["transactionAmount"]["amount"]) * (-1 if eurocard else 1),
                row["transactionAmount"]["currency"],
                row["remittanceInformationUnstructured"],
                row["proprietaryBankTransactionCode"],
                row.get("creditorName") or row.get("debtorName"),
            )
            for status, rows in (("posted", self.booked[account]), ("pending", self.pending[account]))
            for row in rows
        )


def _day(row: dict[str, Any]) -> str:
    day: str = next(row[name] for name in ("bookingDate", "bookingDateTime", "valueDate") if name in row)[:10]
    return day


def test_a_frugal_client_that_reads_once_a_day_holds_the_truth_each_day(api: Api) -> None:
    readers = [Reader(api, customer) for customer in (1, 2, 4, 5, 7, 8, 10)]
    seen = set()
    for _ in range(30):
        today = api.move()
        if int(today[-2:]) % 20 == 0:
            api.pair = api.post("/token/new/", api.where["gocardless_credentials"]).json()
        for reader in readers:
            state, truth = reader.read(today), api.truth(reader.customer)
            assert truth["state"] == state
            for account in truth["accounts"]:
                assert reader.like_truth(account["id"]) == Counter(
                    (
                        one["id"],
                        one["date"],
                        one["status"],
                        Decimal(one["amount"]),
                        one["currency"],
                        one["description"],
                        one["type"],
                        one["counterparty"],
                    )
                    for one in account["transactions"]
                ), (reader.customer, account["name"], today)
            seen.add(state)
    assert seen == {"active", "disconnected"}
