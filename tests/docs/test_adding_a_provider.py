"""docs/adding-a-provider.md followed to the letter, in a copy of the house."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from ledgerlake.local import S3

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "adding-a-provider.md"
ROOMS = ("connectors", "dbt_project", "docs", "ledgerlake", "sandbox", "tests/connectors")
PROOF = "/tmp/acme.py"
_PART = re.compile(
    r"^\*\*`(?P<name>[^`\n]+)`\*\*(?P<where>[^\n]*)$|^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the rooms that the guide changes."""
    copy = tmp_path / "house"
    for room in ROOMS:
        shutil.copytree(
            ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__", "target", "logs", ".user.yml")
        )
    return copy


def follow(house: Path) -> list[str]:
    """Do all that the guide says; the names of the files that it writes and changes."""
    last = max(path.name[:4] for path in (house / "ledgerlake/store/migrations/versions").glob("[0-9]*.py"))
    following = f"{int(last) + 1:04}"
    touched, name, everywhere = [], "", False
    for part in _PART.finditer(GUIDE.read_text()):
        if part["name"]:
            name, everywhere = part["name"].replace("NEXT", following), "each place" in part["where"]
        elif part["kind"] == "diff":
            change(house / name, part["text"], everywhere=everywhere)
            touched.append(name)
        elif part["kind"] != "console":
            path = house / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(part["text"].replace('"NEXT"', f'"{following}"').replace('"LAST"', f'"{last}"'))
            touched.append(name)
    return touched


def change(path: Path, diff: str, *, everywhere: bool) -> None:
    """Apply a change. What it stands beside must be there once, or at least once where every place is meant."""
    lines = diff.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] in " -")
    after = "".join(line[1:] for line in lines if line[0] in " +")
    text = path.read_text()
    found = text.count(f"\n{before}")
    assert found == 1 or (everywhere and found), f"{path.name}: found {found} times:\n{before}"
    path.write_text(text.replace(f"\n{before}", f"\n{after}"))


def python(house: Path, *arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run Python in the copy, which stands before the house itself."""
    return subprocess.run(
        [sys.executable, *arguments],
        env={"PATH": os.environ["PATH"], "HOME": str(house), "PYTHONPATH": str(house), **env},
        cwd=house,
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_the_guide_says_to_change_is_where_it_says(house: Path) -> None:
    assert {"connectors/acme.py", "sandbox/acme.py", "ledgerlake/settings.py", PROOF} <= set(follow(house))
    # What the suite has to know of a provider is not run here; it must be of the suite's shape.
    told = python(house, "-c", "from tests.connectors.suite import ACME; print(ACME)", env={})
    assert (told.stdout, told.stderr) == ("acme\n", "")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_provider_added_by_the_guide_brings_marts_that_equal_its_truth(
    house: Path, tmp_path: Path, empty_postgres_url: str, s3: S3
) -> None:
    follow(house)
    given = {
        "LEDGERLAKE_HOME": str(tmp_path / "home"),
        "LEDGERLAKE_POSTGRES_URL": empty_postgres_url,
        "LEDGERLAKE_BUCKETS": "2",
        "LEDGERLAKE_SECRET_KEYS": Fernet.generate_key().decode(),
        "LEDGERLAKE_S3_URL": s3.url,
        "AWS_ENDPOINT_URL_S3": s3.endpoint or "",
        "AWS_ACCESS_KEY_ID": s3.access_key or "",
        "AWS_SECRET_ACCESS_KEY": s3.secret_key or "",
        "AWS_REGION": s3.region,
    }
    ended = python(house, str(house / PROOF.lstrip("/")), env=given)
    assert ended.returncode == 0, ended.stderr
    told = re.findall(r"^(\S+): (\d+) new, \d+ removed; the marts equal the truth$", ended.stdout, re.MULTILINE)
    assert [day for day, new in told if int(new) > 0] == ["2026-03-01", "2026-03-10"]
