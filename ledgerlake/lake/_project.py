"""The dbt project as files: its models and its fingerprint.

Does not belong here: parsing or running it (``_runner``).
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[2] / "dbt_project"

_CODE = {".sql", ".yml", ".yaml", ".csv", ".py"}
_WRITTEN_BY_DBT = {"target", "logs", "dbt_packages"}


def models(project: Path = PROJECT) -> frozenset[str]:
    """The names of the project's models; dbt demands that they are unique."""
    return frozenset(path.stem for path in (project / "models").rglob("*.sql"))


def fingerprint(project: Path = PROJECT) -> str:
    """Changes when a model, macro, test or option changes: then what was published is no longer what it says."""
    digest = hashlib.blake2b(digest_size=16)
    for path in _files(project):
        digest.update(f"{path.relative_to(project).as_posix()}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _files(project: Path) -> Iterator[Path]:
    for path in sorted(project.rglob("*")):
        if (
            path.suffix in _CODE
            and not path.name.startswith(".")
            and path.relative_to(project).parts[0] not in _WRITTEN_BY_DBT
        ):
            yield path
