"""What a file of weights is: where it comes from, what it holds, which network it belongs to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from maskrcnn_benchmark.build.checkpointer import open_weights
from maskrcnn_benchmark.build.weight_settings import adapt_config, infer_config
from maskrcnn_benchmark.checkpoint.dialects import NAMES, UNKNOWN
from maskrcnn_benchmark.checkpoint.opening import LoadedFile
from maskrcnn_benchmark.config import Config, get_defaults
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.predict.loading import find_weights

_SHOWN_CLASSES = 12


@dataclass(frozen=True, kw_only=True)
class WeightsInfo:
    """A file of weights, described.

    Attributes:
        facts: what is known about it, in the order to show it.
        cfg: of the network it belongs to; None for a backbone alone, or names that nobody knows.
    """

    facts: dict[str, Any]
    cfg: Config | None


def describe_weights(
    source: str | os.PathLike[str], *, overrides: Sequence[str] = ()
) -> WeightsInfo:
    """Read weights in any dialect and say what they are.

    Args:
        source: a file, a run's folder, a URL or a `catalog://` name.
        overrides: config keys and values by turns, for the network it belongs to.

    Raises:
        CheckpointError: if they cannot be fetched or read.
    """
    opened = open_weights(get_defaults(), find_weights(source))
    weights = opened.converted.weights
    numbers = sum(value.numel() for value in weights.values())
    bytes_ = sum(value.numel() * value.element_size() for value in weights.values())
    facts: dict[str, Any] = {
        "file": opened.path,
        "dialect": NAMES.get(opened.converted.dialect, opened.converted.dialect),
        "holds": "a detector" if opened.converted.is_detector else "no whole detector",
        "tensors": f"{len(weights)} ({numbers:,} numbers, {bytes_ / 2**20:.1f} MiB)",
    }
    if opened.converted.unused:
        facts["not used"] = _shorten(list(opened.converted.unused))
    facts.update(_provenance(opened.rest))
    if opened.converted.settings and not opened.converted.is_detector:
        needs = (f"{key} {value}" for key, value in opened.converted.settings)
        facts["needs"] = ", ".join(needs)
    return WeightsInfo(facts=facts, cfg=_find_config(opened, overrides))


def _provenance(rest: dict[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    names = rest.get("class_names")
    if names:
        facts["classes"] = _shorten([str(name) for name in names][1:])
    if isinstance(rest.get("iteration"), int):
        facts["iteration"] = rest["iteration"]
    manifest = rest.get("manifest") or {}
    facts.update(_origin(manifest.get("provenance") or {}))
    for key, value in (manifest.get("versions") or {}).items():
        facts[f"{key} version"] = value
    for data, tasks in (manifest.get("metrics") or {}).items():
        for task, figures in tasks.items():
            if isinstance(figures, dict) and "AP" in figures:
                facts[f"{data} {task} AP"] = f"{100 * figures['AP']:.1f}"
    return facts


def _origin(provenance: dict[str, Any]) -> dict[str, Any]:
    """What a manifest tells of the weights' past, as it is shown."""
    shown: dict[str, Any] = {}
    for key, value in provenance.items():
        if key == "dialect":
            if value not in ("native", UNKNOWN):
                shown["converted from"] = NAMES.get(value, value)
        elif value not in ("", None):
            shown[key.replace("_", " ")] = ", ".join(value) if isinstance(value, list) else value
    return shown


def _find_config(opened: LoadedFile, overrides: Sequence[str]) -> Config | None:
    text = opened.rest.get("config")
    try:
        if isinstance(text, str):
            cfg = get_defaults()
            cfg.merge_from_text(text, name=opened.path)
        else:
            cfg = infer_config(opened)
    except ConfigError:
        return None
    cfg.merge_from_list(list(overrides))
    return adapt_config(cfg, opened.converted)


def _shorten(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN_CLASSES])
    return f"{len(names)}: {shown}{', ...' if len(names) > _SHOWN_CLASSES else ''}"
