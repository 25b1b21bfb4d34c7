"""Writes docs/reference/ from what it documents: settings, commands and tables. With --check: is it up to date?"""

import sys
from pathlib import Path
from typing import Any

import typer
import yaml

from ledgerlake.cli._main import app
from ledgerlake.settings import Settings, variable

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "reference"
NOTE = "<!-- Written by `make docs` from the code: change it there. -->\n"


def settings() -> str:
    """The table of environment variables."""
    lines = [
        "# Settings\n",
        NOTE,
        "Environment variables, or lines of a file `.env` in the working directory. Each is read once, at the start.\n",
        "| variable | meaning | unset |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        default = field.default
        shown = "" if default is None or default == () else f"`{default}`"
        lines.append(f"| `{variable(name)}` | {field.description} | {shown} |")
    return "\n".join(lines) + "\n"


def commands() -> str:
    """Each command with its arguments."""
    group: Any = typer.main.get_command(app)
    lines = [
        "# Commands\n",
        NOTE,
        "Results go to stdout, logs and progress to stderr. Exit 0: done; 1: the work failed; 2: wrong usage or settings.\n",
    ]
    for name, command in group.commands.items():
        lines += [f"## ledgerlake {name}\n", (command.help or "").strip() + "\n"]
        rows = []
        for parameter in command.params:
            record = getattr(parameter, "help", None) or ""
            if parameter.param_type_name == "argument":
                rows.append(f"| `{parameter.name.upper()}` | {record} |")
            elif "--help" not in parameter.opts:
                rows.append(f"| `{', '.join(parameter.opts)}` | {record} |")
        if rows:
            lines += ["| argument | meaning |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def tables() -> str:
    """Each published table with its columns, from the contracts of the dbt models."""
    lines = [
        "# Published tables\n",
        NOTE,
        "`ledgerlake sql` shows each of them under its name; `staging.` and `intermediate.` go before the others' names.\n",
    ]
    for schema, folder in (("marts", "marts"), ("intermediate", "intermediate"), ("staging", "staging")):
        lines.append(f"## {schema}\n")
        models = [
            model
            for path in sorted((ROOT / "dbt_project" / "models" / folder).rglob("*.yml"))
            for model in yaml.safe_load(path.read_text()).get("models", [])
        ]
        for model in sorted(models, key=lambda one: str(one["name"])):
            lines += [f"### {model['name']}\n", " ".join(str(model["description"]).split()) + "\n"]
            lines += ["| column | type | meaning |", "|---|---|---|"]
            for column in model["columns"]:
                described = " ".join(str(column.get("description", "")).split())
                lines.append(f"| `{column['name']}` | {column['data_type']} | {described} |")
            lines.append("")
    return "\n".join(lines)


def main() -> int:
    check = "--check" in sys.argv
    stale = []
    for name, text in (("settings", settings()), ("commands", commands()), ("tables", tables())):
        path = FOLDER / f"{name}.md"
        if not path.exists() or path.read_text() != text:
            stale.append(str(path.relative_to(ROOT)))
            if not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
    if stale:
        print(f"{'stale, run `make docs`' if check else 'written'}: {', '.join(stale)}")
    return 1 if stale and check else 0


if __name__ == "__main__":
    sys.exit(main())
