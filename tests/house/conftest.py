"""What the tests of the house share: where it stands, and which files are the project's own."""

import fnmatch
import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the checkout."""
    return Path(__file__).parents[2]


@pytest.fixture(scope="session")
def own_files(root: Path) -> list[Path]:
    """Every file that is not ignored by .gitignore, relative to the top."""
    lines = (root / ".gitignore").read_text().splitlines()
    ignored = [line.rstrip("/") for line in lines if line and not line.startswith("#")] + [".git"]

    def own(path: Path) -> bool:
        return not any(fnmatch.fnmatch(path.name, p) or fnmatch.fnmatch(str(path), p) for p in ignored)

    found = []
    for folder, folders, names in os.walk(root):
        here = Path(folder).relative_to(root)
        folders[:] = [name for name in folders if own(here / name)]
        found += [here / name for name in names if own(here / name)]
    return sorted(found)
