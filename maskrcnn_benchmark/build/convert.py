"""Weights of any dialect -> a file of this package's, whole, without the layers of classes, or the backbone alone."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from maskrcnn_benchmark.build.checkpointer import open_weights
from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.build.model_file import make_manifest
from maskrcnn_benchmark.build.weight_settings import adapt_config, infer_config
from maskrcnn_benchmark.checkpoint.checkpointer import Checkpointer
from maskrcnn_benchmark.checkpoint.dialects.base import Converted
from maskrcnn_benchmark.checkpoint.files import write_checkpoint, write_safetensors
from maskrcnn_benchmark.checkpoint.manifest import Manifest
from maskrcnn_benchmark.checkpoint.opening import LoadedFile
from maskrcnn_benchmark.checkpoint.requirements import is_class_layer
from maskrcnn_benchmark.config import Config, get_defaults
from maskrcnn_benchmark.errors import CheckpointError, ConfigError

logger = logging.getLogger(__name__)

ENDINGS = (".safetensors", ".pth")
_SCORES = "box.predictor.cls_score.bias"
_NOT_OF_THE_BODY = ("rpn.", "roi_heads.", "backbone.fpn.")


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What was written.

    Attributes:
        path: the new file.
        dialect: of the old one.
        weights: how many there are in the new file.
        dropped: names that were left out because it was asked for.
        unused: names in the old file that have no counterpart here.
        has_config: whether the new file is enough to predict with.
    """

    path: Path
    dialect: str
    weights: int
    dropped: tuple[str, ...]
    unused: tuple[str, ...]
    has_config: bool


def convert_weights(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    cfg: Config | None = None,
    overrides: Sequence[str] = (),
    drop_heads: bool = False,
    backbone_only: bool = False,
) -> Conversion:
    """Read weights in any dialect and write them under this package's names.

    Args:
        source: path, http(s) URL or `catalog://` name.
        output: ends in `.safetensors` (with a manifest) or `.pth`.
        cfg: of the network; None: the one inside the file, or told from its weights. All its weights must be in the
            file of a detector, those of its body in that of a backbone.
        overrides: configuration keys and values by turns, on top of that configuration.
        drop_heads: leave out the layers whose size depends on the number of classes, to train them for others.
        backbone_only: leave out all but the body of the backbone.

    Raises:
        ConfigError: for another ending, or the file that is read.
        CheckpointError: if the weights cannot be had, do not fit the configuration, or cannot be written.
    """
    output = Path(output)
    if output.suffix not in ENDINGS:
        raise ConfigError(
            f"cannot write weights to {output}: expected a name that ends in {' or '.join(ENDINGS)}"
        )
    opened = open_weights(cfg or get_defaults(), source)
    if output.exists() and output.samefile(opened.path):
        raise ConfigError(
            f"{output} is the file that is read: what is not written again, such as the optimizer of a run, would be "
            "lost. Give another name"
        )
    kept, dropped = _select(
        opened.converted.weights, drop_heads=drop_heads, backbone_only=backbone_only
    )
    if not kept:
        raise CheckpointError(
            f"{opened.path}: nothing would be left of its weights; was this done before?"
        )
    is_whole = opened.converted.is_detector and not (drop_heads or backbone_only)
    network = None if backbone_only else _find_network(opened, cfg)
    if network is not None:
        network = _override(network, overrides)
        network = adapt_config(network, opened.converted)
        kept = _complete(
            replace(opened, converted=replace(opened.converted, weights=kept)), network
        )
        kept, _ = _select(kept, drop_heads=drop_heads, backbone_only=False)
    elif overrides:
        why = "of a backbone alone" if backbone_only else "as its network is not known"
        raise ConfigError(
            f"{opened.path}: {' '.join(overrides)} cannot be applied, {why}; give the configuration it was trained "
            "with (--config), or leave these words out"
        )
    manifest = _describe(opened, network, is_whole=is_whole)
    _write(output, kept, manifest)
    return Conversion(
        path=output,
        dialect=opened.converted.dialect,
        weights=len(kept),
        dropped=dropped,
        unused=opened.converted.unused,
        has_config=network is not None and is_whole,
    )


