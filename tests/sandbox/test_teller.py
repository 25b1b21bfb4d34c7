"""Teller's protocol: who may ask, what is answered, how lists are paged, and how errors look."""

from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import httpx
import pytest

TODAY = date(2026, 3, 1)
HARBOR, PRAIRIE, GRANITE, MERIDIAN, LUMEN, OLD_MILL = range(6)
"""The customer of this index is at this institution."""


def account(client: Any, customer: int, subtype: str = "checking") -> dict[str, Any]:
    return next(a for a in client.accounts(customer) if a["subtype"] == subtype)


def rows(client: Any, customer: int, account_id: str, **query: object) -> list[dict[str, Any]]:
    answer = client.teller(customer, f"/accounts/{account_id}/transactions", **query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_no_token_is_401_an_unknown_one_403_and_health_and_institutions_need_none(client: Any) -> None:
    http, url = client.http, client.server.teller_url
    assert refusal(http.get(f"{url}/accounts")) == (401, "unauthorized")
    assert refusal(http.get(f"{url}/accounts", auth=("", ""))) == (401, "unauthorized")
    assert refusal(http.get(f"{url}/accounts", headers={"authorization": "Basic %%%"})) == (401, "unauthorized")
    assert refusal(http.get(f"{url}/accounts", headers={"authorization": "Bearer x"})) == (401, "unauthorized")
    assert refusal(http.get(f"{url}/accounts", auth=(client.token(0) + "x", ""))) == (403, "forbidden")
    assert http.get(f"{url}/health").json() == {"status": "ok"}
    assert [i["id"] for i in http.get(f"{url}/institutions").json()][:2] == [
        "harbor_national",
        "prairie_credit_union",
    ]


def test_an_account_is_what_the_documentation_says(client: Any) -> None:
    found = account(client, HARBOR, "credit_card")
    path = f"https://api.teller.io/accounts/{found['id']}"
    assert found == {
        "enrollment_id": client.customers[HARBOR]["secrets"]["enrollment_id"],
        "links": {
            "self": path,
            "balances": f"{path}/balances",
            "details": f"{path}/details",
            "transactions": f"{path}/transactions",
        },
        "institution": {"id": "harbor_national", "name": "Harbor National Bank"},
        "type": "credit",
        "name": "Business Platinum Card",
        "subtype": "credit_card",
        "currency": "USD",
        "id": found["id"],
        "last_four": found["last_four"],
        "status": "open",
    }
    assert client.teller(HARBOR, f"/accounts/{found['id']}").json() == found


def test_a_bank_without_a_resource_has_no_link_to_it_and_answers_404(client: Any) -> None:
    unsupported = {
        (PRAIRIE, "checking"): {"details"},
        (PRAIRIE, "savings"): {"details", "transactions"},
        (MERIDIAN, "checking"): {"balances"},
    }
    for (customer, subtype), missing in unsupported.items():
        found = account(client, customer, subtype)
        assert {"balances", "details", "transactions"} - set(found["links"]) == missing
        for resource in missing:
            answer = client.teller(customer, f"/accounts/{found['id']}/{resource}")
            assert refusal(answer) == (404, "not_found")


def test_balances_are_those_of_the_truth_with_debt_positive_and_may_lack_one_of_two(client: Any) -> None:
    seen = set()
    for customer in range(12):
        told = {a["id"]: a for a in client.truth(customer)["accounts"]}
        for found in client.accounts(customer):
            if "balances" not in found["links"] or found["status"] == "closed":
                continue
            shown = client.teller(customer, f"/accounts/{found['id']}/balances").json()
            sign = -1 if found["type"] == "credit" else 1
            for name, amount in told[found["id"]]["balances"].items():
                assert (shown[name] is None) == (amount is None)
                if amount is not None:
                    assert Decimal(shown[name]) == sign * Decimal(amount)
            seen.add((shown["ledger"] is None, shown["available"] is None))
    assert seen == {(False, False), (True, False), (False, True)}


def test_paging_with_any_count_gives_the_list_that_is_given_without_newest_first(client: Any) -> None:
    found = account(client, HARBOR)["id"]
    whole = rows(client, HARBOR, found)
    assert len(whole) > 100
    assert all(newer["date"] >= older["date"] for newer, older in pairwise(whole))
    for count in (1, 7, 100, len(whole)):
        paged = page = rows(client, HARBOR, found, count=count)
        while len(page) == count:
            page = rows(client, HARBOR, found, count=count, from_id=page[-1]["id"])
            paged = paged + page
        assert paged == whole
    assert rows(client, HARBOR, found, count=10**9) == whole


def test_from_id_is_exclusive_and_a_window_includes_both_its_days(client: Any) -> None:
    found = account(client, HARBOR)["id"]
    whole = rows(client, HARBOR, found)
    for place in (0, 5, len(whole) - 1):
        assert rows(client, HARBOR, found, from_id=whole[place]["id"]) == whole[place + 1 :]
    start, end = "2026-01-20", "2026-02-10"
    window = [row for row in whole if start <= row["date"] <= end]
    assert {start, end} & {row["date"] for row in window}
    assert rows(client, HARBOR, found, start_date=start, end_date=end) == window
    after = window[3]["id"]
    paged = rows(client, HARBOR, found, start_date=start, end_date=end, from_id=after, count=5)
    assert paged == window[4:9]
    assert rows(client, HARBOR, found, start_date=end, end_date=start) == []
    assert rows(client, HARBOR, found, start_date="2027-01-01") == []


@pytest.mark.parametrize(
    "query",
    [{"count": "0"}, {"count": "-1"}, {"count": "many"}, {"start_date": "2026-02-30"}, {"end_date": "20260201"}],
)
def test_a_query_that_cannot_be_read_is_400(client: Any, query: dict[str, str]) -> None:
    answer = client.teller(HARBOR, f"/accounts/{account(client, HARBOR)['id']}/transactions", **query)
    assert refusal(answer) == (400, "bad_request")


def test_ids_that_are_not_shown_are_404_for_rows_accounts_and_from_id(client: Any) -> None:
    mine, other = account(client, HARBOR)["id"], account(client, GRANITE)["id"]
    theirs = rows(client, GRANITE, other, count=1)[0]["id"]
    for wrong in (theirs, "txn_x", "", "txn_zzzzzzzzzzzzzzzzzz000"):
        assert refusal(client.teller(HARBOR, f"/accounts/{mine}/transactions", from_id=wrong)) == (404, "not_found")
    assert refusal(client.teller(HARBOR, f"/accounts/{mine}/transactions/{theirs}")) == (404, "not_found")
    assert refusal(client.teller(HARBOR, f"/accounts/{other}/transactions")) == (404, "not_found")
    assert refusal(client.teller(HARBOR, "/accounts/acc_x")) == (404, "not_found")
    assert refusal(client.teller(HARBOR, "/enrollments")) == (404, "not_found")


def test_each_row_is_found_by_its_id_and_has_the_documented_shape(client: Any) -> None:
    found = account(client, HARBOR)["id"]
    statuses = set()
    for row in rows(client, HARBOR, found, count=40):
        assert client.teller(HARBOR, f"/accounts/{found}/transactions/{row['id']}").json() == row
        assert set(row) == {
            "details", "running_balance", "description", "id", "date", "account_id", "amount", "type", "status", "links",
        }  # fmt: skip
        assert set(row["details"]) == {"processing_status", "category", "counterparty"}
        assert (row["running_balance"] is None) == (row["status"] == "pending")
        statuses.add(row["status"])
    assert statuses == {"pending", "posted"}


def test_running_balances_are_null_at_some_banks_and_whole_amounts_lack_decimals_at_one(client: Any) -> None:
    prairie = rows(client, PRAIRIE, account(client, PRAIRIE)["id"])
    assert {row["running_balance"] for row in prairie} == {None}
    lumen = rows(client, LUMEN, account(client, LUMEN)["id"])
    assert {"." in row["amount"] for row in lumen} == {True, False}
    assert {"." in row["amount"] for row in prairie} == {True}


def test_enrichment_comes_later_under_the_same_id(client: Any) -> None:
    found = account(client, LUMEN)["id"]
    bare: dict[str, Any] = {}
    for _ in range(12):
        client.control("POST", "/clock", {"days": 1})
        for row in rows(client, LUMEN, found, start_date="2026-02-20"):
            if row["details"]["processing_status"] == "pending":
                assert row["details"] == {"processing_status": "pending", "category": None, "counterparty": None}
                bare[row["id"]] = row
    client.control("POST", "/clock", {"days": 10})
    later = {row["id"]: row["details"] for row in rows(client, LUMEN, found) if row["id"] in bare}
    assert later
    assert {details["processing_status"] for details in later.values()} == {"complete"}
    assert all(details["category"] and details["counterparty"]["name"] for details in later.values())


def test_details_are_missing_while_micro_deposits_are_checked(client: Any) -> None:
    found = account(client, HARBOR)["id"]
    shown = client.teller(HARBOR, f"/accounts/{found}/details").json()
    assert (len(shown["account_number"]), shown["routing_numbers"]) == (10, {"ach": "021000089", "wire": None})
    card = account(client, OLD_MILL, "credit_card")["id"]
    answer = client.teller(OLD_MILL, f"/accounts/{card}/details")
    assert refusal(answer) == (404, "account_number_verification_expired")
    customer = 11  # at Old Mill too, with pots that newly appear
    answers = set()
    for _ in range(62):
        client.control("POST", "/clock", {"days": 1})
        for pot in client.accounts(customer)[2:]:
            if pot["status"] == "open":
                details = client.teller(customer, f"/accounts/{pot['id']}/details")
                answers.add((details.status_code, details.json().get("error", {}).get("code")))
    assert answers == {(200, None), (404, "account_number_verification_pending")}


def test_identity_names_an_owner_of_each_open_account(client: Any) -> None:
    shown = client.teller(PRAIRIE, "/identity").json()
    assert [entry["account"] for entry in shown] == client.accounts(PRAIRIE)
    assert [entry["owners"][0]["names"] for entry in shown] == [
        [{"type": "name", "data": client.customers[PRAIRIE]["name"]}]
    ] * len(shown)


def test_a_broken_connection_still_lists_accounts_and_heals_with_the_same_token(own_client: Any) -> None:
    client = own_client
    enrollment = client.customers[HARBOR]["connection_id"]
    found = client.accounts(HARBOR)
    paths = [f"/accounts/{found[0]['id']}/{stream}" for stream in ("transactions", "balances", "details")]
    body = {"reason": "user_action.mfa_required"}
    assert client.control("POST", f"/enrollments/{enrollment}/disconnect", body).status_code == 204
    assert client.accounts(HARBOR) == found
    for path in (*paths, "/identity"):
        answer = client.teller(HARBOR, path)
        assert refusal(answer) == (404, "enrollment.disconnected.user_action.mfa_required")
    assert (client.truth(HARBOR)["state"], client.truth(GRANITE)["state"]) == ("disconnected", "active")
    assert client.control("POST", f"/enrollments/{enrollment}/repair").status_code == 204
    assert [client.teller(HARBOR, path).status_code for path in paths] == [200, 200, 200]
    assert client.truth(HARBOR)["state"] == "active"


def test_connections_break_by_themselves_as_the_days_go_by(own_client: Any) -> None:
    client = own_client
    codes = set()
    for _ in range(72):
        client.control("POST", "/clock", {"days": 1})
        for customer in (5, 10):
            found = account(client, customer)["id"]
            answer = client.teller(customer, f"/accounts/{found}/transactions", count=1)
            if answer.status_code != 200:
                codes.add(refusal(answer)[1].split(".")[:2] == ["enrollment", "disconnected"])
                enrollment = client.customers[customer]["connection_id"]
                client.control("POST", f"/enrollments/{enrollment}/repair")
                assert client.teller(customer, f"/accounts/{found}/transactions", count=1).status_code == 200
    assert codes == {True}


def test_a_closed_account_says_so_in_the_list_and_410_for_its_data_alone(own_client: Any) -> None:
    client = own_client
    card, checking = account(client, HARBOR, "credit_card")["id"], account(client, HARBOR)["id"]
    assert client.control("POST", f"/accounts/{card}/close", {"reason": "lost_access"}).status_code == 204
    assert account(client, HARBOR, "credit_card")["status"] == "closed"
    for stream in ("transactions", "balances", "details"):
        answer = client.teller(HARBOR, f"/accounts/{card}/{stream}")
        assert refusal(answer) == (410, "account.closed.lost_access")
        assert client.teller(HARBOR, f"/accounts/{checking}/{stream}").status_code == 200
    assert card not in [entry["account"]["id"] for entry in client.teller(HARBOR, "/identity").json()]


def test_deleting_drops_one_account_or_the_whole_enrollment(own_client: Any) -> None:
    client = own_client
    url, auth = client.server.teller_url, (client.token(HARBOR), "")
    first, *others = client.accounts(HARBOR)
    assert client.http.delete(f"{url}/accounts/{first['id']}", auth=auth).status_code == 204
    assert client.accounts(HARBOR) == others
    assert refusal(client.teller(HARBOR, f"/accounts/{first['id']}")) == (404, "not_found")
    assert client.http.delete(f"{url}/accounts", auth=auth).status_code == 204
    assert refusal(client.teller(HARBOR, "/accounts")) == (403, "forbidden")
    assert client.teller(GRANITE, "/accounts").status_code == 200


def test_a_pending_row_that_went_is_no_place_to_page_from(client: Any) -> None:
    pending = [
        (customer, found["id"], row["id"])
        for customer in (0, 1, 2, 3, 4, 6, 7, 8, 9, 11)
        for found in client.accounts(customer)
        if found["subtype"] in ("checking", "credit_card")
        for row in rows(client, customer, found["id"], count=40)
        if row["status"] == "pending"
    ]
    client.control("POST", "/clock", {"today": (TODAY + timedelta(days=6)).isoformat()})
    answers = [client.teller(c, f"/accounts/{a}/transactions", from_id=row, count=1) for c, a, row in pending]
    assert {answer.status_code for answer in answers} == {200, 404}
