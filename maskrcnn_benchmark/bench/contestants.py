"""The models that are timed: ours, torchvision's and ONNX Runtime's, with the same weights and the same images.

Untrained models find nothing they are sure of, so the score threshold is 0 and every image has its most detections.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import torchvision
from torch import Tensor, nn

from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.build.training import compile_losses
from maskrcnn_benchmark.checkpoint.dialects import torchvision as dialect
from maskrcnn_benchmark.checkpoint.matching import load_state_dict
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.modeling.detector.detector import Detector
from maskrcnn_benchmark.predict.tuning import tune
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import to_image_list
from maskrcnn_benchmark.structures.keypoint import Keypoints
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask

Precision = Literal["float32", "bfloat16"]
Step = Callable[[], int]

NUM_OBJECTS = 10
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What every model is given.

    Attributes:
        batch: images.
        height: in pixels, of every image.
        width: in pixels.
        seed: of pixels, weights and targets.
    """

    batch: int = 1
    height: int = 800
    width: int = 1216
    seed: int = 0

    def images(self, channels: int = 3) -> list[Tensor]:
        """Images (channels, H, W) of random pixels, 0-1."""
        generator = torch.Generator().manual_seed(self.seed)
        shape = (channels, self.height, self.width)
        return [torch.rand(shape, generator=generator) for _ in range(self.batch)]

    def boxes(self, *, num_classes: int) -> tuple[Tensor, Tensor]:
        """Boxes (n, 4) of up to a fifth of the image, and labels (n,); background is one of the classes."""
        generator = torch.Generator().manual_seed(self.seed + 1)
        boxes = torch.rand(NUM_OBJECTS, 4, generator=generator)
        size = torch.tensor([self.width, self.height])
        boxes[:, :2] *= 0.75 * size
        boxes[:, 2:] = boxes[:, :2] + (0.03 + 0.2 * boxes[:, 2:]) * size
        return boxes, torch.randint(1, num_classes, (NUM_OBJECTS,), generator=generator)


