"""A week without a fault of ours: whatever banks do on ordinary days, verification has nothing to say."""

import asyncio
import datetime as dt
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

import sandbox
from connectors import PROVIDERS
from ledgerlake.ingest import sync
from ledgerlake.integrity import verify
from ledgerlake.lake import Lake
from ledgerlake.local import S3, Servers
from ledgerlake.settings import Settings
from ledgerlake.store import Store, Vault

FIRST = dt.date(2026, 2, 24)
OF = ("teller", "plaid", "stripe")


def reached(told: dict[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for provider in OF:
        given |= {f"{provider}_url": told[f"{provider}_url"], f"{provider}_requests_per_second": 10_000}
        for name, value in told.get(f"{provider}_credentials", {}).items():
            if f"{provider}_{name}" in Settings.model_fields:
                given[f"{provider}_{name}"] = SecretStr(value)
    return given


@pytest.fixture
def buckets() -> int:
    """One, which each day builds: what is proved here is not of buckets."""
    return 1


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_week_of_ordinary_days_opens_no_finding(settings: Settings, store: Store, s3: S3, parsed: Path) -> None:
    """Rows come late, pendings become posted or go away, a bank corrects itself, and a customer must sign in again.

    Each day is synced, built and counted again; the town's bank breaks one connection on the third day, and its customer
    mends it on the fifth.
    """
    shutil.copytree(parsed, settings.home / "dbt")
    where = Servers(store.postgres_url, s3)
    seen: Counter[str] = Counter()
    with (
        sandbox.Server(sandbox.World.of(11, 5, 0, FIRST), sandbox.Clock(FIRST)) as server,
        httpx.Client(base_url=server.control_url, trust_env=False) as control,
    ):
        mine = settings.model_copy(update=reached(server.where()))
        external = connect(store, mine, control)
        broken = next(one for one, provider in external.values() if provider == "teller")
        [broken_id] = [connection_id for connection_id, (one, _) in external.items() if one == broken]
        for number in range(7):
            today = FIRST + dt.timedelta(days=number)
            control.post("/clock", json={"today": today.isoformat()}).raise_for_status()
            if number == 2:
                control.post(f"/enrollments/{broken}/disconnect", json={"reason": "account_locked"}).raise_for_status()
            if number == 4:
                control.post(f"/enrollments/{broken}/repair").raise_for_status()
                store.set_state(broken_id, "active", None)
            report = asyncio.run(sync(store, mine, today=today))
            for one in report.connections:
                seen += Counter({one.outcome: 1})
            Lake(where, mine).build()
            verified = verify(where, mine, today=today)
            assert [(one.kind, one.step, one.message) for one in verified.findings] == [], today
            assert verified.census is not None
            assert verified.census.rows > 0
    assert seen.keys() == {"done", "needs_reauth", "skipped"}
    with store.connect() as connection:
        [changed, removed, late] = connection.execute(
            """
            SELECT sum(syncs.changed), sum(syncs.removed), sum(syncs.new) FILTER (WHERE today > %s) FROM ledgerlake.syncs
            """,
            (FIRST,),
        ).fetchall()[0]
        assert min(changed, removed, late) > 0
        assert connection.execute("SELECT count(*) FROM ledgerlake.findings").fetchone() == (0,)


def connect(store: Store, settings: Settings, control: httpx.Client) -> dict[str, tuple[str, str]]:
    """Everybody's connections: our id -> the bank's and the provider."""
    found = {}
    for one in control.get("/customers").json():
        if one["provider"] in OF:
            secrets = PROVIDERS[one["provider"]].secrets(one["secrets"])
            added, _ = store.add_connection(
                Vault.of(settings),
                provider=one["provider"],
                external_id=PROVIDERS[one["provider"]].external_id(secrets),
                customer_id=one["customer_id"],
                secrets=secrets,
            )
            found[added.connection_id] = (one["connection_id"], one["provider"])
    return found
