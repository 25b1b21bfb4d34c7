"""The command ``ledgerlake``: words in, the engine's work, tables or JSON out.

Belongs here: arguments, tables, progress, exit codes. Does not belong here: anything the engine could be asked for
by another caller.
"""

from ledgerlake.cli._main import main

__all__ = ["main"]
