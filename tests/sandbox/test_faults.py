"""Each fault goes wrong in its own way, for the requests it was set for and no others."""

import time
from typing import Any

import httpx
import msgspec
import pytest

HARBOR, GRANITE = 0, 2


@pytest.fixture
def path(client: Any) -> str:
    return f"/accounts/{client.accounts(HARBOR)[0]['id']}/transactions"


def test_an_error_strikes_as_often_as_asked_and_then_no_more(client: Any, path: str) -> None:
    for status in (500, 502, 503):
        client.fault(kind="error", status=status, times=2)
        assert [client.teller(HARBOR, path, count=1).status_code for _ in range(3)] == [status, status, 200]
    answer = client.control("GET", "/faults").json()
    assert answer == {"faults": [], "struck": {"error": 6}}


def test_a_rate_limit_says_how_long_only_when_asked_to(client: Any) -> None:
    client.fault(kind="rate_limited", times=1)
    client.fault(kind="rate_limited", times=1, retry_after=0.5)
    bare, waiting = client.teller(HARBOR, "/accounts"), client.teller(HARBOR, "/accounts")
    assert [(a.status_code, a.headers.get("retry-after")) for a in (bare, waiting)] == [(429, None), (429, "0.5")]


def test_a_fault_concerns_the_paths_and_the_token_it_names(client: Any, path: str) -> None:
    client.fault(kind="error", path="*/transactions", token=client.token(HARBOR))
    assert client.teller(HARBOR, path).status_code == 502
    assert client.teller(HARBOR, "/accounts").status_code == 200
    other = client.accounts(GRANITE)[0]["id"]
    assert client.teller(GRANITE, f"/accounts/{other}/transactions").status_code == 200
    assert client.control("DELETE", "/faults").status_code == 204
    assert client.teller(HARBOR, path).status_code == 200


def test_a_probable_fault_strikes_the_same_requests_for_the_same_seed(client: Any) -> None:
    runs = []
    for seed in (1, 1, 2):
        client.fault(kind="error", probability=0.4, seed=seed)
        runs.append([client.teller(HARBOR, "/health").status_code for _ in range(40)])
        client.control("DELETE", "/faults")
    assert runs[0] == runs[1] != runs[2]
    assert 6 < runs[0].count(502) < 28


def test_a_reset_is_a_reset(client: Any) -> None:
    client.fault(kind="reset", times=1)
    with pytest.raises(httpx.ReadError):
        client.teller(HARBOR, "/accounts")
    assert client.teller(HARBOR, "/accounts").status_code == 200


def test_a_slow_answer_is_true_but_late(client: Any) -> None:
    expected = client.accounts(HARBOR)
    client.fault(kind="slow", seconds=0.3, times=1)
    asked = time.monotonic()
    assert client.accounts(HARBOR) == expected
    assert time.monotonic() - asked >= 0.3


def test_spoilt_bodies_cannot_be_read(client: Any, path: str) -> None:
    whole = client.teller(HARBOR, path, count=5).content
    spoilt = {}
    for kind in ("truncated", "html", "bad_utf8", "empty"):
        client.fault(kind=kind, times=1)
        answer = client.teller(HARBOR, path, count=5)
        assert answer.status_code == 200
        spoilt[kind] = answer.content
        with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
            msgspec.json.decode(answer.content)
    assert spoilt["truncated"] == whole[: len(whole) // 2]
    assert spoilt["html"].startswith(b"<!DOCTYPE html>")
    assert spoilt["empty"] == b""
    assert spoilt["bad_utf8"].replace(b"\xff\xfe", b"") == whole
    assert client.teller(HARBOR, path, count=5).content == whole


def test_a_short_page_is_a_whole_list_with_half_the_rows(client: Any, path: str) -> None:
    whole = client.teller(HARBOR, path, count=10).json()
    client.fault(kind="short_page", times=1)
    assert client.teller(HARBOR, path, count=10).json() == whole[:5]


def test_an_endless_page_comes_again_whatever_is_asked_for(client: Any, path: str) -> None:
    first = client.teller(HARBOR, path, count=3).json()
    client.fault(kind="endless_page")
    for _ in range(3):
        assert client.teller(HARBOR, path, count=3, from_id=first[-1]["id"]).json() == first


def test_disconnected_and_closed_can_be_told_for_some_requests_only(client: Any, path: str) -> None:
    client.fault(kind="disconnected", reason="account_locked", path="*/transactions", times=1)
    client.fault(kind="disconnected", path="*/transactions", times=1)
    client.fault(kind="account_closed", path="*/transactions", times=1)
    answers = [client.teller(HARBOR, path, count=1) for _ in range(4)]
    codes = [(a.status_code, a.json()["error"]["code"]) for a in answers[:3]]
    assert codes == [
        (404, "enrollment.disconnected.account_locked"),
        (404, "enrollment.disconnected"),
        (410, "account.closed"),
    ]
    assert answers[3].status_code == 200


@pytest.mark.parametrize(
    ("row", "field", "expected"),
    [
        ("missing_id", "id", None),
        ("missing_amount", "amount", None),
        ("nan", "amount", "NaN"),
        ("1e400", "amount", "1e400"),
        ("nine_decimals", "amount", "12.123456789"),
        ("february_30", "date", "2026-02-30"),
        ("wrong_type", "amount", {"value": 12}),
    ],
)
def test_a_bad_row_comes_first_before_the_true_ones(
    client: Any, path: str, row: str, field: str, expected: object
) -> None:
    whole = client.teller(HARBOR, path, count=3).json()
    client.fault(kind="bad_row", row=row, path="*/transactions", times=1)
    bad, *true = client.teller(HARBOR, path, count=3).json()
    assert true == whole
    assert bad.get(field) == expected
    assert bad.get("id") not in {r["id"] for r in whole}


def test_a_nul_is_written_as_json_writes_it(client: Any, path: str) -> None:
    client.fault(kind="bad_row", row="nul", times=1)
    answer = client.teller(HARBOR, path, count=1)
    assert b"NUL\\u0000" in answer.content
    assert answer.json()[0]["description"].startswith("NUL\0")


def test_two_accounts_can_show_one_id(client: Any) -> None:
    client.fault(kind="bad_row", row="shared_id", path="*/transactions", times=2)
    first, second = (a["id"] for a in client.accounts(HARBOR)[:2])
    shown = [client.teller(HARBOR, f"/accounts/{a}/transactions", count=1).json()[0] for a in (first, second)]
    assert shown[0]["id"] == shown[1]["id"]
    assert [row["account_id"] for row in shown] == [first, second]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({}, "missing required field `kind`"),
        ({"kind": "earthquake"}, "Invalid enum value 'earthquake'"),
        ({"kind": "error", "status": 418}, "Invalid enum value 418"),
        ({"kind": "error", "often": 1}, "unknown field `often`"),
        ({"kind": "error", "times": 0}, "Expected `int` >= 1"),
    ],
)
def test_a_fault_that_is_none_is_refused_with_the_reason(client: Any, body: object, found: str) -> None:
    answer = client.control("POST", "/faults", body)
    assert answer.status_code == 400
    assert found in answer.json()["error"]
