"""The attack suite: every route names its right, and gives nothing to whoever has it not."""

import datetime as dt
import json
import re
from collections.abc import AsyncIterator, Iterable, Iterator

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from console import create_app
from ledgerlake.integrity import Finding, Findings
from ledgerlake.people import People, Role
from ledgerlake.settings import Settings
from ledgerlake.store import Store, Vault

pytestmark = pytest.mark.anyio

SCRIPT = "<script>alert('canary')</script>"


def routes(app: FastAPI) -> Iterator[tuple[str, str, str]]:
    """Method, path and right of every route."""
    for route in flat(app.routes):
        rights = [getattr(one.call, "right", None) for one in route.dependant.dependencies]
        named = [right for right in rights if right is not None]
        assert len(named) == 1, f"{route.path} names {len(named)} rights"
        for method in sorted(route.methods):
            yield method, route.path, named[0]


def flat(given: Iterable[object]) -> Iterator[APIRoute]:
    """The routes of an application and of the routers that it includes."""
    for route in given:
        if isinstance(route, APIRoute):
            yield route
        elif (router := getattr(route, "original_router", None)) is not None:
            yield from flat(router.routes)


@pytest.fixture
def app(settings: Settings, postgres_url: str) -> FastAPI:
    return create_app(settings, postgres_url)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://c") as made:
        yield made


@pytest.fixture
def people(store: Store) -> People:
    return People(store)


@pytest.fixture
def connection(store: Store, vault: Vault) -> str:
    made, _ = store.add_connection(vault, provider="teller", external_id="enr", customer_id=SCRIPT, secrets={})
    with store.connect() as postgres:
        postgres.execute(
            """
            INSERT INTO raw.teller_accounts (bucket, connection_id, record_id, account_id, pending, payload, hash, version,
                                             sync_id, first_synced_at, synced_at)
            VALUES (%s, %s, 'acc/1', 'acc/1', false, %s, gen_random_uuid(), 1, 1, now(), now())
            """,
            (made.bucket, made.connection_id, json.dumps({"id": "acc/1", "name": SCRIPT, "type": SCRIPT})),
        )
    return made.connection_id


@pytest.fixture
def finding(store: Store, settings: Settings, connection: str) -> int:
    findings = Findings(store, settings)
    lost = Finding(kind="missing", step="raw", connection_id=connection, records=1, message=f"lost: {SCRIPT}")
    today = dt.date(2026, 3, 1)
    merged = findings.merge(findings.begin(today, None), [lost], (), today=today, scope=None, snapshot=None, compared=0)
    return merged.opened[0]


def sign_in(client: httpx.AsyncClient, people: People, role: Role, store: Store) -> str:
    """Signs somebody of that role in; returns the CSRF token."""
    person, _ = people.add("test", f"a {role}", role)
    with store.connect() as postgres:
        postgres.execute("UPDATE ledgerlake.users SET must_change = false WHERE user_id = %s", (person.user_id,))
    token, session = people.open_session(people.get(person.user_id))
    client.cookies.set("ledgerlake", token)
    return session.csrf


def filled(path: str, connection: str, finding: int) -> str:
    known = {"connection_id": connection, "finding_id": str(finding), "stream": "accounts", "record_id:path": "acc/1"}
    return re.sub(r"\{([^}]+)\}", lambda found: known.get(found[1], found[0]), path)


async def test_every_route_is_refused_without_a_right(
    app: FastAPI, client: httpx.AsyncClient, connection: str, finding: int
) -> None:
    rights = list(routes(app))
    assert len(rights) > 15
    for method, path, right in rights:
        if right.startswith("public: "):
            continue
        answer = await client.request(method, filled(path, connection, finding))
        if right.startswith("scope "):
            assert answer.status_code == 401, (method, path)
        else:
            assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/sign-in"), (
                method,
                path,
            )
        assert connection not in answer.text


