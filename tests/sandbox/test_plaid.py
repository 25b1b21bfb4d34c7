"""Plaid's protocol: who may ask, the loop of changes, ranges, errors; and a frugal client that holds the truth each day."""

from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

import sandbox

TODAY = date(2026, 3, 1)
DAYS = 30
CASCADE, SIERRA, COINHARBOR = 0, 2, 3
"""The customer of this index is at this institution."""


class Client:
    """Plain HTTP to one sandbox: the control endpoints, and Plaid as the application."""

    def __init__(self, server: sandbox.Server) -> None:
        self.http = httpx.Client(timeout=30)
        self.where = server.where()
        told = self.control("GET", "/customers").json()
        self.customers = {int(one["customer_id"][-5:]) - 1: one for one in told if one["provider"] == "plaid"}

    def control(self, method: str, path: str, body: object = None) -> httpx.Response:
        """One request to a control endpoint; a body is sent as JSON."""
        return self.http.request(method, self.where["control_url"] + path, json=body)

    def ask(self, path: str, **body: object) -> httpx.Response:
        """One request as the application."""
        keys = self.where["plaid_credentials"]
        headers = {"PLAID-CLIENT-ID": keys["client_id"], "PLAID-SECRET": keys["secret"]}
        return self.http.post(self.where["plaid_url"] + path, json=body, headers=headers)

    def post(self, customer: int, path: str, **body: object) -> dict[str, Any]:
        """What an Item answers."""
        answer = self.ask(path, access_token=self.token(customer), **body)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json(parse_float=Decimal)
        return told

    def refusal(self, customer: int, path: str, **body: object) -> tuple[int, str, str]:
        """How an Item refuses: status, type and code."""
        return told(self.ask(path, access_token=self.token(customer), **body))

    def token(self, customer: int) -> str:
        token: str = self.customers[customer]["secrets"]["access_token"]
        return token

    def truth(self, customer: int) -> dict[str, Any]:
        """What a perfect client holds of this customer."""
        found: dict[str, Any] = self.control("GET", f"/truth?token={self.token(customer)}").json()
        return found


def told(answer: httpx.Response) -> tuple[int, str, str]:
    error = answer.json()
    return answer.status_code, error["error_type"], error["error_code"]


@pytest.fixture(scope="module")
def _plaid() -> Iterator[sandbox.Server]:
    world = sandbox.World.of(seed=1, customers=12, years=1, today=TODAY)
    with sandbox.Server(world, sandbox.Clock(TODAY)) as server:
        yield server


@pytest.fixture
def plaid(_plaid: sandbox.Server) -> Iterator[Client]:
    """A client of a sandbox that others use too: it may set faults and clock, not break or close anything."""
    client = Client(_plaid)
    client.control("DELETE", "/requests")
    with closing(client.http):
        yield client
        client.control("DELETE", "/faults")
        client.control("POST", "/clock", {"today": TODAY.isoformat()})


@pytest.fixture
def own_plaid() -> Iterator[Client]:
    world = sandbox.World.of(seed=1, customers=12, years=1, today=TODAY)
    with sandbox.Server(world, sandbox.Clock(TODAY)) as server:
        client = Client(server)
        with closing(client.http):
            yield client


