"""The directions in which the rooms may import, as import-linter finds them."""

import subprocess
import sys
import tomllib
from pathlib import Path


def test_every_contract_is_kept(root: Path) -> None:
    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert done.stdout.rstrip().splitlines()[-1] == f"Contracts: {len(contracts)} kept, 0 broken."
    assert done.returncode == 0
