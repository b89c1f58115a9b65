"""Parts that a user registered with the old signatures: named in a YAML, they train and find."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from maskrcnn_benchmark.config import Config, get_defaults
from maskrcnn_benchmark.errors import ConfigError, ShapeError
from maskrcnn_benchmark.modeling import registry
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.modeling.poolers import Rows
from maskrcnn_benchmark.solver import make_optimizer
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.keypoint import PersonKeypoints
from maskrcnn_benchmark.utils.imports import import_file
from tests.thin_models import make_images, make_target

PARTS = Path(__file__).with_name("users_parts.py")

YAML = """
MODEL:
  BACKBONE: {CONV_BODY: user-net}
  RESNETS: {BACKBONE_OUT_CHANNELS: 16}
  RPN:
    RPN_HEAD: UserRPNHead
    USE_FPN: True
    ANCHOR_STRIDE: (4, 8)
    ANCHOR_SIZES: (16, 48)
    PRE_NMS_TOP_N_TRAIN: 60
    PRE_NMS_TOP_N_TEST: 40
    FPN_POST_NMS_TOP_N_TRAIN: 40
    FPN_POST_NMS_TOP_N_TEST: 20
  ROI_HEADS: {SCORE_THRESH: 0.0, DETECTIONS_PER_IMG: 6, BATCH_SIZE_PER_IMAGE: 16}
  ROI_BOX_HEAD:
    FEATURE_EXTRACTOR: UserBoxExtractor
    PREDICTOR: UserBoxPredictor
    NUM_CLASSES: 4
    POOLER_RESOLUTION: 5
    POOLER_SCALES: (0.25, 0.125)
    POOLER_SAMPLING_RATIO: 2
  ROI_MASK_HEAD:
    FEATURE_EXTRACTOR: UserMaskExtractor
    PREDICTOR: UserMaskPredictor
    SHARE_BOX_FEATURE_EXTRACTOR: False
    POOLER_RESOLUTION: 7
    RESOLUTION: 7
    POOLER_SCALES: (0.25, 0.125)
    POOLER_SAMPLING_RATIO: 2
  ROI_KEYPOINT_HEAD:
    FEATURE_EXTRACTOR: UserKeypointExtractor
    PREDICTOR: UserKeypointPredictor
    SHARE_BOX_FEATURE_EXTRACTOR: False
    POOLER_RESOLUTION: 7
    RESOLUTION: 7
    POOLER_SCALES: (0.25, 0.125)
    POOLER_SAMPLING_RATIO: 2
  MASK_ON: True
SOLVER: {BASE_LR: 0.01}
"""


@pytest.fixture(autouse=True)
def users_parts() -> Iterator[None]:
    """The user's file, imported as the old README does it, and forgotten afterwards."""
    registries = [value for name, value in vars(registry).items() if name.isupper()]
    before = [dict(each) for each in registries]
    import_file("users_parts", str(PARTS), make_importable=True)
    yield
    for each, content in zip(registries, before, strict=True):
        each.clear()
        each.update(content)


@pytest.fixture
def cfg(tmp_path: Path) -> Config:
    file = tmp_path / "user.yaml"
    file.write_text(YAML)
    cfg = get_defaults()
    cfg.merge_from_file(file)
    return cfg


def train(model: Any, cfg: Config, images: list[Tensor], targets: list[BoxList]) -> list[float]:
    optimizer = make_optimizer(cfg, model)
    totals = []
    for _ in range(2):
        losses = model(images, targets)
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    return totals


