"""Tink against a server that keeps its protocol, and against servers that do not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, urlsplit

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
from connectors.tink import Tink
from tests.connectors.suite import Held, Reading, ids

pytestmark = pytest.mark.anyio

CLIENT_SECRET = "canary-client-5ecret"
USER = "user_canary"
SECRETS = {"external_user_id": SecretStr(USER), "credentials_id": SecretStr("cred1")}
CREDENTIALS = {"client_id": SecretStr("app"), "client_secret": SecretStr(CLIENT_SECRET)}
TODAY = date(2024, 3, 31)
REFRESHED = "2024-03-31T04:10:00Z"
ACCOUNT = Account("acc1", "CHECKING", None, False, ("balances", "transactions"), None, "uk-demobank")
SCOPE = "accounts:read,balances:read,transactions:read,provider-consents:read"
TRANSACTIONS = "/data/v2/transactions"
READING = Reading(Tink, SECRETS, TODAY, ACCOUNT, Held(), CREDENTIALS)
client, pages = READING.client, READING.pages


def money(unscaled: str | int, scale: str | int = "2", currency: str = "EUR") -> dict[str, Any]:
    return {"currencyCode": currency, "value": {"scale": scale, "unscaledValue": unscaled}}


def account(name: str = "acc1", refreshed: str | None = REFRESHED, **fields: Any) -> dict[str, Any]:
    return {
        "id": name,
        "name": "PERSONKONTO",
        "type": "CHECKING",
        "balances": {"booked": {"amount": money("19", "-3")}, "available": {"amount": money("1904200")}},
        "dates": {"lastRefreshed": refreshed},
    } | fields


def row(name: str, day: date | str | None = TODAY, *, pending: bool = False, **fields: Any) -> dict[str, Any]:
    return (
        {
            "id": name,
            "accountId": "acc1",
            "amount": money("-1230"),
            "status": "PENDING" if pending else "BOOKED",
            "types": {"type": "DEFAULT"},
            "descriptions": {"original": "COFFEE"},
        }
        | ({"dates": {"booked": str(day)}} if day else {})
        | fields
    )


def consent(status: str | None = "UPDATED", *, until: date | None = None, **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"credentialsId": "cred1", "providerName": "uk-demobank", "accountIds": ["acc1"]}
    if status is not None:
        made["status"] = status
    if until is not None:
        made["sessionExpiryDate"] = int(datetime(until.year, until.month, until.day, 12, tzinfo=UTC).timestamp() * 1000)
    return made | fields


def trouble(kind: str, reason: str) -> dict[str, Any]:
    return {"detailedError": {"type": kind, "displayMessage": "x", "details": {"reason": reason, "retryable": True}}}


@dataclass
class Bank:
    """Tink as it documents itself: both grants with codes that work once, consents, accounts and transactions in pages."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    accounts: list[dict[str, Any]] = field(default_factory=lambda: [account()])
    consents: list[dict[str, Any]] = field(default_factory=lambda: [consent()])
    per_page: int = 100
    answers: dict[str, list[Any]] = field(default_factory=dict)
    """What a path answers first, before it answers as it should."""
    instead: Callable[[dict[str, str]], Any] | None = None
    """What the transactions answer, to a query; None: as they should."""
    codes: set[str] = field(default_factory=set)
    numbers: Any = field(default_factory=lambda: count(1))
    users: set[str] = field(default_factory=set)
    clients: set[str] = field(default_factory=set)

    def __call__(self, heard: Any) -> Any:
        if waiting := self.answers.get(heard.path):
            answer = waiting.pop(0)
            if answer is not None:
                return answer
        if heard.method == "POST":
            if heard.headers["content-type"] != "application/x-www-form-urlencoded":
                return (415, {})
            return self.oauth(heard, dict(parse_qsl(heard.body.decode())))
        if heard.headers.get("authorization", "").removeprefix("Bearer ") not in self.users:
            return (401, {})
        match heard.path:
            case "/api/v1/provider-consents":
                return (200, {"providerConsents": self.consents})
            case "/data/v2/accounts":
                return (200, self.page("accounts", self.accounts, heard.query))
            case "/data/v2/transactions":
                return self.instead(heard.query) if self.instead else self.list(heard.query)
        return (404, {})

    def oauth(self, heard: Any, form: dict[str, str]) -> Any:
        number = f"{next(self.numbers)}-canary"
        if heard.path == "/api/v1/oauth/authorization-grant":
            if heard.headers.get("authorization", "").removeprefix("Bearer ") not in self.clients:
                return (401, {})
            assert form == {"external_user_id": USER, "scope": SCOPE}
            self.codes.add(number)
            return (200, {"code": number})
        assert heard.path == "/api/v1/oauth/token"
        assert "authorization" not in heard.headers
        if (form.pop("client_id"), form.pop("client_secret")) != ("app", CLIENT_SECRET):
            return (401, {})
        token = {"access_token": f"token-{number}", "token_type": "bearer", "expires_in": 1800}
        if form == {"grant_type": "client_credentials", "scope": "authorization:grant"}:
            self.clients.add(token["access_token"])
        else:
            assert form.pop("grant_type") == "authorization_code"
            if form["code"] not in self.codes:
                return (400, {"errorCode": "INVALID_CODE"})
            self.codes.remove(form["code"])
            self.users.add(token["access_token"])
        return (200, token)

    def list(self, query: dict[str, str]) -> Any:
        assert query["bookedDateLte"] == "2099-12-31"
        rows = [one for one in self.rows if one["accountId"] == query["accountIdIn"]]
        rows = [one for one in rows if one.get("dates", {}).get("booked", "9") >= query.get("bookedDateGte", "")]
        return (200, self.page("transactions", rows, query))

    def page(self, name: str, rows: list[dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
        assert query["pageSize"] == "100"
        first = int(query.get("pageToken", "at-0").removeprefix("at-"))
        after = first + self.per_page
        return {name: rows[first:after], "nextPageToken": f"at-{after}" if after < len(rows) else ""}


async def read(serve: Any, bank: Any, stream: str = "transactions", today: date = TODAY, **ask: Any) -> list[Page]:
    """One sync: the accounts, and one stream."""
    async with serve(bank) as server, client(server) as http:
        tink = Tink(http.session(SECRETS))
        await tink.accounts(today)
        return await pages(tink, stream, today=today, **ask)


def record(one: dict[str, Any], day: date | None = TODAY) -> Record:
    return Record(one["id"], one["accountId"], day, one["status"] == "PENDING", json.dumps(one).encode())


def queries(server: Any, path: str = TRANSACTIONS) -> list[dict[str, str]]:
    return [dict(parse_qsl(urlsplit(one.target).query)) for one in server.heard if one.path == path]


def test_tink_is_a_provider() -> None:
    assert PROVIDERS["tink"] is Tink
    assert [(one.name, one.scope, one.every_days) for one in Tink.streams] == [
        ("accounts", "connection", 0),
        ("consents", "connection", 0),
        ("balances", "account", 0),
        ("transactions", "account", 0),
    ]


def test_the_secrets_of_a_consent_are_taken_and_masked() -> None:
    secrets = Tink.secrets({"external_user_id": USER, "credentials_id": "cred1"})
    assert {name: value.get_secret_value() for name, value in secrets.items()} == {
        "external_user_id": USER,
        "credentials_id": "cred1",
    }
    assert USER not in repr(secrets)
    assert Tink.external_id(secrets) == "cred1"


UNFIT = "is not a text of printable characters without space around it"


@pytest.mark.parametrize(
    ("given", "faults"),
    [
        ({}, "external_user_id is missing; credentials_id is missing"),
        ({"external_user_id": USER, "credentials_id": "c", "b": USER, "a": 1}, "a is unknown; b is unknown"),
        (
            {"external_user_id": USER + "\n", "credentials_id": 7},
            "; ".join(f"{name} {UNFIT}" for name in ("external_user_id", "credentials_id")),
        ),
    ],
)
def test_secrets_of_another_shape_are_refused_without_their_values(given: dict[str, object], faults: str) -> None:
    with pytest.raises(ValueError) as refused:
        Tink.secrets(given)
    assert str(refused.value) == (
        f"expected what names a consent at Tink, {{external_user_id, credentials_id}}: {faults}"
    )


async def test_a_sync_takes_one_code_and_one_token_and_the_applications_token_serves_all(serve: Any) -> None:
    bank = Bank(rows=[row("t1")])
    async with serve(bank) as server, client(server) as http:
        for _ in range(2):
            tink = Tink(http.session(SECRETS))
            await tink.accounts(TODAY)
            await pages(tink)
    assert [f"{one.method} {one.path}" for one in server.heard] == [
        "POST /api/v1/oauth/token",
        *[
            "POST /api/v1/oauth/authorization-grant",
            "POST /api/v1/oauth/token",
            "GET /api/v1/provider-consents",
            "GET /data/v2/accounts",
            "GET /data/v2/transactions",
        ]
        * 2,
    ]


async def test_accounts_are_those_of_the_consent_over_all_pages(serve: Any) -> None:
    bank = Bank(
        accounts=[account("other"), account("acc1"), account("acc2", type="CREDIT_CARD", financialInstitutionId="f1")],
        consents=[consent(credentialsId="cred0", accountIds=["other", "acc1"]), consent(accountIds=["acc1", "acc2"])],
        per_page=2,
    )
    async with serve(bank) as server, client(server) as http:
        page, found = await Tink(http.session(SECRETS)).accounts(TODAY)
    assert found == [
        ACCOUNT,
        Account("acc2", "CREDIT_CARD", None, False, ("balances", "transactions"), "f1", "uk-demobank"),
    ]
    assert page == Page(
        stream="accounts",
        records=[Record(one["id"], one["id"], None, False, json.dumps(one).encode()) for one in bank.accounts[1:]],
        complete=Complete(None, None),
        request="GET /data/v2/accounts?pageSize=100",
        size=sum(
            len(json.dumps(bank.page("accounts", bank.accounts, {"pageSize": "100", "pageToken": f"at-{at}"})))
            for at in (0, 2)
        ),
    )


async def test_a_sole_consent_that_names_no_accounts_has_them_all(serve: Any) -> None:
    bank = Bank(consents=[consent(accountIds=None)])
    async with serve(bank) as server, client(server) as http:
        assert (await Tink(http.session(SECRETS)).accounts(TODAY))[1] == [ACCOUNT]
        bank.consents.append(consent(credentialsId="cred0"))
        with pytest.raises(BadData, match="expected accountIds with the consent 'cred1'"):
            await Tink(http.session(SECRETS)).accounts(TODAY)


async def test_broken_accounts_are_set_aside_but_not_those_of_other_consents(serve: Any) -> None:
    bad: list[dict[str, Any]] = [account("acc1", type=7), account("other", type=7), account("x")]
    del bad[2]["id"]
    async with serve(Bank(accounts=bad)) as server, client(server) as http:
        page, found = await Tink(http.session(SECRETS)).accounts(TODAY)
    assert (page.records, found) == ([], [])
    assert page.rejected == [
        Rejected(
            json.dumps(bad[0]).encode(), "not an account of Tink: Expected `str`, got `int` - at `$.type`", "acc1"
        ),
        Rejected(json.dumps(bad[2]).encode(), "not an account of Tink: Object missing required field `id`"),
    ]


async def test_the_consent_is_a_record_of_its_own(serve: Any) -> None:
    bank = Bank(consents=[consent(credentialsId="cred0"), consent(newField={"a": 1})])
    [page] = await read(serve, bank, "consents", account=None)
    assert page == Page(
        stream="consents",
        records=[Record("cred1", None, None, False, json.dumps(bank.consents[1]).encode())],
        complete=Complete(None, None),
        request="GET /api/v1/provider-consents",
        size=len(json.dumps({"providerConsents": bank.consents})),
    )


TOMORROW, YESTERDAY = TODAY + timedelta(days=1), TODAY - timedelta(days=1)


@pytest.mark.parametrize(
    ("state", "kind", "code"),
    [
        (consent(), None, None),
        (consent(until=TOMORROW), None, None),
        (consent(until=TODAY), None, None),
        (consent("UPDATING"), None, None),
        (consent(None), None, None),
        (consent("SOMETHING_NEW"), None, None),
        (consent(sessionExpiryDate=10**30), None, None),
        (consent(until=YESTERDAY), NeedsReauth, "SESSION_EXPIRED"),
        (consent("TEMPORARY_ERROR", until=YESTERDAY), NeedsReauth, "SESSION_EXPIRED"),
        (consent("SESSION_EXPIRED"), NeedsReauth, "SESSION_EXPIRED"),
        (consent("AUTHENTICATION_ERROR"), NeedsReauth, "AUTHENTICATION_ERROR"),
        (
            consent("AUTHENTICATION_ERROR", **trouble("USER_LOGIN_ERROR", "STATIC_CREDENTIALS_INCORRECT")),
            NeedsReauth,
            "AUTHENTICATION_ERROR.STATIC_CREDENTIALS_INCORRECT",
        ),
        (consent("AWAITING_MOBILE_BANKID_AUTHENTICATION"), NeedsReauth, "AWAITING_MOBILE_BANKID_AUTHENTICATION"),
        (consent("AWAITING_SUPPLEMENTAL_INFORMATION"), NeedsReauth, "AWAITING_SUPPLEMENTAL_INFORMATION"),
        (
            consent("AWAITING_THIRD_PARTY_APP_AUTHENTICATION"),
            NeedsReauth,
            "AWAITING_THIRD_PARTY_APP_AUTHENTICATION",
        ),
        (consent("CREATED"), Retryable, "CREATED"),
        (consent("AUTHENTICATING"), Retryable, "AUTHENTICATING"),
        (consent("TEMPORARY_ERROR"), Retryable, "TEMPORARY_ERROR"),
        (
            consent("TEMPORARY_ERROR", **trouble("PROVIDER_ERROR", "PROVIDER_UNAVAILABLE")),
            Retryable,
            "TEMPORARY_ERROR.PROVIDER_UNAVAILABLE",
        ),
        (
            consent("TEMPORARY_ERROR", **trouble("TINK_SIDE_ERROR", "TINK_INTERNAL_SERVER_ERROR")),
            Retryable,
            "TEMPORARY_ERROR.TINK_INTERNAL_SERVER_ERROR",
        ),
        (
            consent("TEMPORARY_ERROR", **trouble("PROVIDER_ERROR", "LICENSED_PARTY_REJECTED")),
            Misconfigured,
            "TEMPORARY_ERROR.LICENSED_PARTY_REJECTED",
        ),
        (
            consent("TEMPORARY_ERROR", **trouble("USER_LOGIN_ERROR", "USER_BLOCKED")),
            NeedsReauth,
            "TEMPORARY_ERROR.USER_BLOCKED",
        ),
        (
            consent("TEMPORARY_ERROR", **trouble("AUTHORIZATION_ERROR", "USER_ACTION_REQUIRED")),
            NeedsReauth,
            "TEMPORARY_ERROR.USER_ACTION_REQUIRED",
        ),
    ],
)
async def test_the_state_of_a_consent_decides_after_it_was_read(
    serve: Any, state: dict[str, Any], kind: type[ConnectorError] | None, code: str | None
) -> None:
    bank = Bank(consents=[state])
    raised: ConnectorError | None = None
    async with serve(bank) as server, client(server) as http:
        tink = Tink(http.session(SECRETS))
        page, _ = await tink.accounts(TODAY)
        stream = tink.read("consents", Ask(today=TODAY, known=Held()))
        first = await anext(stream)
        try:
            assert [one async for one in stream] == []
        except ConnectorError as error:
            raised = error
    assert ids([first]) == [["cred1"]]
    assert (type(raised) if raised else None, raised and raised.code) == (kind, code)
    assert raised is None or raised.scope == "connection"
    # What a consent in trouble does not name is not taken for gone.
    assert page.complete == (None if kind else Complete(None, None))


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ([consent("DELETED")], "DELETED"),
        ([consent("PERMANENT_ERROR")], "PERMANENT_ERROR"),
        (
            [consent("TEMPORARY_ERROR", **trouble("ACCOUNT_INFORMATION_ERROR", "NO_ACCOUNTS"))],
            "TEMPORARY_ERROR.NO_ACCOUNTS",
        ),
        ([consent(credentialsId="cred0")], "DELETED"),
        ([], "DELETED"),
    ],
)
async def test_a_consent_that_is_over_or_not_listed_is_gone_before_anything_is_read(
    serve: Any, states: list[dict[str, Any]], code: str
) -> None:
    async with serve(Bank(consents=states)) as server, client(server) as http:
        with pytest.raises(Gone) as gone:
            await Tink(http.session(SECRETS)).accounts(TODAY)
    assert (gone.value.code, gone.value.scope) == (code, "connection")
    assert "GET /data/v2/accounts" not in [f"{one.method} {one.path}" for one in server.heard]


