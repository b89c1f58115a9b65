"""Weights of this package, and of the old project, which named them alike.

What tells the two apart is not a name: this package writes beside the weights which numerics they need.
"""

from __future__ import annotations

from typing import Any

import yaml
from torch import Tensor

from maskrcnn_benchmark.checkpoint.dialects.base import Converted, Settings, Shapes

# Names that no other dialect has.
_OWN = (
    "backbone.body.stem.",
    "backbone.body.first.",
    "backbone.fpn.fpn_inner",
    "backbone.fpn.fpn_layer",
    "rpn.anchor_generator.cell_anchors.",
    "rpn.head.conv.weight",
    "rpn.head.cls_tower.",
    "roi_heads.box.",
    "roi_heads.mask.",
    "roi_heads.keypoint.",
)
_DETECTOR = ("rpn.", "roi_heads.")
# The keys of a configuration that weights depend on.
_NEEDED = (
    "MODEL.RESNETS.STRIDE_IN_1X1",
    "INPUT.PIXEL_MEAN",
    "INPUT.PIXEL_STD",
    "INPUT.TO_BGR255",
)


def recognise(names: Shapes) -> bool:
    """Whether one name is this package's."""
    return any(name.startswith(_OWN) for name in names)


def convert(weights: dict[str, Tensor]) -> Converted:
    """Nothing to rename."""
    return Converted(
        dialect="legacy",
        weights=weights,
        settings=(("MODEL.NUMERICS", "detectron"),),
        is_detector=any(name.startswith(_DETECTOR) for name in weights),
    )


def is_ours(rest: dict[str, Any]) -> bool:
    """Whether what lies beside the weights was written by this package."""
    return "numerics" in rest


def settings_of(rest: dict[str, Any]) -> Settings:
    """What a checkpoint says about how its weights are to be used: numerics, and the keys of its configuration."""
    settings: dict[str, Any] = {}
    numerics = rest.get("numerics")
    if isinstance(numerics, str):
        settings["MODEL.NUMERICS"] = "detectron" if numerics == "auto" else numerics
    manifest = rest.get("manifest")
    noted = (manifest if isinstance(manifest, dict) else rest).get("settings")
    if isinstance(noted, dict):
        settings |= noted
    for key in _NEEDED:
        value = _look_up(rest.get("config"), key)
        if value is not None:
            settings[key] = value
    return tuple((key, _plain(value)) for key, value in settings.items())


def _look_up(config: Any, key: str) -> Any:
    """The value of a key in a configuration as text; None where it says nothing."""
    try:
        value = yaml.safe_load(config) if isinstance(config, str) else None
    except yaml.YAMLError:
        return None
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _plain(value: Any) -> Any:
    return tuple(_plain(each) for each in value) if isinstance(value, list) else value
