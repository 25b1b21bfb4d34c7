"""The servers that Ledgerlake stands on: those the settings name, or embedded ones from their wheels.

Belongs here: starting, finding, reusing and stopping PostgreSQL and SeaweedFS under LEDGERLAKE_HOME, and
checking that the servers the settings name answer. Does not belong here: what is kept in them (``store``, ``lake``).
"""

from ledgerlake.local._process import Child
from ledgerlake.local._servers import S3, Servers, keep, servers, stop

__all__ = ["S3", "Child", "Servers", "keep", "servers", "stop"]
