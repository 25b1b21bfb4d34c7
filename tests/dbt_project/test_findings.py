"""What verifications found, for BI: fct_findings and fct_verifications."""

import datetime as dt
from decimal import Decimal

from ledgerlake.integrity import Compared, Finding, Findings
from ledgerlake.lake import Lake
from ledgerlake.settings import Settings
from ledgerlake.store import Store


def test_findings_and_verifications_are_published_with_the_rest(
    books, lake: Lake, store: Store, settings: Settings
) -> None:
    book = books()
    book.account("checking")
    (connection,) = store.connections()
    whose = connection.connection_id
    findings = Findings(store, settings)
    lost = Finding(
        kind="missing",
        step="raw",
        provider="teller",
        connection_id=whose,
        stream="transactions",
        records=2,
        money={"USD": Decimal("12.30000001")},
        message="two rows are gone",
    )
    filtered = Finding(kind="missing", step="marts", model="fct_transactions", records=7, message="a filter")
    for missing in (1, 2):  # the day's last verification counts
        verification = findings.begin(dt.date(2026, 2, 2), None)
        classes = [
            Compared(whose, "transactions", "raw", compared=999, matched=997 - missing, missing=missing, excluded=2),
            Compared(whose, "transactions", "marts", compared=1, matched=1),
            Compared("con_of_nobody", "transactions", "raw", compared=1, matched=1),
        ]
        findings.merge(
            verification, [lost, filtered], classes, today=dt.date(2026, 2, 2), scope=None, snapshot=1, compared=999
        )
    findings.failed(findings.begin(dt.date(2026, 2, 2), None), "it broke off")

    lake.build(buckets=[1])

    assert lake.query(
        """
        select kind, step, model, provider, connection_id, customer_id, stream, records, money_at_risk, severity, status
        from fct_findings order by finding_id
        """
    ).rows == [
        (
            "missing",
            "raw",
            None,
            "teller",
            whose,
            connection.customer_id,
            "transactions",
            2,
            '{"USD": "12.30000001"}',
            "high",
            "open",
        ),
        ("missing", "marts", "fct_transactions", None, None, None, None, 7, "{}", "high", "open"),
    ]
    assert lake.query(
        """
        select day = current_date, connection_id, customer_id, provider, compared, matched, missing, unexpected,
               excluded, completeness_per_mille, lag_seconds
        from fct_verifications
        """
    ).rows == [(True, whose, connection.customer_id, "teller", 1000, 996, 2, 0, 2, Decimal("998.000"), None)]
