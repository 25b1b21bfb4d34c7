"""The commands. Each one opens what it needs, asks the engine, and shows the answer."""

import asyncio
import datetime as dt
import getpass
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import psycopg
import structlog
import typer

from ledgerlake import log
from ledgerlake.cli import _show
from ledgerlake.cli._findings import findings
from ledgerlake.cli._house import AsJson, Today, house
from ledgerlake.cli._link import connect_link
from ledgerlake.errors import LedgerlakeError, UsageError
from ledgerlake.settings import load
from ledgerlake.store import Vault, migrate, position

app = typer.Typer(
    name="ledgerlake",
    help="Every record of your customers' accounts, exactly once, from the provider to the lake, with proof.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(findings)
app.command("connect-link")(connect_link)


def main() -> NoReturn:
    """Run the command that the arguments name. Exit 0 done, 1 the work failed, 2 wrong usage or settings."""
    signal.signal(signal.SIGTERM, _terminated)
    log.configure("warning")  # until the settings say otherwise
    try:
        code = app(standalone_mode=False)
    except typer.TyperException as error:
        _fail(error.format_message(), error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        _fail("stopped; what was committed stays, and the next run goes on from there.", 130)
    except LedgerlakeError as error:
        _fail(str(error), error.exit_code)
    except psycopg.OperationalError as error:
        said = (str(error).strip().splitlines() or ["it said nothing"])[0]
        _fail(f"PostgreSQL went away: {said}. What was committed stays; run the command again when it is back.", 1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except Exception as bug:  # the last resort: whatever it is, a person gets a sentence, and the log the rest
        structlog.get_logger(__name__).exception("a fault of Ledgerlake")
        _fail(f"a fault of Ledgerlake ({type(bug).__name__}); the log above says where. What was committed stays.", 1)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(sentence: str, code: int) -> NoReturn:
    _show.err.print(f"ledgerlake: {sentence}", markup=False)
    sys.exit(code)


def _terminated(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


@app.command()
def connect(
    provider: Annotated[str, typer.Argument(help="teller")],
    customer: Annotated[str, typer.Option(help="Your own id of the customer.")],
    secrets: Annotated[str, typer.Option(help="A file with the JSON object of secrets, or - for stdin.")],
    repair: Annotated[str | None, typer.Option(help="The connection whose customer signed this new consent.")] = None,
    today: Today = None,
    as_json: AsJson = False,
) -> None:
    """Add a connection of a customer, or repair one with new secrets.

    A new consent that shares an account with a connection of the same customer continues it: its records stay.

    Teller: {"access_token": "…", "enrollment_id": "…"}, as Teller Connect's onSuccess hands them over.
    """
    from connectors import PROVIDERS
    from ledgerlake.ingest import connect as engine

    connector = PROVIDERS.get(provider)
    if connector is None:
        raise UsageError(f"There is no provider {provider}; known: {', '.join(sorted(PROVIDERS))}.")
    if not customer.strip():
        raise UsageError("--customer: expected your id of the customer, found nothing.")
    given = _secrets(secrets)
    try:
        checked = connector.secrets(given)
    except ValueError as error:
        raise UsageError(f"--secrets for {provider}: {error}.") from None
    with house() as at:
        connected = asyncio.run(
            engine(
                at.store,
                at.settings,
                provider=provider,
                customer_id=customer,
                secrets=checked,
                repair=repair,
                today=today.date() if today else None,
            )
        )
    connection_id = connected.connection.connection_id
    if as_json:
        how = {"new": connected.how == "new", "how": connected.how, "left": list(connected.left)}
        _show.as_json(_connection(connected.connection) | how)
        return
    done = {"new": "Connected", "repaired": "Repaired", "renewed": "Renewed"}[connected.how]
    _show.out.print(f"{done} {connection_id}: {customer} at {provider}. `ledgerlake sync` fetches it.")
    _show.reasons((account_id, "the new consent does not name this account") for account_id in connected.left)


def _secrets(source: str) -> dict[str, object]:
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--secrets: {source} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}."
        ) from None
    try:
        given = json.loads(text)
    except ValueError:
        raise UsageError("--secrets: expected a JSON object, found something that is not JSON.") from None
    if not isinstance(given, dict):
        raise UsageError(f"--secrets: expected a JSON object, found a {type(given).__name__}.")
    return given


def _connection(one: Any) -> dict[str, object]:
    names = (
        *("connection_id", "customer_id", "provider", "external_id", "institution_name", "bucket", "state", "reason"),
        *("state_since", "created_at", "last_synced_at"),
    )
    return {name: getattr(one, name) for name in names}


@app.command()
def connections(as_json: AsJson = False) -> None:
    """List the connections, with state and last sync."""
    with house() as at:
        found, providers = at.store.connections(), at.store.providers()
    if as_json:
        _show.as_json({"connections": [_connection(one) for one in found]})
    elif not found:
        _show.out.print("There are no connections yet; `ledgerlake connect` adds one.")
    else:
        _show.table(
            ["connection", "customer", "provider", "institution", "state", "last sync"],
            [
                (
                    *(one.connection_id, one.customer_id, one.provider, one.institution_name or one.external_id),
                    *(one.state, _show.ago(one.last_synced_at)),
                )
                for one in found
            ],
        )
        _show.reasons((one.connection_id, one.reason) for one in found if one.reason)
        _show.reasons(
            (f"all of {one.provider}", f"paused: {one.reason}") for one in providers.values() if one.state == "paused"
        )


Whole = Annotated[str | None, typer.Option("--provider", help="All connections of this provider, running syncs too.")]


@app.command()
def pause(
    connection: Annotated[str | None, typer.Argument(help="Its id.")] = None,
    provider: Whole = None,
    reason: Annotated[str, typer.Option(help="Why.")] = "paused by hand",
) -> None:
    """Stop calling a connection or a whole provider, until `ledgerlake resume`; what is there stays.

    A sync that runs stops at its next page, and the one after `resume` goes on from there.
    """
    with house() as at:
        if (whole := _whole(connection, provider)) is not None:
            at.store.pause_provider(whole, reason, getpass.getuser())
        elif connection is not None and not at.store.pause(connection, reason, getpass.getuser()):
            raise UsageError(f"{connection} is paused, and only an active connection can be paused.")
    _show.out.print(f"{whole or connection} is paused.")


@app.command()
def resume(connection: Annotated[str | None, typer.Argument(help="Its id.")] = None, provider: Whole = None) -> None:
    """Call a paused connection or provider again."""
    with house() as at:
        if (whole := _whole(connection, provider)) is not None:
            at.store.resume_provider(whole, getpass.getuser())
        elif connection is not None and not at.store.resume(connection, getpass.getuser()):
            raise UsageError(f"{connection} is active, and only a paused connection can be resumed.")
    _show.out.print(f"{whole or connection} is active.")


def _whole(connection: str | None, provider: str | None) -> str | None:
    """The provider that is meant as a whole, None for one connection."""
    from connectors import PROVIDERS

    if (connection is None) == (provider is None):
        raise UsageError("Expected the id of a connection, or --provider with its name, and not both.")
    if provider is not None and provider not in PROVIDERS:
        raise UsageError(f"There is no provider {provider}; known: {', '.join(sorted(PROVIDERS))}.")
    return provider


@app.command()
def sync(
    provider: Annotated[list[str] | None, typer.Option(help="Only this provider's; may be repeated.")] = None,
    connection: Annotated[list[str] | None, typer.Option(help="Only this connection; may be repeated.")] = None,
    since: Annotated[
        dt.datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Read everything dated this day or later again; moves no cursor."),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Read everything again; moves no cursor.")] = False,
    today: Today = None,
    as_json: AsJson = False,
) -> None:
    """Fetch what is new, from every active connection or those named.

    Exit 1 when a connection could not be read for a reason that is not its customer's.
    """
    from ledgerlake.ingest import sync as engine

    if since and full:
        raise UsageError("--since and --full exclude each other: a range again, or everything again.")
    with house() as at, _show.SyncBar() as bar:
        report = asyncio.run(
            engine(
                at.store,
                at.settings,
                providers=provider,
                connections=connection,
                since=since.date() if since else None,
                full=full,
                today=today.date() if today else None,
                progress=bar,
            )
        )
    if as_json:
        _show.as_json(_show.sync_object(report))
    elif not report.connections:
        _show.out.print("There are no connections yet; `ledgerlake connect` adds one.")
    else:
        _show.sync_table(report)
    raise typer.Exit(1 if report.broken else 0)


@app.command()
def build(
    bucket: Annotated[list[int] | None, typer.Option(help="Only this bucket; may be repeated.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All buckets, changed or not.")] = False,
    select: Annotated[str | None, typer.Option(help="dbt's selection of models; what it leaves out stays.")] = None,
    as_json: AsJson = False,
) -> None:
    """Transform the buckets that changed, audit them, publish them in one commit."""
    from ledgerlake.lake import Lake

    if bucket and everything:
        raise UsageError("--bucket and --all exclude each other.")
    with house() as at:
        buckets = list(range(at.store.buckets())) if everything else bucket
        with _show.BuildBar() as bar:
            report = Lake(at.where, at.settings).build(buckets, select, bar)
    if as_json:
        _show.as_json(_show.build_object(report))
    else:
        _show.build_table(report)


@app.command()
def verify(
    connection: Annotated[list[str] | None, typer.Option(help="Only this connection; may be repeated.")] = None,
    today: Today = None,
    as_json: AsJson = False,
) -> None:
    """Compare what the providers said, what the store holds and what is published; exit 1 when a finding is open."""
    from ledgerlake.integrity import Findings
    from ledgerlake.integrity import verify as engine

    with house() as at:
        day = today.date() if today else None
        report = engine(at.where, at.settings, connections=connection, today=day)
        kept = Findings(at.store, at.settings).seen_by(report.verification_id)
    if as_json:
        _show.as_json(_show.verify_object(report, kept))
    else:
        _show.verify_table(report, kept)
    raise typer.Exit(1 if report.findings else 0)


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="One SELECT.")],
    at_snapshot: Annotated[int | None, typer.Option("--at", help="The lake as it was at this snapshot.")] = None,
    form: Annotated[Literal["table", "csv", "json"], typer.Option("--format", help="How rows are printed.")] = "table",
) -> None:
    """Query the published lake, read-only: a view a table. JSON is a list of objects, decimals as text."""
    from ledgerlake.lake import Lake

    with house() as at:
        answer = Lake(at.where, at.settings).query(query, at_snapshot)
    match form:
        case "json":
            _show.as_json([dict(zip(answer.columns, row, strict=True)) for row in answer.rows])
        case "csv":
            _show.as_csv(answer.columns, answer.rows)
        case _:
            _show.table(answer.columns, answer.rows)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Health at a glance: servers, connections, what is published and what is behind."""
    from ledgerlake.cli._status import look, show

    with house(current=False) as at:
        found = look(at.settings, at.where, at.store)
    if as_json:
        _show.as_json(found)
    else:
        show(found)


@app.command()
def rollback(
    to: Annotated[int | None, typer.Option(help="The snapshot; by default the one before the newest build.")] = None,
    as_json: AsJson = False,
) -> None:
    """Publish an older snapshot's tables again, in one commit."""
    from ledgerlake.lake import Lake

    with house() as at:
        snapshot = Lake(at.where, at.settings).rollback(to)
    if as_json:
        _show.as_json({"snapshot": snapshot.id})
    else:
        _show.out.print(f"Published snapshot {snapshot.id}, whose tables are those of the older one.")


