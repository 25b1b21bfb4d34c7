"""dlt's environment, and a run of it there: ``peer`` is what runs inside.

Does not belong here: what is compared (``ingest``).
"""

import json
import os
import secrets
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psycopg
from psycopg import sql

from benchmarks.bank import COUNT
from benchmarks.house import Place

_FOLDER = Path(__file__).parent
_ENVIRONMENT = _FOLDER / ".venv-dlt"
_PYTHON = _ENVIRONMENT / "bin" / "python"
_UV = Path(sys.executable).parent / "uv"

FileFormat = Literal["default", "csv"]
"""How dlt hands rows to PostgreSQL: INSERT statements are its default, COPY of CSV is what its documentation tunes to."""


@dataclass(frozen=True)
class Run:
    """One load by dlt; the seconds are those of `pipeline.run`, without the start of Python."""

    seconds: float
    version: str


def prepare() -> None:
    """Make the environment from its lock, or see that it is made."""
    if not _PYTHON.exists():
        subprocess.run([_UV, "venv", "--quiet", "--python", sys.executable, _ENVIRONMENT], check=True)
    lock = _FOLDER / "dlt.lock"
    subprocess.run(
        [_UV, "pip", "sync", "--quiet", "--python", _PYTHON, "--require-hashes", "--compile-bytecode", lock],
        check=True,
    )


def load(place: Place, url: str, rows: int, file_format: FileFormat) -> Run:
    """Load the bank's transactions into a fresh schema of the place's database. They must all have come."""
    dataset = f"dlt_{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory(dir=place.settings.home) as folder:
        ended = subprocess.run(
            [_PYTHON, _FOLDER / "peer.py", url, dataset, str(COUNT), file_format, folder],
            cwd=folder,
            env=_sealed(place, folder),
            stdout=subprocess.PIPE,
            check=True,
        )
    with psycopg.connect(place.where.postgres_url) as connection:
        query = sql.SQL("SELECT count(*), count(DISTINCT id) FROM {}").format(sql.Identifier(dataset, "transactions"))
        found = connection.execute(query).fetchone()
    if found != (rows, rows):
        raise RuntimeError(f"expected {rows} rows loaded by dlt, found {found}")
    told = json.loads(ended.stdout)
    return Run(told["seconds"], told["version"])


def _sealed(place: Place, folder: str) -> dict[str, str]:
    """The environment of the process: no telemetry, no way out of this machine, nothing left behind."""
    nowhere = "http://127.0.0.1:9"
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": folder,
        "DLT_DATA_DIR": folder,
        "DLT_PROJECT_DIR": folder,
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "RUNTIME__LOG_LEVEL": "ERROR",
        "DESTINATION__POSTGRES__CREDENTIALS": place.where.postgres_url,
        "HTTP_PROXY": nowhere,
        "HTTPS_PROXY": nowhere,
        "NO_PROXY": "127.0.0.1",
    }
