"""Stripe's sandbox: its protocol with the awkward parts, and a frugal client that holds the truth each day."""

from collections import Counter
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

STREAMS = (
    "customers", "products", "prices", "subscriptions", "invoices", "charges", "refunds", "disputes", "credit_notes",
    "payouts", "balance_transactions",
)  # fmt: skip
HOUR, DAY = 3600, 86_400


def _connections(client: Any) -> list[dict[str, Any]]:
    return [one for one in client.control("GET", "/customers").json() if one["provider"] == "stripe"]


class Business:
    """One connection, read over plain HTTP."""

    def __init__(self, client: Any, place: int = 0) -> None:
        self.client = client
        told = _connections(client)[place]
        self.connection_id, self.secrets = told["connection_id"], told["secrets"]

    def get(self, path: str, headers: dict[str, str] | None = None, **query: object) -> Any:
        """The answer to a GET; `created_gte` is `created[gte]`."""
        sent = {"Authorization": f"Bearer {self.secrets['api_key']}", "Stripe-Version": "2026-08-26.dahlia"}
        if "account" in self.secrets:
            sent["Stripe-Account"] = self.secrets["account"]
        params = {
            name.replace("created_", "created[") + ("]" if "created_" in name else ""): str(v)
            for name, v in query.items()
        }
        url = f"{self.client.server.url}/stripe/v1/{path}"
        return self.client.http.get(url, params=params, headers=sent | (headers or {}))

    def all(self, path: str, **query: object) -> list[dict[str, Any]]:
        """A list to its end."""
        found: list[dict[str, Any]] = []
        asked: dict[str, Any] = {"limit": 100, **query}
        while True:
            page = self.get(path, **asked).json()
            found += page["data"]
            if not page["has_more"]:
                return found
            asked["starting_after"] = found[-1]["id"]

    def truth(self) -> Any:
        return self.client.control("GET", f"/truth?connection_id={self.connection_id}").json()


class Reader:
    """A client that lists once, and then asks for what events name, and for the newest balance transactions."""

    def __init__(self, business: Business) -> None:
        self.business = business
        self.since = max(one["created"] for one in business.all("events"))
        self.held: dict[str, dict[str, Any]] = {stream: {} for stream in STREAMS}
        for stream in STREAMS:
            for query in _queries(stream):
                self.keep(stream, business.all(stream, **query))

    def keep(self, stream: str, objects: list[dict[str, Any]]) -> None:
        self.held[stream] |= {one["id"]: one for one in objects}

    def read(self) -> None:
        events = self.business.all("events", created_gte=self.since - HOUR)
        named = set()
        for event in events:
            subject = event["data"]["object"]
            named.add((f"{subject['object']}s", subject["id"]))
            # These change an object that has no event of its own.
            named |= {
                (f"{kind}s", subject[kind]) for kind in ("charge", "invoice") if isinstance(subject.get(kind), str)
            }
        for stream, name in sorted(named):
            answer = self.business.get(f"{stream}/{name}")
            if answer.status_code == 404 or answer.json().get("deleted"):
                self.held[stream].pop(name, None)
            else:
                self.keep(stream, [answer.json()])
        self.since = max([self.since, *(one["created"] for one in events)])
        pending = [one["created"] for one in self.held["balance_transactions"].values() if one["status"] == "pending"]
        newest = max(one["created"] for one in self.held["balance_transactions"].values())
        self.keep(
            "balance_transactions", self.business.all("balance_transactions", created_gte=min([newest, *pending]))
        )


def _queries(stream: str) -> list[dict[str, str]]:
    if stream == "prices":
        return [{"active": "true"}, {"active": "false"}]
    return [{"status": "all"}] if stream == "subscriptions" else [{}]


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_a_client_that_follows_events_holds_the_truth_on_each_of_thirty_days(own_client: Any, place: int) -> None:
    business = Business(own_client, place)
    reader = Reader(business)
    for _ in range(30):
        own_client.control("POST", "/clock", {"days": 1})
        reader.read()
        billing = business.truth()["billing"]
        assert {stream: sorted(reader.held[stream]) for stream in STREAMS} == {
            stream: sorted(billing[stream]["rows"]) for stream in STREAMS
        }
        for stream in STREAMS:
            told = billing[stream]["rows"]
            for name, one in reader.held[stream].items():
                assert {key: one[key] for key in ("status", "active", "disputed") if key in told[name]} == {
                    key: value for key, value in told[name].items() if key in ("status", "active", "disputed")
                }