@app.command("migrate")
def migrate_store(
    to: Annotated[str, typer.Option(help="head, or an older version: what came with newer ones is dropped.")] = "head",
    as_json: AsJson = False,
) -> None:
    """Bring the store to this version; safe to run twice and from two processes at once."""
    with house(current=False) as at:
        known = position(at.where.postgres_url).known
        if to != "head" and to not in known:
            raise UsageError(f"There is no version {to} of the store; known: {', '.join(reversed(known))}.")
        before, after = migrate(at.where.postgres_url, buckets=at.settings.buckets, to=to)
    if as_json:
        _show.as_json({"from": before, "to": after})
    else:
        _show.out.print(
            f"The store is at version {after}."
            if before == after
            else f"The store went from {before or 'none'} to {after}."
        )


@app.command("new-key")
def new_key() -> None:
    """Print a new key for LEDGERLAKE_SECRET_KEYS."""
    from cryptography.fernet import Fernet

    sys.stdout.write(Fernet.generate_key().decode() + "\n")


@app.command("rotate-keys")
def rotate_keys() -> None:
    """Encrypt all secrets anew under the first of LEDGERLAKE_SECRET_KEYS; the others may go afterwards."""
    with house() as at:
        count = at.store.rotate_secrets(Vault.of(at.settings))
    _show.out.print(f"{count} connections' secrets are encrypted under the first key.")


