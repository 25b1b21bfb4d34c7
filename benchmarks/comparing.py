"""Raw against a mart: the comparison of `ledgerlake verify` beside reladiff, equal and with 1 % different.

Three pairs, of the same rows, key and columns:

- *raw*: ours reads the payloads out of PostgreSQL, has their hashes proved, parses them, and compares them with staging and
  with the mart's Parquet; reladiff's hashdiff compares a view of the same payloads with a DuckDB table of the mart.
- *typed*: a table of PostgreSQL, indexed by the key, with a DuckDB table of the mart, by our primitive and by hashdiff.
- *one*: two tables of one DuckDB file, by our primitive and by reladiff's joindiff.

Both must say what was planted. Ours ends the benchmark when it does not; what reladiff misses stands in the table.
"""

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from benchmarks.bank import bank
from benchmarks.house import House, Place, Size
from benchmarks.result import Comparison, Goal, say
from ledgerlake.integrity._compare import Differences, compare
from ledgerlake.integrity._steps import VALUES, Graph, Steps
from ledgerlake.integrity._trail import differences
from ledgerlake.integrity._verify import _expected
from ledgerlake.lake import PROJECT, DataFile, Lake, Reading

_FOLDER = Path(__file__).parent
_ENVIRONMENT = _FOLDER / ".venv-reladiff"
_PYTHON = _ENVIRONMENT / "bin" / "python"
_UV = Path(sys.executable).parent / "uv"
_MART = ("main", "fct_transactions")

# Of 1,000 rows of the mart four have another amount, two one that differs in the eighth decimal, two are gone, two are
# there twice: by the row's number, so that no run differs from another.
_CLASS = """
    CASE WHEN number % 1000 < 4 THEN 'amount' WHEN number % 1000 < 6 THEN 'decimal'
         WHEN number % 1000 < 8 THEN 'missing' WHEN number % 1000 < 10 THEN 'doubled' END
"""
_PLANT = f"""
    WITH numbered AS (
        SELECT *, substr(provider_transaction_id, 5)::BIGINT AS number FROM read_parquet($$path$$)
    ),
    classed AS (SELECT *, {_CLASS} AS class FROM numbered)
    SELECT * EXCLUDE (number, class) REPLACE (
        amount + CASE class WHEN 'amount' THEN 1 WHEN 'decimal' THEN 0.00000001 ELSE 0 END AS amount
    )
    FROM classed, range(CASE class WHEN 'missing' THEN 0 WHEN 'doubled' THEN 2 ELSE 1 END)
"""


@dataclass(frozen=True)
class _Peer:
    """What reladiff compares with the mart, and how."""

    what: str
    algorithm: str
    left: str
    against: str


_PEERS = {
    "raw": _Peer("payloads with a mart", "hashdiff", "raw_read", "of a view of the payloads"),
    "typed": _Peer("PostgreSQL with DuckDB", "hashdiff", "raw_typed", "of the same tables"),
    "one": _Peer("DuckDB, both tables", "joindiff", "raw", "of the same tables"),
}


@dataclass(frozen=True)
class Sides:
    """The two marts as Parquet, and a DuckDB file with the tables `raw`, `mart_equal` and `mart_different`."""

    parquet: Mapping[str, Path]
    file: Path
    planted: Mapping[str, frozenset[str]]

    def expected(self, case: str) -> dict[str, int]:
        """How many keys our comparison must find in each class."""
        if case == "equal":
            return {}
        counts = {
            "mismatch": len(self.planted["amount"]) + len(self.planted["decimal"]),
            "missing": len(self.planted["missing"]),
            "duplicate": len(self.planted["doubled"]),
        }
        return {name: count for name, count in counts.items() if count}