def _select(
    weights: Mapping[str, Tensor], *, drop_heads: bool, backbone_only: bool
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The weights to keep, and the names of the others."""
    dropped = tuple(
        name
        for name in weights
        if (drop_heads and is_class_layer(name, weights))
        or (backbone_only and name.startswith(_NOT_OF_THE_BODY))
    )
    return {name: value for name, value in weights.items() if name not in set(dropped)}, dropped


def _find_network(opened: LoadedFile, cfg: Config | None) -> Config | None:
    """The configuration given, inside the file, or told from a detector's weights."""
    if cfg is not None:
        return cfg
    inside = opened.rest.get("config")
    if isinstance(inside, str):
        found = get_defaults()
        found.merge_from_text(inside, name=opened.path)
        return found
    if not opened.converted.is_detector:
        return None
    try:
        return infer_config(opened)
    except ConfigError:  # A network of another kind: its weights are written as they are.
        return None


def _override(cfg: Config, overrides: Sequence[str]) -> Config:
    if not overrides:
        return cfg
    changed = cfg.clone()
    changed.defrost()
    changed.merge_from_list(list(overrides))
    return changed


def _complete(opened: LoadedFile, cfg: Config) -> dict[str, Tensor]:
    """The weights of the network by their whole names: of a detector all, of a backbone what the file has."""
    model = build_model(cfg)
    match, _ = Checkpointer(model, save_to_disk=False).load_weights(opened)
    state: dict[str, Tensor] = dict(model.state_dict())
    if opened.converted.is_detector:
        return state
    return {name: value for name, value in state.items() if name in match.pairs}


def _describe(opened: LoadedFile, cfg: Config | None, *, is_whole: bool) -> Manifest:
    rest, converted = opened.rest, opened.converted
    provenance = {"source": os.path.basename(opened.path), "dialect": converted.dialect}
    if isinstance(rest.get("iteration"), int):
        provenance["iteration"] = rest["iteration"]
    if cfg is None:
        return _describe_without_config(converted, provenance)
    named: dict[str, Any] = {}
    if is_whole:
        named = {key: rest.get(key) for key in ("class_names", "category_ids", "keypoints")}
        _leave_out_misnamed(named, opened)
    before = rest.get("manifest")
    metrics = before.get("metrics") if isinstance(before, dict) and is_whole else None
    return make_manifest(cfg, provenance=provenance, metrics=metrics, **named)


def _leave_out_misnamed(named: dict[str, Any], opened: LoadedFile) -> None:
    """Names of another number of classes would make a file that cannot be read."""
    names = named["class_names"]
    for name, weight in opened.converted.weights.items():
        if name.endswith(_SCORES) and names is not None and len(names) != len(weight):
            logger.warning(
                "%s names %d classes (background included), its weights are for %d: the names are left out",
                opened.path,
                len(names),
                len(weight),
            )
            named["class_names"] = named["category_ids"] = names = None


def _describe_without_config(converted: Converted, provenance: Mapping[str, Any]) -> Manifest:
    settings = dict(converted.settings)
    return Manifest(
        numerics=settings.get("MODEL.NUMERICS"), settings=settings, provenance=dict(provenance)
    )


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"cannot write {path}: its folder cannot be made ({error.strerror or error})"
        ) from error


def _write(path: Path, weights: Mapping[str, Tensor], manifest: Manifest) -> None:
    _make_folder(path)
    if path.suffix == ".safetensors":
        write_safetensors(path, weights, manifest)
        return
    rest = {key: value for key, value in manifest.to_rest().items() if value is not None}
    # For a body without numerics of its own the key still says whose file this is.
    write_checkpoint(path, {"model": dict(weights), "numerics": manifest.numerics, **rest})