def test_every_business_and_nobody_else_connects_and_every_other_one_tells_its_account(client: Any) -> None:
    told = _connections(client)
    assert [one["customer_id"] for one in told] == [f"customer-{n:05}" for n in (1, 4, 7, 10)]
    assert [sorted(one["secrets"]) for one in told] == [["api_key"], ["account", "api_key"]] * 2
    business = Business(client, 1)
    assert business.get("account").json()["id"] == business.secrets["account"] == business.connection_id


def test_the_ledger_adds_up_in_currencies_of_no_two_and_three_decimals(client: Any) -> None:
    seen = set()
    for place in range(4):
        business = Business(client, place)
        moves = business.all("balance_transactions")
        assert all(one["amount"] - one["fee"] == one["net"] for one in moves)
        charges = {one["id"]: one for one in business.all("charges")}
        for one in moves:
            if one["type"] == "charge":
                charge = charges[one["source"]]
                assert (charge["amount"], charge["balance_transaction"]) == (one["amount"], one["id"])
        billing = business.truth()["billing"]["balance_transactions"]["totals"]
        for currency, told in billing.items():
            amount = sum(one["amount"] for one in moves if one["currency"] == currency.lower())
            assert Decimal(told["amount"]) == Decimal(amount).scaleb(-{"JPY": 0, "KWD": 3}.get(currency, 2))
            seen.add(currency)
        for payout in business.all("payouts"):
            assert payout["amount"] > 0
    assert seen == {"EUR", "JPY", "KWD", "USD"}


def test_lists_are_newest_first_and_paged_from_both_sides(client: Any) -> None:
    business = Business(client)
    whole = business.all("charges")
    assert all(one["created"] >= next_["created"] for one, next_ in pairwise(whole))
    ids = [one["id"] for one in whole]
    assert [one["id"] for one in business.get("charges").json()["data"]] == ids[:10]
    before = business.get("charges", limit=3, ending_before=ids[5]).json()
    assert ([one["id"] for one in before["data"]], before["has_more"]) == (ids[2:5], True)
    middle = whole[20]["created"]
    for name, count in (("gt", 0), ("gte", 1)):
        found = business.all("charges", **{f"created_{name}": middle})
        assert len(found) == sum(one["created"] > middle or (count and one["created"] == middle) for one in whole)


def test_lists_within_objects_are_cut_at_ten_and_go_on_elsewhere(client: Any) -> None:
    business = Business(client)
    cut = [one for one in business.all("invoices") if one["lines"]["has_more"]]
    assert cut
    for invoice in cut[:3]:
        lines = business.all(f"invoices/{invoice['id']}/lines")
        assert lines[:10] == invoice["lines"]["data"]
        assert len(lines) > 10
        assert sum(line["amount"] for line in lines) == invoice["total"]


def test_lists_leave_out_what_they_are_not_asked_for(client: Any) -> None:
    business = Business(client)
    every, some = business.all("subscriptions", status="all"), business.all("subscriptions")
    assert {one["status"] for one in every} - {one["status"] for one in some} == {"canceled"}
    states = Counter(
        one["status"] for place in range(4) for one in Business(client, place).all("subscriptions", status="all")
    )
    assert {"active", "canceled", "past_due"} <= states.keys()
    assert any(one["trial_end"] for one in every)
    reasons = Counter(one["failure_code"] for one in business.all("charges"))
    assert reasons["card_declined"] > 0


