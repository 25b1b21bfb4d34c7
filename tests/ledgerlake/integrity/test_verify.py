"""Verification: each fault is found once, at the step and model where it is, with the records that it concerns."""

import datetime as dt
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import httpx
import psycopg
import pytest
import yaml  # type: ignore[import-untyped]

from ledgerlake.integrity._steps import Steps
from ledgerlake.lake import PROJECT, Lake
from tests.ledgerlake.integrity.house import TODAY, House


def test_a_clean_house_has_no_finding_and_every_record_in_one_class(house: House) -> None:
    report = house.verify()
    assert report.findings == ()
    assert report.compared == sum(one.compared for one in report.classes if one.step == "raw")
    for one in report.classes:
        parts = (one.matched, one.missing, one.unexpected, one.duplicate, one.mismatched, one.late, one.excluded)
        assert (sum(parts), min(parts)) == (one.compared, 0)
    assert {one.step for one in report.classes} == {"raw", "staging", "marts"}


# A model, what its SQL has, and what it has instead: each fault is in another model or in other records.
_PICK = "hash({id}) % 10 = {digit}"
_TXN = "provider_transaction_id"
_FAULTS = [
    (
        "stg_teller__transactions",
        "select * from renamed",
        f"select * from renamed where not ({_PICK.format(id=_TXN, digit=1)})",
    ),
    (
        "int_transactions",
        "select * from judged",
        "select * replace (if(provider = 'plaid' and "
        + _PICK.format(id=_TXN, digit=2)
        + ", -amount, amount) as amount) from judged union all select * from judged where provider = 'teller' and "
        + _PICK.format(id=_TXN, digit=3),
    ),
    (
        "fct_transactions",
        "where excluded_because is null",
        f"where excluded_because is null and not (provider = 'plaid' and {_PICK.format(id=_TXN, digit=4)})",
    ),
    (
        "fct_transactions",
        "        booked_on,",
        f"        if(provider = 'teller' and {_PICK.format(id=_TXN, digit=5)}, (booked_on::timestamp - interval 5 hour)::date, booked_on) as booked_on,",
    ),
    ("fct_balances", "where excluded_because is null", "where excluded_because is null and provider <> 'plaid'"),
    ("fct_refunds", "        currency,", "        'XXX' as currency,"),
    (
        "stg_stripe__invoices",
        "{{ stripe_money('fields.total', 'fields.currency') }} as total",
        "trunc({{ stripe_money('fields.total', 'fields.currency') }})::decimal(28, 8) as total",
    ),
    (
        "int_stripe_balance_transactions",
        "when stripe.amount is null then 'no_amount'",
        f"when {_PICK.format(id='stripe.provider_balance_transaction_id', digit=6)} then 'no_amount'",
    ),
    ("customer_months", "select * from final", "select * from final where month <> '2026-01-01'"),
]


@pytest.fixture(scope="module")
def faulty(house: House, tmp_path_factory: pytest.TempPathFactory) -> House:
    """The house, built by models that have all those faults, and no tests that would stop them."""
    lost = f"select * from joined where provider_account_id <> '{_lost_account(house)}'"
    project = _project(tmp_path_factory.mktemp("project"), [*_FAULTS, ("int_accounts", "select * from joined", lost)])
    made = house.copy()
    Lake(made.where, made.settings, project).build()
    return made


def _lost_account(house: House) -> str:
    """The account of Teller with the most transactions."""
    found: str = house.ask(
        "select provider_account_id from fct_transactions where provider = 'teller' group by 1 order by count(*) desc, 1"
    )
    return found


def _project(folder: Path, faults: list[tuple[str, str, str]]) -> Path:
    project = folder / "dbt_project"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("target", "logs"))
    for path in (project / "models").rglob("*.yml"):
        path.write_text(yaml.safe_dump(_untested(yaml.safe_load(path.read_text()))))
    for model, before, after in faults:
        [path] = project.rglob(f"{model}.sql")
        text = path.read_text()
        assert before in text, (model, before)
        path.write_text(text.replace(before, after))
    return project


