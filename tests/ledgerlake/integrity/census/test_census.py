"""A census of a town at all five providers: what it shows, what it costs, and what it says when it cannot read."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from collections.abc import Callable
from typing import Any

from pydantic import SecretStr

from connectors import Client
from connectors._http import Reply
from ledgerlake.ingest import client_config
from ledgerlake.integrity.census import CensusReport, census
from ledgerlake.integrity.census._client import Caller
from ledgerlake.store import Vault

BANKS = ("gocardless", "plaid", "teller", "tink")
COUNTED = {
    **dict.fromkeys(BANKS, ("accounts", "balances", "transactions")),
    "stripe": (
        "accounts", "balance_transactions", "charges", "invoices", "refunds", "payouts", "subscriptions", "disputes",
        "credit_notes",
    ),
}  # fmt: skip

# What the source showed and raw does not hold as it is, found by id, else by content, each once; raw may be newer.
_NOT_HELD = """
WITH shown AS (
    SELECT records.*, read_at, row_number() OVER (PARTITION BY records.account_id, record_id, hash) AS one
    FROM ledgerlake.census_records AS records JOIN ledgerlake.census_reads USING (read_id)
    WHERE records.stream = %(stream)s AND records.connection_id = ANY(%(of)s)
),
held AS (
    SELECT *, row_number() OVER (PARTITION BY account_id, hash) AS one FROM raw.{table} WHERE removed_at IS NULL
)
SELECT shown.record_id, shown.record_date, shown.pending, shown.payload::text FROM shown
WHERE NOT EXISTS (
    SELECT FROM held
    WHERE held.connection_id = shown.connection_id AND held.hash = shown.hash
      AND held.account_id IS NOT DISTINCT FROM shown.account_id
      AND (held.record_id = shown.record_id OR shown.record_id IS NULL AND held.one = shown.one)
)
AND NOT EXISTS (
    SELECT FROM raw.{table} AS newer
    WHERE newer.connection_id = shown.connection_id AND newer.record_id = shown.record_id
      AND greatest(newer.synced_at, newer.removed_at) > shown.read_at
)
"""
# What raw held before a read that answers for it, and the source did not show.
_NOT_SHOWN = """
SELECT held.record_id, held.record_date, held.pending FROM raw.{table} AS held
WHERE held.removed_at IS NULL AND held.connection_id = ANY(%(of)s)
  AND EXISTS (
    SELECT FROM ledgerlake.census_reads AS reads
    WHERE reads.connection_id = held.connection_id AND reads.stream = %(stream)s AND reads.outcome = 'done'
      AND (reads.account_id IS NULL OR reads.account_id = held.account_id) AND held.synced_at < reads.read_at
      AND CASE
          WHEN held.pending AND reads.whole_pending THEN true
          WHEN held.record_date IS NULL THEN %(stream)s = 'accounts'
          ELSE held.record_date >= coalesce(reads.since, '-infinity') AND held.record_date <= coalesce(reads.until, 'infinity')
      END
  )
  AND NOT EXISTS (
    SELECT FROM ledgerlake.census_records AS shown
    WHERE shown.connection_id = held.connection_id AND shown.stream = %(stream)s
      AND (shown.record_id = held.record_id OR shown.record_id IS NULL AND shown.hash = held.hash)
  )
"""


def run(town: Any, **settings: Any) -> CensusReport:
    """A census on the town's day."""
    return asyncio.run(census(town.store, town.settings.model_copy(update=settings), today=town.today))


def differences(town: Any) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    """Where census and raw differ, by provider, stream and direction."""
    found = {}
    for provider, streams in COUNTED.items():
        of = town.of(provider)
        for stream in streams if of else ():
            for way, query in (("not held", _NOT_HELD), ("not shown", _NOT_SHOWN)):
                # A requisition's accounts tell when they were looked at last.
                if (provider, stream, way) == ("gocardless", "accounts", "not held"):
                    continue
                text = query.format(table=f"{provider}_{stream}")
                with town.store.connect() as connection:
                    rows = connection.execute(text, {"stream": stream, "of": of}).fetchall()
                if rows:
                    found[provider, stream, way] = rows[:3]
    return found


