"""The truth of a bank's connection: what a perfect client holds of it, in the provider's ids. Amounts are decimal text
signed from the holder's side.

Not here: what a provider shows that is no bank account; it tells that itself.
"""

from datetime import date
from typing import Any

from sandbox.books import Row
from sandbox.provider import Provider
from sandbox.world import Account, Customer


def tell_accounts(provider: Provider, customer: Customer, *, rows: bool) -> dict[str, Any]:
    """The accounts of a connection, with balances, totals and (`rows`) single transactions."""
    return {"accounts": [_account(provider, customer, one, rows) for one in provider.bank.accounts(customer)]}


def tell_row(provider: Provider, account: Account, row: Row) -> dict[str, Any]:
    """A transaction."""
    movement, phase = row.movement, row.phase
    return {
        "id": provider.record_id(phase.ref),
        "date": date.fromordinal(phase.day),
        "status": "posted" if phase.posted else "pending",
        "amount": tell_money(phase.amount),
        "currency": account.currency,
        "description": phase.text,
        "type": provider.kind(movement.kind),
        "category": movement.category if row.enriched else None,
        "counterparty": movement.party if row.enriched else None,
    }


def tell_money(amount: int | None) -> str | None:
    """Minor units as decimal text."""
    if amount is None:
        return None
    whole, cents = divmod(abs(amount), 100)
    return f"{'-' if amount < 0 else ''}{whole}.{cents:02}"


def _account(provider: Provider, customer: Customer, account: Account, with_rows: bool) -> dict[str, Any]:
    bank = provider.bank
    as_of = bank.readable_on(customer, account)
    streams = provider.streams(account)
    shown = provider.balances(account, as_of) if as_of is not None else None
    rows = []
    posted = pending = count = 0
    if as_of is not None and "transactions" in streams:
        for month in bank.books.months(account, as_of):
            for row in reversed(bank.books.rows(account, month, as_of)):
                count += 1
                if row.phase.posted:
                    posted += row.phase.amount
                else:
                    pending += row.phase.amount
                if with_rows:
                    rows.append(provider.tell_row(account, row))
    return {
        "id": provider.account_id(account),
        "name": account.name,
        "kind": account.kind,
        "subtype": account.subtype,
        "currency": account.currency,
        "status": "closed" if bank.closed(account) else "open",
        "as_of": date.fromordinal(as_of) if as_of is not None else None,
        "streams": sorted(streams),
        "opening": tell_money(account.opening),
        "balances": {
            "ledger": tell_money(shown.ledger) if shown else None,
            "available": tell_money(shown.available) if shown else None,
        },
        "totals": {"transactions": count, "posted": tell_money(posted), "pending": tell_money(pending)},
        "transactions": rows,
    }
