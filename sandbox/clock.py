"""What day it is in the sandbox: the real day until somebody fixes or moves it."""

import time
from datetime import UTC, date, datetime, timedelta


class Clock:
    """A day that stands still once set; unset, it follows the real date (UTC)."""

    def __init__(self, today: date | None = None) -> None:
        self._fixed = today
        self.skipped = 0.0
        """Seconds that were let pass besides those that passed: for what expires within a day."""

    @property
    def today(self) -> date:
        """The sandbox's day."""
        return self._fixed or datetime.now(UTC).date()

    @property
    def now(self) -> float:
        """Seconds that go on by themselves, and that a day's move carries along: for what expires."""
        return self.today.toordinal() * 86400.0 + time.monotonic() + self.skipped

    @property
    def fixed(self) -> bool:
        """Whether the day stands still."""
        return self._fixed is not None

    def set(self, today: date | None) -> None:
        """Fix the day; None follows the real date again."""
        self._fixed = today

    def move(self, days: int) -> None:
        """Fix the day at `days` from what it is now; negative goes back."""
        self._fixed = self.today + timedelta(days=days)
