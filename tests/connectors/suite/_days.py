"""The checks of what days bring: new, late, corrected, removed and posted rows, and days on which nothing comes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import msgspec

from connectors import Page
from connectors._values import identifier
from ledgerlake.ingest import Counts
from tests.connectors.suite._bench import Bench, Rows, Vacuous
from tests.connectors.suite._dialect import Fact

ABSENCE = 45
"""Days: longer than any provider here remembers its changes."""


async def each_stream_keeps_its_contract(bench: Bench) -> None:
    """Declared streams, ids, accounts, the provider's own bytes, cursors of JSON, requests that were made: all true."""
    dialect, declared = bench.dialect, {one.name: one for one in bench.connector.streams}
    brought: Counter[str] = Counter()
    async with bench.session() as session:
        async for asked, account_id, page in bench.pages(session):
            assert page.stream in declared, f"{page.stream} is not declared"
            assert msgspec.msgpack.decode(msgspec.msgpack.encode(page), type=Page) == page
            assert json.loads(json.dumps(page.cursor)) == page.cursor, "a cursor is JSON, and comes back as it was"
            assert page.request in {f"{one.method} {one.target}" for one in bench.hostile.heard}, page.request
            assert page.rejected == [], "an honest server breaks no contract"
            assert asked != "accounts" or page.complete is not None, "a sound connection's accounts are all of them"
            bodies = [one.body for one in bench.hostile.answered]
            for record in page.records:
                assert identifier(record.id) == record.id
                assert account_id is None or record.account_id == account_id
                whole = any(record.payload in body for body in reversed(bodies))
                assert whole or page.stream in dialect.composed, f"not a payload of the provider's: {record.payload!r}"
            brought[page.stream] += len(page.records)
    missing = {name for name in declared if not brought[name]}
    assert missing == dialect.empty, f"streams without a record: {missing}"
    connection = await bench.connect()
    await bench.done(connection)
    await bench.assert_true(connection)


async def days_of_syncs_hold_what_one_first_sync_brings(bench: Bench) -> None:
    """On each day the store is what the provider shows; in the end a new connection gets the same, and `full` no more."""
    connection, steps = await bench.live()
    for step in steps:
        assert (step.day, step.outcome) == (step.day, "done")
        assert (step.day, list(step.held_facts - step.truth)) == (step.day, []), "held, and not true"
        assert (step.day, list(step.truth - step.held_facts)) == (step.day, []), "true, and not held"
    fresh = await bench.connect()
    await bench.done(fresh)
    ours, theirs = _current(bench.rows(connection)), _current(bench.rows(fresh))
    assert [key for key in theirs if ours.get(key) != theirs[key]] == [], "brought by a first sync, and not held so"
    dialect = bench.dialect
    assert {stream for stream, _ in ours.keys() - theirs.keys()} <= dialect.readings | dialect.retained
    again = (await bench.sync(connection, full=True)).connections[0]
    assert (again.outcome, again.counts.new, again.counts.changed, again.counts.removed) == ("done", 0, 0, 0)


async def nothing_new_costs_nothing(bench: Bench) -> None:
    """A sync of nothing new writes no row version, moves no revision, and asks for little."""
    connection = await bench.connect()
    first = await bench.done(connection)
    before, places = len(bench.hostile.heard), bench.places(connection)
    quiet = await bench.done(connection)
    assert replace(quiet.counts, unchanged=0) == Counts()
    assert [place for place in bench.places(connection) if place not in places] == [], "written again"
    accounts = sum(stream == "accounts" for stream, _ in _current(bench.rows(connection)))
    assert len(bench.hostile.heard) - before <= bench.dialect.quiet(accounts)
    assert quiet.counts.records < first.counts.records / 2, "most of it was read again"


async def late_and_backdated_rows_are_found(bench: Bench) -> None:
    """A row that appears with a day before the last sync's is found by the next one."""
    late = [
        (after, fact)
        for before, after in pairwise(await bench.story())
        for fact in after.truth - before.truth
        if fact.status == "posted" and (fact.day or "") < before.day.isoformat() and not _named(before.truth, fact)
    ]
    _some(late, "a row that is backdated behind the last sync")
    for step, fact in late:
        assert step.held_facts[fact] == step.truth[fact], f"{fact} came late on {step.day}"


