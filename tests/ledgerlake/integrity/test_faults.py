"""The report on planted faults, at its smallest: every kind once, found once, and nothing else."""

from pathlib import Path

import pytest

from benchmarks.faults import KINDS, Score, faults, judge, table, wanted, write
from benchmarks.planted import Expected, Named, Planted
from benchmarks.town import town
from ledgerlake.integrity import Behind, Finding
from ledgerlake.local import Servers

CONNECTION = "teller_1"


@pytest.mark.slow
def test_a_fault_of_each_kind_is_found_where_it_is_and_nothing_else(shared_servers: Servers, tmp_path: Path) -> None:
    score = Score()
    with town(shared_servers, tmp_path, customers=12, seed=1) as base:
        for planted, report in faults(base, tmp_path, wanted(len(KINDS)), seed=1):
            judge(planted, report.findings, score)
    assert {one.planted.fault for one in score.verdicts} == set(KINDS)
    assert [one.planted.fault for one in score.verdicts if not (one.found and one.placed)] == []
    assert score.others == []


def planted(*records: str) -> Planted:
    places = frozenset((CONNECTION, "transactions", record) for record in records)
    return Planted(KINDS[0], Named("missing", "source", None, "transactions", None, CONNECTION), Expected(places))


def finding(*records: str, step: str = "source", kind: str = "missing") -> Finding:
    return Finding(
        kind=kind,  # type: ignore[arg-type]
        step=step,  # type: ignore[arg-type]
        records=len(records),
        message="",
        connection_id=CONNECTION,
        stream="transactions",
        sample=tuple(Behind(CONNECTION, "transactions", None, record) for record in records),
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([finding("1", "2")], (1, 1, 1)),
        ([finding("1", "2", step="raw")], (1, 1, 0)),
        ([finding("1")], (0, 0, 0)),
        ([finding("1", "2", "3")], (0, 0, 0)),
        ([finding("1", "2", kind="duplicate")], (0, 0, 0)),
        ([finding("1", "2"), finding("1", "2", step="raw")], (0.5, 1, 1)),
        ([], (1, 0, 0)),
    ],
    ids=["as it is", "another step", "too few", "too many", "another class", "told twice", "nothing"],
)
def test_only_the_same_class_and_the_same_records_count_as_found(
    found: list[Finding], expected: tuple[float, float, float]
) -> None:
    score = Score()
    judge([planted("1", "2")], found, score)
    assert (score.precision, score.recall, score.placed) == expected


def test_the_table_stands_between_its_markers(tmp_path: Path) -> None:
    score = Score()
    judge([planted("1")], [finding("1"), finding("9", kind="unexpected")], score)
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- faults: begin -->\nthe table before\n<!-- faults: end -->\nafter\n")
    write(table(score, 7), page)
    text = page.read_text()
    assert text.startswith(
        "before\n<!-- faults: begin -->\n1 faults were planted with seed 7, and 2 findings came of them"
    )
    assert "| a page skipped | 1 | 1 | 1 | 1 |" in text
    assert text.endswith("<!-- faults: end -->\nafter\n")
    assert "the table before" not in text
    (tmp_path / "page.md").write_text("no markers")
    with pytest.raises(RuntimeError, match="expected <!-- faults: begin -->"):
        write(table(score, 7), page)