def uncounted(town: Any) -> dict[str, int]:
    """How many of the current records of each stream, from before the first day, the census has not shown."""
    found = {}
    for provider, streams in COUNTED.items():
        for stream in streams[2:] if provider in BANKS else streams[1:]:
            (row,) = town.query(
                f"""
                SELECT count(*) AS rows FROM raw.{provider}_{stream} AS held
                WHERE removed_at IS NULL AND record_date < '2026-03-01' AND NOT EXISTS (
                    SELECT FROM ledgerlake.census_records AS shown
                    WHERE shown.connection_id = held.connection_id AND shown.stream = %s
                      AND (shown.record_id = held.record_id OR shown.record_id IS NULL AND shown.hash = held.hash)
                )
                """,
                stream,
            )
            if row["rows"]:
                found[f"{provider}_{stream}"] = row["rows"]
    return found


def asked(town: Any) -> Counter[str]:
    """The requests that the sandbox has counted, by path, and from now on from zero."""
    paths = Counter(town.control("GET", "/requests")["paths"])
    town.control("DELETE", "/requests")
    return paths


def test_day_after_day_the_census_shows_what_the_sync_has_stored_and_in_so_many_days_all_of_it(
    make_town: Callable[..., Any],
) -> None:
    town = make_town(customers=5)
    for number in range(3):
        town.sync()
        asked(town)
        report = run(town, census_days=2)
        assert (report.troubles, report.overdue, report.off) == ((), (), False)
        assert sum(asked(town).values()) == report.requests
        assert differences(town) == {}
        if number == 2:
            assert uncounted(town) == {}
        again = run(town, census_days=2)
        assert again.requests <= report.requests / 4  # what the days of rotation still ask for, and nothing twice
        town.next_day()


def test_a_census_without_requests_for_it_leaves_the_past_overdue_until_it_is_counted(
    make_town: Callable[..., Any],
) -> None:
    town = make_town(customers=2, providers=("stripe",))
    town.sync()
    assert run(town, census_requests=5).overdue == ()
    assert uncounted(town) != {}
    town.next_day(3)
    town.sync()
    report = run(town, census_requests=5, census_days=1)
    assert {one.stream for one in report.overdue} >= {"refunds", "subscriptions"}
    assert all(one.last is None for one in report.overdue)
    town.next_day()
    assert run(town, census_requests=40, census_days=1).overdue == ()
    assert uncounted(town) == {}


def test_the_budget_is_held_to_the_request_with_all_retries_and_what_it_leaves_out_is_told(
    make_town: Callable[..., Any],
) -> None:
    town, allowance = make_town(customers=2), 4
    town.sync()
    town.control("POST", "/faults", kind="error", probability=0.3, seed=allowance)
    asked(town)
    report = run(town, census_requests=allowance)
    again = run(town, census_requests=allowance)
    assert again.requests <= report.connections * allowance - report.requests
    assert sum(asked(town).values()) == report.requests + again.requests
    spent = town.query("SELECT connection_id, sum(requests) AS requests FROM ledgerlake.census_reads GROUP BY 1")
    assert len(spent) == report.connections == len(town.connections)
    assert max(row["requests"] for row in spent) == allowance
    without = [one for one in report.troubles if one.outcome == "budget"]
    assert without
    assert {one.rows for one in report.troubles} == {0}
    assert {"LEDGERLAKE_CENSUS_REQUESTS" in (one.error or "") for one in without} == {True}
    town.control("DELETE", "/faults")
    town.next_day()
    town.sync()
    assert run(town, census_requests=40).troubles == ()
    assert differences(town) == {}


def test_a_census_that_is_switched_off_asks_nothing_and_says_that_it_is(make_town: Callable[..., Any]) -> None:
    town = make_town(customers=2)
    town.sync()
    asked(town)
    report = run(town, census_requests=0)
    assert (report.off, report.requests, report.reads) == (True, 0, {})
    assert asked(town) == {}
    assert town.query("SELECT count(*) AS reads FROM ledgerlake.census_reads") == [{"reads": 0}]


