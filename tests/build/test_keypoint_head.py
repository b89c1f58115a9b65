"""From a config to keypoints: every key in its place, and a whole run with keypoints of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from maskrcnn_benchmark.build import run
from maskrcnn_benchmark.build.data import build_train_dataset
from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.config import Config, get_defaults
from maskrcnn_benchmark.errors import ConfigError, DatasetError
from maskrcnn_benchmark.modeling.roi_heads.keypoint_head import KeypointHead
from maskrcnn_benchmark.predict import Predictor
from tests.build.toy_run import THIN, make_config

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
FILE = "e2e_keypoint_rcnn_R_50_FPN_1x.yaml"
FILES = [
    FILE,
    "caffe2/e2e_keypoint_rcnn_R_50_FPN_1x_caffe2.yaml",
    "quick_schedules/e2e_keypoint_rcnn_R_50_FPN_quick.yaml",
]

# Keypoints that every object has: the corners of its box.
CORNERS = ["left top", "right top", "left bottom", "right bottom"]
HEAD = "MODEL__ROI_KEYPOINT_HEAD__"


def load(file: str = FILE, **changes: Any) -> Config:
    """A config with keys changed, two underscores for each dot."""
    cfg = get_defaults()
    cfg.merge_from_file(str(CONFIGS / file))
    pairs = {key.replace("__", "."): value for key, value in changes.items()}
    cfg.merge_from_list([word for pair in pairs.items() for word in pair])
    return cfg


def head_of(cfg: Config) -> Any:
    """Without memory for the weights; Any, because the tests look into all parts."""
    with torch.device("meta"):
        model: Any = build_model(cfg)
    assert isinstance(model.roi_heads.keypoint, KeypointHead)
    assert model.with_keypoints
    return model.roi_heads.keypoint


@pytest.mark.parametrize("file", FILES)
def test_shipped_configs(file: str) -> None:
    head = head_of(load(file))
    assert head.resolution == 56
    assert head.predictor.kps_score_lowres.weight.shape == (512, 17, 4, 4)
    assert head.feature_extractor.conv_fcn8.weight.shape == (512, 512, 3, 3)
    assert head.feature_extractor.pooler.output_size == 14
    assert (head.visible_in, head.score, head.loss_normalizer) == ("gt_box", "logit", None)


def test_keys() -> None:
    changes = {
        "CONV_LAYERS": (8, 12),
        "NUM_CLASSES": 5,
        "RESOLUTION": 28,
        "POOLER_RESOLUTION": 7,
        "POOLER_SAMPLING_RATIO": 3,
    }
    head = head_of(load(**{HEAD + key: value for key, value in changes.items()}))
    assert head.predictor.kps_score_lowres.weight.shape == (12, 5, 4, 4)
    assert head.resolution == 28
    pooler = head.feature_extractor.pooler
    assert (pooler.output_size, pooler.sampling_ratio) == (7, 3)


@pytest.mark.parametrize("profile", ["detectron2", "torchvision"])
def test_numerics(profile: str) -> None:
    head = head_of(load(MODEL__NUMERICS=profile))
    assert head.visible_in == "proposal"
    assert head.score == ("probability" if profile == "detectron2" else "logit")
    assert head.feature_extractor.pooler.box_offset == 0.0


def test_features_of_the_box_head() -> None:
    file = "e2e_faster_rcnn_R_50_C4_1x.yaml"
    with torch.device("meta"):
        model: Any = build_model(
            load(file, MODEL__KEYPOINT_ON=True, MODEL__ROI_KEYPOINT_HEAD__RESOLUTION=28)
        )
    heads = model.roi_heads
    assert heads.keypoint.feature_extractor is heads.box.feature_extractor
    assert heads.keypoint.predictor.kps_score_lowres.in_channels == 2048


def test_vectors_of_the_box_head_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"SHARE_BOX_FEATURE_EXTRACTOR: .* vectors .*False"):
        head_of(load(MODEL__ROI_KEYPOINT_HEAD__SHARE_BOX_FEATURE_EXTRACTOR=True))


@pytest.mark.parametrize("key", ["FEATURE_EXTRACTOR", "PREDICTOR"])
def test_unknown_parts_are_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"ROI_KEYPOINT_HEAD\.{key}.*'Nose'"):
        head_of(load(**{HEAD + key: "Nose"}))


def make_corners_config(folder: Path, **changes: Any) -> Config:
    """A run on the toy pictures, whose objects have keypoints."""
    keys = {
        "MODEL__MASK_ON": False,
        "MODEL__KEYPOINT_ON": True,
        HEAD + "SHARE_BOX_FEATURE_EXTRACTOR": False,
        HEAD + "NUM_CLASSES": 4,
        HEAD + "POOLER_SCALES": (0.25, 0.125, 0.0625, 0.03125),
        HEAD + "POOLER_RESOLUTION": 7,
        HEAD + "RESOLUTION": 28,
        HEAD + "CONV_LAYERS": (8, 8),
        "SOLVER__MAX_ITER": 6,
        "SOLVER__STEPS": (),
        "DATALOADER__NUM_WORKERS": 0,
        **changes,
    }
    cfg = make_config(folder, **keys)
    for entry in cfg.DATASETS.CUSTOM.values():
        file = Path(entry["ann_file"])
        content = json.loads(file.read_text())
        for category in content["categories"]:
            category.update(
                keypoints=CORNERS, skeleton=[[1, 2], [3, 4], [1, 3], [2, 4]], sigmas=[0.1] * 4
            )
        for annotation in content["annotations"]:
            x, y, w, h = annotation["bbox"]
            places = [(x, y), (x + w - 1, y), (x, y + h - 1), (x + w - 1, y + h - 1)]
            annotation["keypoints"] = [number for place in places for number in (*place, 2)]
        file.write_text(json.dumps(content))
    return cfg


def test_a_whole_run(tmp_path: Path) -> None:
    cfg = make_corners_config(tmp_path)
    results = run.train(cfg)
    measured = results["toy_val"].results
    assert list(measured) == ["bbox", "keypoints"]
    assert list(measured["keypoints"])[:5] == ["AP", "AP50", "AP75", "APm", "APl"]
    log = (tmp_path / "run" / "train.log").read_text()
    assert "left top - right top, left bottom - right bottom" in log
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line) for line in lines if "loss_kp" in line]
    assert losses
    entries = json.loads(
        (tmp_path / "run" / "inference" / "toy_val" / "keypoints.json").read_text()
    )
    assert all(len(entry["keypoints"]) == 12 for entry in entries)

    predictor = Predictor(tmp_path / "run", score_threshold=0.0)
    assert predictor.keypoint_schema is not None
    assert predictor.keypoint_schema.names == tuple(CORNERS)
    picture = next(Path(cfg.DATASETS.CUSTOM["toy_val"]["img_dir"]).glob("*.*"))
    found = predictor(picture)
    assert len(found)
    assert found.keypoints is not None
    assert found.keypoints.points.shape == (len(found), 4, 3)
    assert found.keypoints.schema == predictor.keypoint_schema


def test_another_number_of_keypoints_than_the_data_is_refused(tmp_path: Path) -> None:
    cfg = make_corners_config(tmp_path, **{HEAD + "NUM_CLASSES": 17})
    with pytest.raises(
        ConfigError, match=r"4 keypoints per object.*is 17; set MODEL.*NUM_CLASSES 4"
    ):
        build_train_dataset(cfg)


def test_data_without_keypoints_is_refused(tmp_path: Path) -> None:
    cfg = make_config(tmp_path, MODEL__KEYPOINT_ON=True, MODEL__MASK_ON=False)
    with pytest.raises(DatasetError, match="no annotation has keypoints"):
        build_train_dataset(cfg)


def test_keys_override_the_annotation_file(tmp_path: Path) -> None:
    cfg = make_corners_config(
        tmp_path,
        DATASETS__KEYPOINT_FLIP_PAIRS=((0, 3),),
        DATASETS__KEYPOINT_OKS_SIGMAS=(0.2, 0.3, 0.3, 0.2),
    )
    schema = build_train_dataset(cfg).keypoint_schema
    assert schema.flip_pairs == ((0, 3),)
    assert schema.sigmas == (0.2, 0.3, 0.3, 0.2)


@pytest.mark.shared_data
def test_persons_of_coco(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "coco_mini"
    custom = {
        split: {
            "ann_file": str(folder / "annotations" / f"person_keypoints_{split}2017.json"),
            "img_dir": str(folder / f"{split}2017"),
        }
        for split in ("train", "val")
    }
    cfg = load()
    keys: dict[str, Any] = {
        **THIN,
        "MODEL.ROI_BOX_HEAD.NUM_CLASSES": 2,
        "MODEL.ROI_KEYPOINT_HEAD.CONV_LAYERS": (8, 8),
        "DATASETS.CUSTOM": custom,
        "DATASETS.TRAIN": ("train",),
        "DATASETS.TEST": ("val",),
        "OUTPUT_DIR": str(tmp_path / "run"),
        "LOG.TENSORBOARD": "off",
        "DATALOADER.NUM_WORKERS": 0,
        "SOLVER.MAX_ITER": 3,
        "SOLVER.STEPS": (),
    }
    cfg.merge_from_list([word for pair in keys.items() for word in pair])
    results = run.train(cfg)["val"]
    assert results.results["keypoints"]["AP"] >= 0
    # 68 of the 118 persons have keypoints.
    assert results.per_class["keypoints"]["person"]["objects"] == 68
