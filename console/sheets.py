"""Tables as people take them along: CSV that a spreadsheet opens without running anything in it.

Does not belong here: what is in a table (``ledgerlake.figures``).
"""

import csv
import dataclasses
import datetime as dt
import io
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from starlette.responses import Response

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_csv(name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Response:
    """A file of that name to save; numbers are exact, times in UTC.

    Text that a spreadsheet would take for a formula begins with an apostrophe, as OWASP's page on CSV injection asks.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([cell(value) for value in row] for row in rows)
    return Response(
        text.getvalue(),
        media_type="text/csv; charset=utf-8",
        headers={"content-disposition": f'attachment; filename="{name}.csv"'},
    )


def of_records(name: str, kind: type, records: Iterable[Any]) -> Response:
    """A file with a column for each field of that dataclass."""
    columns = [field.name for field in dataclasses.fields(kind)]
    return as_csv(name, columns, ([getattr(one, column) for column in columns] for one in records))


def cell(value: object) -> str:
    """A value as the file has it."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case Decimal():
            return format(value, "f")
        case float():
            return f"{value:.3f}"
        case int():
            return str(value)
        case dt.datetime():
            return value.astimezone(dt.UTC).isoformat(timespec="seconds")
        case dt.date():
            return value.isoformat()
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
