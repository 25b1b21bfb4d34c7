"""Against servers that are not ours: a URL, credentials and secrets are enough, and the marts are what one works out by hand."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr

from connectors import PROVIDERS
from ledgerlake.ingest import SyncReport, sync
from ledgerlake.lake import Lake
from ledgerlake.local import S3, Servers
from ledgerlake.settings import Settings
from ledgerlake.store import Store, Vault
from tests.acceptance.foreign_servers import Foreign, Tables, gocardless, plaid, serving, stripe, teller, tink

FIRST_DAY, SECOND_DAY = dt.date(2026, 3, 2), dt.date(2026, 3, 4)
MONTHS: Tables = {
    "select month, currency, inflow, outflow, net, closing_balance from customer_months order by all": [
        ("2026-01-01", "USD", "1000000", "7", "999993", None),
        ("2026-02-01", "BHD", "0", "12.345", "-12.345", None),
        ("2026-02-01", "BTC", "0", "0.00012345", "-0.00012345", None),
        ("2026-02-01", "EUR", "508", "1048.46", "-540.46", None),
        ("2026-02-01", "JPY", "0", "3600", "-3600", None),
        ("2026-02-01", "KWD", "0.00000001", "12.345", "-12.34499999", None),
        ("2026-02-01", "USD", "2600", "64.96", "2535.04", None),
        ("2026-03-01", "BHD", "7", "0", "7", None),
        ("2026-03-01", "BTC", "0", "0", "0", "0.12345678"),
        ("2026-03-01", "EUR", "0", "80.99", "-80.99", "19214.01"),
        ("2026-03-01", "JPY", "0", "0", "0", "1250000"),
        ("2026-03-01", "USD", "0", "143.89", "-143.89", "1000507.93"),
    ]
}
"""All banks together: posted rows by the day of booking, and of each account the last reading that tells what is booked."""


@dataclass
class Reader:
    """One customer with a connection at each of the servers."""

    store: Store
    lake: Lake
    settings: Settings
    servers: Mapping[str, Foreign]

    def connect(self, provider: str) -> None:
        secrets = PROVIDERS[provider].secrets(self.servers[provider].secrets)
        self.store.add_connection(
            Vault.of(self.settings),
            provider=provider,
            external_id=PROVIDERS[provider].external_id(secrets),
            customer_id="acme",
            secrets=secrets,
        )

    def sync(self, today: dt.date, *providers: str) -> SyncReport:
        """A whole sync: nothing left unread, nothing set aside."""
        report = asyncio.run(sync(self.store, self.settings, today=today, providers=providers or None))
        assert [(one.provider, one.outcome, one.error) for one in report.failed] == []
        assert report.counts.quarantined == 0
        return report

    def published(self, queries: Tables) -> Tables:
        """The same queries, with what they find; asked together, since each question opens the lake anew."""
        together = ", ".join(f"(select list(found) from ({sql}) as found)" for sql in queries)
        (answers,) = self.lake.query(f"select {together}").rows
        return {
            sql: [tuple(map(_text, row.values())) for row in rows or ()]
            for sql, rows in zip(queries, answers, strict=True)
        }


@pytest.fixture
def reader(settings: Settings, postgres_url: str, s3: S3, shared: Path) -> Iterator[Reader]:
    servers: dict[str, Foreign] = {
        "teller": teller.Teller(),
        "plaid": plaid.Plaid(),
        "tink": tink.Tink(),
        "gocardless": gocardless.GoCardless(),
        "stripe": stripe.Stripe(),
    }
    parsed = shared / f"dbt-{os.getpid()}"  # the project is parsed once for all tests of this process
    parsed.mkdir(exist_ok=True)
    settings.home.mkdir()
    (settings.home / "dbt").symlink_to(parsed)
    with contextlib.ExitStack() as running:
        given: dict[str, object] = {"threads": None}  # as many as there are, as it is shipped
        for name, server in servers.items():
            given[f"{name}_url"] = running.enter_context(serving(server)) + server.path
            given |= {f"{name}_{key}": SecretStr(value) for key, value in server.credentials.items()}
        reached = settings.model_copy(update=given)
        made = Reader(Store(postgres_url), Lake(Servers(postgres_url, s3), reached), reached, servers)
        for name in servers:
            made.connect(name)
        yield made


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_days_of_every_provider_are_in_the_marts_as_worked_out_by_hand(reader: Reader) -> None:
    reader.sync(FIRST_DAY)
    reader.lake.build()
    for server in reader.servers.values():
        assert reader.published(server.first) == server.first

    for server in reader.servers.values():
        server.go_on()
    reader.sync(SECOND_DAY)
    assert {one.provider: one.counts.new + one.counts.changed for one in reader.sync(SECOND_DAY).connections} == (
        dict.fromkeys(reader.servers, 0)
    )
    for _ in range(gocardless.A_DAY - 1):
        reader.sync(SECOND_DAY, "gocardless")
    reader.lake.build()
    for server in reader.servers.values():
        assert reader.published(server.second) == server.second
        server.check()
    assert reader.published(MONTHS) == MONTHS


def _text(value: object) -> object:
    """A decimal or a day as the tables write it."""
    if isinstance(value, Decimal):
        whole = f"{value:f}"
        return whole.rstrip("0").rstrip(".") if "." in whole else whole
    return value.isoformat() if isinstance(value, dt.date) else value
