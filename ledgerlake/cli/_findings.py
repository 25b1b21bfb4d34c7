"""`ledgerlake findings`: what verifications found, and what people do with it."""

import dataclasses
import datetime as dt
import getpass
from typing import Annotated, Any, Literal

import typer

from ledgerlake.cli import _show
from ledgerlake.cli._house import AsJson, Today, house
from ledgerlake.errors import UsageError

findings = typer.Typer(name="findings", help="What verifications found: list, look, decide, repair.")

Id = Annotated[int, typer.Argument(help="The finding's number.")]
By = Annotated[str | None, typer.Option("--by", help="Who acts; by default the user of this machine.")]
Comment = Annotated[str | None, typer.Option("--comment", help="Why.")]


def _actor(by: str | None) -> str:
    """Who acts. A container may run as a user that has no name there."""
    if by:
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise UsageError("The user of this machine has no name: say with --by who acts.") from None


@findings.callback(invoke_without_command=True)
def listed(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Resolved and muted ones, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """What verifications found: list, look, decide, repair."""
    if context.invoked_subcommand is not None:
        return
    from ledgerlake.integrity import Findings

    with house() as at:
        kept = Findings(at.store, at.settings).listed(**({"states": None} if everything else {}))
    if as_json:
        _show.as_json({"findings": [dataclasses.asdict(one) for one in kept]})
    elif not kept:
        _show.out.print("No finding was ever made." if everything else "No finding is open.")
    else:
        _show.table(
            ["finding", "severity", "state", "kind", "step", "where", "stream", "records", "at risk", "since"],
            [
                (
                    *(str(one.finding_id), one.severity, one.state, one.kind, one.model or one.step),
                    *(one.connection_id or "all", one.stream, one.records, _money(one.money), _show.ago(one.opened_at)),
                )
                for one in kept
            ],
        )
        _show.reasons((str(one.finding_id), one.message) for one in kept)


def _money(money: Any) -> str:
    return ", ".join(f"{amount:f} {currency}" for currency, amount in sorted(money.items()))


@findings.command()
def show(finding: Id, as_json: AsJson = False) -> None:
    """A finding with the records behind it, its proposed repair and its history."""
    from ledgerlake.integrity import Findings

    with house() as at:
        engine = Findings(at.store, at.settings)
        one, records, history = engine.get(finding), engine.records(finding), engine.history(finding)
    if as_json:
        _show.as_json(
            dataclasses.asdict(one)
            | {
                "sample": [dataclasses.asdict(record) for record in records],
                "history": [dataclasses.asdict(event) for event in history],
            }
        )
        return
    _show.out.print(f"{one.finding_id}: {one.message}", markup=False)
    facts = {
        "state": f"{one.state}{f' ({one.resolution})' if one.resolution else ''}, {one.severity}",
        "owner": one.owner,
        "where": ", ".join(filter(None, (one.step, one.model, one.connection_id, one.stream, one.account_id))),
        "records": one.records,
        "at risk": _money(one.money),
        "since": one.opened_at,
        "seen": f"{one.times_seen} times, last {_show.ago(one.last_seen_at)}; opened {one.times_opened} times",
        "repair": _proposed(one.repair),
    }
    _show.table(["", ""], [(name, value) for name, value in facts.items() if value not in (None, "")])
    if records:
        _show.table(
            ["connection", "stream", "record", "field", "expected", "found", "reason"],
            [
                (each.connection_id, each.stream, each.record_id, each.field, each.expected, each.found, each.reason)
                for each in records
            ],
            title=f"{len(records)} of {one.records} records",
        )
    _show.table(
        ["at", "who", "what", "before", "after", "comment"],
        [(event.at, event.actor, event.act, event.before, event.after, event.comment) for event in history],
    )


def _proposed(repair: Any) -> str | None:
    if repair is None:
        return None
    if repair.action == "person":
        return f"by a person: {repair.advice}"
    what = "fetch again and build" if repair.action == "fetch" else "build again"
    return f"{what}: `ledgerlake findings repair` (first with --dry-run)"


@findings.command()
def acknowledge(finding: Id, comment: Comment = None, by: By = None) -> None:
    """Say that somebody looks after it."""
    from ledgerlake.integrity import Findings

    with house() as at:
        Findings(at.store, at.settings).acknowledge(finding, _actor(by), comment)
    _show.out.print(f"Finding {finding} is acknowledged.")


@findings.command()
def assign(finding: Id, owner: Annotated[str, typer.Argument(help="Who; `-` for nobody.")], by: By = None) -> None:
    """Give it to somebody."""
    from ledgerlake.integrity import Findings

    with house() as at:
        Findings(at.store, at.settings).assign(finding, _actor(by), None if owner == "-" else owner)
    _show.out.print(f"Finding {finding} is {'nobody' if owner == '-' else owner}'s.", markup=False)


@findings.command()
def comment(finding: Id, text: Annotated[str, typer.Argument(help="The remark.")], by: By = None) -> None:
    """Add a remark to its history."""
    from ledgerlake.integrity import Findings

    with house() as at:
        Findings(at.store, at.settings).comment(finding, _actor(by), text)
    _show.out.print(f"Finding {finding} has a remark more.")


@findings.command()
def mute(
    finding: Id,
    until: Annotated[dt.datetime, typer.Option(formats=["%Y-%m-%d"], help="The last day of quiet.")],
    comment: Comment = None,
    by: By = None,
) -> None:
    """Say nothing of it until a day has passed."""
    from ledgerlake.integrity import Findings

    if until.date() < dt.datetime.now(dt.UTC).date():
        raise UsageError(f"Expected a day of --until that is not past, found {until:%Y-%m-%d}.")
    with house() as at:
        Findings(at.store, at.settings).mute(finding, _actor(by), until.date(), comment)
    _show.out.print(f"Finding {finding} is muted until {until:%Y-%m-%d}.")


@findings.command()
def resolve(
    finding: Id,
    reason: Annotated[Literal["fixed", "accepted", "false_alarm"], typer.Option(help="Why it is settled.")],
    comment: Comment = None,
    by: By = None,
) -> None:
    """Say that it is settled; a verification that finds it again reopens it."""
    from ledgerlake.integrity import Findings

    with house() as at:
        Findings(at.store, at.settings).resolve(finding, _actor(by), reason, comment)
    _show.out.print(f"Finding {finding} is resolved: {reason}.")


@findings.command()
def repair(
    finding: Id,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    by: By = None,
    today: Today = None,
    as_json: AsJson = False,
) -> None:
    """Fetch or build again what it proposes, and verify; exit 1 when it is still there."""
    from ledgerlake.integrity import repair as engine

    with house() as at:
        report = engine(
            at.where,
            at.settings,
            finding,
            actor=_actor(by),
            today=today.date() if today else None,
            dry_run=dry_run,
            say=lambda step: _show.err.print(f"{step} …", markup=False),
        )
    if as_json:
        _show.as_json(
            {
                "finding_id": finding,
                "steps": report.steps,
                "dry_run": dry_run,
                "state": report.finding.state,
                "counts": dataclasses.asdict(report.counts),
                "snapshot": report.snapshot,
                "seconds": round(report.seconds, 3),
            }
        )
    elif dry_run:
        for number, step in enumerate(report.steps, 1):
            _show.out.print(f"{number}. {step}", markup=False)
    else:
        counts = report.counts
        _show.out.print(
            f"Finding {finding} is {report.finding.state}: {counts.new} records new, {counts.changed} changed, "
            f"{counts.removed} removed, in {report.seconds:.1f} s."
        )
    raise typer.Exit(0 if dry_run or report.mended else 1)
