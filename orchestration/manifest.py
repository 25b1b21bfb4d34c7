"""The dbt manifest that asset definitions are made from: parsed once for each state of the dbt project.

No server is needed to parse. The result is kept under DBT_TARGET_PATH, or else LEDGERLAKE_HOME, in a file named after
the project's fingerprint, so it is never an older project's.
"""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ledgerlake.errors import LedgerlakeError, UsageError
from ledgerlake.lake import PROJECT, fingerprint
from ledgerlake.settings import Settings


def load_manifest(settings: Settings, project: Path = PROJECT) -> Mapping[str, Any]:
    """dbt's manifest of the project as it is now.

    Raises:
        LedgerlakeError: dbt cannot parse the project.
        UsageError: the folder for the result cannot be written.
    """
    folder = _folder(settings)
    path = folder / f"manifest-{fingerprint(project)}.json"
    if not path.exists():
        try:
            _parse(project, path)
        except OSError as error:
            raise UsageError(
                f"{folder} cannot be written: {error.strerror}. "
                "Name a folder that can be in DBT_TARGET_PATH or LEDGERLAKE_HOME."
            ) from None
    manifest: Mapping[str, Any] = msgspec.json.decode(path.read_bytes())
    return manifest


def _folder(settings: Settings) -> Path:
    """Where dbt's results go: its own variable, which no setting of ours repeats."""
    named = os.environ.get("DBT_TARGET_PATH")
    return Path(named).absolute() if named else settings.home / "dbt"


def _parse(project: Path, path: Path) -> None:
    """Parse aside, then rename: two processes at once, or a kill in the middle, leave a whole file or none."""
    from dbt.cli.main import dbtRunner

    path.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix="parse-", dir=path.parent))
    try:
        result = dbtRunner().invoke(
            [
                *("--quiet", "--no-use-colors", "--log-level", "none", "--log-level-file", "none"),
                *("--log-path", str(aside)),
                "parse",
                *("--project-dir", str(project), "--profiles-dir", str(project), "--target-path", str(aside)),
            ]
        )
        if not result.success:
            said = " ".join(str(result.exception or "it said nothing").split())
            raise LedgerlakeError(f"dbt cannot parse the project {project}: {said}")
        (aside / "manifest.json").replace(path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    for old in path.parent.glob("manifest-*.json"):
        if old != path:
            old.unlink(missing_ok=True)