def _untested(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _untested(value) for key, value in node.items() if key not in {"data_tests", "tests"}}
    return [_untested(one) for one in node] if isinstance(node, list) else node


def test_each_fault_of_a_model_is_one_finding_with_its_records(house: House, faulty: House) -> None:
    """What a model lost with its account belongs to the account, but for what an earlier model lost."""
    count, account = house.ask, _lost_account(house)
    picks = {digit: _PICK.format(id=_TXN, digit=digit) for digit in range(1, 6)}

    def rows(digit: int, provider: str, also: str = "true") -> int:
        query = f"select count(*) from fct_transactions where provider = '{provider}' and {picks[digit]} and {also}"
        return int(count(query))

    others = f"provider_account_id <> '{account}'"
    balance_transactions = _PICK.format(id="provider_balance_transaction_id", digit=6)
    of_account = f"where account_key like '%:{account}'"
    expected = {
        ("missing", "staging", "stg_teller__transactions", "transactions", None): rows(1, "teller"),
        ("mismatch", "intermediate", "int_transactions", "transactions", "amount"): rows(2, "plaid"),
        ("duplicate", "intermediate", "int_transactions", "transactions", None): rows(3, "teller", others),
        ("missing", "marts", "fct_transactions", "transactions", None): rows(4, "plaid"),
        ("mismatch", "marts", "fct_transactions", "transactions", "day"): rows(5, "teller", others),
        ("missing", "marts", "fct_balances", "balances", None): count(
            "select count(*) from fct_balances where provider = 'plaid'"
        ),
        ("mismatch", "marts", "fct_refunds", "refunds", "currency"): count("select count(*) from fct_refunds"),
        ("mismatch", "staging", "stg_stripe__invoices", "invoices", "amount"): count(
            "select count(*) from fct_invoices where total <> trunc(total)"
        ),
        ("missing", "intermediate", "int_stripe_balance_transactions", "balance_transactions", None): count(
            f"select count(*) from fct_balance_transactions where {balance_transactions}"
        ),
        ("missing", "marts", "customer_months", None, None): count(
            "select count(*) from customer_months where month = '2026-01-01'"
        ),
        ("missing", "intermediate", "int_accounts", "accounts", None): count(
            f"select count(*) from dim_accounts {of_account}"
        )
        + count(f"select count(*) from fct_transactions {of_account} and not ({picks[1]})")
        + count(f"select count(*) from fct_balances {of_account}"),
    }
    assert faulty.found() == expected
    assert min(expected.values()) > 0


def test_a_finding_tells_field_values_and_money(house: House, faulty: House) -> None:
    by_model = {(one.model, one.kind): one for one in faulty.verify().findings}
    refunds = by_model["fct_refunds", "mismatch"]
    first = refunds.sample[0]
    assert (first.stream, first.field, first.found) == ("refunds", "currency", "XXX")
    assert first.expected == house.ask(
        f"select currency from fct_refunds where provider_refund_id = '{first.record_id}'"
    )
    turned = by_model["int_transactions", "mismatch"]
    assert all(one.expected == _negated(one.found) for one in turned.sample)
    pick = _PICK.format(id=_TXN, digit=2)
    at_risk = house.ask(f"select sum(abs(amount)) * 2 from fct_transactions where provider = 'plaid' and {pick}")
    assert sum(turned.money.values()) == at_risk
    untrue = by_model["int_stripe_balance_transactions", "missing"]
    assert {one.reason for one in untrue.sample} == {"no_amount"}
    assert untrue.message.startswith(f"expected {untrue.records:,} records of balance_transactions in int_stripe_")


def _negated(text: str | None) -> str:
    assert text is not None
    return text[1:] if text.startswith("-") else f"-{text}"


_ONE = "(SELECT min(record_id) FROM raw.teller_transactions WHERE NOT pending)"


