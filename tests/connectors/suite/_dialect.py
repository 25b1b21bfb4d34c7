"""
What the suite has to know of a provider: its words, and nothing of its connector.

Belongs here: the shape of that knowledge; each provider's own is a module of its name. Not here: the protocol itself,
which the provider's sandbox speaks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from connectors import Connector, ConnectorError, Scope
from sandbox.provider import Provider
from tests.connectors.suite._hostile import Answer
from tests.connectors.suite._server import Heard


class Fact(NamedTuple):
    """What the truth tells of a record, and the record itself tells, too. `amount` is without its sign."""

    stream: str
    id: str | None
    status: str
    day: str | None = None
    amount: Decimal | None = None
    text: str = ""


class Row(NamedTuple):
    """A record as the store holds it."""

    payload: bytes
    pending: bool
    version: int
    removed: str | None


@dataclass(frozen=True)
class Case:
    """
    A documented error and its recovery: what is answered at the paths `at` (a pattern), and what it means.

    An answer that depends on the request or on the connection's secrets is made of them. `kind` None: it is no fault, and
    the sync goes on to its end. `which` of the dialect's customers is asked for.
    """

    about: str
    answer: Answer | Callable[[Heard, Mapping[str, str]], Answer]
    kind: type[ConnectorError] | None
    scope: Scope = "connection"
    code: str | None = None
    at: str = "*"
    which: int = 0

    def __str__(self) -> str:
        return f"{self.about} at {self.at}"


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """
    A provider, as the suite needs it.

    `seed` makes a world in which all that the checks look for happens within days, to the first of `customers`; the other
    one is there to be left alone. `size` is the request's name for how many rows a page
    may have; None where there are no pages. `canaries` are the secrets of a connection that nothing may show.
    `facts` are what the truth says, `fact` what a record says (None: nothing of either is compared). `unknown` changes
    a row, as decoded JSON, to values and fields that no documentation has; `swap` does so to the text of other
    answers. `quiet` is how many requests a sync of nothing new may take with so many accounts. `refused` is the answer
    to a page's place that is not there any more; `more` makes an answer, as decoded JSON, a page of nothing that says
    that there is more, at a place of that number. `readings` are streams of one record a day, `retained` those that the
    provider forgets, `composed` those whose payload is put together from parts of an answer, `empty` those of which so
    small a world has none. At paths of the pattern `lax` a row may lack its amount.

    `lacks` names checks for which the protocol has nothing, each with the reason as a sentence.
    """

    connector: type[Connector]
    sandbox: type[Provider]
    seed: int
    customers: tuple[int, int]
    facts: Callable[[Mapping[str, Any]], Iterable[Fact]]
    fact: Callable[[str, Any, Row], Fact | None]
    unknown: Callable[[dict[str, Any]], None]
    swap: tuple[bytes, bytes]
    quiet: Callable[[int], int]
    errors: tuple[Case, ...]
    revoked: Case
    rate_limit: Answer
    size: str | None = None
    refused: Answer | None = None
    canaries: tuple[str, ...] = ()
    readings: frozenset[str] = frozenset({"balances"})
    retained: frozenset[str] = frozenset()
    composed: frozenset[str] = frozenset()
    empty: frozenset[str] = frozenset()
    lax: str = ""
    more: Callable[[dict[str, Any], int], None] | None = None
    lacks: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The provider's name."""
        return self.connector.provider

    def __str__(self) -> str:
        return self.name


def bank_facts(told: Mapping[str, Any]) -> Iterable[Fact]:
    """The transactions of a bank's truth."""
    for account in told["accounts"]:
        for row in account["transactions"]:
            amount = abs(Decimal(row["amount"]))
            yield Fact("transactions", row["id"], row["status"], row["date"], amount, row["description"])
