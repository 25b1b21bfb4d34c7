"""What a day costs at each provider: requests and bytes for each new record, beside the least that its protocol allows.

The sandbox's customers are synced to their end, then once a day for two weeks, and once more after as long again without a
sync: all of it in less than the 30 days after which what seldom changes is asked for again. Of the days the one with the
fewest new records is the quiet one, and the one with the most the busy one.

The least is worked out by a formula of the provider's protocol (`LEAST`) from what is in the store after the day's sync: which
accounts there are, and what was new or changed. It knows nothing of how the connector reads, and reads nothing twice.

Does not belong here: time. Nothing here depends on the machine, so each day is measured once.
"""

import asyncio
import datetime as dt
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
from psycopg import sql
from pydantic import SecretStr

from benchmarks.house import House, Place, Size
from benchmarks.result import Comparison, Goal, say
from connectors import PROVIDERS
from ledgerlake.ingest import ConnectionResult, sync
from ledgerlake.settings import Settings
from ledgerlake.store import Vault
from sandbox import Clock, Server, World

FIRST = dt.date(2026, 2, 16)
DAYS = 14
CUSTOMERS = 12
_GOAL = Goal("≤", 1.5)
_READINGS = frozenset({"accounts", "balances", "consents", "details", "events", "identity", "item"})
"""Streams whose records are no news of money: readings, states, and what says that something happened."""


@dataclass(frozen=True)
class Held:
    """What a day's sync of one connection brought, and which accounts there are to be asked for.

    `accounts` are the open ones as the provider shows them, `refreshed` those of them that changed. `fresh` and `changed` count
    records by stream; `rows` the transactions that are either, by account. `told` is the size of all their payloads, with
    those of the accounts, which are told each day.
    """

    accounts: Mapping[str, Any]
    refreshed: frozenset[str]
    fresh: Mapping[str, int]
    changed: Mapping[str, int]
    rows: Mapping[str, int]
    told: int

    @property
    def news(self) -> int:
        """New and changed records of money."""
        return sum(
            number for counts in (self.fresh, self.changed) for name, number in counts.items() if name not in _READINGS
        )


@dataclass
class Day:
    """All connections of a provider on one day."""

    requests: int = 0
    received: int = 0
    news: int = 0
    least: int = 0
    told: int = 0
    connections: int = 0
    on: dt.date = FIRST


_BROUGHT = """
SELECT record_id, coalesce(account_id, ''), version, payload::text, is_new
FROM (
    SELECT *, sync_id = (SELECT max(sync_id) FROM ledgerlake.syncs WHERE connection_id = %(connection)s) AS is_new
    FROM raw.{} WHERE connection_id = %(connection)s AND removed_at IS NULL
) AS held
WHERE is_new OR %(accounts)s
"""


