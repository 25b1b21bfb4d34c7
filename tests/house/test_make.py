"""The Makefile and scripts/setup, against interpreters made for the purpose: no network, no real environment."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

# Takes the calls that scripts/setup makes and writes them down; `-m venv` makes an environment of such fakes.
FAKE = """#!/bin/sh
case "$*" in
    "-m venv .venv")
        mkdir -p .venv/bin
        for name in python pip uv; do cp "$0" .venv/bin/$name; done
        echo "# $PWD/.venv/bin/python" >>.venv/bin/pip ;;
    "-m pip --version" | "-c ") exit 0 ;;
    "-V") echo "Python 3.12.1" && exit 0 ;;
    -c*) echo "$FAKE_ANSWER" && exit 0 ;;
esac
echo "${0##*/} $*" >>"$FAKE_CALLS"
"""


class Checkout:
    """A checkout with what scripts/setup reads, and a fake interpreter for it."""

    def __init__(self, at: Path, house: Path) -> None:
        self.at = at
        self.calls = at.parent / "calls"
        self.python = at.parent / "fake-python"
        self.python.write_text(FAKE)
        self.python.chmod(0o755)
        for name in ["pyproject.toml", "requirements.lock", ".ci/tools.lock", ".ci/build.lock", "scripts/setup"]:
            (at / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(house / name, at / name)

    def setup(self, answer: str = "3.12.1 good", python: str | None = None) -> tuple[int, str]:
        self.calls.write_text("")
        done = subprocess.run(
            ["scripts/setup"],
            cwd=self.at,
            env={
                "PATH": os.environ["PATH"],
                "PYTHON": python or str(self.python),
                "FAKE_ANSWER": answer,
                "FAKE_CALLS": str(self.calls),
            },
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stderr

    def called(self) -> list[str]:
        return [" ".join(line.split()[:3]) for line in self.calls.read_text().splitlines()]


@pytest.fixture
def checkout(tmp_path: Path, root: Path) -> Checkout:
    return Checkout(tmp_path / "checkout", root)


ALL = ["fake-python -m venv", "python -m pip", "uv pip sync", "uv pip install"]


def test_a_second_setup_does_nothing(checkout: Checkout) -> None:
    assert checkout.setup() == (0, "")
    assert checkout.called() == ALL
    assert checkout.setup() == (0, "")
    assert checkout.called() == []


@pytest.mark.parametrize("changed", ["requirements.lock", "pyproject.toml", ".ci/tools.lock"])
def test_a_changed_lock_is_installed_into_the_same_environment(checkout: Checkout, changed: str) -> None:
    checkout.setup()
    with (checkout.at / changed).open("a") as file:
        file.write("# newer\n")
    assert checkout.setup() == (0, "")
    assert checkout.called() == ALL[1:]


def test_a_moved_checkout_gets_a_new_environment(checkout: Checkout) -> None:
    checkout.setup()
    checkout.at = checkout.at.rename(checkout.at.parent / "moved")
    assert checkout.setup() == (0, "")
    assert checkout.called() == ALL


def test_a_setup_that_was_broken_off_is_taken_up(checkout: Checkout) -> None:
    checkout.setup()
    (checkout.at / ".venv/.ledgerlake-setup").unlink()
    assert checkout.setup() == (0, "")
    assert checkout.called() == ALL[1:]


REMEDY = "Install one, or name it: make setup PYTHON=/path/to/python3\n"


def test_a_python_that_is_too_old_gets_one_sentence(checkout: Checkout) -> None:
    found = f"found is Python 3.9.2 ({checkout.python})"
    assert checkout.setup("3.9.2 old") == (1, f"setup: Python 3.11 or newer is needed; {found}. {REMEDY}")
    assert checkout.called() == []


def test_a_python_without_ensurepip_gets_one_sentence(checkout: Checkout) -> None:
    cannot = f"Python 3.11.2 ({checkout.python}) cannot make virtual environments (no ensurepip)"
    remedy = "On Debian and Ubuntu: apt-get install python3-venv\n"
    assert checkout.setup("3.11.2 bare") == (1, f"setup: {cannot}. {remedy}")
    assert checkout.called() == []


def test_a_python_that_is_not_there_gets_one_sentence(checkout: Checkout) -> None:
    missing = "/nowhere/python3"
    assert checkout.setup(python=missing) == (
        1,
        f"setup: Python 3.11 or newer is needed; {missing} is not it. {REMEDY}",
    )


def test_every_target_is_explained_by_make_help(root: Path) -> None:
    targets = re.findall(r"^\.PHONY: ([a-z-]+)$", (root / "Makefile").read_text(), re.MULTILINE)
    shown = subprocess.run(["make", "help"], cwd=root, capture_output=True, text=True, check=True).stdout
    assert [line.split()[1] for line in shown.splitlines()] == targets
    assert all(len(line.split(maxsplit=2)) == 3 for line in shown.splitlines())


def test_ci_calls_nothing_but_targets_of_the_makefile(root: Path) -> None:
    called = re.findall(r"\bmake (?:--[a-z-]+ )*([a-z-]+)", (root / ".ci/run").read_text().split("set -euo", 1)[1])
    targets = re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE)
    assert {"setup", "check", "test"} <= set(called)
    assert [target for target in called if target not in {*targets, "exited"}] == []


def test_scripts_can_be_executed(root: Path) -> None:
    assert [name for name in (".ci/run", "scripts/setup") if not os.access(root / name, os.X_OK)] == []
