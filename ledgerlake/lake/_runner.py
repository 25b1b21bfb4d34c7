"""Runs dbt in this process: quiet on stdout, reporting through a callback.

dbt costs seconds to import, so that is done at the first run; parsing again is partial, its state is kept under
LEDGERLAKE_HOME. Does not belong here: what is built and what becomes of it (``_lake``).
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ledgerlake.lake._errors import BuildFailed
from ledgerlake.lake._plan import HANDOVER, File, Plan
from ledgerlake.lake._project import PROJECT

Status = Literal["started", "passed", "warned", "failed", "skipped"]

_STATUS: dict[str, Status] = {
    "success": "passed",
    "pass": "passed",
    "warn": "warned",
    "error": "failed",
    "fail": "failed",
    "runtime error": "failed",
    "partial success": "failed",
    "skipped": "skipped",
}


@dataclass(frozen=True)
class Progress:
    """A model or a test began or ended. `rows` are a model's rows, or the rows that fail a test."""

    kind: Literal["model", "test"]
    name: str
    status: Status
    rows: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class ModelResult:
    """A model that was built."""

    name: str
    schema: str
    rows: int
    seconds: float
    files: tuple[File, ...]


@dataclass(frozen=True)
class TestResult:
    """A test that ran; `rows` fail it."""

    __test__ = False

    name: str
    model: str | None
    status: Status
    rows: int
    seconds: float


@dataclass(frozen=True)
class Failure:
    """Why the audit did not pass, in a sentence; `model` is where to look."""

    model: str
    sentence: str


@dataclass(frozen=True)
class Outcome:
    """What one run of dbt did."""

    models: tuple[ModelResult, ...]
    tests: tuple[TestResult, ...]
    failures: tuple[Failure, ...]

    @property
    def files(self) -> tuple[File, ...]:
        return tuple(file for model in self.models for file in model.files)


def run(
    plan: Plan,
    select: str | None,
    progress: Callable[[Progress], None] | None = None,
    project: Path = PROJECT,
) -> Outcome:
    """Build and test the selected models into the plan's prefix.

    Raises:
        BuildFailed: the project cannot be parsed, or the selection names nothing.
    """
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner

    state = plan.settings.home / "dbt"
    arguments = [
        *("--quiet", "--no-use-colors", "--log-level", "none", "--log-level-file", "none"),
        *("--log-path", str(state)),
        "build",
        *("--project-dir", str(project), "--profiles-dir", str(project), "--target-path", str(state)),
        *("--exclude-resource-type", "unit_test"),
        "--no-write-json",
        *(("--select", *select.split()) if select else ()),
        *(("--exclude", *(model.name for model in plan.absent)) if plan.absent else ()),
    ]
    listener = _Listener(progress) if progress else None
    with _ONE_AT_A_TIME, HANDOVER.give(plan):
        try:
            result = dbtRunner(callbacks=[listener] if listener else []).invoke(arguments)
            files = HANDOVER.files()
        finally:
            _close(DuckDBConnectionManager)
    results: Sequence[Any] = getattr(result.result, "results", None) or ()
    if result.exception is not None:
        raise BuildFailed(f"dbt cannot build the project: {_flat(str(result.exception))}") from result.exception
    if not any(one.node.resource_type == "model" for one in results):
        raise BuildFailed(f"--select {select}: no model is selected. Names are those of dbt_project/models.")
    return _outcome(results, files)


_ONE_AT_A_TIME = threading.Lock()
"""dbt keeps its adapter in module globals."""


def _close(manager: Any) -> None:
    """End the database in memory: dbt would keep it, and use it again, for as long as the process lives."""
    environment, manager._ENV = manager._ENV, None  # noqa: SLF001 - dbt-duckdb has no public way
    if environment is not None and environment.conn is not None:
        environment.conn.close()


class _Listener:
    """Turns dbt's events into `Progress`."""

    def __init__(self, progress: Callable[[Progress], None]) -> None:
        self._progress = progress

    def __call__(self, event: Any) -> None:
        if event.info.name not in {"NodeStart", "NodeFinished"}:
            return
        node = event.data.node_info
        if node.resource_type not in {"model", "test"}:
            return
        if event.info.name == "NodeStart":
            self._progress(Progress(node.resource_type, node.node_name, "started"))
            return
        result = event.data.run_result
        rows = (
            int(dict(result.adapter_response).get("rows_affected") or 0)
            if node.resource_type == "model"
            else int(result.num_failures)
        )
        self._progress(
            Progress(
                node.resource_type,
                node.node_name,
                _STATUS[str(result.status)],
                rows,
                float(result.execution_time),
            )
        )


def _outcome(results: Sequence[Any], files: Sequence[File]) -> Outcome:
    models: list[ModelResult] = []
    tests: list[TestResult] = []
    failures: list[Failure] = []
    for result in results:
        node, status = result.node, _STATUS[str(result.status)]
        if node.resource_type == "model":
            own = tuple(file for file in files if file.model == node.name)
            if status == "passed":
                rows = sum(file.rows for file in own)
                models.append(ModelResult(node.name, node.schema, rows, result.execution_time, own))
        elif node.resource_type == "test":
            tests.append(TestResult(node.name, _model(node), status, result.failures or 0, result.execution_time))
        if status == "failed":
            failures.append(Failure(_model(node) or node.name, _why(result)))
    return Outcome(tuple(models), tuple(tests), tuple(failures))


def _model(node: Any) -> str | None:
    """The model that a test is attached to."""
    attached = getattr(node, "attached_node", None)
    return attached.rpartition(".")[2] if attached else None


def _why(result: Any) -> str:
    node = result.node
    if node.resource_type == "test" and result.failures:
        model, rows = _model(node) or node.name, "1 row" if result.failures == 1 else f"{result.failures} rows"
        return f"test {node.name}: {rows} of {model}"
    return f"{node.resource_type} {node.name}: {_flat(result.message or 'no message')}"


def _flat(text: str) -> str:
    """One line, without dbt's stack of macros."""
    lines = (line.strip() for line in text.splitlines())
    return " ".join(line for line in lines if line and not line.startswith(("> in macro", "> called by")))
