"""Two relations compared, from cheap to dear: counts, sums and hashes of groups, then rows, then fields.

Belongs here: the primitive, which knows nothing of Ledgerlake's tables. Does not belong here: what is compared with
what, and what a difference means (``_verify``, ``_causes``).

Going down, each level looks only at what differs in the one above:

1. groups: count, sums of the money, and the sum of the rows' hashes, in one scan of each side. Equal groups are done.
2. keys: how often each key of a differing group is on each side, and the hashes of its rows, by a hash of the key.
3. rows and fields: those keys in full, with both values of each field that differs.

Nothing is rounded: a column is DECIMAL, integer, text, date or time, never a double; decimals of other widths are
compared in a type that holds both exactly. NULL equals NULL. A row's hash is hashed again before it is summed, since a
sum of hashes that are only combined can cancel out when two rows swap a value.
"""
# ruff: noqa: S608 (names go through `named`, relations are the caller's own SQL)

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from duckdb import DuckDBPyConnection

Class = Literal["missing", "unexpected", "duplicate", "mismatch"]

_DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")
_INTEGERS = {
    "TINYINT": 3, "SMALLINT": 5, "INTEGER": 10, "BIGINT": 19, "HUGEINT": 38,
    "UTINYINT": 3, "USMALLINT": 5, "UINTEGER": 10, "UBIGINT": 20,
}  # fmt: skip
_INEXACT = {"FLOAT", "DOUBLE"}
_WIDEST = 38


@dataclass(frozen=True)
class Differences:
    """What differs, and how much was compared.

    Attributes:
        rows: rows of the left relation.
        groups: groups of both; `differing` of them are not equal.
        counts: how many keys are in each class; those in none match.
        table: a temporary table of the differing keys: the key's columns, `class`, `lefts` and `rights` (how often the key
            is on each side), `fields` (those that differ, of a mismatch), and for each field `expected_<field>` and
            `found_<field>`, the values on the left and on the right. None where nothing differs.
    """

    rows: int
    groups: int
    differing: int
    counts: Mapping[Class, int]
    table: str | None

    def __bool__(self) -> bool:
        return self.table is not None


def compare(
    duck: DuckDBPyConnection,
    left: str,
    right: str,
    *,
    key: Sequence[str],
    group: Sequence[str] = (),
    fields: Sequence[str] = (),
    into: str = "differences",
) -> Differences:
    """Compare two relations, each a table's name or a SELECT in parentheses, by key.

    A key is `missing` when the left side has it more often, `unexpected` when the left side does not have it at all,
    `duplicate` when the right side has it more often than the left, which does have it, and a `mismatch` when both have
    it as often and not with the same fields. Each key is in one class at most.

    Args:
        key: what a record is found again by.
        group: what records are counted together by; small groups spare more rows, many groups cost more memory.
        fields: what else must be equal. The group's columns are compared, too, where they are among the fields.
        into: the temporary table that the differences go to.

    Raises:
        TypeError: a column is a double, or has types on both sides that no type holds exactly.
    """
    columns = list(dict.fromkeys((*key, *group, *fields)))
    exact = _exact_types(duck, left, right, columns)
    sides = [_cast(relation, exact) for relation in (left, right)]
    money = [name for name in fields if _DECIMAL.fullmatch(exact[name])]
    rows, groups, differing = _groups(duck, sides, key, group, fields, money, into)
    if not differing:
        return Differences(rows, groups, 0, {}, None)
    _keys(duck, sides, key, group, fields, into, all_differ=differing == groups)
    _fields(duck, sides, key, fields, into)
    duck.execute(f"DROP TABLE {named(into + '_groups')}; DROP TABLE {named(into + '_keys')}")
    found = duck.execute(f"SELECT class, count(*) FROM {named(into)} GROUP BY 1 ORDER BY 1").fetchall()
    return Differences(rows, groups, differing, dict(found), into if found else None)


