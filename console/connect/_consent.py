"""What a provider's consent is to the pages: where it begins, and what its answer comes to."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from pydantic import SecretStr

from connectors import Client
from ledgerlake.ingest import client_config
from ledgerlake.links import Link
from ledgerlake.settings import Settings
from ledgerlake.store import Connection

Reason = Literal[
    "cancelled",
    "declined",
    "unavailable",
    "broken",
    "void",
    "gone",
    "unproven",
    "incomplete",
    "taken",
    "other",
    "unclear",
    "key",
]
"""Why nothing was connected; `console.connect._notes` has the sentences."""

Given = Mapping[str, Sequence[str]]
"""A form or a query as it came."""

ATTEMPTS, BUDGET, TIMEOUT = 3, 15.0, 10.0
"""How often, and for how many seconds, a provider is asked while a customer waits."""


class Void(Exception):  # noqa: N818 - an answer, not a failure
    """Nothing comes of this consent."""

    def __init__(self, reason: Reason, said: str = "") -> None:
        super().__init__(said or reason)
        self.reason: Reason = reason
        self.said = said


@dataclass(frozen=True)
class Visit:
    """A customer on his way: his link, and the connection that it repairs, with its secrets.

    `key` names the link in what comes back by the browser, and opens nothing.
    """

    settings: Settings
    url: str
    key: str
    link: Link
    target: Connection | None = None
    held: Mapping[str, SecretStr] = field(default_factory=dict)

    def back(self, provider: str) -> str:
        """Where the provider sends the customer back: one address for all, as providers have them registered."""
        return f"{self.url}/connect/return/{provider}"


@dataclass(frozen=True)
class Page:
    """A page on which consent begins. `values` makes what its template shows of the state that the answer must bring.

    `pending` is kept in the store until the answer, sealed. `kept` is kept in the browser's sealed cookie, and with
    `keeps_state` the state too, for a provider that does not bring it back. `sources` widen the page's policy.
    """

    template: str
    values: Callable[[str], Mapping[str, Any]]
    pending: Mapping[str, str] = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=dict)
    keeps_state: bool = False
    sources: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Question:
    """A page that asks for more before consent can begin."""

    template: str
    values: Mapping[str, Any]


class Consent(Protocol):
    """A provider's consent. Both steps raise the connectors' errors, and Void where nothing comes of it."""

    provider: str
    title: str
    says: str

    def offered(self, settings: Settings) -> bool:
        """Whether the settings have all that it needs."""
        ...

    def countries(self, settings: Settings) -> tuple[str, ...]:
        """The countries to choose from; none where there is nothing to choose."""
        ...

    async def begin(self, visit: Visit, asked: Mapping[str, str]) -> Page | Question:
        """What the customer sees next, who chose `country` and the like."""
        ...

    def state(self, given: Given) -> tuple[str, str | None]:
        """Of a redirect back: the link's key, and the state, None where the cookie has it."""
        ...

    async def answer(self, visit: Visit, given: Given, pending: Mapping[str, SecretStr]) -> dict[str, SecretStr]:
        """The secrets of the connection, from what came back and what `begin` kept."""
        ...


@contextlib.asynccontextmanager
async def calling(settings: Settings, provider: str, base_url: str | None = None) -> AsyncIterator[Client]:
    """A client of the provider with the patience of somebody who waits for a page."""
    config = client_config(settings, provider)
    patient = replace(
        config,
        base_url=base_url or config.base_url,
        attempts=ATTEMPTS,
        budget=BUDGET,
        read_timeout=TIMEOUT,
        total_timeout=TIMEOUT,
        wait_max=2.0,
    )
    async with Client(patient) as client:
        yield client


def one(given: Given, name: str, most: int = 1000) -> str:
    """The one value of that name. Raises Void where there is none, or several, or something that is no such text."""
    values = given.get(name, ())
    if len(values) != 1 or not 0 < len(values[0]) <= most or not values[0].isprintable():
        raise Void("incomplete", f"expected one {name}")
    return values[0]


def optional(given: Given, name: str) -> str:
    """The first value of that name, or nothing."""
    return next(iter(given.get(name, ())), "")


def stated(given: Given, name: str) -> tuple[str, str | None]:
    """A state of ours, as the provider brings it back: the link's key, a dot, and the rest."""
    key, _, rest = optional(given, name).partition(".")
    return key, rest or None


def origin(url: str) -> str:
    """What a policy names of an address."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def listed(countries: str) -> tuple[str, ...]:
    """The countries of a setting."""
    return tuple(countries.split(","))


def is_set(*values: SecretStr | str | None) -> bool:
    """Whether all of these settings have a value."""
    return all((one.get_secret_value() if isinstance(one, SecretStr) else one) for one in values)
