"""The page of money: months and MRR against ones counted by hand; currencies stay apart."""

import csv
import io

import pytest

from tests.console.pages.conftest import Enter, Publish

pytestmark = pytest.mark.anyio


def month(customer: str, currency: str, inflow: str, outflow: str, net: str, closing: str | None) -> dict[str, object]:
    return {
        "customer_id": customer,
        "month": "2026-01-01",
        "currency": currency,
        "inflow": inflow,
        "outflow": outflow,
        "net": net,
        "closing_balance": closing,
    }


MONTHS = [
    month("a", "USD", "1000.10000001", "400", "600.10000001", "50.5"),
    month("b", "USD", "0.2", "1000000000000.99", "-1000000000000.79", None),
    month("a", "EUR", "7", "0", "7", "-3"),
]
MOVED = {
    "customer_id": "a",
    "month": "2026-01-01",
    "currency": "USD",
    "starting": "100",
    "new": "20",
    "expansion": "5",
    "contraction": "-4",
    "churn": "-30",
    "reactivation": "9",
    "ending": "100",
    "subscribers": 3,
}


async def test_months_are_summed_in_each_currency_and_never_across(enter: Enter, publish: Publish) -> None:
    publish(customer_months=MONTHS, customer_mrr_months=[MOVED, {**MOVED, "customer_id": "b", "subscribers": 4}])
    async with enter("viewer") as client:
        flows = (await client.get("/money.csv")).text
        of_one = (await client.get("/money.csv?customer=a")).text
        mrr = (await client.get("/money.csv?what=mrr")).text
        page = (await client.get("/money")).text
        euros = (await client.get("/money?currency=EUR")).text
        nobody = await client.get("/money?customer=%3Cscript%3Ecanary")

    assert list(csv.reader(io.StringIO(flows))) == [
        ["currency", "month", "inflow", "outflow", "net", "closing_balance", "customers", "with_balance"],
        ["EUR", "2026-01-01", "7.00000000", "0.00000000", "7.00000000", "-3.00000000", "1", "1"],
        [
            *("USD", "2026-01-01", "1000.30000001", "1000000000400.99000000", "-999999999400.68999999"),
            *("50.50000000", "2", "1"),
        ],
    ]
    assert list(csv.reader(io.StringIO(of_one)))[2][2:5] == ["1000.10000001", "400.00000000", "600.10000001"]
    assert list(csv.reader(io.StringIO(mrr)))[1] == [
        *("USD", "2026-01-01", "200.00000000", "40.00000000", "18.00000000", "10.00000000", "-8.00000000"),
        *("-60.00000000", "200.00000000", "7"),
    ]
    assert "-999,999,999,400.68999999" in page, "the currency with the most rows comes first"
    assert "1000.30000001" in page, "what the chart draws is as exact"
    assert ('<td class="n">7.00</td>' in euros, "999,999" in euros) == (True, False)
    assert nobody.status_code == 200
    assert "No money of this customer is published" in nobody.text
    assert "<script>canary" not in nobody.text
