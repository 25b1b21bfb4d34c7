"""The locks: everything by hash, and nothing that pyproject.toml asks for is missing or too old."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCKS = ["requirements.lock", ".ci/tools.lock", ".ci/build.lock"]


def entries(lock: Path) -> list[str]:
    """The requirements of a lock, each on one line."""
    joined = lock.read_text().replace("\\\n", " ")
    return [line for line in joined.splitlines() if line and not line.lstrip().startswith("#")]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_one_version_with_hashes(root: Path, lock: str) -> None:
    form = re.compile(r"[a-z0-9.-]+==\S+(?: ; [^#]+?)?(?: +--hash=sha256:[0-9a-f]{64})+ *")
    found = entries(root / lock)
    assert found
    assert [entry[:60] for entry in found if not form.fullmatch(entry)] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_no_address(root: Path, lock: str) -> None:
    assert "://" not in (root / lock).read_text()


def test_the_lock_has_all_that_the_project_asks_for(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    locked: dict[str, list[str]] = {}
    for entry in entries(root / "requirements.lock"):
        name, version = entry.split()[0].split("==")
        locked.setdefault(canonicalize_name(name), []).append(version)
    unmet = [
        text
        for text in wanted
        for wish in [Requirement(text)]
        if not any(wish.specifier.contains(v) for v in locked.get(canonicalize_name(wish.name), []))
    ]
    assert unmet == []
