"""GitHub's workflows: pinned, with few rights and an end, and calling only what is there."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

WORKFLOWS = sorted((Path(__file__).parents[2] / ".github/workflows").glob("*.yml"))


def load(path: Path) -> dict[Any, Any]:
    loaded: dict[Any, Any] = yaml.safe_load(path.read_text())
    return loaded


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit_and_say_the_version(path: Path) -> None:
    used = re.findall(r"uses: (.+)", path.read_text())
    assert used
    assert [use for use in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_read_and_nothing_else(path: Path) -> None:
    workflow = load(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert [name for name, job in workflow["jobs"].items() if "permissions" in job] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_job_has_an_end_and_a_newer_push_stops_an_older_run(path: Path) -> None:
    workflow = load(path)
    assert [name for name, job in workflow["jobs"].items() if not 0 < job.get("timeout-minutes", 0) <= 30] == []
    assert "cancel-in-progress" in workflow["concurrency"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_jobs_call_targets_that_the_makefile_has(root: Path, path: Path) -> None:
    runs = [step["run"] for job in load(path)["jobs"].values() for step in job["steps"] if "run" in step]
    called = {target for run in runs for target in re.findall(r"^make (?:--\S+ )*([a-z-]+)", run, re.MULTILINE)}
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE))
    assert called - targets == set()


def test_the_tests_run_on_every_python_that_the_package_names(root: Path) -> None:
    matrix = load(root / ".github/workflows/ci.yml")["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert matrix == ["3.11", "3.12", "3.13"]
    assert 'requires-python = ">=3.11"' in (root / "pyproject.toml").read_text()


def test_the_paths_that_start_the_image_workflow_exist(root: Path) -> None:
    on = load(root / ".github/workflows/image.yml")[True]  # YAML 1.1 reads the key "on" as a truth value
    assert [path for path in on["push"]["paths"] if not any(root.glob(path.removesuffix("/**")))] == []
