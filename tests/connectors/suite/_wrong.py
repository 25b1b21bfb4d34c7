"""
Connectors that are wrong on purpose, each in one way, to prove that every check can fail.

Belongs here: one fault a function, made of any connector, and which checks it must not pass. A fault is what somebody might
write: none breaks the kit or the engine.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import msgspec

from connectors import Account, Ask, BadData, Connector, ConnectorError, Page, Record, Retryable, Session
from tests.connectors.suite._pages import MARK

Wrong = Callable[[type[Connector]], type[Connector]]
_log = logging.getLogger(__name__)


def _named(make: Wrong, change: Callable[..., Any]) -> Wrong:
    """Made once of each connector, so that what came of it is told once; under the name of its fault."""
    return functools.update_wrapper(functools.cache(make), change)


def _reading(change: Callable[[Any, str, Ask, AsyncIterator[Page]], AsyncIterator[Page]]) -> Wrong:
    """A connector that hands on other pages than it read."""

    def make(base: Any) -> type[Connector]:
        class Faulty(base):  # type: ignore[misc]
            def read(self, stream: str, ask: Ask) -> AsyncIterator[Page]:
                return change(self, stream, ask, super().read(stream, ask))

        return Faulty

    return _named(make, change)


def _pages(change: Callable[[Page], Page]) -> Wrong:
    """A connector that changes each page by itself, that of the accounts too."""

    def make(base: Any) -> type[Connector]:
        class Faulty(base):  # type: ignore[misc]
            async def accounts(self, today: date) -> tuple[Page, list[Account]]:
                page, accounts = await super().accounts(today)
                return change(page), accounts

            async def read(self, stream: str, ask: Ask) -> AsyncIterator[Page]:
                async for page in super().read(stream, ask):
                    yield change(page)

        return Faulty

    return _named(make, change)


def _records(change: Callable[[Record], Record | None]) -> Wrong:
    """A connector that changes each record by itself, or drops it."""

    def changed(page: Page) -> Page:
        records = [new for record in page.records if (new := change(record)) is not None]
        return msgspec.structs.replace(page, records=records)

    return _pages(changed)


def _errors(change: Callable[[Any, ConnectorError], ConnectorError]) -> Wrong:
    """A connector that raises other errors than it met."""

    def make(base: Any) -> type[Connector]:
        class Faulty(base):  # type: ignore[misc]
            def __init__(self, session: Session) -> None:
                self.given = session
                super().__init__(session)

            async def accounts(self, today: date) -> tuple[Page, list[Account]]:
                try:
                    found: tuple[Page, list[Account]] = await super().accounts(today)
                except ConnectorError as error:
                    raise change(self, error) from None
                return found

            async def read(self, stream: str, ask: Ask) -> AsyncIterator[Page]:
                try:
                    async for page in super().read(stream, ask):
                        yield page
                except ConnectorError as error:
                    raise change(self, error) from None

        return Faulty

    return _named(make, change)


def _requests(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Wrong:
    """A connector that asks its session in another way."""

    def make(base: Any) -> type[Connector]:
        class Faulty(base):  # type: ignore[misc]
            def __init__(self, session: Session) -> None:
                request = session.request

                async def other(*where: Any, **how: Any) -> Any:
                    return await request(*where, **change(how))

                session.request = other  # type: ignore[method-assign]
                super().__init__(session)

        return Faulty

    return _named(make, change)


@_pages
def drops_the_last_record_of_a_page(page: Page) -> Page:
    return msgspec.structs.replace(page, records=page.records[:-1])


@_pages
def swallows_broken_rows(page: Page) -> Page:
    return msgspec.structs.replace(page, rejected=[])


@_pages
def ignores_removals(page: Page) -> Page:
    return msgspec.structs.replace(page, removed=[], complete=None)


@_records
def rewrites_payloads(record: Record) -> Record:
    return msgspec.structs.replace(record, payload=json.dumps(json.loads(record.payload), indent=1).encode())


@_records
def takes_pending_for_posted(record: Record) -> Record:
    return msgspec.structs.replace(record, pending=False)


@_records
def drops_what_it_does_not_know(record: Record) -> Record | None:
    return None if MARK in record.payload else record


@functools.cache
def keeps_the_first_version(base: Any) -> type[Connector]:
    """Whatever a record becomes, it is told as it was first."""
    first: dict[str, bytes] = {}

    def as_at_first(record: Record) -> Record:
        return msgspec.structs.replace(record, payload=first.setdefault(record.id, record.payload))

    return _records(as_at_first)(base)


@_reading
async def stumbles_over_a_broken_row(
    one: Any, stream: str, ask: Ask, pages: AsyncIterator[Page]
) -> AsyncIterator[Page]:
    async for page in pages:
        if page.rejected:
            raise BadData(page.rejected[0].reason, scope="stream")
        yield page


@_reading
async def forgets_what_is_older_than_a_day(
    one: Any, stream: str, ask: Ask, pages: AsyncIterator[Page]
) -> AsyncIterator[Page]:
    """A sync with a cursor looks no further back than yesterday."""
    since = date.min if ask.cursor is None else ask.today - timedelta(days=1)
    async for page in pages:
        kept = [record for record in page.records if (record.date or date.max) >= since]
        yield msgspec.structs.replace(page, records=kept)


@_reading
async def numbers_what_comes_twice(one: Any, stream: str, ask: Ask, pages: AsyncIterator[Page]) -> AsyncIterator[Page]:
    seen: set[str] = set()
    async for page in pages:
        records = []
        for record in page.records:
            again = record.id in seen
            seen.add(record.id)
            records.append(msgspec.structs.replace(record, id=f"{record.id}:{len(seen)}") if again else record)
        yield msgspec.structs.replace(page, records=records)


@_reading
async def stores_its_cursor_before_its_rows(
    one: Any, stream: str, ask: Ask, pages: AsyncIterator[Page]
) -> AsyncIterator[Page]:
    read = [page async for page in pages]
    last = next((page for page in reversed(read) if page.cursor is not None), None)
    if last is not None:
        yield Page(stream=last.stream, records=[], cursor=last.cursor, request=last.request, size=0)
    for page in read:
        yield page


@_reading
async def ends_where_it_stumbles(one: Any, stream: str, ask: Ask, pages: AsyncIterator[Page]) -> AsyncIterator[Page]:
    """What cannot be read is taken for the end."""
    try:
        async for page in pages:
            yield page
    except Retryable:
        return


@functools.cache
def ignores_its_cursor(base: Any) -> type[Connector]:
    class Faulty(base):  # type: ignore[misc]
        def read(self, stream: str, ask: Ask) -> AsyncIterator[Page]:
            pages: AsyncIterator[Page] = super().read(stream, msgspec.structs.replace(ask, cursor=None))
            return pages

    return Faulty


@functools.cache
def begins_again_for_ever(base: Any) -> type[Connector]:
    class Faulty(base):  # type: ignore[misc]
        async def read(self, stream: str, ask: Ask) -> AsyncIterator[Page]:
            while True:
                try:
                    async for page in super().read(stream, ask):
                        yield page
                except Retryable:
                    continue
                return

    return Faulty


@functools.cache
def never_tries_again(base: Any) -> type[Connector]:
    class Faulty(base):  # type: ignore[misc]
        def __init__(self, session: Session) -> None:
            client = session._client
            client.config = replace(client.config, attempts=1)
            super().__init__(session)

    return Faulty


@_errors
def takes_every_error_for_retryable(one: Any, error: ConnectorError) -> ConnectorError:
    return Retryable(error.message, code=error.code, scope=error.scope)


@_errors
def tells_its_secrets(one: Any, error: ConnectorError) -> ConnectorError:
    error.args = (f"{error.message} with {_told(one.given)}",)
    return error


@_errors
def logs_its_secrets(one: Any, error: ConnectorError) -> ConnectorError:
    _log.debug("refused with %s", _told(one.given))
    return error


@_requests
def takes_every_refusal_for_an_error(how: dict[str, Any]) -> dict[str, Any]:
    """No answer is handed back that is not 2xx."""

    def classify(reply: Any) -> ConnectorError:
        return how["classify"](reply) or BadData(
            "expected what was asked for, found that it is refused", scope="stream"
        )

    return how | {"classify": classify}


@_requests
def is_deaf_to_retry_after(how: dict[str, Any]) -> dict[str, Any]:
    def classify(reply: Any) -> ConnectorError | None:
        error: ConnectorError | None = how["classify"](reply)
        if isinstance(error, Retryable):
            error.retry_after = 0.0
        return error

    return how | {"classify": classify}


def _told(session: Session) -> str:
    given = {**session.secrets, **session.credentials}
    return " ".join(secret.get_secret_value() for secret in given.values())


WRONG: Mapping[str, tuple[Wrong, ...]] = {
    "each_stream_keeps_its_contract": (rewrites_payloads, drops_the_last_record_of_a_page),
    "days_of_syncs_hold_what_one_first_sync_brings": (forgets_what_is_older_than_a_day,),
    "nothing_new_costs_nothing": (ignores_its_cursor,),
    "late_and_backdated_rows_are_found": (forgets_what_is_older_than_a_day,),
    "corrections_are_new_versions": (keeps_the_first_version,),
    "removals_are_marked": (ignores_removals,),
    "a_pending_row_posts_under_its_own_id": (takes_pending_for_posted,),
    "a_pending_row_posts_under_a_new_id": (ignores_removals,),
    "a_long_absence_is_made_up_for": (forgets_what_is_older_than_a_day,),
    "a_sync_that_is_killed_after_any_page_goes_on": (stores_its_cursor_before_its_rows,),
    "duplicates_across_pages_are_one_record": (numbers_what_comes_twice,),
    "a_place_that_is_refused_is_no_end": (takes_every_refusal_for_an_error,),
    "a_list_without_end_is_given_up": (begins_again_for_ever, ends_where_it_stumbles),
    "unknown_fields_and_values_are_kept": (drops_what_it_does_not_know, rewrites_payloads),
    "a_broken_row_is_set_aside_alone": (swallows_broken_rows, stumbles_over_a_broken_row),
    "each_documented_error_has_its_recovery": (takes_every_error_for_retryable,),
    "an_expired_consent_stops_its_connection_alone": (takes_every_error_for_retryable,),
    "a_revoked_key_ends_its_connection": (takes_every_error_for_retryable,),
    "a_429_with_retry_after_is_obeyed": (is_deaf_to_retry_after, never_tries_again),
    "a_429_without_retry_after_is_tried_again_and_then_left": (never_tries_again, ends_where_it_stumbles),
    "a_server_that_fails_is_tried_again_and_then_left": (never_tries_again, ends_where_it_stumbles),
    "a_line_that_breaks_is_tried_again_and_then_left": (never_tries_again, ends_where_it_stumbles),
    "a_body_that_is_cut_short_is_tried_again_and_then_left": (never_tries_again, ends_where_it_stumbles),
    "secrets_are_in_no_log_error_or_page": (tells_its_secrets, logs_its_secrets),
}
"""For each check the connectors that it must not let pass: the first made of every provider's, the others of one."""
