"""Learning rate as a function of the iteration: a warm-up, then steps or a cosine.

Iteration 0 is the first update; `step()` is called once after each update.
"""

from __future__ import annotations

import logging
import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

logger = logging.getLogger(__name__)

WARMUP_METHODS = ("constant", "linear")


class WarmupSchedule(LRScheduler):
    """A schedule whose every value follows from the iteration alone.

    Subclasses say what happens after the warm-up by `decay(iteration)`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        warmup_factor: float,
        warmup_iters: int,
        warmup_method: str,
        last_epoch: int,
    ) -> None:
        """Set the first learning rate; subclasses set what `decay` needs before."""
        if warmup_method not in WARMUP_METHODS:
            raise ValueError(
                f"warmup_method must be one of {', '.join(WARMUP_METHODS)}, got {warmup_method!r}"
            )
        self.warmup_factor = warmup_factor
        self.warmup_iters = warmup_iters
        self.warmup_method = warmup_method
        super().__init__(optimizer, last_epoch)

    def decay(self, iteration: int) -> float:
        """Return the factor on the learning rate apart from the warm-up."""
        raise NotImplementedError

    def warmup(self, iteration: int) -> float:
        """Return the factor that the warm-up contributes, 1 after it."""
        if iteration >= self.warmup_iters:
            return 1.0
        if self.warmup_method == "constant":
            return self.warmup_factor
        alpha = iteration / self.warmup_iters
        return self.warmup_factor * (1 - alpha) + alpha

    def get_lr(self) -> list[Any]:
        """Return the learning rate of each group for iteration `last_epoch`."""
        warmup, decay = self.warmup(self.last_epoch), self.decay(self.last_epoch)
        return [base * warmup * decay for base in self.base_lrs]

    def step(self, epoch: int | None = None) -> None:
        """Go to the next iteration, or to iteration `epoch`.

        Unlike the base class this does not mind a first update that mixed precision skipped.
        """
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        self._step_count += 1
        self._apply()

    def _apply(self) -> None:
        for group, lr in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = lr
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return the position and, for comparison, the shape of the schedule: plain numbers."""
        hidden = ("optimizer", "base_lrs")
        state = {k: v for k, v in self.__dict__.items() if k not in hidden and k[0] != "_"}
        return {**state, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to the saved position. The shape stays this run's own; differences are logged."""
        for key, now in self.state_dict().items():
            saved = state_dict.get(key, now)
            if key != "last_epoch" and _plain(saved) != _plain(now):
                logger.warning(
                    "The learning rate schedule has changed since the checkpoint: %s was %s, "
                    "is %s now (which is used)",
                    key,
                    _shorten(saved),
                    _shorten(now),
                )
        self.step(int(state_dict["last_epoch"]))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value


def _shorten(value: Any) -> str:
    if isinstance(value, (list, tuple)) and len(value) > 6:
        return f"[{', '.join(f'{v}' for v in value[:3])}, ... ({len(value)} values)]"
    return f"{value}"


class WarmupMultiStepLR(WarmupSchedule):
    """A warm-up, then a constant rate that is multiplied by `gamma` at each milestone."""

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Sequence[int],
        gamma: float = 0.1,
        warmup_factor: float = 1.0 / 3,
        warmup_iters: int = 500,
        warmup_method: str = "linear",
        last_epoch: int = -1,
    ) -> None:
        """Describe the schedule.

        Args:
            optimizer: its groups' learning rates are the ones multiplied.
            milestones: iterations, increasing; from each one on the rate is `gamma` times lower.
            gamma: see there.
            warmup_factor: what the rate is multiplied by at iteration 0.
            warmup_iters: iterations until the factor is 1.
            warmup_method: "linear", or "constant" (a step at the end of the warm-up).
            last_epoch: the last finished iteration when the optimizer was restored, else -1.

        Raises:
            ValueError: if the milestones do not increase or the method is unknown.
        """
        if list(milestones) != sorted(milestones):
            raise ValueError(f"milestones must be increasing iterations, got {list(milestones)}")
        self.milestones = list(milestones)
        self.gamma = gamma
        super().__init__(
            optimizer,
            warmup_factor=warmup_factor,
            warmup_iters=warmup_iters,
            warmup_method=warmup_method,
            last_epoch=last_epoch,
        )

    def decay(self, iteration: int) -> float:
        """Return gamma to the power of the number of milestones passed."""
        return float(self.gamma ** bisect_right(self.milestones, iteration))


class WarmupCosineLR(WarmupSchedule):
    """A warm-up under half a cosine that ends at 0 (Loshchilov and Hutter 2017, no restarts)."""

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        max_iters: int,
        warmup_factor: float = 1.0 / 3,
        warmup_iters: int = 500,
        warmup_method: str = "linear",
        last_epoch: int = -1,
    ) -> None:
        """Describe the schedule: 0 at `max_iters`; the rest as in `WarmupMultiStepLR`."""
        if max_iters < 1:
            raise ValueError(f"max_iters must be at least 1, got {max_iters}")
        self.max_iters = max_iters
        super().__init__(
            optimizer,
            warmup_factor=warmup_factor,
            warmup_iters=warmup_iters,
            warmup_method=warmup_method,
            last_epoch=last_epoch,
        )

    def decay(self, iteration: int) -> float:
        """Return (1 + cos(pi * iteration / max_iters)) / 2."""
        part = min(iteration, self.max_iters) / self.max_iters
        return 0.5 * (1.0 + math.cos(math.pi * part))
