"""
The hostile server: it hands each request on to the sandbox and changes what it likes on the way there and back.

Belongs here: tricks that any provider may play. A trick gets the request and a way to hand it on, and gives what goes out
on the wire. Not here: any provider's words.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import msgspec
from starlette.types import ASGIApp, Message

from sandbox.provider import Provider
from tests.connectors.suite._server import Heard, on_the_wire


class Answer(NamedTuple):
    """An answer; `body` is its bytes."""

    status: int
    body: bytes
    headers: Mapping[str, str] = {}

    @classmethod
    def of(cls, status: int, value: object, **headers: str) -> Answer:
        """An answer of JSON; the names of headers are written with underscores."""
        return cls(status, msgspec.json.encode(value), {name.replace("_", "-"): told for name, told in headers.items()})


Wire = Answer | bytes | None
"""What goes out: an answer, bytes as they are before hanging up, or None to reset the connection."""

HandOn = Callable[[Heard], Awaitable[Answer]]
Trick = Callable[[Heard, HandOn], Awaitable[Wire]]


async def honest(heard: Heard, hand_on: HandOn) -> Wire:
    """The sandbox's own answer."""
    return await hand_on(heard)


@dataclass
class Hostile:
    """
    The server, as a `Say`: `words` are the provider's, `size` its name for the size of a page.

    `rows` is how many rows a page has at most, whatever was asked for. After `limit` requests it resets every connection
    and sets `exceeded`, so that who asks without end can be stopped.
    """

    app: ASGIApp
    words: Provider
    size: str | None
    rows: int | None = None
    trick: Trick = honest
    limit: int | None = None
    heard: list[Heard] = field(default_factory=list)
    answered: list[Answer] = field(default_factory=list)
    exceeded: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, heard: Heard) -> Any:
        self.heard.append(heard)
        if self.limit is not None and len(self.heard) > self.limit:
            self.exceeded.set()
            return None
        wire = await self.trick(heard, self._hand_on)
        if isinstance(wire, Answer):
            self.answered.append(wire)
        return wire

    def place(self, heard: Heard) -> str | None:
        """Where the request wants to page on from; None: it asks for a first page, or for no list."""
        return _told(heard, self.words.page_parameter)

    async def _hand_on(self, heard: Heard) -> Answer:
        if self.size is not None and self.rows is not None and (asked := _told(heard, self.size)) is not None:
            heard = _telling(heard, self.size, min(int(asked), self.rows))
        return await self.ask(heard.method, f"/{self.words.name}{heard.target}", heard.headers, heard.body)

    async def ask(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """The sandbox's answer."""
        path, _, query = target.partition("?")
        received = [{"type": "http.request", "body": body, "more_body": False}]
        sent: list[Message] = []

        async def receive() -> Message:
            return received.pop() if received else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
            "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 1),
        }
        await self.app(scope, receive, send)
        told = {name.decode(): value.decode("latin-1") for name, value in sent[0]["headers"]}
        told.pop("content-length", None)
        return Answer(sent[0]["status"], b"".join(one.get("body", b"") for one in sent[1:]), told)


def _told(heard: Heard, name: str) -> str | None:
    """What the query or the body tells under this name."""
    if name in heard.query:
        return heard.query[name]
    if heard.headers.get("content-type") == "application/json" and heard.body:
        found = json.loads(heard.body)
        return str(found[name]) if name in found else None
    return None


def _telling(heard: Heard, name: str, value: int | None) -> Heard:
    """The request telling this instead; nothing for None."""
    if name in heard.query:
        url = urlsplit(heard.target)
        query = [(k, v) for k, v in parse_qsl(url.query) if k != name] + ([] if value is None else [(name, str(value))])
        return replace(heard, target=f"{url.path}?{urlencode(query)}")
    if _told(heard, name) is None:
        return heard
    body = json.loads(heard.body)
    del body[name]
    return replace(heard, body=json.dumps(body if value is None else body | {name: value}).encode())


