"""
What a connector is: it turns a provider's HTTP into pages of the provider's own records.

Belongs here: the values that cross the border between connectors and engine, and the protocols on both sides of
it. Not here: HTTP (`_http`), splitting a body into records (`_split`), any provider's knowledge (one module each).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import date
from typing import Any, ClassVar, Literal, Protocol

import msgspec
from pydantic import SecretStr

from connectors._http import Session

Cursor = dict[str, Any]
"""Where a stream's next read begins; the connector's own JSON, which the engine stores and hands back untouched."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """One object of a provider: the few fields the engine needs, and `payload`, the provider's own bytes of it."""

    id: str
    account_id: str | None
    date: date | None
    pending: bool
    payload: bytes


class Rejected(msgspec.Struct, frozen=True, gc=False):
    """One object that breaks the stream's contract, with the reason as a sentence: it goes to quarantine."""

    payload: bytes
    reason: str
    record_id: str | None = None
    account_id: str | None = None


class Complete(msgspec.Struct, frozen=True):
    """
    This read has now shown every record of the stream in that account dated `since` or later (None: all of them).

    Only pages of one unbroken read may end in it, for the engine takes what was not shown as absent at the source.
    `account_id` None means the connection; `of` says which records were shown in full: all, the pending or the posted ones.

    `doubt` is what the engine does before it believes that a record is absent: it reads the stream again at once,
    or waits for the next sync's read where a provider allows few, or nothing where the answer is the provider's
    whole set by definition.
    """

    account_id: str | None
    since: date | None
    of: Literal["all", "pending", "posted"] = "all"
    doubt: Literal["read_again", "next_sync", "none"] = "read_again"


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """
    One answer of the provider, split into records, to be stored in one transaction together with its cursor.

    `removed` are ids that the provider itself says are removed. `cursor` None leaves the stored one as it is.
    `commit` False means that this page counts only together with the next ones, up to the one that commits; a page
    with `discard` takes back those that came since the last commit (it has no records of its own).
    A page may belong to another stream than the one that is read: a feed of changes brings objects of many. Its
    cursor is always the read stream's.
    `request` is method, path and query, never a secret; `size` is the body's length in bytes.
    """

    stream: str
    records: list[Record]
    rejected: list[Rejected] = []
    removed: list[str] = []
    cursor: Cursor | None = None
    complete: Complete | None = None
    commit: bool = True
    discard: bool = False
    request: str
    size: int


class Account(msgspec.Struct, frozen=True):
    """An account of a connection. `streams` are the per-account streams that its institution supports for it."""

    id: str
    kind: str
    currency: str | None
    closed: bool
    streams: tuple[str, ...]
    institution_id: str | None = None
    institution_name: str | None = None


class Stream(msgspec.Struct, frozen=True):
    """
    A kind of record. `every_days` 0 is read at each sync, 30 when the last read is 30 days old or more.

    The stream `accounts` is always read first, by `Connector.accounts`.
    """

    name: str
    scope: Literal["connection", "account"]
    every_days: int = 0


class Known(Protocol):
    """What the store already holds of one stream and account: a connector asks it to bound its read."""

    async def oldest_pending(self) -> date | None:
        """The oldest date of a current pending record."""
        ...

    async def newest_before(self, day: date) -> date | None:
        """The newest date of a current record that is dated before `day`."""
        ...


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """
    One read of one stream.

    `account` is None for streams of the connection. `since` asks for a range again and `full` for everything again:
    then the cursor is neither used nor returned.
    """

    today: date
    account: Account | None = None
    cursor: Cursor | None = None
    since: date | None = None
    full: bool = False
    known: Known


class Connector(Protocol):
    """
    A provider's connector: one object for one connection. All its methods raise the tree of `connectors._errors`.
    """

    provider: ClassVar[str]
    streams: ClassVar[tuple[Stream, ...]]
    lasting_accounts: ClassVar[bool]
    """Whether an account keeps its id under another consent of its holder, so that a shared id proves a renewal."""

    @classmethod
    def secrets(cls, given: Mapping[str, object]) -> dict[str, SecretStr]:
        """Check the secrets of a new connection; ValueError names what is missing or unknown, never a value."""
        ...

    @classmethod
    def external_id(cls, secrets: Mapping[str, SecretStr]) -> str:
        """The provider's own id of the connection."""
        ...

    def __init__(self, session: Session) -> None: ...

    async def accounts(self, today: date) -> tuple[Page, list[Account]]:
        """The accounts, as a page of the stream `accounts` that is complete, and as what can be read of each."""
        ...

    def read(self, stream: str, ask: Ask) -> AsyncIterator[Page]:
        """The stream's pages, newest first where the provider has an order."""
        ...

    async def show(self, stream: str, account: Account, record_id: str) -> Record | None:
        """One record, asked for by its id; None when the provider says that there is none."""
        ...
