"""Files in tensorpack's layout, written from known models, load back to the same models."""

import re

import numpy as np
import pytest
import torch

from maskrcnn_benchmark.build.weight_settings import adapt_config
from maskrcnn_benchmark.checkpoint.checkpointer import Checkpointer
from maskrcnn_benchmark.checkpoint.opening import load, open_file
from tests.checkpoint.thin import config_of, model_of

ENDINGS = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "mean/EMA",
    "running_var": "variance/EMA",
}
FIXED = {
    "rpn.head.conv": "rpn/conv0",
    "rpn.head.cls_logits": "rpn/class",
    "rpn.head.bbox_pred": "rpn/box",
    "roi_heads.box.feature_extractor.fc6": "fastrcnn/fc6",
    "roi_heads.box.feature_extractor.fc7": "fastrcnn/fc7",
    "roi_heads.box.predictor.cls_score": "fastrcnn/outputs/class",
    "roi_heads.box.predictor.bbox_pred": "fastrcnn/outputs/box",
    "roi_heads.mask.predictor.conv5_mask": "maskrcnn/deconv",
    "roi_heads.mask.predictor.mask_fcn_logits": "maskrcnn/conv",
}


def tensorpack_name(key, *, with_norm):
    """Variable of a weight; None: it has none such."""
    if "anchor" in key or key.endswith("num_batches_tracked"):
        return None
    layer, ending = key.rsplit(".", 1)
    plain = {"weight": "W", "bias": "b"}.get(ending)
    if layer.startswith("backbone.body.stem."):
        return "conv0/W" if layer.endswith("conv1") else f"conv0/bn/{ENDINGS[ending]}"
    if found := re.search(r"layer(\d)\.(\d+)\.(\w+)\.?(\d?)", layer):
        block = f"group{int(found[1]) - 1}/block{found[2]}"
        if found[3] == "downsample":
            inner = "convshortcut" + ("/bn" if found[4] == "1" else "")
        else:
            inner = f"conv{found[3][-1]}" + ("/bn" if found[3].startswith("bn") else "")
        return f"{block}/{inner}/{ENDINGS[ending] if inner.endswith('bn') else plain}"
    if found := re.search(r"fpn_(inner|layer)(\d)\.?(\d?)", layer):
        side = "c" if found[1] == "inner" else "p"
        level = int(found[2]) + 1
        if found[3] == "1":
            return f"fpn/gn_{side}{level}/{ENDINGS[ending]}"
        return f"fpn/{'lateral_1x1_c' if side == 'c' else 'posthoc_3x3_p'}{level}/{plain}"
    if found := re.search(r"mask_fcn(\d)\.?(\d?)", layer):
        number = int(found[1]) - 1
        return (
            f"maskrcnn/gn{number}/{ENDINGS[ending]}"
            if found[2] == "1"
            else f"maskrcnn/fcn{number}/{plain}"
        )
    if found := re.search(r"xconvs\.(\d+)", layer):
        number, place = divmod(int(found[1]), 3)
        return (
            f"fastrcnn/gn{number}/{ENDINGS[ending]}" if place else f"fastrcnn/conv{number}/{plain}"
        )
    name = FIXED[layer]
    if with_norm and name == "fastrcnn/fc6":
        name = "fastrcnn/fc"
    return f"{name}/{plain}"


