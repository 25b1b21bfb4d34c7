"""The engine as the resource of every asset, check and sensor: settings in, store and lake out, opened when asked.

Belongs here: opening servers and store for one piece of work, and refusing a store that does not fit the code. Does
not belong here: what is done with them.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ledgerlake import log
from ledgerlake.errors import UsageError
from ledgerlake.ingest import Event, SyncReport
from ledgerlake.integrity import Report
from ledgerlake.lake import PROJECT, BuildReport, Lake, Progress
from ledgerlake.local import Servers, servers
from ledgerlake.settings import Settings, load
from ledgerlake.store import Store, require_current


class Watcher:
    """Told what the jobs of this process do; a terminal overrides what it shows."""

    def syncing(self, event: Event) -> None:
        """A connection went on."""

    def synced(self, report: SyncReport) -> None:
        """All connections came to an end."""

    def building(self, progress: Progress) -> None:
        """A model or a test began or ended."""

    def built(self, report: BuildReport) -> None:
        """A build was published, or had nothing to do."""

    def verified(self, report: Report) -> None:
        """All steps were compared."""


@dataclass(frozen=True)
class Opened:
    """The engine while it is open."""

    settings: Settings
    where: Servers = field(repr=False)
    store: Store
    lake: Lake


class Engine:
    """Opens the store and the lake that the settings name.

    Args:
        settings: those of the process's environment when None, read when the engine is opened and not before: code
            that only defines things must load where no server runs.
        watcher: told what happens.
        project: the dbt project that is built.
    """

    def __init__(
        self, settings: Settings | None = None, watcher: Watcher | None = None, project: Path = PROJECT
    ) -> None:
        self._settings = settings
        self._project = project
        self.watcher = watcher or Watcher()

    @contextlib.contextmanager
    def open(self, *, buckets: int | None = None) -> Iterator[Opened]:
        """Servers that answer and a store that fits this code; `buckets` is how many the definitions have.

        Raises:
            ServerError: PostgreSQL or S3 cannot be reached.
            SchemaError: the store is older or newer than the code. Nothing was done.
            UsageError: the store has another number of buckets than the definitions.
        """
        settings = self._settings or load()
        log.configure(settings.log_level)
        with servers(settings) as where:
            require_current(where.postgres_url, buckets=settings.buckets)
            store = Store(where.postgres_url)
            if buckets is not None and (found := store.buckets()) != buckets:
                raise UsageError(
                    f"LEDGERLAKE_BUCKETS is {buckets}, but the store was made with {found} buckets, which is for ever: "
                    f"set LEDGERLAKE_BUCKETS={found} and reload the code location. Nothing was done."
                )
            yield Opened(settings, where, store, Lake(where, settings, self._project))
