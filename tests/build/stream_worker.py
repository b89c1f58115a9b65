"""One process of a training run that writes down what it sees: images, targets, losses, gradients.

python stream_worker.py OUTPUT_FOLDER [ITERATIONS]     (alone or under torchrun)
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from maskrcnn_benchmark.build.data import build_train_loader
from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.config import Config, get_defaults
from maskrcnn_benchmark.modeling.detector import GeneralizedRCNN

# The number of samples, by which these are divided, is the same for every image.
COUNTED = ("loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg")


def fingerprint(value: Tensor) -> str:
    return hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()


def describe_batch(images: Any, targets: list[Any], ids: list[int]) -> list[dict[str, Any]]:
    rows = []
    for tensor, (height, width), target, index in zip(
        images.tensors, images.image_sizes, targets, ids, strict=True
    ):
        rows.append(
            {
                "index": index,
                "pixels": fingerprint(tensor[:, :height, :width]),
                "boxes": target.bbox.tolist(),
                "labels": target.get_field("labels").tolist(),
                "masks": fingerprint(target.get_field("masks").as_masks()),
                "seed": target.sample_seed,
            }
        )
    return rows


def losses_and_gradients(
    model: GeneralizedRCNN, images: Any, targets: list[Any]
) -> tuple[dict[str, float], dict[str, Tensor]]:
    losses = model(images, targets)
    assert isinstance(losses, dict)
    model.zero_grad()
    torch.stack([losses[name] for name in COUNTED]).sum().backward()
    gradients = {
        name: parameter.grad.clone()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    return {name: float(loss) for name, loss in losses.items()}, gradients


def average_over_ranks(losses: dict[str, float], gradients: dict[str, Tensor]) -> None:
    world_size = dist.get_world_size()
    for name, value in losses.items():
        total = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(total)
        losses[name] = float(total) / world_size
    for gradient in gradients.values():
        dist.all_reduce(gradient)
        gradient /= world_size


def main(folder: Path, iterations: int) -> None:
    torch.set_num_threads(1)
    distributed = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if distributed:
        dist.init_process_group("gloo")
    rank = dist.get_rank() if distributed else 0
    cfg: Config = get_defaults()
    cfg.merge_from_file(folder / "config.yml")
    torch.manual_seed(0)
    model = build_model(cfg).train()
    seen = []
    for number, (images, targets, ids) in enumerate(build_train_loader(cfg)):
        seen.append(describe_batch(images, targets, ids))
        if number == 0:
            losses, gradients = losses_and_gradients(model, images, targets)
            if distributed:
                average_over_ranks(losses, gradients)
            if rank == 0:
                torch.save(
                    {"losses": losses, "gradients": gradients}, folder / f"step_{distributed}.pth"
                )
        if number + 1 == iterations:
            break
    torch.save(seen, folder / f"seen_{distributed}_{rank}.pth")
    if distributed:
        dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
