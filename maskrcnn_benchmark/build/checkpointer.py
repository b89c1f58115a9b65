"""The configuration's words about checkpoints -> Checkpointer."""

from __future__ import annotations

import logging
import os

from torch import nn
from torch.optim import Optimizer

from maskrcnn_benchmark.checkpoint.checkpointer import Checkpointer, Stateful
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.config.catalog import find_weights
from maskrcnn_benchmark.errors import ConfigError


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
        ConfigError: if it knows no such name.
    """
    try:
        return find_weights(cfg, name)
    except (KeyError, RuntimeError) as error:  # From a catalog of the user's own.
        raise ConfigError(
            f"catalog://{name}: the ModelCatalog in {cfg.PATHS_CATALOG} has no such model ({error}); "
            "add it there, or set MODEL.WEIGHT to a file"
        ) from error
