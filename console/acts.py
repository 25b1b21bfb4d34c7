"""What people and programs do: the same acts for a page's form and for the API, each with its line in the audit log.

Belongs here: acts on connections and findings, and whether what they name is there. Does not belong here: who may act
(``console.security``), what comes back (``console.pages``, ``console.api``).
"""

import datetime as dt
from typing import Literal

import psycopg
from fastapi import HTTPException

from console.house import House
from ledgerlake.errors import NotThere
from ledgerlake.integrity import Findings, StoredFinding, proposed
from ledgerlake.links import Link, Links
from ledgerlake.orders import Order, Orders
from ledgerlake.store import Connection

Resolution = Literal["fixed", "accepted", "false_alarm"]


def findings(house: House) -> Findings:
    """The findings of the store."""
    return Findings(house.store, house.settings)


def known_connection(house: House, connection_id: str) -> Connection:
    """That connection; 404 when there is none."""
    try:
        return house.store.connection(connection_id)
    except (NotThere, psycopg.DataError):
        raise HTTPException(404) from None


def known_finding(house: House, finding_id: int) -> StoredFinding:
    """That finding; 404 when there is none."""
    if not 0 < finding_id < 2**63:
        raise HTTPException(404)
    try:
        return findings(house).get(finding_id)
    except NotThere:
        raise HTTPException(404) from None


def pause(house: House, actor: str, connection_id: str, reason: str) -> None:
    """Stop calling a connection; one that is paused stays so, with its reason."""
    known_connection(house, connection_id)
    house.store.pause(connection_id, reason.strip() or "paused by hand", actor)


def resume(house: House, actor: str, connection_id: str) -> None:
    """Call a paused connection again."""
    known_connection(house, connection_id)
    house.store.resume(connection_id, actor)


def sync(house: House, actor: str, connection_id: str) -> Order:
    """Order a sync of a connection, now."""
    known_connection(house, connection_id)
    return Orders(house.store).sync(actor, connection_id)


def refetch(house: House, actor: str, connection_id: str, since: dt.date) -> Order:
    """Order that everything dated `since` or later is read again."""
    known_connection(house, connection_id)
    if not dt.date(2000, 1, 1) <= since <= dt.datetime.now(dt.UTC).date():
        raise HTTPException(422, "Expected a day from 2000 on that is not in the future.")
    return Orders(house.store).sync(actor, connection_id, since)


def acknowledge(house: House, actor: str, finding_id: int, comment: str) -> None:
    """Somebody has seen the finding."""
    if known_finding(house, finding_id).state != "acknowledged":
        findings(house).acknowledge(finding_id, actor, comment.strip() or None)


def comment(house: House, actor: str, finding_id: int, text: str) -> None:
    """Say something about a finding."""
    known_finding(house, finding_id)
    findings(house).comment(finding_id, actor, text.strip())


def assign(house: House, actor: str, finding_id: int, owner: str) -> None:
    """Somebody looks after a finding from now on; an empty text: nobody."""
    known_finding(house, finding_id)
    findings(house).assign(finding_id, actor, owner.strip() or None)


def mute(house: House, actor: str, finding_id: int, until: dt.date, comment: str) -> None:
    """Hear nothing of a finding until that day."""
    known_finding(house, finding_id)
    if until < dt.datetime.now(dt.UTC).date():
        raise HTTPException(422, "Expected a day that is not past.")
    findings(house).mute(finding_id, actor, until, comment.strip() or None)


def resolve(house: House, actor: str, finding_id: int, reason: Resolution, comment: str) -> None:
    """Settle a finding."""
    if known_finding(house, finding_id).state != "resolved":
        findings(house).resolve(finding_id, actor, reason, comment.strip() or None)


def repair(house: House, actor: str, finding_id: int) -> Order:
    """Order what the finding proposes."""
    proposed(house.store, known_finding(house, finding_id))
    return Orders(house.store).repair(actor, finding_id)


def make_link(house: House, actor: str, customer: str, connection: str | None, hours: int) -> tuple[Link, str]:
    """A link for a customer, and its address, which is shown this once."""
    made = Links(house.store, house.vault)
    link, token = made.create(actor, customer.strip(), connection_id=connection, hours=hours)
    return link, f"{house.url}/connect/{token}"