def only(at: str, trick: Trick) -> Trick:
    """The trick, for paths of this pattern alone."""

    async def play(heard: Heard, hand_on: HandOn) -> Wire:
        return await (trick if fnmatchcase(heard.path, at) else honest)(heard, hand_on)

    return play


def saying(*wires: Wire) -> Trick:
    """These answers in turn, over and over, whatever is asked."""
    said = 0

    async def play(heard: Heard, hand_on: HandOn) -> Wire:
        nonlocal said
        said += 1
        return wires[(said - 1) % len(wires)]

    return play


def first_tries(trick: Trick) -> Trick:
    """The trick for the first of each two equal requests in a row: what another try mends."""
    last: list[Heard | None] = [None]

    async def play(heard: Heard, hand_on: HandOn) -> Wire:
        if heard == last[0]:
            last[0] = None
            return await hand_on(heard)
        last[0] = heard
        return await trick(heard, hand_on)

    return play


def after(requests: int, trick: Trick) -> Trick:
    """Honest for so many requests, then the trick."""
    left = [requests]

    async def play(heard: Heard, hand_on: HandOn) -> Wire:
        left[0] -= 1
        return await (trick if left[0] < 0 else honest)(heard, hand_on)

    return play


def halved(*, on_the_line: bool) -> Trick:
    """The true answer cut in half: its bytes on the line, or, under the right length, its body."""

    async def play(heard: Heard, hand_on: HandOn) -> Wire:
        answer = await hand_on(heard)
        if on_the_line:
            whole = on_the_wire(*answer)
            return whole[: -max(1, len(answer.body) // 2)]
        headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
        return Answer(answer.status, answer.body[: len(answer.body) // 2], headers)

    return play


def in_turn(*tricks: Trick) -> Trick:
    """These tricks, one after the other, over and over."""
    played = 0

    async def play(heard: Heard, hand_on: HandOn) -> Wire:
        nonlocal played
        played += 1
        return await tricks[(played - 1) % len(tricks)](heard, hand_on)

    return play


def with_rows(words: Provider, change: Callable[[str, list[bytes]], Sequence[bytes]]) -> Trick:
    """True answers, the rows of each list changed; `change` gets the request's target without its place as well."""

    async def play(heard: Heard, hand_on: HandOn) -> Wire:
        answer = await hand_on(heard)
        found = words.rows(heard.path, answer.body) if answer.status == 200 else None
        if found is None:
            return answer
        which = _telling(heard, words.page_parameter, None)
        rows = list(change(f"{which.target} {which.body.decode()}", found.rows))
        return Answer(answer.status, found._replace(rows=rows).body(), answer.headers)

    return play


def circling(words: Provider) -> Trick:
    """The page after any page is the first one again."""

    async def play(heard: Heard, hand_on: HandOn) -> Wire:
        return await hand_on(_telling(heard, words.page_parameter, None))

    return play


def promising(words: Provider, more: Callable[[dict[str, Any], int], None]) -> Trick:
    """Each page of a list is empty, and says that there are more, each time at a place of its own."""
    pages = 0

    async def play(heard: Heard, hand_on: HandOn) -> Wire:
        nonlocal pages
        answer = await hand_on(_telling(heard, words.page_parameter, None))
        if answer.status != 200 or words.rows(heard.path, answer.body) is None:
            return answer
        pages += 1
        told = json.loads(answer.body)
        more(told, pages)
        return answer._replace(body=json.dumps(told).encode())

    return play


def repeated() -> Callable[[str, list[bytes]], list[bytes]]:
    """For `with_rows`: each page begins with the last row of the one before, and ends with its own last row twice."""
    last: dict[str, list[bytes]] = {}

    def change(which: str, rows: list[bytes]) -> list[bytes]:
        before = last.get(which, [])
        last[which] = rows[-1:]
        return [*before, *rows, *rows[-1:]]

    return change