def test_every_kind_of_part_trains_and_finds(cfg: Config) -> None:
    model = build_detection_model(cfg)
    assert set(dict(model.named_parameters())) == {
        f"{part}.{kind}"
        for part in (
            "backbone.stem",
            "backbone.fine",
            "backbone.coarse",
            "rpn.head.features.conv",
            "rpn.head.regressor.cls_logits",
            "rpn.head.regressor.bbox_pred",
            "roi_heads.box.feature_extractor.fc6",
            "roi_heads.box.predictor.cls_score",
            "roi_heads.box.predictor.bbox_pred",
            "roi_heads.mask.feature_extractor.mask_fcn1",
            "roi_heads.mask.predictor.mask_fcn_logits",
        )
        for kind in ("weight", "bias")
    }
    assert model.backbone.strides == (4, 8)
    images = make_images((64, 96), (80, 64))
    targets = [make_target(64, 96, count=3), make_target(80, 64, count=1, seed=1)]
    before = {name: value.clone() for name, value in model.named_parameters()}
    first, second = train(model, cfg, images, targets)
    assert second < first
    still = [name for name, value in model.named_parameters() if torch.equal(value, before[name])]
    assert not still
    # Lists of BoxLists, as large as the padded batch.
    assert model.roi_heads.box.feature_extractor.seen == [(96, 80), (96, 80)]

    model.eval()
    with torch.no_grad():
        found = model(images)
    assert [tuple(each.size) for each in found] == [(96, 64), (64, 80)]
    for each in found:
        assert len(each) == 6
        assert each.get_field("mask").shape == (6, 1, 7, 7)
        assert set(each.get_field("labels").tolist()) <= {1, 2, 3}


def test_keypoint_parts_train_and_find(cfg: Config) -> None:
    cfg.merge_from_list(["MODEL.MASK_ON", False, "MODEL.KEYPOINT_ON", True])
    model = build_detection_model(cfg)
    target = make_target(64, 96, count=2, masks=False)
    corner, side = target.bbox[:, None, :2], target.bbox[:, None, 2:] - target.bbox[:, None, :2]
    points = torch.cat((corner + side * torch.rand(2, 17, 2), torch.full((2, 17, 1), 2.0)), dim=2)
    target.add_field("keypoints", PersonKeypoints(points, (96, 64)))
    images = make_images((64, 96))
    assert "loss_kp" in model(images, [target])
    first, second = train(model, cfg, images, [target])
    assert second < first
    model.eval()
    with torch.no_grad():
        (found,) = model(images)
    assert found.get_field("keypoints").keypoints.shape == (6, 17, 3)


@pytest.mark.parametrize(
    "changes",
    [
        {"MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR": "UserXConvExtractor"},
        # A user's predictor of boxes behind an extractor of this package, whose maps lie channels last.
        {
            "MODEL.MASK_ON": False,
            "MODEL.BACKBONE.CONV_BODY": "R-50-C4",
            "MODEL.RESNETS.STEM_OUT_CHANNELS": 8,
            "MODEL.RESNETS.RES2_OUT_CHANNELS": 4,
            "MODEL.RESNETS.WIDTH_PER_GROUP": 4,
            "MODEL.RESNETS.BACKBONE_OUT_CHANNELS": 16,
            "MODEL.RPN.USE_FPN": False,
            "MODEL.RPN.ANCHOR_STRIDE": (16,),
            "MODEL.ROI_BOX_HEAD.POOLER_SCALES": (0.0625,),
            "MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR": "ResNet50Conv5ROIFeatureExtractor",
            "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 6,
            "MODEL.ROI_BOX_HEAD.PREDICTOR": "UserFlatPredictor",
        },
        {
            "MODEL.ROI_MASK_HEAD.FEATURE_EXTRACTOR": "MaskRCNNFPNFeatureExtractor",
            "MODEL.ROI_MASK_HEAD.CONV_LAYERS": (8, 8),
            "MODEL.ROI_MASK_HEAD.PREDICTOR": "UserFlatMaskPredictor",
        },
    ],
    ids=["extractor", "box predictor", "mask predictor"],
)
def test_old_heads_flatten_with_view(cfg: Config, changes: dict[str, Any]) -> None:
    """`x.view(x.size(0), -1)` is an error on what lies channels last, as the network does."""
    cfg.merge_from_list([word for pair in changes.items() for word in pair])
    model = build_detection_model(cfg)
    images, targets = make_images((64, 96)), [make_target(64, 96, count=3)]
    first, second = train(model, cfg, images, targets)
    assert second < first
    # However it is moved, as for inference.
    model.eval().to(memory_format=torch.channels_last)
    with torch.no_grad():
        (found,) = model(images)
        (again,) = copy.deepcopy(model)(images)
    assert len(found) == 6
    assert torch.equal(found.bbox, again.bbox)


