"""The control endpoints: customers, clock, request counts, and what they refuse."""

from typing import Any


def test_customers_carry_the_secrets_that_a_client_connects_with(client: Any) -> None:
    assert len(client.customers) == 12
    first = client.customers[0]
    assert first == {
        "customer_id": "customer-00001",
        "name": first["name"],
        "provider": "teller",
        "connection_id": first["connection_id"],
        "institution": {"id": "harbor_national", "name": "Harbor National Bank"},
        "secrets": {
            "access_token": first["secrets"]["access_token"],
            "enrollment_id": first["connection_id"],
        },
    }
    assert len({c["secrets"]["access_token"] for c in client.customers}) == 12


def test_the_clock_is_set_and_moved_and_shows_nothing_of_tomorrow(client: Any) -> None:
    before = client.truth(0)
    assert client.control("POST", "/clock", {"days": 2}).json() == {"today": "2026-03-03", "fixed": True}
    assert client.truth(0) != before
    assert client.control("POST", "/clock", {"today": "2026-03-01"}).json() == {"today": "2026-03-01", "fixed": True}
    assert client.truth(0) == before
    assert max(row["date"] for a in before["accounts"] for row in a["transactions"]) <= "2026-03-01"


def test_the_clock_follows_the_real_date_when_let_go(client: Any) -> None:
    answer = client.control("POST", "/clock", {"today": None}).json()
    assert answer["fixed"] is False
    assert client.control("GET", "/clock").json()["today"] >= "2026-03-01"


def test_the_clock_refuses_what_it_cannot_read(client: Any) -> None:
    for body in ({}, {"days": 1, "today": "2026-03-01"}, {"days": "x"}, {"today": "2026-02-30"}, {"days": 10**9}):
        answer = client.control("POST", "/clock", body)
        assert (answer.status_code, list(answer.json())) == (400, ["error"])
    assert client.control("GET", "/clock").json() == {"today": "2026-03-01", "fixed": True}


def test_requests_are_counted_by_route_and_by_path_without_those_of_control(client: Any) -> None:
    accounts = [a["id"] for a in client.accounts(0)[:2]]
    for account in accounts:
        client.teller(0, f"/accounts/{account}/transactions", count=1)
    client.teller(0, f"/accounts/{accounts[0]}/transactions", count=1)
    assert client.control("GET", "/requests").json() == {
        "total": 4,
        "routes": {"GET /teller/accounts": 1, "GET /teller/accounts/{id}/transactions": 3},
        "paths": {
            "GET /teller/accounts": 1,
            f"GET /teller/accounts/{accounts[0]}/transactions": 2,
            f"GET /teller/accounts/{accounts[1]}/transactions": 1,
        },
    }
    assert client.control("DELETE", "/requests").status_code == 204
    assert client.control("GET", "/requests").json() == {"total": 0, "routes": {}, "paths": {}}


def test_unknown_connections_and_accounts_are_404(client: Any) -> None:
    for path in ("/enrollments/enr_x/repair", "/enrollments/enr_x/disconnect", "/accounts/acc_x/close"):
        answer = client.control("POST", path)
        assert (answer.status_code, answer.json()["error"][:21]) == (404, "no provider here has ")


def test_a_break_may_be_dated_before_today_for_a_client_that_last_read_then(own_client: Any) -> None:
    client = own_client
    yesterday = client.truth(0)
    client.control("POST", "/clock", {"days": 1})
    connection = client.customers[0]["connection_id"]
    client.control("POST", f"/enrollments/{connection}/disconnect", {"as_of": "2026-03-01"})
    now = client.truth(0)
    assert now == {**yesterday, "today": "2026-03-02", "state": "disconnected", "reason": ""}


def test_what_happened_while_a_connection_was_broken_to_an_account_that_then_closed_was_never_read(
    own_client: Any,
) -> None:
    client = own_client
    before = client.truth(0)["accounts"][0]
    connection = client.customers[0]["connection_id"]
    client.control("POST", f"/enrollments/{connection}/disconnect")
    client.control("POST", "/clock", {"days": 5})
    client.control("POST", f"/accounts/{before['id']}/close", {"as_of": "2026-03-05"})
    client.control("POST", f"/enrollments/{connection}/repair")
    closed, other = client.truth(0)["accounts"][:2]
    assert closed == {**before, "status": "closed"}
    assert (before["as_of"], other["as_of"]) == ("2026-03-01", "2026-03-06")
