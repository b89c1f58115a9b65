"""A run's folder as training leaves it, with a very small network of random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.config import get_defaults

CLASS_NAMES = ["__background__", "square", "circle"]
SETTINGS: list[Any] = [
    *("MODEL.DEVICE", "cpu"),
    *("MODEL.MASK_ON", True),
    *("MODEL.BACKBONE.CONV_BODY", "R-18-FPN"),
    *("MODEL.RESNETS.BACKBONE_OUT_CHANNELS", 16),
    *("MODEL.RESNETS.STEM_OUT_CHANNELS", 8),
    *("MODEL.RESNETS.RES2_OUT_CHANNELS", 8),
    *("MODEL.RESNETS.WIDTH_PER_GROUP", 8),
    *("MODEL.RPN.USE_FPN", True),
    *("MODEL.RPN.ANCHOR_STRIDE", (4, 8, 16, 32, 64)),
    *("MODEL.RPN.PRE_NMS_TOP_N_TEST", 100),
    *("MODEL.RPN.POST_NMS_TOP_N_TEST", 50),
    *("MODEL.RPN.FPN_POST_NMS_TOP_N_TEST", 50),
    *("MODEL.ROI_HEADS.USE_FPN", True),
    *("MODEL.ROI_HEADS.DETECTIONS_PER_IMG", 8),
    *("MODEL.ROI_BOX_HEAD.NUM_CLASSES", 3),
    *("MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM", 32),
    *("MODEL.ROI_BOX_HEAD.POOLER_SCALES", (0.25, 0.125, 0.0625, 0.03125)),
    *("MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO", 2),
    *("MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR", "FPN2MLPFeatureExtractor"),
    *("MODEL.ROI_BOX_HEAD.PREDICTOR", "FPNPredictor"),
    *("MODEL.ROI_MASK_HEAD.POOLER_SCALES", (0.25, 0.125, 0.0625, 0.03125)),
    *("MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION", 14),
    *("MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO", 2),
    *("MODEL.ROI_MASK_HEAD.RESOLUTION", 28),
    *("MODEL.ROI_MASK_HEAD.CONV_LAYERS", (8, 8)),
    *("MODEL.ROI_MASK_HEAD.FEATURE_EXTRACTOR", "MaskRCNNFPNFeatureExtractor"),
    *("MODEL.ROI_MASK_HEAD.PREDICTOR", "MaskRCNNC4Predictor"),
    *("MODEL.ROI_MASK_HEAD.SHARE_BOX_FEATURE_EXTRACTOR", False),
    *("INPUT.MIN_SIZE_TEST", 96),
    *("INPUT.MAX_SIZE_TEST", 160),
    *("DATALOADER.SIZE_DIVISIBILITY", 32),
]

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Function that writes a run: settings, what the checkpoint says besides -> folder."""

    def make(*settings: Any, name: str = "run", **about: Any) -> Path:
        cfg = get_defaults()
        cfg.merge_from_list([*SETTINGS, *settings])
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.yml").write_text(cfg.dump())
        (folder / "labels.json").write_text(json.dumps({7: "square", 3: "circle"}))
        (folder / "last_checkpoint").write_text("somewhere/else/model_final.pth")
        torch.manual_seed(0)
        weights = build_model(cfg).state_dict()
        about = {"class_names": CLASS_NAMES, "config": cfg.dump(), **about}
        torch.save({"model": weights, **about}, folder / "model_final.pth")
        return folder

    return make