@pytest.mark.parametrize("role", ["viewer", "support", "admin"])
async def test_every_act_is_refused_without_its_csrf_token(
    app: FastAPI, client: httpx.AsyncClient, people: People, store: Store, connection: str, finding: int, role: Role
) -> None:
    csrf = sign_in(client, people, role, store)
    for method, path, right in routes(app):
        if method == "GET" or right.startswith("public: "):
            continue
        for given in ({}, {"csrf": ""}, {"csrf": csrf[::-1]}, {"csrf": "é"}):
            answer = await client.request(method, filled(path, connection, finding), data=given)
            assert answer.status_code == 403, (method, path, given)
    with store.connect() as postgres:
        assert postgres.execute("SELECT state FROM ledgerlake.connections").fetchall() == [("active",)]
        assert postgres.execute("SELECT count(*) FROM ledgerlake.orders").fetchone() == (0,)


async def test_a_viewer_may_look_and_not_act(
    app: FastAPI, client: httpx.AsyncClient, people: People, store: Store, connection: str, finding: int
) -> None:
    csrf = sign_in(client, people, "viewer", store)
    for method, path, right in routes(app):
        if right in {"support", "admin"}:
            answer = await client.request(method, filled(path, connection, finding), data={"csrf": csrf})
            assert answer.status_code == 403, (method, path)
        if right == "viewer" and method == "GET":
            answer = await client.get(filled(path, connection, finding))
            assert answer.status_code == 200, (method, path)
            assert SCRIPT not in answer.text
            assert "Pause</button>" not in answer.text


async def test_support_pauses_resumes_and_orders_and_all_of_it_is_in_the_audit_log(
    client: httpx.AsyncClient, people: People, store: Store, connection: str, finding: int
) -> None:
    form = {"csrf": sign_in(client, people, "support", store)}
    here = f"/connections/{connection}"
    for path, given in (
        (f"{here}/pause", {"reason": "the bank asked"}),
        (f"{here}/pause", {"reason": "sent twice"}),
        (f"{here}/resume", {}),
        (f"{here}/sync", {}),
        (f"{here}/refetch", {"since": "2026-01-02"}),
        (f"/integrity/{finding}/assign", {"owner": "ben"}),
        (f"/integrity/{finding}/acknowledge", {"comment": "on it"}),
        (f"/integrity/{finding}/acknowledge", {"comment": "on it"}),
        (f"/integrity/{finding}/resolve", {"reason": "accepted"}),
    ):
        answer = await client.post(path, data=form | given)
        assert (answer.status_code, answer.headers["location"]) == (303, path.rpartition("/")[0]), (path, answer.text)
    with store.connect() as postgres:
        acts = postgres.execute(
            "SELECT act, target, before, after FROM ledgerlake.audit_log WHERE actor = 'a support' ORDER BY audit_id"
        ).fetchall()
    assert acts[1:] == [
        ("paused", connection, "active", "the bank asked"),
        ("resumed", connection, "paused", "active"),
        ("sync asked for", connection, None, None),
        ("refetch asked for", connection, None, "2026-01-02"),
        ("assigned", f"finding {finding}", None, "ben"),
        ("acknowledged", f"finding {finding}", "open", "acknowledged"),
        ("resolved", f"finding {finding}", "acknowledged", "resolved: accepted"),
    ]


@pytest.mark.parametrize(
    "path",
    [
        *("/connections/con_none", "/connections/%00", "/connections/..%2f..", "/integrity/999999"),
        *(
            "/integrity/0",
            "/integrity/99999999999999999999",
            "/nowhere",
            "/records/con_none/accounts/a",
            "/records/con_none/no/a?format=json",
            "/records/%00/accounts/%00",
            "/static/../app.py",
            "/static/%2e%2e/app.py",
        ),
    ],
)
async def test_what_is_not_there_gives_one_same_answer(
    client: httpx.AsyncClient, people: People, store: Store, path: str
) -> None:
    sign_in(client, people, "admin", store)
    answer = await client.get(path)
    assert answer.status_code == 404
    assert "There is nothing at this address" in answer.text


async def test_a_form_that_makes_no_sense_names_the_field_and_not_the_value(
    client: httpx.AsyncClient, people: People, store: Store, connection: str
) -> None:
    form = {"csrf": sign_in(client, people, "support", store)}
    for given in ({"since": SCRIPT}, {"since": "2999-01-01"}, {}):
        answer = await client.post(f"/connections/{connection}/refetch", data=form | given)
        assert answer.status_code == 422
        assert "canary" not in answer.text


