"""Where customers connect: by a link of their own they choose a provider, consent there, and see their data arrive.

Belongs here: the pages and the steps between them, one module a provider for what its consent needs of a page. Does not
belong here: links and states (``ledgerlake.links``), a provider's requests (``connectors.consent``), adding the connection
(``ledgerlake.ingest``).
"""

from console.connect._pages import connect_routes

__all__ = ["connect_routes"]
