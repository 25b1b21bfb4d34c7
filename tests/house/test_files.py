"""What no file of the project may hold, and which files it must have."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

# Spelled so that this file does not hold them itself.
ADDRESS_OF_AN_INDEX = re.compile(r"python[h]osted|p[y]pi\.org|regist[r]y\.npmjs|index[-]url", re.IGNORECASE)
HOME_PATH = re.compile(r"(?<![\w.$}~])/(?:root|home|Users|work)/")


def found(pattern: re.Pattern[str], root: Path, files: list[Path]) -> list[str]:
    return [
        f"{path}: {match[0]}"
        for path in files
        for match in [pattern.search((root / path).read_text(encoding="utf-8", errors="replace"))]
        if match
    ]


def test_no_file_names_a_package_index(root: Path, own_files: list[Path]) -> None:
    assert found(ADDRESS_OF_AN_INDEX, root, own_files) == []


def test_no_file_names_somebodys_home(root: Path, own_files: list[Path]) -> None:
    assert found(HOME_PATH, root, own_files) == []


def test_the_patterns_find_what_they_are_for(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("--index" + "-url x\n/ho" + "me/ann/ledgerlake\n")
    assert found(ADDRESS_OF_AN_INDEX, tmp_path, [Path("bad")]) == ["bad: index" + "-url"]
    assert found(HOME_PATH, tmp_path, [Path("bad")]) == ["bad: /ho" + "me/"]


def test_no_environment_file_with_secrets_is_among_the_files(own_files: list[Path]) -> None:
    assert [str(path) for path in own_files if path.name.startswith(".env")] == [".env.example"]


def test_the_license_is_the_one_that_the_package_names(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    lines = [line.strip() for line in (root / "LICENSE").read_text().split("\n") if line.strip()]
    assert (project["license"], project["license-files"]) == ("Apache-2.0", ["LICENSE"])
    assert lines[:2] == ["Apache License", "Version 2.0, January 2004"]
    assert "END OF TERMS AND CONDITIONS" in lines


def test_every_link_between_the_documents_leads_somewhere(root: Path) -> None:
    done = subprocess.run([sys.executable, "scripts/links.py"], cwd=root, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("", 0)


def test_a_link_that_leads_nowhere_is_named(root: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(
        "# One two\n[a](gone.md) [b](#one-two) [c](#three) [d](docs/x.md#y)\n```\n[e](code)\n```\n"
    )
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/x.md").write_text("# X\n")
    script = root / "scripts/links.py"
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout.splitlines(), done.returncode) == (
        [
            "README.md: gone.md does not exist",
            "README.md: README.md has no heading #three",
            "README.md: docs/x.md has no heading #y",
        ],
        1,
    )
