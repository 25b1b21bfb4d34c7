"""What older snapshots of the lake still hold of the rows that raw has lost, after a build has published the loss.

Belongs here: finding lost rows in the files of older snapshots. Does not belong here: that rows are lost (``_receipts``),
and what it means (``_causes``).

Receipts count, they name nobody: of rows that went while they were published the newest snapshot tells which, and of
rows that went before the last build an older one does, as long as it is kept.
"""
# ruff: noqa: S608 (names are the project's own models; values go as parameters)

import datetime as dt
from collections.abc import Mapping

import duckdb

from ledgerlake.integrity._steps import MONEY, Steps, Stream
from ledgerlake.lake import Name, Reading

_LOST = {
    "record_id": "VARCHAR",
    "account_id": "VARCHAR",
    "dated": "DATE",
    "risk": MONEY,
    "risk_currency": "VARCHAR",
}


def lost(steps: Steps, stream: Stream, connection_id: str, bucket: int, lacking: int) -> int:
    """Make ``lost``: at most `lacking` rows that older snapshots hold and raw does not; returns how many.

    Files are read from the newest on, until as many are found; one that cannot be read is passed over.
    """
    duck, name = steps.at.duck, _staging(stream)
    listed = ", ".join(f"{column} {kind}" for column, kind in _LOST.items())
    duck.execute(f"CREATE OR REPLACE TEMP TABLE lost ({listed})")
    if name not in steps.at.tables:
        return 0
    told, columns = steps.inner(stream, stream.staging), steps.columns(stream.staging)
    values = {
        "record_id": stream.key,
        "account_id": "provider_account_id" if "provider_account_id" in columns else "NULL",
        "dated": told.get("day", "NULL"),
        "risk": f"abs({told['amount']})" if "amount" in told else "NULL",
        "risk_currency": told.get("currency", "NULL"),
    }
    shown = ", ".join(f"({value})::{_LOST[column]} AS {column}" for column, value in values.items())
    found = 0
    for relation in steps.at.earlier(name, bucket):
        if found >= lacking:
            break
        try:
            duck.execute(
                f"""
                INSERT INTO lost
                SELECT DISTINCT ON (record_id) * FROM (SELECT {shown} FROM {relation} WHERE connection_id = $connection)
                WHERE record_id NOT IN (SELECT record_id FROM records WHERE connection_id = $connection AND stream = $stream)
                  AND record_id NOT IN (SELECT record_id FROM caused WHERE connection_id = $connection AND of_stream = $stream)
                  AND record_id NOT IN (SELECT record_id FROM lost)
                ORDER BY record_id LIMIT $most
                """,
                {"connection": connection_id, "stream": stream.name, "most": lacking - found},
            )
        except duckdb.Error:
            continue
        [(found,)] = duck.execute("SELECT count(*) FROM lost").fetchall()
    return found


def returned(
    at: Reading, stream: Stream, connection_id: str, bucket: int, first: Mapping[str, dt.datetime]
) -> set[str]:
    """Which rows were deleted from raw and came back: published before raw saw them first.

    Args:
        first: of each record id when raw saw it first.
    """
    name, duck = _staging(stream), at.duck
    if name not in at.tables or not first:
        return set()
    duck.execute(
        "CREATE OR REPLACE TEMP TABLE firsts AS SELECT unnest(?::VARCHAR[]) AS record_id, unnest(?::TIMESTAMPTZ[]) AS first_at",
        [list(first), list(first.values())],
    )
    found = set()
    for relation in (at.relation(name), *at.earlier(name, bucket)):
        try:
            rows = duck.execute(
                f"""
                SELECT record_id FROM (SELECT {stream.key} AS record_id, synced_at FROM {relation} WHERE connection_id = ?)
                JOIN firsts USING (record_id) WHERE synced_at < first_at
                """,
                [connection_id],
            ).fetchall()
        except duckdb.Error:
            continue
        found |= {record_id for (record_id,) in rows}
    return found


def _staging(stream: Stream) -> Name:
    return ("staging", stream.staging)
