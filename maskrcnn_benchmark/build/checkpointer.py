"""The configuration's words about checkpoints -> Checkpointer."""

from __future__ import annotations

import logging
import os

from torch import nn
from torch.optim import Optimizer

from maskrcnn_benchmark.checkpoint.checkpointer import Checkpointer, Stateful
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.errors import CheckpointError
from maskrcnn_benchmark.utils.imports import import_file


class DetectronCheckpointer(Checkpointer):
    """A Checkpointer that finds `catalog://` names in the configuration's PATHS_CATALOG."""

    def __init__(
        self,
        cfg: Config,
        model: nn.Module,
        optimizer: Optimizer | None = None,
        scheduler: Stateful | None = None,
        save_dir: str | os.PathLike[str] = "",
        save_to_disk: bool | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        """Take the arguments of `Checkpointer` after the configuration."""
        super().__init__(
            model,
            optimizer,
            scheduler,
            save_dir,
            save_to_disk,
            logger,
            find_in_catalog=lambda name: find_in_model_catalog(cfg, name),
            keep=cfg.SOLVER.CHECKPOINT_KEEP,
        )
        self.cfg = cfg.clone()


def find_in_model_catalog(cfg: Config, name: str) -> str:
    """Return the URL or path that the ModelCatalog in PATHS_CATALOG gives for a name.

    Raises:
        CheckpointError: if it knows no such name.
    """
    catalog = import_file("user_paths_catalog", cfg.PATHS_CATALOG)
    try:
        return str(catalog.ModelCatalog.get(name))
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(
            f"catalog://{name}: the ModelCatalog in {cfg.PATHS_CATALOG} has no such model ({error})"
        ) from error
