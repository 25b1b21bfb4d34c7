"""Summaries against the tables that they sum up: customer_months, counted again from what is published.

A summary has no record's key, so what it lost is found by counting again. Does not belong here: whether the tables
that it sums up are right (``_verify``).
"""
# ruff: noqa: S608 (names are the project's own models)

from collections.abc import Iterable

from ledgerlake.integrity._compare import compare
from ledgerlake.integrity._report import SAMPLE, Behind, Finding, Repair
from ledgerlake.integrity._steps import Steps

_WIDE = "DECIMAL(38, 8)"
_KEY = ("bucket", "customer_id", "month", "currency")
_FIELDS = ("inflow", "outflow", "net", "closing_balance")
_MODEL = "customer_months"
_OF = ("fct_transactions", "fct_balances")


def months(steps: Steps, wrong: Iterable[tuple[str, int | None]]) -> list[Finding]:
    """Count customer_months again; `wrong` are models and buckets whose files are not what was published."""
    tables = steps.at.tables
    if not all(("main", model) in tables for model in (_MODEL, *_OF)):
        return []
    places = steps.at.record.places()
    broken = {bucket for model, bucket in wrong if model in {_MODEL, *_OF}}
    buckets = [
        bucket
        for bucket in steps.at.revisions
        if bucket not in broken
        and len({part.revisions[bucket] for model in (_MODEL, *_OF) if (part := places.get((model, bucket)))}) == 1
    ]
    if not buckets:
        return []
    listed = f"bucket IN ({', '.join(map(str, buckets))})"
    transactions, balances, summary = (steps.relation(("main", model)) for model in (*_OF, _MODEL))
    again = f"""(
        WITH moved AS (
            SELECT bucket, customer_id, currency, date_trunc('month', booked_on)::DATE AS month,
                   coalesce(sum(greatest(amount, 0)), 0)::{_WIDE} AS inflow,
                   coalesce(sum(greatest(-amount, 0)), 0)::{_WIDE} AS outflow, sum(amount)::{_WIDE} AS net
            FROM {transactions} WHERE status = 'posted' AND {listed} GROUP BY ALL
        ),
        newest AS (
            SELECT bucket, customer_id, currency, date_trunc('month', as_of)::DATE AS month, account_key, booked
            FROM {balances} WHERE booked IS NOT NULL AND {listed}
            QUALIFY row_number() OVER (
                PARTITION BY bucket, customer_id, currency, date_trunc('month', as_of), account_key ORDER BY as_of DESC
            ) = 1
        ),
        closed AS (
            SELECT bucket, customer_id, currency, month, sum(booked)::{_WIDE} AS closing_balance FROM newest GROUP BY ALL
        )
        SELECT bucket, customer_id, month, currency, coalesce(inflow, 0)::{_WIDE} AS inflow,
               coalesce(outflow, 0)::{_WIDE} AS outflow, coalesce(net, 0)::{_WIDE} AS net, closing_balance
        FROM moved FULL JOIN closed USING (bucket, customer_id, month, currency)
    )"""
    found = compare(
        steps.at.duck,
        again,
        f"(SELECT {', '.join((*_KEY, *_FIELDS))} FROM {summary} WHERE {listed})",
        key=_KEY,
        group=("bucket",),
        fields=_FIELDS,
        into="month_differences",
    )
    return [_finding(steps, kind, count) for kind, count in found.counts.items()]


def _finding(steps: Steps, kind: str, count: int) -> Finding:
    rows = steps.at.duck.execute(
        f"""
        SELECT customer_id, month::VARCHAR, currency, fields[1],
               CASE fields[1] {" ".join(f"WHEN '{name}' THEN expected_{name}::VARCHAR" for name in _FIELDS)} END,
               CASE fields[1] {" ".join(f"WHEN '{name}' THEN found_{name}::VARCHAR" for name in _FIELDS)} END
        FROM month_differences WHERE class = ? ORDER BY ALL LIMIT {SAMPLE}
        """,
        [kind],
    ).fetchall()
    sample = tuple(
        Behind("", _MODEL, None, f"{customer}:{month}:{currency}", field, expected, found)
        for customer, month, currency, field, expected, found in rows
    )
    money = dict(
        steps.at.duck.execute(
            """
            SELECT currency, sum(abs(coalesce(expected_net, 0) - coalesce(found_net, 0)))::DECIMAL(38, 2) AS net
            FROM month_differences WHERE class = ? GROUP BY 1 HAVING net > 0 ORDER BY 1
            """,
            [kind],
        ).fetchall()
    )
    return Finding(
        kind=kind,  # type: ignore[arg-type]
        step="marts",
        model=_MODEL,
        stream=None,
        field=rows[0][3] if kind == "mismatch" else None,
        records=count,
        sample=sample,
        money=money,
        message=(
            f"{count:,} months of {_MODEL} are not the sum of what is published in {' and '.join(_OF)} ({kind}); "
            f"correct {_MODEL}, then `ledgerlake build --all`"
        ),
        repair=Repair("person", advice=f"correct {_MODEL}, then `ledgerlake build --all`"),
    )
