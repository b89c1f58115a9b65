"""Whole networks and their heads through the old builders, on BoxLists."""

from __future__ import annotations

import pytest
import torch

from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.config import get_defaults
from maskrcnn_benchmark.modeling import registry
from maskrcnn_benchmark.modeling.backbone import build_backbone, resnet
from maskrcnn_benchmark.modeling.balanced_positive_negative_sampler import (
    BalancedPositiveNegativeSampler,
)
from maskrcnn_benchmark.modeling.box_coder import BoxCoder
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.modeling.matcher import Matcher
from maskrcnn_benchmark.modeling.roi_heads.box_head.inference import (
    PostProcessor,
    make_roi_box_post_processor,
)
from maskrcnn_benchmark.modeling.roi_heads.box_head.roi_box_feature_extractors import (
    make_roi_box_feature_extractor,
)
from maskrcnn_benchmark.modeling.roi_heads.mask_head.mask_head import build_roi_mask_head
from maskrcnn_benchmark.modeling.roi_heads.roi_heads import build_roi_heads
from maskrcnn_benchmark.modeling.rpn import rpn
from maskrcnn_benchmark.modeling.rpn.loss import RPNLossComputation
from maskrcnn_benchmark.modeling.rpn.retinanet.retinanet import build_retinanet
from maskrcnn_benchmark.modeling.rpn.rpn import build_rpn
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils.registry import Registry
from tests.legacy.contract import contract
from tests.legacy.thin_configs import CONFIGS, batch, maps, thin_config


@contract("modeling.detector.build_detection_model")
@pytest.mark.parametrize("name", ["mask", "c4", "rpn", "retinanet"])
def test_build_detection_model(name: str) -> None:
    cfg = thin_config(name)
    model = build_detection_model(cfg)
    images, targets = batch()
    losses = model(images, targets)
    expected = ["loss_objectness", "loss_rpn_box_reg"]
    if name == "retinanet":
        expected = ["loss_retina_cls", "loss_retina_reg"]
    elif name != "rpn":
        expected = ["loss_classifier", "loss_box_reg", "loss_mask", *expected]
    assert list(losses) == expected
    sum(losses.values()).backward()
    with pytest.raises(ValueError, match="targets"):
        model(images)
    model.eval()
    with torch.no_grad():
        found = model(images)
    assert [tuple(each.size) for each in found] == [(96, 64), (80, 96)]
    fields = {"rpn": ["objectness"], "retinanet": ["scores", "labels"]}
    assert found[0].fields() == fields.get(name, ["scores", "labels", "mask"])


