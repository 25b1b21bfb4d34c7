"""Stripe's lists, page by page, and single objects, as pages with what is nested in them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import date
from typing import NamedTuple

from connectors._errors import BadData, Retryable
from connectors._http import Reply
from connectors._protocol import Complete, Cursor, Page, Record, Rejected
from connectors._split import Split, read, split
from connectors._values import shown
from connectors.stripe._answers import envelope, is_gone, missing
from connectors.stripe._api import LIMIT, Api
from connectors.stripe._nested import elements
from connectors.stripe._objects import KINDS, UNLISTED, Build, path_of
from connectors.stripe._times import seconds


class Sheet(NamedTuple):
    """A list's page: `after` is the id to go on from, None on the last one; `restarted`: it is the first one again."""

    reply: Reply
    parts: Split
    build: Build
    after: str | None
    restarted: bool


class Lists:
    """What one account lists."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def sheets(self, stream: str, query: Mapping[str, str], after: str | None = None) -> AsyncIterator[Sheet]:
        """A list's pages from the top, or from after an id; from the top again when that id vanished meanwhile."""
        kind, restarts, anchors = KINDS[stream], 1, set[str]()
        restarted = False
        while True:
            anchor = {"starting_after": after} if after else {}
            passing = missing if after else None
            reply = await self._api.get(kind.path, {**query, "limit": LIMIT, **anchor}, passing=passing)
            if not 200 <= reply.status < 300:
                if not restarts:
                    raise Retryable(
                        f"expected the page after {shown(after or '')} of {reply.request}, found that this object"
                        " vanished, twice in one read: what came is stored, try again later",
                        code="resource_missing",
                        scope="stream",
                    )
                restarts, after, restarted = restarts - 1, None, True
                anchors.clear()
                continue
            found, build = envelope(reply), Build(stream)
            parts = split(bytes(found.data), kind.fields, build)
            after = _anchor(parts) if found.has_more else None
            if found.has_more and after is None:
                raise BadData(
                    f"expected an id to go on from in {reply.request}, which says that there is more, found none in"
                    f" {len(parts.rejected)} objects: what lies behind them cannot be asked for",
                    scope="stream",
                )
            if after in anchors:
                raise Retryable(
                    f"expected older objects from {reply.request}, found {shown(after or '')} again: what came is"
                    " stored, but the end was not reached, try again later",
                    scope="stream",
                )
            anchors |= {after} if after else set()
            yield Sheet(reply, parts, build, after, restarted)
            restarted = False
            if after is None:
                return

    async def pages(
        self,
        stream: str,
        sheet: Sheet,
        *,
        cursor: Cursor | None = None,
        complete: Complete | None = None,
        again: bool = False,
    ) -> AsyncIterator[Page]:
        """
        A page, and before it, in the same transaction, what its objects have nested.

        Objects that are read `again` may have lost elements: then each object's are a page that is all of them.
        """
        nested = KINDS[stream].nested
        if nested is not None:
            whole = []
            for owner, embedded in sheet.build.nested:
                parts, size = await elements(self._api, nested, owner, embedded)
                whole.append((owner, parts, size))
            if again:
                for owner, parts, size in whole:
                    shown_all = Complete(owner, None, doubt="none")
                    yield page_of(nested.stream, sheet.reply, parts, complete=shown_all, commit=False, size=size)
            elif whole:
                together = Split(
                    [one for _, parts, _ in whole for one in parts.records],
                    [one for _, parts, _ in whole for one in parts.rejected],
                )
                yield page_of(
                    nested.stream, sheet.reply, together, commit=False, size=sum(size for _, _, size in whole)
                )
        yield page_of(stream, sheet.reply, sheet.parts, cursor=cursor, complete=complete)

    async def whole(
        self, stream: str, *, since: date | None = None, cursor: Cursor | None = None
    ) -> AsyncIterator[Page]:
        """All of it, or all that was created since a day, again, in one unbroken read: what is not shown is gone."""
        queries = KINDS[stream].queries
        created = {} if since is None else {"created[gte]": str(seconds(since))}
        for number, query in enumerate(queries):
            async for sheet in self.sheets(stream, {**query, **created}):
                last = sheet.after is None and number == len(queries) - 1
                complete = Complete(None, since) if last and stream not in UNLISTED else None
                async for page in self.pages(
                    stream, sheet, cursor=cursor if last else None, complete=complete, again=True
                ):
                    yield page

    async def one(self, stream: str, object_id: str) -> AsyncIterator[Page]:
        reply = await self._api.get(path_of(stream, object_id), passing=missing)
        if is_gone(reply):
            for page in removal(stream, object_id, reply.request, len(reply.body)):
                yield page
            return
        build = Build(stream)
        made = read(reply.body.strip(), KINDS[stream].fields, build)
        sheet = Sheet(reply, alone(made), build, None, restarted=False)
        async for page in self.pages(stream, sheet, again=True):
            yield page


def removal(stream: str, object_id: str, request: str, size: int = 0) -> list[Page]:
    """An object that is deleted, and with it what it had nested."""
    pages = []
    nested = KINDS[stream].nested
    if nested is not None:
        none = Complete(object_id, None, doubt="none")
        pages.append(Page(stream=nested.stream, records=[], complete=none, commit=False, request=request, size=0))
    return [*pages, Page(stream=stream, records=[], removed=[object_id], request=request, size=size)]


def page_of(
    stream: str,
    reply: Reply,
    parts: Split,
    *,
    cursor: Cursor | None = None,
    complete: Complete | None = None,
    commit: bool = True,
    size: int | None = None,
) -> Page:
    return Page(
        stream=stream,
        records=parts.records,
        rejected=parts.rejected,
        cursor=cursor,
        complete=complete,
        commit=commit,
        request=reply.request,
        size=len(reply.body) if size is None else size,
    )


def alone(made: Record | Rejected) -> Split:
    return Split([made], []) if isinstance(made, Record) else Split([], [made])


def _anchor(parts: Split) -> str | None:
    """The id to page on from: the last object's that is whole, else the last one's that has an id."""
    if parts.records:
        return parts.records[-1].id
    return next((row.record_id for row in reversed(parts.rejected) if row.record_id), None)
