"""The checks of what goes wrong: documented errors, consents that end, limits, servers and lines that fail, secrets."""

from __future__ import annotations

import contextlib
import io
import logging
import traceback
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise

from connectors import ConnectorError, Gone, NeedsReauth, Retryable
from tests.connectors.suite._bench import Bench, Vacuous
from tests.connectors.suite._dialect import Case
from tests.connectors.suite._hostile import (
    Answer,
    HandOn,
    Trick,
    Wire,
    after,
    first_tries,
    halved,
    in_turn,
    only,
    saying,
)
from tests.connectors.suite._server import Heard

ATTEMPTS = 6
"""Of one request, as the client is configured by default."""


async def each_documented_error_has_its_recovery(bench: Bench) -> None:
    """Of each error of the table: the class that says who acts, how far it reaches, its code; only what may pass is retried."""
    wrong = []
    for case in bench.dialect.errors:
        bench.restart()
        secrets, before = (await bench.customer(case.which))["secrets"], len(bench.hostile.heard)
        with bench.playing(only(case.at, _answering(case, secrets))):
            told = await _first_error(bench, case.which)
        found = (type(told), told.scope, told.code) if isinstance(told, ConnectorError) else told
        expected = None if case.kind is None else (case.kind, case.scope, case.code)
        if found != expected:
            wrong.append(f"{case}: expected {expected}, found {found}: {told}")
        elif not isinstance(told, Retryable) and any(a == b for a, b in pairwise(bench.hostile.heard[before:])):
            wrong.append(f"{case}: expected that it is not tried again, found that it is")
    assert wrong == []


async def an_expired_consent_stops_its_connection_alone(bench: Bench) -> None:
    """The connection needs its customer and is not called; the other goes on; after a new login it makes up for it."""
    one, other = await bench.connect(0), await bench.connect(1)
    await bench.sync(one, other)
    records = {key: row.payload for key, row in bench.rows(one).items()}
    there = (await bench.customer())["connection_id"]
    bench.let_pass(1)
    await bench.control("POST", f"/enrollments/{there}/disconnect", reason="credentials_invalid")
    report = {result.connection_id: result for result in (await bench.sync(one, other)).connections}
    assert (report[one].outcome, report[other].outcome) == ("needs_reauth", "done")
    assert bench.store.connection(one).state == "needs_reauth"
    await bench.assert_true(other)
    rows = bench.rows(one)
    assert {key for key in records if rows[key].removed is not None} == set(), "its records stay"
    again = {result.connection_id: result for result in (await bench.sync(one, other)).connections}
    assert (again[one].outcome, again[one].requests, again[other].outcome) == ("skipped", 0, "done")
    await bench.control("POST", f"/enrollments/{there}/repair")
    await bench.connect(0, one)
    bench.let_pass(1)
    await bench.done(one)
    await bench.assert_true(one)


async def a_revoked_key_ends_its_connection(bench: Bench) -> None:
    """What is revoked is tried once, and not called again; its records stay."""
    connection, case = await bench.connect(), bench.dialect.revoked
    await bench.done(connection)
    rows = bench.rows(connection)
    bench.let_pass(1)
    before = len(bench.hostile.heard)
    with bench.playing(only(case.at, _answering(case, {}))):
        (result,) = (await bench.sync(connection)).connections
    struck = [heard for heard in bench.hostile.heard[before:] if fnmatchcase(heard.path, case.at)]
    state = {Gone: "gone", NeedsReauth: "needs_reauth"}[case.kind or Gone]
    assert (result.outcome, bench.store.connection(connection).state, len(struck)) == (state, state, 1), result.error
    assert [key for key, row in bench.rows(connection).items() if row != rows[key]] == [], "its records stay"
    heard = len(bench.hostile.heard)
    (again,) = (await bench.sync(connection)).connections
    assert (again.outcome, len(bench.hostile.heard)) == ("skipped", heard)


