"""Connect links: making one."""

import datetime as dt
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from console import acts
from console.api._shapes import PROBLEMS, Given
from console.house import house_of
from console.security import MayAct

router = APIRouter(prefix="/api/v1/connect-links", tags=["connect-links"], responses=PROBLEMS)


class Asked(Given):
    customer_id: Annotated[str, Field(min_length=1, max_length=200)]
    connection_id: Annotated[str | None, Field(max_length=80)] = None
    hours: Annotated[int, Field(ge=1, le=720)] = 72


class Made(BaseModel):
    """A link; its address is told this once, and is for that customer alone."""

    link_id: str
    customer_id: str
    connection_id: str | None
    expires_at: dt.datetime
    url: str


@router.post("", status_code=201)
def make(request: Request, caller: MayAct, given: Asked) -> Made:
    """Make a link with which a customer connects an account, or repairs a connection."""
    link, url = acts.make_link(
        house_of(request), caller.name, given.customer_id, given.connection_id or None, given.hours
    )
    return Made(
        link_id=link.link_id,
        customer_id=link.customer_id,
        connection_id=link.connection_id,
        expires_at=link.expires_at,
        url=url,
    )