_PLANTS = {
    ("missing", "raw", None): "DELETE FROM raw.teller_transactions WHERE record_id = %(record)s",
    ("mismatch", "raw", "amount"): """
        UPDATE raw.teller_transactions SET payload = replace(payload::text, '"amount":"', '"amount":"9')::json
        WHERE record_id = %(record)s
    """,
    ("mismatch", "raw", "payload"): """
        UPDATE raw.teller_transactions SET payload = (payload::text || ' ')::json WHERE record_id = %(record)s
    """,
    ("unexpected", "raw", None): """
        INSERT INTO raw.teller_transactions
        SELECT bucket, connection_id, record_id || '_made_up', account_id, record_date, pending, payload, hash, version, -1,
               first_synced_at, synced_at, removed_at, removed_reason
        FROM raw.teller_transactions WHERE record_id = %(record)s
    """,
}


def test_each_row_changed_in_raw_is_one_finding_of_raw_and_of_nothing_later(mine: House) -> None:
    """One fault in each connection: its finding has that one record, and it is told nowhere else."""
    firsts = mine.run("SELECT connection_id, min(record_id) FROM raw.teller_transactions WHERE NOT pending GROUP BY 1")
    expected = {}
    with psycopg.connect(mine.where.postgres_url, autocommit=True) as store:
        for (key, plant), (connection_id, record_id) in zip(_PLANTS.items(), firsts, strict=True):
            store.execute(plant, {"record": record_id})
            name = f"{record_id}_made_up" if key[0] == "unexpected" else record_id
            expected[key] = (connection_id, "transactions", 1, [name])
        store.execute(
            "UPDATE raw.plaid_accounts SET synced_at = synced_at + interval '1 s' "
            "WHERE record_id = (SELECT min(record_id) FROM raw.plaid_accounts)"
        )
    report = mine.verify()
    found = {
        (one.kind, one.step, one.field): (
            one.connection_id,
            one.stream,
            one.records,
            [behind.record_id for behind in one.sample],
        )
        for one in report.findings
    }
    account = mine.run("SELECT min(record_id) FROM raw.plaid_accounts")[0][0]
    assert found == expected | {("mismatch", "staging", "synced_at"): (None, "accounts", 1, [account])}
    assert len(report.findings) == len(found)
    [altered] = [one for one in report.findings if one.field == "amount"]
    was, now = altered.sample[0].expected or "", altered.sample[0].found or ""
    assert now == ("-9" + was[1:] if was.startswith("-") else "9" + was)


def test_receipts_that_are_gone_are_told_with_the_rows_of_their_pages(mine: House) -> None:
    [(sync_id, rows)] = mine.run(
        """
        DELETE FROM ledgerlake.receipts WHERE (sync_id, page) = (
            SELECT sync_id, page FROM ledgerlake.receipts WHERE stream = 'transactions' AND new > 0 ORDER BY 1, 2 LIMIT 1
        )
        RETURNING sync_id, new
        """
    )
    [(connection_id,)] = mine.run("SELECT connection_id FROM ledgerlake.syncs WHERE sync_id = %s", sync_id)
    [finding] = mine.verify().findings
    assert (finding.kind, finding.step, finding.connection_id, finding.records) == (
        "missing",
        "receipts",
        connection_id,
        rows,
    )


@pytest.fixture(scope="module")
def counted(house: House) -> House:
    """The house, counted again at its sources."""
    made = house.copy()
    report = made.verify(census=True)
    assert report.findings == ()
    assert report.census is not None
    assert report.census.rows > 0
    return made


# What the source shows, changed in what the census noted: as if the syncs had not fetched it so.
_SOURCE = {
    ("missing", "source", None): """
        UPDATE ledgerlake.census_records SET record_id = record_id || '_new', hash = gen_random_uuid(),
               payload = replace(payload::text, record_id, record_id || '_new')::json WHERE record_id = %(record)s
    """,
    ("mismatch", "source", "amount"): """
        UPDATE ledgerlake.census_records SET hash = gen_random_uuid(),
               payload = replace(payload::text, '"amount":"', '"amount":"9')::json WHERE record_id = %(record)s
    """,
    ("unexpected", "source", None): "DELETE FROM ledgerlake.census_records WHERE record_id = %(record)s",
}