def _pages(records: int, a_page: int) -> int:
    """A list is asked for once, even when nothing is in it."""
    return max(1, -(-records // a_page))


def _teller(held: Held) -> int:
    """The accounts; of each what it has links for: its balances, and its transactions, 500 a page."""
    links = {one: shown["links"] for one, shown in held.accounts.items()}
    read = sum(_pages(held.rows.get(one, 0), 500) for one in links if "transactions" in links[one])
    return 1 + sum("balances" in one for one in links.values()) + read + _seldom(held)


def _plaid(held: Held) -> int:
    """The accounts with their balances, the Item (which alone tells whether the bank was read), the changes, 500 a page."""
    return 2 + _pages(sum(held.rows.values()), 500)


def _tink(held: Held) -> int:
    """A code and a token of the user, the consents, the accounts, 100 a page; of each that was refreshed its transactions, 100 a page."""
    return 3 + _pages(len(held.accounts), 100) + sum(_pages(held.rows.get(one, 0), 100) for one in held.refreshed)


def _gocardless(held: Held) -> int:
    """The requisition; of each account its status, its balances and its transactions, which have no pages."""
    return 1 + 3 * len(held.accounts) + _seldom(held)


def _stripe(held: Held) -> int:
    """
    The account, the events and the balance transactions, 100 a page, since these have no events; of other objects those that
    are new by a list, 100 a page, and those that changed one by one, since no list has a filter of changes.
    """
    nested = {"subscription_items", "invoice_lines", "credit_note_lines"}
    listed = {"accounts", "events", "balance_transactions"} | nested
    moved = held.fresh.get("balance_transactions", 0) + held.changed.get("balance_transactions", 0)
    created = sum(_pages(number, 100) for name, number in held.fresh.items() if number and name not in listed)
    changed = sum(number for name, number in held.changed.items() if name not in listed)
    return 1 + _pages(held.fresh.get("events", 0), 100) + _pages(moved, 100) + created + changed


def _seldom(held: Held) -> int:
    """What is asked for when an account is new, and else every 30 days: one request for each answer that came."""
    return held.fresh.get("details", 0) + held.changed.get("details", 0) + min(1, held.fresh.get("identity", 0))


LEAST: Mapping[str, Callable[[Held], int]] = {
    "teller": _teller,
    "plaid": _plaid,
    "tink": _tink,
    "gocardless": _gocardless,
    "stripe": _stripe,
}
ONCE: Mapping[str, int] = {"tink": 1, "gocardless": 1}
"""Requests of a sync for all connections together: the application's own token."""


def measure(house: House, size: Size, *, days: int = DAYS, customers: int = CUSTOMERS) -> list[Comparison]:
    """Day after day for all providers, then of each the quiet and the busy day, and the day after the absence."""
    spent: dict[str, list[Day]] = {name: [] for name in LEAST}
    clock = Clock(FIRST)
    world = World.of(seed=1, customers=customers, years=1, today=FIRST)
    with Server(world, clock) as server, house.place() as place:
        reached = Place(_reaching(place.settings, server), place.where)
        _connect(reached, server)
        _a_day(reached, server, clock.today)
        for skipped in [1] * days + [days]:
            clock.move(skipped)
            for name, day in _a_day(reached, server, clock.today).items():
                spent[name].append(day)
    return [found for name in LEAST for found in _compared(name, spent[name][:-1], spent[name][-1], days)]


def _reaching(settings: Settings, server: Server) -> Settings:
    told, given = server.where(), dict[str, object]()
    for name in LEAST:
        given |= {f"{name}_url": told[f"{name}_url"], f"{name}_requests_per_second": 100_000}
        given |= {f"{name}_{key}": SecretStr(value) for key, value in told.get(f"{name}_credentials", {}).items()}
    return settings.model_copy(update=given)


def _connect(place: Place, server: Server) -> None:
    for one in httpx.get(f"{server.control_url}/customers", trust_env=False).raise_for_status().json():
        connector = PROVIDERS[one["provider"]]
        secrets = connector.secrets(one["secrets"])
        place.store.add_connection(
            Vault.of(place.settings),
            provider=one["provider"],
            external_id=connector.external_id(secrets),
            customer_id=one["customer_id"],
            secrets=secrets,
        )


def _a_day(place: Place, server: Server, today: dt.date) -> dict[str, Day]:
    """Sync once; what it took, as the sandbox counted it and as the sync reports it, which must be the same."""
    httpx.delete(f"{server.control_url}/requests", trust_env=False).raise_for_status()
    report = asyncio.run(sync(place.store, place.settings, today=today))
    counted = httpx.get(f"{server.control_url}/requests", trust_env=False).raise_for_status().json()["total"]
    if counted != report.requests:
        raise RuntimeError(f"expected the {report.requests} requests of the report, found {counted} at the sandbox")
    for one in report.broken:
        raise RuntimeError(f"expected a whole sync of {one.provider}, found {one.outcome}: {one.error}")
    found = {name: Day(least=ONCE.get(name, 0), on=today) for name in LEAST}
    with psycopg.connect(place.where.postgres_url) as postgres:
        for one in report.connections:
            if one.outcome == "done":
                _add(found[one.provider], one, _held(postgres, one))
    return found


def _add(day: Day, one: ConnectionResult, held: Held) -> None:
    day.connections += 1
    day.requests += one.requests
    day.received += one.bytes
    day.news += held.news
    day.least += LEAST[one.provider](held)
    day.told += held.told


def _held(postgres: psycopg.Connection, one: ConnectionResult) -> Held:
    """Read from the store what the connection's last sync brought."""
    accounts: dict[str, Any] = {}
    refreshed, fresh, changed, rows = set[str](), Counter[str](), Counter[str](), Counter[str]()
    told = 0
    for stream in PROVIDERS[one.provider].streams:
        for record_id, account_id, version, payload, is_new in postgres.execute(
            sql.SQL(_BROUGHT).format(sql.Identifier(f"{one.provider}_{stream.name}")),
            {"connection": one.connection_id, "accounts": stream.name == "accounts"},
        ):
            told += len(payload.encode())
            if stream.name == "accounts":
                accounts[record_id] = json.loads(payload)
                refreshed |= {record_id} if is_new else set()
            if is_new:
                (fresh if version == 1 else changed)[stream.name] += 1
                rows[account_id] += stream.name == "transactions"
    opened = {
        account_id
        for (account_id,) in postgres.execute(
            "SELECT account_id FROM ledgerlake.accounts WHERE connection_id = %s AND state = 'open'",
            (one.connection_id,),
        )
    }
    shown = {account_id: payload for account_id, payload in accounts.items() if account_id in opened}
    return Held(shown, frozenset(refreshed & opened), fresh, changed, rows, told)


def _compared(provider: str, each: Sequence[Day], after: Day, away: int) -> list[Comparison]:
    """The quiet and the busy one of some days, and the one after an absence."""
    ordered = sorted((day for day in each if day.news), key=lambda day: (day.news, day.on))
    if not ordered:
        raise RuntimeError(
            f"expected new records of {provider} on some of {len(each)} days, found none: take more days"
        )
    found = []
    for kind, day in (("a quiet day", ordered[0]), ("a busy day", ordered[-1]), (f"after {away} days", after)):
        what = f"{provider}, {kind}: {day.news} new records of {day.connections} connections"
        say("requests", f"{what}, {day.on}: {day.requests} requests, at least {day.least}; {day.received:,} bytes")
        found.append(
            Comparison(
                "requests",
                what,
                "requests a record",
                [day.requests / day.news],
                f"the protocol's least: {day.least} requests",
                [day.least / day.news],
                _GOAL,
            )
        )
        found.append(
            Comparison(
                "requests",
                what,
                "bytes a record",
                [day.received / day.news],
                "what is new, and the accounts",
                [day.told / day.news],
            )
        )
    return found
