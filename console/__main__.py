"""`python -m console`: serves the console until it is told to stop. `ledgerlake up` starts it."""

import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import Annotated

import typer
import uvicorn

from console.app import Part, create_app
from console.server import PORT, config, listen
from ledgerlake import log
from ledgerlake.errors import LedgerlakeError
from ledgerlake.local import S3, servers
from ledgerlake.settings import Settings, load
from ledgerlake.store import require_current

_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@_app.command()
def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(help=f"The port; by default LEDGERLAKE_CONSOLE_PORT, or {PORT}.", min=1, max=65535)
    ] = None,
    only: Annotated[Part | None, typer.Option(help="Only this part, for an address that the world reaches.")] = None,
) -> None:
    """Serve the console."""
    settings = load()
    log.configure(settings.log_level)
    with _where(settings, only) as (url, s3):
        require_current(url, buckets=settings.buckets)
        # Once it has ended the server raises the signal again, which must not skip the leaving of the servers.
        with listen(host, port or settings.console_port or PORT) as listener, contextlib.suppress(KeyboardInterrupt):
            name = f"[{host}]" if ":" in host else host
            found = settings.console_url or f"http://{name}:{listener.getsockname()[1]}"
            app = create_app(settings, url, s3=s3, only=only, url=found, follow=True)
            uvicorn.Server(config(app)).run(sockets=[listener])


@contextlib.contextmanager
def _where(settings: Settings, only: Part | None) -> Iterator[tuple[str, S3 | None]]:
    """PostgreSQL and S3; where the settings name them, whether S3 answers or not: webhooks are kept also while it is away."""
    named = S3.named(settings)
    if settings.postgres_url is not None and (named is not None or only is not None):
        yield settings.postgres_url.get_secret_value(), named
        return
    with servers(settings) as where:
        yield where.postgres_url, where.s3


def main() -> int:
    """Run the command of the process's arguments and return its exit status."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = _app(prog_name="python -m console", standalone_mode=False)
    except LedgerlakeError as error:
        typer.echo(str(error), err=True)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        typer.echo(error.format_message(), err=True)
        return 2
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    sys.exit(main())
