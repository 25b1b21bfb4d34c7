"""`python -m orchestration`: the commands that need Dagster, started by `ledgerlake run`, `up` and `down`.

Belongs here: words in, exit codes out. Nothing heavy is imported before a command needs it.
"""

import datetime as dt
import signal
import sys
from typing import Annotated

import typer

from ledgerlake.errors import LedgerlakeError

_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


@_app.command()
def run(
    today: Annotated[
        dt.datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The day it is; by default today.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
    provider: Annotated[list[str] | None, typer.Option(help="Only this provider; may be given again.")] = None,
) -> None:
    """The daily pass in this process: sync, build, verify."""
    from orchestration import daily
    from orchestration.terminal import Terminal, print_summary

    terminal = Terminal()
    with terminal.showing():
        summary = daily.run(today=today.date() if today else None, providers=provider or (), terminal=terminal)
    for error in summary.errors:
        typer.echo(error, err=True)
    print_summary(summary, as_json=as_json)
    if summary.failed:
        raise typer.Exit(1)


@_app.command()
def up(
    detach: Annotated[bool, typer.Option("--detach", help="Leave all running, until `down`.")] = False,
) -> None:
    """Start the servers, Dagster's UI and its daemon, and the console."""
    from orchestration import processes

    processes.up(detach=detach)


@_app.command()
def down() -> None:
    """Stop what `up --detach` left running."""
    from orchestration import processes

    processes.down()


def main() -> int:
    """Run the command of the process's arguments and return its exit status."""
    # A stop asked for by the system is a Ctrl-C: what was started is stopped, and a run is closed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = _app(prog_name="python -m orchestration", standalone_mode=False)
    except LedgerlakeError as error:
        typer.echo(str(error), err=True)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("Stopped. What was committed stays; the next run goes on from there.", err=True)
        return 130
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        typer.echo(error.format_message(), err=True)
        return 2
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    sys.exit(main())
