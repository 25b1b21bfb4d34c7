"""The console: what Ledgerlake serves over HTTP.

Belongs here: the application and its parts, and the command that serves them. Does not belong here: what they show or
set going (``ledgerlake``), Dagster (``orchestration``).
"""

from console.app import create_app

__all__ = ["create_app"]
