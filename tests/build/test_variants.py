"""Deformable convolution, group norm and FBNet from their configs: thin models train a step and infer.

Each is as wide as the recorded cases of the old project: a quarter of FBNet, an eighth of ResNet.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.config import Config, get_defaults
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.layers.deform_conv import DFConv2d
from maskrcnn_benchmark.layers.norms import FrozenBatchNorm2d
from maskrcnn_benchmark.modeling.backbone.fbnet_archs import FBNET_TABLES
from maskrcnn_benchmark.structures.padded import PaddedTargets
from tests.thin_models import make_images, make_target

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
DCN = sorted(file.relative_to(CONFIGS).as_posix() for file in CONFIGS.glob("dcn/*.yaml"))
GN = sorted(file.relative_to(CONFIGS).as_posix() for file in CONFIGS.glob("gn_baselines/*.yaml"))
FBNET = sorted(file.relative_to(CONFIGS).as_posix() for file in CONFIGS.glob("*fbnet*.yaml"))

MASK_FBNET = "e2e_mask_rcnn_fbnet.yaml"
FPN = "e2e_mask_rcnn_R_50_FPN_1x.yaml"
SIZES = torch.tensor([[90.0, 120.0], [96.0, 128.0]])

# A table of few blocks: body, proposals and boxes, and a head that doubles the side.
SMALL_TABLE = (
    '{"first": {"channels": 32, "stride": 4}, "stages": ['
    '{"ops": [["ir_k3", 1]], "tcns": [[2, 64, 1, 4]]}, {"ops": [["ir_k3_s4_se", 1]], "tcns": [[2, 96, 1, 1]]}, '
    '{"ops": [["ir_k3", 1]], "tcns": [[2, 96, 1, -2]]}], "backbone": [0], "rpn": [1], "bbox": [1], "mask": [2]}'
)


def thin(file: str, **keys: Any) -> Config:
    """The config with few channels and few proposals; `keys` with __ for the dots."""
    cfg = get_defaults()
    cfg.merge_from_file(str(CONFIGS / file))
    values: dict[str, Any] = {
        "MODEL.RESNETS.WIDTH_PER_GROUP": 8,
        "MODEL.RESNETS.STEM_OUT_CHANNELS": 8,
        "MODEL.RESNETS.RES2_OUT_CHANNELS": 32,
        "MODEL.RESNETS.BACKBONE_OUT_CHANNELS": 16,
        "MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM": 32,
        "MODEL.ROI_BOX_HEAD.CONV_HEAD_DIM": 16,
        "MODEL.ROI_BOX_HEAD.NUM_CLASSES": 4,
        "MODEL.ROI_MASK_HEAD.CONV_LAYERS": (16, 16),
        "MODEL.GROUP_NORM.NUM_GROUPS": 4,
        "MODEL.FBNET.SCALE_FACTOR": 0.25,
        "MODEL.RPN.PRE_NMS_TOP_N_TRAIN": 100,
        "MODEL.RPN.PRE_NMS_TOP_N_TEST": 100,
        "MODEL.RPN.POST_NMS_TOP_N_TEST": 40,
        "MODEL.ROI_HEADS.SCORE_THRESH": 0.0,
        "MODEL.ROI_HEADS.DETECTIONS_PER_IMG": 20,
        **{f"MODEL.{key.replace('__', '.')}": value for key, value in keys.items()},
    }
    cfg.merge_from_list([item for pair in values.items() for item in pair])
    return cfg


def build(file: str, **keys: Any) -> Any:
    """Any, because the tests look into all parts."""
    return build_model(thin(file, **keys))


def train_and_infer(model: Any) -> None:
    """One step in which every parameter that can moves, and detections in boxes of the image."""
    images = make_images((90, 120), (96, 128))
    masks = model.with_masks
    targets = [
        make_target(90, 120, count=3, masks=masks),
        make_target(96, 128, count=2, masks=masks, seed=1),
    ]
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
    losses = model.train()(images, targets)
    assert ("loss_mask" in losses) == masks
    total = sum(losses.values())
    assert total.isfinite()
    total.backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not without
    optimizer.step()
    moved = [name for name, p in model.named_parameters() if not torch.equal(p, before[name])]
    assert len(moved) > 0.7 * sum(p.requires_grad for p in model.parameters())
    with torch.inference_mode():
        found = model.eval()(images)
    assert [boxlist.size for boxlist in found] == [(120, 90), (128, 96)]
    assert all(len(boxlist) for boxlist in found)
    assert all(boxlist.bbox.isfinite().all() for boxlist in found)
    assert all(boxlist.has_field("mask") == masks for boxlist in found)


@pytest.mark.parametrize("file", DCN)
def test_deformable_configs(file: str) -> None:
    model = build(file)
    deformable = [n for n, m in model.named_modules() if isinstance(m, DFConv2d)]
    assert len(deformable) == 4 + 6 + 3
    assert not any("layer1" in name or "roi_heads" in name for name in deformable)
    channels = 27 if "mdconv" in file else 18
    assert model.backbone.body.layer2[0].conv2.offset.out_channels == channels
    train_and_infer(model)


@pytest.mark.parametrize("file", GN)
def test_group_norm_configs(file: str) -> None:
    model = build(file)
    assert not any(isinstance(m, FrozenBatchNorm2d | nn.BatchNorm2d) for m in model.modules())
    extractor = model.roi_heads.box.feature_extractor
    if "Xconv" in file:
        assert [type(m).__name__ for m in extractor.xconvs[:3]] == ["Conv2d", "GroupNorm", "ReLU"]
        assert len(extractor.xconvs) == 12
        assert isinstance(extractor.fc6, nn.Linear)
    else:
        assert isinstance(extractor.fc7[1], nn.GroupNorm)
    frozen = {n.split(".")[2] for n, p in model.named_parameters() if not p.requires_grad}
    assert frozen == (set() if "scratch" in file else {"stem", "layer1"})
    train_and_infer(model)


@pytest.mark.parametrize("file", FBNET)
def test_fbnet_configs(file: str) -> None:
    model = build(file)
    assert model.backbone.strides == (16,)
    assert model.size_divisible == 0
    if model.with_masks:
        assert model.roi_heads.mask.predictor.conv5_mask is None
    train_and_infer(model)


@pytest.mark.parametrize("arch", FBNET_TABLES)
def test_every_architecture_of_fbnet(arch: str) -> None:
    # mobilenet_v2 has no blocks for proposals: the last three of all are taken.
    model = build(
        "e2e_faster_rcnn_fbnet.yaml",
        FBNET__ARCH=arch,
        FBNET__RPN_HEAD_BLOCKS=3 if arch == "mobilenet_v2" else 0,
    )
    train_and_infer(model)


@pytest.mark.parametrize("norm", ["bn", "af", "gn"])
def test_norms_of_fbnet(norm: str) -> None:
    model = build(MASK_FBNET, FBNET__BN_TYPE=norm, GROUP_NORM__NUM_GROUPS=32)
    kind = {"bn": nn.BatchNorm2d, "af": FrozenBatchNorm2d, "gn": nn.GroupNorm}[norm]
    norms = [m for name, m in model.named_modules() if name.endswith(".bn")]
    assert norms
    assert all(isinstance(m, kind) for m in norms)
    train_and_infer(model)


def test_groups_of_fbnets_group_norm_divide_its_widths() -> None:
    first = build(MASK_FBNET, FBNET__BN_TYPE="gn", GROUP_NORM__NUM_GROUPS=32).backbone.body
    assert first.stages.xif3_6.pwl.bn.num_groups == 8  # of 24 channels
    by_width = build(
        MASK_FBNET, FBNET__BN_TYPE="gn", GROUP_NORM__NUM_GROUPS=-1, GROUP_NORM__DIM_PER_GP=16
    ).backbone.body
    assert by_width.stages.xif3_6.pwl.bn.num_groups == 3  # of 8 channels, which divide 24 and 16


def test_keys_of_fbnet() -> None:
    model = build(
        MASK_FBNET,
        FBNET__RPN_HEAD_BLOCKS=2,
        FBNET__RPN_BN_TYPE="af",
        FBNET__DW_CONV_SKIP_BN=False,
        FBNET__DW_CONV_SKIP_RELU=False,
        FBNET__DET_HEAD_BLOCKS=(0, 3),
        FBNET__DET_HEAD_STRIDE=1,
        FBNET__DET_HEAD_LAST_SCALE=-0.5,
        FBNET__MASK_HEAD_BLOCKS=(0, 4),
        ROI_BOX_HEAD__CONV_HEAD_DIM=16,
    )
    blocks = [name for name, _ in model.rpn.head[0].head.named_children()]
    assert blocks == ["xif5_1", "xif5_2"]
    assert isinstance(model.rpn.head[0].head.xif5_1.pw.bn, FrozenBatchNorm2d)
    depthwise = model.backbone.body.stages.xif1_0.dw
    assert isinstance(depthwise.bn, nn.BatchNorm2d)
    assert depthwise.relu
    head = model.roi_heads.box.feature_extractor.head
    assert [name for name, _ in head.blocks.named_children()] == ["xif4_0", "xif4_3"]
    assert head.blocks.xif4_0.dw.conv.stride == (1, 1)
    assert head.last.conv.out_channels == 32
    assert model.roi_heads.box.predictor.cls_score.in_features == 32
    mask = model.roi_heads.mask.feature_extractor.head
    assert [name for name, _ in mask.blocks.named_children()] == ["xif6_0", "xif6_4"]
    train_and_infer(model)


def test_an_architecture_of_ones_own() -> None:
    table = (
        '{"first": {"channels": 32, "stride": 2}, "stages": ['
        '{"ops": [["ir_k5_e3_se", 3]], "tcns": [[1, 64, 1, 2], [1, 96, 1, 2], [1, 128, 1, 2]]}, '
        '{"ops": [["ir_k3_s4", 1]], "tcns": [[1, 128, 1, 1]]}],'
        '"backbone": [0], "rpn": [1], "bbox": [1]}'
    )
    model = build("e2e_faster_rcnn_fbnet.yaml", FBNET__ARCH_DEF=table)
    assert model.backbone.out_channels == 32
    train_and_infer(model)


def test_keypoints_of_fbnet() -> None:
    table = SMALL_TABLE.replace('"mask": [2]', '"kpts": [2]')
    model = build(
        "e2e_faster_rcnn_fbnet.yaml",
        FBNET__ARCH_DEF=table,
        KEYPOINT_ON=True,
        ROI_KEYPOINT_HEAD__FEATURE_EXTRACTOR="FBNet.roi_head_keypoints",
        ROI_KEYPOINT_HEAD__SHARE_BOX_FEATURE_EXTRACTOR=False,
        ROI_KEYPOINT_HEAD__POOLER_RESOLUTION=6,
        ROI_KEYPOINT_HEAD__RESOLUTION=48,
        ROI_KEYPOINT_HEAD__NUM_CLASSES=5,
    )
    head = model.roi_heads.keypoint.feature_extractor.head
    assert [name for name, _ in head.blocks.named_children()] == ["xif2_0"]
    found = model.eval()(make_images((96, 128)))[0]
    keypoints = found.get_field("keypoints").keypoints
    assert keypoints.shape == (len(found), 5, 3)
    assert keypoints.isfinite().all()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"FBNET__ARCH": "fbnet_c"}, "MODEL.FBNET.ARCH: expected one of default"),
        ({"FBNET__ARCH_DEF": "{}"}, "MODEL.FBNET.ARCH_DEF: expected a table"),
        ({"FBNET__ARCH": "mobilenet_v2"}, "RPN_HEAD_BLOCKS"),
        ({"FBNET__DET_HEAD_BLOCKS": (7,)}, r"4 blocks, from 0; got \[7\]"),
    ],
)
def test_wrong_keys_of_fbnet(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(MASK_FBNET, **keys)


@pytest.mark.parametrize("file", [FPN, MASK_FBNET])
def test_roi_pool(file: str) -> None:
    model = build(file, ROI_BOX_HEAD__POOLER_TYPE="ROIPool", ROI_MASK_HEAD__POOLER_TYPE="ROIPool")
    assert model.roi_heads.box.feature_extractor.pooler.kind == "ROIPool"
    assert model.roi_heads.mask.feature_extractor.pooler.kind == "ROIPool"
    train_and_infer(model)


@pytest.mark.parametrize("norm", ["BN", "GN"])
def test_norms_of_the_heads(norm: str) -> None:
    model = build(
        FPN,
        ROI_BOX_HEAD__NORM=norm,
        ROI_BOX_HEAD__FEATURE_EXTRACTOR="FPNXconv1fcFeatureExtractor",
        ROI_MASK_HEAD__NORM=norm,
        FPN__NORM=norm,
    )
    kind = {"BN": nn.BatchNorm2d, "GN": nn.GroupNorm}[norm]
    assert isinstance(model.roi_heads.box.feature_extractor.xconvs[1], kind)
    assert isinstance(model.roi_heads.mask.feature_extractor.mask_fcn1[1], kind)
    assert isinstance(model.backbone.fpn.fpn_inner1[1], kind)
    train_and_infer(model)


# Few layers: what is traced grows with them.
SHALLOW = {"BACKBONE__CONV_BODY": "R-18-FPN"}
COMPILED: dict[str, tuple[str, dict[str, Any]]] = {
    "deformable": ("dcn/e2e_mask_rcnn_mdconv_R_50_FPN_1x.yaml", {**SHALLOW, "RPN_ONLY": True}),
    "group norm": ("gn_baselines/e2e_mask_rcnn_R_50_FPN_Xconv1fc_1x_gn.yaml", SHALLOW),
    "FBNet": (MASK_FBNET, {"FBNET__ARCH_DEF": SMALL_TABLE}),
    "RoIPool": (FPN, {**SHALLOW, "ROI_BOX_HEAD__POOLER_TYPE": "ROIPool"}),
}


@pytest.mark.parametrize("name", COMPILED)
def test_detecting_is_one_graph(name: str) -> None:
    torch.compiler.reset()
    file, keys = COMPILED[name]
    model = build(file, **keys).eval()
    images = torch.stack(make_images((96, 128), (96, 128)))
    images = images.contiguous(memory_format=torch.channels_last)
    detect: Any = torch.compile(model.detect, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        expected, got = model.detect(images, SIZES), detect(images, SIZES)
    assert expected.valid.any()
    assert torch.equal(got.valid, expected.valid)
    for field, value in expected._asdict().items():
        if value is not None:
            torch.testing.assert_close(
                getattr(got, field)[got.valid], value[expected.valid], rtol=1e-3, atol=1e-3
            )
    torch.compiler.reset()


def test_training_a_deformable_body_is_one_graph() -> None:
    torch.compiler.reset()
    file, keys = COMPILED["deformable"]
    model = build(file, **keys).train()
    images = torch.stack(make_images((96, 128), (96, 128)))
    targets = PaddedTargets.from_boxlists(
        [make_target(90, 120, count=3), make_target(96, 128, count=1)], with_masks=False
    )
    compiled: Any = torch.compile(model.compute_losses, fullgraph=True, backend="aot_eager")
    parameters = [p for p in model.parameters() if p.requires_grad]
    results = []
    for compute in (model.compute_losses, compiled):
        losses = compute(images, SIZES, targets)
        results.append((losses, torch.autograd.grad(sum(losses.values()), parameters)))
    (expected, expected_gradients), (got, gradients) = results
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-2, atol=1e-4)
    torch.compiler.reset()