def test_what_the_source_shows_otherwise_than_raw_is_found_with_the_account(counted: House) -> None:
    mine = counted.copy()
    rows = mine.run(
        """
        SELECT DISTINCT ON (connection_id) connection_id, account_id, record_id FROM ledgerlake.census_records
        WHERE stream = 'transactions' AND connection_id IN (
            SELECT connection_id FROM ledgerlake.connections WHERE provider = 'teller'
        ) AND NOT pending AND record_date BETWEEN '2026-02-20' AND '2026-02-27' ORDER BY connection_id, record_id
        """
    )
    expected = {}
    with psycopg.connect(mine.where.postgres_url, autocommit=True) as store:
        for (key, plant), (connection_id, account_id, record_id) in zip(_SOURCE.items(), rows, strict=False):
            store.execute(plant, {"record": record_id})
            expected[key] = (connection_id, account_id, [f"{record_id}_new" if key[0] == "missing" else record_id])
    # A row that is under another id at the source is missing under that, and made up under the old one.
    connection_id, account_id, [renamed] = expected["missing", "source", None]
    found = {
        (one.kind, one.step, one.field, one.connection_id): (
            one.account_id,
            [behind.record_id for behind in one.sample],
        )
        for one in mine.verify().findings
    }
    assert found == {
        (*key, connection): (account, records) for key, (connection, account, records) in expected.items()
    } | {("unexpected", "source", None, connection_id): (account_id, [renamed.removesuffix("_new")])}


def test_an_account_that_was_never_fetched_is_one_finding_with_its_transactions(counted: House) -> None:
    mine = counted.copy()
    [(connection_id, account_id)] = mine.run(
        """
        SELECT connection_id, account_id FROM raw.teller_transactions JOIN ledgerlake.connections USING (connection_id)
        GROUP BY 1, 2 ORDER BY count(*) DESC, 2 LIMIT 1
        """
    )
    copied = mine.run(
        """
        INSERT INTO ledgerlake.census_records
            (read_id, position, connection_id, stream, account_id, record_id, record_date, pending, payload, hash)
        SELECT read_id, position + 1000000, connection_id, stream, 'acc_lost',
               CASE stream WHEN 'accounts' THEN 'acc_lost' ELSE record_id || '_lost' END, record_date, pending,
               replace(replace(payload::text, %s, 'acc_lost'), record_id, record_id || '_lost')::json, gen_random_uuid()
        FROM ledgerlake.census_records
        WHERE connection_id = %s AND (stream = 'accounts' AND record_id = %s OR stream = 'transactions' AND account_id = %s
            AND record_date < '2026-03-01')
        RETURNING stream
        """,
        account_id,
        connection_id,
        account_id,
        account_id,
    )
    assert {stream for (stream,) in copied} == {"accounts", "transactions"}
    [finding] = mine.verify().findings
    assert (finding.kind, finding.step, finding.stream, finding.account_id, finding.records) == (
        "missing",
        "source",
        "accounts",
        "acc_lost",
        len(copied),
    )
    assert (finding.sample[0].stream, finding.sample[0].record_id) == ("accounts", "acc_lost")


def test_what_is_dated_today_is_late_until_the_next_sync(counted: House) -> None:
    mine = counted.copy()
    changed = mine.run(
        """
        UPDATE ledgerlake.census_records SET record_id = record_id || '_new', record_date = %s, hash = gen_random_uuid(),
               payload = replace(replace(payload::text, record_id, record_id || '_new'), record_date::text, %s)::json
        WHERE (read_id, position) = (
            SELECT read_id, position FROM ledgerlake.census_records AS shown JOIN ledgerlake.connections USING (connection_id)
            WHERE provider = 'teller' AND stream = 'transactions' AND NOT pending
              AND record_date BETWEEN '2026-02-20' AND '2026-02-27'
            ORDER BY record_id LIMIT 1
        )
        RETURNING connection_id
        """,
        TODAY,
        TODAY.isoformat(),
    )
    assert len(changed) == 1
    report = mine.verify()
    assert [one.kind for one in report.findings] == ["unexpected"]  # the row that it was
    assert sum(one.late for one in report.classes if one.step == "source") == 1


