"""What differs between two versions of a payload, field by field."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Change:
    """One field that a version added, removed or changed.

    Attributes:
        path: the way to it: names of objects' fields, and positions in lists from 0.
        before: its value in the version before; None where it was not there, or was null.
        after: its value in this version; None where it is not there any more, or is null.
    """

    path: Path
    kind: Literal["added", "removed", "changed"]
    before: Any
    after: Any

    @property
    def field(self) -> str:
        """The path as people write it: ``details.counterparty.names[0]``."""
        text = ""
        for part in self.path:
            text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
        return text or "(the whole)"


def parsed(text: str) -> Any:
    """A payload with its numbers exact. Raises ValueError when it is no JSON."""
    try:
        return json.loads(text, parse_float=Decimal, parse_int=_number)
    except RecursionError:
        raise ValueError("nested too deeply to be read") from None


def _number(text: str) -> int | Decimal:
    # Python refuses to make an int of thousands of digits.
    return int(text) if len(text) < 100 else Decimal(text)


def changes(before: Any, after: Any) -> tuple[Change, ...]:
    """What became of each field; in the order of the later version, then what is gone."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    found = [
        Change(path, "changed", old[path], value) if path in old else Change(path, "added", None, value)
        for path, value in new.items()
        if path not in old or not _same(old[path], value)
    ]
    return (*found, *(Change(path, "removed", value, None) for path, value in old.items() if path not in new))


def _same(one: Any, other: Any) -> bool:
    """To Python True is 1, and 1 is 1.0; to a reader of payloads they are not."""
    return type(one) is type(other) and bool(one == other) and str(one) == str(other)


def _leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, (*path, name))
    elif isinstance(value, list) and value:
        for position, inner in enumerate(value):
            yield from _leaves(inner, (*path, position))
    else:
        yield path, value
