"""``python -m benchmarks``: runs them, prints the table, and writes it down when all of them ran."""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import comparing, ingest, memory, pages, publish, thrift, transform
from benchmarks.house import House, Size
from benchmarks.machine import facts
from benchmarks.result import Comparison, as_json, as_table, say, write_readme
from ledgerlake import log
from ledgerlake.local import servers
from ledgerlake.settings import Settings

_FOLDER = Path(__file__).parent

BENCHMARKS: Mapping[str, Callable[[House, Size], list[Comparison]]] = {
    "ingest": ingest.measure,
    "transform": transform.measure,
    "memory": memory.measure,
    "publish": publish.measure,
    "comparing": comparing.measure,
    "requests": thrift.measure,
    "pages": pages.measure,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks that are named, or all of them. Everything they make is in a folder that is removed."""
    asked = _parser().parse_args(arguments)
    names = asked.names or list(BENCHMARKS)
    size = Size(rows=asked.rows, runs=asked.runs)
    forget_environment()
    log.configure("warning")
    found: list[Comparison] = []
    with tempfile.TemporaryDirectory(prefix="ledgerlake-bench-") as folder:
        home = Path(folder)
        with servers(Settings(home=home / "servers")) as where:
            for name in names:
                say(name, f"begins, {size.rows:,} rows, {size.runs} runs")
                found += BENCHMARKS[name](House(where, home), size)
            machine = facts(where)
    sys.stdout.write(as_table(found) + "\n")
    text = as_json(found, machine, size)
    if asked.json is not None:
        asked.json.write_text(text)
    if set(names) == set(BENCHMARKS):
        (_FOLDER / "results.json").write_text(text)
        write_readme(_FOLDER / "README.md", found, machine, size)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", type=_benchmark, help=", ".join(BENCHMARKS))
    parser.add_argument("--rows", type=_positive, default=200_000, help="transactions of the account (200000)")
    parser.add_argument("--runs", type=_positive, default=3, help="runs of each; the median counts (3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    return parser


def _benchmark(text: str) -> str:
    if text not in BENCHMARKS:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(BENCHMARKS)}, found {text}")
    return text


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, found {text}")
    return number


def forget_environment() -> None:
    """No setting of the developer's own: what is measured is the same on every machine."""
    for name in list(os.environ):
        if name.startswith(("LEDGERLAKE_", "AWS_", "DBT_", "PG")):
            del os.environ[name]
    Settings.model_config["env_file"] = None


if __name__ == "__main__":
    sys.exit(main())