async def corrections_are_new_versions(bench: Bench) -> None:
    """A record that changes under its id is held as it is now, the older version in history."""
    corrected = [
        (before, after, was, fact)
        for before, after in pairwise(await bench.story())
        for fact in after.truth - before.truth
        for was in _named(before.truth, fact)
        if was.status != "pending"
    ]
    _some(corrected, "a correction")
    for before, after, was, fact in corrected:
        old, new = before.keys(was), after.keys(fact)
        assert old == new != set(), f"{was} became {fact} on {after.day}"
        for key in new:
            assert after.rows[key].version > before.rows[key].version


async def removals_are_marked(bench: Bench) -> None:
    """A record that the provider no longer shows is not current any more, and is never deleted."""
    gone = [
        (key, fact, after)
        for before, after in pairwise(await bench.story())
        for key, fact in before.held.items()
        if fact in before.truth - after.truth and not _named(after.truth, fact) and after.truth[fact] == 0
    ]
    _some(gone, "a removal")
    for key, fact, step in gone:
        assert step.rows[key].removed is not None, f"{fact} was gone on {step.day}"


async def a_pending_row_posts_under_its_own_id(bench: Bench) -> None:
    """It stays one record, and is no longer pending."""
    posted = [
        (before, after, was, fact)
        for before, after in pairwise(await bench.story())
        for fact in after.truth - before.truth
        for was in _named(before.truth, fact)
        if was.status == "pending" and fact.status != "pending"
    ]
    _some(posted, "a pending row that posts under its id")
    for before, after, was, fact in posted:
        pending = before.keys(was)
        assert [before.rows[key].pending for key in pending] == [True], f"{was} on {before.day}"
        assert after.keys(fact) == pending, f"{fact} on {after.day}"
        assert [after.rows[key].pending for key in pending] == [False]


async def a_pending_row_posts_under_a_new_id(bench: Bench) -> None:
    """The posted row is current, the pending one superseded in the same sync: never both, never neither."""
    posted = [
        (after, key, fact)
        for before, after in pairwise(await bench.story())
        for key, was in before.held.items()
        if was.status == "pending" and was in before.truth - after.truth and not _named(after.truth, was)
        for fact in after.truth - before.truth
        if fact.status == "posted" and fact.amount == was.amount and not _named(before.truth, fact)
    ]
    _some(posted, "a pending row that posts under another id")
    for step, key, fact in posted:
        assert step.rows[key].removed == "superseded", f"{fact} was posted on {step.day}"
        assert step.held_facts[fact] == step.truth[fact]


async def a_long_absence_is_made_up_for(bench: Bench) -> None:
    """Who was away for longer than the provider remembers holds what it shows after one sync."""
    connection = await bench.connect()
    await bench.done(connection)
    bench.let_pass(ABSENCE)
    await bench.done(connection)
    await bench.assert_true(connection)


def _current(rows: Rows) -> dict[tuple[str, str], bytes]:
    return {key: row.payload for key, row in rows.items() if row.removed is None}


def _named(facts: Counter[Fact], one: Fact) -> list[Fact]:
    """The facts of the same record, where it has an id."""
    return [fact for fact in facts if one.id is not None and (fact.stream, fact.id) == (one.stream, one.id)]


def _some(found: Sequence[object], what: str) -> None:
    if not found:
        raise Vacuous(f"expected {what} in the days of the story, found none: choose another seed")


CHECKS = (
    each_stream_keeps_its_contract,
    days_of_syncs_hold_what_one_first_sync_brings,
    nothing_new_costs_nothing,
    late_and_backdated_rows_are_found,
    corrections_are_new_versions,
    removals_are_marked,
    a_pending_row_posts_under_its_own_id,
    a_pending_row_posts_under_a_new_id,
    a_long_absence_is_made_up_for,
)