def test_events_are_kept_for_thirty_days_and_are_of_an_older_version_in_no_sure_order(client: Any) -> None:
    now = 1_772_409_599  # the last second of 1 March 2026
    found = []
    for place in range(4):
        events = Business(client, place).all("events")
        assert all(now - 30 * DAY < one["created"] <= now for one in events)
        found += events
    changed = [one for one in found if one["type"] == "customer.subscription.updated"]
    assert all("current_period_end" in one["data"]["object"] for one in changed)
    assert all("previous_attributes" in one["data"] for one in changed)
    assert {one["api_version"] for one in found} == {"2024-06-20"}
    paid = {one["data"]["object"]["id"]: one["created"] for one in found if one["type"] == "invoice.finalized"}
    made = {one["data"]["object"]["id"]: one["created"] for one in found if one["type"] == "invoice.created"}
    assert made.keys() & paid.keys()


def test_a_deleted_customer_is_a_stub_and_a_deleted_draft_is_nothing(own_client: Any) -> None:
    kinds: dict[str, Any] = {}
    for _ in range(60):
        for place in range(4):
            business = Business(own_client, place)
            for event in business.all("events", type="*.deleted"):
                if event["type"] in {"customer.deleted", "invoice.deleted"}:
                    kinds[event["type"]] = business, event["data"]["object"]["id"]
        if len(kinds) == 2:
            break
        own_client.control("POST", "/clock", {"days": 7})
    business, name = kinds["customer.deleted"]
    assert business.get(f"customers/{name}").json() == {"id": name, "object": "customer", "deleted": True}
    assert name not in {one["id"] for one in business.all("customers")}
    business, name = kinds["invoice.deleted"]
    gone = business.get(f"invoices/{name}")
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "resource_missing")


def test_errors_are_stripes(own_client: Any) -> None:
    business = Business(own_client, 1)
    control = f"/enrollments/{business.connection_id}"

    def fault(answer: Any) -> tuple[int, str | None]:
        return answer.status_code, answer.json()["error"].get("code")

    assert fault(business.get("charges", {"Authorization": "Bearer rk_test_x"})) == (401, None)
    assert fault(business.get("charges", {"Stripe-Account": "acct_other"})) == (403, "account_invalid")
    assert fault(business.get("charges", limit=101)) == (400, "parameter_invalid_integer")
    assert fault(business.get("charges", page=2)) == (400, "parameter_unknown")
    assert fault(business.get("charges", starting_after="ch_x")) == (400, "resource_missing")
    assert fault(business.get("charges/ch_x")) == (404, "resource_missing")
    assert fault(business.get("cards")) == (404, None)
    for reason, expected in (
        ("", (401, "api_key_expired")),
        ("permission", (403, None)),
        ("account_invalid", (403, "account_invalid")),
    ):
        own_client.control("POST", f"{control}/disconnect", {"reason": reason})
        assert fault(business.get("charges")) == expected
        assert business.truth()["state"] == "disconnected"
        own_client.control("POST", f"{control}/repair")
    assert business.get("charges").status_code == 200
    own_client.fault(kind="rate_limited", path="/v1/charges", times=1)
    assert fault(business.get("charges")) == (429, "rate_limit")
    own_client.fault(kind="bad_row", path="/v1/charges", row="wrong_type", times=1)
    assert business.get("charges").json()["data"][0]["amount"] == {"value": 12}


def test_the_official_client_reads_it_without_complaint(client: Any) -> None:
    import stripe

    business = Business(client, 1)
    official = stripe.StripeClient(
        business.secrets["api_key"],
        base_addresses={"api": f"{client.server.url}/stripe"},
        stripe_account=business.secrets["account"],
    ).v1
    assert official.accounts.retrieve_current().id == business.connection_id
    counts = {stream: business.truth()["billing"][stream]["count"] for stream in STREAMS}
    assert {
        stream: len({one.id for query in _queries(stream) for one in getattr(official, stream).list(
            {"limit": 100, **query}).auto_paging_iter()})
        for stream in STREAMS
    } == counts  # fmt: skip
    cut = next(one for one in official.invoices.list({"limit": 100}).auto_paging_iter() if one.lines.has_more)
    assert len(list(cut.lines.auto_paging_iter())) == len(business.all(f"invoices/{cut.id}/lines"))
    with pytest.raises(stripe.InvalidRequestError) as raised:
        official.charges.retrieve("ch_x")
    assert (raised.value.http_status, raised.value.code) == (404, "resource_missing")