def named(*parts: str) -> str:
    """The SQL name of a table or column."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def _exact_types(duck: DuckDBPyConnection, left: str, right: str, columns: Sequence[str]) -> dict[str, str]:
    """For each column a type that holds the values of both sides exactly."""
    types = [dict(_described(duck, relation)) for relation in (left, right)]
    for side, known in zip(("left", "right"), types, strict=True):
        if lacking := [name for name in columns if name not in known]:
            raise TypeError(f"Expected the columns {', '.join(columns)}, the {side} side has no {', '.join(lacking)}.")
    return {name: _holds_both(name, types[0][name], types[1][name]) for name in columns}


def _described(duck: DuckDBPyConnection, relation: str) -> Iterator[tuple[str, str]]:
    for name, kind, *_ in duck.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall():
        yield name, kind


def _holds_both(name: str, left: str, right: str) -> str:
    for kind in (left, right):
        if kind in _INEXACT:
            raise TypeError(f"{name} is a {kind}, which rounds: expected an exact type, such as DECIMAL(28,8).")
    if left == right:
        return left
    if left == '"NULL"' or right == '"NULL"':
        return right if left == '"NULL"' else left
    shapes = [_digits(kind) for kind in (left, right)]
    if None not in shapes:
        whole = max(shape[0] for shape in shapes if shape)
        scale = max(shape[1] for shape in shapes if shape)
        if whole + scale <= _WIDEST:
            return f"DECIMAL({whole + scale},{scale})"
    raise TypeError(f"{name} is {left} on the left and {right} on the right, and no type holds both exactly: cast one.")


def _digits(kind: str) -> tuple[int, int] | None:
    """Digits before and behind the point."""
    if found := _DECIMAL.fullmatch(kind):
        return int(found[1]) - int(found[2]), int(found[2])
    return (_INTEGERS[kind], 0) if kind in _INTEGERS else None


def _cast(relation: str, exact: Mapping[str, str]) -> str:
    columns = ", ".join(f"{named(name)}::{kind} AS {named(name)}" for name, kind in exact.items())
    return f"(SELECT {columns} FROM {relation})"


def _hash(columns: Sequence[str]) -> str:
    return f"hash(hash({', '.join(named(name) for name in columns)}))" if columns else "0::UBIGINT"


def _list(columns: Sequence[str], before: str = "") -> str:
    return "".join(f"{before}{named(name)}, " for name in columns)


def _groups(
    duck: DuckDBPyConnection,
    sides: Sequence[str],
    key: Sequence[str],
    group: Sequence[str],
    fields: Sequence[str],
    money: Sequence[str],
    into: str,
) -> tuple[int, int, int]:
    """The differing groups go into a table; returns how many rows are on the left, groups there are, and differ."""
    whole = list(dict.fromkeys((*key, *fields)))
    names = ["counted", "hashes", *(f"sum_{name}" for name in money)]
    measures = ", ".join(
        (
            "count(*) AS counted",
            f"sum({_hash(whole)}::HUGEINT) AS hashes",
            *(f"sum({named(name)}) AS {named(f'sum_{name}')}" for name in money),
        )
    )
    each = " UNION ALL ".join(
        f"SELECT {_list(group)}{side} AS side, {measures} FROM {relation} GROUP BY ALL"
        for side, relation in enumerate(sides)
    )
    both = ", ".join(
        f"any_value({named(name)}) FILTER (side = {side}) AS {named(f'{word}_{name}')}"
        for side, word in enumerate(("left", "right"))
        for name in names
    )
    differs = " OR ".join(f"{named(f'left_{name}')} IS DISTINCT FROM {named(f'right_{name}')}" for name in names)
    duck.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE {named(into + "_groups")} AS
        SELECT *, {differs} AS differs FROM (SELECT {_list(group)}{both} FROM ({each}) GROUP BY ALL)
        """
    )
    found = duck.execute(
        f"SELECT coalesce(sum(left_counted), 0)::BIGINT, count(*), count(*) FILTER (differs) FROM {named(into + '_groups')}"
    ).fetchone()
    assert found is not None
    return found


def _keys(
    duck: DuckDBPyConnection,
    sides: Sequence[str],
    key: Sequence[str],
    group: Sequence[str],
    fields: Sequence[str],
    into: str,
    *,
    all_differ: bool,
) -> None:
    """The differing keys of the differing groups, by their hashes: an aggregation, and no join of the two sides.

    Two keys with one hash are looked at together, so that a collision may cost a look and never hides a difference.
    """
    same_group = " AND ".join(f"sides.{named(name)} IS NOT DISTINCT FROM groups.{named(name)}" for name in group)
    only = f"SEMI JOIN (FROM {named(into + '_groups')} WHERE differs) AS groups ON {same_group}"
    whole = list(dict.fromkeys((*key, *fields)))
    each = " UNION ALL ".join(
        f"SELECT {_hash(key)} AS key_hash, {sign} AS one, {sign} * {_hash(whole)}::HUGEINT AS row_hash FROM {relation} AS sides "
        + ("" if all_differ or not group else only)
        for sign, relation in zip((1, -1), sides, strict=True)
    )
    duck.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE {named(into + "_keys")} AS
        SELECT key_hash FROM ({each}) GROUP BY 1 HAVING sum(one) <> 0 OR sum(row_hash) <> 0
        """
    )


def _fields(
    duck: DuckDBPyConnection, sides: Sequence[str], key: Sequence[str], fields: Sequence[str], into: str
) -> None:
    """The keys that differ, each with its class and the fields that differ."""
    each = " UNION ALL BY NAME ".join(
        f"SELECT {_list(key)}{_list([name for name in fields if name not in key])}{side} AS side FROM {relation} "
        f"WHERE {_hash(key)} IN (SELECT key_hash FROM {named(into + '_keys')})"
        for side, relation in enumerate(sides)
    )
    values = "".join(
        f", list_sort(list({named(name)}) FILTER (side = {side})) AS {named(f'{word}_{name}')}"
        for side, word in enumerate(("left", "right"))
        for name in fields
    )
    rows = _hash(fields)
    differing = (
        "list_filter(["
        + ", ".join(
            f"CASE WHEN {named(f'left_{name}')} IS DISTINCT FROM {named(f'right_{name}')} THEN '{name}' END"
            for name in fields
        )
        + "], lambda name: name IS NOT NULL)"
        if fields
        else "[]::VARCHAR[]"
    )
    shown = "".join(
        f", {named(f'left_{name}')}[1] AS {named(f'expected_{name}')}, {named(f'right_{name}')}[1] AS {named(f'found_{name}')}"
        for name in fields
    )
    duck.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE {named(into)} AS
        SELECT {_list(key)}
               CASE WHEN lefts > rights THEN 'missing' WHEN lefts = 0 THEN 'unexpected'
                    WHEN rights > lefts THEN 'duplicate' ELSE 'mismatch' END AS class,
               lefts, rights,
               CASE WHEN lefts = rights THEN {differing} ELSE [] END AS fields {shown}
        FROM (
            SELECT {_list(key)}count(*) FILTER (side = 0) AS lefts, count(*) FILTER (side = 1) AS rights,
                   list_sort(list({rows}) FILTER (side = 0)) AS left_rows,
                   list_sort(list({rows}) FILTER (side = 1)) AS right_rows {values}
            FROM ({each}) GROUP BY ALL
        )
        WHERE lefts <> rights OR left_rows IS DISTINCT FROM right_rows
        """
    )
