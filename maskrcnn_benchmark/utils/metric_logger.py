"""Numbers that jitter from step to step, smoothed for reading."""

from __future__ import annotations

from collections import deque

from torch import Tensor


class SmoothedValue:
    """A series of numbers, seen through its last few values and as a whole."""

    def __init__(self, window_size: int = 20) -> None:
        """Start an empty series whose median and average look at the last `window_size` values."""
        self.deque: deque[float] = deque(maxlen=window_size)
        self.total = 0.0
        self.count = 0

    def update(self, value: float) -> None:
        """Append a number."""
        self.deque.append(value)
        self.total += value
        self.count += 1

    @property
    def median(self) -> float:
        """Of the window; of two middle values the lower one."""
        return sorted(self.deque)[(len(self.deque) - 1) // 2]

    @property
    def avg(self) -> float:
        """Mean of the window."""
        return sum(self.deque) / len(self.deque)

    @property
    def global_avg(self) -> float:
        """Mean of the whole series."""
        return self.total / self.count


class MetricLogger:
    """Several named series; `str()` gives `name: median (mean)` for each."""

    def __init__(self, delimiter: str = "\t") -> None:
        """Start without series; `delimiter` stands between them in the text."""
        self.meters: dict[str, SmoothedValue] = {}
        self.delimiter = delimiter

    def update(self, **values: float | Tensor) -> None:
        """Append one number to each named series, which is made on first use."""
        for name, value in values.items():
            number = float(value.item() if isinstance(value, Tensor) else value)
            self.meters.setdefault(name, SmoothedValue()).update(number)

    def __getattr__(self, name: str) -> SmoothedValue:
        meters: dict[str, SmoothedValue] = self.__dict__.get("meters", {})
        if name in meters:
            return meters[name]
        raise AttributeError(f"no series {name!r} yet; there are: {', '.join(meters) or 'none'}")

    def __str__(self) -> str:
        return self.delimiter.join(
            f"{name}: {meter.median:.4f} ({meter.global_avg:.4f})"
            for name, meter in self.meters.items()
        )