class Item:
    """A frugal client of one Item: one loop a day from its cursor; what a loop tells counts when it has ended."""

    def __init__(self, client: Client, customer: int, count: int = 500) -> None:
        self.client, self.customer, self.count = client, customer, count
        self.held: dict[str, dict[str, Any]] = {}
        self.kinds: dict[str, str] = {}
        self.cursor: str | None = None
        self.twice = 0
        """How many rows were added and removed in one loop."""

    def sync(self) -> str | None:
        """Read what changed; the code of a refusal."""
        held, cursor, added = dict(self.held), self.cursor, set()
        while True:
            order = {"count": self.count} | ({"cursor": cursor} if cursor else {})
            answer = self.client.ask("/transactions/sync", access_token=self.client.token(self.customer), **order)
            if answer.status_code != 200:
                code: str = answer.json()["error_code"]
                return code
            page = answer.json(parse_float=Decimal)
            for row in page["added"]:
                assert row["transaction_id"] not in held
                added.add(row["transaction_id"])
                held[row["transaction_id"]] = row
            for row in page["modified"]:
                assert row["transaction_id"] in held
                held[row["transaction_id"]] = row
            for row in page["removed"]:
                self.twice += row["transaction_id"] in added
                del held[row["transaction_id"]]
            cursor = page["next_cursor"]
            if not page["has_more"]:
                self.held, self.cursor = held, cursor
                return None

    def like_truth(self) -> dict[str, list[dict[str, Any]]]:
        """What it holds, as the truth tells it."""
        accounts: dict[str, list[dict[str, Any]]] = {}
        for row in self.held.values():
            category = row["personal_finance_category"]
            accounts.setdefault(row["account_id"], []).append(
                {
                    "id": row["transaction_id"],
                    "date": row["date"],
                    "status": "pending" if row["pending"] else "posted",
                    "amount": f"{-Decimal(row['amount']):.2f}",
                    "currency": row["iso_currency_code"] or row["unofficial_currency_code"],
                    "description": row["name"],
                    "type": row["transaction_code"],
                    "category": category and category["primary"],
                    "counterparty": row["merchant_name"],
                }
            )
        return {account: sorted(rows, key=lambda row: row["id"]) for account, rows in accounts.items()}


