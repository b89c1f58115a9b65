"""Detectron's weight files, as the old project read them."""

from __future__ import annotations

import os
from collections import OrderedDict

from torch import Tensor

from maskrcnn_benchmark.checkpoint.files import read_checkpoint
from maskrcnn_benchmark.config import Config


def load_c2_format(cfg: Config, f: str | os.PathLike[str]) -> dict[str, OrderedDict[str, Tensor]]:
    """Read a Detectron `.pkl`, without running code from it.

    Args:
        cfg: without effect: the file itself tells which network it is of.
        f: the file.

    Returns:
        {"model": name here -> tensor}.
    """
    return {"model": OrderedDict(read_checkpoint(f)["model"])}
