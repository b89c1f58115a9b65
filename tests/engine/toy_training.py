"""A network and data so small that a training run takes a second; also a program that does one.

python -m tests.engine.toy_training FOLDER [--max-iter N] [--workers N] [--kill-at N] ...
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys

import torch
from torch import nn

from maskrcnn_benchmark.checkpoint.checkpointer import Checkpointer
from maskrcnn_benchmark.data.loader import make_train_loader
from maskrcnn_benchmark.engine.distributed import distribute, process_group
from maskrcnn_benchmark.engine.metric_writers import JsonLinesWriter
from maskrcnn_benchmark.engine.trainer import Periods, train_loop
from maskrcnn_benchmark.solver import WarmupMultiStepLR, make_sgd
from maskrcnn_benchmark.structures.bounding_box import FLIP_LEFT_RIGHT, BoxList
from maskrcnn_benchmark.utils.logger import setup_logger


class Scenes:
    """Noise images of two sizes, randomly flipped and shifted in brightness."""

    def __init__(self, number=12):
        self.number = number

    def __len__(self):
        return self.number

    def get_img_info(self, index):
        return {"height": 8, "width": 8 + 4 * (index % 2), "id": 100 + index}

    def __getitem__(self, index):
        info = self.get_img_info(index)
        generator = torch.Generator().manual_seed(index)
        image = torch.rand(3, info["height"], info["width"], generator=generator)
        target = BoxList([[0, 0, 3, 5], [2, 2, 6, 7]], (info["width"], info["height"]))
        target.add_field("labels", torch.tensor([1, 2]))
        if random.random() < 0.5:
            image, target = image.flip(-1), target.transpose(FLIP_LEFT_RIGHT)
        return image + 0.1 * random.random(), target, index


class Net(nn.Module):
    """Convolution, batch norm and dropout; two losses with the boxes as targets."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 4)
        self.number = 0
        self.before = lambda number: None

    def forward(self, images, targets=None):
        self.number += 1
        self.before(self.number)
        features = self.norm(self.conv(images.tensors)).relu()
        features = nn.functional.dropout(features, 0.2, self.training).mean((2, 3))
        boxes = self.head(features)
        if not self.training:
            return [
                BoxList(row[None], (size.width, size.height))
                for row, size in zip(boxes.detach(), images.image_sizes, strict=True)
            ]
        wanted = torch.stack([target.bbox.mean(0) for target in targets]) / 10
        return {"loss_box": (boxes - wanted).square().mean(), "loss_norm": boxes.abs().mean() / 10}


def make_parts(folder="", *, seed=0, **settings):
    """Return a checkpointer, which holds the model, the optimizer and the schedule."""
    torch.manual_seed(seed)
    model = Net()
    optimizer = make_sgd(model.named_parameters(), base_lr=0.05)
    scheduler = WarmupMultiStepLR(optimizer, (12,), warmup_iters=4)
    return Checkpointer(model, optimizer, scheduler, folder, **settings)


def make_loader(max_iteration, start_iteration=0, *, rank=0, world_size=1, workers=0, batch=4):
    return make_train_loader(
        Scenes(),
        images_per_batch=batch,
        num_iterations=max_iteration,
        start_iteration=start_iteration,
        seed=3,
        rank=rank,
        world_size=world_size,
        size_divisible=4,
        num_workers=workers,
    )


def run(parts, *, max_iteration, model=None, start_iteration=0, loader=None, **settings):
    """Call `train_loop` with what the tests share."""
    settings.setdefault("periods", Periods(log=5, checkpoint=4))
    settings.setdefault("seed", 3)
    train_loop(
        model or parts.model,
        loader if loader is not None else make_loader(max_iteration, start_iteration),
        parts.optimizer,
        parts.scheduler,
        checkpointer=parts,
        device=torch.device("cpu"),
        max_iteration=max_iteration,
        start_iteration=start_iteration,
        **settings,
    )


def train(
    folder,
    *,
    max_iteration=16,
    workers=0,
    kill_at=0,
    kill_with=signal.SIGKILL,
    to_all=False,
    error_at=0,
    nan_at=0,
    only_rank=None,
):
    """Do a whole run in `folder`, as a program would: resume, train, exit with 130 after Ctrl-C.

    At iteration `kill_at`, `error_at` or `nan_at` something happens in the process `only_rank`, or
    in all of them; `to_all`: in its loader workers, too.
    """
    with process_group(torch.device("cpu")) as place:
        setup_logger("maskrcnn_benchmark", folder, place.rank)
        parts = make_parts(folder)
        start = parts.load().get("iteration", 0)

        def before(number):
            if only_rank not in (None, place.rank):
                return
            if start + number == kill_at:
                workers_too = multiprocessing.active_children() if to_all else []
                os.kill(os.getpid(), kill_with)
                for worker in workers_too:
                    # By another process: one from the parent would be taken for the end of the loader.
                    subprocess.run(["kill", f"-{int(kill_with)}", str(worker.pid)], check=True)
                    # Dead, and not yet asked after.
                    os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
            if start + number == error_at:
                raise ValueError("a made-up error")
            if start + number == nan_at:
                parts.model.head.bias.data.fill_(float("nan"))

        parts.model.before = before
        loader = make_loader(
            max_iteration, start, rank=place.rank, world_size=place.world_size, workers=workers
        )
        writers = []
        if place.rank == 0:
            writers.append(JsonLinesWriter(folder, start_iteration=start))
        try:
            run(
                parts,
                model=distribute(parts.model, place),
                max_iteration=max_iteration,
                start_iteration=start,
                loader=loader,
                writers=writers,
            )
        except KeyboardInterrupt:
            sys.exit(130)
        finally:
            for writer in writers:
                writer.close()