def true_rows(truth: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    return {
        account["id"]: sorted(account["transactions"], key=lambda row: row["id"])
        for account in truth["accounts"]
        if account["transactions"]
    }


def test_a_client_that_reads_the_changes_of_each_day_holds_the_truth_each_day(own_plaid: Client) -> None:
    client = own_plaid
    items = [Item(client, customer, count) for customer, count in ((0, 500), (2, 7), (3, 500), (5, 500), (11, 100))]
    seen = set()
    for day in range(DAYS):
        client.control("POST", "/clock", {"days": 1})
        for item in items:
            refused = item.sync()
            truth = client.truth(item.customer)
            assert truth["state"] == ("disconnected" if refused else "active")
            assert item.like_truth() == true_rows(truth)
            seen |= {account["status"] for account in truth["accounts"]} | {truth["state"]}
            if refused and day % 5 == 0:
                connection = client.customers[item.customer]["connection_id"]
                client.control("POST", f"/enrollments/{connection}/repair")
    assert seen >= {"open", "active", "disconnected"}


def test_a_client_that_was_away_for_weeks_is_told_each_change_in_order(own_plaid: Client) -> None:
    items = [Item(own_plaid, 0, count) for count in (500, 13)]
    for item in items:
        assert item.sync() is None
    own_plaid.control("POST", "/clock", {"days": 40})
    for item in items:
        assert item.sync() is None
        assert item.like_truth() == true_rows(own_plaid.truth(0))
        assert item.twice > 10
    assert items[0].held == items[1].held


def test_a_closed_account_vanishes_with_its_rows_and_what_was_told_of_them_stays_told(own_plaid: Client) -> None:
    item = Item(own_plaid, 0)
    item.sync()
    account = own_plaid.post(0, "/accounts/get")["accounts"][0]["account_id"]
    own_plaid.control("POST", f"/accounts/{account}/close", {"as_of": "2026-03-01"})
    own_plaid.control("POST", "/clock", {"days": 9})
    assert item.sync() is None
    assert item.like_truth() == true_rows(own_plaid.truth(0))
    assert account not in {one["account_id"] for one in own_plaid.post(0, "/accounts/get")["accounts"]}
    afresh = Item(own_plaid, 0)
    afresh.sync()
    assert {row["account_id"] for row in item.held.values()} - {row["account_id"] for row in afresh.held.values()} == {
        account
    }


def test_two_of_three_customers_have_an_item_with_the_secrets_of_connect(plaid: Client) -> None:
    assert sorted(plaid.customers) == [0, 2, 3, 5, 6, 8, 9, 11]
    first = plaid.customers[0]
    assert set(first["secrets"]) == {"access_token", "item_id"}
    assert first["secrets"]["item_id"] == first["connection_id"]
    assert first["institution"] == {"id": "ins_910001", "name": "Cascade Federal Bank"}
    assert set(plaid.where["plaid_credentials"]) == {"client_id", "secret"}


def test_keys_and_tokens_are_checked(plaid: Client) -> None:
    token = plaid.token(0)
    url = plaid.where["plaid_url"]
    assert told(plaid.http.post(f"{url}/accounts/get", json={"access_token": token})) == (
        400,
        "INVALID_INPUT",
        "INVALID_API_KEYS",
    )
    in_body = plaid.where["plaid_credentials"] | {"access_token": token}
    assert plaid.http.post(f"{url}/accounts/get", json=in_body).status_code == 200
    assert told(plaid.ask("/accounts/get", access_token=token + "x")) == (400, "INVALID_INPUT", "INVALID_ACCESS_TOKEN")
    assert told(plaid.ask("/accounts/get")) == (400, "INVALID_REQUEST", "MISSING_FIELDS")
    assert told(plaid.ask("/accounts/all")) == (404, "INVALID_REQUEST", "NOT_FOUND")
    assert told(plaid.http.post(f"{url}/accounts/get", content=b"{")) == (400, "INVALID_REQUEST", "INVALID_BODY")


def test_balances_are_those_of_the_truth_with_debt_positive(plaid: Client) -> None:
    seen = set()
    for customer in plaid.customers:
        true = {one["id"]: one["balances"] for one in plaid.truth(customer)["accounts"]}
        for account in plaid.post(customer, "/accounts/get")["accounts"]:
            balances = account["balances"]
            card = account["type"] == "credit"
            current, available = balances["current"], balances["available"]
            held = {"ledger": -current if card else current, "available": available}
            if card:
                held["available"] = available - balances["limit"]
            shown = {name: None if one is None else f"{Decimal(one):.2f}" for name, one in held.items()}
            assert shown == true[account["account_id"]]
            assert (balances["iso_currency_code"] is None) != (balances["unofficial_currency_code"] is None)
            seen |= {account["type"], available is None, balances["iso_currency_code"]}
    assert seen == {"depository", "credit", True, False, "USD", "CAD", None}


def test_a_posted_row_has_a_new_id_that_differs_by_case_and_names_the_pending_one(plaid: Client) -> None:
    items = {customer: Item(plaid, customer) for customer in (CASCADE, SIERRA)}
    links: dict[int, list[str | None]] = {customer: [] for customer in items}
    pairs = 0
    for item in items.values():
        item.sync()
    for _ in range(8):
        plaid.control("POST", "/clock", {"days": 1})
        for customer, item in items.items():
            before = dict(item.held)
            item.sync()
            gone = {one for one in before if one not in item.held}
            for row in item.held.values():
                if row["transaction_id"] in before or row["pending"]:
                    continue
                links[customer].append(row["pending_transaction_id"])
                if row["pending_transaction_id"] is not None:
                    assert row["pending_transaction_id"] in gone
                    pairs += row["transaction_id"].lower() == row["pending_transaction_id"].lower()
    assert pairs > 5
    assert set(links[SIERRA]) == {None}


def test_a_clock_that_moves_between_two_pages_is_a_mutation(plaid: Client) -> None:
    page = plaid.post(CASCADE, "/transactions/sync", count=10)
    assert (page["has_more"], len(page["added"])) == (True, 10)
    plaid.control("POST", "/clock", {"days": 1})
    assert plaid.refusal(CASCADE, "/transactions/sync", count=10, cursor=page["next_cursor"]) == (
        400,
        "TRANSACTIONS_ERROR",
        "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION",
    )


def test_a_cursor_of_another_item_or_of_nobody_is_refused_and_now_is_the_end(plaid: Client) -> None:
    cursor = plaid.post(CASCADE, "/transactions/sync", count=1)["next_cursor"]
    for customer, wrong in ((SIERRA, cursor), (CASCADE, "x"), (CASCADE, "AAAA")):
        assert plaid.refusal(customer, "/transactions/sync", cursor=wrong) == (400, "INVALID_REQUEST", "INVALID_FIELD")
    end = plaid.post(CASCADE, "/transactions/sync", cursor="now")
    assert (end["added"], end["has_more"]) == ([], False)
    again = plaid.post(CASCADE, "/transactions/sync", cursor=end["next_cursor"])
    assert (again["added"], again["next_cursor"]) == ([], end["next_cursor"])


@pytest.mark.parametrize("order", [{"count": 0}, {"count": 501}, {"count": "many"}, {"options": {"account_id": "x"}}])
def test_an_order_that_cannot_be_followed_is_refused(plaid: Client, order: dict[str, object]) -> None:
    assert plaid.refusal(CASCADE, "/transactions/sync", **order) == (400, "INVALID_REQUEST", "INVALID_FIELD")


def test_a_range_is_paged_by_offset_and_told_with_its_total(plaid: Client) -> None:
    days = {"start_date": "2026-01-20", "end_date": "2026-02-10"}
    whole = plaid.post(CASCADE, "/transactions/get", **days, options={"count": 500})
    rows = whole["transactions"]
    assert len(rows) == whole["total_transactions"] > 20
    assert [row["date"] for row in rows] == sorted((row["date"] for row in rows), reverse=True)
    assert {row["date"] for row in rows} <= {(date(2026, 1, 20) + timedelta(n)).isoformat() for n in range(22)}
    paged: list[Any] = []
    while len(paged) < len(rows):
        options = {"count": 7, "offset": len(paged)}
        paged += plaid.post(CASCADE, "/transactions/get", **days, options=options)["transactions"]
    assert paged == rows
    one = rows[0]["account_id"]
    only = plaid.post(CASCADE, "/transactions/get", **days, options={"account_ids": [one], "count": 500})
    assert only["transactions"] == [row for row in rows if row["account_id"] == one]
    assert plaid.refusal(CASCADE, "/transactions/get", start_date="2026-01-01")[2] == "MISSING_FIELDS"


def test_a_broken_item_refuses_its_data_but_tells_of_itself_and_heals(own_plaid: Client) -> None:
    client = own_plaid
    connection = client.customers[CASCADE]["connection_id"]
    assert client.post(CASCADE, "/item/get")["item"]["error"] is None
    client.control("POST", "/clock", {"days": 1})
    client.control("POST", f"/enrollments/{connection}/disconnect", {"as_of": "2026-03-01"})
    for path in ("/accounts/get", "/transactions/sync"):
        assert client.refusal(CASCADE, path) == (400, "ITEM_ERROR", "ITEM_LOGIN_REQUIRED")
    shown = client.post(CASCADE, "/item/get")
    assert shown["item"]["error"]["error_code"] == "ITEM_LOGIN_REQUIRED"
    assert shown["status"]["transactions"] == {
        "last_successful_update": "2026-03-01T06:12:08Z",
        "last_failed_update": "2026-03-02T06:12:08Z",
    }
    client.control("POST", f"/enrollments/{connection}/repair")
    assert client.post(CASCADE, "/accounts/get")["accounts"]
    client.post(CASCADE, "/sandbox/item/reset_login")
    assert client.refusal(CASCADE, "/accounts/get")[2] == "ITEM_LOGIN_REQUIRED"
    client.post(SIERRA, "/item/remove")
    assert client.refusal(SIERRA, "/item/get")[2] == "INVALID_ACCESS_TOKEN"


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("INSTITUTION_DOWN", "INSTITUTION_ERROR"),
        ("ITEM_LOGIN_REQUIRED", "ITEM_ERROR"),
        ("INTERNAL_SERVER_ERROR", "API_ERROR"),
        ("TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION", "TRANSACTIONS_ERROR"),
        ("TRANSACTIONS_SYNC_LIMIT", "RATE_LIMIT_EXCEEDED"),
    ],
)
def test_any_error_can_be_asked_for_of_one_item(plaid: Client, reason: str, kind: str) -> None:
    fault = {"kind": "disconnected", "reason": reason, "token": plaid.token(CASCADE), "times": 1}
    assert plaid.control("POST", "/faults", fault).status_code == 200
    plaid.post(SIERRA, "/transactions/sync")
    assert plaid.refusal(CASCADE, "/transactions/sync") == (400, kind, reason)
    plaid.post(CASCADE, "/transactions/sync")


