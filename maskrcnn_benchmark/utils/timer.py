"""A stopwatch, and seconds in words."""

from __future__ import annotations

import datetime
import time


class Timer:
    """Adds up what happens between `tic` and `toc`."""

    def __init__(self) -> None:
        """Start at zero, not running."""
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.total_time = 0.0
        self.calls = 0
        self.start_time = 0.0
        self.diff = 0.0

    @property
    def average_time(self) -> float:
        """Seconds per call; 0 before the first."""
        return self.total_time / self.calls if self.calls else 0.0

    def tic(self) -> None:
        """Start."""
        self.start_time = time.perf_counter()

    def toc(self, average: bool = True) -> float:
        """Stop and count one call.

        Returns:
            Seconds: the mean of all calls so far, or of this one only if `average` is False.
        """
        self.diff = time.perf_counter() - self.start_time
        self.total_time += self.diff
        self.calls += 1
        return self.average_time if average else self.diff


def get_time_str(seconds: float) -> str:
    """Write a duration as h:mm:ss, with microseconds if it has a fraction."""
    return str(datetime.timedelta(seconds=seconds))
