"""The oracle against the truth of the sandbox: for each provider every transaction, balance and bill, over several days."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from ledgerlake.integrity._expect import PROVIDERS

_MONEY = {"invoices": "total"}
_BILLS = ("charges", "refunds", "disputes", "credit_notes", "payouts", "balance_transactions", "invoices")


Read = Callable[[str, str], list[dict[str, Any]]]


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _told_transactions(town: Any, provider: str) -> Counter[tuple[Any, ...]]:
    """Each with its id, where the provider has ids of its own for all rows."""
    return Counter(
        (
            connection, account["id"], row["id"] if provider != "gocardless" else None, row["date"], Decimal(row["amount"]),
            row["currency"], row["status"],
        )
        for connection in town.of(provider) for account in town.truth(connection)["accounts"] for row in account["transactions"]
    )  # fmt: skip


def _read_transactions(read: Read, provider: str) -> Counter[tuple[Any, ...]]:
    return Counter(
        (
            row["connection_id"], row["account_id"], row["record_id"] if provider != "gocardless" else None,
            row["day"].isoformat(), row["amount"], row["currency"], "pending" if row["pending"] else "posted",
        )
        for row in read(provider, "transactions")
    )  # fmt: skip


def _told_balances(town: Any, provider: str) -> dict[tuple[str, str], tuple[Any, ...]]:
    """Today's, of the accounts that were read today."""
    told = {}
    for connection in town.of(provider):
        for account in town.truth(connection)["accounts"]:
            booked, available = (_decimal(account["balances"][name]) for name in ("ledger", "available"))
            if account["as_of"] == town.today.isoformat() and (booked, available) != (None, None):
                told[connection, account["id"]] = (booked, available, account["currency"])
    return told


def _read_balances(town: Any, read: Read, provider: str) -> dict[tuple[str, str], tuple[Any, ...]]:
    return {
        (row["connection_id"], row["account_id"]): (row["amount"], row["available"], row["currency"])
        for row in read(provider, "balances")
        if row["day"] == town.today
    }


def test_on_each_day_the_oracle_reads_what_a_perfect_client_holds(make_town: Callable[..., Any]) -> None:
    town = make_town(customers=6)
    for _ in range(2):
        town.sync()
        with town.reading() as read:
            for provider in set(PROVIDERS) - {"stripe"}:
                held, told = _read_transactions(read, provider), _told_transactions(town, provider)
                assert len(told) > 100
                assert (provider, dict(held - told), dict(told - held)) == (provider, {}, {})
                assert (provider, _read_balances(town, read, provider)) == (provider, _told_balances(town, provider))
            bills = {connection: town.truth(connection)["billing"] for connection in town.of("stripe")}
            for stream in _BILLS:
                told_bills = {
                    (connection, key): (_decimal(row[_MONEY.get(stream, "amount")]), row["currency"])
                    for connection, told_of in bills.items()
                    for key, row in told_of[stream]["rows"].items()
                }
                held_bills = {
                    (row["connection_id"], row["record_id"]): (row["amount"], row["currency"])
                    for row in read("stripe", stream)
                }
                assert (stream, held_bills) == (stream, told_bills)
            signs = {(row["source_amount"] < 0) == (row["amount"] < 0) for row in read("gocardless", "transactions")}
            assert signs == {True, False}  # a bank that turns the sign is among them
            assert {row["currency"] for row in read("stripe", "charges")} >= {"JPY", "KWD"}
        town.next_day(4)