def test_an_item_without_data_yet_answers_an_empty_cursor(plaid: Client) -> None:
    plaid.control("POST", "/faults", {"kind": "disconnected", "reason": "NOT_READY", "path": "/transactions/sync"})
    answer = plaid.post(CASCADE, "/transactions/sync")
    del answer["request_id"]
    assert answer == {
        "accounts": [],
        "added": [],
        "modified": [],
        "removed": [],
        "next_cursor": "",
        "has_more": False,
        "transactions_update_status": "NOT_READY",
    }


def test_paging_without_end_gives_the_same_cursor_again(plaid: Client) -> None:
    plaid.control("POST", "/faults", {"kind": "endless_page", "path": "/transactions/sync"})
    first = plaid.post(CASCADE, "/transactions/sync", count=10)
    assert plaid.post(CASCADE, "/transactions/sync", count=10, cursor=first["next_cursor"]) == first


@pytest.mark.parametrize(
    ("row", "found"), [("1e400", b'"amount":1e400'), ("nine_decimals", b'"amount":12.123456789'), ("nan", b'"NaN"')]
)
def test_a_bad_row_is_put_before_the_others(plaid: Client, row: str, found: bytes) -> None:
    good = plaid.post(CASCADE, "/transactions/sync", count=10)
    plaid.control("POST", "/faults", {"kind": "bad_row", "row": row, "times": 1})
    answer = plaid.ask("/transactions/sync", access_token=plaid.token(CASCADE), count=10)
    assert found in answer.content
    assert answer.json(parse_float=Decimal)["added"][1:] == good["added"]
    plaid.control("POST", "/faults", {"kind": "bad_row", "row": "missing_id", "times": 1})
    assert "transaction_id" not in plaid.post(CASCADE, "/transactions/sync", count=10)["added"][0]


