"""Pages that the connector takes back (`Page.discard`) were never read: no row, no receipt, no cursor, no count of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from typing import Any, ClassVar

import pytest

from connectors import Account, Ask, Complete, Page, Record, Session, Stream
from ledgerlake.ingest import Counts


class Overtaken:
    """A connector whose loop begins again after two pages; what the first of them held is not there any more."""

    provider: ClassVar[str] = "teller"
    streams: ClassVar[tuple[Stream, ...]] = (Stream("accounts", "connection"), Stream("identity", "connection"))
    lasting_accounts: ClassVar[bool] = False

    def __init__(self, session: Session) -> None:
        pass

    async def accounts(self, today: date) -> tuple[Page, list[Account]]:
        return Page(stream="accounts", records=[], complete=Complete(None, None), request="GET /", size=0), []

    async def read(self, stream: str, ask: Ask) -> AsyncIterator[Page]:
        yield page("GET /1", "gone", "changed", commit=False, cursor={"at": 1})
        yield page("GET /2", "moved", commit=False, cursor={"at": 2})
        yield Page(stream=stream, records=[], discard=True, commit=False, request="GET /3", size=0)
        yield page("GET /1", "changed", commit=False)
        yield page("GET /2", "new", cursor={"at": 3})


def page(request: str, *names: str, **fields: Any) -> Page:
    records = [Record(name, None, None, False, b'{"id": "%s"}' % name.encode()) for name in names]
    return Page(stream="identity", records=records, request=request, size=1, **fields)


def test_discarded_pages_leave_nothing_and_are_not_counted(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledgerlake.ingest._sync.PROVIDERS", {"teller": Overtaken})
    desk.connect("token")
    (result,) = desk.sync().connections
    assert (result.outcome, dict(result.streams)) == ("done", {"accounts": Counts(), "identity": Counts(new=2)})
    assert {name: row["text"] for name, row in desk.rows("identity").items()} == {
        "changed": '{"id": "changed"}',
        "new": '{"id": "new"}',
    }
    receipts = desk.query("SELECT request, new FROM ledgerlake.receipts WHERE stream = 'identity' ORDER BY page")
    assert [(one["request"], one["new"]) for one in receipts] == [("GET /1", 1), ("GET /2", 1)]
    assert desk.one("SELECT cursor FROM ledgerlake.cursors WHERE stream = 'identity'") == {"at": 3}