async def test_a_consent_that_breaks_the_contract_is_bad_data_and_not_gone(serve: Any) -> None:
    async with serve(Bank(consents=[consent(accountIds="acc1")])) as server, client(server) as http:
        with pytest.raises(BadData, match="found one that breaks the contract: not a consent of Tink: Expected `array"):
            await Tink(http.session(SECRETS)).accounts(TODAY)


@pytest.mark.parametrize(
    ("times", "stale"),
    [
        (["2024-03-24T00:00:00Z"], False),
        (["2024-03-23T23:59:59Z"], True),
        (["2024-03-24T01:30:00+02:00"], True),
        (["2020-12-15T12:16:58Z", REFRESHED], False),
        ([None, "soon"], False),
    ],
)
async def test_a_consent_without_trouble_whose_data_are_old_is_told_after_all_was_read(
    serve: Any, times: list[str | None], stale: bool
) -> None:
    names = [f"acc{number}" for number, _ in enumerate(times)]
    bank = Bank(
        accounts=[account(name, time) for name, time in zip(names, times, strict=True)],
        consents=[consent(accountIds=names)],
    )
    async with serve(bank) as server, client(server) as http:
        tink = Tink(http.session(SECRETS))
        page, _ = await tink.accounts(TODAY)
        if stale:
            with pytest.raises(Retryable, match="expected a refresh within 7 days, found the last one on 2024-03-23"):
                await pages(tink, "consents")
        else:
            assert ids(await pages(tink, "consents")) == [["cred1"]]
    assert page.complete == Complete(None, None)


