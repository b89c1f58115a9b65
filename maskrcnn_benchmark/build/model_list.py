"""What there is to start from: every shipped config and every published set of weights, in one list."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path

from maskrcnn_benchmark.build.config_files import configs_folder, list_configs
from maskrcnn_benchmark.config import Config, get_defaults
from maskrcnn_benchmark.config.paths_catalog import ModelCatalog

_PUBLISHED = re.compile(r"Published: (?P<figures>.+) \((?P<source>.+)\)\.")


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """A line of the list.

    Attributes:
        name: of the config (below `configs/`), or of the weights (`catalog://...`).
        task: Mask R-CNN, RetinaNet, ...; ImageNet for a backbone alone.
        backbone: such as R-50-FPN, X-101-32x8d-FPN.
        published: figures as published, such as "box AP 37.8, mask AP 34.2"; empty if there are none.
        source: who published them, on what.
        weights: where its weights come from: a config's MODEL.WEIGHT, or the address of catalog weights.
    """

    name: str
    task: str
    backbone: str
    published: str = ""
    source: str = ""
    weights: str = ""

    def to_dict(self) -> dict[str, str]:
        """The entry as plain data."""
        return asdict(self)


def list_models(match: str = "") -> list[ModelEntry]:
    """Every shipped config, then every set of weights in the catalog.

    Args:
        match: only entries in whose name, task or backbone this text occurs, upper and lower case alike.
    """
    entries = [_config_entry(name) for name in list_configs()]
    published = {entry.weights: entry for entry in entries}
    for key in ModelCatalog.C2_DETECTRON_MODELS:
        name = f"catalog://Caffe2Detectron/COCO/{key}"
        user = published.get(name)
        entries.append(
            ModelEntry(
                name=name,
                task=user.task if user else "",
                backbone=user.backbone if user else "",
                published=user.published if user else "",
                source=user.source if user else "",
                weights=ModelCatalog.get(name.removeprefix("catalog://")),
            )
        )
    for key in ModelCatalog.C2_IMAGENET_MODELS:
        name = f"catalog://ImageNetPretrained/{key}"
        entries.append(
            ModelEntry(
                name=name,
                task="ImageNet",
                backbone=key.rsplit("/", 1)[-1],
                weights=ModelCatalog.get(name.removeprefix("catalog://")),
            )
        )
    text = match.lower()
    return [e for e in entries if text in f"{e.name} {e.task} {e.backbone}".lower()]


def task_of(cfg: Config) -> str:
    """What the network that a config describes is called."""
    model = cfg.MODEL
    if model.RETINANET_ON:
        return "RetinaNet"
    if model.RPN_ONLY:
        return "RPN"
    parts = [
        name for is_on, name in ((model.MASK_ON, "Mask"), (model.KEYPOINT_ON, "Keypoint")) if is_on
    ]
    name = " and ".join(parts) or ("" if model.CASCADE_ON else "Faster")
    return " ".join(filter(None, ("Cascade" if model.CASCADE_ON else "", name, "R-CNN")))


def backbone_of(cfg: Config) -> str:
    """The name of the backbone, with ResNeXt's numbers, norm and deformable stages where they are not the usual."""
    body, resnets = cfg.MODEL.BACKBONE.CONV_BODY, cfg.MODEL.RESNETS
    if body == "FBNet":
        return f"FBNet {cfg.MODEL.FBNET.ARCH}"
    if not body.startswith("R-"):
        return str(body)
    name = str(body).removesuffix("-RETINANET")
    if resnets.NUM_GROUPS > 1:
        depth, _, rest = name.removeprefix("R-").partition("-")
        name = f"X-{depth}-{resnets.NUM_GROUPS}x{resnets.WIDTH_PER_GROUP}d-{rest}"
    if (resnets.NORM or resnets.TRANS_FUNC).endswith("GN"):
        name += " GN"
    if any(resnets.STAGE_WITH_DCN):
        name += " DCNv2" if resnets.WITH_MODULATED_DCN else " DCN"
    return name


def _config_entry(name: str) -> ModelEntry:
    path = configs_folder() / name
    cfg = get_defaults()
    cfg.merge_from_file(path)
    found = _PUBLISHED.search(_header(path))
    return ModelEntry(
        name=name,
        task=task_of(cfg),
        backbone=backbone_of(cfg),
        published=found["figures"] if found else "",
        source=found["source"] if found else "",
        weights=cfg.MODEL.WEIGHT or "none",
    )


def _header(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    return "\n".join(takewhile(lambda line: line.startswith("#"), lines))
