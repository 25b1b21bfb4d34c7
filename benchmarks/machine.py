"""The machine that the figures are from, told without naming it: no host, no path."""

import importlib.metadata
import os
import platform
from pathlib import Path

import psycopg

from ledgerlake.local import Servers


def facts(where: Servers) -> dict[str, str]:
    """Cores, processor, memory, and the versions of what is measured."""
    with psycopg.connect(where.postgres_url) as connection:
        postgres = connection.info.server_version // 10000
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "CPU": _cpu(),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": platform.system(),
        "Python": platform.python_version(),
        "PostgreSQL": str(postgres),
        "DuckDB": importlib.metadata.version("duckdb"),
        "psycopg": importlib.metadata.version("psycopg"),
        "httpx": importlib.metadata.version("httpx"),
        "Ledgerlake": importlib.metadata.version("ledgerlake"),
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