async def a_429_with_retry_after_is_obeyed(bench: Bench) -> None:
    """A short wait is waited for, and the read goes on; a long one is handed back at once, with how long it is."""
    limit = bench.dialect.rate_limit
    connection = await bench.connect()
    with bench.playing(first_tries(saying(limit._replace(headers={"Retry-After": "1"})))):
        result = await bench.done(connection)
    assert result.requests == 2 * result.retries
    await bench.assert_true(connection)
    before = len(bench.hostile.heard)
    with bench.playing(saying(limit._replace(headers={"Retry-After": "7200"}))):
        told = await _first_error(bench)
    assert isinstance(told, Retryable), told
    assert (told.retry_after, len(bench.hostile.heard) - before) == (7200, 1)


async def a_429_without_retry_after_is_tried_again_and_then_left(bench: Bench) -> None:
    """It passes, or the sync ends in `retry`, after as many attempts as are configured."""
    await _mended_or_left(bench, (saying(bench.dialect.rate_limit),))


async def a_server_that_fails_is_tried_again_and_then_left(bench: Bench) -> None:
    """5xx in the provider's words, in nobody's, and as a page for people."""
    words = [Answer(status, bench.hostile.words.failed(status)) for status in (500, 502, 503, 504)]
    await _mended_or_left(
        bench, tuple(saying(one) for one in (*words, Answer(502, b""), Answer(503, b"<html>down</html>")))
    )


async def a_line_that_breaks_is_tried_again_and_then_left(bench: Bench) -> None:
    """Resets before the answer, and an answer whose bytes end too soon."""
    await _mended_or_left(bench, (saying(None), halved(on_the_line=True), saying(b"HTTP/1.1 200 OK\r\nContent-")))


async def a_body_that_is_cut_short_is_tried_again_and_then_left(bench: Bench) -> None:
    """Half of a JSON text under a right length, an empty body, and a page for people, all under 200."""
    html = Answer(200, b"<html>Down for maintenance</html>")
    await _mended_or_left(bench, (halved(on_the_line=False), saying(Answer(200, b"")), saying(html)))


async def secrets_are_in_no_log_error_or_page(bench: Bench) -> None:
    """However an answer echoes them: no message, no traceback with its variables, no log, no page, nothing in the store."""
    told, seen = await bench.customer(), list[str]()
    canaries = {secret for name, secret in told["secrets"].items() if name in bench.dialect.canaries}
    canaries |= {secret for name, secret in bench.dialect.sandbox.credentials.items() if "secret" in name}

    def assert_none_is_seen() -> None:
        canaries.update(*(heard.headers.get("authorization", "").split()[1:] for heard in bench.hostile.heard))
        leaks = [text for text in seen if any(secret in text for secret in canaries)]
        assert leaks == []
        seen.clear()

    with _listening(seen):
        async with bench.session() as session:
            async for *_, page in bench.pages(session):
                seen.append(f"{page.request} {page.cursor}")
            seen += [repr(session), repr(session.secrets), repr(session.credentials), repr(session.tokens)]
        assert_none_is_seen()
        for number, status in enumerate(ECHOES):
            for honest in (0, 1 + number % 4):
                bench.restart()
                with bench.playing(after(honest, _echoing(status))):
                    error: BaseException | None = await _first_error(bench)
                while error is not None:
                    said = traceback.TracebackException.from_exception(error, capture_locals=True)
                    seen += [repr(error), repr(error.__dict__), *_of_the_product(said)]
                    error = error.__cause__ or error.__context__
                assert_none_is_seen()
        bench.restart()
        connection = await bench.connect()
        with bench.playing(after(2, _echoing(ECHOES[0]))):
            await bench.sync(connection)
    seen += [str(row) for query in STORED for row in bench.query(query, connection)]
    assert_none_is_seen()
    if not canaries:
        raise Vacuous("expected secrets to look for, found none")