@contract("modeling.backbone.build_backbone")
def test_build_backbone() -> None:
    backbone = build_backbone(thin_config("mask"))
    assert backbone.out_channels == 16
    assert [name for name, _ in backbone.named_children()] == ["body", "fpn"]
    sizes = [tuple(each.shape) for each in backbone(torch.rand(1, 3, 64, 96))]
    assert sizes == [(1, 16, 64 // s, 96 // s) for s in (4, 8, 16, 32)] + [(1, 16, 1, 2)]
    c4 = build_backbone(thin_config("c4"))
    assert [name for name, _ in c4.named_children()] == ["body"]
    assert [tuple(each.shape) for each in c4(torch.rand(1, 3, 64, 96))] == [(1, 64, 4, 6)]


@contract(
    "modeling.backbone.resnet",
    "modeling.backbone.resnet.BaseStem",
    "modeling.backbone.resnet.Bottleneck",
    "modeling.backbone.resnet.BottleneckWithFixedBatchNorm",
    "modeling.backbone.resnet.BottleneckWithGN",
    "modeling.backbone.resnet.ResNet",
    "modeling.backbone.resnet.ResNetHead",
    "modeling.backbone.resnet.StageSpec",
    "modeling.backbone.resnet.StemWithFixedBatchNorm",
    "modeling.backbone.resnet.StemWithGN",
)
def test_resnet() -> None:
    cfg = thin_config("mask")
    body = resnet.ResNet(cfg)
    names = {name.removeprefix("backbone.body.") for name in build_model(cfg).state_dict()}
    assert set(body.state_dict()) <= names
    assert [each.shape[1] for each in body(torch.rand(1, 3, 64, 64))] == [16, 32, 64, 128]

    # As the extractor of the C4 models was made.
    stage = resnet.StageSpec(index=4, block_count=3, return_features=False)
    head = resnet.ResNetHead(
        block_module="BottleneckWithFixedBatchNorm",
        stages=(stage,),
        num_groups=1,
        width_per_group=8,
        stride_in_1x1=True,
        stride_init=None,
        res2_out_channels=16,
        dilation=1,
    )
    assert head.out_channels == 128
    assert head(torch.rand(3, 64, 14, 14)).shape == (3, 128, 7, 7)
    assert {name.partition(".")[0] for name in head.state_dict()} == {"layer4"}
    dcn = {"stage_with_dcn": True, "with_modulated_dcn": True, "deformable_groups": 1}
    head = resnet.ResNetHead("BottleneckWithGN", (stage,), res2_out_channels=32, dcn_config=dcn)
    assert "layer4.0.conv2.offset.weight" in head.state_dict()

    x = torch.rand(1, 8, 16, 16)
    for block in (resnet.BottleneckWithFixedBatchNorm, resnet.BottleneckWithGN):
        made = block(8, 32, 64, num_groups=1, stride_in_1x1=True, stride=2)
        assert isinstance(made, resnet.Bottleneck)
        assert made(x).shape == (1, 64, 8, 8)
    for stem in (resnet.StemWithFixedBatchNorm, resnet.StemWithGN):
        cfg.MODEL.RESNETS.STEM_OUT_CHANNELS = 32
        made = stem(cfg)
        assert isinstance(made, resnet.BaseStem)
        assert made(torch.rand(1, 3, 32, 32)).shape == (1, 32, 8, 8)


@contract(
    "modeling.rpn.rpn.build_rpn",
    "modeling.rpn.rpn",
    "modeling.rpn.rpn.RPNModule",
    "modeling.rpn.rpn.RPNHead",
    "modeling.rpn.rpn.RPNHeadConvRegressor",
    "modeling.rpn.rpn.RPNHeadFeatureSingleConv",
)
def test_build_rpn() -> None:
    cfg = thin_config("mask")
    images, targets = batch()
    features = maps(cfg, images)
    module = build_rpn(cfg, 16)
    assert isinstance(module, rpn.RPNModule)
    ours = build_model(cfg).rpn
    assert list(module.state_dict()) == list(ours.state_dict())
    boxes, losses = module(images, features, targets)
    assert list(losses) == ["loss_objectness", "loss_rpn_box_reg"]
    sum(losses.values()).backward()
    # The targets come last, with objectness 1.
    for each, target in zip(boxes, targets, strict=True):
        torch.testing.assert_close(each.bbox[-len(target) :], target.bbox)
        assert (each.get_field("objectness")[-len(target) :] == 1).all()
        assert tuple(each.size) == tuple(target.size)
    with pytest.raises(ValueError, match="targets"):
        module(images, features)

    module.eval()
    ours.load_state_dict(module.state_dict())
    boxes, losses = module(images, features)
    assert losses == {}
    sizes = torch.tensor(images.image_sizes, dtype=torch.float32)
    expected = ours.eval()(features, sizes)
    torch.testing.assert_close(boxes[0].bbox, expected.boxes[0][expected.valid[0]])

    only = build_rpn(thin_config("rpn"), 16)
    anchors, losses = only(images, features, targets)
    assert set(losses) == {"loss_objectness", "loss_rpn_box_reg"}
    assert [len(each) for each in anchors] == [5, 5]
    assert [len(level) for level in anchors[0]] == [f[0, 0].numel() * 3 for f in features]

    head = rpn.RPNHead(cfg, 16, 3)
    assert list(head.state_dict()) == list(rpn.RPNHead(in_channels=16, num_anchors=3).state_dict())
    objectness, deltas = head(features[:2])
    assert [tuple(o.shape[:2]) for o in objectness] == [(2, 3), (2, 3)]
    assert [tuple(d.shape[:2]) for d in deltas] == [(2, 12), (2, 12)]
    conv = rpn.RPNHeadFeatureSingleConv(cfg, 16)
    objectness, deltas = rpn.RPNHeadConvRegressor(cfg, conv.out_channels, 3)(conv(features[:1]))
    assert objectness[0].shape[1] == 3
    assert deltas[0].shape[1] == 12


@contract("modeling.rpn.retinanet.retinanet.build_retinanet")
def test_build_retinanet() -> None:
    cfg = thin_config("retinanet")
    images, targets = batch()
    features = maps(cfg, images, strides=cfg.MODEL.RETINANET.ANCHOR_STRIDES)
    module = build_retinanet(cfg, 16)
    assert type(build_rpn(cfg, 16)) is type(module)
    assert list(module.state_dict()) == list(build_model(cfg).rpn.state_dict())
    anchors, losses = module(images, features, targets)
    assert [len(each) for each in anchors] == [5, 5]
    assert set(losses) == {"loss_retina_cls", "loss_retina_reg"}
    with pytest.raises(ValueError, match="targets"):
        module(images, features)
    module.eval()
    torch.nn.init.constant_(module.head.cls_logits.bias, 0.0)
    with torch.no_grad():
        boxes, losses = module(images, features)
    assert losses == {}
    assert set(boxes[0].get_field("labels").tolist()) <= {1, 2, 3}
    assert len(boxes[0].get_field("scores")) == len(boxes[0]) > 0


@contract("modeling.rpn.loss.RPNLossComputation")
def test_rpn_loss_agrees_with_the_network() -> None:
    """With every anchor sampled, the old computation on lists gives the network's own losses."""
    cfg = thin_config(
        "mask", **{"MODEL.RPN.BATCH_SIZE_PER_IMAGE": 100000, "MODEL.RPN.POSITIVE_FRACTION": 1.0}
    )
    images, targets = batch()
    features = maps(cfg, images)
    module = build_rpn(cfg, 16)
    _, wanted = module(images, features, targets)

    generator = module.anchor_generator
    levels = generator(features)
    sizes = torch.tensor(images.image_sizes, dtype=torch.float32)
    anchors = []
    for image, (height, width) in enumerate(images.image_sizes):
        anchors.append([])
        for level in levels:
            boxes = BoxList(level, (width, height))
            visible = generator.is_visible(level, sizes)[image]
            boxes.add_field("visibility", visible)
            anchors[-1].append(boxes)
    computation = RPNLossComputation(
        Matcher(0.7, 0.3, allow_low_quality_matches=True),
        BalancedPositiveNegativeSampler(100000, 1.0),
        BoxCoder(weights=(1.0, 1.0, 1.0, 1.0)),
        lambda matched: matched.get_field("matched_idxs") >= 0,
    )
    objectness_loss, box_loss = computation(anchors, *module.head(features), targets)
    torch.testing.assert_close(objectness_loss, wanted["loss_objectness"])
    torch.testing.assert_close(box_loss, wanted["loss_rpn_box_reg"])

    targets[0].add_field("difficulty", torch.arange(3))
    matched = computation.match_targets_to_anchors(anchors[0][0], targets[0], ["difficulty"])
    assert len(matched) == len(anchors[0][0])
    index = matched.get_field("matched_idxs").clamp(min=0)
    assert torch.equal(matched.get_field("difficulty"), index)
    labels, deltas = computation.prepare_targets([anchors[0][0]], targets[:1])
    assert set(labels[0].tolist()) <= {-1.0, 0.0, 1.0}
    assert deltas[0].shape == (len(matched), 4)


@contract("modeling.roi_heads.roi_heads.build_roi_heads")
@pytest.mark.parametrize(
    ("name", "field"),
    [("mask", "mask"), ("c4", "mask"), ("keypoint", "keypoints"), ("cascade", None)],
)
def test_build_roi_heads(name: str, field: str | None) -> None:
    cfg = thin_config(name)
    images, targets = batch()
    model = build_model(cfg)
    heads = build_roi_heads(cfg, cfg.MODEL.RESNETS.BACKBONE_OUT_CHANNELS)
    assert list(heads.state_dict()) == list(model.roi_heads.state_dict())
    heads.load_state_dict(model.roi_heads.state_dict())
    proposal_network = build_rpn(cfg, cfg.MODEL.RESNETS.BACKBONE_OUT_CHANNELS)
    proposal_network.load_state_dict(model.rpn.state_dict())
    with torch.no_grad():
        features = model.backbone(images.tensors)
        proposals, _ = proposal_network(images, features, targets)
    x, sampled, losses = heads(features, proposals, targets)
    last = {"mask": ["loss_mask"], "keypoints": ["loss_kp"]}.get(field or "", [])
    stages = [f"_stage{i}" for i in range(3)] if name == "cascade" else [""]
    own = [f"loss_{kind}{stage}" for stage in stages for kind in ("classifier", "box_reg")]
    assert list(losses) == own + last
    assert len(x) == sum(len(each) for each in sampled)
    assert all((each.get_field("labels") >= 0).all() for each in sampled)
    # The whole network's losses: same seeds, same draw.
    whole = model(images, targets)
    for loss, value in losses.items():
        torch.testing.assert_close(value, whole[loss])
    with pytest.raises(ValueError, match="targets"):
        heads(features, proposals)

    model.eval()
    with torch.no_grad():
        features = model.backbone(images.tensors)
        proposals, _ = proposal_network.eval()(images, features)
        x, found, losses = heads.eval()(features, proposals)
        expected = model(images)
    assert losses == {}
    assert len(x) == sum(len(each) for each in proposals)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.bbox, theirs.bbox)
        if field == "mask":
            torch.testing.assert_close(ours.get_field(field), theirs.get_field(field))
        elif field == "keypoints":
            points, expected_points = ours.get_field(field), theirs.get_field(field)
            torch.testing.assert_close(points.keypoints, expected_points.keypoints)


def test_no_roi_heads_for_one_stage_and_proposal_networks() -> None:
    assert build_roi_heads(thin_config("rpn"), 16) == []
    assert build_roi_heads(thin_config("retinanet"), 16) == []


@contract("modeling.roi_heads.mask_head.mask_head.build_roi_mask_head")
def test_build_roi_mask_head() -> None:
    cfg = thin_config("mask")
    images, targets = batch()
    features = maps(cfg, images, strides=(4, 8, 16, 32))
    head = build_roi_mask_head(cfg, 16)
    names = [name.removeprefix("roi_heads.mask.") for name in build_model(cfg).state_dict()]
    assert set(head.state_dict()) <= set(names)
    # Two true boxes and a piece of background.
    regions = targets[0][[0, 1, 2]].copy_with_fields("labels")
    regions.get_field("labels")[2] = 0
    x, positives, losses = head(features, [regions, targets[1]], targets)
    assert [len(each) for each in positives] == [2, 1]
    assert x.shape == (3, 8, 14, 14)
    assert 0.3 < losses["loss_mask"].item() < 3
    losses["loss_mask"].backward()
    head.eval()
    with torch.no_grad():
        x, found, losses = head(features, [regions[[0, 1]], targets[1]])
    assert losses == {}
    assert found[0].get_field("mask").shape == (2, 1, 28, 28)
    assert not regions.has_field("mask")


@contract(
    "modeling.roi_heads.box_head.roi_box_feature_extractors.make_roi_box_feature_extractor",
)
@pytest.mark.parametrize("name", ["mask", "c4"])
def test_make_roi_box_feature_extractor(name: str) -> None:
    cfg = thin_config(name)
    images, targets = batch()
    channels = cfg.MODEL.RESNETS.BACKBONE_OUT_CHANNELS
    extractor = make_roi_box_feature_extractor(cfg, channels)
    x = extractor(maps(cfg, images), targets)
    assert x.shape == ((4, 24) if name == "mask" else (4, 128, 7, 7))
    assert extractor.out_channels == x.shape[1]


@contract(
    "modeling.roi_heads.box_head.inference.PostProcessor",
    "modeling.roi_heads.box_head.inference.make_roi_box_post_processor",
)
def test_post_processor() -> None:
    proposals = BoxList([[0, 0, 19, 19], [40, 0, 79, 29], [41, 0, 79, 29]], (100, 50))
    logits = torch.log(torch.tensor([[0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.2, 0.1, 0.7]]))
    deltas = torch.zeros(3, 12)
    (found,) = PostProcessor(score_thresh=0.15, nms=0.5)((logits, deltas), [proposals])
    # Class by class, within a class in the order of the proposals.
    assert found.get_field("labels").tolist() == [1, 1, 2]
    assert found.get_field("scores").tolist() == pytest.approx([0.8, 0.2, 0.7])
    torch.testing.assert_close(found.bbox, proposals.bbox[[0, 1, 2]])
    capped = PostProcessor(0.15, 0.5, detections_per_img=2)((logits, deltas), [proposals])[0]
    assert capped.get_field("scores").tolist() == pytest.approx([0.8, 0.7])
    raw = PostProcessor(bbox_aug_enabled=True)((logits, deltas), [proposals])[0]
    assert len(raw) == 9
    agnostic = PostProcessor(0.15, cls_agnostic_bbox_reg=True)((logits, deltas[:, :8]), [proposals])
    torch.testing.assert_close(agnostic[0].bbox, found.bbox)
    # Several images at once.
    assert [
        len(e) for e in PostProcessor(0.15)((logits, deltas), [proposals[[0]], proposals[[1, 2]]])
    ] == [1, 2]

    cfg = thin_config("mask")
    made = make_roi_box_post_processor(cfg)
    assert (made.score_thresh, made.nms, made.detections_per_img) == (0.0, 0.5, 10)
    assert made.box_coder.weights == (10.0, 10.0, 5.0, 5.0)
    # The network's own finds the same boxes, best first.
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(30, 2, generator=generator) * 60
    boxes = BoxList(torch.cat((corner, corner + 30), dim=1), (100, 100))
    logits = torch.randn(30, 4, generator=generator) * 3
    deltas = torch.randn(30, 16, generator=generator)
    (old,) = made((logits, deltas), [boxes])
    new = build_model(cfg).roi_heads.box.post_processor(
        boxes.bbox[None],
        torch.ones(1, 30, dtype=torch.bool),
        logits[None],
        deltas[None],
        torch.tensor([[100.0, 100.0]]),
    )
    order = old.get_field("scores").sort(descending=True, stable=True).indices
    torch.testing.assert_close(old.bbox[order], new.boxes[0][new.valid[0]])
    assert torch.equal(old.get_field("labels")[order], new.labels[0][new.valid[0]])


@contract(
    "modeling.registry",
    "modeling.registry.BACKBONES",
    "modeling.registry.RPN_HEADS",
    "modeling.registry.ROI_BOX_FEATURE_EXTRACTORS",
    "modeling.registry.ROI_BOX_PREDICTOR",
    "modeling.registry.ROI_MASK_FEATURE_EXTRACTORS",
    "modeling.registry.ROI_MASK_PREDICTOR",
    "modeling.registry.ROI_KEYPOINT_FEATURE_EXTRACTORS",
    "modeling.registry.ROI_KEYPOINT_PREDICTOR",
    "utils.registry.Registry",
)
def test_registries_build_what_they_name() -> None:
    cfg = thin_config("mask")
    cfg.freeze()
    images, targets = batch()
    features = maps(cfg, images)
    assert registry.BACKBONES["R-50-FPN"](cfg).out_channels == 16
    assert len(registry.BACKBONES["R-101-FPN"](cfg).body.layer3) == 23
    head = registry.RPN_HEADS["SingleConvRPNHead"](cfg, 16, 3)
    assert head(features)[0][0].shape[1] == 3
    box = registry.ROI_BOX_FEATURE_EXTRACTORS["FPN2MLPFeatureExtractor"](cfg, 16)
    assert box(features, targets).shape == (4, 24)
    for name in ("FastRCNNPredictor", "FPNPredictor"):
        logits, deltas = registry.ROI_BOX_PREDICTOR[name](cfg, 24)(torch.rand(4, 24))
        assert (logits.shape, deltas.shape) == ((4, 4), (4, 16))
    mask = registry.ROI_MASK_FEATURE_EXTRACTORS["MaskRCNNFPNFeatureExtractor"](cfg, 16)
    x = mask(features, targets)
    assert x.shape == (4, 8, 14, 14)
    assert registry.ROI_MASK_PREDICTOR["MaskRCNNC4Predictor"](cfg, 8)(x).shape == (4, 4, 28, 28)
    assert registry.ROI_MASK_PREDICTOR["MaskRCNNConv1x1Predictor"](cfg, 8)(x).shape[-1] == 14
    keypoints = registry.ROI_KEYPOINT_FEATURE_EXTRACTORS["KeypointRCNNFeatureExtractor"]
    thin = thin_config("mask", **{"MODEL.ROI_KEYPOINT_HEAD.CONV_LAYERS": (8, 8)})
    thin.MODEL.ROI_KEYPOINT_HEAD.POOLER_SCALES = cfg.MODEL.ROI_MASK_HEAD.POOLER_SCALES
    x = keypoints(thin, 16)(features, targets)
    assert x.shape == (4, 8, 14, 14)
    made = registry.ROI_KEYPOINT_PREDICTOR["KeypointRCNNPredictor"](thin, 8)
    assert made(x).shape == (4, 17, 56, 56)

    own = Registry()
    own.register("one", 1)
    decorated = own.register("two")(test_registries_build_what_they_name)
    assert own == {"one": 1, "two": decorated}
    with pytest.raises(ValueError, match="already belongs to 1"):
        own.register("one", 2)


def test_registries_build_fbnet() -> None:
    cfg = get_defaults()
    cfg.merge_from_file(CONFIGS / "e2e_mask_rcnn_fbnet.yaml")
    backbone = registry.BACKBONES["FBNet"](cfg)
    (x,) = backbone(torch.rand(1, 3, 64, 64))
    assert x.shape == (1, backbone.out_channels, 4, 4)
    head = registry.RPN_HEADS["FBNet.rpn_head"](cfg, backbone.out_channels, 15)
    assert head([x])[0][0].shape[1] == 15
    boxes = [BoxList([[0, 0, 40, 40], [5, 5, 60, 60]], (64, 64))]
    for name, extractors in (
        ("FBNet.roi_head", registry.ROI_BOX_FEATURE_EXTRACTORS),
        ("FBNet.roi_head_mask", registry.ROI_MASK_FEATURE_EXTRACTORS),
        ("FBNet.roi_head_keypoints", registry.ROI_KEYPOINT_FEATURE_EXTRACTORS),
    ):
        extractor = extractors[name](cfg, backbone.out_channels).eval()
        assert extractor([x], boxes).shape[:2] == (2, extractor.out_channels)
