"""How PostgreSQL looks records up: by their whole key, whatever its statistics say."""

from typing import Any

import pytest
from psycopg import sql

from ledgerlake.ingest._writer import _MERGE, _SESSION

KEY = "Index Cond: ((bucket = 0) AND (connection_id = $1) AND (record_id = incoming.record_id))"

COLUMNS = {
    "ids": "text",
    "accounts": "text",
    "dates": "date",
    "pendings": "boolean",
    "hashes": "uuid",
    "payloads": "json",
}

FILL = """
INSERT INTO raw.teller_transactions_b0 (bucket, connection_id, record_id, account_id, record_date, pending, payload, hash,
                                        version, sync_id, first_synced_at, synced_at)
SELECT 0, 'con_' || n % %s, 'txn_' || n, 'acc_1', '2026-01-01', false, '{}', gen_random_uuid(), 1, 1, now(), now()
FROM generate_series(1, 20000) AS n
"""


@pytest.mark.parametrize("connections", [None, 1, 300], ids=["no rows", "one other connection", "many connections"])
def test_a_page_is_merged_by_key_into_a_table_of_any_content(desk: Any, connections: int | None) -> None:
    merge = sql.SQL(_MERGE).format(leaf=sql.Identifier("raw", "teller_transactions_b0"), bucket=sql.Literal(0))
    text = merge.as_string()
    numbers = {"connection": "$1"}
    for name in (
        *("provider", "stream", "sync", "watching", "page", "account", "request", "records", "rejected", "ids_hash"),
        *("size", "removed", "complete", "since", "cursor", "revise", "reading"),
    ):
        numbers[name] = f"${len(numbers) + 1}"
    for name, kind in COLUMNS.items():
        numbers[name] = f"${len(numbers) + 1}::{kind}[]"
    with desk.store.connect() as connection:
        if connections is not None:
            connection.execute(sql.SQL(FILL.replace("%s", "{}").replace("'{}'", "'{{}}'")).format(connections))
            connection.execute("ANALYZE raw.teller_transactions_b0")
        connection.execute(_SESSION)
        connection.execute(f"PREPARE merge AS {text % numbers}")  # type: ignore[arg-type]
        given = ["NULL"] * len(numbers)
        given[0] = "'con_new'"
        plan = [row for (row,) in connection.execute(f"EXPLAIN EXECUTE merge({', '.join(given)})")]  # type: ignore[arg-type]
    looked_up = [line.strip() for line in plan if "Cond: " in line]
    assert looked_up[:3] == [KEY, "TID Cond: (accepted.place = ctid)", "TID Cond: (accepted_1.place = ctid)"], plan
    assert not [line for line in plan if "Materialize" in line or "Seq Scan on teller" in line]