def test_padding_changes_nothing(cfg: Config) -> None:
    """On a GPU, padded rows are computed too: rows of real regions must not depend on them."""
    extractor = build_detection_model(cfg).eval().roi_heads.box.feature_extractor
    features = [torch.randn(2, 16, 20, 24), torch.randn(2, 16, 10, 12)]
    boxes = torch.rand(2, 3, 4) * 20
    boxes[..., 2:] += boxes[..., :2]
    valid = torch.tensor([[True, True, False], [True, False, False]])
    some = extractor(features, boxes, Rows.of(valid))
    every = extractor(features, boxes, Rows(None, valid.flatten()))
    assert every.shape == (6, 24)
    torch.testing.assert_close(every[valid.flatten()], some)
    # The user's own call still works.
    lists = [BoxList(b[v], (96, 80)) for b, v in zip(boxes, valid, strict=True)]
    torch.testing.assert_close(extractor(features, lists), some)


def test_a_model_with_registered_parts_can_be_copied(cfg: Config) -> None:
    model = build_detection_model(cfg).eval()
    twin = copy.deepcopy(model)
    stored = pickle.loads(pickle.dumps(model))
    assert stored.state_dict().keys() == model.state_dict().keys()
    images = make_images((64, 96))
    with torch.no_grad():
        assert torch.equal(model(images)[0].bbox, stored(images)[0].bbox)
        for value in model.parameters():
            value.zero_()
        assert not torch.equal(
            model(images)[0].get_field("scores"), twin(images)[0].get_field("scores")
        )
    assert type(twin.roi_heads.box.feature_extractor).__name__ == "UserBoxExtractor"


@pytest.mark.parametrize(
    ("key", "own"),
    [
        ("MODEL.RPN.RPN_HEAD", "UserRPNHead"),
        ("MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR", "UserBoxExtractor"),
        ("MODEL.ROI_BOX_HEAD.PREDICTOR", "UserBoxPredictor"),
        ("MODEL.ROI_MASK_HEAD.FEATURE_EXTRACTOR", "UserMaskExtractor"),
        ("MODEL.ROI_MASK_HEAD.PREDICTOR", "UserMaskPredictor"),
    ],
)
def test_an_unknown_name_lists_what_there_is(cfg: Config, key: str, own: str) -> None:
    cfg.merge_from_list([key, "Nonsense"])
    with pytest.raises(ConfigError, match=rf"{key}: expected one of .*{own}.*, got 'Nonsense'"):
        build_detection_model(cfg)


def test_unknown_keypoint_parts_list_what_there_is(cfg: Config) -> None:
    cfg.merge_from_list(
        ["MODEL.KEYPOINT_ON", True, "MODEL.ROI_KEYPOINT_HEAD.PREDICTOR", "Nonsense"]
    )
    with pytest.raises(
        ConfigError, match=r"KEYPOINT_HEAD\.PREDICTOR: expected one of .*UserKeypoint"
    ):
        build_detection_model(cfg)


def test_unknown_backbone_lists_what_there_is(cfg: Config) -> None:
    cfg.merge_from_list(["MODEL.BACKBONE.CONV_BODY", "user-nets"])
    with pytest.raises(ConfigError, match=r"MODEL\.BACKBONE\.CONV_BODY: .*user-net\b"):
        build_detection_model(cfg)


def test_a_part_without_out_channels_is_refused(cfg: Config) -> None:
    cfg.merge_from_list(["MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR", "WithoutChannels"])
    with pytest.raises(ConfigError, match="Identity has no attribute out_channels: set it"):
        build_detection_model(cfg)


