"""Status: what is published, and what waits."""

import datetime as dt

from fastapi import APIRouter, Request
from pydantic import BaseModel

from console import acts
from console.api._shapes import PROBLEMS
from console.house import house_of
from console.security import MayRead
from ledgerlake.figures import Build, Waiting, connection_counts, finding_counts, last_builds, waiting
from ledgerlake.integrity import Verification
from ledgerlake.lake import LakeEmpty

router = APIRouter(prefix="/api/v1", tags=["status"], responses=PROBLEMS)


class Status(BaseModel):
    """How all stands. `snapshot` is None while nothing is published."""

    at: dt.datetime
    snapshot: int | None
    connections: dict[str, int]
    findings: dict[str, int]
    build: Build | None
    verification: Verification | None
    waiting: Waiting


@router.get("/status")
def status(request: Request, caller: MayRead) -> Status:
    """The snapshot that readers see, connections by state, open findings by severity, the last build and verification."""
    house = house_of(request)
    states: dict[str, int] = {}
    for _, state, count in connection_counts(house.store):
        states[state] = states.get(state, 0) + count
    try:
        with house.lake.look() as look:
            snapshot: int | None = look.snapshot
    except LakeEmpty:
        snapshot = None
    return Status(
        at=dt.datetime.now(dt.UTC),
        snapshot=snapshot,
        connections=states,
        findings=finding_counts(house.store),
        build=next(iter(last_builds(house.store)), None),
        verification=acts.findings(house).last_verification(),
        waiting=waiting(house.store),
    )
