"""The endpoints: what is proved is kept once and answered with 2xx, what is not is refused and leaves nothing."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from console.webhooks import MOST_BYTES

pytestmark = pytest.mark.anyio

Signed = Callable[..., dict[str, str]]
Events = Callable[[], list[dict[str, Any]]]

BODY = b'{"id":"wh_1","payload":{"enrollment_id":"enr_1","reason":"canary-payload"},"type":"transactions.processed"}'
KEPT = {
    "provider": "teller",
    "event_id": "wh_1",
    "kind": "transactions.processed",
    "fault": None,
    "handled": False,
}


async def test_a_signed_event_is_kept_and_answered(ask: Any, signed: Signed, events: Events) -> None:
    async with ask() as client:
        answer = await client.post("/webhooks/teller", content=BODY, headers=signed(BODY))
    assert (answer.status_code, answer.json(), events()) == (200, {"event": "kept"}, [KEPT])


async def test_either_secret_proves_an_event(ask: Any, signed: Signed) -> None:
    async with ask() as client:
        for secret in ("canary-old-secret", "canary-new-secret"):
            headers = signed(BODY, secret=secret)
            assert (await client.post("/webhooks/teller", content=BODY, headers=headers)).status_code == 200


async def test_a_delivery_that_is_replayed_is_answered_with_2xx_and_kept_once(
    ask: Any, signed: Signed, events: Events
) -> None:
    headers, body = signed(BODY, header="X-Tink-Signature"), BODY
    async with ask() as client:
        answers = [await client.post("/webhooks/tink", content=body, headers=headers) for _ in range(3)]
    assert [one.status_code for one in answers] == [200, 200, 200]
    assert len(events()) == 1


async def test_an_event_that_comes_many_times_at_once_is_kept_once(ask: Any, signed: Signed, events: Events) -> None:
    async with ask() as client:
        answers = await asyncio.gather(
            *(client.post("/webhooks/teller", content=BODY, headers=signed(BODY, ago=number)) for number in range(20))
        )
    assert sorted(one.json()["event"] for one in answers) == ["kept"] + ["known"] * 19
    assert events() == [KEPT]


@pytest.mark.parametrize(
    ("provider", "header", "status"), [("teller", "Teller-Signature", 400), ("tink", "X-Tink-Signature", 412)]
)
@pytest.mark.parametrize("how", ["forged", "altered", "expired", "ahead", "unsigned"])
async def test_what_is_not_proved_is_refused_as_the_provider_wants_it_and_not_kept(
    ask: Any, signed: Signed, events: Events, provider: str, header: str, status: int, how: str
) -> None:
    headers = {
        "forged": signed(BODY, header, secret="wrong"),
        "altered": signed(BODY + b" ", header),
        "expired": signed(BODY, header, ago=310),
        "ahead": signed(BODY, header, ago=-310),
        "unsigned": {},
    }[how]
    async with ask() as client:
        answer = await client.post(f"/webhooks/{provider}", content=BODY, headers=headers)
    assert (answer.status_code, events()) == (status, [])


async def test_two_headers_do_not_prove_what_one_of_them_would(ask: Any, signed: Signed) -> None:
    good, forged = signed(BODY)["Teller-Signature"], signed(BODY, secret="wrong")["Teller-Signature"]
    async with ask() as client:
        headers = [("Teller-Signature", forged), ("Teller-Signature", good)]
        assert (await client.post("/webhooks/teller", content=BODY, headers=headers)).status_code == 400


@pytest.mark.parametrize("body", [b"", b"not json", b"[1]", b'{"id": 7}'])
async def test_a_signed_body_that_cannot_be_read_is_kept_and_marked(
    ask: Any, signed: Signed, events: Events, body: bytes
) -> None:
    async with ask() as client:
        answer = await client.post("/webhooks/teller", content=body, headers=signed(body))
    assert answer.status_code == 200
    [kept] = events()
    assert (kept["kind"], kept["handled"], kept["event_id"][:7]) == ("unreadable", True, "sha256:")
    assert kept["fault"].startswith(f"{len(body)} bytes are not an event as the provider documents it")


async def test_a_body_is_proved_as_it_came_whatever_its_type_is_said_to_be(ask: Any, signed: Signed) -> None:
    body = json.dumps(json.loads(BODY), indent=2).encode()
    async with ask() as client:
        headers = signed(body) | {"Content-Type": "text/plain; charset=latin-1"}
        assert (await client.post("/webhooks/teller", content=body, headers=headers)).status_code == 200


async def test_a_body_that_is_too_large_is_refused_before_it_is_read_and_while_it_comes(
    ask: Any, signed: Signed, events: Events
) -> None:
    body = BODY + b" " * MOST_BYTES
    read = 0

    async def chunks() -> Any:
        nonlocal read
        for start in range(0, 10 * MOST_BYTES, 65536):
            read = start
            yield b" " * 65536

    async with ask() as client:
        told = await client.post("/webhooks/teller", content=body, headers=signed(body))
        grows = await client.post("/webhooks/teller", content=chunks(), headers=signed(body))
        within = BODY + b" " * (MOST_BYTES - len(BODY))
        largest = await client.post("/webhooks/teller", content=within, headers=signed(within))
    assert (told.status_code, grows.status_code, largest.status_code) == (413, 413, 200)
    assert read < 2 * MOST_BYTES
    assert events() == [KEPT]


@pytest.mark.parametrize("provider", ["stripe", "plaid"])
async def test_a_provider_without_secrets_is_refused_with_what_to_set_in_the_log(
    ask: Any, signed: Signed, events: Events, provider: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with ask() as client:
        headers = signed(BODY, header="Stripe-Signature", secret="")
        answer = await client.post(f"/webhooks/{provider}", content=BODY, headers=headers)
    assert (answer.status_code, events()) == (503, [])
    names = {"stripe": "LEDGERLAKE_STRIPE_WEBHOOK_SECRETS", "plaid": "LEDGERLAKE_PLAID_CLIENT_ID"}
    logged = capsys.readouterr()
    assert names[provider] in logged.out + logged.err


@pytest.mark.parametrize("path", ["gocardless", "nobody", "teller/enr_1", ""])
async def test_there_is_no_other_endpoint(ask: Any, path: str) -> None:
    async with ask() as client:
        assert (await client.post(f"/webhooks/{path}", content=b"{}")).status_code == 404


async def test_an_endpoint_only_takes_what_is_posted(ask: Any) -> None:
    async with ask() as client:
        assert (await client.get("/webhooks/teller")).status_code == 405


async def test_an_event_that_cannot_be_kept_is_asked_for_again(ask: Any, signed: Signed, postgres_url: str) -> None:
    import psycopg

    async with ask() as client:
        with psycopg.connect(postgres_url, autocommit=True) as postgres:
            postgres.execute("ALTER TABLE ledgerlake.webhook_events RENAME TO away")
        answer = await client.post("/webhooks/teller", content=BODY, headers=signed(BODY))
        assert (answer.status_code, (await client.get("/healthz")).status_code) == (503, 200)


async def test_it_lives_without_postgres_and_is_ready_with_it(ask: Any) -> None:
    async with ask() as client:
        assert [(await client.get(path)).status_code for path in ("/healthz", "/readyz")] == [200, 200]
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    async with ask("postgresql://u:canary-password@127.0.0.1:1/none") as client:
        answers = [await client.get(path) for path in ("/healthz", "/readyz")]
    assert [one.status_code for one in answers] == [200, 503]
    assert "canary" not in answers[1].text


async def test_no_secret_and_nothing_of_a_payload_is_logged_or_answered(
    ask: Any, signed: Signed, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    said = []
    async with ask() as client:
        for body, headers in (
            (BODY, signed(BODY)),
            (BODY, signed(BODY, secret="canary-wrong")),
            (BODY, {"Teller-Signature": "canary-header"}),
            (b'{"canary-key": "canary-value"', signed(b'{"canary-key": "canary-value"')),
            (b'{"id": {"canary": 1}}', signed(b'{"id": {"canary": 1}}')),
        ):
            said.append((await client.post("/webhooks/teller", content=body, headers=headers)).text)
    logged = capsys.readouterr()
    assert "webhook refused" in logged.out + logged.err
    assert "canary" not in "".join([*said, logged.out, logged.err, caplog.text])


async def test_a_real_server_answers_as_the_application_does(served: Any, signed: Signed, events: Events) -> None:
    with served() as url:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            kept = await client.post("/webhooks/teller", content=BODY, headers=signed(BODY))
            refused = await client.post("/webhooks/teller", content=BODY)
    assert (kept.status_code, refused.status_code, events()) == (200, 400, [KEPT])
    assert "server" not in kept.headers
