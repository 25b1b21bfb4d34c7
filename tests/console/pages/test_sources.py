"""The page of the source mix: its figures against ones counted by hand, and what a hostile customer's id does to it."""

import csv
import datetime as dt
import io
import json
import re
from decimal import Decimal

import pytest

from console.sheets import cell
from ledgerlake.figures import KINDS
from ledgerlake.lake import PROJECT
from tests.console.pages.conftest import Enter, Publish

pytestmark = pytest.mark.anyio

HOSTILE = "=cmd('</script><script>alert(1)</script>')"


def connection(customer: str, provider: str, created: str, synced: str = "2026-06-30") -> dict[str, object]:
    return {
        "connection_id": f"con_{customer}_{provider}",
        "customer_id": customer,
        "provider": provider,
        "status": "active",
        "created_at": created,
        "last_synced_at": synced,
    }


CONNECTIONS = [
    *(connection(f"c{number}", "teller", "2026-01-01") for number in range(10)),
    *(connection(f"c{number}", "stripe", "2026-01-31") for number in range(3)),
    connection("c3", "stripe", "2026-05-01"),
    connection("b0", "stripe", "2026-01-01"),
    connection("b0", "plaid", "2026-01-11"),
    connection(HOSTILE, "teller", "2026-06-20"),
]
MIX = [
    {"day": "2026-06-29", "combination": "bank", "customers": 6},
    {"day": "2026-06-30", "combination": "bank", "next_kind": "billing", "customers": 2},
    {"day": "2026-06-30", "combination": "bank", "customers": 5},
    {"day": "2026-06-30", "combination": HOSTILE, "customers": 1},
]


def rows_of(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


async def test_figures_are_those_counted_by_hand(enter: Enter, publish: Publish) -> None:
    publish(dim_connections=CONNECTIONS, source_mix=MIX)
    async with enter("viewer") as client:
        page = await client.get("/sources")
        files = {
            what: rows_of((await client.get(f"/sources.csv?what={what}&days=90")).text)[1:]
            for what in ("mix", "added", "habits", "likely", "customers")
        }
        early = rows_of((await client.get("/sources.csv?what=habits&days=150")).text)[1:]

    assert page.status_code == 200
    assert files["habits"] == [
        # Ten were watched for 90 days: three of them added in time, a fourth later; the new one is not counted yet.
        ["bank", "billing", "10", "3", "30.0", "30"],
        # One customer says nothing of others.
        ["billing", "bank", "1", "1", "", "10"],
    ]
    assert early[0] == ["bank", "billing", "10", "4", "40.0", "30"]
    assert files["likely"] == [[f"'{HOSTILE}", "bank", "billing", "2026-06-20", "80", "30.0", "10"]]
    assert files["added"] == [
        ["2026-01-01", "bank", "1"],
        ["2026-01-01", "billing", "3"],
        ["2026-05-01", "billing", "1"],
    ]
    assert files["mix"] == [
        ["2026-06-29", "bank", "6"],
        ["2026-06-30", f"'{HOSTILE}", "1"],
        ["2026-06-30", "bank", "7"],
    ]
    assert len(files["customers"]) == 12
    assert files["customers"][0] == ["c3", "bank+billing", "2026-05-01", "stripe, teller", "2"]
    assert "unknown" in page.text
    assert "30.0 %" in page.text


async def test_a_script_in_the_data_stays_data(enter: Enter, publish: Publish) -> None:
    publish(dim_connections=CONNECTIONS, source_mix=MIX)
    async with enter("viewer") as client:
        page = (await client.get("/sources")).text

    assert "<script>alert(1)" not in page
    drawn = [json.loads(one) for one in re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)]
    assert drawn[0] == {
        "kind": "area",
        "dates": True,
        "x": ["2026-06-29", "2026-06-30"],
        "series": [{"name": HOSTILE, "line": False, "y": [0, 1]}, {"name": "bank", "line": False, "y": [6, 7]}],
        "unit": "",
    }
    # Everything else that runs comes from a file of ours.
    assert re.findall(r"<script(?! src=\"/static/| type=\"application/json\")", page) == []


@pytest.mark.parametrize("path", ["/sources", "/money"])
async def test_an_empty_lake_says_what_to_do(enter: Enter, path: str) -> None:
    async with enter("viewer") as client:
        page = await client.get(path)
        file = await client.get(f"{path}.csv")

    assert (page.status_code, file.status_code) == (200, 200)
    assert "Nothing is published yet" in page.text
    assert len(rows_of(file.text)) == 1


@pytest.mark.parametrize("query", ["days=0", "days=9999", "days=x", "what=users"])
async def test_what_cannot_be_counted_is_refused(enter: Enter, query: str) -> None:
    async with enter("viewer") as client:
        assert (await client.get(f"/sources.csv?{query}")).status_code == 422


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        *[(f"{sign}1+1", f"'{sign}1+1") for sign in "=+-@\t\r"],
        (Decimal("-1.50"), "-1.50"),
        (-3, "-3"),
        (None, ""),
        ("plain = fine", "plain = fine"),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.timezone(dt.timedelta(hours=2))), "2026-01-02T01:04:05+00:00"),
    ],
)
def test_a_cell_is_exact_and_never_a_formula(value: object, shown: str) -> None:
    assert cell(value) == shown


def test_kinds_are_those_of_the_mart() -> None:
    sql = (PROJECT / "models/marts/source_mix.sql").read_text()
    assert dict(re.findall(r"\('(\w+)', '(bank|billing)'\)", sql)) == dict(KINDS)
