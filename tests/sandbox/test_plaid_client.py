"""Plaid's own Python client reads the sandbox without complaint, with its check of types and required fields on."""

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal

import httpx
import plaid
import pytest
from plaid.api.plaid_api import PlaidApi
from plaid.model.accounts_get_request import AccountsGetRequest
from plaid.model.country_code import CountryCode
from plaid.model.item_get_request import ItemGetRequest
from plaid.model.item_public_token_exchange_request import ItemPublicTokenExchangeRequest
from plaid.model.item_webhook_update_request import ItemWebhookUpdateRequest
from plaid.model.link_token_create_request import LinkTokenCreateRequest
from plaid.model.link_token_create_request_user import LinkTokenCreateRequestUser
from plaid.model.products import Products
from plaid.model.sandbox_public_token_create_request import SandboxPublicTokenCreateRequest
from plaid.model.transactions_get_request import TransactionsGetRequest
from plaid.model.transactions_get_request_options import TransactionsGetRequestOptions
from plaid.model.transactions_sync_request import TransactionsSyncRequest
from plaid.model.webhook_verification_key_get_request import WebhookVerificationKeyGetRequest

import sandbox

TODAY = dt.date(2026, 3, 1)


@pytest.fixture(scope="module")
def server() -> Iterator[sandbox.Server]:
    world = sandbox.World.of(seed=1, customers=12, years=0, today=TODAY)
    with sandbox.Server(world, sandbox.Clock(TODAY)) as serving:
        yield serving


@pytest.fixture(scope="module")
def api(server: sandbox.Server) -> Iterator[PlaidApi]:
    where = server.where()
    keys = {"clientId": where["plaid_credentials"]["client_id"], "secret": where["plaid_credentials"]["secret"]}
    with plaid.ApiClient(plaid.Configuration(host=where["plaid_url"], api_key=keys)) as client:
        yield PlaidApi(client)


@pytest.fixture(scope="module")
def tokens(server: sandbox.Server) -> list[str]:
    told = httpx.get(f"{server.control_url}/customers").json()
    return [one["secrets"]["access_token"] for one in told if one["provider"] == "plaid"]


def test_the_client_reads_accounts_items_and_the_changes_of_each_item(
    server: sandbox.Server, api: PlaidApi, tokens: list[str]
) -> None:
    for token in tokens:
        accounts = api.accounts_get(AccountsGetRequest(access_token=token))
        item = api.item_get(ItemGetRequest(access_token=token))
        assert item.item.item_id == accounts.item.item_id
        rows = {}
        order = {"access_token": token, "count": 100}
        while True:
            page = api.transactions_sync(TransactionsSyncRequest(**order))
            rows |= {row.transaction_id: row for row in page.added}
            order["cursor"] = page.next_cursor
            if not page.has_more:
                break
        truth = httpx.get(f"{server.control_url}/truth", params={"token": token}).json()
        open_accounts = [one for one in truth["accounts"] if one["status"] == "open"]
        assert {one.account_id for one in accounts.accounts} == {one["id"] for one in open_accounts}
        assert {name: f"{-Decimal(str(row.amount)):.2f}" for name, row in rows.items()} == {
            row["id"]: row["amount"] for one in open_accounts for row in one["transactions"]
        }


def test_the_client_reads_a_range(api: PlaidApi, tokens: list[str]) -> None:
    options = TransactionsGetRequestOptions(count=500, offset=0)
    asked = TransactionsGetRequest(
        access_token=tokens[0], start_date=dt.date(2026, 2, 1), end_date=TODAY, options=options
    )
    told = api.transactions_get(asked)
    assert len(told.transactions) == told.total_transactions > 10
    assert all(dt.date(2026, 2, 1) <= row.date <= TODAY for row in told.transactions)


def test_the_client_reads_an_error(api: PlaidApi) -> None:
    with pytest.raises(plaid.ApiException) as refused:
        api.accounts_get(AccountsGetRequest(access_token="access-sandbox-nobody"))
    assert refused.value.status == 400
    assert '"error_code":"INVALID_ACCESS_TOKEN"' in refused.value.body


def test_the_client_links_an_item_and_reads_the_key_of_its_webhooks(server: sandbox.Server, api: PlaidApi) -> None:
    order = LinkTokenCreateRequest(
        client_name="x",
        language="en",
        country_codes=[CountryCode("US")],
        user=LinkTokenCreateRequestUser(client_user_id="u"),
        products=[Products("transactions")],
        webhook="http://127.0.0.1:1/",
    )
    made = api.link_token_create(order)
    assert made.link_token.startswith("link-sandbox-")
    assert made.expiration.date() in {TODAY, TODAY + dt.timedelta(days=1)}
    public = api.sandbox_public_token_create(
        SandboxPublicTokenCreateRequest(institution_id="ins_910003", initial_products=[Products("transactions")])
    )
    given = api.item_public_token_exchange(ItemPublicTokenExchangeRequest(public_token=public.public_token))
    item = api.item_webhook_update(
        ItemWebhookUpdateRequest(access_token=given.access_token, webhook="http://127.0.0.1:1/")
    )
    assert (item.item.item_id, item.item.webhook) == (given.item_id, "http://127.0.0.1:1/")
    receiver = {"provider": "plaid", "url": "http://127.0.0.1:1/"}
    kid = httpx.post(f"{server.control_url}/webhooks", json=receiver).json()["key_id"]
    key = api.webhook_verification_key_get(WebhookVerificationKeyGetRequest(key_id=kid)).key
    assert (key.kid, key.alg, key.crv, key.expired_at) == (kid, "ES256", "P-256", None)
