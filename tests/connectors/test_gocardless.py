"""GoCardless against a server that keeps its protocol, and against servers that do not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from connectors import (
    PROVIDERS,
    Account,
    Ask,
    BadData,
    Complete,
    ConnectorError,
    Gone,
    Misconfigured,
    NeedsReauth,
    Page,
    Record,
    Rejected,
    Retryable,
)
from connectors.gocardless import GoCardless
from tests.connectors.suite import Reading, Unasked, ids

pytestmark = pytest.mark.anyio

ID, KEY, ACCESS, REFRESH = "id-canary", "key-canary", "access-canary", "refresh-canary"
CREDENTIALS = {"secret_id": SecretStr(ID), "secret_key": SecretStr(KEY)}
SECRETS = {"requisition_id": SecretStr("req-1")}
TODAY = date(2025, 3, 31)
STREAMS = ("details", "balances", "transactions")
ONE = Account("acc-1", "other", None, False, STREAMS, "N26_NTSBDEB1", None)
PATH = "/accounts/acc-1/transactions/"
HEADERS = {
    "http_x_ratelimit_limit": "100",
    "http_x_ratelimit_remaining": "99",
    "http_x_ratelimit_reset": "59",
    "http_x_ratelimit_account_success_limit": "4",
    "http_x_ratelimit_account_success_remaining": "3",
    "http_x_ratelimit_account_success_reset": "86307",
}
READING = Reading(GoCardless, SECRETS, TODAY, ONE, credentials=CREDENTIALS)
client, pages = READING.client, READING.pages
LEFT = {"remaining": 3, "reset_at": "2025-04-01T23:58:26+00:00"}


def row(internal: str | None = None, day: str | None = "2025-03-30", amount: str = "-6.06", **fields: Any) -> Any:
    told = {"transactionAmount": {"amount": amount, "currency": "GBP"}, "remittanceInformationUnstructured": "POS"}
    return (
        told
        | ({"internalTransactionId": internal} if internal else {})
        | ({"bookingDate": day} if day else {})
        | fields
    )


def told(booked: Sequence[Any] = (), pending: Sequence[Any] = ()) -> Any:
    return {"transactions": {"booked": list(booked), "pending": list(pending)}, "last_updated": "2025-03-31T11:29:24Z"}


def payload(one: Any) -> bytes:
    return json.dumps(one).encode()


@dataclass
class Api:
    """GoCardless with one requisition. `answers` are by path; `refused` are access tokens that it no longer takes."""

    answers: dict[str, Any] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    refuses_refresh: bool = False
    minted: int = 0
    refreshed: int = 0

    def __call__(self, heard: Any) -> Any:
        if heard.path == "/token/new/":
            assert heard.json == {"secret_id": ID, "secret_key": KEY}
            self.minted += 1
            pair = {"access": f"{ACCESS}-{self.minted}", "access_expires": 86400}
            return (200, pair | {"refresh": f"{REFRESH}-{self.minted}", "refresh_expires": 2592000})
        if heard.path == "/token/refresh/":
            assert heard.json == {"refresh": f"{REFRESH}-{self.minted}"}
            self.refreshed += 1
            if self.refuses_refresh:
                return (401, {"summary": "Invalid token", "detail": "Token is invalid or expired", "status_code": 401})
            return (200, {"access": f"{ACCESS}-r{self.refreshed}", "access_expires": 86400})
        token = heard.headers["authorization"].removeprefix("Bearer ")
        assert token.startswith(ACCESS)
        if token in self.refused or "*" in self.refused:
            return (401, {"summary": "Invalid token", "detail": "Token is invalid or expired", "status_code": 401})
        answer = self.answers.get(
            heard.path, (404, {"summary": "Not found.", "detail": "Not found.", "status_code": 404})
        )
        return answer(heard) if callable(answer) else answer


REQUISITION: dict[str, Any] = {
    "id": "req-1",
    "status": "LN",
    "agreement": "agr-1",
    "accounts": ["acc-1"],
    "institution_id": "N26_NTSBDEB1",
    "link": "https://ob.gocardless.com/psd2/start/req-1/N26_NTSBDEB1",
}
AGREEMENT: dict[str, Any] = {
    "id": "agr-1",
    "created": "2025-01-31T15:53:29.481Z",
    "accepted": "2025-02-01T15:57:27.203016Z",
    "max_historical_days": 180,
    "access_valid_for_days": "90",
    "access_scope": ["balances", "details", "transactions"],
}
METADATA: dict[str, Any] = {"id": "acc-1", "iban": "GB1", "institution_id": "N26_NTSBDEB1", "status": "READY"}


def linked(*metadata: Any, requisition: Any = None, agreement: Any = None) -> dict[str, Any]:
    accounts = metadata or (METADATA,)
    return {
        "/requisitions/req-1/": (
            200,
            REQUISITION | {"accounts": [one["id"] for one in accounts]} | (requisition or {}),
        ),
        "/agreements/enduser/agr-1/": (200, AGREEMENT | (agreement or {})),
    } | {f"/accounts/{one['id']}/": (200, one) for one in accounts}


async def read(serve: Any, say: Any, stream: str = "transactions", **ask: Any) -> list[Page]:
    if not isinstance(say, Api):
        say = Api({f"/accounts/acc-1/{stream}/": say})
    async with serve(say) as server, client(server) as http:
        return await pages(http.session(SECRETS), stream, **ask)


async def accounts(serve: Any, answers: dict[str, Any], today: date = TODAY) -> tuple[Page, list[Account], list[str]]:
    async with serve(Api(answers)) as server, client(server) as http:
        page, listed = await GoCardless(http.session(SECRETS)).accounts(today)
        return page, listed, [one for one in server.targets if not one.startswith("/token/")]


def test_gocardless_is_a_provider() -> None:
    assert PROVIDERS["gocardless"] is GoCardless
    assert [(one.name, one.scope, one.every_days) for one in GoCardless.streams] == [
        ("accounts", "connection", 0),
        ("details", "account", 30),
        ("balances", "account", 0),
        ("transactions", "account", 0),
    ]


def test_the_secrets_of_a_requisition_are_taken() -> None:
    secrets = GoCardless.secrets({"requisition_id": "req-1"})
    assert (secrets, GoCardless.external_id(secrets)) == (SECRETS, "req-1")


@pytest.mark.parametrize(
    ("given", "faults"),
    [
        ({}, "requisition_id is missing"),
        ({"requisition_id": "r", "secret_key": KEY, "a": 1}, "a is unknown; secret_key is unknown"),
        ({"requisition_id": " r"}, "requisition_id is not a text of printable characters without space around it"),
        ({"requisition_id": 7}, "requisition_id is not a text of printable characters without space around it"),
    ],
)
def test_secrets_of_another_shape_are_refused_without_their_values(given: dict[str, object], faults: str) -> None:
    with pytest.raises(ValueError) as refused:
        GoCardless.secrets(given)
    assert str(refused.value) == f"expected the secrets of a GoCardless requisition, {{requisition_id}}: {faults}"


# The token pair.


async def test_one_pair_of_tokens_serves_all_sessions_and_paths_end_with_a_slash(serve: Any) -> None:
    api = Api(linked() | {PATH: (200, told()), "/accounts/acc-1/balances/": (200, {"balances": []})})
    async with serve(api) as server, client(server) as http:
        for _ in range(3):
            session = http.session(SECRETS)
            await GoCardless(session).accounts(TODAY)
            await pages(session)
            await pages(session, "balances")
    assert (api.minted, api.refreshed) == (1, 0)
    assert [one.path[-1] for one in server.heard] == ["/"] * len(server.heard)


async def test_a_refused_token_is_refreshed_and_the_request_sent_again(serve: Any) -> None:
    api = Api({PATH: (200, told([row("a")]))}, refused={f"{ACCESS}-1"})
    assert ids(await read(serve, api)) == [["acc-1:a"], []]
    assert (api.minted, api.refreshed) == (1, 1)


async def test_a_refused_refresh_token_gives_way_to_a_new_pair(serve: Any) -> None:
    api = Api({PATH: (200, told([row("a")]))}, refused={f"{ACCESS}-1"}, refuses_refresh=True)
    assert ids(await read(serve, api)) == [["acc-1:a"], []]
    assert (api.minted, api.refreshed) == (2, 1)


async def test_tokens_that_are_refused_however_new_are_the_operator_s_affair(serve: Any) -> None:
    api = Api({PATH: (200, told())}, refused={"*"})
    with pytest.raises(Misconfigured) as refused:
        await read(serve, api)
    assert (refused.value.scope, api.minted + api.refreshed) == ("provider", 3)


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        (
            401,
            {"summary": "Authentication failed", "detail": "No active account found", "status_code": 401},
            Misconfigured,
        ),
        (400, {"secret_key": ["This field is required."], "status_code": 400}, Misconfigured),
        (403, {"summary": "IP address access denied", "detail": "x", "status_code": 403}, Misconfigured),
        (402, {"summary": "Payment Required", "detail": "Free usage limit exceeded"}, Misconfigured),
        (429, {"summary": "Rate limit exceeded", "detail": "try again in 7200 seconds"}, Retryable),
        (200, {"access": ACCESS}, BadData),
    ],
)
async def test_secrets_that_give_no_token_stop_the_provider(serve: Any, status: int, said: Any, kind: Any) -> None:
    async with serve(lambda heard: (status, said)) as server, client(server) as http:
        with pytest.raises(kind) as raised:
            await pages(http.session(SECRETS))
    assert raised.value.scope == ("connection" if kind is Retryable else "provider")
    assert len(server.heard) == 1


async def test_without_secrets_nothing_is_asked(serve: Any) -> None:
    async with serve(Api()) as server, client(server, credentials={}) as http:
        with pytest.raises(Misconfigured, match="set LEDGERLAKE_GOCARDLESS_SECRET_ID"):
            await pages(http.session(SECRETS))
    assert server.heard == []


# Requisition, agreement, accounts.


async def test_accounts_are_those_of_the_requisition_by_their_own_bytes(serve: Any) -> None:
    other = METADATA | {"id": "acc-2", "institution_id": None, "more": [1.50]}
    page, listed, targets = await accounts(serve, linked(METADATA, other))
    assert listed == [ONE, Account("acc-2", "other", None, False, STREAMS, "N26_NTSBDEB1", None)]
    assert page.records == [Record(one["id"], one["id"], None, False, payload(one)) for one in (METADATA, other)]
    assert (page.rejected, page.complete, page.request) == ([], Complete(None, None), "GET /requisitions/req-1/")
    assert targets == ["/requisitions/req-1/", "/agreements/enduser/agr-1/", "/accounts/acc-1/", "/accounts/acc-2/"]


@pytest.mark.parametrize("status", ["EX", "SU", "ER", "RJ", "CR", "GC", "UA", "SA"])
async def test_a_requisition_that_is_not_linked_needs_the_customer(serve: Any, status: str) -> None:
    with pytest.raises(NeedsReauth) as raised:
        await accounts(serve, linked(requisition={"status": status}))
    assert (raised.value.code, raised.value.scope) == (status, "connection")


async def test_access_about_to_be_granted_is_waited_for_and_an_unknown_status_is_no_link(serve: Any) -> None:
    with pytest.raises(Retryable):
        await accounts(serve, linked(requisition={"status": "GA"}))
    with pytest.raises(BadData, match="found 'ID'"):
        await accounts(serve, linked(requisition={"status": "ID"}))


async def test_a_requisition_that_was_deleted_is_gone_and_a_wrong_base_url_is_not(serve: Any) -> None:
    with pytest.raises(Gone):
        await accounts(serve, {})
    with pytest.raises(BadData):
        await accounts(serve, {"/requisitions/req-1/": (404, {"detail": "Not Found"})})


@pytest.mark.parametrize(
    ("agreement", "today", "over"),
    [
        ({}, date(2025, 5, 1), False),
        ({}, date(2025, 5, 2), True),  # 90 days after 1 February
        ({"accepted": None}, date(2025, 5, 1), True),
        ({"accepted": "2025-02-01 15:57:27.203016+00:00"}, date(2025, 5, 2), True),
        ({"access_valid_for_days": 180}, date(2025, 5, 2), False),
    ],
)
async def test_an_agreement_that_is_over_is_noticed_without_a_wasted_request(
    serve: Any, agreement: Any, today: date, over: bool
) -> None:
    answers = linked(agreement=agreement)
    if over:
        del answers["/accounts/acc-1/"]
        with pytest.raises(NeedsReauth, match="ended on 2025-05-0"):
            await accounts(serve, answers, today)
    else:
        assert (await accounts(serve, answers, today))[1] == [ONE]


async def test_an_agreement_that_is_gone_needs_the_customer_and_one_that_is_not_there_says_nothing(serve: Any) -> None:
    answers = linked()
    del answers["/agreements/enduser/agr-1/"]
    with pytest.raises(NeedsReauth):
        await accounts(serve, answers)
    assert (await accounts(serve, linked(requisition={"agreement": None})))[1] == [ONE]


async def test_only_ready_accounts_are_read_and_the_others_say_why_not_at_no_cost(serve: Any) -> None:
    states = {"a": "EXPIRED", "b": "PROCESSING", "c": "READY", "d": "SUSPENDED", "e": "ERROR", "f": "NEW_ONE"}
    api = Api(linked(*(METADATA | {"id": key, "status": status} for key, status in states.items())))
    async with serve(api) as server, client(server) as http:
        connector = GoCardless(http.session(SECRETS))
        page, listed = await connector.accounts(TODAY)
        asked, raised = len(server.heard), {}
        for account in listed[1:]:
            with pytest.raises(ConnectorError) as error:
                async for _ in connector.read("transactions", Ask(today=TODAY, account=account, known=Unasked())):
                    pass
            raised[account.id] = (type(error.value), error.value.scope)
    assert [one.id for one in page.records] == list(states)
    assert [(one.id, one.streams) for one in listed] == [("c", STREAMS)] + [(x, ("transactions",)) for x in "abdef"]
    lost, later = (NeedsReauth, "account"), (Retryable, "account")
    assert raised == {"a": lost, "b": later, "d": lost, "e": later, "f": later}
    assert len(server.heard) == asked


async def test_an_account_that_no_longer_exists_is_not_listed_and_a_broken_one_is_set_aside(serve: Any) -> None:
    broken, other = {"id": "acc-2", "status": 1}, METADATA | {"id": "acc-9"}
    answers = linked(METADATA, broken, requisition={"accounts": ["acc-1", "acc-2", "acc-3", "acc-4", "acc-5", "acc-1"]})
    inactive = {"summary": "x", "type": "AccountInactiveError", "status_code": 401}
    answers |= {"/accounts/acc-4/": (401, inactive), "/accounts/acc-5/": (200, other)}
    page, listed, _ = await accounts(serve, answers)
    assert ([one.id for one in page.records], listed) == (["acc-1"], [ONE])
    reason = "not an account of GoCardless: Expected `str`, got `int` - at `$.status`"
    assert page.rejected == [
        Rejected(payload(broken), reason, "acc-2", "acc-2"),
        Rejected(payload(other), "id is 'acc-9', and account 'acc-5' was asked for", "acc-9", "acc-5"),
    ]


# Transactions: identity, window, pending.


async def test_booked_rows_and_the_whole_pending_set_come_from_one_answer_and_are_stored_together(serve: Any) -> None:
    booked = [row("b", "2025-03-30"), row("a", "2025-03-29", currencyExchange={"exchangeRate": 1.10}, new="kept")]
    pending = [row(day=None, valueDate="2025-04-12", amount="947.26"), row(day=None)]
    body = json.dumps(told(booked, pending), indent=1).encode()
    first, second = await read(serve, lambda heard: (200, body, HEADERS))
    assert first == Page(
        stream="transactions",
        records=[
            Record("acc-1:b", "acc-1", date(2025, 3, 30), False, first.records[0].payload),
            Record("acc-1:a", "acc-1", date(2025, 3, 29), False, first.records[1].payload),
        ],
        complete=Complete("acc-1", date(2025, 3, 29), of="posted", doubt="next_sync"),
        commit=False,
        request=f"GET {PATH}",
        size=len(body),
    )
    assert second == Page(
        stream="transactions",
        records=[
            Record(second.records[0].id, "acc-1", date(2025, 4, 12), True, second.records[0].payload),
            Record(second.records[1].id, "acc-1", None, True, second.records[1].payload),
        ],
        cursor={"synced_on": "2025-03-31"} | LEFT,
        complete=Complete("acc-1", None, of="pending", doubt="none"),
        request=f"GET {PATH}",
        size=0,
    )
    assert all(one.payload in body for page in (first, second) for one in page.records)
    assert [json.loads(one.payload) for page in (first, second) for one in page.records] == booked + pending
    assert [one.id.rsplit(":", 2)[0] for one in second.records] == ["acc-1:pending"] * 2


@pytest.mark.parametrize(
    ("row_", "expected"),
    [
        (row("i", transactionId="t"), "acc-1:i"),
        (row(" i "), "acc-1:i"),
        (row(" ", transactionId=" t "), "acc-1:tx:t"),
        (row(transactionId="t"), "acc-1:tx:t"),
        (row(transactionId=7), "acc-1:tx:7"),
        (row(transactionId=" "), "acc-1:hash:"),
        (row(transactionId=None, internalTransactionId=None), "acc-1:hash:"),
        (row(transactionId="a\0b"), "acc-1:hash:"),
        (row(transactionId="t" * 201), "acc-1:hash:"),
        (row(), "acc-1:hash:"),
    ],
)
async def test_a_row_is_known_by_gocardless_id_else_the_bank_s_else_by_what_it_says(
    serve: Any, row_: Any, expected: str
) -> None:
    ((found,), _) = ids(await read(serve, (200, told([row_]))))
    assert found == expected or (expected.endswith(":") and found.startswith(expected) and found.endswith(":1"))


async def test_an_id_of_several_rows_is_no_id_then_and_later(serve: Any) -> None:
    rows = [row(transactionId="9998", amount=amount) for amount in ("-1", "-2", "-2.00")] + [row(transactionId="t")]
    first, second = await read(serve, (200, told(rows)))
    keys = [one.id for one in first.records]
    assert (len(set(keys)), keys[3]) == (4, "acc-1:tx:t")
    assert [key.rsplit(":", 1)[1] for key in keys[:3]] == ["1", "1", "2"]  # -2 and -2.00 are equal
    assert second.cursor == {"synced_on": "2025-03-31", "reused": ["9998"]}
    for ask in ({}, {"since": TODAY}, {"full": True}):
        again, _ = await read(serve, (200, told(rows[1:2])), cursor=second.cursor, **ask)
        assert [one.id for one in again.records] == keys[1:2]


async def test_the_same_gocardless_id_is_one_row_if_equal_and_none_if_not(serve: Any) -> None:
    same, other = row("i"), row("i", amount="-7", transactionId="t")
    assert ids(await read(serve, (200, told([same, same])))) == [["acc-1:i"], []]
    ((first, second), _) = ids(await read(serve, (200, told([same, other]))))
    assert (first.startswith("acc-1:hash:"), second) == (True, "acc-1:tx:t")


async def test_rows_that_say_the_same_are_as_many_as_they_are_in_any_order(serve: Any) -> None:
    one, two = row(), row(amount="-9")
    first = await read(serve, (200, told([one, one, two], [one])))
    again = await read(serve, (200, told([two, one, one], [one])))
    assert len({key for page in ids(first) for key in page}) == 4
    assert [sorted(page) for page in ids(again)] == [sorted(page) for page in ids(first)]


@pytest.mark.parametrize(
    ("fields", "day"),
    [
        ({"bookingDate": "2025-02-07", "bookingDateTime": "2025-02-08T00:00:00.000Z"}, date(2025, 2, 7)),
        (
            {"bookingDate": " ", "bookingDateTime": "2025-02-08T23:59:59.000Z", "valueDate": "2025-02-09"},
            date(2025, 2, 8),
        ),
        ({"valueDate": "2025-02-09", "valueDateTime": "2025-02-10T00:00:00Z"}, date(2025, 2, 9)),
        ({"valueDateTime": "2025-02-10T00:00:00Z"}, date(2025, 2, 10)),
        ({"bookingDate": None}, None),
        ({}, None),
    ],
)
async def test_a_row_s_day_is_its_booking_else_its_value_date_and_may_be_missing(
    serve: Any, fields: Any, day: date | None
) -> None:
    first, second = await read(serve, (200, told([row("a", None) | fields], [row(day=None) | fields])))
    assert [first.records[0].date, second.records[0].date] == [day, day]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (
            {"transactionAmount": None},
            "not a transaction of GoCardless: Expected `object`, got `null` - at `$.transactionAmount`",
        ),
        (
            {"transactionAmount": {"amount": -6.06, "currency": "GBP"}},
            "not a transaction of GoCardless: Expected `str`, got `float` - at `$.transactionAmount.amount`",
        ),
        ({"transactionAmount": {"amount": "NaN", "currency": "GBP"}}, "amount 'NaN' is not a decimal number"),
        ({"transactionAmount": {"amount": "1", "currency": " "}}, "currency is blank"),
        ({"bookingDate": "2025-02-30"}, "date '2025-02-30' is not a day of the calendar, YYYY-MM-DD"),
    ],
)
async def test_a_row_that_breaks_the_contract_goes_to_quarantine_alone(serve: Any, bad: Any, reason: str) -> None:
    broken = row("bad") | bad
    first, second = await read(serve, (200, told([broken, row("a")], [row()])))
    assert (ids([first]), len(second.records)) == ([["acc-1:a"]], 1)
    assert first.rejected == [Rejected(payload(broken), reason, "acc-1:bad", "acc-1")]


async def test_text_that_is_no_unicode_sets_one_row_aside_and_leaves_the_others_bytes(serve: Any) -> None:
    good = b'{"internalTransactionId":"a","transactionAmount":{"amount":"1.50","currency":"\\u00a3"},"n": 1.50}'
    for bad in (b"\\ud800", b"\xff"):
        broken = good.replace(b'"a"', b'"b"').replace(b"\\u00a3", bad)
        body = b'{"transactions": {"booked": [' + broken + b", " + good + b'], "pending": []}}'
        first, _ = await read(serve, (200, body))
        assert [(one.id, one.payload) for one in first.records] == [("acc-1:a", good)]
        assert [(one.record_id, one.payload) for one in first.rejected] == [("acc-1:b", broken)]


@pytest.mark.parametrize(
    "body", [{}, [], {"transactions": []}, {"transactions": {"pending": []}}, {"transactions": None}]
)
async def test_transactions_in_another_shape_are_bad_data(serve: Any, body: Any) -> None:
    with pytest.raises(BadData, match="expected a JSON "):
        await read(serve, (200, body))


@pytest.mark.parametrize("pending", [{}, {"pending": None}])
async def test_a_bank_without_pending_rows_may_say_nothing_of_them(serve: Any, pending: Any) -> None:
    first, second = await read(serve, (200, {"transactions": {"booked": [row("a")]} | pending}))
    assert ([one.id for one in first.records], second.records) == (["acc-1:a"], [])
    assert second.complete == Complete("acc-1", None, of="pending", doubt="none")


@pytest.mark.parametrize(
    ("ask", "start", "cursor"),
    [
        ({}, None, True),
        ({"cursor": {"synced_on": "2025-03-30"}}, "2025-03-16", True),
        ({"cursor": {"synced_on": "2024-03-30"}}, "2024-10-02", True),  # 180 days are granted
        ({"cursor": {"synced_on": "2025-03-30"}, "full": True}, None, False),
        ({"cursor": {"synced_on": "2025-03-30"}, "since": date(2025, 2, 3)}, "2025-02-03", False),
        ({"since": date(2025, 3, 30)}, "2025-03-17", False),  # a pending row may be older
        ({"since": date(2020, 1, 1)}, "2024-10-02", False),
    ],
)
async def test_the_window_is_14_days_before_the_last_sync_within_the_agreement(
    serve: Any, ask: Any, start: str | None, cursor: bool
) -> None:
    async with serve(Api(linked() | {PATH: (200, told())})) as server, client(server) as http:
        connector = GoCardless(http.session(SECRETS))
        _, (account,) = await connector.accounts(TODAY)
        given = {"today": TODAY, "account": account, "known": Unasked()} | ask
        first, second = [page async for page in connector.read("transactions", Ask(**given))]
    assert server.targets[-1] == PATH + (f"?date_from={start}" if start else "")
    assert first.complete == (
        Complete("acc-1", date.fromisoformat(start), of="posted", doubt="next_sync") if start else None
    )
    assert second.cursor == ({"synced_on": "2025-03-31"} if cursor else None)


# The budget.


@pytest.mark.parametrize("stream", ["transactions", "balances"])
async def test_where_the_day_s_requests_are_used_up_none_is_made_until_they_are_there_again(
    serve: Any, stream: str
) -> None:
    answer = told() if stream == "transactions" else {"balances": []}
    spent = HEADERS | {"http_x_ratelimit_account_success_remaining": "0"}
    api = Api({f"/accounts/acc-1/{stream}/": (200, answer, spent)})
    async with serve(api) as server, client(server) as http:
        session = http.session(SECRETS)
        cursor = (await pages(session, stream))[-1].cursor
        assert cursor == {"synced_on": "2025-03-31", "remaining": 0, "reset_at": "2025-04-01T23:58:26+00:00"}
        asked = len(server.heard)
        assert await pages(session, stream, cursor=cursor) == []
        assert len(server.heard) == asked
        assert await pages(session, stream, cursor=cursor, today=TODAY + timedelta(1)) != []
        assert await pages(session, stream, cursor=cursor, full=True) != []
        assert await pages(session, stream, cursor=cursor, since=TODAY) != []


@pytest.mark.parametrize(
    ("remaining", "hours", "asks"),
    [(3, 20, True), (2, 20, True), (1, 20, False), (1, 11, True), (0, 1, False), (0, -1, True)],
)
async def test_the_last_request_of_today_is_kept_for_the_day_s_second_half(
    serve: Any, remaining: int, hours: int, asks: bool
) -> None:
    now = datetime.now(UTC)
    left = {"remaining": remaining, "reset_at": (now + timedelta(hours=hours)).isoformat()}
    found = await read(serve, (200, told()), today=now.date(), cursor={"synced_on": str(now.date())} | left)
    assert bool(found) is asks


async def test_a_cursor_of_another_version_is_named(serve: Any) -> None:
    for stream in ("transactions", "balances"):
        with pytest.raises(
            Misconfigured, match=f"expected the cursor of the {stream} of acc-1 as this version writes it"
        ):
            await read(serve, (200, told()), stream, cursor={"page": 7})


DAILY = {
    "summary": "x",
    "detail": "Daily request limit set by the Institution has been exceeded.",
    "type": "RateLimitError",
}
SAID = {"summary": "Rate limit exceeded", "detail": "The rate limit is 4/day. Please try again in 83455 seconds"}


@pytest.mark.parametrize(
    ("body", "headers", "wait", "scope"),
    [
        (SAID, {}, 83455, "stream"),
        (SAID, {"Retry-After": "90000"}, 90000, "stream"),
        (SAID, HEADERS, 86307, "stream"),
        (DAILY, HEADERS | {"Retry-After": "10"}, 86307, "stream"),
        (DAILY, {}, None, "stream"),
        ({"summary": "Rate limit exceeded"}, {"http_x_ratelimit_reset": "400"}, 400, "connection"),
    ],
)
async def test_429_waits_for_the_longest_of_all_the_times_named_and_never_inside(
    serve: Any, body: Any, headers: dict[str, str], wait: float | None, scope: str
) -> None:
    api = Api({PATH: (429, body | {"status_code": 429}, headers)})
    async with serve(api) as server, client(server) as http:
        with pytest.raises(Retryable) as busy:
            await pages(http.session(SECRETS))
    assert (busy.value.retry_after, busy.value.scope) == (wait, scope)
    asked = [one for one in server.targets if not one.startswith("/token/")]
    assert len(asked) == (1 if wait else 2)


# Balances and details.

BALANCE = {"balanceAmount": {"amount": "657.49", "currency": "EUR"}, "balanceType": "interimAvailable", "more": 1}


async def test_a_balance_is_one_reading_a_day_of_all_that_the_bank_lists(serve: Any) -> None:
    body = {"balances": [BALANCE, BALANCE | {"balanceType": "brand_new"}]}
    assert await read(serve, (200, body, HEADERS), "balances") == [
        Page(
            stream="balances",
            records=[Record("acc-1:2025-03-31", "acc-1", TODAY, False, payload(body))],
            cursor={"synced_on": "2025-03-31"} | LEFT,
            request="GET /accounts/acc-1/balances/",
            size=len(payload(body)),
        )
    ]


async def test_no_balance_is_no_reading_and_not_zero(serve: Any) -> None:
    (page,) = await read(serve, (200, {"balances": []}, HEADERS), "balances")
    assert (page.records, page.rejected, page.cursor) == ([], [], {"synced_on": "2025-03-31"} | LEFT)


async def test_a_balance_that_breaks_the_contract_goes_to_quarantine(serve: Any) -> None:
    body = {"balances": [BALANCE, BALANCE | {"balanceAmount": {"amount": "1e999", "currency": "EUR"}}]}
    (page,) = await read(serve, (200, body), "balances")
    reason = "amount '1e999' has more than 20 digits before the point"
    assert (page.records, page.rejected) == ([], [Rejected(payload(body), reason, None, "acc-1")])


async def test_details_are_one_record_of_the_account(serve: Any) -> None:
    body = {"account": {"resourceId": "1", "currency": "PLN"}}
    (page,) = await read(serve, (200, body), "details")
    assert (page.records, page.cursor) == ([Record("acc-1", "acc-1", None, False, payload(body))], None)


@pytest.mark.parametrize(("stream", "account"), [("transactions", None), ("identity", ONE), ("accounts", ONE)])
async def test_a_stream_that_cannot_be_read_so_is_a_bug(serve: Any, stream: str, account: Account | None) -> None:
    with pytest.raises(ValueError, match=stream):
        await read(serve, (200, told()), stream, account=account)


async def test_no_record_is_shown_by_its_id(serve: Any) -> None:
    async with serve(Api()) as server, client(server) as http:
        assert await GoCardless(http.session(SECRETS)).show("transactions", ONE, "acc-1:a") is None
    assert server.heard == []
