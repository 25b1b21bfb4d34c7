"""The dbt project as files: its models and its fingerprint.

Does not belong here: parsing or running it (``_runner``).
"""

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml  # type: ignore[import-untyped]

PROJECT = Path(__file__).parents[2] / "dbt_project"

# The parser in C reads the contracts ten times as fast.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_CODE = {".sql", ".yml", ".yaml", ".csv", ".py"}
_WRITTEN_BY_DBT = {"target", "logs", "dbt_packages"}


_LAYERS = {"staging": "staging", "intermediate": "intermediate", "marts": "main"}


@dataclass(frozen=True)
class Model:
    """A model by its file and its contract.

    `provider` is the folder under its layer, if any: such a model is built only where the provider has a connection, and
    is an empty relation with the contract's columns until then.
    """

    name: str
    schema: str
    provider: str | None
    columns: tuple[tuple[str, str], ...]

    @property
    def nothing(self) -> str:
        """A SELECT of its columns and no row."""
        columns = ", ".join(f'null::{kind} as "{name}"' for name, kind in self.columns)
        return f"select {columns} where false"


def models(project: Path = PROJECT) -> dict[str, Model]:
    """The project's models by name; dbt demands that names are unique."""
    folder = project / "models"
    contracts = {
        model["name"]: tuple(
            (column["name"], column.get("data_type", "varchar")) for column in model.get("columns", ())
        )
        for path in (*folder.rglob("*.yml"), *folder.rglob("*.yaml"))
        for model in (yaml.load(path.read_text(), _LOADER) or {}).get("models", ())  # noqa: S506 - a safe loader
    }
    found = {}
    for path in sorted(folder.rglob("*.sql")):
        layer, *inner = path.relative_to(folder).parts[:-1] or ("",)
        provider = inner[0] if inner else None
        found[path.stem] = Model(path.stem, _LAYERS.get(layer, "main"), provider, contracts.get(path.stem, ()))
    return found


def absent(providers: Collection[str], project: Path = PROJECT) -> tuple[Model, ...]:
    """The models of providers that are not among these, which have a connection."""
    return tuple(one for one in models(project).values() if one.provider and one.provider not in providers)


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