async def test_answers_carry_the_headers_that_owasp_asks_for(client: httpx.AsyncClient) -> None:
    for path in ("/sign-in", "/nowhere", "/static/app.css", "/healthz"):
        headers = (await client.get(path)).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert "server" not in headers
    assert (await client.get("/sign-in")).headers["cache-control"] == "no-store"
    assert "strict-transport-security" not in headers


async def test_over_https_cookies_are_secure_and_browsers_stay_there(
    settings: Settings, postgres_url: str, people: People
) -> None:
    password = people.bootstrap()
    app = create_app(settings.model_copy(update={"console_url": "https://console.example"}), postgres_url)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="https://c") as client:
        answer = await client.post("/sign-in", data={"name": "admin", "password": password})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-ledgerlake=")
    for part in ("HttpOnly", "Secure", "SameSite=lax", "Path=/"):
        assert part.lower() in cookie.lower()
    assert answer.headers["strict-transport-security"].startswith("max-age=")


async def test_the_first_admin_signs_in_chooses_a_password_and_works(client: httpx.AsyncClient, people: People) -> None:
    password = people.bootstrap()
    answer = await client.post("/sign-in", data={"name": "admin", "password": password, "back": "/integrity"})
    assert answer.headers["location"] == "/password"
    assert (await client.get("/connections")).headers["location"] == "/password", "nothing else before that"
    csrf = re.search(r'name="csrf" value="([^"]+)"', (await client.get("/password")).text)
    assert csrf is not None
    form = {"csrf": csrf[1], "old": password, "new": "a sentence is best", "again": "a sentence is best"}
    wrong = await client.post("/password", data=form | {"again": "another"})
    assert (wrong.status_code, "typed the same" in wrong.text) == (422, True)
    assert (await client.post("/password", data=form)).headers["location"] == "/"
    assert (await client.get("/")).status_code == 200
    csrf = re.search(r'name="csrf" value="([^"]+)"', (await client.get("/")).text)
    assert csrf is not None
    assert (await client.post("/sign-out", data={"csrf": csrf[1]})).headers["location"] == "/sign-in"
    assert (await client.get("/")).status_code == 303


async def test_signing_in_is_refused_alike_and_limited(client: httpx.AsyncClient, people: People) -> None:
    people.bootstrap()
    said = []
    for name in ("admin", "admin", "admin", "admin", "admin", "admin"):
        answer = await client.post("/sign-in", data={"name": name, "password": "canary-password"})
        assert "canary-password" not in answer.text
        said.append(answer.status_code)
    assert said == [401, 401, 401, 401, 401, 429]
    assert (await client.post("/sign-in", data={"name": "nobody", "password": "x"})).status_code == 401


@pytest.mark.parametrize(
    ("back", "goes"),
    [
        ("/integrity?show=muted", "/integrity?show=muted"),
        ("//evil.example", "/"),
        ("https://evil.example", "/"),
        ("/\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nset-cookie: x=1", "/a%0D%0Aset-cookie:%20x=1"),
    ],
)
async def test_signing_in_leads_to_own_pages_only(
    client: httpx.AsyncClient, people: People, store: Store, back: str, goes: str
) -> None:
    _, password = people.add("test", "ana", "viewer")
    with store.connect() as postgres:
        postgres.execute("UPDATE ledgerlake.users SET must_change = false")
    answer = await client.post("/sign-in", data={"name": "ana", "password": password, "back": back})
    assert (answer.status_code, answer.headers["location"]) == (303, goes)


async def test_a_database_that_is_gone_is_told_of_and_comes_back(
    app: FastAPI, client: httpx.AsyncClient, people: People, store: Store
) -> None:
    sign_in(client, people, "viewer", store)
    house, kept = app.state.house, app.state.house.people._store
    house.people._store = Store("postgresql://nobody@127.0.0.1:1/none", keep=2)
    answer = await client.get("/connections")
    house.people._store.close()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "The database is away" in answer.text
    assert "127.0.0.1" not in answer.text

    house.people._store = kept
    assert (await client.get("/connections")).status_code == 200
    with store.connect() as postgres:
        ended = postgres.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    assert ended
    assert (await client.get("/connections")).status_code == 200