ECHOES = (400, 401, 403, 404, 429, 200, 302)
"""The statuses of answers that say secrets back; 200 is cut short, that it is no answer."""
STORED = (
    "SELECT * FROM ledgerlake.syncs WHERE connection_id = %s",
    "SELECT receipts.* FROM ledgerlake.receipts JOIN ledgerlake.syncs USING (sync_id) WHERE connection_id = %s",
    "SELECT * FROM ledgerlake.cursors WHERE connection_id = %s",
    "SELECT * FROM raw.quarantine WHERE connection_id = %s",
)


def _echoing(status: int) -> Trick:
    """An answer that says back all it was told, wherever an error may have text."""

    async def play(heard: Heard, hand_on: HandOn) -> Wire:
        told = f"{heard.headers.get('authorization', '').partition(' ')[2]} {heard.headers} {heard.body.decode()}"
        token = heard.headers.get("authorization", " x").split()[-1]
        if status == 200:
            return Answer(200, f'{{"echo": "{token}'.encode())
        fault = {"code": token, "message": told, "type": token}
        words = {
            "errorCode": token,
            "error_code": token,
            "error_type": token,
            "summary": told,
            "detail": told,
            "type": token,
        }
        return Answer.of(status, {"error": fault, **words}, Location="http://127.0.0.1/elsewhere")

    return play


def _of_the_product(said: traceback.TracebackException) -> Iterator[str]:
    """The traceback without the suite's own frames, which hold secrets and answers by right."""
    for frame in said.stack:
        if "/tests/" not in frame.filename:
            yield f"{frame} {frame.locals}"
    yield from said.format_exception_only()


@contextlib.contextmanager
def _listening(seen: list[str]) -> Iterator[None]:
    """All that is logged or printed meanwhile, at whatever level."""

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())

    ear, root, printed = Ear(), logging.getLogger(), io.StringIO()
    level = root.level
    root.addHandler(ear)
    root.setLevel(logging.DEBUG)
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            yield
    finally:
        root.removeHandler(ear)
        root.setLevel(level)
        seen.append(printed.getvalue())


async def _mended_or_left(bench: Bench, troubles: Sequence[Trick]) -> None:
    """Trouble that passes is not noticed; trouble from some request on is told, costs little, and is made up for."""
    connection = await bench.connect()
    with bench.playing(first_tries(in_turn(*troubles))):
        result = await bench.done(connection)
    assert result.requests == 2 * result.retries
    await bench.assert_true(connection)
    needed = result.retries
    for honest in (0, needed - 2):
        bench.restart()
        connection, before = await bench.connect(), len(bench.hostile.heard)
        with bench.playing(after(honest, in_turn(*troubles))):
            (result,) = (await bench.sync(connection, requests=honest + ATTEMPTS * needed)).connections
        assert result.outcome in {"retry", "partial"}
        assert result.error is not None
        assert honest or len(bench.hostile.heard) - before == ATTEMPTS, "one request, and it is tried as configured"
        bench.restart()
        await bench.done(connection)
        await bench.assert_true(connection)


def _answering(case: Case, secrets: Mapping[str, str]) -> Trick:
    async def play(heard: Heard, hand_on: HandOn) -> Wire:
        return case.answer if isinstance(case.answer, Answer) else case.answer(heard, secrets)

    return play


async def _first_error(bench: Bench, which: int = 0) -> ConnectorError | None:
    """The first error of reading everything of a customer, or None."""
    async with bench.session(which) as session:
        try:
            await bench.within(500, _drain(bench.pages(session)))
        except ConnectorError as error:
            return error
    return None


async def _drain(pages: AsyncIterator[object]) -> None:
    async for _ in pages:
        pass


CHECKS = (
    each_documented_error_has_its_recovery,
    an_expired_consent_stops_its_connection_alone,
    a_revoked_key_ends_its_connection,
    a_429_with_retry_after_is_obeyed,
    a_429_without_retry_after_is_tried_again_and_then_left,
    a_server_that_fails_is_tried_again_and_then_left,
    a_line_that_breaks_is_tried_again_and_then_left,
    a_body_that_is_cut_short_is_tried_again_and_then_left,
    secrets_are_in_no_log_error_or_page,
)
