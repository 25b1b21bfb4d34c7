"""A real Chromium before the console, over a house that is built once for all workers, with one fault in a model.

Pages are asked of this machine only: the browser resolves no other name, so that whatever a page wants from elsewhere fails.
"""

import contextlib
import dataclasses
import datetime as dt
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright
from pydantic import SecretStr

import sandbox
from connectors import PROVIDERS
from ledgerlake.cli._sandbox import _environment
from ledgerlake.lake import PROJECT, Lake
from ledgerlake.local import S3, Servers
from ledgerlake.local._process import locked
from ledgerlake.people import People, Role
from ledgerlake.settings import Settings
from ledgerlake.store import Store, Vault
from tests.console.connect.visitor import USER, serving
from tests.ledgerlake.integrity.house import House

# Read before the house is closed to what the environment says.
REQUIRED = os.environ.get("LEDGERLAKE_TEST_BROWSER") == "required"
COMING = os.environ.get("LEDGERLAKE_TEST_BROWSER_LOCK")
"""A file that is locked for as long as Chromium is being installed."""
PICTURES = os.environ.get("LEDGERLAKE_TEST_PICTURES")
"""A folder, where pictures are wanted."""
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
TODAY = dt.datetime.now(dt.UTC).date()
MODEL = "int_transactions"
FILTER = "where amount is null or abs(amount) < 2000"
"""Somebody meant it for an experiment, and it loses salaries and rents."""
NAMES = ("dune-labs", "harvest-box", "hazel-health", "iris-studio", "meadow-farm", "northlight")
BUCKET = 1
"""Our names of the sandbox's customers, and the one of four buckets that all are in: a build of more takes longer."""

T = TypeVar("T")


def aside(act: Callable[..., T], *given: Any, **named: Any) -> T:
    """Run what has an event loop of its own: this thread's is Playwright's."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(act, *given, **named).result()


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where Chromium is; without it these tests are skipped, or fail where it is required."""
    if COMING:
        with locked(Path(COMING)):
            pass
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        said = f"expected one of {', '.join(CHROMIUM)} on PATH and found none: apt-get install chromium"
        if REQUIRED:
            pytest.fail(said)
        pytest.skip(said)
    return found


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        arguments = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--disable-dev-shm-usage"]
        started = playwright.chromium.launch(
            executable_path=chromium, args=arguments, chromium_sandbox=os.getuid() != 0
        )
        yield started
        started.close()


@pytest.fixture(scope="session")
def bank() -> Iterator[sandbox.Server]:
    """The providers, over half a year of one customer who connects by himself and those who are connected."""
    world = sandbox.World(1, 1 + len(NAMES), (TODAY - dt.timedelta(days=150)).replace(day=1))
    with sandbox.Server(world, sandbox.Clock(TODAY)) as server:
        yield server


@pytest.fixture(scope="session")
def _built(
    chromium: str,
    shared: Path,
    parsed: Path,
    shared_servers: Servers,
    _template: str,
    bank: sandbox.Server,
    tmp_path_factory: pytest.TempPathFactory,
) -> House:
    """The house that each module has a copy of: synced, built by a faulty model and verified by the first worker that asks."""
    made = shared / "browser.json"
    with locked(shared / "browser.lock"):
        known = json.loads(made.read_text()) if made.exists() else None
        there = shared_servers.s3
        s3 = S3(
            known["s3"] if known else f"{there.url}/{secrets.token_hex(6)}",
            *(there.endpoint, there.access_key, there.secret_key, there.region),
        )
        settings = _settings(bank, s3, tmp_path_factory.mktemp("house"), parsed)
        base = shared_servers.postgres_url.rpartition("/")[0]
        where = dataclasses.replace(
            shared_servers, s3=s3, postgres_url=f"{base}/{known['name'] if known else _template}"
        )
        house = House(where, settings, shared_servers, bank)
        if known:
            return house
        house = house.copy()
        _connect(house)
        aside(house.sync, TODAY)
        Lake(house.where, house.settings, _faulty(tmp_path_factory.mktemp("project"))).build([BUCKET])
        house.verify(today=TODAY)
        made.write_text(json.dumps({"s3": s3.url, "name": house.where.postgres_url.rpartition("/")[2]}))
        return house


def _settings(bank: sandbox.Server, s3: S3, home: Path, parsed: Path) -> Settings:
    shutil.copytree(parsed, home / "dbt")
    told = {name: value for name, value in bank.where().items() if value is not None}
    given = {name.removeprefix("LEDGERLAKE_").lower(): value for name, value in _environment(told).items()}
    return Settings(
        **given,
        home=home,
        secret_keys=(SecretStr("x2ZRlGdZ7lYbLQ3jVYyDRMq3bq3aMqGmFrPyfjRkcHA="),),
        s3_url=s3.url,
        aws_endpoint_url_s3=s3.endpoint,
        aws_access_key_id=SecretStr(s3.access_key or ""),
        aws_secret_access_key=SecretStr(s3.secret_key or ""),
        aws_region=s3.region,
        buckets=4,
        connect_name="Northwind",
    )


