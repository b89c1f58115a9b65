"""From a config to a RetinaNet: all shipped configs, every key in its place, and a whole run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from maskrcnn_benchmark.build import run
from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.config import Config, get_defaults
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.modeling.detector import RetinaNet
from tests.build.toy_run import make_config
from tests.thin_models import make_images, make_target

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
FILES = sorted(file.name for file in (CONFIGS / "retinanet").glob("*.yaml"))
FILE = "retinanet_R-50-FPN_1x.yaml"

THIN = {
    "MODEL.DEVICE": "cpu",
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 8,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 2,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 16,
    "MODEL.RESNETS.BACKBONE_OUT_CHANNELS": 8,
    "MODEL.RETINANET.NUM_CLASSES": 4,
    # Untrained, every score is about the prior of 0.01.
    "MODEL.RETINANET.INFERENCE_TH": 0.001,
    "MODEL.RETINANET.ANCHOR_SIZES": (16, 32, 64, 128, 256),
    "TEST.DETECTIONS_PER_IMG": 7,
}


def load(file: str, **changes: Any) -> Config:
    """A config with keys changed, two underscores for each dot."""
    cfg = get_defaults()
    cfg.merge_from_file(str(CONFIGS / "retinanet" / file))
    pairs = {key.replace("__", "."): value for key, value in changes.items()}
    cfg.merge_from_list([word for pair in pairs.items() for word in pair])
    return cfg


def build(file: str = FILE, **changes: Any) -> Any:
    """Without memory for the weights; Any, because the tests look into all parts."""
    with torch.device("meta"):
        return build_model(load(file, **changes))


def thin(**changes: Any) -> dict[str, Any]:
    return {key.replace(".", "__"): value for key, value in THIN.items()} | changes


def test_there_are_six_configs() -> None:
    assert len(FILES) == 6


@pytest.mark.parametrize("file", FILES)
def test_a_shipped_config_builds(file: str) -> None:
    model = build(file)
    assert isinstance(model, RetinaNet)
    assert model.size_divisible == 32
    assert model.backbone.strides == model.rpn.anchor_generator.strides == (8, 16, 32, 64, 128)
    assert model.rpn.anchor_generator.num_anchors_per_cell == [9] * 5
    assert len(model.backbone.body.layer3) == (23 if "101" in file else 6)
    p6 = model.backbone.fpn.top_blocks.p6
    assert p6.in_channels == (256 if "P5" in file else 2048)
    names = [name for name, _ in model.backbone.fpn.named_children()]
    assert names[0] == "fpn_inner2"
    assert model.rpn.head.cls_logits.out_channels == 9 * 80


@pytest.mark.parametrize("file", FILES)
def test_a_thin_version_trains_and_detects(file: str) -> None:
    torch.manual_seed(0)
    model = build_model(load(file, **thin(MODEL__RESNETS__NUM_GROUPS=4 if "X_101" in file else 1)))
    images, sizes = make_images((96, 128), (120, 90)), ((96, 128), (120, 90))
    losses = model.train()(
        images, [make_target(h, w, count=2, masks=False, seed=h) for h, w in sizes]
    )
    assert isinstance(losses, dict)
    assert list(losses) == ["loss_retina_cls", "loss_retina_reg"]
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())
    sum(losses.values()).backward()  # type: ignore[union-attr]
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    with torch.inference_mode():
        found = model.eval()(images)
    assert isinstance(found, list)
    assert [len(boxlist) for boxlist in found] == [7, 7]
    assert all(set(boxlist.get_field("labels").tolist()) <= {1, 2, 3} for boxlist in found)


def test_every_key_has_its_place() -> None:
    model = build(
        MODEL__RETINANET__NUM_CLASSES=6,
        MODEL__RETINANET__ASPECT_RATIOS=(1.0,),
        MODEL__RETINANET__SCALES_PER_OCTAVE=2,
        MODEL__RETINANET__NUM_CONVS=1,
        MODEL__RETINANET__BBOX_REG_WEIGHT=2.0,
        MODEL__RETINANET__BBOX_REG_BETA=0.5,
        MODEL__RETINANET__BBOX_REG_WEIGHTS=(1.0, 2.0, 3.0, 4.0),
        MODEL__RETINANET__LOSS_TYPE="giou",
        MODEL__RETINANET__PRE_NMS_TOP_N=123,
        MODEL__RETINANET__FG_IOU_THRESHOLD=0.6,
        MODEL__RETINANET__BG_IOU_THRESHOLD=0.3,
        MODEL__RETINANET__LOSS_ALPHA=0.3,
        MODEL__RETINANET__LOSS_GAMMA=1.5,
        MODEL__RETINANET__INFERENCE_TH=0.2,
        MODEL__RETINANET__NMS_TH=0.45,
        TEST__DETECTIONS_PER_IMG=33,
    )
    head, loss, post = model.rpn.head, model.rpn.loss, model.rpn.post_processor
    assert model.rpn.anchor_generator.num_anchors_per_cell == [2] * 5
    assert head.cls_logits.out_channels == 2 * 5
    assert len(head.cls_tower) == 2
    assert (loss.box_divisor, loss.beta, loss.box_loss) == (2.0, 0.5, "giou")
    assert (loss.fg_iou_threshold, loss.bg_iou_threshold) == (0.6, 0.3)
    assert (loss.alpha, loss.gamma) == (0.3, 1.5)
    assert loss.delta_weights == post.delta_weights == (1.0, 2.0, 3.0, 4.0)
    assert (post.pre_nms, post.score_threshold, post.nms_threshold) == (123, 0.2, 0.45)
    assert post.max_detections == 33


@pytest.mark.parametrize(
    ("profile", "style", "normalizer", "offset", "inclusive", "clip", "drops"),
    [
        ("detectron", "detectron", "batch", 1.0, True, "before_nms", False),
        ("detectron2", "exact", "ema", 0.0, False, "after_nms", True),
        ("torchvision", "rounded", "image", 0.0, False, "before_nms", False),
        ("mmdet", "exact", "batch", 0.0, False, "before_nms", True),
    ],
)
def test_numbers_of_each_framework(
    profile: str,
    style: str,
    normalizer: str,
    offset: float,
    inclusive: bool,
    clip: str,
    drops: bool,
) -> None:
    rpn = build(MODEL__NUMERICS=profile).rpn
    assert rpn.anchor_generator.style == style
    assert (rpn.loss.normalizer, rpn.loss.box_offset) == (normalizer, offset)
    post = rpn.post_processor
    assert (post.box_offset, post.nms_inclusive) == (offset, inclusive)
    assert (post.clip, post.drop_empty) == (clip, drops)


def test_torchvision_cuts_the_sizes_of_the_anchors() -> None:
    generator = build_model(load(FILE, **thin(MODEL__NUMERICS="torchvision"))).rpn.anchor_generator  # type: ignore[union-attr]
    squares = generator.cell_anchors[0][3:6]  # type: ignore[index]
    # 16, 20.16 and 25.4 pixels, cut; half of 25 is rounded to even.
    assert squares[:, 2].tolist() == [8.0, 10.0, 12.0]


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ConfigError, match=r"MASK_ON: RetinaNet .* finds boxes only"):
        build(MODEL__MASK_ON=True)
    with pytest.raises(ConfigError, match=r"ANCHOR_STRIDES.*\(8, 16, 32, 64, 128\)"):
        build(MODEL__RETINANET__ANCHOR_STRIDES=(8, 16, 32, 64, 256))
    with pytest.raises(ConfigError, match=r"strides \(4, 8, 16, 32, 64\), but"):
        build(MODEL__BACKBONE__CONV_BODY="R-50-FPN")


def test_a_whole_run_on_drawn_pictures(tmp_path: Path) -> None:
    cfg = make_config(
        tmp_path,
        MODEL__MASK_ON=False,
        MODEL__RPN_ONLY=True,
        MODEL__RETINANET_ON=True,
        MODEL__BACKBONE__CONV_BODY="R-18-FPN-RETINANET",
        MODEL__RETINANET__NUM_CLASSES=6,
        MODEL__RETINANET__ANCHOR_SIZES=(12, 16, 32, 48, 64),
        MODEL__RETINANET__INFERENCE_TH=0.001,
        MODEL__RETINANET__PRE_NMS_TOP_N=50,
        TEST__DETECTIONS_PER_IMG=4,
        SOLVER__MAX_ITER=6,
        SOLVER__STEPS=(),
    )
    results = run.train(cfg)
    folder = tmp_path / "run"
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert any("loss_retina_cls" in key for line in lines for key in line)
    tested = folder / "inference" / "toy_val"
    found = json.loads((tested / "bbox.json").read_text())
    per_image = [sum(f["image_id"] == i for f in found) for i in {f["image_id"] for f in found}]
    assert len(per_image) == 6
    assert max(per_image) == 4
    assert not (tested / "box_proposals.pth").exists()
    assert results is not None
    again = run.test(cfg, checkpoint=str(folder / "model_final.pth"))
    assert str(again) == str(results)