async def test_balances_are_those_of_the_account_at_its_last_refresh_without_a_request(serve: Any) -> None:
    bank = Bank(accounts=[account(refreshed="2024-03-30T23:10:00Z")])
    async with serve(bank) as server, client(server) as http:
        tink = Tink(http.session(SECRETS))
        await tink.accounts(TODAY)
        before = len(server.heard)
        [page] = await pages(tink, "balances")
        assert len(server.heard) == before
    payload = json.dumps(bank.accounts[0]["balances"]).encode()
    assert page == Page(
        stream="balances",
        records=[Record("acc1:2024-03-30", "acc1", YESTERDAY, False, payload)],
        request="GET /data/v2/accounts?pageSize=100",
        size=0,
    )


@pytest.mark.parametrize("balances", [{}, None, "absent"])
async def test_an_account_without_balances_has_no_reading(serve: Any, balances: Any) -> None:
    shown = account(balances=balances)
    if balances == "absent":
        del shown["balances"]
    assert await read(serve, Bank(accounts=[shown]), "balances") == []


@pytest.mark.parametrize(
    ("balances", "reason"),
    [
        ({"booked": {"amount": money("1,5")}}, "amount of unscaledValue '1,5' and scale '2' is not of two integers"),
        ({"booked": {"amount": money("1", "9")}}, "amount '1e-9' has more than 8 digits after the point"),
        (
            {"booked": {"amount": money("1")}, "available": {"amount": money("1", currency="SEK")}},
            "expected booked, available or both, in one currency",
        ),
        ({"reserved": 1}, "expected booked, available or both, in one currency"),
        ([], "not balances of Tink: Expected `object`, got `array`"),
    ],
)
async def test_broken_balances_are_set_aside(serve: Any, balances: Any, reason: str) -> None:
    [page] = await read(serve, Bank(accounts=[account(balances=balances)]), "balances")
    assert (page.records, page.rejected) == (
        [],
        [Rejected(json.dumps(balances).encode(), reason, "acc1:2024-03-31", "acc1")],
    )