def test_a_part_with_another_signature_is_refused(
    cfg: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OnlyConfig(nn.Module):
        def __init__(self, cfg: Config) -> None:
            super().__init__()

    monkeypatch.setitem(registry.ROI_BOX_FEATURE_EXTRACTORS, "OnlyConfig", OnlyConfig)
    cfg.merge_from_list(["MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR", "OnlyConfig"])
    message = (
        r"'OnlyConfig' .*OnlyConfig, which cannot be made with \(cfg, in_channels\) as its kind is"
    )
    with pytest.raises(ConfigError, match=message):
        build_detection_model(cfg)


@pytest.mark.parametrize(
    ("maps", "got"),
    [
        (lambda x: x, r"a single tensor of shape \(1, 16, 16, 24\)"),
        (lambda x: [x], r"1 of shape \(1, 16, 16, 24\)"),
        (lambda x: [x, x[:, :8]], r"2 of shape .*, \(1, 8, 16, 24\)"),
    ],
)
def test_a_backbone_with_other_maps_is_refused(
    cfg: Config, monkeypatch: pytest.MonkeyPatch, maps: Any, got: str
) -> None:
    class Odd(nn.Module):
        out_channels = 16

        def __init__(self, cfg: Config) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 16, 4, stride=4)

        def forward(self, images: Tensor) -> Any:
            return maps(self.conv(images))

    monkeypatch.setitem(registry.BACKBONES, "odd", Odd)
    cfg.merge_from_list(["MODEL.BACKBONE.CONV_BODY", "odd"])
    model = build_detection_model(cfg).eval()
    with pytest.raises(ShapeError, match=rf"Odd: expected a list of 2 maps \(B, 16, .*got {got}"):
        model([torch.zeros(3, 64, 96)])


@pytest.mark.parametrize(
    ("anchors", "deltas", "maps", "got"),
    [
        (3, 16, 2, r"\(1, 16, 16, 24\)"),
        (4, 12, 2, r"\(1, 4, 16, 24\)"),
        (3, 12, 1, r"\[\[\(1, 3, 16, 24\)\], \[\(1, 12, 16, 24\)\]\]"),
    ],
)
def test_an_rpn_head_with_other_maps_is_refused(
    cfg: Config, monkeypatch: pytest.MonkeyPatch, anchors: int, deltas: int, maps: int, got: str
) -> None:
    """Too many deltas would otherwise move other anchors than theirs, without a word."""

    class OddHead(nn.Module):
        def __init__(self, cfg: Config, in_channels: int, num_anchors: int) -> None:
            super().__init__()
            assert num_anchors == 3
            self.logits = nn.Conv2d(in_channels, anchors, 1)
            self.deltas = nn.Conv2d(in_channels, deltas, 1)

        def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
            return [self.logits(m) for m in x[:maps]], [self.deltas(m) for m in x[:maps]]

    monkeypatch.setitem(registry.RPN_HEADS, "odd", OddHead)
    cfg.merge_from_list(["MODEL.RPN.RPN_HEAD", "odd"])
    model = build_detection_model(cfg)
    expected = (
        r"OddHead: expected objectness of shapes \[\(1, 3, 16, 24\), \(1, 3, 8, 12\)\] and deltas"
    )
    with pytest.raises(ShapeError, match=rf"{expected}.*3 anchors a cell, got .*{got}"):
        model(make_images((64, 96)), [make_target(64, 96, count=3)])


