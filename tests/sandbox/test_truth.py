"""The truth is what a client gets that reads the protocol as it should, day after day: told by reading it so."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

DAYS = 72


class Reader:
    """A perfect client of one customer: reads the last ten days again each day, and forgets pendings that went."""

    def __init__(self, client: Any, customer: int) -> None:
        self.client = client
        self.customer = customer
        self.held: dict[str, dict[str, dict[str, Any]]] = {}
        self.read_on: dict[str, str] = {}

    def read(self, today: str) -> str | None:
        """Read all that can be read today; the code of a refusal that concerns the whole connection."""
        for account in self.client.accounts(self.customer):
            self.held.setdefault(account["id"], {})
            if "transactions" not in account["links"]:
                continue
            since = _days_before(self.read_on[account["id"]]) if account["id"] in self.read_on else "2000-01-01"
            path = f"/accounts/{account['id']}/transactions"
            answer = self.client.teller(self.customer, path, start_date=since, count=500)
            if answer.status_code == 404:
                code: str = answer.json()["error"]["code"]
                return code
            if answer.status_code == 410:
                continue
            page = shown = answer.json()
            while len(page) == 500:
                page = self.client.teller(
                    self.customer, path, start_date=since, count=500, from_id=page[-1]["id"]
                ).json()
                shown = shown + page
            sign = -1 if account["type"] == "credit" else 1
            held = self.held[account["id"]]
            for gone in [id_ for id_, row in held.items() if row["date"] >= since]:
                assert held[gone]["status"] == "pending" or gone in {row["id"] for row in shown}
                del held[gone]
            held.update({row["id"]: _like_truth(row, sign) for row in shown})
            self.read_on[account["id"]] = today
        return None


def _days_before(day: str) -> str:
    return (date.fromisoformat(day) - timedelta(days=10)).isoformat()


def _like_truth(row: dict[str, Any], sign: int) -> dict[str, Any]:
    details = row["details"]
    return {
        "id": row["id"],
        "date": row["date"],
        "status": row["status"],
        "amount": f"{sign * Decimal(row['amount']):.2f}",
        "currency": "USD",
        "description": row["description"],
        "type": row["type"],
        "category": details["category"],
        "counterparty": details["counterparty"] and details["counterparty"]["name"],
    }


def test_a_client_that_reads_ten_days_again_each_day_holds_the_truth_each_day(own_client: Any) -> None:
    client = own_client
    readers = [Reader(client, customer) for customer in (0, 1, 3, 5, 7, 10)]
    broken_for: dict[int, int] = {}
    seen = set()
    for _ in range(DAYS):
        today = client.control("POST", "/clock", {"days": 1}).json()["today"]
        for reader in readers:
            refused = reader.read(today)
            truth = client.truth(reader.customer)
            assert truth["state"] == ("disconnected" if refused else "active")
            held = {account: sorted(rows) for account, rows in reader.held.items()}
            assert held == {a["id"]: sorted(row["id"] for row in a["transactions"]) for a in truth["accounts"]}
            assert reader.held == {a["id"]: {row["id"]: row for row in a["transactions"]} for a in truth["accounts"]}
            seen |= {a["status"] for a in truth["accounts"]} | {truth["state"]}
            if refused:
                broken_for[reader.customer] = broken_for.get(reader.customer, 0) + 1
                if broken_for[reader.customer] % 4 == 0:
                    enrollment = client.customers[reader.customer]["connection_id"]
                    client.control("POST", f"/enrollments/{enrollment}/repair")
    assert seen == {"open", "closed", "active", "disconnected"}


def test_the_truth_adds_up_each_day(client: Any) -> None:
    for _ in range(8):
        client.control("POST", "/clock", {"days": 3})
        for customer in range(12):
            for account in client.truth(customer)["accounts"]:
                posted, pending = _sum(account, "posted"), _sum(account, "pending")
                totals, balances = account["totals"], account["balances"]
                assert totals == {
                    "transactions": len(account["transactions"]),
                    "posted": f"{posted:.2f}",
                    "pending": f"{pending:.2f}",
                }
                if "transactions" in account["streams"] and account["as_of"] is not None:
                    opening = Decimal(account["opening"])
                    shown = {name: Decimal(text) for name, text in balances.items() if text is not None}
                    told = {"ledger": opening + posted, "available": opening + posted + pending}
                    assert shown == {name: told[name] for name in shown}


def _sum(account: dict[str, Any], status: str) -> Decimal:
    return sum((Decimal(r["amount"]) for r in account["transactions"] if r["status"] == status), Decimal("0.00"))


def test_the_truth_can_be_asked_for_its_totals_alone_and_needs_a_known_token(client: Any) -> None:
    whole = client.truth(0)
    short = client.control("GET", f"/truth?token={client.token(0)}&rows=false").json()
    assert short == {**whole, "accounts": [{**a, "transactions": []} for a in whole["accounts"]]}
    assert len(whole["accounts"][0]["transactions"]) > 100
    assert client.control("GET", "/truth?token=x").status_code == 404
    assert client.control("GET", "/truth").status_code == 404