async def test_a_first_read_goes_through_all_pages_and_leaves_a_cursor_between_them(serve: Any) -> None:
    bank = Bank(rows=[row(f"t{number}") for number in range(5)], per_page=2)
    first, second, third = await read(serve, bank)
    begun = {"refreshed": REFRESHED, "synced_on": "2024-03-31"}
    assert ids([first, second, third]) == [["t0", "t1"], ["t2", "t3"], ["t4"]]
    assert first.cursor == {"backfill": {"page_token": "at-2", **begun}}
    assert second.cursor == {"backfill": {"page_token": "at-4", **begun}}
    assert third == Page(
        stream="transactions",
        records=[record(bank.rows[4])],
        cursor=begun,
        complete=Complete("acc1", None),
        request="GET /data/v2/transactions?accountIdIn=acc1&pageSize=100&bookedDateLte=2099-12-31&pageToken=at-4",
        size=third.size,
    )


async def test_an_interrupted_first_read_goes_on_where_it_stopped_and_then_reads_what_is_new_since(serve: Any) -> None:
    bank = Bank(rows=[row(f"t{number}") for number in range(5)], per_page=2)
    begun = {"refreshed": "2024-03-29T01:00:00Z", "synced_on": "2024-03-29"}
    found = await read(serve, bank, cursor={"backfill": {"page_token": "at-2", **begun}})
    assert ids(found) == [["t2", "t3"], ["t4"]]
    assert (found[-1].cursor, found[-1].complete) == (begun, None)