def test_gocardless_is_asked_only_from_what_the_day_s_four_answers_leave_after_the_sync(
    make_town: Callable[..., Any],
) -> None:
    town = make_town(customers=3, providers=("gocardless",))
    before = run(town)
    data = [path for path in asked(town) if path.endswith(("/balances/", "/transactions/"))]
    assert data == []  # today's sync comes first
    assert before.postponed > 0
    for day in range(3):
        town.sync()
        reports = [run(town, census_days=2), run(town, census_days=2)]
        counted = {
            path: times for path, times in asked(town).items() if path.endswith(("/balances/", "/transactions/"))
        }
        assert counted
        assert set(counted.values()) == {2}, day  # one of the sync, one of the census
        assert reports[1].requests == 0
        assert not town.sync().broken
        asked(town)
        town.next_day()
    assert uncounted(town) == {}
    # Each account's one request went to the past once, and to what is recent else.
    spans = town.query(
        "SELECT account_id, array_agg(asked_since IS NULL ORDER BY today) AS past FROM ledgerlake.census_reads"
        " WHERE stream = 'transactions' GROUP BY 1"
    )
    assert {sorted(row["past"]) == [False, False, True] and not row["past"][0] for row in spans} == {True}


def test_a_read_that_fails_is_told_as_such_and_leaves_what_was_shown_before(make_town: Callable[..., Any]) -> None:
    town = make_town(customers=2, providers=("plaid", "teller", "stripe"))
    town.sync()
    run(town)
    kept = "SELECT stream, record_id, hash FROM ledgerlake.census_records WHERE stream IN ('transactions', 'charges')"
    shown = {tuple(row.values()) for row in town.query(kept)}
    failures = dict.fromkeys(("error", "rate_limited", "truncated", "html", "empty", "reset"), "failed")
    town.next_day()
    for fault, outcome in (failures | {"account_closed": "refused"}).items():
        for path in ("*/transactions", "*/transactions/get", "*/charges"):
            town.control("POST", "/faults", path=path, kind=fault)
        asked(town)
        report = run(town, census_requests=1_000)
        paths = asked(town)
        town.control("DELETE", "/faults")
        told = {(one.provider, one.stream, one.outcome, one.rows, one.error is None) for one in report.troubles}
        assert told == {
            ("plaid", "transactions", outcome, 0, False),
            ("teller", "transactions", outcome, 0, False),
            ("stripe", "charges", outcome, 0, False),
        }, fault
        if fault == "rate_limited":  # it does not press
            tried = [
                path for path in paths.elements() if path.endswith(("/transactions", "/transactions/get", "/charges"))
            ]
            assert len(tried) == len(report.troubles)
        assert shown <= {tuple(row.values()) for row in town.query(kept)}, fault


def test_a_second_page_that_fails_takes_the_first_one_with_it(make_town: Callable[..., Any]) -> None:
    town = make_town(customers=2, years=1, providers=("tink",))
    town.sync()
    # Tink's pages hold 100 rows, and an older span several of them.
    town.control("POST", "/faults", kind="error", path="*/transactions", probability=0.6, seed=1)
    report = run(town)
    town.control("DELETE", "/faults")
    assert {one.outcome for one in report.troubles} == {"failed"}
    half = town.query(
        "SELECT count(*) AS rows FROM ledgerlake.census_records JOIN ledgerlake.census_reads USING (read_id)"
        " WHERE outcome IS DISTINCT FROM 'done'"
    )
    assert half == [{"rows": 0}]
    assert run(town).troubles == ()
    assert differences(town) == {}


def test_secrets_that_are_refused_are_told_and_stand_in_no_text(make_town: Callable[..., Any]) -> None:
    town = make_town(customers=2)
    canaries = {"access_token": "token_canary", "api_key": "rk_test_canary", "requisition_id": "canary-requisition",
                "credentials_id": "canary_credentials"}  # fmt: skip
    vault = Vault.of(town.settings)
    for one in town.connections.values():
        wrong = {name: SecretStr(canaries.get(name, value)) for name, value in one["secrets"].items()}
        town.store.add_connection(
            vault,
            provider=one["provider"],
            external_id=one["connection_id"],
            customer_id=one["customer_id"],
            secrets=wrong,
        )
    report = run(town, plaid_secret=SecretStr("canary_of_the_application"))
    assert {(one.stream, one.outcome) for one in report.troubles} == {("accounts", "refused")}
    assert len(report.troubles) == len(town.connections)
    texts = repr(report) + repr(town.query("SELECT * FROM ledgerlake.census_reads"))
    for canary in ("token_canary", "rk_test_canary", "canary_credentials", "canary_of_the_application"):
        assert canary not in texts


