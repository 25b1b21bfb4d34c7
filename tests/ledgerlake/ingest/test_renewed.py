"""A customer who signs a new consent keeps the connection: its records, accounts and cursors go on, nothing is doubled."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

import sandbox
from connectors import PROVIDERS
from ledgerlake.errors import LedgerlakeError, UsageError
from ledgerlake.ingest import Connected, ConnectionResult, connect, sync
from ledgerlake.settings import Settings
from ledgerlake.store import Store, Vault

TODAY = dt.date(2026, 3, 1)
CUSTOMER = "customer-00008"
OTHER = "customer-00011"


class Desk:
    """Who connects customers of GoCardless at the sandbox, follows their links for them, and syncs."""

    def __init__(self, server: sandbox.Server, store: Store, settings: Settings) -> None:
        where = server.where()
        self.control_url, self.url = where["control_url"], where["gocardless_url"]
        self.store = store
        self.http = httpx.Client(timeout=30)
        keys = {name: SecretStr(value) for name, value in where["gocardless_credentials"].items()}
        self.settings = settings.model_copy(
            update={
                "gocardless_url": self.url,
                "gocardless_requests_per_second": 1e6,
                **{f"gocardless_{name}": value for name, value in keys.items()},
            }
        )
        self.customers = {
            one["customer_id"]: one["connection_id"]
            for one in self.http.get(f"{self.control_url}/customers").json()
            if one["provider"] == "gocardless"
        }
        self._keys = {name: value.get_secret_value() for name, value in keys.items()}

    def control(self, path: str, **body: object) -> None:
        answer = self.http.post(self.control_url + path, json=body)
        assert answer.is_success, answer.text

    def today(self) -> dt.date:
        return dt.date.fromisoformat(self.http.get(f"{self.control_url}/clock").json()["today"])

    def new_requisition(self, user: str, *, signed: bool = True) -> str:
        """What a console does: an agreement, a requisition, and the customer who follows its link."""
        access = self.http.post(f"{self.url}/token/new/", json=self._keys).json()["access"]
        headers = {"Authorization": f"Bearer {access}"}
        old = self.http.get(f"{self.url}/requisitions/{self.customers[user]}/", headers=headers).json()
        asked: dict[str, Any] = {"institution_id": old["institution_id"], "max_historical_days": 90}
        agreement = self.http.post(f"{self.url}/agreements/enduser/", json=asked, headers=headers).json()
        asked = {
            "redirect": "http://127.0.0.1:9/back",
            "institution_id": old["institution_id"],
            "agreement": agreement["id"],
        }
        made: dict[str, str] = self.http.post(f"{self.url}/requisitions/", json=asked, headers=headers).json()
        if signed:
            form = {"user": user, "password": "password", "decision": "allow"}
            assert self.http.post(made["link"], data=form).status_code == 303
        return made["id"]

    def connect(self, requisition_id: str, customer: str = "acme", **options: Any) -> Connected:
        secrets = {"requisition_id": SecretStr(requisition_id)}
        return asyncio.run(
            connect(
                self.store,
                self.settings,
                provider="gocardless",
                customer_id=customer,
                secrets=secrets,
                today=self.today(),
                **options,
            )
        )

    def sync(self, **options: Any) -> ConnectionResult:
        (result,) = asyncio.run(sync(self.store, self.settings, today=self.today(), **options)).connections
        return result

    def truth(self, user: str) -> Counter[tuple[str, str, Decimal]]:
        """Account, state and amount of every transaction that the bank shows."""
        asked = {"connection_id": self.customers[user]}
        told = self.http.get(f"{self.control_url}/truth", params=asked).json()
        return Counter(
            (account["id"], row["status"], Decimal(row["amount"]))
            for account in told["accounts"]
            for row in account["transactions"]
        )

    def held(self) -> Counter[tuple[str, str, Decimal]]:
        """The same of the store, of all connections together."""
        with self.store.connect() as connection:
            rows = connection.execute(
                "SELECT account_id, pending, payload::text FROM raw.gocardless_transactions WHERE removed_at IS NULL"
            ).fetchall()
        return Counter(
            (account, "pending" if pending else "posted", Decimal(json.loads(text)["transactionAmount"]["amount"]))
            for account, pending, text in rows
        )


@pytest.fixture(scope="module")
def world() -> sandbox.World:
    return sandbox.World.of(seed=1, customers=12, years=1, today=TODAY)


@pytest.fixture
def gocardless(world: sandbox.World, store: Store, settings: Settings) -> Iterator[Desk]:
    with sandbox.Server(world, sandbox.Clock(TODAY)) as server:
        desk = Desk(server, store, settings)
        with closing(desk.http):
            yield desk


def test_a_new_requisition_after_the_consent_expired_goes_on_with_the_same_connection(gocardless: Desk) -> None:
    first = gocardless.customers[CUSTOMER]
    before = gocardless.connect(first).connection
    assert gocardless.sync().outcome == "done"
    known = gocardless.store.account_ids(before.connection_id)
    records = gocardless.held().total()
    assert (len(known) > 0, records > 100) == (True, True)

    gocardless.control("/clock", days=10)
    gocardless.control(f"/enrollments/{first}/disconnect", reason="enrollment_inactive")
    assert gocardless.sync().outcome == "needs_reauth"
    gocardless.control("/clock", days=12)
    second = gocardless.new_requisition(CUSTOMER)
    renewed = gocardless.connect(second)

    after = renewed.connection
    assert (renewed.how, renewed.left) == ("renewed", ())
    assert (after.connection_id, after.external_id, after.state, after.reason) == (
        before.connection_id,
        second,
        "active",
        None,
    )
    result = gocardless.sync()
    assert (result.outcome, result.counts.new > 0, result.counts.new < records) == ("done", True, True)
    assert gocardless.held() == gocardless.truth(CUSTOMER)
    assert gocardless.store.account_ids(before.connection_id) == known
    assert gocardless.connect(second).how == "repaired"
    assert len(gocardless.store.connections()) == 1

    with pytest.raises(UsageError, match=f"{first} was replaced by {second}"):
        gocardless.connect(first)
    third = gocardless.new_requisition(CUSTOMER)
    again = gocardless.connect(third, repair=before.connection_id)
    assert (again.how, again.connection.connection_id) == ("renewed", before.connection_id)
    with pytest.raises(UsageError, match=f"{second} was replaced by {third}"):
        gocardless.connect(second)


def test_another_bank_of_the_same_customer_is_another_connection(gocardless: Desk) -> None:
    one = gocardless.connect(gocardless.customers[CUSTOMER])
    gocardless.sync()
    other = gocardless.connect(gocardless.customers[OTHER])
    assert (one.how, other.how, len(gocardless.store.connections())) == ("new", "new", 2)


def test_another_customer_of_ours_with_the_same_account_is_another_connection(gocardless: Desk) -> None:
    gocardless.connect(gocardless.customers[CUSTOMER])
    gocardless.sync()
    assert gocardless.connect(gocardless.new_requisition(CUSTOMER), customer="globex").how == "new"


def test_a_connection_is_repaired_by_nothing_but_its_customers_consent_to_its_accounts(gocardless: Desk) -> None:
    mine = gocardless.connect(gocardless.customers[CUSTOMER]).connection
    gocardless.sync()
    others = gocardless.connect(gocardless.customers[OTHER], customer="globex").connection
    new, foreign = gocardless.new_requisition(CUSTOMER), gocardless.new_requisition(OTHER)
    for requisition, repair, sentence in (
        (new, "con_x", "There is no connection con_x"),
        (
            new,
            others.connection_id,
            f"expected a connection of acme at gocardless, found {others.connection_id} of globex",
        ),
        (foreign, mine.connection_id, "expected a consent with an account that the connection has"),
        (gocardless.customers[OTHER], mine.connection_id, f"is already {others.connection_id}"),
    ):
        with pytest.raises(UsageError, match=sentence):
            gocardless.connect(requisition, repair=repair)
    assert [one.external_id for one in gocardless.store.connections()] == [mine.external_id, others.external_id]


def test_where_two_connections_have_the_account_somebody_has_to_say_which(gocardless: Desk, vault: Vault) -> None:
    gocardless.connect(gocardless.customers[CUSTOMER])
    gocardless.sync()
    doubled = gocardless.new_requisition(CUSTOMER)
    twin, _ = gocardless.store.add_connection(
        vault,
        provider="gocardless",
        external_id=doubled,
        customer_id="acme",
        secrets={"requisition_id": SecretStr(doubled)},
    )
    gocardless.control("/clock", days=1)
    asyncio.run(sync(gocardless.store, gocardless.settings, today=gocardless.today()))
    with pytest.raises(UsageError, match="say with --repair which"):
        gocardless.connect(gocardless.new_requisition(CUSTOMER))
    renewed = gocardless.connect(gocardless.new_requisition(CUSTOMER), repair=twin.connection_id)
    assert renewed.connection.connection_id == twin.connection_id


def test_what_cannot_be_asked_is_not_guessed(gocardless: Desk) -> None:
    gocardless.connect(gocardless.customers[CUSTOMER])
    gocardless.sync()
    unsigned = gocardless.new_requisition(CUSTOMER, signed=False)
    with pytest.raises(LedgerlakeError, match=r"cannot be told: .*not yet connected \(CR\)"):
        gocardless.connect(unsigned)
    assert len(gocardless.store.connections()) == 1


def test_accounts_that_the_new_consent_leaves_out_are_told(gocardless: Desk) -> None:
    mine = gocardless.connect(gocardless.customers[CUSTOMER]).connection
    gocardless.sync()
    with gocardless.store.connect() as connection:
        connection.execute(
            "INSERT INTO ledgerlake.accounts VALUES (%s, 'acc_left', 'open', NULL, %s)", (mine.connection_id, TODAY)
        )
    assert gocardless.connect(gocardless.new_requisition(CUSTOMER)).left == ("acc_left",)


def test_where_accounts_get_new_ids_a_new_consent_is_another_connection_and_says_so(desk: Any, server: Any) -> None:
    """Teller: an enrollment that is made anew has other account ids; update mode keeps the enrollment and the token."""
    assert not PROVIDERS["teller"].lasting_accounts
    old = server.bank("enr_1")
    old.account()
    connection_id = desk.connect(old.token, "enr_1")
    desk.sync()
    new = server.bank("enr_2")
    new.account("acc_2")
    secrets = {"access_token": SecretStr(new.token), "enrollment_id": SecretStr("enr_2")}

    def again(**options: Any) -> Connected:
        return asyncio.run(
            connect(desk.store, desk.settings, provider="teller", customer_id="acme", secrets=secrets, **options)
        )

    with pytest.raises(UsageError, match="records cannot be continued under another id") as refused:
        again(repair=connection_id)
    assert new.token not in str(refused.value)
    assert again().how == "new"


def test_what_an_old_consent_ended_in_does_not_end_the_new_one(desk: Any, server: Any, refuse: Any) -> None:
    """The customer signs anew while a sync still reads with the old secrets, and finds them dead."""
    bank = server.bank("enr_1")
    bank.account()
    desk.connect(bank.token, "enr_1")

    def say(path: str, query: dict[str, str]) -> Any:
        if path == "/accounts":
            return None
        desk.connect(bank.token, "enr_1")
        return refuse(404, "enrollment.disconnected.user_action.mfa_required")

    bank.say = say
    assert desk.sync().connections[0].outcome == "needs_reauth"
    assert desk.one("SELECT state FROM ledgerlake.connections") == "active"