async def test_a_page_token_that_is_refused_begins_the_read_again_once(serve: Any) -> None:
    bank = Bank(rows=[row(f"t{number}") for number in range(3)], per_page=2)
    bank.answers[TRANSACTIONS] = [(400, {"errorCode": "INVALID_PAGE_TOKEN"})]
    begun = {"refreshed": "2024-03-29T01:00:00Z", "synced_on": "2024-03-29"}
    found = await read(serve, bank, cursor={"backfill": {"page_token": "old", **begun}})
    assert ids(found) == [["t0", "t1"], ["t2"]]
    assert found[-1].cursor == {"refreshed": REFRESHED, "synced_on": "2024-03-31"}
    assert found[-1].complete == Complete("acc1", None)

    bank.answers[TRANSACTIONS] = [None, (400, {})]
    assert ids(await read(serve, bank)) == [["t0", "t1"], ["t0", "t1"], ["t2"]]

    bank.answers[TRANSACTIONS] = [None, (400, {}), None, (400, {})]
    with pytest.raises(Retryable, match="its token was refused, twice in one read") as refused:
        await read(serve, bank)
    assert (refused.value.code, refused.value.scope) == ("400", "stream")


async def test_nothing_refreshed_since_the_last_sync_is_not_asked_for(serve: Any) -> None:
    cursor = {"refreshed": REFRESHED, "synced_on": "2024-03-30"}
    bank = Bank(rows=[row("t1")])
    async with serve(bank) as server, client(server) as http:
        tink = Tink(http.session(SECRETS))
        await tink.accounts(TODAY)
        assert await pages(tink, cursor=cursor) == []
        assert queries(server) == []
        assert ids(await pages(tink, cursor=cursor, since=YESTERDAY)) == [["t1"]]
        assert ids(await pages(tink, cursor=cursor, full=True)) == [["t1"]]
        assert ids(await pages(tink, cursor={**cursor, "refreshed": None})) == [["t1"]]
    assert [query.get("bookedDateGte") for query in queries(server)] == ["2024-03-30", None, "2024-02-29"]


