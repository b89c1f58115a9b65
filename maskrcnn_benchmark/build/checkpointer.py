"""The configuration's words about checkpoints -> Checkpointer, and networks with their weights in them."""

from __future__ import annotations

import logging
import os
from functools import partial

from torch import nn
from torch.optim import Optimizer

from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.build.weight_settings import adapt_config
from maskrcnn_benchmark.checkpoint.checkpointer import Checkpointer, Stateful
from maskrcnn_benchmark.checkpoint.opening import LoadedFile, open_source
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.config.catalog import find_weights
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.modeling.detector.detector import Detector


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
            find_in_catalog=partial(find_in_model_catalog, cfg),
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


def open_weights(cfg: Config, source: str | os.PathLike[str]) -> LoadedFile:
    """Fetch and read weights in any dialect.

    Args:
        cfg: its PATHS_CATALOG knows `catalog://` names.
        source: path, http(s) URL or `catalog://` name.
    """
    return open_source(source, find_in_catalog=partial(find_in_model_catalog, cfg))


def build_with_weights(
    cfg: Config, source: str | os.PathLike[str], *, allow_other_classes: bool = False
) -> tuple[Detector, Config]:
    """Build the network with weights of any dialect, whose numerics and preprocessing the configuration takes over.

    Args:
        cfg: of the network; it is not changed.
        source: path, http(s) URL or `catalog://` name.
        allow_other_classes: whether class layers of another size keep their initial weights.

    Returns:
        The network on the CPU, in training mode, and the configuration it was built from.

    Raises:
        CheckpointError: if the weights cannot be had, or lack what the network needs.
    """
    opened = open_weights(cfg, source)
    adapted = adapt_config(cfg, opened.converted)
    model = build_model(adapted)
    Checkpointer(model, save_to_disk=False).load_weights(opened, allow_mismatch=allow_other_classes)
    return model, adapted