def to_variables(state, *, with_norm=False):
    """Name -> array in TensorFlow's layout."""
    variables = {}
    for key, value in state.items():
        name = tensorpack_name(key, with_norm=with_norm)
        if name is None:
            continue
        if name.startswith("maskrcnn/conv/"):
            value = value[1:]  # no channel for the background
        if name.endswith("/W"):
            value = value.permute(2, 3, 1, 0) if value.dim() == 4 else value.t()
        if name.endswith("variance/EMA"):
            value = value - 1e-5  # added by TensorFlow's norm
        variables[name] = value.numpy().copy()
    return variables


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("e2e_mask_rcnn_R_50_FPN_1x", ()),
        ("e2e_faster_rcnn_R_50_FPN_1x", ()),
        (
            "e2e_mask_rcnn_R_50_FPN_1x",
            (
                *("MODEL.FPN.USE_GN", True, "MODEL.ROI_MASK_HEAD.USE_GN", True),
                *("MODEL.ROI_BOX_HEAD.USE_GN", True),
                *("MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR", "FPNXconv1fcFeatureExtractor"),
            ),
        ),
    ],
)
def test_a_detector_comes_back_from_its_tensorpack_file(tmp_path, repository, name, extra):
    cfg = config_of(repository, name)
    cfg.merge_from_list(list(extra))
    source, model = model_of(cfg, 1), model_of(cfg, 2)
    np.savez(tmp_path / "a.npz", **to_variables(source.state_dict(), with_norm=bool(extra)))
    opened = open_file(tmp_path / "a.npz")
    assert opened.converted.dialect == "tensorpack"
    assert opened.converted.is_detector
    assert opened.converted.unused == ()
    match, _ = Checkpointer(model, save_to_disk=False).load_weights(opened)
    assert not match.unexpected
    assert all("anchor" in key for key in match.missing)
    expected, state = source.state_dict(), model.state_dict()
    for key in match.pairs:
        own, other = state[key], expected[key]
        if "mask_fcn_logits" in key:
            assert not own[0].any(), "the background is never asked"
            own, other = own[1:], other[1:]
        torch.testing.assert_close(own, other, atol=1e-6, rtol=0)


def test_the_imagenet_file_is_a_backbone(tmp_path, repository):
    """Names with TensorFlow's `:0`, the classifier, a step counter."""
    cfg = config_of(repository, "e2e_mask_rcnn_R_50_FPN_1x")
    source, model = model_of(cfg, 1), model_of(cfg, 2)
    body = {k: v for k, v in source.state_dict().items() if "backbone.body" in k}
    variables = {f"{k}:0": v for k, v in to_variables(body).items()}
    variables |= {"linear/W:0": np.ones((64, 10)), "linear/b:0": np.ones(10), "global_step:0": 1}
    np.savez(tmp_path / "ImageNet-R50-AlignPadding.npz", **variables)
    opened = open_file(tmp_path / "ImageNet-R50-AlignPadding.npz")
    assert not opened.converted.is_detector
    assert set(opened.converted.unused) == {"linear/W", "linear/b", "global_step"}
    adapted = adapt_config(cfg, opened.converted)
    assert adapted.MODEL.NUMERICS == "auto"
    assert adapted.MODEL.RESNETS.STRIDE_IN_1X1 is False
    assert adapted.INPUT.PIXEL_MEAN == (103.53, 116.28, 123.675)
    assert adapted.INPUT.TO_BGR255 is True
    Checkpointer(model, save_to_disk=False).load_weights(opened)
    state = model.state_dict()
    for key, value in body.items():
        torch.testing.assert_close(state[key], value, atol=1e-6, rtol=0)


def test_cascade_stages_go_to_their_heads(tmp_path):
    variables = {"conv0/W": np.ones((7, 7, 3, 4), "f4")}
    variables |= {f"cascade_rcnn_stage{i}/head/fc6/W": np.full((8, 2), i) for i in (1, 2, 3)}
    variables |= {"cascade_rcnn_stage2/outputs/class/W": np.ones((2, 5), "f4")}
    variables |= {"cascade_rcnn_stage2/outputs/box/W": np.ones((2, 4), "f4")}
    np.savez(tmp_path / "a.npz", **variables)
    weights = load(tmp_path / "a.npz").weights
    assert weights["roi_heads.box.stages.2.feature_extractor.fc6.weight"][0, 0] == 3
    assert weights["roi_heads.box.stages.1.predictor.cls_score.weight"].shape == (5, 2)
    # One box for all classes, and the background's, which is never asked.
    assert weights["roi_heads.box.stages.1.predictor.bbox_pred.weight"].shape == (8, 2)
