"""Thin models of every architecture that is exported, with weights that tell places and classes apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.config import get_defaults
from maskrcnn_benchmark.modeling.detector.detector import Detector
from maskrcnn_benchmark.structures.padded import PaddedDetections, Proposals
from tests.thin_cascade import thin_cascade
from tests.thin_models import make_images, thin_detector
from tests.thin_retinanet import thin_retinanet

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
THIN: dict[str, Any] = {
    "MODEL.RESNETS.WIDTH_PER_GROUP": 8,
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 8,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 16,
    "MODEL.RESNETS.BACKBONE_OUT_CHANNELS": 16,
    "MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM": 32,
    "MODEL.ROI_BOX_HEAD.NUM_CLASSES": 4,
    "MODEL.ROI_MASK_HEAD.CONV_LAYERS": (16, 16),
    "MODEL.GROUP_NORM.NUM_GROUPS": 4,
    "MODEL.FBNET.SCALE_FACTOR": 0.25,
    "MODEL.RPN.PRE_NMS_TOP_N_TEST": 100,
    "MODEL.RPN.POST_NMS_TOP_N_TEST": 40,
    "MODEL.RPN.FPN_POST_NMS_TOP_N_TEST": 40,
    "MODEL.ROI_HEADS.DETECTIONS_PER_IMG": 20,
}


def from_config(file: str, **keys: Any) -> Detector:
    """A model of a shipped config, thin; `keys` with __ for the dots."""
    cfg = get_defaults()
    cfg.merge_from_file(CONFIGS / file)
    values = THIN | {f"MODEL.{key.replace('__', '.')}": value for key, value in keys.items()}
    cfg.merge_from_list([word for pair in values.items() for word in pair])
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    normalise_batch_norms(model)
    spread(model)
    return model


# The eight of the issue, then others.
ARCHITECTURES: dict[str, Callable[[], Detector]] = {
    "Faster R-CNN": lambda: thin_detector(with_masks=False),
    "Mask R-CNN": thin_detector,
    "Keypoint R-CNN": lambda: thin_detector(with_masks=False, with_keypoints=True),
    "Cascade Mask R-CNN": thin_cascade,
    "RetinaNet": thin_retinanet,
    "Mask R-CNN C4": lambda: thin_detector(kind="C4"),
    "Mask R-CNN GN": lambda: from_config("gn_baselines/e2e_mask_rcnn_R_50_FPN_1x_gn.yaml"),
    "Mask R-CNN FBNet": lambda: from_config("e2e_mask_rcnn_fbnet.yaml"),
}
OTHERS: dict[str, Callable[[], Detector]] = {
    "RPN": lambda: thin_detector(with_heads=False),
    "deformable": lambda: from_config("dcn/e2e_faster_rcnn_mdconv_R_50_FPN_1x.yaml"),
    "RoIPool": lambda: from_config(
        "e2e_faster_rcnn_R_50_FPN_1x.yaml", ROI_BOX_HEAD__POOLER_TYPE="ROIPool"
    ),
    "torchvision backbone": lambda: from_config(
        "e2e_faster_rcnn_R_50_FPN_1x.yaml", BACKBONE__CONV_BODY="torchvision/mobilenet_v3_small-FPN"
    ),
    # The profiles that differ most from the old project's: which boxes are dropped, clipped, ranked and counted how.
    "numerics of detectron2": lambda: from_config(
        "e2e_keypoint_rcnn_R_50_FPN_1x.yaml",
        NUMERICS="detectron2",
        ROI_BOX_HEAD__NUM_CLASSES=2,
        ROI_KEYPOINT_HEAD__CONV_LAYERS=(16, 16),
    ),
    "numerics of torchvision": lambda: from_config(
        "e2e_mask_rcnn_R_50_FPN_1x.yaml", NUMERICS="torchvision"
    ),
    "RetinaNet of detectron2": lambda: thin_retinanet(
        style="exact",
        inference={
            "box_offset": 0.0,
            "clip": "after_nms",
            "drop_empty": True,
            "nms_inclusive": False,
        },
    ),
    "timm backbone": lambda: from_config(
        "e2e_mask_rcnn_R_50_FPN_1x.yaml", BACKBONE__CONV_BODY="timm/convnext_atto-FPN"
    ),
}


def normalise_batch_norms(model: nn.Module, *, contrast: float = 1.0) -> None:
    """Give batch norms of random weights the statistics of a picture: maps neither fade nor grow."""
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum, norm.training = 0.5, True
    if norms and isinstance(model, Detector):
        with torch.no_grad():
            for _ in range(3):
                model.backbone(contrast * picture_batch(2, 96, 128)[0])
    model.eval()


def spread(model: Detector, *, contrast: float = 1.0) -> None:
    """Scale the last layers so that scores and boxes differ from place to place."""
    heads: Any = model
    rpn = heads.rpn.head
    rpn = rpn if hasattr(rpn, "cls_logits") else rpn[1]  # FBNet's
    parts = [(rpn, "cls_logits", 2.0), (rpn, "bbox_pred", 0.2)]
    parts += [(heads.roi_heads.box.predictor, "cls_score", 1.5)]
    parts += [(heads.roi_heads.box.predictor, "bbox_pred", 0.5)]
    images, sizes = picture_batch(2, 128, 160)
    for part, name, deviation in parts:
        layer, seen = part.get_submodule(name), list[Tensor]()
        hook = layer.register_forward_hook(lambda m, i, out, seen=seen: seen.append(out))
        with torch.no_grad():
            model.detect(contrast * images, sizes)
            hook.remove()
            # All levels of a pyramid.
            outputs = torch.cat([each.movedim(1, -1).flatten(0, -2) for each in seen])
            scale = deviation / outputs.std(dim=0).clamp(min=1e-6)
            layer.bias.copy_((layer.bias - outputs.mean(dim=0)) * scale)
            layer.weight.mul_(scale.view(-1, *[1] * (layer.weight.dim() - 1)))


def picture_batch(count: int, height: int, width: int, *, seed: int = 1) -> tuple[Tensor, Tensor]:
    """A padded batch of smooth noise: images (B, 3, H, W), and sizes (B, 2) of which all but one are less."""
    images = torch.stack(make_images(*[(height, width)] * count, seed=seed))
    sizes = torch.tensor([[height - 5 * i, width - 9 * i] for i in range(count)]).float()
    y, x = torch.arange(height)[:, None], torch.arange(width)
    inside = (y < sizes[:, 0, None, None]) & (x < sizes[:, 1, None, None])
    return images * inside[:, None], sizes


def find_nothing_in_blank(model: Any) -> None:
    """Set the threshold so that a blank picture has no detection, and others have."""
    head = getattr(model, "roi_heads", None)
    processor = model.rpn.post_processor if head is None else head.box.post_processor
    processor.score_threshold = 0.0
    if hasattr(getattr(head, "box", None), "predictor"):
        _call_blank_background(model, head.box.predictor.cls_score)
    blank = detect(model, torch.zeros(1, 3, 128, 160), torch.tensor([[128.0, 160.0]]))
    processor.score_threshold = float(blank.scores.max()) + 0.01


def _call_blank_background(model: Detector, layer: nn.Linear) -> None:
    """Make background what is like the features of a blank picture, and unlike those of others."""
    seen: list[Tensor] = []
    hook = layer.register_forward_hook(lambda m, inputs, out: seen.append(inputs[0].mean(dim=0)))
    detect(model, torch.zeros(1, 3, 128, 160), torch.tensor([[128.0, 160.0]]))
    detect(model, *picture_batch(3, 128, 160))
    hook.remove()
    blank, picture = seen
    with torch.no_grad():
        way = (blank - picture) / (blank - picture).square().sum()
        layer.weight[0] = 6 * way
        layer.bias[0] = -6 * (way @ picture)


def detect(model: Detector, images: Tensor, sizes: Tensor) -> PaddedDetections | Proposals:
    with torch.inference_mode():
        return model.detect(images.contiguous(memory_format=torch.channels_last), sizes)
