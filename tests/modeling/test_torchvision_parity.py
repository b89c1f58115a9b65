"""torchvision's own detectors beside ours with the same weights: from the image to detections in its pixels.

The weights are random, but every layer that predicts is scaled so that scores and boxes spread as trained ones do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models import detection as theirs
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops.misc import FrozenBatchNorm2d

from maskrcnn_benchmark.build.data import build_transforms
from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.checkpoint.dialects import find_dialect
from maskrcnn_benchmark.config import Config, get_defaults
from maskrcnn_benchmark.numerics import get_numerics
from maskrcnn_benchmark.predict import Predictor
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.structures.image_list import to_image_list
from maskrcnn_benchmark.structures.sizes import HeightWidth

# As many as keep a run in seconds, and not one of them square.
MIN_SIZE, MAX_SIZE = 192, 300
PROPOSALS = 150
DETECTIONS = 40
NUM_CLASSES = 6

# Layers that predict, and how much their outputs spread.
_TWO_STAGES = {
    "rpn.head.cls_logits": 2.0,
    "rpn.head.bbox_pred": 0.1,
    "roi_heads.box_predictor.cls_score": 2.0,
    "roi_heads.box_predictor.bbox_pred": 0.5,
}
_MASKS = {"roi_heads.mask_predictor.mask_fcn_logits": 3.0}
_KEYPOINTS = {"roi_heads.keypoint_predictor.kps_score_lowres": 3.0}
_RETINANET = {
    "head.classification_head.cls_logits": 1.0,
    "head.regression_head.bbox_reg": 0.3,
}
_LIMITS = {
    "rpn_pre_nms_top_n_test": 2 * PROPOSALS,
    "rpn_post_nms_top_n_test": PROPOSALS,
    "box_detections_per_img": DETECTIONS,
}
SPREADS = {
    "fasterrcnn_resnet50_fpn": _TWO_STAGES,
    "fasterrcnn_resnet50_fpn_v2": _TWO_STAGES,
    "maskrcnn_resnet50_fpn": _TWO_STAGES | _MASKS,
    "maskrcnn_resnet50_fpn_v2": _TWO_STAGES | _MASKS,
    "keypointrcnn_resnet50_fpn": _TWO_STAGES | _KEYPOINTS,
    "retinanet_resnet50_fpn": _RETINANET,
}


def make_theirs(name: str, image: Tensor) -> nn.Module:
    """A model of torchvision whose norms fit the image and whose predictions spread."""
    is_retinanet = "retinanet" in name
    limits = {"detections_per_img": DETECTIONS} if is_retinanet else _LIMITS
    model: nn.Module = getattr(theirs, name)(
        weights=None,
        weights_backbone=None,
        num_classes=2 if "keypoint" in name else NUM_CLASSES,
        min_size=MIN_SIZE,
        max_size=MAX_SIZE,
        **limits,
    ).eval()
    fit(model, image, SPREADS[name])
    if is_retinanet:
        # Its first class is background, which no image has: ours does not predict it.
        bias = model.head.classification_head.cls_logits.bias
        with torch.no_grad():
            bias.view(-1, NUM_CLASSES)[:, 0] = -50
    return model


def fit(model: nn.Module, image: Tensor, spreads: dict[str, float]) -> None:
    """Bring norms and predictions into shape in one pass, each layer with what those before it have become."""
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            # Small changes from block to block, as in trained networks: else the last digits grow into the third.
            nn.init.uniform_(module.weight, 0.2, 0.4 if name.endswith("bn3") else 1.5)
            nn.init.normal_(module.bias, std=0.2)
            handles.append(module.register_forward_pre_hook(_fit_norm))
        elif name in spreads:
            handles.append(module.register_forward_hook(_Spread(spreads[name])))
    with torch.no_grad():
        model([image])
    for handle in handles:
        handle.remove()


def _fit_norm(norm: nn.BatchNorm2d, inputs: tuple[Tensor, ...]) -> None:
    norm.running_mean.copy_(inputs[0].mean(dim=(0, 2, 3)))
    variance = inputs[0].var(dim=(0, 2, 3), correction=0)
    # Channels in which nothing happens are not blown up to the others' size.
    norm.running_var.copy_(variance.clamp(min=variance.mean()))


class _Spread:
    """Scales a layer so that its first outputs deviate by so much."""

    def __init__(self, spread: float) -> None:
        self.spread = spread
        self.is_done = False

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Any:
        if self.is_done:
            return None
        self.is_done = True
        # About the mean of every channel: or else a few of them would win everywhere.
        mean = output.mean(dim=[axis for axis in range(output.dim()) if axis != 1], keepdim=True)
        factor = self.spread / (output - mean).std()
        assert torch.isfinite(factor)
        noise = torch.randn(module.bias.shape) * 0.2 * self.spread
        module.bias.copy_((module.bias - mean.flatten()) * factor + noise)
        module.weight.mul_(factor)
        return module(*inputs)


def make_ours(model: nn.Module) -> tuple[nn.Module, Config]:
    """Our model with their weights, every one of them."""
    weights = model.state_dict()
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    dialect = find_dialect(shapes)
    assert dialect is not None
    converted = dialect.convert(weights)
    assert converted.dialect == "torchvision"
    assert converted.is_detector
    cfg = get_defaults()
    for key, value in converted.settings:
        cfg.merge_from_list([key, value])
    cfg.merge_from_list(["INPUT.MIN_SIZE_TEST", MIN_SIZE, "INPUT.MAX_SIZE_TEST", MAX_SIZE])
    cfg.merge_from_list(["MODEL.RPN.PRE_NMS_TOP_N_TEST", 2 * PROPOSALS])
    cfg.merge_from_list(["MODEL.RPN.POST_NMS_TOP_N_TEST", PROPOSALS])
    cfg.merge_from_list(["MODEL.ROI_HEADS.DETECTIONS_PER_IMG", DETECTIONS])
    cfg.merge_from_list(["TEST.DETECTIONS_PER_IMG", DETECTIONS])
    network = build_model(cfg)
    result = network.load_state_dict(converted.weights, strict=False)
    assert not result.unexpected_keys
    assert all("cell_anchors" in name for name in result.missing_keys)
    return network.eval(), cfg


def detect(network: nn.Module, cfg: Config, image: Image.Image) -> Detections:
    """As `predict.Predictor` does."""
    numerics = get_numerics(cfg.MODEL.NUMERICS)
    tensor = build_transforms(cfg, is_train=False)(image)
    with torch.inference_mode():
        found = network(to_image_list([tensor], cfg.DATALOADER.SIZE_DIVISIBILITY))[0]
    return Detections.from_boxlist(
        found,
        image_size=HeightWidth(image.height, image.width),
        class_names=tuple(f"class{number}" for number in range(NUM_CLASSES)),
        mask_padding=numerics.mask_padding,
        mask_paste=numerics.paste,
        box_offset=numerics.box_offset,
    ).sorted()


def to_tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def assert_same(expected: dict[str, Tensor], found: Detections) -> None:
    """All detections, in the order of their scores but for those that are as good as equal."""
    assert len(found) == len(expected["boxes"]) > 10
    scores = expected["scores"].numpy()
    np.testing.assert_allclose(found.scores, scores, atol=1e-4)
    order = _pair(expected, found)
    np.testing.assert_array_equal(found.labels[order], expected["labels"].numpy())
    np.testing.assert_allclose(found.scores[order], scores, atol=1e-4)
    np.testing.assert_allclose(found.boxes[order], expected["boxes"].numpy(), atol=1e-2)
    if "masks" in expected:
        own = found.dense_masks()[order]
        masks = (expected["masks"][:, 0] > 0.5).numpy()
        both, either = (own & masks).sum((1, 2)), (own | masks).sum((1, 2))
        assert masks.any(axis=(1, 2)).sum() > 10
        np.testing.assert_array_less(0.999, (both + 1e-9) / (either + 1e-9))
    if "keypoints" in expected:
        assert found.keypoints is not None
        np.testing.assert_allclose(
            found.keypoints.points[order][..., :2],
            expected["keypoints"][..., :2].numpy(),
            atol=1e-2,
        )


def _pair(expected: dict[str, Tensor], found: Detections) -> list[int]:
    """For each of their detections the nearest of ours with the same label, each of ours once."""
    boxes, labels = expected["boxes"].numpy(), expected["labels"].numpy()
    free = list(range(len(found)))
    order = []
    for box, label in zip(boxes, labels, strict=True):
        distances = [
            abs(found.boxes[i] - box).max() + (1e6 if found.labels[i] != label else 0) for i in free
        ]
        order.append(free.pop(int(np.argmin(distances))))
    return order


def synthetic_image(height: int = 270, width: int = 410) -> Image.Image:
    """Blobs and edges of all sizes."""
    generator = np.random.default_rng(1)
    pixels = np.zeros((height, width, 3))
    for cells in (4, 11, 37):
        noise = generator.random((cells, cells, 3)).astype(np.float32)
        layer = [
            np.asarray(
                Image.fromarray(noise[..., c]).resize((width, height), Image.Resampling.BICUBIC)
            )
            for c in range(3)
        ]
        pixels += np.stack(layer, axis=-1)
    return Image.fromarray((pixels / 3 * 255).clip(0, 255).astype(np.uint8))


def check(name: str, images: list[Image.Image]) -> None:
    model = make_theirs(name, to_tensor(images[0]))
    network, cfg = make_ours(model)
    for image in images:
        with torch.inference_mode():
            expected = model([to_tensor(image)])[0]
        assert_same(expected, detect(network, cfg, image))


@pytest.mark.parametrize("name", SPREADS)
def test_synthetic_image(name: str) -> None:
    check(name, [synthetic_image()])


@pytest.mark.shared_data
@pytest.mark.parametrize("name", SPREADS)
def test_real_images(name: str, shared: Path) -> None:
    # Wide, high, and with sides that no stride divides.
    files = ["000000000139.jpg", "000000018575.jpg", "000000022192.jpg"]
    folder = shared / "data/coco_mini/val2017"
    check(name, [Image.open(folder / file).convert("RGB") for file in files])


def test_frozen_norms_of_a_shallow_body() -> None:
    # As torchvision's pre-trained detectors are: frozen norms without epsilon.
    backbone = resnet_fpn_backbone(
        backbone_name="resnet18", weights=None, norm_layer=FrozenBatchNorm2d
    )
    limits = {**_LIMITS, "min_size": MIN_SIZE, "max_size": MAX_SIZE}
    model = theirs.FasterRCNN(backbone, num_classes=NUM_CLASSES, **limits).eval()
    for module in model.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.eps = 0.0
            module.weight.uniform_(0.2, 0.5)
            module.running_var.uniform_(0.5, 1.5)
            module.running_mean.normal_(std=0.2)
    image = synthetic_image()
    fit(model, to_tensor(image), _TWO_STAGES)
    network, cfg = make_ours(model)
    assert cfg.MODEL.BACKBONE.CONV_BODY == "R-18-FPN"
    with torch.inference_mode():
        expected = model([to_tensor(image)])[0]
    assert_same(expected, detect(network, cfg, image))


def test_from_their_file_without_a_config(tmp_path: Path) -> None:
    # Low and wide: the long side decides on the scale, and there is not much to compute.
    image = synthetic_image(height=60, width=301)
    image.save(tmp_path / "image.png")
    model = theirs.fasterrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=NUM_CLASSES
    ).eval()
    fit(model, to_tensor(image), _TWO_STAGES)
    torch.save(model.state_dict(), tmp_path / "fasterrcnn.pth")
    predictor = Predictor(tmp_path / "fasterrcnn.pth", device="cpu", score_threshold=0.05)
    with torch.inference_mode():
        expected = model([to_tensor(image)])[0]
    assert_same(expected, predictor(tmp_path / "image.png"))
