"""Splitting a body: untouched bytes, and one broken object breaks no other."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import BadData, Record, Rejected
from connectors._split import Fields, split


class _Thing(msgspec.Struct):
    id: str
    size: int = 0


THINGS = Fields(_Thing, "a thing")


def build(row: _Thing, payload: bytes) -> Record:
    if row.size < 0:
        raise ValueError(f"size {row.size} is negative")
    return Record(row.id, None, None, False, payload)


def good(name: str, payload: bytes) -> Record:
    return Record(name, None, None, False, payload)


def test_the_bytes_of_every_object_stay_as_they_came() -> None:
    first = b'{ "id" :"a",\t"n":1.10000000000000000000000001, "n2":1e400, "t":"\\u0000\\/\xc3\xa9", "id2":"\\ud83d\\ude00" }'
    second = b'{"z":[],"id":"b","z":{}}'
    body = b" \n[" + first + b" ,\r\n " + second + b"\n]\n"
    assert split(body, THINGS, build) == ([good("a", first), good("b", second)], [])


@pytest.mark.parametrize(
    ("broken", "reason", "record_id"),
    [
        (b'{"id":"x","size":"big"}', "not a thing: Expected `int`, got `str` - at `$.size`", "x"),
        (b'{"id":7}', "not a thing: Expected `str`, got `int` - at `$.id`", None),
        (b'{"size":7}', "not a thing: Object missing required field `id`", None),
        (b'"text"', "not a thing: Expected `object`, got `str`", None),
        (b"null", "not a thing: Expected `object`, got `null`", None),
        (b'{"id":"x","size":-1}', "size -1 is negative", "x"),
        (b'{"id":"x","t":"\xff"}', "text is not UTF-8 at byte 15 of the record", "x"),
        (b'{"id":"x\xff"}', "text is not UTF-8 at byte 8 of the record", None),
        (b'{"id":"x\\u0000","size":"big"}', "not a thing: Expected `int`, got `str` - at `$.size`", None),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_broken_object_is_set_aside_and_the_others_go_on(
    broken: bytes, reason: str, record_id: str | None, place: int
) -> None:
    others = [b'{"id":"a","t":"\xc3\xa9"}', b'{"id":"b"}']
    body = b"[" + b" , ".join([*others[:place], broken, *others[place:]]) + b"]"
    records, rejected = split(body, THINGS, build, account_id="acc")
    assert records == [good("a", others[0]), good("b", others[1])]
    assert rejected == [Rejected(broken, reason, record_id, "acc")]


@pytest.mark.parametrize("text", [b"\\ud800", b"\\udc00 \\ud800", b"\\ud83d", b"\xff\\ud800"])
def test_half_a_surrogate_pair_is_the_affair_of_its_own_record(text: bytes) -> None:
    broken = b'{"id":"x" ,"t":"' + text + b'"}'
    records, rejected = split(b'[{"id":"a"}, ' + broken + b'\n,{"id":"b"} ]', THINGS, build)
    assert records == [good("a", b'{"id":"a"}'), good("b", b'{"id":"b"}')]
    assert [(one.payload, one.record_id) for one in rejected] == [(broken, "x")]
    assert rejected[0].reason.startswith(("not JSON that can be kept: ", "text is not UTF-8"))


def test_an_object_says_its_account_where_none_was_asked_for() -> None:
    assert split(b'[{"account_id":"acc"}]', THINGS, build).rejected == [
        Rejected(b'{"account_id":"acc"}', "not a thing: Object missing required field `id`", None, "acc")
    ]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"accounts":[]}', "an object"),
        (b' "x"', "a string"),
        (b"null", "null"),
        (b"true", "true"),
        (b"-12", "a number"),
        (b"[" * 100_000 + b"]" * 100_000, "one nested deeper than can be read"),
    ],
)
def test_a_body_that_is_no_array_is_bad_data(body: bytes, found: str) -> None:
    with pytest.raises(BadData) as bad:
        split(body, THINGS, build)
    assert f"expected a JSON array, each element a thing, found {found}" in bad.value.message
    assert bad.value.scope == "stream"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(_JSON | st.fixed_dictionaries({"id": st.text()}, optional={"more": _JSON})), st.booleans())
def test_every_object_comes_out_once_byte_for_byte(values: list[Any], ascii_only: bool) -> None:
    written = [json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass") for value in values]
    records, rejected = split(b"[" + b" ,".join(written) + b"]", THINGS, build)
    assert sorted([one.payload for one in records] + [one.payload for one in rejected]) == sorted(written)
    assert [one.payload for one in records] == [
        text for text, value in zip(written, values, strict=True) if _is_thing(value)
    ]


def _is_thing(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("id"), str) and type(value.get("size", 0)) is int
