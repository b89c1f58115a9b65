"""Files in mmdetection's layout, written from known models, load back to the same models."""

import re

import pytest
import torch

from maskrcnn_benchmark.build.weight_settings import adapt_config
from maskrcnn_benchmark.checkpoint.checkpointer import Checkpointer
from maskrcnn_benchmark.checkpoint.opening import load, open_file
from tests.checkpoint.thin import config_of, model_of

HEADS = {
    "rpn.head.conv.": "rpn_head.rpn_conv.",
    "rpn.head.cls_logits.": "rpn_head.rpn_cls.",
    "rpn.head.bbox_pred.": "rpn_head.rpn_reg.",
    "roi_heads.box.feature_extractor.fc6.": "roi_head.bbox_head.shared_fcs.0.",
    "roi_heads.box.feature_extractor.fc7.": "roi_head.bbox_head.shared_fcs.1.",
    "roi_heads.box.predictor.cls_score.": "roi_head.bbox_head.fc_cls.",
    "roi_heads.box.predictor.bbox_pred.": "roi_head.bbox_head.fc_reg.",
    "roi_heads.mask.predictor.conv5_mask.": "roi_head.mask_head.upsample.",
    "roi_heads.mask.predictor.mask_fcn_logits.": "roi_head.mask_head.conv_logits.",
}
RETINANET = {
    "rpn.head.cls_logits.": "bbox_head.retina_cls.",
    "rpn.head.bbox_pred.": "bbox_head.retina_reg.",
}
PAIR = {"0": "conv.", "1": "gn.", "": "conv."}


def mmdet_name(key, *, first_level=1, heads=HEADS):
    if "anchor" in key:
        return None
    key = key.replace("backbone.body.stem.", "backbone.").replace("backbone.body.", "backbone.")
    if "backbone.fpn." not in key and key.startswith("backbone."):
        return key.replace("conv2.conv.", "conv2.").replace("conv2.offset.", "conv2.conv_offset.")
    if found := re.fullmatch(r".+fpn_(inner|layer)(\d)\.(?:([01])\.)?(\w+)", key):
        side = "lateral" if found[1] == "inner" else "fpn"
        number = int(found[2]) - first_level
        return f"neck.{side}_convs.{number}.{PAIR[found[3] or '']}{found[4]}"
    if found := re.fullmatch(r".+top_blocks\.p(\d)\.(\w+)", key):
        return f"neck.fpn_convs.{int(found[1]) - 3}.conv.{found[2]}"
    if found := re.fullmatch(r".+mask_fcn(\d)\.(?:([01])\.)?(\w+)", key):
        return f"roi_head.mask_head.convs.{int(found[1]) - 1}.{PAIR[found[2] or '']}{found[3]}"
    if found := re.fullmatch(r".+xconvs\.(\d+)\.(\w+)", key):
        number, place = divmod(int(found[1]), 3)
        return f"roi_head.bbox_head.shared_convs.{number}.{PAIR[str(place)]}{found[2]}"
    if found := re.fullmatch(r".+(cls|bbox)_tower\.(\d+)\.(\w+)", key):
        kind = {"cls": "cls", "bbox": "reg"}[found[1]]
        return f"bbox_head.{kind}_convs.{int(found[2]) // 2}.conv.{found[3]}"
    start = next(start for start in heads if key.startswith(start))
    return heads[start] + key.removeprefix(start)


def to_state_dict(state, *, first_level=1, heads=HEADS, version=2):
    """Name -> tensor; the background last, or (version 1) first as here."""
    result = {}
    for key, value in state.items():
        name = mmdet_name(key, first_level=first_level, heads=heads)
        if name is None:
            continue
        if version == 1:
            name = name.removeprefix("roi_head.")
        elif "fc_cls" in name:
            value = torch.cat((value[1:], value[:1]))
        elif "fc_reg" in name:
            value = value[4:]
        elif "conv_logits" in name:
            value = value[1:]
        result[name] = value - 1e-5 if name.endswith("running_var") else value
    return result


GN = (
    *("MODEL.FPN.USE_GN", True, "MODEL.ROI_MASK_HEAD.USE_GN", True),
    *("MODEL.ROI_BOX_HEAD.USE_GN", True),
    *("MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR", "FPNXconv1fcFeatureExtractor"),
)


