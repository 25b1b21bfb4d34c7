"""The console's pages: one person alone, and fifty at once while syncs and builds run, on the same store and lake.

Fifty people each open a page, read it for a second or three, and open another, for a minute; meanwhile one child process
reads the whole bank again and again, and another builds all buckets again and again. A page that answers anything but 200
is an error of the benchmark. Beside the time of each page stands that of the same page for one person on an idle machine,
and beside that the 300 ms that a page is meant to take. All of it shares one machine: the console, PostgreSQL, S3, the bank,
the syncs, the builds and the fifty people.
"""

import asyncio
import contextlib
import random
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx

from benchmarks.bank import bank
from benchmarks.house import House, Place, Size
from benchmarks.result import Comparison, Goal, say
from ledgerlake.lake import Lake
from ledgerlake.people import People

CUSTOMERS = 20
PEOPLE = 50
READING = (1.0, 3.0)
"""Seconds between two pages of one person."""
SECONDS = 60.0
ALONE = 15
"""How often one person opens each page on the idle machine."""
LIMIT = 300.0
"""Milliseconds that a page may take."""

_MODULE = "benchmarks.pages"
Times = dict[str, list[float]]


def measure(house: House, size: Size, *, people: int = PEOPLE, seconds: float = SECONDS) -> list[Comparison]:
    """Every page idle and under load: `size.rows` transactions over twenty customers; runs are of no meaning here."""
    each = max(1, size.rows // CUSTOMERS)
    with bank(each) as url, house.place(url) as place:
        connections = [place.connect(f"customer_{number}").connection_id for number in range(CUSTOMERS)]
        place.sync()
        Lake(place.where, place.settings).build()
        say("pages", f"{each * CUSTOMERS:,} transactions are published")
        pages = _pages(connections[0])
        with _console(place) as (address, cookie):
            first = asyncio.run(_alone(address, cookie, pages, 1))
            idle = asyncio.run(_alone(address, cookie, pages, ALONE))
            say("pages", "idle: " + _told(idle))
            with _working(place, "sync") as syncs, _working(place, "build") as builds:
                busy = asyncio.run(_together(address, cookie, pages, people, seconds))
            say("pages", f"{people} people, {syncs()} syncs, {builds()} builds: {_told(busy)}")
            if not syncs() or not builds():
                raise RuntimeError("expected syncs and builds to end meanwhile, found none: measure for longer")
    found = []
    for name in pages:
        found.append(Comparison("pages", f"{name}, first time", "ms", first[name], "the limit", [LIMIT], Goal("≤", 1)))
        found.append(Comparison("pages", f"{name}, one person", "ms", idle[name], "the limit", [LIMIT], Goal("≤", 1)))
        load = f"{name}, {people} people while syncs and builds run"
        found.append(Comparison("pages", load, "ms", busy[name], "one person, idle machine", idle[name]))
    return found


def _pages(connection_id: str) -> Mapping[str, str]:
    record = "txn_000000000007"
    return {
        "overview": "/",
        "connections": "/connections",
        "a connection": f"/connections/{connection_id}",
        "integrity": "/integrity",
        "search by id": f"/records?q={record}",
        "search by text": "/records?q=whole+foods",
        "a record's way": f"/records/{connection_id}/transactions/{record}",
        "source mix": "/sources",
        "money": "/money",
        "cost": "/cost",
    }


@contextlib.contextmanager
def _console(place: Place) -> Iterator[tuple[str, str]]:
    """The console in a process of its own, and the session of somebody who is signed in."""
    people = People(place.store)
    session, _ = people.open_session(people.from_provider("bench", "bench", "admin"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "console", "--port", str(port)]
    process = subprocess.Popen(command, cwd=place.settings.home, env=place.environment())
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{address}/healthz").raise_for_status()
                break
            time.sleep(0.1)
        # Whoever opens the first page does so when the console has had a moment to look at the lake.
        time.sleep(5)
        yield address, session
    finally:
        process.terminate()
        process.wait(20)


async def _alone(address: str, cookie: str, pages: Mapping[str, str], times: int) -> Times:
    took: Times = defaultdict(list)
    async with _client(address, cookie) as client:
        for _ in range(times):
            for name, path in pages.items():
                took[name].append(await _opened(client, path))
    return took


async def _together(address: str, cookie: str, pages: Mapping[str, str], people: int, seconds: float) -> Times:
    took: Times = defaultdict(list)
    end = time.monotonic() + seconds

    async def one(chance: random.Random) -> None:
        async with _client(address, cookie) as client:
            await asyncio.sleep(chance.uniform(0, READING[1]))
            while time.monotonic() < end:
                name = chance.choice(list(pages))
                took[name].append(await _opened(client, pages[name]))
                await asyncio.sleep(chance.uniform(*READING))

    await asyncio.gather(*(one(random.Random(number)) for number in range(people)))
    return took


def _client(address: str, cookie: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=address, cookies={"ledgerlake": cookie}, timeout=30)


async def _opened(client: httpx.AsyncClient, path: str) -> float:
    """Milliseconds until a page was there, whole."""
    started = time.perf_counter()
    answer = await client.get(path)
    took = (time.perf_counter() - started) * 1000
    if answer.status_code != 200:
        raise RuntimeError(f"expected the page {path}, found HTTP {answer.status_code}")
    return took


@contextlib.contextmanager
def _working(place: Place, what: str) -> Iterator["_Count"]:
    """A child process that does it again and again; the value counts how often it came to its end."""
    log = place.settings.home / f"{what}.log"
    with log.open("wb") as lines:
        process = subprocess.Popen(
            [sys.executable, "-m", _MODULE, what], cwd=place.settings.home, env=place.environment(), stdout=lines
        )
        try:
            yield _Count(log)
        finally:
            process.kill()
            process.wait()


class _Count:
    """How many lines a file has."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self) -> int:
        return self._path.read_bytes().count(b"\n")


def _told(times: Times) -> str:
    ordered = {name: sorted(values) for name, values in times.items()}
    return ", ".join(f"{name} {values[len(values) // 2]:.0f} ms" for name, values in ordered.items())


def _work(what: str) -> None:
    from benchmarks.house import TODAY
    from ledgerlake.ingest import sync
    from ledgerlake.local import servers
    from ledgerlake.settings import load
    from ledgerlake.store import Store

    settings = load()
    with servers(settings) as where:
        while True:
            if what == "sync":
                asyncio.run(sync(Store(where.postgres_url), settings, full=True, today=TODAY))
            else:
                Lake(where, settings).build(range(settings.buckets))
            sys.stdout.write(f"{what}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    _work(sys.argv[1])