@pytest.mark.parametrize(
    ("pending", "start"),
    [(None, date(2024, 2, 28)), (date(2024, 3, 20), date(2024, 2, 28)), (date(2024, 1, 5), date(2024, 1, 5))],
)
async def test_the_window_reaches_back_thirty_days_or_to_the_oldest_pending(
    serve: Any, pending: date | None, start: date
) -> None:
    bank = Bank(rows=[row("soon", date(2024, 4, 4), pending=True), row("old", date(2023, 12, 1))])
    cursor = {"refreshed": "2024-03-29T01:00:00Z", "synced_on": "2024-03-29"}
    [page] = await read(serve, bank, cursor=cursor, known=Held([] if pending is None else [("t", pending, True)]))
    assert page.records == [record(bank.rows[0], date(2024, 4, 4))]
    assert page.complete == Complete("acc1", start)
    assert page.cursor == {"refreshed": REFRESHED, "synced_on": "2024-03-31"}
    assert f"bookedDateGte={start}" in page.request


async def test_since_and_full_leave_no_cursor(serve: Any) -> None:
    bank = Bank(rows=[row(f"t{number}") for number in range(3)], per_page=2)
    since = await read(serve, bank, since=YESTERDAY)
    full = await read(serve, bank, full=True)
    assert [page.cursor for page in (*since, *full)] == [None] * 4
    assert [page.complete for page in (*since, *full)] == [
        None,
        Complete("acc1", YESTERDAY),
        None,
        Complete("acc1", None),
    ]


async def test_while_tink_refreshes_the_cursor_does_not_believe_the_time(serve: Any) -> None:
    [page] = await read(serve, Bank(rows=[row("t1")], consents=[consent("UPDATING")]))
    assert page.cursor == {"refreshed": None, "synced_on": "2024-03-31"}


async def test_a_cursor_of_another_version_asks_for_a_full_read(serve: Any) -> None:
    with pytest.raises(Misconfigured, match=r"expected the cursor of the transactions of acc1 .* \(--full\)") as wrong:
        await read(serve, Bank(), cursor={"from_id": "t1"})
    assert wrong.value.scope == "stream"


@pytest.mark.parametrize(
    "amount",
    [money("-1300", "1"), money("19", "-3"), money("0", "40"), money(-5, 2), money("12345678901234567890", "0")],
)
async def test_an_amount_of_any_scale_is_kept_as_it_came(serve: Any, amount: dict[str, Any]) -> None:
    bank = Bank(rows=[row("t1", amount=amount)])
    assert (await read(serve, bank))[0].records == [record(bank.rows[0])]


