"""The checks of how pages are read: killed, doubled, cut off from their next one, without an end, full of the unknown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from fnmatch import fnmatchcase

import msgspec

from sandbox.faults import Fault
from tests.connectors.suite._bench import TODAY, Bench, Vacuous
from tests.connectors.suite._hostile import Answer, HandOn, Trick, Wire, circling, promising, repeated, with_rows
from tests.connectors.suite._server import Heard

KILLS, LATER_KILLS, REFUSALS = 10, 3, 4
"""So many pages at most after which a first sync and a later one are killed, or whose place is refused, spread over all."""
MARK = b'"unheard_of":{"moons":[1.10,null]}'


async def a_sync_that_is_killed_after_any_page_goes_on(bench: Bench) -> None:
    """Killed after pages all over a first sync and a later one, and synced again: the store is the same."""
    for days, most in ((0, KILLS), (3, LATER_KILLS)):
        undisturbed = await _due(bench, days)
        pages = await bench.killed(undisturbed, None)
        for number in _spread(pages, most):
            connection = await _due(bench, days)
            assert await bench.killed(connection, number - 1) == number - 1
            await bench.done(connection)
            await bench.assert_true(connection)
            ours, theirs = _payloads(bench, connection), _payloads(bench, undisturbed)
            assert (number - 1, [key for key in ours | theirs if ours.get(key) != theirs.get(key)]) == (number - 1, [])


async def duplicates_across_pages_are_one_record(bench: Bench) -> None:
    """A row that comes twice in a page, and again on the next one, is one record."""
    connection = await bench.connect()
    with bench.playing(with_rows(bench.hostile.words, repeated())):
        await bench.done(connection)
    await bench.assert_true(connection)


async def a_place_that_is_refused_is_no_end(bench: Bench) -> None:
    """Where the place to go on from is refused, at some page or at the one a killed sync stored, the read begins again; if it
    always is, it ends in Retryable."""
    refused = bench.dialect.refused
    assert refused is not None, "the dialect has `refused`, or lacks this check"

    def refusing(numbers: Container[int]) -> Trick:
        asked = 0

        async def play(heard: Heard, hand_on: HandOn) -> Wire:
            nonlocal asked
            placed = bench.hostile.place(heard) is not None
            asked += placed
            return refused if placed and asked in numbers else await hand_on(heard)

        return play

    asked = await _placed(bench)
    for number in _spread(asked, REFUSALS):
        bench.restart()
        connection = await bench.connect()
        with bench.playing(refusing({number})):
            await bench.done(connection)
        await bench.assert_true(connection)
        await bench.done(connection)
        await bench.assert_true(connection)
    bench.restart()
    connection = await bench.connect()
    await bench.killed(connection, 2 + asked // 2)
    with bench.playing(refusing({1})):
        await bench.done(connection)
    await bench.assert_true(connection)
    bench.restart()
    connection = await bench.connect()
    with bench.playing(refusing(range(10**6))):
        report = await bench.sync(connection, requests=20 + 10 * asked)
    assert report.connections[0].outcome in {"retry", "partial"}
    await bench.done(connection)
    await bench.assert_true(connection)


async def a_list_without_end_is_given_up(bench: Bench) -> None:
    """Pages in a circle, and empty ones that promise more, end in Retryable, and the next sync is whole."""
    words, more, asked = bench.hostile.words, bench.dialect.more, await _placed(bench)
    for trick in (circling(words), *([promising(words, more)] if more is not None else [])):
        bench.restart()
        connection = await bench.connect()
        with bench.playing(trick):
            report = await bench.sync(connection, requests=50 + 10 * asked)
        assert report.connections[0].outcome in {"retry", "partial"}, report
        await bench.done(connection)
        await bench.assert_true(connection)


async def unknown_fields_and_values_are_kept(bench: Bench) -> None:
    """Fields and values that no documentation has change nothing but the payload, which is kept byte for byte."""
    served: Counter[bytes] = Counter()

    def change(which: str, rows: list[bytes]) -> list[bytes]:
        changed = []
        for row in rows:
            told = msgspec.json.decode(row)
            bench.dialect.unknown(told)
            changed.append(msgspec.json.encode(told)[:-1] + b"," + MARK + b"}")
        served.update(changed)
        return changed

    swapped, with_unknown = 0, with_rows(bench.hostile.words, change)

    async def play(heard: Heard, hand_on: HandOn) -> Wire:
        nonlocal swapped
        answer = await with_unknown(heard, hand_on)
        if not isinstance(answer, Answer) or MARK in answer.body:
            return answer
        swapped += answer.body.count(bench.dialect.swap[0])
        return answer._replace(body=answer.body.replace(*bench.dialect.swap))

    connection = await bench.connect()
    with bench.playing(play):
        await bench.done(connection)
    if not served or not swapped:
        raise Vacuous(f"expected rows and {bench.dialect.swap[0]!r} in other answers, found none to change")
    assert bench.quarantine(connection) == []
    held = Counter(row.payload for row in bench.rows(connection).values())
    assert [row for row in served if row not in held] == []
    assert any(bench.dialect.swap[1] in payload for payload in held)
    known = await bench.truth(connection)
    found = Counter(bench.held(bench.rows(connection)).values())
    names = [
        Counter((fact.stream, fact.id, fact.day, fact.amount) for fact in facts.elements()) for facts in (known, found)
    ]
    assert names[0] == names[1]


async def a_broken_row_is_set_aside_alone(bench: Bench) -> None:
    """A row that breaks the contract goes to quarantine as it came, whatever page it is on; all others are kept."""
    broken: set[bytes] = set()

    def change(which: str, rows: list[bytes]) -> list[bytes]:
        if fnmatchcase(which, bench.dialect.lax):
            return rows
        bad = [bench.hostile.words.bad_row(Fault(kind="bad_row", row="missing_amount"), row, None) for row in rows[:1]]
        broken.update(bad)
        return [*bad, *rows]

    connection = await bench.connect()
    with bench.playing(with_rows(bench.hostile.words, change)):
        await bench.done(connection)
    if not broken:
        raise Vacuous("expected rows to break, found none")
    assert set(bench.quarantine(connection)) == broken
    await bench.assert_true(connection)


async def _due(bench: Bench, days: int) -> str:
    """A connection whose next sync is its first, or the one so many days after."""
    bench.today = TODAY
    bench.restart()
    connection = await bench.connect()
    if days:
        await bench.done(connection)
        bench.let_pass(days)
    return connection


async def _placed(bench: Bench) -> int:
    """How many requests of an undisturbed first sync ask for a page after another."""
    before = len(bench.hostile.heard)
    await bench.done(await bench.connect())
    found = sum(bench.hostile.place(heard) is not None for heard in bench.hostile.heard[before:])
    if not found:
        raise Vacuous("expected several pages, found one: more rows are needed")
    return found


def _payloads(bench: Bench, connection: str) -> dict[tuple[str, str], bytes]:
    return {key: row.payload for key, row in bench.rows(connection).items() if row.removed is None}


def _spread(number: int, most: int) -> list[int]:
    """At most so many of 1 to number, the first and the last among them."""
    if number <= most:
        return list(range(1, number + 1))
    return sorted({1 + round(place * (number - 1) / (most - 1)) for place in range(most)})


CHECKS = (
    a_sync_that_is_killed_after_any_page_goes_on,
    duplicates_across_pages_are_one_record,
    a_place_that_is_refused_is_no_end,
    a_list_without_end_is_given_up,
    unknown_fields_and_values_are_kept,
    a_broken_row_is_set_aside_alone,
)
