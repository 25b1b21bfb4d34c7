"""The peer: reladiff over two tables, run by the interpreter of an environment that holds reladiff alone.

Prints one JSON object: how long it took from opening the tables to the last difference, and the key and side of each.
Does not belong here: anything of Ledgerlake, which that environment has not got.
"""

import json
import os
import sys
import time

import reladiff  # type: ignore[import-not-found, unused-ignore]

KEY = "record_id"
COLUMNS = ("amount", "currency", "day", "status", "account_id")


def main(algorithm: str, left: str, right: str, file: str) -> None:
    """Compare `left`, of the PostgreSQL that POSTGRES_URL names, if it does, with `right` of the DuckDB file."""
    started = time.perf_counter()
    duck = reladiff.connect({"driver": "duckdb", "filepath": file})
    postgres_url = os.environ.get("POSTGRES_URL")
    mine = reladiff.connect(postgres_url, thread_count=2) if postgres_url else duck
    sides = [
        reladiff.TableSegment(database, (table,), (KEY,), extra_columns=COLUMNS, case_sensitive=True)
        for database, table in ((mine, left), (duck, right))
    ]
    # joindiff refuses keys that are there twice unless it is told not to look for them, which also makes it faster.
    unique = algorithm == "hashdiff"
    found = [
        (sign, row[0]) for sign, row in reladiff.diff_tables(*sides, algorithm=algorithm, validate_unique_key=unique)
    ]
    seconds = time.perf_counter() - started
    json.dump({"seconds": seconds, "version": reladiff.__version__, "found": found}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:5])