@pytest.mark.parametrize(
    ("classes", "boxes", "got"),
    [(3, 4, r"\(\d+, 3\), \(\d+, 16\)"), (4, 5, r"\(\d+, 4\), \(\d+, 20\)")],
)
def test_a_box_predictor_with_other_outputs_is_refused(
    cfg: Config, monkeypatch: pytest.MonkeyPatch, classes: int, boxes: int, got: str
) -> None:
    class OddPredictor(nn.Module):
        def __init__(self, cfg: Config, in_channels: int) -> None:
            super().__init__()
            self.logits = nn.Linear(in_channels, classes)
            self.deltas = nn.Linear(in_channels, 4 * boxes)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.logits(x), self.deltas(x)

    monkeypatch.setitem(registry.ROI_BOX_PREDICTOR, "odd", OddPredictor)
    cfg.merge_from_list(["MODEL.ROI_BOX_HEAD.PREDICTOR", "odd"])
    model = build_detection_model(cfg)
    expected = (
        r"OddPredictor: expected logits \(R, 4, ...\) and deltas \(R, 16, ...\), as NUM_CLASSES"
    )
    with pytest.raises(ShapeError, match=rf"{expected}.*got {got}"):
        model(make_images((64, 96)), [make_target(64, 96, count=3)])


def test_a_mask_predictor_with_other_classes_is_refused(
    cfg: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OnlyTwo(nn.Conv2d):
        def __init__(self, cfg: Config, in_channels: int) -> None:
            super().__init__(in_channels, 2, 1)

    monkeypatch.setitem(registry.ROI_MASK_PREDICTOR, "OnlyTwo", OnlyTwo)
    cfg.merge_from_list(["MODEL.ROI_MASK_HEAD.PREDICTOR", "OnlyTwo"])
    model = build_detection_model(cfg)
    with pytest.raises(ShapeError, match=r"OnlyTwo: expected logits \(R, 4, ...\).*got \(\d+, 2, "):
        model(make_images((64, 96)), [make_target(64, 96, count=3)])


def test_a_users_body_with_the_c4_head_of_this_package(cfg: Config) -> None:
    """Stage 4 of a ResNet-50, as the old project made it for any body."""

    @registry.BACKBONES.register("user-c4")
    class UserC4(nn.Module):
        out_channels = 16

        def __init__(self, cfg: Config) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, self.out_channels, 16, stride=16)

        def forward(self, images: Tensor) -> list[Tensor]:
            return [self.conv(images)]

    changes: dict[str, Any] = {
        "BACKBONE.CONV_BODY": "user-c4",
        "RESNETS.RES2_OUT_CHANNELS": 8,
        "RESNETS.WIDTH_PER_GROUP": 4,
        "RPN.USE_FPN": False,
        "RPN.RPN_HEAD": "SingleConvRPNHead",
        "RPN.ANCHOR_STRIDE": (16,),
        "RPN.ANCHOR_SIZES": (16, 32),
        "ROI_BOX_HEAD.FEATURE_EXTRACTOR": "ResNet50Conv5ROIFeatureExtractor",
        "ROI_BOX_HEAD.PREDICTOR": "FastRCNNPredictor",
        "ROI_BOX_HEAD.POOLER_SCALES": (0.0625,),
    }
    for key, value in changes.items():
        cfg.merge_from_list([f"MODEL.{key}", value])
    cfg.merge_from_list(["MODEL.MASK_ON", False])
    model = build_detection_model(cfg)
    head = model.get_submodule("roi_heads.box.feature_extractor.head")
    assert len(head.get_submodule("layer4")) == 3  # type: ignore[arg-type]
    losses = model(make_images((64, 96)), [make_target(64, 96, count=3)])
    assert all(bool(loss.isfinite()) for loss in losses.values())


def test_a_taken_name_is_refused() -> None:
    with pytest.raises(ValueError, match="'FPN2MLPFeatureExtractor' already belongs to"):
        registry.ROI_BOX_FEATURE_EXTRACTORS.register("FPN2MLPFeatureExtractor", object)


def test_a_model_with_registered_parts_compiles_as_one_graph(cfg: Config) -> None:
    model = build_detection_model(cfg).eval()
    images, sizes = torch.rand(1, 3, 64, 96), torch.tensor([[64.0, 96.0]])
    with torch.no_grad():
        plain = model.detect(images, sizes)
        compiled = torch.compile(model.detect, fullgraph=True, backend="eager")(images, sizes)
    torch.testing.assert_close(compiled.boxes, plain.boxes)
    torch.testing.assert_close(compiled.masks, plain.masks)