def measure(house: House, size: Size, *, peer: bool = True) -> list[Comparison]:
    """In turns, on rows that were synced and built once; without `peer` ours alone is checked."""
    if peer:
        _prepare()
    seconds: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    said: dict[tuple[str, str], str] = {}
    version = ""
    with bank(size.rows) as url, house.place(url, memory_limit="4GB") as place:
        place.connect()
        place.sync()
        lake = Lake(place.where, place.settings)
        lake.build()
        with lake.reading() as at:
            sides = _sides(place, at, size.rows)
        say("comparing", f"{size.rows:,} rows are synced and built")
        for _ in range(size.runs):
            for case in ("equal", "different"):
                for pair, ours in (("raw", _raw), ("typed", _typed), ("one", _one)):
                    seconds[pair, case, "ours"].append(ours(lake, sides, case))
                for pair in _PEERS if peer else ():
                    took, version, wrong = _reladiff(place, sides, pair, case)
                    seconds[pair, case, "theirs"].append(took)
                    said[pair, case] = wrong
                for key in [one for one in seconds if one[1] == case]:
                    say("comparing", f"{' '.join(key)}: {seconds[key][-1]:.2f} s")
    return [
        Comparison(
            "comparing",
            f"{one.what}, {'equal' if case == 'equal' else '1 % different'}",
            "rows/s",
            [size.rows / took for took in seconds[pair, case, "ours"]],
            f"reladiff {version}, {one.algorithm} {one.against}{said[pair, case]}",
            [size.rows / took for took in seconds[pair, case, "theirs"]],
            Goal("≥", 5),
        )
        for pair, one in _PEERS.items()
        for case in ("equal", "different")
        if peer
    ]


def _prepare() -> None:
    """Make reladiff's environment from its lock, or see that it is made."""
    if not _PYTHON.exists():
        subprocess.run([_UV, "venv", "--quiet", "--python", sys.executable, _ENVIRONMENT], check=True)
    command = [str(_UV), "pip", "sync", "--quiet", "--python", str(_PYTHON), "--require-hashes", "--compile-bytecode"]
    subprocess.run([*command, str(_FOLDER / "reladiff.lock")], check=True)


def _sides(place: Place, at: Reading, rows: int) -> Sides:
    """Write the equal and the different mart, and what reladiff reads."""
    home = place.settings.home
    parquet = {case: home / f"{case}.parquet" for case in ("equal", "different")}
    file = home / "sides.duckdb"
    duck = at.duck
    duck.execute(f"COPY (SELECT * FROM {at.relation(_MART)}) TO '{parquet['equal']}'")
    duck.execute(f"COPY ({_PLANT.replace('$$path$$', _text(parquet['equal']))}) TO '{parquet['different']}'")
    duck.execute(f"ATTACH '{file}' AS sides")
    columns = "provider_transaction_id AS record_id, amount, currency, booked_on::VARCHAR AS day, status, provider_account_id AS account_id"
    duck.execute(f"CREATE TABLE sides.raw AS SELECT {columns} FROM '{parquet['equal']}'")
    for case, path in parquet.items():
        duck.execute(f"CREATE TABLE sides.mart_{case} AS SELECT {columns} FROM '{path}'")
    planted = {
        name: frozenset(ids)
        for name, ids in duck.execute(
            f"""
            SELECT class, list(record_id)
            FROM (SELECT record_id, {_CLASS.replace("number", "substr(record_id, 5)::BIGINT")} AS class FROM sides.raw)
            WHERE class IS NOT NULL GROUP BY 1
            """
        ).fetchall()
    }
    found = duck.execute("SELECT count(*) FROM sides.raw").fetchone()
    if found != (rows,):
        raise RuntimeError(f"expected {rows} rows in the mart, found {found}")
    duck.execute("DETACH sides")
    _in_postgres(place)
    return Sides(parquet, file, planted)


def _in_postgres(place: Place) -> None:
    """What reladiff reads in PostgreSQL: a view of the payloads, and the same as a table that is indexed by the key."""
    with place.store.connect() as postgres, postgres.transaction():
        # The account is no credit account: the sign that the provider gives an amount is the holder's.
        postgres.execute(
            """
            CREATE VIEW public.raw_read AS
            SELECT record_id, (payload->>'amount')::numeric(28, 8) AS amount, 'USD'::text AS currency,
                   payload->>'date' AS day, payload->>'status' AS status, payload->>'account_id' AS account_id
            FROM raw.teller_transactions
            """
        )
        postgres.execute("CREATE TABLE public.raw_typed AS SELECT * FROM public.raw_read")
        postgres.execute("ALTER TABLE public.raw_typed ADD PRIMARY KEY (record_id)")
        postgres.execute("ANALYZE public.raw_typed")