def open_config(cfg: Config) -> Config:
    """The config with every detection let through."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.merge_from_list(["MODEL.ROI_HEADS.SCORE_THRESH", 0.0, "MODEL.RETINANET.INFERENCE_TH", 0.0])
    return cfg


@dataclass(frozen=True, kw_only=True)
class Ours:
    """Our model and what its input looks like.

    Attributes:
        model: the network.
        cfg: what it was built from.
    """

    model: Detector
    cfg: Config

    def inputs(self, scene: Scene) -> list[Tensor]:
        """The images of a scene, normalised, where the model is."""
        keys = self.cfg.INPUT
        mean, std = (torch.tensor(v)[:, None, None] for v in (keys.PIXEL_MEAN, keys.PIXEL_STD))
        device = next(self.model.parameters()).device
        pixels = scene.images(keys.CHANNELS)
        images = (image.flip(0) * 255 if keys.TO_BGR255 else image for image in pixels)
        return [((image - mean) / std).to(device) for image in images]


def make_ours(cfg: Config, *, device: torch.device) -> Ours:
    """The network of a config with random weights."""
    torch.manual_seed(0)
    cfg = open_config(cfg)
    return Ours(model=build_model(cfg).to(device), cfg=cfg)


def tuned(ours: Ours, *, precision: Precision = "float32") -> Ours:
    """A copy of the model as `Predictor` runs it: norms folded, weights of its precision, channels last."""
    model = copy.deepcopy(ours.model).eval().requires_grad_(requires_grad=False)
    device = next(model.parameters()).device
    tune(model, device=device, dtype=precision)
    return Ours(model=model, cfg=ours.cfg)


def ours_inference(
    ours: Ours, scene: Scene, *, precision: Precision = "float32", compiled: bool = False
) -> Step:
    """One batch from normalised tensors to padded detections; the step returns their number.

    Args:
        ours: the model, best `tuned` for the precision.
        scene: the images.
        precision: of convolutions and matrix products.
        compiled: for this size of image, with constant weights.
    """
    model = ours.model.eval()
    images = ours.inputs(scene)
    device = images[0].device
    detect = model.detect
    if compiled:
        detect = torch.compile(detect, fullgraph=True, options={"freezing": True})
    batch = model.to_batch(to_image_list(images))
    sizes = torch.tensor(batch.image_sizes, dtype=torch.float32, device=device)
    dtype = _DTYPES[precision]

    def step() -> int:
        lower = torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
        with torch.inference_mode(), lower:
            return int(detect(batch.tensors, sizes).valid.sum())

    return step


def ours_training(
    ours: Ours, scene: Scene, *, precision: Precision = "float32", compiled: bool = False
) -> Step:
    """One batch through forward, losses and backward.

    Args:
        ours: the model.
        scene: the images.
        precision: of convolutions and matrix products.
        compiled: as SOLVER.COMPILE inductor does it; the model that is given stays as it is.
    """
    if compiled:
        ours = Ours(model=copy.deepcopy(ours.model), cfg=ours.cfg)
        compile_losses(ours.model, "inductor")
    model = ours.model
    images = ours.inputs(scene)
    device = images[0].device
    target = _make_target(ours.cfg, scene)
    dtype = _DTYPES[precision]

    def step() -> int:
        model.train()
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            losses = model(images, [target] * scene.batch)
        torch.stack(list(losses.values())).sum().backward()
        model.zero_grad(set_to_none=True)
        return NUM_OBJECTS

    return step


def _make_target(cfg: Config, scene: Scene) -> BoxList:
    """The objects of a scene, with all that a model of the config trains on: masks and keypoints fill their boxes."""
    keys, size = cfg.MODEL, (scene.width, scene.height)
    part = keys.RETINANET if keys.RETINANET_ON else keys.ROI_BOX_HEAD
    boxes, labels = scene.boxes(num_classes=part.NUM_CLASSES)
    corners = [[[x1, y1, x2, y1, x2, y2, x1, y2]] for x1, y1, x2, y2 in boxes.tolist()]
    target = BoxList(boxes, size)
    target.add_field("labels", labels)
    target.add_field("masks", SegmentationMask(corners, size))
    if keys.KEYPOINT_ON:
        # From corner to corner, all visible.
        way = torch.linspace(0.1, 0.9, keys.ROI_KEYPOINT_HEAD.NUM_CLASSES)[None, :, None]
        places = torch.lerp(boxes[:, None, :2], boxes[:, None, 2:], way)
        visible = torch.full_like(places[..., :1], 2)
        target.add_field("keypoints", Keypoints(torch.cat((places, visible), dim=-1), size))
    return target


def make_torchvision(cfg: Config, scene: Scene, *, device: torch.device) -> tuple[nn.Module, Ours]:
    """The same kind of model by torchvision, and ours with its weights.

    Raises:
        ConfigError: if torchvision has no such model.
    """
    model, body = cfg.MODEL, cfg.MODEL.BACKBONE.CONV_BODY
    makers = torchvision.models.detection
    if (
        model.RPN_ONLY
        or model.CASCADE_ON
        or model.RETINANET_ON
        or model.KEYPOINT_ON
        or body != "R-50-FPN"
    ):
        raise ConfigError(
            f"--against torchvision: it has Faster and Mask R-CNN on R-50-FPN, the config is {body}. "
            "Take e2e_mask_rcnn_R_50_FPN_1x or e2e_faster_rcnn_R_50_FPN_1x."
        )
    make = makers.maskrcnn_resnet50_fpn if model.MASK_ON else makers.fasterrcnn_resnet50_fpn
    torch.manual_seed(scene.seed)
    theirs: nn.Module = make(
        weights=None,
        weights_backbone=None,
        num_classes=model.ROI_BOX_HEAD.NUM_CLASSES,
        box_score_thresh=0.0,
        min_size=min(scene.height, scene.width),
        max_size=max(scene.height, scene.width),
        norm_layer=torchvision.ops.FrozenBatchNorm2d,
    )
    # torchvision freezes early stages only where it loads weights; ours does by default.
    for name, parameter in theirs.backbone.body.named_parameters():  # type: ignore[union-attr]
        if not name.startswith(("layer2", "layer3", "layer4")):
            parameter.requires_grad = False
    converted = dialect.convert(theirs.state_dict())
    own = open_config(cfg)
    for key, value in converted.settings:
        section, leaf = own.locate(key)
        section.assign(leaf, value, origin="torchvision")
    own.merge_from_list(["MODEL.ROI_HEADS.SCORE_THRESH", 0.0])
    ours = build_model(own)
    load_state_dict(ours, converted.weights)
    return theirs.to(device), Ours(model=ours.to(device), cfg=own)


def torchvision_inference(model: nn.Module, scene: Scene) -> Step:
    """One batch up to the 28 x 28 masks, as ours: without pasting them into the image."""
    device = next(model.parameters()).device
    images = [image.to(device) for image in scene.images()]
    parts: Any = model

    def step() -> int:
        parts.eval()
        with torch.inference_mode():
            batch, _ = parts.transform(images)
            features = parts.backbone(batch.tensors)
            proposals, _ = parts.rpn(batch, features)
            detections, _ = parts.roi_heads(features, proposals, batch.image_sizes)
            return sum(len(each["boxes"]) for each in detections)

    return step


def torchvision_training(model: nn.Module, scene: Scene) -> Step:
    """One batch through forward, losses and backward."""
    device = next(model.parameters()).device
    images = [image.to(device) for image in scene.images()]
    parts: Any = model
    boxes, labels = scene.boxes(num_classes=parts.roi_heads.box_predictor.cls_score.out_features)
    masks = torch.zeros(NUM_OBJECTS, scene.height, scene.width, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.long().tolist(), strict=True):
        mask[y1:y2, x1:x2] = 1
    target = {"boxes": boxes.to(device), "labels": labels.to(device), "masks": masks.to(device)}

    def step() -> int:
        model.train()
        losses = model(images, [target] * scene.batch)
        torch.stack(list(losses.values())).sum().backward()
        model.zero_grad(set_to_none=True)
        return NUM_OBJECTS

    return step


def onnxruntime_inference(ours: Ours, scene: Scene) -> Step:
    """One batch in ONNX Runtime, exported for the purpose."""
    from maskrcnn_benchmark.export.graph import DetectionGraph
    from maskrcnn_benchmark.export.onnx_export import export_onnx
    from maskrcnn_benchmark.modeling.detector.onnx_detector import OnnxDetector

    model = ours.model
    batch = model.to_batch(to_image_list(ours.inputs(scene)))
    sizes = torch.tensor(batch.image_sizes, dtype=torch.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        graph = DetectionGraph(copy.deepcopy(model).cpu().eval())
        export_onnx(graph, path, channels=ours.cfg.INPUT.CHANNELS)
        session = OnnxDetector(path, threads=torch.get_num_threads())
    return partial(_count, session, batch.tensors.cpu().contiguous(), sizes)


def _count(session: Any, images: Tensor, sizes: Tensor) -> int:
    return int(session.detect(images, sizes).valid.sum())