@app.command()
def run(
    today: Today = None,
    sandbox: Annotated[
        bool,
        typer.Option("--sandbox", help="Serve the sandbox meanwhile, and connect its customers if there are none."),
    ] = False,
    customers: Annotated[int, typer.Option(help="With --sandbox: how many customers it has.")] = 12,
    as_json: AsJson = False,
) -> None:
    """The daily pass: sync, build and verify, as the Dagster job of the daily schedule."""
    arguments = [*(["--today", f"{today:%Y-%m-%d}"] if today else []), *(["--json"] if as_json else [])]
    if not sandbox:
        raise typer.Exit(_orchestration("run", *arguments))
    from ledgerlake.cli._sandbox import serving

    with house() as at, serving(at, customers=customers, today=today.date() if today else None) as environment:
        code = _orchestration("run", *arguments, environment=environment)
    raise typer.Exit(code)


@app.command()
def up(
    detach: Annotated[
        bool, typer.Option("--detach", help="Leave everything running, until `ledgerlake down`.")
    ] = False,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Serve the sandbox, too.")] = False,
) -> None:
    """Start the local servers that the settings leave out, Dagster's UI and daemon, and the console."""
    if not sandbox:
        raise typer.Exit(_orchestration("up", *(["--detach"] if detach else [])))
    from ledgerlake.cli._sandbox import serving

    with house() as at, serving(at, keep=detach) as environment:
        code = _orchestration("up", *(["--detach"] if detach else []), environment=environment)
    raise typer.Exit(code)


@app.command()
def down() -> None:
    """Stop what `ledgerlake up --detach` left running."""
    from ledgerlake.local import Child

    code = _orchestration("down")
    Child(load().home, "sandbox").stop()
    raise typer.Exit(code)


@app.command(
    "sandbox",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
def sandbox_server(context: typer.Context) -> None:
    """Serve the providers' wire protocols over a generated world; see `ledgerlake sandbox --help`."""
    raise typer.Exit(_child("sandbox", *context.args))


def _orchestration(*arguments: str, environment: dict[str, str] | None = None) -> int:
    return _child("orchestration", *arguments, environment=environment)


def _child(module: str, *arguments: str, environment: dict[str, str] | None = None) -> int:
    """Run one of the other rooms' commands with our terminal; a signal to us is a signal to it."""
    child = subprocess.Popen([sys.executable, "-m", module, *arguments], env=environment)
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            child.send_signal(signal.SIGTERM)
