"""What a `.safetensors` file says about its weights, so that the file alone is enough to predict, test and go on.

It lies in the file's metadata, as JSON under one key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maskrcnn_benchmark import __version__
from maskrcnn_benchmark.errors import CheckpointError

METADATA_KEY = "maskrcnn_benchmark"
FORMAT = 1


def _versions() -> dict[str, str]:
    return {"maskrcnn_benchmark": __version__, "torch": str(torch.__version__)}


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The manifest of a file of weights.

    Attributes:
        classes: name of each label, background first; None where nobody knows them.
        category_ids: label -> category id of the data set, for labels from 1 on; None: the labels themselves.
        keypoints: names, flip pairs and sigmas of the keypoints; None for networks without.
        numerics: name of the numerics profile.
        preprocessing: from image to input: PIXEL_MEAN, PIXEL_STD, TO_BGR255, MIN_SIZE_TEST, MAX_SIZE_TEST.
        settings: configuration keys that the first weights of the training needed, which these need as well.
        config: the whole configuration as YAML; None for weights without one.
        metrics: data set -> task -> metric -> value, as far as it was tested.
        provenance: where the weights come from: source, dialect, iteration, ...
        versions: program -> version that wrote the file.
        format: of this manifest.
    """

    classes: list[str] | None = None
    category_ids: list[int] | None = None
    keypoints: dict[str, Any] | None = None
    numerics: str | None = None
    preprocessing: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    config: str | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=_versions)
    format: int = FORMAT

    def to_metadata(self) -> dict[str, str]:
        """Text by key, as safetensors takes it."""
        return {"format": "pt", METADATA_KEY: json.dumps(asdict(self), sort_keys=True)}

    def to_rest(self) -> dict[str, Any]:
        """What a `.pth` of a run would hold beside its weights."""
        rest: dict[str, Any] = {"manifest": asdict(self), "numerics": self.numerics}
        known = {
            "class_names": self.classes,
            "category_ids": self.category_ids,
            "keypoints": self.keypoints,
            "config": self.config,
        }
        return rest | {key: value for key, value in known.items() if value is not None}


_TYPES: dict[str, tuple[type, ...]] = {
    "classes": (list, type(None)),
    "category_ids": (list, type(None)),
    "keypoints": (dict, type(None)),
    "numerics": (str, type(None)),
    "preprocessing": (dict,),
    "settings": (dict,),
    "config": (str, type(None)),
    "metrics": (dict,),
    "provenance": (dict,),
    "versions": (dict,),
    "format": (int,),
}


def read_manifest(
    metadata: Mapping[str, str], weights: Mapping[str, Tensor], *, path: Path
) -> Manifest | None:
    """Read and check the manifest of a file; None if it has none.

    Raises:
        CheckpointError: if it is no manifest, of a newer version, or does not speak of these weights.
    """
    text = metadata.get(METADATA_KEY)
    if text is None:
        return None
    try:
        content = json.loads(text)
    except ValueError as error:
        raise CheckpointError(
            f"{path}: its manifest is not JSON ({error}). Write the file again with `maskrcnn convert`"
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise CheckpointError(
            f"{path}: its manifest is no table with a number under 'format'. Write the file again with "
            "`maskrcnn convert`"
        )
    if content["format"] > FORMAT:
        raise CheckpointError(
            f"{path} was written by a newer version (manifest {content['format']}, this version reads up to "
            f"{FORMAT}; by {content.get('versions')}). Install a newer maskrcnn-benchmark"
        )
    known = {key: value for key, value in content.items() if key in _TYPES}
    for key, value in known.items():
        if not isinstance(value, _TYPES[key]):
            expected = " or ".join(kind.__name__ for kind in _TYPES[key])
            raise CheckpointError(
                f"{path}: '{key}' of its manifest should be a {expected}, it is a {type(value).__name__}. "
                "Write the file again with `maskrcnn convert`"
            )
    manifest = Manifest(**known)
    _check_classes(manifest, weights, path=path)
    return manifest


def _check_classes(manifest: Manifest, weights: Mapping[str, Tensor], *, path: Path) -> None:
    if manifest.classes is None:
        return
    if not all(isinstance(name, str) for name in manifest.classes):
        raise CheckpointError(
            f"{path}: the classes in its manifest should be names, got {manifest.classes!r:.80}"
        )
    for name, weight in weights.items():
        if name.endswith("box.predictor.cls_score.bias") and len(weight) != len(manifest.classes):
            raise CheckpointError(
                f"{path}: its manifest names {len(manifest.classes)} classes (background included), its weights are "
                f"for {len(weight)}. Give the right configuration and names: maskrcnn convert --config FILE IN OUT"
            )
