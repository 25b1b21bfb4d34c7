"""Bodies cut into records by the census' own way."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import BadData
from ledgerlake.integrity.census._json import decode, elements, members

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
SPACE = st.sampled_from(["", " ", "\n\t"])


@given(values=st.lists(VALUES, max_size=6), space=SPACE, ascii_only=st.booleans())
def test_each_element_keeps_its_own_text(values: list[object], space: str, *, ascii_only: bool) -> None:
    texts = [json.dumps(value, ensure_ascii=ascii_only) for value in values]
    body = f"{space}[{space}{f'{space},{space}'.join(texts)}{space}]{space}"
    assert [one.text for one in elements(body, "a list")] == texts


@given(values=st.dictionaries(st.text(), VALUES, max_size=6))
def test_each_member_keeps_its_own_text(values: dict[str, object]) -> None:
    found = members(json.dumps(values, separators=(" , ", " : ")), "an object")
    assert {name: json.loads(one.text) for name, one in found.items()} == values


def test_a_number_is_neither_rounded_nor_too_large() -> None:
    (found,) = elements('[{"amount": 0.30000000000000004, "b": 1e400, "c": 12345678901234567890123}]', "a list")
    assert found.value == {"amount": "0.30000000000000004", "b": "1e400", "c": "12345678901234567890123"}


def test_a_byte_that_is_no_text_costs_no_other_record_anything() -> None:
    found = list(elements(decode(b'[{"id": "a", "name": "\xff"}, {"id": "b", "name": "\xc3\xa9"}]'), "a list"))
    assert [one.value["id"] for one in found] == ["a", "b"]
    assert found[1].text == '{"id": "b", "name": "é"}'


@pytest.mark.parametrize("text", ["{}", "[1, 2", "null", "[1 2]x", "[" * 100_000])
def test_what_is_no_array_is_bad_data_and_not_an_empty_one(text: str) -> None:
    with pytest.raises(BadData, match="nothing of it counts"):
        list(elements(text, "a list"))