async def test_a_row_keeps_unknown_fields_and_statuses_and_may_lack_dates(serve: Any) -> None:
    bank = Bank(
        rows=[row("t1", None, status="UNDEFINED"), row("t2", None, dates={"value": "2024-03-01"}, status="NEW")]
    )
    [page] = await read(serve, bank)
    assert page.records == [record(one, None) for one in bank.rows]
    assert page.rejected == []


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"id": ""}, "id '' is not 1 to 255 printable characters"),
        ({"accountId": "acc2"}, "accountId is 'acc2', and account 'acc1' was asked for"),
        ({"amount": money("NaN")}, "amount of unscaledValue 'NaN' and scale '2' is not of two integers"),
        ({"amount": money("1", "2.0")}, "amount of unscaledValue '1' and scale '2.0' is not of two integers"),
        ({"amount": money("1", "9")}, "amount '1e-9' has more than 8 digits after the point"),
        ({"amount": money("1", "-20")}, "amount '1e20' has more than 20 digits before the point"),
        ({"amount": money("1", currency=" ")}, "currencyCode is empty"),
        (
            {"amount": {"currencyCode": "EUR"}},
            "not a transaction of Tink: Object missing required field `value` - at `$.amount`",
        ),
        ({"dates": {"booked": "2024-02-30"}}, "date '2024-02-30' is not a day of the calendar, YYYY-MM-DD"),
        ({"status": None}, "not a transaction of Tink: Expected `str`, got `null` - at `$.status`"),
    ],
)
async def test_a_broken_row_is_set_aside_alone(serve: Any, fields: dict[str, Any], reason: str) -> None:
    bank = Bank(rows=[row("bad") | fields, row("good")])
    bank.instead = lambda _: (200, {"transactions": bank.rows})
    [page] = await read(serve, bank)
    assert page.records == [record(bank.rows[1])]
    assert page.rejected == [
        Rejected(json.dumps(bank.rows[0]).encode(), reason, (fields.get("id", "bad")) or None, "acc1")
    ]


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ([], "expected a JSON object, {transactions: […]}, found an array"),
        ({}, "expected transactions and nextPageToken from GET /data/v2/transactions?.*, found no transactions"),
        ({"transactions": {}}, "expected a JSON array, each element a transaction of Tink, found an object"),
        (
            {"transactions": [], "nextPageToken": 7},
            "found a nextPageToken that is no text: Expected `str | null`, got `int`",
        ),
    ],
)
async def test_an_answer_of_another_shape_is_bad_data(serve: Any, said: Any, found: str) -> None:
    bank = Bank(instead=lambda _: (200, said))
    with pytest.raises(
        BadData, match=found.replace("?.*", r"\?.*").replace("[…]", r"\[…\]").replace("|", r"\|")
    ) as bad:
        await read(serve, bank)
    assert bad.value.scope == "stream"


async def test_a_list_that_is_left_out_beside_a_token_is_empty(serve: Any) -> None:
    [page] = await read(serve, Bank(instead=lambda _: (200, {"nextPageToken": None})))
    assert (page.records, page.complete) == ([], Complete("acc1", None))


async def test_paging_that_goes_in_a_circle_or_never_ends_is_noticed(serve: Any) -> None:
    numbers = count()
    circle = Bank(instead=lambda _: (200, {"transactions": [row(f"t{next(numbers)}")], "nextPageToken": "again"}))
    with pytest.raises(Retryable, match="found that the page token repeats") as stopped:
        await read(serve, circle)
    assert stopped.value.scope == "stream"
    endless = Bank(instead=lambda _: (200, {"transactions": [row("t")], "nextPageToken": f"n{next(numbers)}"}))
    with pytest.raises(Retryable, match="found 3 pages with nothing new"):
        await read(serve, endless)
    listing = Bank()
    listing.answers["/data/v2/accounts"] = [(200, {"accounts": [], "nextPageToken": "x"})] * 9
    with pytest.raises(Retryable, match="found that the page token repeats"):
        await read(serve, listing)


async def test_a_token_that_has_expired_is_replaced_once(serve: Any) -> None:
    bank = Bank(rows=[row(f"t{number}") for number in range(3)], per_page=2)
    async with serve(bank) as server, client(server) as http:
        tink = Tink(http.session(SECRETS))
        await tink.accounts(TODAY)
        bank.users.clear()
        assert ids(await pages(tink)) == [["t0", "t1"], ["t2"]]
        # The application's token may have gone too.
        bank.users.clear()
        bank.clients.clear()
        assert ids(await pages(tink)) == [["t0", "t1"], ["t2"]]
        bank.answers[TRANSACTIONS] = [(401, {})] * 2
        with pytest.raises(Misconfigured, match="Tink refuses a token that it has just given") as refused:
            await pages(tink)
    assert (refused.value.code, refused.value.scope) == ("401", "connection")


