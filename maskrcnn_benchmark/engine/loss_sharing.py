"""The losses of one iteration as numbers, the same in every process."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from maskrcnn_benchmark.errors import TrainingError
from maskrcnn_benchmark.utils.comm import all_gather, get_world_size


def share_losses(losses: Mapping[str, Tensor], *, stop: bool) -> tuple[dict[str, float], bool]:
    """Average the losses over all processes, and learn whether any of them wants to stop.

    Both travel together: one exchange per iteration, after the update is under way.

    Args:
        losses: name -> scalar, the same names in every process.
        stop: whether this process was asked to stop.

    Returns:
        The averages, and whether to stop. A loss that is not finite anywhere is not finite here.
    """
    first = next(iter(losses.values()))
    numbers = torch.stack(
        [*(loss.float() for loss in losses.values()), first.new_tensor(stop).float()]
    )
    world_size = get_world_size()
    if world_size > 1:
        dist.all_reduce(numbers)
        numbers /= world_size
    *values, wishes = numbers.tolist()
    return dict(zip(losses, values, strict=True)), wishes > 0


def check_losses(
    averages: Mapping[str, float],
    *,
    own: Mapping[str, Tensor],
    image_ids: Sequence[Any],
    iteration: int,
    describe: Callable[[Any], str] = str,
) -> None:
    """Stop the run when a loss is not a finite number.

    Args:
        averages: what `share_losses` gave, so that all processes come to the same result.
        own: the losses of this process.
        image_ids: of the batch of this process.
        iteration: the number of this update, from 1.
        describe: an image id in words.

    Raises:
        TrainingError: with the iteration, each loss and the images.
    """
    if all(math.isfinite(value) for value in averages.values()):
        return
    mine = ({name: float(loss) for name, loss in own.items()}, [describe(i) for i in image_ids])
    lines = []
    for rank, (losses, ids) in enumerate(all_gather(mine)):
        where = f"process {rank}: " if get_world_size() > 1 else ""
        values = ", ".join(f"{name} {value:.6g}" for name, value in losses.items())
        lines.append(f"\n  {where}{values}; images {', '.join(ids)}")
    raise TrainingError(
        f"a loss is not finite at iteration {iteration}:{''.join(lines)}\n"
        "Nothing was saved since; the last checkpoint is from before. Lower SOLVER.BASE_LR, "
        "lengthen SOLVER.WARMUP_ITERS, set SOLVER.CLIP_GRAD_NORM, or look at these images and "
        "their boxes"
    )