def test_a_code_that_is_part_of_a_secret_is_not_repeated(make_town: Callable[..., Any]) -> None:
    town = make_town(customers=1, providers=("teller",))
    client = Client(client_config(town.settings, "teller"))
    caller = Caller(client.session({"access_token": SecretStr("token_canary")}))
    for code, told in (("token_canary", False), ("canary", False), ("enrollment.disconnected", True)):
        reply = Reply(404, "GET /accounts", b'{"error": {"code": "%s"}}' % code.encode(), {})
        assert (code in caller._meaning(reply).message) is told
    asyncio.run(client.close())


def test_connections_that_are_not_called_are_not_counted(make_town: Callable[..., Any]) -> None:
    town = make_town(customers=4, providers=("teller", "stripe", "tink"))
    town.sync()
    teller = town.of("teller")
    for connection_id, state in zip(teller[:3], ("needs_reauth", "paused", "gone"), strict=True):
        town.store.set_state(connection_id, state, "as the test wants it")
    town.store.pause_provider("stripe", "as the test wants it", "ana")
    report = run(town, tink_enabled=False)
    rows = town.query("SELECT DISTINCT connection_id FROM ledgerlake.census_reads")
    assert [row["connection_id"] for row in rows] == teller[3:]
    assert (report.connections, report.troubles) == (1, ())


def test_an_account_that_is_known_as_closed_is_neither_asked_for_nor_overdue(make_town: Callable[..., Any]) -> None:
    town = make_town(customers=2, providers=("gocardless",))
    (connection_id,) = town.of("gocardless")
    closed = town.truth(connection_id)["accounts"][0]["id"]
    town.control("POST", f"/accounts/{closed}/close")
    town.sync()
    assert [
        row["state"] for row in town.query("SELECT state FROM ledgerlake.accounts WHERE account_id = %s", closed)
    ] == ["closed"]
    run(town, census_days=1)
    town.next_day(3)
    town.sync()
    asked(town)
    report = run(town, census_days=1)
    assert [path for path in asked(town) if closed in path] == []
    assert (report.troubles, [one for one in report.overdue if one.account_id == closed]) == ((), [])
    with_it = town.query(
        "SELECT count(*) AS rows FROM ledgerlake.census_records WHERE stream = 'accounts' AND account_id = %s", closed
    )
    assert with_it == [{"rows": 1}]  # the source lists it all the same


def test_a_census_that_was_killed_leaves_nothing_that_counts(make_town: Callable[..., Any]) -> None:
    town = make_town(customers=1, providers=("teller",))
    town.sync()
    (connection_id,) = town.of("teller")
    with town.store.connect() as connection:
        connection.execute(
            "INSERT INTO ledgerlake.census_reads (census_id, connection_id, stream, today) VALUES ('killed', %s, 'accounts', %s)",
            (connection_id, town.today),
        )
    with town.store.connect() as other:
        other.execute("SELECT pg_advisory_lock(hashtextextended('census:' || %s, 0))", (connection_id,))
        assert run(town).requests == 0  # another census is at it
    assert run(town).troubles == ()
    assert town.query("SELECT count(*) AS left FROM ledgerlake.census_reads WHERE census_id = 'killed'") == [
        {"left": 0}
    ]


def test_reads_of_three_rounds_ago_are_forgotten(make_town: Callable[..., Any]) -> None:
    town = make_town(customers=1, providers=("plaid",), today=dt.date(2026, 3, 1))
    town = town if town.connections else make_town(customers=2, providers=("plaid",))
    town.sync()
    run(town, census_days=2)
    town.next_day(7)
    town.sync()
    run(town, census_days=2)
    assert {row["today"] for row in town.query("SELECT DISTINCT today FROM ledgerlake.census_reads")} == {town.today}