async def test_a_code_that_was_used_up_by_a_lost_answer_is_replaced(serve: Any) -> None:
    bank = Bank()
    said: list[str] = []

    def lossy(heard: Any) -> Any:
        answer = bank(heard)
        said.append(heard.path)
        # The second of the token endpoint's answers never arrives, though its code is spent.
        return (502, {}) if said.count("/api/v1/oauth/token") == 2 and heard.path == said[-1] == said[0] else answer

    async with serve(lossy) as server, client(server) as http:
        assert (await Tink(http.session(SECRETS)).accounts(TODAY))[1] == [ACCOUNT]
    assert [one.rpartition("/")[2] for one in said[:-2]] == [
        "token",
        "authorization-grant",
        "token",
        "token",
        "authorization-grant",
        "token",
    ]


TOKEN, GRANT = "/api/v1/oauth/token", "/api/v1/oauth/authorization-grant"
CONSENTS, ACCOUNTS = "/api/v1/provider-consents", "/data/v2/accounts"


@pytest.mark.parametrize(
    ("path", "said", "kind", "scope", "code"),
    [
        (TOKEN, [None, (401, {}), (401, {})], Misconfigured, "provider", "401"),
        (TOKEN, [None, (400, {}), (400, {"errorCode": "INVALID_CODE"})], BadData, "connection", "INVALID_CODE"),
        (TOKEN, [(415, {})], BadData, "stream", "415"),
        (TOKEN, [(200, {"access_token": "a\nb", "expires_in": 1800})], BadData, "connection", None),
        (ACCOUNTS, [(400, {"errorCode": f"not a code {USER}"})], BadData, "stream", "400"),
        (ACCOUNTS, [(200, b"{")] * 2, Retryable, "connection", None),
    ],
)
async def test_an_answer_that_is_no_code_and_no_token_tells_who_acts(
    serve: Any, path: str, said: list[Any], kind: type[ConnectorError], scope: str, code: str | None
) -> None:
    async with serve(Bank(answers={path: list(said)})) as server, client(server) as http:
        with pytest.raises(ConnectorError) as raised:
            await Tink(http.session(SECRETS)).accounts(TODAY)
    assert (type(raised.value), raised.value.scope, raised.value.code) == (kind, scope, code)


async def test_429_waits_as_long_as_tink_says(serve: Any) -> None:
    bank = Bank(answers={ACCOUNTS: [(429, {}, {"Retry-After": "999"})]})
    async with serve(bank) as server, client(server, budget=5) as http:
        with pytest.raises(Retryable) as raised:
            await Tink(http.session(SECRETS)).accounts(TODAY)
    assert raised.value.retry_after == 999


async def test_without_the_applications_credentials_nothing_is_called(serve: Any) -> None:
    for given in ({}, {"client_id": SecretStr("app")}, {**CREDENTIALS, "client_secret": SecretStr(" ")}):
        async with serve(Bank()) as server, client(server, credentials=given) as http:
            with pytest.raises(Misconfigured, match="set LEDGERLAKE_TINK_CLIENT_ID and LEDGERLAKE_TINK_CLIENT_SECRET"):
                await Tink(http.session(SECRETS)).accounts(TODAY)
        assert server.heard == []


async def test_show_finds_a_row_wherever_it_is_dated_and_reads_the_account_once_for_those_that_are_gone(
    serve: Any,
) -> None:
    bank = Bank(rows=[*(row(f"t{number}", date(2020, 1, 1)) for number in range(5)), row("bad", amount={})], per_page=2)
    async with serve(bank) as server, client(server) as http:
        tink = Tink(http.session(SECRETS))
        assert await tink.show("transactions", ACCOUNT, "gone") is None
        assert await tink.show("transactions", ACCOUNT, "gone too") is None
        assert len(queries(server)) == 3
        assert await tink.show("transactions", ACCOUNT, "t3") == record(bank.rows[3], date(2020, 1, 1))
        with pytest.raises(BadData, match="breaks the contract: not a transaction of Tink") as broken:
            await tink.show("transactions", ACCOUNT, "bad")
        with pytest.raises(ValueError, match="Tink shows one record of transactions, not of balances"):
            await tink.show("balances", ACCOUNT, "acc1:2024-03-31")
    assert broken.value.scope == "record"


async def test_streams_that_there_are_not_are_refused(serve: Any) -> None:
    async with serve(Bank()) as server, client(server) as http:
        tink = Tink(http.session(SECRETS))
        with pytest.raises(ValueError, match="the stream transactions is read account by account"):
            tink.read("transactions", Ask(today=TODAY, known=Held()))
        with pytest.raises(ValueError, match="Tink has no stream details to be read"):
            tink.read("details", Ask(today=TODAY, account=ACCOUNT, known=Held()))
