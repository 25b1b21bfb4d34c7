"""How whole the data is: completeness of each provider, and the findings, day after day.

Counted from the store, so that a verification shows as soon as it has ended; ``fct_verifications`` says the same of each
connection, in the lake.
"""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from psycopg.rows import class_row

from ledgerlake.integrity import completeness as whole
from ledgerlake.store import Store


@dataclass(frozen=True)
class Complete:
    """How one provider fared in a day's last verification of all connections, at all steps together.

    Attributes:
        late: has not come to where it belongs yet, and has had little time to.
        wrong: is there more than once, or otherwise than the step before has it, or should not be there.
    """

    day: dt.date
    provider: str
    compared: int
    matched: int
    missing: int
    late: int
    wrong: int
    excluded: int

    @property
    def per_mille(self) -> Decimal | None:
        """Of a thousand records those that are where they should be; None where nothing was compared."""
        return whole(self.compared, self.missing, self.late)


@dataclass(frozen=True)
class FindingDay:
    """How many findings the last verification of all connections saw on a day."""

    day: dt.date
    findings: int
    compared: int


_LAST_OF_DAY = """
    SELECT DISTINCT ON ((started_at AT TIME ZONE 'UTC')::date)
           (started_at AT TIME ZONE 'UTC')::date AS day, verification_id, findings, compared
    FROM ledgerlake.verifications
    WHERE connections IS NULL AND error IS NULL AND ended_at IS NOT NULL AND started_at > now() - make_interval(days => %(days)s)
    ORDER BY 1, started_at DESC, verification_id
"""


def completeness(store: Store, days: int) -> list[Complete]:
    """Of each of the last days that was verified, each provider."""
    with store.connect() as postgres, postgres.cursor(row_factory=class_row(Complete)) as cursor:
        return cursor.execute(
            f"""
            SELECT last.day, connections.provider, sum(results.compared)::bigint AS compared,
                   sum(results.matched)::bigint AS matched, sum(results.missing)::bigint AS missing,
                   sum(results.late)::bigint AS late,
                   sum(results.unexpected + results.duplicate + results.mismatched)::bigint AS wrong,
                   sum(results.excluded)::bigint AS excluded
            FROM ({_LAST_OF_DAY}) AS last
            JOIN ledgerlake.verification_results AS results USING (verification_id)
            JOIN ledgerlake.connections AS connections USING (connection_id)
            GROUP BY 1, 2 ORDER BY 1, 2
            """,  # noqa: S608 (the text above)
            {"days": days},
        ).fetchall()


def finding_days(store: Store, days: int) -> list[FindingDay]:
    """Of each of the last days that was verified, its findings."""
    with store.connect() as postgres, postgres.cursor(row_factory=class_row(FindingDay)) as cursor:
        return cursor.execute(
            f"SELECT day, findings, compared FROM ({_LAST_OF_DAY}) AS last ORDER BY day",  # noqa: S608 (the text above)
            {"days": days},
        ).fetchall()
