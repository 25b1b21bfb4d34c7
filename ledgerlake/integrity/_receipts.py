"""Receipts against raw: what the syncs took down of each page, and what the store holds.

A page's rows, its receipt and the counts of its sync are committed together, so a difference is a change from outside.
Does not belong here: what the rows say (``_verify`` compares them with what is published and with the source).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg

from ledgerlake.integrity._report import SAMPLE, Behind, Finding

Place = tuple[str, str]
"""Connection and stream."""

_TOLD = """
WITH told AS (
    SELECT syncs.connection_id, receipts.stream, sum(receipts.new) AS new, sum(receipts.changed) AS changed
    FROM ledgerlake.receipts AS receipts JOIN ledgerlake.syncs AS syncs USING (sync_id)
    GROUP BY 1, 2
),
kept AS (
    SELECT connection_id, stream, count(*) AS versions FROM raw.history GROUP BY 1, 2
),
corrected AS (
    SELECT connection_id, stream, sum(rows) AS rows, sum(versions) AS versions
    FROM ledgerlake.corrections GROUP BY 1, 2
)
SELECT connection_id, stream,
       (coalesce(told.new, 0) - coalesce(corrected.rows, 0))::bigint,
       (coalesce(told.changed, 0) - coalesce(corrected.versions, 0))::bigint,
       coalesce(kept.versions, 0)::bigint
FROM told FULL JOIN kept USING (connection_id, stream) FULL JOIN corrected USING (connection_id, stream)
"""

_ODD = """
SELECT syncs.connection_id, receipts.stream, receipts.account_id, receipts.sync_id, receipts.page,
       receipts.items, receipts.new + receipts.changed + receipts.unchanged + receipts.rejected
FROM ledgerlake.receipts AS receipts JOIN ledgerlake.syncs AS syncs USING (sync_id)
WHERE receipts.items <> receipts.new + receipts.changed + receipts.unchanged + receipts.rejected
ORDER BY 1, 2, 4, 5
"""

# The pages of a sync are numbered without a gap, and when it ends it takes down itself how many records were new.
_PAGES = """
SELECT connection_id, sync_id, numbered - kept AS gap, CASE WHEN ended_at IS NULL THEN 0 ELSE new - told END AS rows
FROM (
    SELECT syncs.connection_id, syncs.sync_id, syncs.ended_at, syncs.new::bigint, coalesce(max(receipts.page), 0) AS numbered,
           count(receipts.page) AS kept, coalesce(sum(receipts.new), 0)::bigint AS told
    FROM ledgerlake.syncs AS syncs LEFT JOIN ledgerlake.receipts AS receipts USING (sync_id)
    GROUP BY syncs.sync_id
) AS counted
WHERE numbered > kept OR ended_at IS NOT NULL AND new > told
ORDER BY 1, 2
"""

_QUARANTINED = """
SELECT connection_id, provider, stream, account_id, coalesce(record_id, 'quarantine:' || hash::text), reason
FROM raw.quarantine WHERE released_at IS NULL ORDER BY 1, 3, quarantine_id
"""


@dataclass(frozen=True)
class Told:
    """What receipts tell of one stream of a connection, and what the store has of it: `lacking` is negative for too many."""

    rows: int
    held: int
    versions: int
    kept: int

    @property
    def lacking(self) -> int:
        return self.rows - self.held


@dataclass(frozen=True)
class Skipped:
    """Pages of one connection that have no receipt, in words, and how many new records were on them."""

    pages: str
    rows: int


def told(postgres: psycopg.Connection, held: Mapping[Place, int]) -> dict[Place, Told]:
    """Each stream of each connection; `held` is how many raw records there are."""
    found = {
        (connection_id, stream): Told(rows, held.get((connection_id, stream), 0), versions, kept)
        for connection_id, stream, rows, versions, kept in postgres.execute(_TOLD)
    }
    return found | {place: Told(0, count, 0, 0) for place, count in held.items() if place not in found}


def versions(all_told: Mapping[Place, Told]) -> list[Finding]:
    """Each changed record stands in one receipt and leaves one version in the history."""
    return [
        Finding(
            kind="missing" if one.kept < one.versions else "unexpected",
            step="raw",
            field="history",
            connection_id=connection_id,
            stream=stream,
            records=abs(one.versions - one.kept),
            message=(
                f"expected {one.versions:,} superseded versions in raw.history, as the receipts tell, found {one.kept:,}: "
                "the store was changed from outside"
            ),
        )
        for (connection_id, stream), one in sorted(all_told.items())
        if one.versions != one.kept
    ]


def skipped(postgres: psycopg.Connection) -> dict[str, Skipped]:
    """By connection the pages that have no receipt: each page of a sync has one."""
    lost: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for connection_id, sync_id, gap, rows in postgres.execute(_PAGES):
        lost[connection_id].append((sync_id, gap, rows))
    return {
        connection_id: Skipped(
            ", ".join(
                f"{gap or 'the last'} page{'' if gap == 1 else 's'} of sync {sync_id}" for sync_id, gap, _ in ones
            ),
            sum(max(rows, 0) for _, _, rows in ones),
        )
        for connection_id, ones in lost.items()
    }


def items(postgres: psycopg.Connection) -> list[Finding]:
    """Each receipt accounts for each item of its page."""
    found = []
    odd: dict[Place, list[Behind]] = defaultdict(list)
    for connection_id, stream, account_id, sync_id, page, items, accounted in postgres.execute(_ODD):
        odd[connection_id, stream].append(
            Behind(
                connection_id, stream, account_id, f"sync {sync_id}, page {page}", "items", str(items), str(accounted)
            )
        )
    for (connection_id, stream), behind in odd.items():
        first = behind[0]
        found.append(
            Finding(
                kind="mismatch",
                step="receipts",
                field="items",
                connection_id=connection_id,
                stream=stream,
                records=len(behind),
                sample=tuple(behind[:SAMPLE]),
                message=(
                    f"{first.record_id} showed {first.expected} items, and its receipt accounts for {first.found}: "
                    "each is new, changed, unchanged or rejected"
                ),
            )
        )
    return found


def quarantined(postgres: psycopg.Connection) -> list[Finding]:
    """What is in quarantine now, by connection and stream."""
    found: dict[tuple[str, str, str], list[Behind]] = defaultdict(list)
    for connection_id, provider, stream, account_id, record_id, reason in postgres.execute(_QUARANTINED):
        found[connection_id, provider, stream].append(
            Behind(connection_id, stream, account_id, record_id, reason=reason)
        )
    return [
        Finding(
            kind="quarantined",
            step="raw",
            provider=provider,
            connection_id=connection_id,
            stream=stream,
            records=len(behind),
            sample=tuple(behind[:SAMPLE]),
            message="in quarantine: " + _reasons(behind),
        )
        for (connection_id, provider, stream), behind in found.items()
    ]


def _reasons(behind: Sequence[Behind]) -> str:
    reasons = list(dict.fromkeys(one.reason or "" for one in behind))
    return "; ".join(reasons[:3]) + (f"; and {len(reasons) - 3} more reasons" if len(reasons) > 3 else "")