def _connect(house: House) -> None:
    """All of the sandbox's customers but the one who connects by himself, one after the other in the months before."""
    vault, store = Vault.of(house.settings), Store(house.where.postgres_url)
    offered = [one for one in httpx.get(f"{house.server.control_url}/customers").json() if one["customer_id"] != USER]
    names = dict(zip(sorted({one["customer_id"] for one in offered}), NAMES, strict=True))
    for number, one in enumerate(sorted(offered, key=lambda one: (one["provider"] == "stripe", one["customer_id"]))):
        given = PROVIDERS[one["provider"]].secrets(one["secrets"])
        connection, _ = store.add_connection(
            vault,
            provider=one["provider"],
            external_id=PROVIDERS[one["provider"]].external_id(given),
            customer_id=names[one["customer_id"]],
            secrets=given,
        )
        house.run(
            "UPDATE ledgerlake.connections SET created_at = created_at - make_interval(days => %s) WHERE connection_id = %s",
            145 - 7 * number,
            connection.connection_id,
        )


def _faulty(folder: Path) -> Path:
    """The models with a filter where none belongs, and without the tests that would refuse to publish what it makes."""
    project = folder / "dbt_project"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("target", "logs"))
    [path] = project.rglob(f"{MODEL}.sql")
    text = path.read_text()
    assert text.endswith("select * from judged\n")
    path.write_text(f"{text.rstrip()} {FILTER}\n")
    [path] = project.rglob("_marts.yml")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if "fct_transactions_conserves" not in line))
    return project


@dataclasses.dataclass
class Here:
    """The console of one module of tests, with browsers before it."""

    url: str
    house: House
    browser: Browser
    bank: sandbox.Server
    visits: contextlib.ExitStack
    asked: list[str] = dataclasses.field(default_factory=list)
    wrong: list[str] = dataclasses.field(default_factory=list)

    @property
    def store(self) -> Store:
        return Store(self.house.where.postgres_url)

    @property
    def people(self) -> People:
        return People(self.store)

    def visitor(self, **options: Any) -> BrowserContext:
        """Somebody with a browser of his own, whom nobody knows."""
        options = {
            "base_url": self.url,
            "locale": "en-GB",
            "viewport": {"width": 1280, "height": 800},
            "reduced_motion": "reduce",
            **options,
        }
        context = self.visits.enter_context(contextlib.closing(self.browser.new_context(**options)))
        context.set_default_timeout(10_000)
        context.on("request", lambda request: self.asked.append(request.url))
        context.on("console", self._hear)
        context.on("weberror", lambda error: self.wrong.append(str(error.error)))
        return context

    def _hear(self, said: ConsoleMessage) -> None:
        refused = "plotly" in said.location["url"] and "inline style" in said.text
        # What Plotly writes for maps, which are not drawn (console/charts.py); and the answers that a test asks for.
        if said.type == "error" and not refused and "Failed to load resource" not in said.text:
            self.wrong.append(said.text)

    def enter(self, role: Role, name: str = "ana", **options: Any) -> Page:
        """Somebody of that role, signed in, on an empty page."""
        person, _ = self.people.add("test", name, role)
        with self.store.connect() as postgres:
            postgres.execute("UPDATE ledgerlake.users SET must_change = false WHERE user_id = %s", (person.user_id,))
        token, _ = self.people.open_session(self.people.get(person.user_id))
        context = self.visitor(**options)
        context.add_cookies([{"name": "ledgerlake", "value": token, "url": self.url}])
        return context.new_page()


@pytest.fixture(scope="module")
def here(_built: House, browser: Browser, bank: sandbox.Server) -> Iterator[Here]:
    """This module's own copy of the house, and the console over it."""
    house = _built.copy()
    with serving(house.settings, house.where.postgres_url) as url, contextlib.ExitStack() as visits:
        yield Here(url, house, browser, bank, visits)
    _built.drop_copies()
    _built.copies.clear()


@pytest.fixture(autouse=True)
def _within(here: Here) -> Iterator[None]:
    """No page asks for anything from elsewhere, and none has an error in its console."""
    here.asked.clear()
    here.wrong.clear()
    yield
    assert [one for one in here.asked if not one.startswith(("http://127.0.0.1:", "data:", "blob:"))] == []
    assert here.wrong == []


def serious(page: Page) -> list[str]:
    """What axe finds on the page as it is that keeps somebody from using it."""
    found = Axe().run(page).response["violations"]
    return _told(page, found)


def unreadable(page: Page) -> list[str]:
    """Of what axe finds only contrast: all that another colour scheme can change."""
    found = Axe().run(page, options={"runOnly": ["color-contrast"]}).response["violations"]
    return _told(page, found)


def _told(page: Page, found: list[dict[str, Any]]) -> list[str]:
    return [
        f"{page.url}: {one['id']}: {node['html'][:200]}"
        for one in found
        if one["impact"] in {"serious", "critical"}
        for node in one["nodes"]
    ]


@pytest.fixture
def picture(here: Here) -> Callable[..., None]:
    """Keeps the page as a picture of that name, where pictures are wanted."""

    def keep(page: Page, name: str, **options: Any) -> None:
        if PICTURES:
            page.evaluate("document.activeElement.blur()")
            page.screenshot(path=Path(PICTURES) / f"console-{name}.png", animations="disabled", **options)

    return keep
