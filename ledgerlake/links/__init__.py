"""Connect links: what a customer is sent to connect an account, or to repair a connection.

Belongs here: making, opening and using up links, what a consent under way must remember, and how far the connection is
that came of it, over PostgreSQL. Does not belong here: pages and cookies (``console``), any provider's consent
(``console.connect``).
"""

from ledgerlake.links._arrival import Arrival, arrival
from ledgerlake.links._links import Claimed, Link, LinkRefused, Links

__all__ = ["Arrival", "Claimed", "Link", "LinkRefused", "Links", "arrival"]
