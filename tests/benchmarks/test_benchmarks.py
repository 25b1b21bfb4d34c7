"""The benchmarks run, at a size that measures nothing; dlt is left out, since its environment is made on demand."""

import json
from pathlib import Path

import pytest

from benchmarks import comparing, ingest, thrift, transform
from benchmarks.bank import COUNT, pages, row
from benchmarks.house import House, Size
from benchmarks.result import Comparison, Goal, as_json, as_table, write_readme
from ledgerlake.local import Servers

ONCE = Size(rows=1_200, runs=1)
FOUND = [
    Comparison(
        "ingest", "first sync", "rows/s", [40_000, 60_000, 50_000], "dlt", [9_000, 10_000, 11_000], Goal("≥", 6)
    ),
    Comparison("transform", "model", "s", [1.2, 1.3, 1.1], "bare", [1, 1, 1], Goal("≤", 1.3)),
    Comparison("publish", "commit", "s", [0.05], "build", [5]),
]
TABLE = """\
| benchmark | what       | ours          | against | theirs        | ours / theirs | goal        |
| --------- | ---------- | ------------- | ------- | ------------- | ------------- | ----------- |
| ingest    | first sync | 50,000 rows/s | dlt     | 10,000 rows/s | 5.00          | ≥ 6: missed |
| transform | model      | 1.2 s         | bare    | 1 s           | 1.20          | ≤ 1.3: met  |
| publish   | commit     | 0.05 s        | build   | 5 s           | 0.01          |             |"""


@pytest.fixture
def house(shared_servers: Servers, tmp_path: Path) -> House:
    return House(shared_servers, tmp_path)


def test_ingest_sets_a_sync_beside_bare_copy_and_merge(house: House) -> None:
    found = ingest.measure(house, ONCE, peer=False)
    assert [(one.what, one.against, one.goal) for one in found] == [
        ("first sync", "bare COPY and merge, 500 rows at once", None),
        ("first sync", "bare COPY and merge, 5000 rows at once", None),
        ("sync --full, all unchanged", "the same, 500 rows at once", None),
    ]
    assert all(len(one.ours) == len(one.theirs) == 1 and one.ours[0] > 0 and one.theirs[0] > 0 for one in found)


def test_transform_sets_the_model_beside_a_bare_copy(house: House) -> None:
    (found,) = transform.measure(house, ONCE)
    assert (found.what, found.against, found.goal) == (
        "stg_teller__transactions",
        "bare DuckDB COPY of the same fields",
        Goal("≤", 1.3),
    )
    assert len(found.ours) == len(found.theirs) == 1


def test_comparing_finds_exactly_what_is_planted(house: House) -> None:
    # It raises where our comparison finds another record than the planted ones, or another number of a class.
    assert comparing.measure(house, ONCE, peer=False) == []


def test_requests_sets_each_providers_days_beside_the_least_of_its_protocol(house: House) -> None:
    found = thrift.measure(house, ONCE, days=3, customers=5)
    assert [(one.what.partition(":")[0], one.unit, one.goal) for one in found] == [
        (f"{provider}, {day}", unit, goal)
        for provider in thrift.LEAST
        for day in ("a quiet day", "a busy day", "after 3 days")
        for unit, goal in (("requests a record", Goal("≤", 1.5)), ("bytes a record", None))
    ]
    assert all(one.ratio >= 1 for one in found if one.goal)


def test_the_bank_has_each_row_once_in_pages_that_end_with_an_empty_one() -> None:
    bodies = pages(1_200)
    numbers = [int(one["id"].removeprefix("txn_")) for body in bodies for one in json.loads(body)]
    assert numbers == list(range(1_200))
    assert [len(json.loads(body)) for body in bodies] == [COUNT, COUNT, 200, 0]


def test_a_row_of_the_bank_has_about_500_bytes() -> None:
    assert 450 <= len(row(123_456)) <= 550


def test_the_table_shows_medians_and_whether_the_goal_is_met() -> None:
    assert as_table(FOUND) == TABLE


def test_json_holds_every_run() -> None:
    told = json.loads(as_json(FOUND[:1], {"cores": "2"}, Size(200_000, 3)))
    assert told == {
        "machine": {"cores": "2"},
        "rows": 200_000,
        "runs": 3,
        "results": [
            {
                "benchmark": "ingest",
                "what": "first sync",
                "unit": "rows/s",
                "ours": [40_000, 60_000, 50_000],
                "against": "dlt",
                "theirs": [9_000, 10_000, 11_000],
                "ratio": 5.0,
                "goal": "≥ 6",
                "met": False,
            }
        ],
    }


def test_the_readme_keeps_all_but_what_is_between_its_markers(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("# Before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    write_readme(readme, FOUND, {"cores": "2", "Python": "3.11.7"}, Size(200_000, 3))
    assert readme.read_text() == (
        "# Before\n<!-- results -->\n200,000 rows, the median of 3 runs. cores 2; Python 3.11.7.\n\n"
        f"{TABLE}\n<!-- /results -->\nafter\n"
    )


def test_a_readme_without_markers_is_left_as_it_is(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("# No markers\n")
    with pytest.raises(ValueError, match="expected the markers"):
        write_readme(readme, FOUND, {}, ONCE)
    assert readme.read_text() == "# No markers\n"
