"""The audit log: who did what, to what, when, and what it was before and after."""

import datetime as dt
from dataclasses import dataclass

import psycopg


@dataclass(frozen=True)
class Act:
    """One line of the audit log. No value in it is a secret."""

    at: dt.datetime
    actor: str
    act: str
    target: str | None
    before: str | None
    after: str | None


def audit(
    postgres: psycopg.Connection,
    actor: str,
    act: str,
    target: str | None = None,
    *,
    before: str | None = None,
    after: str | None = None,
) -> None:
    """Add a line, in the caller's transaction: an act and its line are there together, or neither is."""
    clean = [text and text.replace("\0", "\\0") for text in (actor, act, target, before, after)]
    postgres.execute(
        "INSERT INTO ledgerlake.audit_log (actor, act, target, before, after) VALUES (%s, %s, %s, %s, %s)", clean
    )


def audit_log(
    postgres: psycopg.Connection,
    *,
    target: str | None = None,
    actor: str | None = None,
    act: str | None = None,
    since: dt.date | None = None,
    until: dt.date | None = None,
    most: int = 200,
) -> list[Act]:
    """The newest lines first: of one target or actor, with a text in the act, of days in UTC; or all."""
    rows = postgres.execute(
        """
        SELECT at, actor, act, target, before, after FROM ledgerlake.audit_log
        WHERE (%(target)s::text IS NULL OR target = %(target)s)
          AND (%(actor)s::text IS NULL OR actor = %(actor)s)
          AND (%(act)s::text IS NULL OR position(lower(%(act)s) IN lower(act)) > 0)
          AND (%(since)s::date IS NULL OR at >= %(since)s::timestamp AT TIME ZONE 'UTC')
          AND (%(until)s::date IS NULL OR at < (%(until)s::date + 1)::timestamp AT TIME ZONE 'UTC')
        ORDER BY audit_id DESC LIMIT %(most)s
        """,
        {"target": target, "actor": actor, "act": act, "since": since, "until": until, "most": most},
    )
    return [Act(*row) for row in rows]
