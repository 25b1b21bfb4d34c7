"""The command line: `python -m sandbox`."""

import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from sandbox.clock import Clock
from sandbox.server import CannotListen, Server
from sandbox.world import MOST, World

_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@_app.command()
def _sandbox(
    host: Annotated[str, typer.Option(help="Loopback address to listen on.")] = "127.0.0.1",
    expose: Annotated[
        bool, typer.Option("--expose", help="Let --host be reached from elsewhere, as inside a container.")
    ] = False,
    port: Annotated[int, typer.Option(help="Port to listen on; 0 is a free one.", min=0, max=65535)] = 0,
    customers: Annotated[int, typer.Option(help="How many customers there are.", min=1, max=MOST)] = 12,
    years: Annotated[
        int, typer.Option(help="History begins on the 1 January at least so many years ago.", min=0, max=50)
    ] = 1,
    seed: Annotated[int, typer.Option(help="Another seed is another world.")] = 1,
    today: Annotated[
        datetime | None,
        typer.Option(help="The day it is, until it is moved; by default the real one.", formats=["%Y-%m-%d"]),
    ] = None,
    opening: Annotated[
        datetime | None,
        typer.Option(help="The day on which history begins, instead of --years.", formats=["%Y-%m-%d"]),
    ] = None,
    busy: Annotated[
        int, typer.Option(help="About so many records a day more in the first customer's checking.", min=0)
    ] = 0,
    mtls: Annotated[
        Path | None, typer.Option(help="Listen with mutual TLS too; certificates are kept in this directory.")
    ] = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="Write the line that is printed when it answers here as well.")
    ] = None,
) -> None:
    """Serve providers' wire protocols over a generated world, on loopback.

    Prints one line of JSON with the addresses when it answers; SIGTERM or Ctrl-C stops it.
    """
    day = _date(today)
    first = _date(opening)
    now = day or datetime.now(UTC).date()
    world = World(seed, customers, first, busy) if first is not None else World.of(seed, customers, years, now, busy)
    if world.opening > now.toordinal():
        typer.echo(f"History cannot begin on {first}, after the day it is, {now}.", err=True)
        raise typer.Exit(2)
    try:
        server = Server(world, Clock(day), host=host, port=port, mtls=mtls, expose=expose)
    except CannotListen as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None

    def announce(ready: Server) -> None:
        line = msgspec.json.encode(ready.where()).decode()
        if ready_file is not None:
            # Renamed into place, so who waits for the file never reads half of it.
            partial = ready_file.with_name(f".{ready_file.name}.partial")
            partial.write_text(f"{line}\n")
            partial.replace(ready_file)
        print(line, flush=True)

    server.run(announce)


def _date(given: datetime | None) -> date | None:
    return given.date() if given is not None else None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with `argv` (by default the process's own) and return its exit status."""
    try:
        result = _app(args=list(sys.argv[1:] if argv is None else argv), prog_name="sandbox", standalone_mode=False)
    except typer.Exit as stop:
        return stop.exit_code
    except typer.Abort:
        return 1
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        typer.echo(f"{error.format_message()} Try `python -m sandbox --help`.", err=True)
        return 2
    return result if isinstance(result, int) else 0
