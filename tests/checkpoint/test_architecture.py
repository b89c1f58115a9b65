"""Configurations told from shapes: what is built from them takes the same weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.checkpoint.architecture import infer_architecture
from maskrcnn_benchmark.config import Config, get_defaults
from maskrcnn_benchmark.errors import CheckpointError

THIN = [
    "MODEL.RESNETS.WIDTH_PER_GROUP", 2,
    "MODEL.RESNETS.STEM_OUT_CHANNELS", 4,
    "MODEL.RESNETS.RES2_OUT_CHANNELS", 8,
    "MODEL.RESNETS.BACKBONE_OUT_CHANNELS", 32,
    "MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM", 12,
]  # fmt: skip
FILES = [
    "e2e_faster_rcnn_R_50_C4_1x.yaml",
    "e2e_mask_rcnn_R_50_C4_1x.yaml",
    "e2e_mask_rcnn_R_101_FPN_1x.yaml",
    "e2e_mask_rcnn_X_101_32x8d_FPN_1x.yaml",
    "e2e_keypoint_rcnn_R_50_FPN_1x.yaml",
    "rpn_R_50_C4_1x.yaml",
    "rpn_R_101_FPN_1x.yaml",
    "retinanet/retinanet_R-50-FPN_1x.yaml",
    "retinanet/retinanet_R-50-FPN_P5_1x.yaml",
    "dcn/e2e_mask_rcnn_dconv_R_50_FPN_1x.yaml",
    "dcn/e2e_faster_rcnn_mdconv_R_50_FPN_1x.yaml",
    "cascade/cascade_mask_rcnn_R_50_FPN_1x.yaml",
]


def shapes_of(cfg: Config) -> dict[str, tuple[int, ...]]:
    state = build_model(cfg).state_dict()
    return {name: tuple(value.shape) for name, value in state.items()}


def settle(shapes: dict[str, tuple[int, ...]]) -> Config:
    cfg = get_defaults()
    cfg.merge_from_list([item for pair in infer_architecture(shapes) for item in pair])
    return cfg


@pytest.mark.parametrize("file", FILES)
def test_a_shipped_config_is_told_from_its_shapes(file: str, repository: Path) -> None:
    cfg = get_defaults()
    cfg.merge_from_file(str(repository / "configs" / file))
    cfg.merge_from_list(THIN)
    if "C4" in file:
        cfg.merge_from_list(["MODEL.ROI_MASK_HEAD.CONV_LAYERS", (7, 7, 7, 7)])
    shapes = shapes_of(cfg)
    inferred = settle(shapes)
    assert shapes_of(inferred) == shapes
    for key in ("BACKBONE.CONV_BODY", "RESNETS.STRIDE_IN_1X1", "RPN.ANCHOR_STRIDE", "MASK_ON"):
        if key == "RPN.ANCHOR_STRIDE" and cfg.MODEL.RETINANET_ON:
            continue
        section, leaf = inferred.locate(f"MODEL.{key}")
        expected, _ = cfg.locate(f"MODEL.{key}")
        assert section[leaf] == expected[leaf], key


@pytest.mark.parametrize("body", ["R-18-FPN", "R-34-C4", "R-152-FPN", "R-50-C5"])
def test_bodies(body: str) -> None:
    cfg = get_defaults()
    channels = {"C4": 4, "C5": 8}.get(body[-2:])
    is_deep = body in ("R-152-FPN", "R-50-C5")
    cfg.merge_from_list(
        [
            *THIN,
            "MODEL.BACKBONE.CONV_BODY", body,
            "MODEL.RPN_ONLY", True,
            "MODEL.RPN.ANCHOR_STRIDE", {"C4": (16,), "C5": (32,)}.get(body[-2:], (4, 8, 16, 32, 64)),
            "MODEL.RPN.USE_FPN", channels is None,
            "MODEL.RESNETS.BACKBONE_OUT_CHANNELS", (8 if is_deep else 2) * channels if channels else 24,
        ]
    )  # fmt: skip
    shapes = shapes_of(cfg)
    inferred = settle(shapes)
    assert body == inferred.MODEL.BACKBONE.CONV_BODY
    assert shapes_of(inferred) == shapes


def test_names_of_a_body_may_begin_at_the_stem() -> None:
    cfg = get_defaults()
    cfg.merge_from_list([*THIN, "MODEL.RPN_ONLY", True])
    shapes = {
        name.removeprefix("backbone.body."): shape
        for name, shape in shapes_of(cfg).items()
        if name.startswith("backbone.body.")
    }
    settings = dict(infer_architecture(shapes))
    assert settings["MODEL.BACKBONE.CONV_BODY"] == "R-50-C4"
    assert settings["MODEL.RESNETS.WIDTH_PER_GROUP"] == 2
    assert "MODEL.RPN.USE_FPN" not in settings


def test_more_colours() -> None:
    shapes = {
        "stem.conv1.weight": (64, 5, 7, 7),
        **{
            f"layer{stage}.{block}.conv{k}.weight": (64, 64, 3, 3)
            for stage, count in ((1, 3), (2, 4), (3, 6))
            for block in range(count)
            for k in (1, 2, 3)
        },
    }
    assert dict(infer_architecture(shapes))["INPUT.CHANNELS"] == 5


def test_another_network_is_refused() -> None:
    with pytest.raises(CheckpointError, match="expected a ResNet"):
        infer_architecture({"backbone.body.first.conv.weight": (16, 3, 3, 3)})
    shapes = {
        "stem.conv1.weight": (64, 3, 7, 7),
        "layer1.0.conv1.weight": (64, 64, 1, 1),
        "layer1.0.conv2.weight": (64, 64, 3, 3),
        "layer1.4.conv1.weight": (64, 64, 1, 1),
    }
    with pytest.raises(CheckpointError, match="5, 0, 0 basic blocks"):
        infer_architecture(shapes)