@pytest.mark.parametrize(
    ("name", "extra", "writing"),
    [
        ("e2e_mask_rcnn_R_50_FPN_1x", (), {}),
        ("e2e_mask_rcnn_R_50_FPN_1x", (), {"version": 1}),
        ("e2e_faster_rcnn_R_50_FPN_1x", ("MODEL.CLS_AGNOSTIC_BBOX_REG", True), {}),
        ("e2e_mask_rcnn_R_50_FPN_1x", GN, {}),
        ("dcn/e2e_mask_rcnn_mdconv_R_50_FPN_1x", (), {}),
        ("retinanet/retinanet_R-50-FPN_1x", (), {"first_level": 2, "heads": RETINANET}),
    ],
)
def test_a_detector_comes_back_from_its_mmdetection_file(
    tmp_path, repository, name, extra, writing
):
    cfg = config_of(repository, name)
    cfg.merge_from_list(list(extra))
    source, model = model_of(cfg, 1), model_of(cfg, 2)
    data = {"meta": {"CLASSES": ("cat", "dog")}, "optimizer": {}}
    data["state_dict"] = to_state_dict(source.state_dict(), **writing)
    torch.save(data, tmp_path / "epoch_12.pth")
    opened = open_file(tmp_path / "epoch_12.pth")
    assert opened.converted.dialect == "mmdet"
    assert opened.converted.is_detector
    assert opened.converted.unused == ()
    assert opened.rest["class_names"] == ["__background__", "cat", "dog"]
    match, _ = Checkpointer(model, save_to_disk=False).load_weights(opened)
    assert not match.unexpected
    assert all("anchor" in key for key in match.missing)
    expected, state = source.state_dict(), model.state_dict()
    for key in match.pairs:
        own, other = state[key], expected[key]
        # What mmdetection does not have: outputs for the background, which are never asked.
        if writing.get("version") != 1 and "rpn" not in key:
            skipped = 4 * ("bbox_pred" in key) + ("mask_fcn_logits" in key)
            assert not own[:skipped].any()
            own, other = own[skipped:], other[skipped:]
        torch.testing.assert_close(own, other, atol=1e-6, rtol=0)


def test_its_settings_are_taken_over(tmp_path, repository):
    cfg = config_of(repository, "retinanet/retinanet_R-50-FPN_1x")
    state = to_state_dict(model_of(cfg, 1).state_dict(), first_level=2, heads=RETINANET)
    torch.save({"state_dict": state}, tmp_path / "a.pth")
    adapted = adapt_config(cfg, load(tmp_path / "a.pth"))
    assert adapted.MODEL.NUMERICS == "mmdet"
    assert adapted.MODEL.RETINANET.BBOX_REG_WEIGHTS == (1.0, 1.0, 1.0, 1.0)
    assert adapted.INPUT.TO_BGR255 is False
    assert adapted.MODEL.RESNETS.STRIDE_IN_1X1 is False
    # Classes and depth are the configuration's.
    assert adapted.MODEL.RETINANET.NUM_CLASSES == cfg.MODEL.RETINANET.NUM_CLASSES


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            "style='caffe')\nimg_norm_cfg = dict(\n    mean=[103.53, 116.28, 123.675], "
            "std=[1.0, 1.0, 1.0], to_rgb=False)",
            (True, (103.53, 116.28, 123.675), (1.0, 1.0, 1.0), True),
        ),
        (
            "mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True, "
            'style="pytorch"',
            (False, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), False),
        ),
        ("nothing of it", (False, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), False)),
    ],
)
def test_normalisation_and_strides_are_read_from_its_configuration(tmp_path, config, expected):
    state = {
        "backbone.conv1.weight": torch.ones(1),
        "backbone.layer1.0.conv1.weight": torch.ones(1),
    }
    torch.save({"meta": {"config": config}, "state_dict": state}, tmp_path / "a.pth")
    converted = load(tmp_path / "a.pth")
    assert not converted.is_detector
    settings = dict(converted.settings)
    keys = ("INPUT.TO_BGR255", "INPUT.PIXEL_MEAN", "INPUT.PIXEL_STD")
    assert tuple(settings[key] for key in keys) == expected[:3]
    assert settings["MODEL.RESNETS.STRIDE_IN_1X1"] == expected[3]


def test_cascade_stages_go_to_their_heads(tmp_path):
    state = {"neck.lateral_convs.0.conv.weight": torch.ones(4, 8, 1, 1)}
    for stage in range(3):
        head = f"roi_head.bbox_head.{stage}"
        state[f"{head}.shared_fcs.0.weight"] = torch.full((2, 4), float(stage))
        state[f"{head}.fc_cls.bias"] = torch.tensor([1.0, 2.0, 0.0])
        state[f"{head}.fc_reg.bias"] = torch.ones(4)
    torch.save({"state_dict": state}, tmp_path / "a.pth")
    weights = load(tmp_path / "a.pth").weights
    box = "roi_heads.box.stages.2"
    assert weights[f"{box}.feature_extractor.fc6.weight"][0, 0] == 2
    assert weights[f"{box}.predictor.cls_score.bias"].tolist() == [0.0, 1.0, 2.0]
    assert weights[f"{box}.predictor.bbox_pred.bias"].tolist() == [0.0] * 4 + [1.0] * 4
