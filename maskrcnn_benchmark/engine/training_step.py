"""One update of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from maskrcnn_benchmark.errors import TrainingError


def make_grad_scaler(*, device: torch.device, dtype: torch.dtype) -> GradScaler | None:
    """Return what keeps small float16 gradients from vanishing; None for other types."""
    return GradScaler(device.type) if dtype == torch.float16 else None


class TrainingStep:
    """Forward, backward and optimizer step for one batch."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        scaler: GradScaler | None = None,
        clip_grad_norm: float = 0.0,
    ) -> None:
        """Fix how updates are made.

        Args:
            model: called as `model(images, targets)`, returns name -> scalar loss.
            optimizer: over its parameters.
            device: where the model is.
            dtype: of the arithmetic; other than float32 means mixed precision.
            scaler: for float16, see `make_grad_scaler`.
            clip_grad_norm: largest norm of all gradients together; 0: no limit.
        """
        self.model = model
        self.optimizer = optimizer
        self.device = device
        self.dtype = dtype
        self.scaler = scaler
        self.clip_grad_norm = clip_grad_norm

    def __call__(self, images: Any, targets: Any) -> dict[str, Tensor]:
        """Update the weights from one batch on the model's device; return its losses, detached."""
        mixed = self.dtype != torch.float32
        with torch.autocast(self.device.type, dtype=self.dtype if mixed else None, enabled=mixed):
            losses: Mapping[str, Tensor] = self.model(images, targets)
        if not losses:
            raise TrainingError("the model returned no losses; is it in training mode?")
        total = torch.stack([loss.float() for loss in losses.values()]).sum()
        self.optimizer.zero_grad()
        if self.scaler is None:
            total.backward()
            self._clip()
            self.optimizer.step()
        else:
            self.scaler.scale(total).backward()
            if self.clip_grad_norm > 0:
                self.scaler.unscale_(self.optimizer)
                self._clip()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        return {name: loss.detach() for name, loss in losses.items()}

    def _clip(self) -> None:
        if self.clip_grad_norm > 0:
            parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(parameters, self.clip_grad_norm)