def test_link_gives_the_secrets_of_a_customer(plaid: Client) -> None:
    order = {
        "client_name": "x",
        "language": "en",
        "country_codes": ["US"],
        "user": {"client_user_id": "customer-00001"},
    }
    assert plaid.ask("/link/token/create", **order).json()["link_token"].startswith("link-sandbox-")
    order = {"institution_id": "ins_910003", "initial_products": ["transactions"]}
    public = plaid.ask("/sandbox/public_token/create", **order).json()["public_token"]
    given = plaid.ask("/item/public_token/exchange", public_token=public).json()
    assert {name: given[name] for name in ("access_token", "item_id")} == plaid.customers[SIERRA]["secrets"]
    named = order | {"options": {"override_username": "customer-00001"}}
    public = plaid.ask("/sandbox/public_token/create", **named).json()["public_token"]
    assert (
        plaid.ask("/item/public_token/exchange", public_token=public).json()["item_id"]
        == (plaid.customers[CASCADE]["connection_id"])
    )
    assert told(plaid.ask("/item/public_token/exchange", public_token="x"))[2] == "INVALID_PUBLIC_TOKEN"
    bank = plaid.ask("/institutions/get_by_id", institution_id="ins_910003", country_codes=["US"]).json()
    assert bank["institution"]["name"] == "Sierra Card Union"
