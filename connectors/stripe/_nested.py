"""The lists within Stripe's objects: ten elements at most come with the object, and the rest is asked for."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from connectors._errors import Retryable
from connectors._protocol import Record
from connectors._split import Split, split
from connectors._values import identifier
from connectors.stripe._answers import envelope, missing
from connectors.stripe._api import LIMIT, Api
from connectors.stripe._objects import LINE, Elements, Line, Nested


async def elements(api: Api, nested: Nested, owner: str, embedded: Elements | None) -> tuple[Split, int]:
    """All elements of an object's list, and how many bytes were asked for besides the object."""
    build = _element(owner)
    # One that is not there at all is as one cut short at its beginning.
    embedded = embedded or Elements(msgspec.Raw(b"[]"), True)
    parts = split(bytes(embedded.data), LINE, build, account_id=owner)
    known, more, size, restarts = {record.id for record in parts.records}, embedded.has_more, 0, 1
    path, query = nested.rest(owner)
    while more:
        after = {"starting_after": parts.records[-1].id.removeprefix(f"{owner}:")} if parts.records else {}
        reply = await api.get(path, {**query, "limit": LIMIT, **after}, passing=missing if after else None)
        if not 200 <= reply.status < 300:
            if not restarts:
                raise Retryable(
                    f"expected the elements after one of {reply.request}, found that it vanished, twice in one read:"
                    " nothing of this page is stored, try again later",
                    code="resource_missing",
                    scope="stream",
                )
            restarts, parts, known = restarts - 1, Split([], []), set()
            continue
        found = envelope(reply)
        rest = split(bytes(found.data), LINE, build, account_id=owner)
        more, size = found.has_more, size + len(reply.body)
        if more and not any(record.id not in known for record in rest.records):
            raise Retryable(
                f"expected more elements from {reply.request}, which says that there are, found none that are new:"
                " nothing of this page is stored, try again later",
                scope="stream",
            )
        known |= {record.id for record in rest.records}
        parts = Split(parts.records + rest.records, parts.rejected + rest.rejected)
    return parts, size


def _element(owner: str) -> Callable[[Line, bytes], Record]:
    def build(row: Line, payload: bytes) -> Record:
        return Record(identifier(f"{owner}:{identifier(row.id)}"), owner, None, False, payload)

    return build
