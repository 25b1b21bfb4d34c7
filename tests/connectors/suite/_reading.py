"""
A connector on any server, without an engine: what the tests of single providers set up.

Belongs here: the client, the questions, what a store answers to them. Not here: what a server says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from pydantic import SecretStr

from connectors import Account, Ask, Client, ClientConfig, Connector, Known, Page, Session


@dataclass(frozen=True)
class Held:
    """What the store holds of a stream and account, as (id, date, pending)."""

    rows: Sequence[tuple[str, date, bool]] = ()

    async def oldest_pending(self) -> date | None:
        return min((day for _, day, pending in self.rows if pending), default=None)

    async def newest_before(self, day: date) -> date | None:
        return max((held for _, held, _ in self.rows if held < day), default=None)


class Unasked:
    """A store that a connector has no reason to ask."""

    async def oldest_pending(self) -> date | None:
        raise AssertionError("not asked")

    async def newest_before(self, day: date) -> date | None:
        raise AssertionError("not asked")


@dataclass(frozen=True)
class Reading:
    """How a provider's tests read: with these secrets, on that day, of that account, unless they say otherwise."""

    connector: type[Connector]
    secrets: Mapping[str, SecretStr]
    today: date
    account: Account | None = None
    known: Known = field(default_factory=Unasked)
    credentials: Mapping[str, SecretStr] = field(default_factory=dict)

    def client(self, server: Any, **changes: Any) -> Client:
        """A client of two attempts that no budget slows down."""
        given: dict[str, Any] = {"requests_per_second": 100_000, "attempts": 2, "credentials": self.credentials}
        return Client(ClientConfig(base_url=server.url, **(given | changes)))

    async def pages(self, on: Session | Connector, stream: str = "transactions", **ask: Any) -> list[Page]:
        """The pages of one read, of a new connector on a session, or of one that has been asked before."""
        connector = self.connector(on) if isinstance(on, Session) else on
        given: dict[str, Any] = {"today": self.today, "account": self.account, "known": self.known} | ask
        return [page async for page in connector.read(stream, Ask(**given))]

    async def read(self, serve: Any, say: Any, stream: str = "transactions", **ask: Any) -> list[Page]:
        """The pages of one read, of a server that says this."""
        async with serve(say) as server, self.client(server) as http:
            return await self.pages(http.session(self.secrets), stream, **ask)


def ids(read: Sequence[Page]) -> list[list[str]]:
    """The ids of each page."""
    return [[one.id for one in page.records] for page in read]
