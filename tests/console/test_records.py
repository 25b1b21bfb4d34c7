"""The search and a record's way as people see them: by role, escaped, and the same as JSON."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from ledgerlake.local import S3
from ledgerlake.people import Role
from ledgerlake.settings import Settings
from ledgerlake.store import Store
from tests.console.pages.conftest import Enter, app, enter, people
from tests.ledgerlake.lake.conftest import Seed
from tests.ledgerlake.records.conftest import IBAN, PRIVATE, SCRIPT, Planted, plant

__all__ = ["app", "enter", "people"]

pytestmark = pytest.mark.anyio

HERE = "/records/con_1/transactions/t1"


@pytest.fixture
def planted(postgres_url: str, s3: S3, settings: Settings, store: Store) -> Planted:
    return plant(postgres_url, s3, settings)


async def test_a_search_leads_to_the_way_and_the_way_tells_all(enter: Enter, planted: Planted) -> None:
    async with enter("admin") as client:
        found = (await client.get("/records", params={"q": "zwetschken"})).text
        page = await client.get(HERE)
        told = (await client.get(f"{HERE}?format=json")).json()

    assert f'href="{HERE}"' in found
    assert "data-search" in found
    assert page.status_code == 200
    for part in (
        "<del>12.5</del>",
        "<ins>12.75</ins>",
        f'href="/integrity/{planted.finding_id}"',
        'href="/connections/con_1"',
        f"sync {planted.second}",
        "stg_teller__transactions",
        "fct_transactions",
        "byte for byte",
        "expected JSON",
        f"{HERE}?format=json",
        "GET /transactions",
    ):
        assert part in page.text, part
    assert SCRIPT not in page.text
    assert "&lt;script&gt;alert(&#39;canary&#39;)" in page.text
    assert [one["payload"]["description"] for one in told["versions"]] == [SCRIPT, PRIVATE]


@pytest.mark.parametrize("role", ["viewer", "support"])
async def test_below_admin_nothing_personal_is_in_any_answer(enter: Enter, planted: Planted, role: Role) -> None:
    async with enter(role) as client:
        answers = [
            (await client.get(path)).text
            for path in (HERE, f"{HERE}?format=json", "/records?q=t1", "/records?q=12.75", "/records?q=acc")
        ]
        described = (await client.get("/records", params={"q": "zwetschken"})).text

    for text in (*answers, described.replace("zwetschken", "")):
        for private in (PRIVATE, "Zwetschk", IBAN, "DE8937", "canary"):
            assert private not in text
    assert "•••• 3000" in answers[0], "of an account number the end is seen"
    assert (f'href="{HERE}"' in described) == (role == "support"), "a viewer cannot guess at descriptions"
    told = json.loads(answers[1])
    assert [_amount(one) for one in told["versions"]] == [12.75, 12.5]


def _amount(version: dict[str, Any]) -> object:
    return version["payload"]["amount"]


async def test_an_id_may_have_any_characters(enter: Enter, store: Store, postgres_url: str) -> None:
    name = "a/b c?d#é<script>"
    Seed(postgres_url).customer().transaction(name, "1")
    async with enter("viewer") as client:
        found = (await client.get("/records", params={"q": name})).text
        page = await client.get(f"/records/con_1/transactions/{quote(name, safe='')}")

    assert page.status_code == 200
    assert "<script>" not in (found + page.text).replace("<script src", "")
    assert f'href="/records/con_1/transactions/{quote(name, safe="")}"' in found
