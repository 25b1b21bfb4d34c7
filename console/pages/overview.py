"""The first page: whether all is well, and what needs somebody now."""

import datetime as dt
from dataclasses import dataclass
from typing import Literal

from fastapi import APIRouter, Request
from starlette.responses import Response

from console.house import House, house_of
from console.security import Viewer
from ledgerlake.figures import Build, Waiting, budgets, connection_counts, finding_counts, last_builds, waiting
from ledgerlake.integrity import Findings, Verification
from ledgerlake.lake import LakeAway, LakeEmpty

router = APIRouter()

STATES = ("active", "needs_reauth", "paused", "gone")
_LATE = dt.timedelta(hours=1)
"""What waits longer than this needs somebody."""


@dataclass(frozen=True)
class Need:
    """One thing that somebody has to see to, and where."""

    degree: Literal["bad", "warn"]
    sentence: str
    href: str
    label: str


@router.get("/")
def overview(request: Request, caller: Viewer) -> Response:
    house = house_of(request)
    counts = connection_counts(house.store)
    by_state = {state: sum(count for _, of, count in counts if of == state) for state in STATES}
    by_severity = finding_counts(house.store)
    build = next(iter(last_builds(house.store)), None)
    verification = Findings(house.store, house.settings).last_verification()
    left = waiting(house.store)
    told = budgets(house.store)
    snapshot, lake_away = _snapshot(house)
    connections = house.store.connections()
    synced = [one.last_synced_at for one in connections if one.last_synced_at is not None]
    needs = [
        *_needs(by_state, by_severity, build, left),
        *_unverified(house, verification, min((one.created_at for one in connections), default=None)),
        *(
            Need("warn", f"{one.used_up} of {one.streams} daily budgets at {one.provider} are used up", "/cost", "Cost")
            for one in told
            if one.used_up
        ),
    ]
    if lake_away:
        needs.insert(0, Need("bad", "The lake's files cannot be read: S3 does not answer", "/cost", "Last builds"))
    return house.render(
        request,
        "overview.html",
        caller=caller,
        needs=sorted(needs, key=lambda one: one.degree != "bad"),
        connections=len(connections),
        customers=len({one.customer_id for one in connections}),
        by_state=by_state,
        by_provider={
            provider: {state: sum(n for p, s, n in counts if (p, s) == (provider, state)) for state in STATES}
            for provider in sorted({provider for provider, _, _ in counts})
        },
        by_severity=by_severity,
        last_synced_at=max(synced, default=None),
        build=build,
        snapshot=snapshot,
        verification=verification,
        budgets=told,
    )


def _snapshot(house: House) -> tuple[int | None, bool]:
    """The snapshot that readers see, and whether its files cannot be read."""
    try:
        with house.lake.look() as look:
            look.rows("select count(*) from dim_customers", keep=True)
            return look.snapshot, False
    except LakeEmpty:
        return None, False
    except LakeAway:
        return None, True


def _needs(by_state: dict[str, int], by_severity: dict[str, int], build: Build | None, left: Waiting) -> list[Need]:
    needs = []
    for severity, degree in (("critical", "bad"), ("high", "bad"), ("medium", "warn"), ("low", "warn")):
        if count := by_severity[severity]:
            sentence = f"{count:,} {severity} {'finding is' if count == 1 else 'findings are'} open"
            needs.append(Need("bad" if degree == "bad" else "warn", sentence, "/integrity", "Integrity"))
    if build is not None and build.outcome == "failed":
        sentence = f"The last build failed: {build.error or 'it did not say why'}"
        needs.append(Need("bad", sentence[:500], "/cost", "Models"))
    if count := by_state["needs_reauth"]:
        sentence = f"{count:,} {'connection needs its' if count == 1 else 'connections need their'} customer"
        needs.append(Need("warn", sentence, "/connections?state=needs_reauth", "Connections"))
    if left.orders_failed:
        needs.append(
            Need("warn", f"{left.orders_failed:,} orders failed in the last day", "/connections", "Connections")
        )
    now = dt.datetime.now(dt.UTC)
    for what, count, since in (
        ("webhook events", left.events, left.events_since),
        ("orders", left.orders, left.orders_since),
    ):
        if since is not None and now - since > _LATE:
            sentence = f"{count:,} {what} wait, the oldest since {since:%Y-%m-%d %H:%M} UTC: does Dagster's daemon run?"
            needs.append(Need("warn", sentence, "/connections", "Connections"))
    return needs


def _unverified(house: House, last: Verification | None, first: dt.datetime | None) -> list[Need]:
    since = last.ended_at if last else first
    hours = house.settings.verify_hours
    if since is None or dt.datetime.now(dt.UTC) - since < dt.timedelta(hours=hours):
        return []
    told = f"the last one ended {last.ended_at:%Y-%m-%d %H:%M} UTC" if last else "there was none yet"
    return [Need("bad", f"No whole verification in {hours} hours: {told}", "/integrity", "Integrity")]
