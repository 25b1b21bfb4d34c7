"""The API: what each scope may, that acts are those of the pages, and that every answer is JSON of its shape."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from console import create_app
from ledgerlake.local import S3
from ledgerlake.people import People, Scope
from ledgerlake.settings import Settings
from ledgerlake.store import Store
from tests.ledgerlake.records.conftest import IBAN, PRIVATE, SCRIPT, Planted, plant

pytestmark = pytest.mark.anyio

Bearer = Callable[..., dict[str, str]]


@pytest.fixture
def app(settings: Settings, postgres_url: str) -> FastAPI:
    return create_app(settings, postgres_url)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://c/api/v1/") as made,
    ):
        yield made


@pytest.fixture
def planted(postgres_url: str, s3: S3, settings: Settings, store: Store) -> Planted:
    return plant(postgres_url, s3, settings)


@pytest.fixture
def bearer(store: Store) -> Bearer:
    """`bearer("read")`: the header of a new token."""

    def of(*scopes: Scope) -> dict[str, str]:
        _, secret = People(store).add_token("test", "a program", scopes, 1)
        return {"authorization": f"Bearer {secret}"}

    return of


async def test_a_token_that_reads_cannot_act(client: httpx.AsyncClient, planted: Planted, bearer: Bearer) -> None:
    header = bearer("read")
    for path in ("connections", "connections/con_1", "findings", f"findings/{planted.finding_id}", "status"):
        assert (await client.get(path, headers=header)).status_code == 200, path
    for path in (
        *(f"connections/con_1/{act}" for act in ("pause", "resume", "sync", "refetch")),
        *(
            f"findings/{planted.finding_id}/{act}"
            for act in ("acknowledge", "assign", "comment", "mute", "resolve", "repair")
        ),
        "connect-links",
    ):
        answer = await client.post(path, headers=header, json=_whole(path))
        assert (answer.status_code, answer.json()) == (403, {"error": "expected a token of the scope act"}), path


def _whole(path: str) -> dict[str, Any]:
    """A body that would do, so that nothing but the right is missing."""
    return {
        "refetch": {"since": "2026-01-01"},
        "comment": {"comment": "x"},
        "mute": {"until": "2999-01-01"},
        "resolve": {"reason": "accepted"},
        "connect-links": {"customer_id": "c"},
    }.get(path.rpartition("/")[2], {})


async def test_a_token_that_is_over_is_worth_nothing(client: httpx.AsyncClient, store: Store, bearer: Bearer) -> None:
    expired, revoked = bearer("admin"), bearer("admin")
    with store.connect() as postgres:
        postgres.execute("UPDATE ledgerlake.api_tokens SET expires_at = now() - interval '1 s' WHERE token_id = 1")
        postgres.execute("UPDATE ledgerlake.api_tokens SET revoked_at = now() WHERE token_id = 2")
    for header in (expired, revoked, {}, {"authorization": "Bearer canary"}, {"authorization": "Basic canary"}):
        answer = await client.get("status", headers=header)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert list(answer.json()) == ["error"]
        assert "canary" not in answer.text


async def test_acts_are_those_of_the_pages_with_the_tokens_name_in_the_audit_log(
    client: httpx.AsyncClient, planted: Planted, store: Store, bearer: Bearer
) -> None:
    client.headers.update(bearer("read", "act"))
    finding = f"findings/{planted.finding_id}"
    paused = await client.post("connections/con_1/pause", json={"reason": "the bank asked"})
    assert (paused.json()["connection"]["state"], paused.json()["advice"]) == (
        "paused",
        "Nobody calls it until it is resumed.",
    )
    assert (await client.post("connections/con_1/sync")).status_code == 422, "it is paused"
    assert (await client.post("connections/con_1/resume")).json()["connection"]["state"] == "active"
    ordered = await client.post("connections/con_1/refetch", json={"since": "2026-01-02"})
    assert (ordered.status_code, ordered.json()["kind"], ordered.json()["since"]) == (202, "refetch", "2026-01-02")
    again = await client.post("connections/con_1/refetch", json={"since": "2026-01-02"})
    assert again.json()["order_id"] == ordered.json()["order_id"], "asked for twice, it is one order"
    assert (await client.post(f"{finding}/assign", json={"owner": "ben"})).json()["finding"]["owner"] == "ben"
    resolved = (await client.post(f"{finding}/resolve", json={"reason": "accepted"})).json()
    assert (resolved["finding"]["state"], resolved["finding"]["money"]) == ("resolved", {"USD": "0.25"})
    assert (await client.get("findings")).json() == []
    made = await client.post("connect-links", json={"customer_id": "cust_con_1", "connection_id": "con_1"})
    assert (made.status_code, made.json()["url"].startswith("http://127.0.0.1/connect/")) == (201, True)
    foreign = await client.post("connect-links", json={"customer_id": "another", "connection_id": "con_1"})
    assert foreign.status_code == 422
    with store.connect() as postgres:
        acts = postgres.execute(
            "SELECT act, target FROM ledgerlake.audit_log WHERE actor = 'token a program' ORDER BY audit_id"
        ).fetchall()
    assert [act for act, _ in acts] == ["paused", "resumed", "refetch asked for", "assigned", "resolved", "link made"]


@pytest.mark.parametrize("scopes", [("read",), ("read", "act"), ("admin",)])
async def test_a_payload_is_whole_for_a_token_of_admin_alone(
    client: httpx.AsyncClient, planted: Planted, bearer: Bearer, scopes: tuple[Scope, ...]
) -> None:
    # Each scope stands for itself: a token that administers reads only when it is told so.
    header = bearer(*scopes, "read")
    way = (await client.get("records/con_1/transactions/t1", headers=header)).text
    found = (await client.get("records", params={"q": "t1"}, headers=header)).json()

    assert [(one["why"], one["record_id"]) for one in found] == [("record", "t1")]
    for private in (PRIVATE, IBAN, SCRIPT):
        assert (private in way) == ("admin" in scopes)


async def test_what_is_not_there_gives_one_same_answer(
    client: httpx.AsyncClient, planted: Planted, bearer: Bearer
) -> None:
    client.headers.update(bearer("read", "act"))
    answers = [
        await client.get(path)
        for path in (
            *("connections/con_none", "connections/%00", "findings/0", "findings/99999999999999999999999"),
            *("records/con_none/transactions/t1", "records/con_1/none/t1", "records/con_1/transactions/%00"),
            *("findings/999999", "nowhere"),
        )
    ]
    answers.append(await client.post("connections/con_none/sync"))
    answers.append(await client.post("findings/999999/repair"))
    assert {(one.status_code, one.text) for one in answers} == {
        (404, '{"error":"There is nothing at this address, or it is not for you to see."}')
    }


async def test_a_body_that_makes_no_sense_names_the_field_and_not_the_value(
    client: httpx.AsyncClient, planted: Planted, bearer: Bearer
) -> None:
    client.headers.update(bearer("act"))
    for path, body in (
        ("connections/con_1/refetch", {"since": SCRIPT}),
        ("connections/con_1/refetch", {"since": "2999-01-01"}),
        ("connections/con_1/pause", {"canary": 1}),
        (f"findings/{planted.finding_id}/comment", {"comment": " "}),
        (f"findings/{planted.finding_id}/comment", {"comment": "a\0b"}),
        (f"findings/{planted.finding_id}/resolve", {"reason": "canary"}),
    ):
        answer = await client.post(path, json=body)
        assert (answer.status_code, list(answer.json())) == (422, ["error"]), (path, body)
        assert SCRIPT not in answer.text


async def test_the_document_is_public_complete_and_tells_nothing_of_anybody(
    client: httpx.AsyncClient, app: FastAPI, planted: Planted
) -> None:
    answer = await client.get("openapi.json")
    document = answer.json()

    assert {tag for path in document["paths"].values() for one in path.values() for tag in one["tags"]} == {
        tag["name"] for tag in document["tags"]
    }
    for path, methods in document["paths"].items():
        for method, one in methods.items():
            done = next(code for code in one["responses"] if code.startswith("2"))
            assert one["responses"][done]["content"]["application/json"]["schema"], (method, path)
            assert one["responses"]["422"]["content"]["application/json"]["schema"] == {
                "$ref": "#/components/schemas/Problem"
            }
    assert "con_1" not in answer.text