def test_what_was_synced_since_the_build_is_late_and_a_finding_only_when_it_waits_too_long(mine: House) -> None:
    with httpx.Client(base_url=mine.server.control_url) as control:
        control.post("/clock", json={"today": "2026-03-04"})
        try:
            mine.sync(TODAY + dt.timedelta(days=3))
        finally:
            control.post("/clock", json={"today": TODAY.isoformat()})
    report = mine.verify()
    assert report.findings == ()
    assert sum(one.late for one in report.classes if one.step == "marts") > 0
    impatient = replace(mine, settings=mine.settings.model_copy(update={"publish_hours": 0}))
    [finding] = impatient.verify().findings
    assert (finding.kind, finding.step) == ("late", "published")
    assert finding.records == sum(one.late for one in report.classes if one.step == "staging")


def test_what_is_written_while_it_verifies_is_not_seen(mine: House, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Steps.read_published

    def late(steps: Steps) -> None:
        mine.run(f"DELETE FROM raw.teller_transactions WHERE record_id = {_ONE}")
        mine.run("UPDATE ledgerlake.connections SET revision = revision + 1")
        read(steps)

    monkeypatch.setattr(Steps, "read_published", late)
    monkeypatch.setattr(Steps, "read_raw", _then(Steps.read_raw, lambda: mine.run("DELETE FROM raw.teller_accounts")))
    assert mine.verify().findings == ()


def _then(first: Callable[[Steps], None], then: Callable[[], object]) -> Callable[[Steps], None]:
    def both(steps: Steps) -> None:
        first(steps)
        then()

    return both


@pytest.mark.parametrize(("model", "keep"), [("fct_transactions", 0.5), ("stg_plaid__transactions", 0.9)])
def test_a_file_that_lost_rows_is_one_finding_with_the_records(
    mine: House, restored: Callable[[str, bytes], None], tmp_path: Path, model: str, keep: float
) -> None:
    path, rows, _ = mine.file(model)
    kept = int(rows * keep)
    (tmp_path / "whole.parquet").write_bytes(mine.content(path))
    with duckdb.connect() as duck:
        duck.execute(f"COPY (FROM '{tmp_path}/whole.parquet' LIMIT {kept}) TO '{tmp_path}/less.parquet'")
    restored(path, (tmp_path / "less.parquet").read_bytes())
    [finding] = mine.verify().findings
    assert (finding.kind, finding.step, finding.model, finding.records) == ("missing", "published", model, rows - kept)
    assert len(finding.sample) == min(rows - kept, 1000)


def test_a_file_that_cannot_be_read_is_one_finding(mine: House, restored: Callable[[str, bytes], None]) -> None:
    path, rows, bucket = mine.file("fct_transactions")
    restored(path, b"no Parquet")
    [finding] = mine.verify().findings
    assert (finding.kind, finding.step, finding.model, finding.records) == (
        "missing",
        "published",
        "fct_transactions",
        rows,
    )
    assert f"bucket {bucket}: the file cannot be read" in finding.message


def test_a_file_that_was_written_again_with_the_same_rows_is_a_finding_without_records(
    mine: House, restored: Callable[[str, bytes], None], tmp_path: Path
) -> None:
    path, _, _ = mine.file("fct_charges")
    (tmp_path / "whole.parquet").write_bytes(mine.content(path))
    with duckdb.connect() as duck:
        duck.execute(f"COPY (FROM '{tmp_path}/whole.parquet') TO '{tmp_path}/again.parquet' (COMPRESSION uncompressed)")
    restored(path, (tmp_path / "again.parquet").read_bytes())
    assert mine.found() == {("mismatch", "published", "fct_charges", None, None): 0}


def _next_day(mine: House) -> None:
    mine.run("UPDATE raw.teller_transactions SET payload = payload, synced_at = now()")
    mine.run("UPDATE ledgerlake.connections SET revision = revision + 1 WHERE provider = 'teller'")


@pytest.fixture(scope="module")
def moved(house: House) -> House:
    """The house on the next day: every transaction of Teller came anew, and was built."""
    made = house.copy()
    _next_day(made)
    Lake(made.where, made.settings).build()
    return made


def test_a_rollback_is_a_finding_until_the_next_build(moved: House) -> None:
    assert moved.verify().findings == ()
    mine = moved.copy()
    lake = Lake(mine.where, mine.settings)
    lake.rollback()
    [finding] = mine.verify().findings
    changed = mine.run("SELECT count(*) FROM raw.teller_transactions")[0][0]
    assert (finding.kind, finding.step, finding.records) == ("late", "published", changed)
    assert "is a rollback to snapshot" in finding.message


def test_a_snapshot_of_an_older_build_is_a_finding_with_what_it_has_not(house: House, moved: House) -> None:
    mine = moved.copy()
    for _, paths in house.run(_FILES):
        for path in paths:
            mine.run(
                """
                UPDATE ducklake.ducklake_data_file f SET path = %s, file_size_bytes = old.file_size_bytes,
                    record_count = old.record_count
                FROM ducklake.ducklake_data_file old
                WHERE old.path = %s AND f.table_id = old.table_id AND f.end_snapshot IS NULL AND f.path LIKE %s
                """,
                path,
                path,
                f"%/{Path(path).name}",
            )
    [finding] = mine.verify().findings
    changed = mine.run("SELECT count(*) FROM raw.teller_transactions")[0][0]
    assert (finding.kind, finding.step, finding.records) == ("stale", "published", changed)


_FILES = """
    SELECT t.table_name, array_agg(f.path) FROM ducklake.ducklake_data_file f
    JOIN ducklake.ducklake_table t USING (table_id) WHERE f.end_snapshot IS NULL AND t.end_snapshot IS NULL GROUP BY 1
"""


def test_nothing_published_is_no_pass(mine: House) -> None:
    mine.run("DROP SCHEMA ducklake CASCADE")
    assert [(one.kind, one.step) for one in mine.verify().findings] == [("not_compared", "published")]


def test_a_check_that_breaks_off_is_a_finding(mine: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(steps: Steps) -> None:
        raise duckdb.OutOfMemoryException("no memory")

    monkeypatch.setattr(Steps, "read_published", broken)
    [finding] = mine.verify().findings
    assert (finding.kind, finding.step, "no memory" in finding.message) == ("not_compared", "published", True)


def test_only_the_connections_asked_for_are_looked_at(faulty: House) -> None:
    [(connection_id,)] = faulty.run("SELECT min(connection_id) FROM ledgerlake.connections WHERE provider = 'teller'")
    report = faulty.verify(connections=[connection_id])
    assert {one.connection_id for one in report.classes} == {connection_id}
    assert {
        behind.connection_id for one in report.findings for behind in one.sample if behind.stream != "customer_months"
    } == {connection_id}
    assert report.connections == 1


def test_a_finding_is_closed_when_its_difference_is_gone(mine: House) -> None:
    [(record_id, payload)] = mine.run(
        f"SELECT record_id, payload::text FROM raw.teller_transactions WHERE record_id = {_ONE}"
    )
    change = "UPDATE raw.teller_transactions SET payload = %s::json WHERE record_id = %s"
    mine.run(change, "{}", record_id)
    [finding] = mine.verify().findings
    assert _states(mine) == [(finding.fingerprint, "open")]
    mine.run(change, payload, record_id)
    assert mine.verify().findings == ()
    assert _states(mine) == [(finding.fingerprint, "resolved")]


def _states(mine: House) -> list[tuple[Any, ...]]:
    return mine.run("SELECT fingerprint, state FROM ledgerlake.findings ORDER BY 1")
