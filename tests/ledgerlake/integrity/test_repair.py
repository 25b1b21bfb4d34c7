"""Repair: what is fetched or built again, what it changes and what it cannot, and that it is proved by the check itself."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
import stamina

from ledgerlake.errors import UsageError
from ledgerlake.ingest import sync
from ledgerlake.integrity import Findings, RepairReport, StoredFinding, repair
from ledgerlake.lake import Lake
from ledgerlake.store import Store
from tests.ledgerlake.integrity.house import TODAY, House

POSTED = """
    SELECT connection_id, record_id, payload::text FROM raw.teller_transactions
    WHERE NOT pending AND removed_at IS NULL AND record_date BETWEEN '2026-02-10' AND '2026-02-20'
    ORDER BY connection_id, record_id LIMIT 1
"""


@pytest.fixture(autouse=True)
def without_waiting() -> Iterator[None]:
    """What cannot be reached is asked again at once."""
    stamina.set_testing(True, attempts=2, cap=True)
    yield
    stamina.set_testing(False)


def found(mine: House) -> StoredFinding:
    """The one finding that a verification opens."""
    mine.verify()
    [finding] = Findings(Store(mine.where.postgres_url), mine.settings).listed()
    return finding


def mend(mine: House, finding: StoredFinding, **given: Any) -> RepairReport:
    return repair(mine.where, mine.settings, finding.finding_id, actor="ana", today=TODAY, **given)


def acts(mine: House, finding: StoredFinding) -> list[tuple[str, str]]:
    history = Findings(Store(mine.where.postgres_url), mine.settings).history(finding.finding_id)
    return [(one.actor, one.act) for one in history]


def test_a_row_that_was_deleted_is_fetched_again_and_the_finding_closes(mine: House) -> None:
    [(connection_id, record_id, payload)] = mine.run(POSTED)
    before = mine.ask("select (count(*), sum(amount)) from fct_transactions")
    mine.run("DELETE FROM raw.teller_transactions WHERE record_id = %s", record_id)
    finding = found(mine)
    assert (finding.kind, finding.step, finding.connection_id) == ("missing", "raw", connection_id)

    dry = mend(mine, finding, dry_run=True)
    assert (dry.dry_run, dry.steps[0][:14], dry.steps[-1]) == (
        *(True, "fetch account "),
        "verify again, and close the finding if it passes",
    )
    assert mine.run("SELECT FROM raw.teller_transactions WHERE record_id = %s", record_id) == []
    assert acts(mine, finding) == [("ledgerlake", "opened")]

    report = mend(mine, finding)

    assert (report.mended, report.finding.resolution, report.finding.repairs) == (True, "passed", 1)
    assert (report.counts.new, report.counts.changed, report.counts.removed) == (1, 0, 0)
    assert mine.run("SELECT payload::text FROM raw.teller_transactions WHERE record_id = %s", record_id) == [(payload,)]
    assert mine.ask("select (count(*), sum(amount)) from fct_transactions") == before
    assert mine.run("SELECT connection_id, stream, rows, versions, actor FROM ledgerlake.corrections") == [
        (connection_id, "transactions", 1, 0, "ana")
    ]
    assert acts(mine, finding) == [
        ("ledgerlake", "opened"),
        ("ana", "repair begun"),
        ("ledgerlake", "closed"),
        ("ana", "repair ended"),
    ]
    assert mine.verify().findings == ()
    with pytest.raises(UsageError, match="is resolved; there is nothing to repair"):
        mend(mine, finding)


def test_a_row_that_was_deleted_before_the_last_build_is_named_by_an_older_snapshot_and_fetched_again(
    mine: House,
) -> None:
    [(connection_id, record_id, payload)] = mine.run(POSTED)
    [(bucket,)] = mine.run("SELECT bucket FROM ledgerlake.connections WHERE connection_id = %s", connection_id)
    before = mine.ask("select (count(*), sum(amount)) from fct_transactions")
    mine.run("DELETE FROM raw.teller_transactions WHERE record_id = %s", record_id)
    Lake(mine.where, mine.settings).build([bucket])
    assert mine.ask("select (count(*), sum(amount)) from fct_transactions") != before

    finding = found(mine)

    assert (finding.kind, finding.step, finding.provider, finding.records) == ("missing", "raw", "teller", 1)
    [behind] = Findings(Store(mine.where.postgres_url), mine.settings).records(finding.finding_id)
    assert (behind.stream, behind.record_id) == ("transactions", record_id)
    assert mend(mine, finding).mended
    assert mine.run("SELECT payload::text FROM raw.teller_transactions WHERE record_id = %s", record_id) == [(payload,)]
    assert mine.ask("select (count(*), sum(amount)) from fct_transactions") == before


def test_a_row_that_a_sync_brought_back_is_taken_down_once_and_no_other_is_taken_for_it(mine: House) -> None:
    [(connection_id, back, _), (_, lost, _)] = mine.run(POSTED.replace("LIMIT 1", "LIMIT 2"))
    mine.run("DELETE FROM raw.teller_transactions WHERE record_id = %s", back)
    asyncio.run(
        sync(Store(mine.where.postgres_url), mine.settings, connections=[connection_id], full=True, today=TODAY)
    )
    mine.run("DELETE FROM raw.teller_transactions WHERE record_id = %s", lost)
    away = replace(mine, settings=mine.settings.model_copy(update={"teller_url": "http://127.0.0.1:1"}))

    finding = found(mine)
    assert (finding.kind, finding.records) == ("missing", 2)
    for _ in range(2):
        report = mend(away, finding)
        assert (report.mended, report.finding.records) == (False, 1)
    [behind] = Findings(Store(mine.where.postgres_url), mine.settings).records(finding.finding_id)
    assert behind.record_id == lost

    assert mine.run("SELECT stream, rows FROM ledgerlake.corrections") == [("transactions", 1)]


def test_a_row_that_was_altered_is_what_the_source_says_again_and_the_altered_one_is_kept(mine: House) -> None:
    [(connection_id, record_id, payload)] = mine.run(POSTED)
    altered = payload.replace('"amount":"', '"amount":"9', 1)
    mine.run("UPDATE raw.teller_transactions SET payload = %s::json WHERE record_id = %s", altered, record_id)
    finding = found(mine)
    assert (finding.kind, finding.step, finding.connection_id) == ("mismatch", "raw", connection_id)

    report = mend(mine, finding)

    assert (report.mended, report.counts.new, report.counts.changed) == (True, 0, 1)
    assert mine.run("SELECT payload::text FROM raw.teller_transactions WHERE record_id = %s", record_id) == [(payload,)]
    assert mine.run("SELECT payload::text FROM raw.history WHERE record_id = %s", record_id) == [(altered,)]
    assert mine.verify().findings == ()


def test_a_published_file_that_lost_rows_is_built_again(
    mine: House, restored: Callable[[str, bytes], None], tmp_path: Path
) -> None:
    before = mine.ask("select count(*) from fct_transactions")
    path, rows, _ = mine.file("fct_transactions")
    (tmp_path / "whole.parquet").write_bytes(mine.content(path))
    with duckdb.connect() as duck:
        duck.execute(f"COPY (FROM '{tmp_path}/whole.parquet' LIMIT {rows // 2}) TO '{tmp_path}/less.parquet'")
    restored(path, (tmp_path / "less.parquet").read_bytes())
    finding = found(mine)

    report = mend(mine, finding)

    assert (report.mended, report.counts.records, report.snapshot is not None) == (True, 0, True)
    assert mine.ask("select count(*) from fct_transactions") == before


def test_what_a_person_has_to_mend_is_said_and_nothing_is_done(mine: House) -> None:
    [(connection_id, record_id, _)] = mine.run(POSTED)
    mine.run(
        """
        INSERT INTO raw.teller_transactions
        SELECT bucket, connection_id, record_id || '_made_up', account_id, record_date, pending, payload, hash, version, -1,
               first_synced_at, synced_at, removed_at, removed_reason
        FROM raw.teller_transactions WHERE record_id = %s
        """,
        record_id,
    )
    finding = found(mine)
    assert (finding.kind, finding.connection_id) == ("unexpected", connection_id)
    with pytest.raises(UsageError, match="cannot be repaired by Ledgerlake alone"):
        mend(mine, finding)
    assert acts(mine, finding) == [("ledgerlake", "opened")]


def test_a_repair_that_the_provider_refuses_leaves_the_finding_open_and_everything_as_it_was(mine: House) -> None:
    [(_, record_id, _)] = mine.run(POSTED)
    mine.run("DELETE FROM raw.teller_transactions WHERE record_id = %s", record_id)
    finding = found(mine)
    rows = mine.run("SELECT count(*) FROM raw.teller_transactions")
    away = replace(mine, settings=mine.settings.model_copy(update={"teller_url": "http://127.0.0.1:1"}))
    said: list[str] = []

    report = mend(away, finding, say=said.append)

    assert (report.mended, report.finding.state, report.finding.repairs) == (False, "open", 1)
    assert any(one.startswith("the fetch did not come to its end, so nothing is built: ") for one in said)
    assert mine.run("SELECT count(*) FROM raw.teller_transactions") == rows
    assert mine.run("SELECT count(*) FROM ledgerlake.corrections") == [(0,)]


def test_two_repairs_of_one_finding_do_not_run_at_once(mine: House) -> None:
    [(_, record_id, _)] = mine.run(POSTED)
    mine.run("DELETE FROM raw.teller_transactions WHERE record_id = %s", record_id)
    finding = found(mine)
    with psycopg.connect(mine.where.postgres_url, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(hashtextextended('finding ' || %s::text, 0))", (finding.finding_id,))
        with pytest.raises(UsageError, match="is being repaired already"):
            mend(mine, finding)
    assert acts(mine, finding) == [("ledgerlake", "opened")]
