"""The way of a customer at each provider: connected, cancelled, repaired, and what the page tells of what arrived."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import httpx
import psycopg
import pytest

from connectors import PROVIDERS as CONNECTORS
from ledgerlake.ingest import sync
from ledgerlake.settings import Settings
from ledgerlake.store import Connection, Store, Vault
from tests.console.connect.visitor import PROVIDERS, USER, Visit, Visitor, query_of

BOREAL = "ins_910002"
"""Whose customers Plaid sends to the bank itself."""

Rows = Callable[[str], list[dict[str, Any]]]


def secrets_of(store: Store, vault: Vault, connection_id: str) -> dict[str, str]:
    with psycopg.connect(store.postgres_url) as postgres:
        row = postgres.execute(
            "SELECT ciphertext FROM ledgerlake.secrets WHERE connection_id = %s", (connection_id,)
        ).fetchone()
    assert row is not None
    return {name: one.get_secret_value() for name, one in vault.open(connection_id, bytes(row[0])).items()}


def held(control: httpx.Client, provider: str, user: str = USER) -> dict[str, str]:
    """What the provider gave, as the sandbox tells it."""
    told = control.get("/customers").json()
    (mine,) = (one for one in told if (one["provider"], one["customer_id"]) == (provider, user))
    return dict(mine["secrets"])


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_customer_connects(
    provider: str, visit: Visit, store: Store, vault: Vault, control: httpx.Client, rows: Rows, logged: list[Any]
) -> None:
    visitor = visit()
    page = visitor.consent(provider)
    assert (page.status_code, "Your account is connected" in page.text) == (200, True), page.text
    (connection,) = store.connections()
    assert (connection.provider, connection.customer_id, connection.state) == (provider, "acme", "active")
    secrets = secrets_of(store, vault, connection.connection_id)
    if provider == "tink":
        assert secrets["credentials_id"] == held(control, provider)["credentials_id"]
    elif provider == "stripe":
        assert secrets == {"api_key": "sk_test_sandbox_platform_5f1d90be", "account": connection.external_id}
    else:
        assert secrets == held(control, provider)
    assert rows("SELECT kind, connection_id, actor FROM ledgerlake.orders") == [
        {"kind": "sync", "connection_id": connection.connection_id, "actor": "customer acme"}
    ]
    assert rows("SELECT provider, outcome, connected_id, pending, state_hash FROM ledgerlake.connect_links") == [
        {
            "provider": provider,
            "outcome": "connected",
            "connected_id": connection.connection_id,
            "pending": None,
            "state_hash": None,
        }
    ]
    said = str(logged)
    token = visitor.path.rpartition("/")[2]
    assert [one for one in (*secrets.values(), token) if one in said and one != connection.external_id] == []


@pytest.mark.parametrize("provider", PROVIDERS)
def test_cancelling_is_no_error_and_leads_back_to_the_choice(provider: str, visit: Visit, store: Store) -> None:
    visitor = visit()
    page = visitor.consent(provider, allow=False)
    assert (page.status_code, visitor.note()) == (
        200,
        "You came back without allowing access. Nothing was connected; choose again whenever you like.",
    )
    assert store.connections() == []
    assert "Your account is connected" in visitor.consent("stripe").text


@pytest.fixture
def broken(store: Store, vault: Vault, control: httpx.Client) -> Callable[..., Connection]:
    """A connection that needs its customer."""

    def make(provider: str, user: str = USER) -> Connection:
        connector = CONNECTORS[provider]
        secrets = connector.secrets(held(control, provider, user))
        external_id = connector.external_id(secrets)
        made, _ = store.add_connection(
            vault, provider=provider, external_id=external_id, customer_id="acme", secrets=secrets
        )
        store.set_state(made.connection_id, "needs_reauth", "the bank wants its customer")
        return made

    return make


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_link_repairs_a_connection_which_keeps_its_id(
    provider: str, visit: Visit, store: Store, broken: Callable[..., Connection]
) -> None:
    visit().consent(provider)  # at the provider the customer is connected from now on, if he was not before
    with psycopg.connect(store.postgres_url) as postgres:
        postgres.execute("TRUNCATE ledgerlake.connections CASCADE")
    before = broken(provider)
    visitor = visit(connection_id=before.connection_id)
    assert [one.fields["provider"] for one in visitor.forms()] == [provider]
    page = visitor.consent(provider)
    assert "Your connection works again" in page.text, page.text
    (after,) = store.connections()
    assert (after.connection_id, after.state, after.reason) == (before.connection_id, "active", None)


def test_who_signs_in_as_somebody_else_repairs_nothing(
    visit: Visit, store: Store, broken: Callable[..., Connection]
) -> None:
    before = broken("tink", "customer-00002")
    visitor = visit(connection_id=before.connection_id)
    visitor.begin("tink")
    asked = query_of(visitor.leaving())
    page = visitor.went(
        visitor.client.get("/connect/return/tink", params={"state": asked["state"], "credentialsId": "0" * 32})
    )
    assert "You signed in to other accounts" in visitor.note(), page.text
    assert store.connection(before.connection_id).state == "needs_reauth"


def test_plaid_goes_on_after_a_page_of_the_bank_itself(visit: Visit, control: httpx.Client, store: Store) -> None:
    people = control.get("/people").json()
    user = next(one["user"] for one in people if one["institutions"]["plaid"] == BOREAL)
    visitor = visit()
    visitor.begin("plaid")
    told = visitor.plaid(user)
    assert told["kind"] == "oauth"
    back = visitor.sign_in(told["url"], user).headers["location"]
    assert back.startswith(f"{visitor.url}/connect/return/plaid?oauth_state_id=")
    visitor.went(visitor.client.get(back))
    assert visitor.answering().data["returned"] == "yes"
    query = {"token": visitor.answering().data["token"], "origin": visitor.url, **query_of(back)}
    shown = httpx.get(f"{visitor.bank.where()['plaid_url']}/link/session", params=query)
    visitor.post(visitor.answering(), public_token=visitor.handed(shown)["public_token"])
    assert "Your account is connected" in visitor.page.text
    assert [one.provider for one in store.connections()] == ["plaid"]


def test_stripe_takes_a_key_of_the_customer_and_no_other_text(
    visit: Visit, control: httpx.Client, store: Store, logged: list[Any]
) -> None:
    visitor = visit(stripe_client_id=None)
    for wrong in ("rk_test_canary", "pk_live_canary", "canary"):
        visitor.look()
        visitor.begin("stripe")
        visitor.post(visitor.answering(), key=wrong)
        assert "Stripe does not take this key" in visitor.note()
    assert store.connections() == []
    visitor.begin("stripe")
    visitor.post(visitor.answering(), key=f" {held(control, 'stripe')['api_key']} ")
    assert "Your account is connected" in visitor.page.text
    assert "canary" not in str(logged)


def facts(page: httpx.Response) -> dict[str, str]:
    return dict(re.findall(r"<dt>([^<]*)</dt><dd>([^<]*)</dd>", page.text))


def test_the_page_tells_what_arrives_until_it_is_in_the_lake(
    visit: Visit, settings: Settings, store: Store, control: httpx.Client
) -> None:
    visitor = visit()
    page = visitor.consent("teller")
    assert ("Reading begins in a moment" in page.text, "data-refresh" in page.text) == (True, True)
    report = asyncio.run(sync(store, settings))
    assert not report.broken
    page = visitor.look()
    (connection,) = store.connections()
    truth = control.get("/truth", params={"connection_id": connection.external_id}).json()
    shown = [row for account in truth["accounts"] for row in account["transactions"]]
    assert facts(page) == {
        "Accounts": str(len([one for one in truth["accounts"] if one["status"] == "open"])),
        "Transactions": f"{len(shown):,}",
        "Back to": min(one["date"] for one in shown),
    }
    assert ("What is there was read" in page.text, "data-refresh" in page.text) == (True, True)
    with psycopg.connect(store.postgres_url, autocommit=True) as postgres:
        postgres.execute(
            "INSERT INTO ledgerlake.builds (build_id, ended_at, outcome, buckets) VALUES ('b', now(), 'published', %s)",
            ([connection.bucket],),
        )
    page = visitor.look()
    assert ("Checked, and handed over" in page.text, "data-refresh" in page.text) == (True, False)


def test_a_first_sync_that_fails_is_told_as_such(visit: Visit, store: Store) -> None:
    visitor: Visitor = visit()
    visitor.consent("teller")
    (connection,) = store.connections()
    with psycopg.connect(store.postgres_url, autocommit=True) as postgres:
        postgres.execute(
            """
            INSERT INTO ledgerlake.syncs (connection_id, today, mode, ended_at, outcome)
            VALUES (%s, current_date, 'incremental', now(), 'retry')
            """,
            (connection.connection_id,),
        )
    assert "The first reading did not come through" in visitor.look().text
