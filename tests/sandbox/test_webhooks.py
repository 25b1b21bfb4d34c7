"""Webhooks: signed as each provider signs, sent for what happened and nothing else, and wrong in each way that was asked for."""

import hashlib
import hmac
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest
import stripe
from joserfc import jws
from joserfc.jwk import ECKey

from sandbox.webhooks.signature import Secrets


class Received(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """A server that remembers what it was sent, and answers 200 or the next of `statuses`."""

    def __init__(self) -> None:
        self.got: list[Received] = []
        self.statuses: list[int] = []
        receiver = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.append(Received(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    thread = threading.Thread(target=made.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.http.shutdown()
    made.http.server_close()
    thread.join()


class Hooks:
    """A receiver registered at a sandbox of its own, and what it got."""

    def __init__(self, client: Any, receiver: Receiver) -> None:
        self.client = client
        self.receiver = receiver
        self.where = client.server.where()
        self.customers = client.control("GET", "/customers").json()

    def register(self, provider: str, path: str = "/hook") -> dict[str, Any]:
        answer = self.client.control("POST", "/webhooks", {"provider": provider, "url": self.receiver.url + path})
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def connection(self, provider: str, index: int) -> dict[str, Any]:
        name = f"customer-{index + 1:05}"
        return next(c for c in self.customers if (c["provider"], c["customer_id"]) == (provider, name))

    def send(self, provider: str, index: int, kind: str) -> Any:
        order = {"provider": provider, "connection_id": self.connection(provider, index)["connection_id"], "kind": kind}
        return self.client.control("POST", "/webhooks/send", order)

    def move(self, days: int = 1) -> list[Received]:
        """What arrives when the clock moves."""
        return self.arriving("POST", "/clock", {"days": days})

    def arriving(self, *order: object) -> list[Received]:
        before = len(self.receiver.got)
        assert self.client.control(*order).is_success
        self.settle()
        return self.receiver.got[before:]

    def settle(self) -> Any:
        told = self.client.control("GET", "/webhooks?wait=20").json()
        assert told["busy"] is False
        return told


@pytest.fixture
def hooks(short_client: Any, receiver: Receiver) -> Hooks:
    return Hooks(short_client, receiver)


def stamped(got: Received, header: str, secret: str) -> bool:
    """Whether a stamped header proves the body, read as the providers' pages say."""
    parts = [part.split("=", 1) for part in got.headers[header.lower()].split(",")]
    at = dict(parts)["t"]
    made = hmac.new(secret.encode(), at.encode() + b"." + got.body, hashlib.sha256).hexdigest()
    return abs(time.time() - int(at)) < 60 and made in [value for name, value in parts if name == "v1"]


_TINK = (
    b'{"context":{"userId":"u1","externalUserId":"ext1"},"content":{"credentialsId":"c1","credentialsStatus":"UPDATED",'
    b'"finished":1618395156625,"source":"OPERATION_SOURCE_BACKGROUND","sessionExpiryDate":1654623101000},'
    b'"event":"refresh:finished"}'
)


@pytest.mark.parametrize(
    ("header", "secret", "at", "body", "expected"),
    [
        (
            "Teller-Signature", "teller_signing_secret", 1688960969,
            b'{"id":"wh_test_000","payload":{},"timestamp":"2023-07-10T03:49:29Z","type":"webhook.test"}',
            "02f0f79cb3233ba32031c51d815f37e44d8ab9e3cdde32b5721792521413257b",
        ),
        (
            "X-Tink-Signature", "tink_webhook_secret", 1620198421,
            _TINK,
            "3ac4c1ddd61d11d06d35465130d4c59fedf036fd8019b7d1a51edb1676c1dada",
        ),
        (
            "Stripe-Signature", "whsec_test_secret", 1700000000,
            b'{"id":"evt_1","object":"event","type":"invoice.paid"}',
            "dfb4777aaaec4ea29ff455dd4df7fe6b2ef71096ad3a93a158db7e100109ea91",
        ),
    ],
)  # fmt: skip
def test_the_stamped_signatures_are_those_of_the_known_vectors(
    header: str, secret: str, at: int, body: bytes, expected: str
) -> None:
    assert Secrets(header, secret).headers(body, at) == {header: f"t={at},v1={expected}"}


def test_a_receiver_learns_the_secrets_when_it_registers_and_the_ready_line_tells_the_same(hooks: Hooks) -> None:
    for provider in ("teller", "tink", "stripe"):
        told = hooks.register(provider)
        assert ",".join(told["secrets"]) == hooks.where[f"{provider}_webhook_secrets"]
    assert hooks.register("plaid").keys() == {"provider", "url", "header", "key_id"}
    listed = hooks.client.control("GET", "/webhooks").json()
    assert {one["provider"] for one in listed["receivers"]} == {"teller", "tink", "stripe", "plaid"}
    assert hooks.client.control("DELETE", "/webhooks").status_code == 204
    assert hooks.client.control("GET", "/webhooks").json() == {"receivers": [], "busy": False, "deliveries": []}
    assert hooks.move() == []


def test_what_cannot_be_sent_is_refused_with_the_reason(hooks: Hooks) -> None:
    def refused(path: str, body: object) -> tuple[int, str]:
        answer = hooks.client.control("POST", path, body)
        return answer.status_code, answer.json()["error"]

    connection_id = hooks.connection("teller", 0)["connection_id"]
    url = hooks.receiver.url
    assert refused("/webhooks", {"provider": "gocardless", "url": url}) == (400, "gocardless sends no webhooks")
    assert refused("/webhooks", {"provider": "x", "url": url})[0] == 404
    assert refused("/webhooks", {"provider": "teller", "url": "file:///x"})[0] == 400
    order = {"provider": "teller", "connection_id": connection_id, "kind": "webhook.test"}
    assert refused("/webhooks/send", order)[0] == 409
    hooks.register("teller")
    assert refused("/webhooks/send", {**order, "kind": "x"})[0] == 400
    assert refused("/webhooks/send", {**order, "connection_id": "enr_x"})[0] == 404
    assert refused("/webhooks/rotate", {"provider": "teller"})[0] == 400


def test_teller_tells_the_rows_that_are_new_or_changed_as_they_are_listed(hooks: Hooks) -> None:
    secrets = hooks.register("teller")["secrets"]
    client, enrollment = hooks.client, hooks.connection("teller", 0)["connection_id"]

    def listed() -> dict[str, Any]:
        accounts = client.accounts(0)
        return {r["id"]: r for a in accounts for r in client.teller(0, f"/accounts/{a['id']}/transactions").json()}

    before = listed()
    got = hooks.move(3)
    after = listed()
    assert all(stamped(one, "Teller-Signature", secret) for one in got for secret in secrets)
    assert len({one.told["id"] for one in got}) == len(got)
    assert {one.told["type"] for one in got} <= {
        "transactions.processed", "enrollment.disconnected", "account.number_verification.processed",
    }  # fmt: skip
    mine = [one.told["payload"] for one in got if one.told["payload"]["enrollment_id"] == enrollment]
    rows = [row for payload in mine for row in payload["transactions"]]
    assert {row["id"]: row for row in rows} == {id_: row for id_, row in after.items() if before.get(id_) != row}
    assert 0 < len(rows) == len({row["id"] for row in rows})


def test_teller_tells_once_that_an_enrollment_was_disconnected(hooks: Hooks) -> None:
    hooks.register("teller")
    enrollment = hooks.connection("teller", 0)["connection_id"]
    order = ("POST", f"/enrollments/{enrollment}/disconnect", {"reason": "account_locked"})
    told = [one.told for one in hooks.arriving(*order)]
    assert told == [
        {
            "id": told[0]["id"],
            "payload": {"reason": "disconnected.account_locked", "enrollment_id": enrollment},
            "timestamp": "2026-03-01T06:00:00Z",
            "type": "enrollment.disconnected",
        }
    ]
    assert not [one for one in hooks.move(5) if one.told["payload"]["enrollment_id"] == enrollment]
    repaired = hooks.arriving("POST", f"/enrollments/{enrollment}/repair")
    assert {one.told["type"] for one in repaired} == {"transactions.processed"}


def test_teller_verifies_the_number_of_a_new_account_three_days_after_it_appeared(hooks: Hooks) -> None:
    hooks.register("teller")
    kind = "account.number_verification.processed"
    answer = hooks.send("teller", 5, kind).json()
    account = hooks.client.accounts(5)[0]
    assert json.loads(answer["body"])["payload"] == {
        "status": "completed",
        "account_id": account["id"],
        "enrollment_id": account["enrollment_id"],
    }
    before = {one["id"] for one in hooks.client.truth(11)["accounts"]}
    told = [one.told["payload"] for _ in range(20) for one in hooks.move(3) if one.told["type"] == kind]
    appeared = {one["id"] for one in hooks.client.truth(11)["accounts"]} - before
    assert [one["account_id"] for one in told] == sorted(appeared)
    assert len(appeared) == 1


def test_tinks_windows_hold_all_that_changed_and_its_deletions_name_what_went(hooks: Hooks) -> None:
    secret = hooks.register("tink")["secrets"][0]
    connection = hooks.connection("tink", 1)
    account_ids = [one["id"] for one in tink_truth(hooks, connection)["accounts"]]
    changed = 0
    for _ in range(4):
        before = tink_rows(hooks, connection)
        got = hooks.move(2)
        after = tink_rows(hooks, connection)
        assert all(stamped(one, "X-Tink-Signature", secret) for one in got)
        mine = [
            one.told
            for one in got
            if one.told["context"]["externalUserId"] == connection["secrets"]["external_user_id"]
        ]
        for account in account_ids:
            told = {one["event"]: one["content"] for one in mine if one["content"].get("account") == {"id": account}}
            old = {id_: row for id_, row in before.items() if row["account"] == account}
            new = {id_: row for id_, row in after.items() if row["account"] == account}
            differ = {id_ for id_ in old.keys() | new.keys() if old.get(id_) != new.get(id_)}
            if not differ:
                assert told == {}
                continue
            changed += 1
            window = told["account-transactions:modified"]["transactions"]
            days = [side[id_]["date"] for side in (old, new) for id_ in differ if id_ in side]
            assert window == {
                "earliestModifiedBookedDate": min(days),
                "latestModifiedBookedDate": max(days),
                "inserted": len(differ - old.keys()),
                "updated": len(differ & old.keys() & new.keys()),
                "deleted": len(differ - new.keys()),
            }
            gone = told.get("account-transactions:deleted", {"transactions": {"ids": []}})["transactions"]["ids"]
            assert sorted(gone) == sorted(differ - new.keys())
        assert sum(one["event"] == "refresh:finished" for one in mine) == 1
    assert changed > 4


def tink_truth(hooks: Hooks, connection: dict[str, Any]) -> Any:
    return hooks.client.control("GET", f"/truth?connection_id={connection['connection_id']}").json()


def tink_rows(hooks: Hooks, connection: dict[str, Any]) -> dict[str, Any]:
    return {
        row["id"]: {**row, "account": account["id"]}
        for account in tink_truth(hooks, connection)["accounts"]
        for row in account["transactions"]
    }


def test_tink_tells_how_a_refresh_ended(hooks: Hooks) -> None:
    hooks.register("tink")
    connection = hooks.connection("tink", 1)
    order = ("POST", f"/enrollments/{connection['connection_id']}/disconnect", {"reason": "credentials_invalid"})
    (got,) = hooks.arriving(*order)
    content = got.told["content"]
    assert got.told["event"] == "refresh:finished"
    assert content == {
        "credentialsId": connection["connection_id"],
        "status": "AUTHENTICATION_ERROR",
        "credentialsStatus": "AUTHENTICATION_ERROR",
        "finished": content["finished"],
        "source": "OPERATION_SOURCE_BACKGROUND",
        "sessionExpiryDate": content["sessionExpiryDate"],
        "detailedError": {
            "type": "USER_LOGIN_ERROR",
            "displayMessage": "The bank said no.",
            "details": {"reason": "STATIC_CREDENTIALS_INCORRECT", "retryable": False},
        },
    }


def test_a_consent_that_ran_out_at_tink_is_told_by_nobody(hooks: Hooks) -> None:
    hooks.register("tink")
    connection_id = hooks.connection("tink", 1)["connection_id"]
    before = len(hooks.receiver.got)
    hooks.client.control("POST", f"/enrollments/{connection_id}/disconnect", {"reason": "user_action.mfa_required"})
    hooks.settle()
    assert len(hooks.receiver.got) == before


def test_an_endpoint_made_at_tink_gets_what_it_enabled_signed_with_the_secret_told_once(hooks: Hooks) -> None:
    http, base = hooks.client.http, hooks.where["tink_url"]
    form = {**hooks.where["tink_credentials"], "grant_type": "client_credentials", "scope": "webhook-endpoints"}
    token = http.post(f"{base}/api/v1/oauth/token", data=form).json()["access_token"]
    at, headers = f"{base}/events/v2/webhook-endpoints", {"authorization": f"Bearer {token}"}
    order = {"url": f"{hooks.receiver.url}/own", "enabledEvents": ["refresh:finished"], "description": "ours"}
    assert http.post(at, json=order).status_code == 401
    made = http.post(at, json=order, headers=headers).json()
    assert http.post(at, json=order, headers=headers).status_code == 409
    assert http.post(at, json={**order, "enabledEvents": ["x"]}, headers=headers).status_code == 400
    (listed,) = http.get(at, headers=headers).json()["webhookEndpoints"]
    assert listed == {name: value for name, value in made.items() if name != "secret"}
    got = hooks.move()
    assert {one.told["event"] for one in got} == {"refresh:finished"}
    assert all(stamped(one, "X-Tink-Signature", made["secret"]) for one in got)
    token = http.post(f"{base}/api/v1/oauth/token", data=form).json()["access_token"]
    headers = {"authorization": f"Bearer {token}"}
    assert http.delete(f"{at}/{made['id']}", headers=headers).status_code == 204
    assert hooks.move() == []


def plaid(hooks: Hooks, path: str, **body: object) -> Any:
    answer = hooks.client.http.post(hooks.where["plaid_url"] + path, json={**hooks.where["plaid_credentials"], **body})
    return answer.json()


def proven(hooks: Hooks, got: Received) -> bool:
    """Whether Plaid's token proves the body, with the key that its `kid` names."""
    token = got.headers["plaid-verification"]
    told = jws.extract_compact(token.encode())
    header = told.headers()
    assert (header["alg"], header["typ"]) == ("ES256", "JWT")
    key = plaid(hooks, "/webhook_verification_key/get", key_id=header["kid"])["key"]
    assert key.keys() == {"alg", "created_at", "crv", "expired_at", "kid", "kty", "use", "x", "y"}
    public = {name: key[name] for name in ("alg", "crv", "kid", "kty", "use", "x", "y")}
    try:
        payload = jws.deserialize_compact(token, ECKey.import_key(public), algorithms=["ES256"]).payload
    except Exception:
        return False
    claims = json.loads(payload)
    sound = abs(time.time() - claims["iat"]) < 60 and key["expired_at"] is None
    return sound and claims["request_body_sha256"] == hashlib.sha256(got.body).hexdigest()


def test_plaid_tells_that_there_are_updates_once_the_item_was_synced(hooks: Hooks) -> None:
    hooks.register("plaid")
    connection = hooks.connection("plaid", 0)

    def mine(got: list[Received]) -> list[dict[str, Any]]:
        assert all(proven(hooks, one) for one in got)
        return [one.told for one in got if one.told["item_id"] == connection["connection_id"]]

    kinds = Counter(told["webhook_code"] for told in mine(hooks.move(2)))
    assert kinds["DEFAULT_UPDATE"] == 1
    assert kinds["SYNC_UPDATES_AVAILABLE"] == 0
    cursor = ""
    more = True
    while more:
        page = plaid(
            hooks, "/transactions/sync", cursor=cursor, count=500, access_token=connection["secrets"]["access_token"]
        )
        cursor, more = page["next_cursor"], page["has_more"]
    got = hooks.move(2)
    told = {one["webhook_code"]: one for one in mine(got)}
    assert told["SYNC_UPDATES_AVAILABLE"] == {
        "webhook_type": "TRANSACTIONS",
        "webhook_code": "SYNC_UPDATES_AVAILABLE",
        "item_id": connection["connection_id"],
        "initial_update_complete": True,
        "historical_update_complete": True,
        "environment": "sandbox",
    }
    assert b'{\n  "webhook_type": "' in got[0].body
    page = plaid(
        hooks, "/transactions/sync", cursor=cursor, count=500, access_token=connection["secrets"]["access_token"]
    )
    assert told["DEFAULT_UPDATE"]["new_transactions"] <= len(page["added"]) > 0


def test_plaid_tells_of_items_that_break_and_are_repaired(hooks: Hooks) -> None:
    hooks.register("plaid")
    connection = hooks.connection("plaid", 0)
    (got,) = hooks.arriving("POST", f"/enrollments/{connection['connection_id']}/disconnect", {"reason": ""})
    assert got.told == {
        "webhook_type": "ITEM",
        "webhook_code": "ERROR",
        "item_id": connection["connection_id"],
        "error": {
            "display_message": None,
            "documentation_url": "https://plaid.com/docs/?ref=error",
            "error_code": "ITEM_LOGIN_REQUIRED",
            "error_code_reason": None,
            "error_message": "the login details of this item have changed",
            "error_type": "ITEM_ERROR",
            "suggested_action": None,
            "status": 400,
        },
        "environment": "sandbox",
    }
    (got,) = hooks.arriving("POST", f"/enrollments/{connection['connection_id']}/repair")
    assert got.told["webhook_code"] == "LOGIN_REPAIRED"


def test_every_webhook_of_plaid_has_the_members_of_its_own_examples(hooks: Hooks) -> None:
    hooks.register("plaid")
    common = {"webhook_type", "webhook_code", "item_id", "environment"}
    more = {
        "SYNC_UPDATES_AVAILABLE": {"initial_update_complete", "historical_update_complete"},
        "INITIAL_UPDATE": {"error", "new_transactions"},
        "HISTORICAL_UPDATE": {"error", "new_transactions"},
        "DEFAULT_UPDATE": {"error", "new_transactions"},
        "TRANSACTIONS_REMOVED": {"error", "removed_transactions"},
        "ERROR": {"error"},
        "LOGIN_REPAIRED": set(),
        "NEW_ACCOUNTS_AVAILABLE": {"error"},
        "PENDING_EXPIRATION": {"consent_expiration_time"},
        "PENDING_DISCONNECT": {"reason", "disconnect_time"},
        "USER_PERMISSION_REVOKED": {"error"},
        "USER_ACCOUNT_REVOKED": {"account_id"},
        "WEBHOOK_UPDATE_ACKNOWLEDGED": {"error", "new_webhook_url"},
    }
    for kind, members in more.items():
        answer = hooks.send("plaid", 0, kind).json()
        assert json.loads(answer["body"]).keys() == common | members, kind
        assert answer["deliveries"][0]["attempts"] == [{"status": 200, "answer": "ok"}]


def test_plaids_keys_rotate_and_expire(hooks: Hooks) -> None:
    first = hooks.register("plaid")["key_id"]

    def arrives() -> Received:
        hooks.send("plaid", 0, "SYNC_UPDATES_AVAILABLE")
        return hooks.receiver.got[-1]

    def kid(got: Received) -> str:
        return str(jws.extract_compact(got.headers["plaid-verification"].encode()).headers()["kid"])

    old = arrives()
    assert (kid(old), proven(hooks, old)) == (first, True)
    made = hooks.client.control("POST", "/webhooks/rotate", {"provider": "plaid"}).json()["made"]
    new = arrives()
    assert (kid(new), proven(hooks, new), proven(hooks, old)) == (made, True, True)
    order = {"provider": "plaid", "expire": True, "adopt": False}
    assert hooks.client.control("POST", "/webhooks/rotate", order).json()["key_id"] == made
    assert (kid(arrives()), proven(hooks, arrives())) == (made, False)
    hooks.client.control("POST", "/webhooks/rotate", {"provider": "plaid"})
    hooks.client.fault(kind="webhook_forged", times=1)
    assert [proven(hooks, arrives()), proven(hooks, arrives())] == [False, True]
    unknown = plaid(hooks, "/webhook_verification_key/get", key_id="nobody's")
    assert unknown["error_code"] == "INVALID_WEBHOOK_VERIFICATION_KEY_ID"


def test_an_item_has_a_webhook_of_its_own(hooks: Hooks) -> None:
    token = hooks.connection("plaid", 0)["secrets"]["access_token"]
    plaid(hooks, "/item/webhook/update", access_token=token, webhook=f"{hooks.receiver.url}/item")
    assert plaid(hooks, "/item/get", access_token=token)["item"]["webhook"] == f"{hooks.receiver.url}/item"
    plaid(hooks, "/sandbox/item/fire_webhook", access_token=token, webhook_code="SYNC_UPDATES_AVAILABLE")
    hooks.settle()
    told = [(one.path, one.told["webhook_code"]) for one in hooks.receiver.got]
    assert sorted(told) == [("/item", "SYNC_UPDATES_AVAILABLE"), ("/item", "WEBHOOK_UPDATE_ACKNOWLEDGED")]


def test_stripes_own_client_takes_its_events_and_finds_them_in_the_list(hooks: Hooks) -> None:
    secret = hooks.register("stripe", "/stripe/{connection_id}")["secrets"][0]
    got = hooks.move(2)
    assert len(got) > 10
    for one in got:
        event = stripe.Webhook.construct_event(one.body, one.headers["stripe-signature"], secret)  # type: ignore[no-untyped-call]
        assert event.id == one.told["id"]
    for index in (0, 3):
        connection = hooks.connection("stripe", index)
        account = connection["connection_id"]
        headers = {"authorization": f"Bearer {connection['secrets']['api_key']}"}
        sent = {one.told["id"]: one.told for one in got if one.path == f"/stripe/{account}"}
        assert sent
        assert {one.get("account") for one in sent.values()} == {account if index % 2 else None}
        since = min(one["created"] for one in sent.values())
        listed = hooks.client.http.get(
            f"{hooks.where['stripe_url']}/v1/events", params={"created[gte]": since, "limit": 100}, headers=headers
        ).json()
        assert listed["has_more"] is False
        assert {one["id"]: one for one in listed["data"]} == sent


def test_stripe_tells_a_connected_account_that_leaves_and_sends_an_event_on_demand(hooks: Hooks) -> None:
    hooks.register("stripe")
    account = hooks.connection("stripe", 3)["connection_id"]
    (got,) = hooks.arriving("POST", f"/enrollments/{account}/disconnect", {"reason": "account_invalid"})
    assert (got.told["type"], got.told["account"]) == ("account.application.deauthorized", account)
    answer = hooks.send("stripe", 0, "invoice.paid").json()
    assert json.loads(answer["body"])["type"] == answer["kind"] == "invoice.paid"
    assert hooks.send("stripe", 0, "nothing.happened").status_code == 409


def test_webhooks_go_wrong_as_asked(hooks: Hooks) -> None:
    secret = hooks.register("teller")["secrets"][0]

    def arrives(fault: str, **more: object) -> list[bool | None]:
        hooks.client.fault(kind=fault, times=1, path="/teller/webhook.test", **more)
        before = len(hooks.receiver.got)
        hooks.send("teller", 0, "webhook.test")
        got = hooks.receiver.got[before:]
        return [stamped(one, "Teller-Signature", secret) if "teller-signature" in one.headers else None for one in got]

    assert arrives("webhook_twice") == [True, True]
    assert hooks.receiver.got[-1].body == hooks.receiver.got[-2].body
    assert arrives("webhook_stale") == [False]
    assert arrives("webhook_forged") == [False]
    assert arrives("webhook_unsigned") == [None]
    assert arrives("webhook_lost") == []
    assert arrives("webhook_late", seconds=0.2) == [True]
    told = hooks.settle()["deliveries"]
    assert [(one["fault"], one["state"]) for one in told][-2:] == [
        ("webhook_lost", "lost"),
        ("webhook_late", "delivered"),
    ]
    assert hooks.client.control("GET", "/faults").json()["faults"] == []
    assert hooks.client.accounts(0)


def test_a_reordered_webhook_comes_after_the_others_of_its_move(hooks: Hooks) -> None:
    hooks.register("teller")
    hooks.client.fault(kind="webhook_reordered", times=1)
    got = hooks.move()
    first = hooks.client.control("GET", "/webhooks").json()["deliveries"][0]
    assert (first["fault"], first["connection_id"]) == (
        "webhook_reordered",
        got[-1].told["payload"]["enrollment_id"],
    )
    assert len(got) > 2


def test_a_receiver_that_fails_is_tried_again_and_then_given_up(hooks: Hooks) -> None:
    hooks.register("teller")
    enrollment = hooks.connection("teller", 0)["connection_id"]
    hooks.receiver.statuses += [500, 404]
    got = hooks.arriving("POST", f"/enrollments/{enrollment}/disconnect", {})
    assert len(got) == 3
    assert len({one.body for one in got}) == 1
    hooks.client.control("POST", f"/enrollments/{enrollment}/repair")
    hooks.receiver.statuses += [500] * 4
    assert len(hooks.arriving("POST", f"/enrollments/{enrollment}/disconnect", {})) == 4
    assert [one["state"] for one in hooks.settle()["deliveries"]] == ["delivered", "failed"]


def test_a_receiver_that_is_down_does_not_hold_the_clock(hooks: Hooks) -> None:
    answer = hooks.client.control("POST", "/webhooks", {"provider": "tink", "url": "http://127.0.0.1:1/hook"})
    assert answer.status_code == 200
    begun = time.monotonic()
    for _ in range(5):
        hooks.client.control("POST", "/clock", {"days": 1})
    assert time.monotonic() - begun < 2
    told = hooks.settle()["deliveries"]
    assert {(one["state"], len(one["attempts"])) for one in told} == {("failed", 1)}