def _text(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _raw(lake: Lake, sides: Sides, case: str) -> float:
    """Read raw, parse every payload, and compare with staging and with the mart: what verification does."""
    with lake.reading() as at:
        table = replace(at.tables[_MART], data=(DataFile(str(sides.parquet[case]), 0, 0),))
        steps = Steps(replace(at, tables={**at.tables, _MART: table}), _expected(), Graph.of(PROJECT), None)
        started = time.perf_counter()
        steps.read_raw()
        steps.read_published()
        steps.wait({})
        staged, ended = differences(steps)
        seconds = time.perf_counter() - started
        if staged:
            raise RuntimeError(f"expected staging as raw, found {staged.counts}")
        _check(at.duck, sides, case, ended, "suspects")
    return seconds


def _typed(lake: Lake, sides: Sides, case: str) -> float:
    """Fetch the table of PostgreSQL once, and compare it."""
    with lake.reading() as at:
        at.duck.execute(f"ATTACH {_text(sides.file)} AS sides (READ_ONLY)")
        started = time.perf_counter()
        at.duck.execute("CREATE TEMP TABLE fetched AS FROM pg.public.raw_typed")
        found = _compared(at.duck, "fetched", f"sides.mart_{case}")
        seconds = time.perf_counter() - started
        _check(at.duck, sides, case, found, found.table)
    return seconds


def _one(_: Lake, sides: Sides, case: str) -> float:
    with duckdb.connect(str(sides.file), read_only=True) as duck:
        started = time.perf_counter()
        found = _compared(duck, "raw", f"mart_{case}")
        seconds = time.perf_counter() - started
        _check(duck, sides, case, found, found.table)
    return seconds


def _compared(duck: duckdb.DuckDBPyConnection, left: str, right: str) -> Differences:
    return compare(duck, left, right, key=("record_id",), group=("account_id", "day"), fields=VALUES)


def _check(duck: duckdb.DuckDBPyConnection, sides: Sides, case: str, found: Differences, table: str | None) -> None:
    """Exactly the planted keys, and as many of each class."""
    if dict(found.counts) != sides.expected(case):
        raise RuntimeError(f"{case}: expected {sides.expected(case)}, found {dict(found.counts)}")
    if found.table is not None:
        keys = {one for (one,) in duck.execute(f"SELECT record_id FROM {table}").fetchall()}
        if keys != frozenset().union(*sides.planted.values()):
            raise RuntimeError(f"{case}: expected the planted records, found {len(keys)} others or some of them")


def _reladiff(place: Place, sides: Sides, pair: str, case: str) -> tuple[float, str, str]:
    """Seconds, version, and in which of the planted it is wrong."""
    one = _PEERS[pair]
    command = [str(_PYTHON), str(_FOLDER / "differ.py"), one.algorithm, one.left, f"mart_{case}", str(sides.file)]
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(place.settings.home)}
    if pair != "one":
        environment["POSTGRES_URL"] = place.where.postgres_url
    ended = subprocess.run(command, cwd=place.settings.home, env=environment, stdout=subprocess.PIPE, check=True)
    told = json.loads(ended.stdout)
    found = {key for _, key in told["found"]}
    planted = frozenset[str]().union(*sides.planted.values()) if case == "different" else frozenset[str]()
    parts = [
        f"{len(keys - found):,} {name}" for name, keys in sides.planted.items() if case == "different" and keys - found
    ]
    if others := len(found - planted):
        parts.append(f"{others:,} that are equal")
    return told["seconds"], told["version"], f" (wrong in {', '.join(parts)})" if parts else ""
