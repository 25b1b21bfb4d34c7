"""What the census asks of a provider, and what it gets: the values between its plan and the modules that read.

Belongs here: rows, scopes, spans and the protocol of a provider's module. Does not belong here: when what is read
(``_plan``), and storing it (``_run``).
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, ClassVar, NamedTuple, Protocol

from connectors import Session

MARGIN = timedelta(days=3)
"""So much more is asked for on both sides of a span: the day by which a provider filters may not be the one it shows."""


class Row(NamedTuple):
    """One record as the source shows it. `record_id` None: the source gives it no id that stays."""

    record_id: str | None
    account_id: str | None
    record_date: date | None
    pending: bool
    payload: str


@dataclass(frozen=True)
class Span:
    """Days from `since` to `until`, both included; None is without an end."""

    since: date | None = None
    until: date | None = None

    def widened(self) -> "Span":
        """With the margin on both sides."""
        return Span(self.since and self.since - MARGIN, self.until and self.until + MARGIN)


@dataclass(frozen=True)
class Scope:
    """What is read by spans: a stream, of one account or (None) of all.

    Attributes:
        page: about how many rows one request brings.
        every: in how many days its recent records are read once.
        scarce: its requests are few a day: then a span is read instead of the recent ones, not besides.
    """

    stream: str
    account_id: str | None
    page: int
    every: int = 1
    scarce: bool = False


class Listing(NamedTuple):
    """The accounts as they are listed, and their balances where the same answer tells them."""

    accounts: list[Row]
    balances: list[Row] | None = None


class Source(Protocol):
    """A provider as the census asks it, for one connection. Methods raise the connectors' tree, or Spent."""

    provider: ClassVar[str]

    def __init__(self, session: Session, today: date) -> None: ...

    @staticmethod
    def scopes(accounts: Iterable[Row]) -> list[Scope]:
        """What can be read by spans, of these accounts."""
        ...

    @staticmethod
    def balances_of(accounts: Iterable[Row]) -> list[str]:
        """The accounts whose balances are asked for one by one."""
        ...

    @staticmethod
    def postponed(cursor: Mapping[str, Any] | None, today: date, calls: int) -> str | None:
        """Why a stream of an account is better not asked for today, by the sync's cursor and our own `calls` of today."""
        ...

    async def listing(self) -> Listing:
        """All accounts of the connection."""
        ...

    async def balance(self, account_id: str) -> list[Row]:
        """The reading of one account's balances; none where the source tells none."""
        ...

    def records(self, scope: Scope, span: Span, accounts: Iterable[Row]) -> AsyncIterator[list[Row]]:
        """Every record of the scope in the span, page by page."""
        ...


def day_of(text: object) -> date | None:
    """A calendar day at the beginning of a text."""
    if not isinstance(text, str):
        return None
    try:
        return date.fromisoformat(text.strip()[:10])
    except ValueError:
        return None
