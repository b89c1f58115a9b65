"""The box head's parts with their old signatures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from maskrcnn_benchmark.build.box_head import build_box_extractor, build_box_predictor
from maskrcnn_benchmark.build.parts import build_pooler
from maskrcnn_benchmark.build.registered import BoxListExtractor, Translator, put_before
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.modeling.box_coder import BoxCoder
from maskrcnn_benchmark.modeling.poolers import Pooler, Rows, on_boxlists
from maskrcnn_benchmark.modeling.roi_heads.box_head.post_processor import PostProcessor
from maskrcnn_benchmark.numerics import get_numerics


def make_pooler(cfg: Config, head_name: str) -> Pooler:
    """The pooler that a section such as "ROI_BOX_HEAD" of MODEL describes."""
    return build_pooler(cfg.MODEL[head_name], get_numerics(cfg.MODEL.NUMERICS))


def make_roi_box_feature_extractor(cfg: Config, in_channels: int) -> nn.Module:
    """The extractor that MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR names; it takes (maps, list of BoxList)."""
    pooler = build_pooler(cfg.MODEL.ROI_BOX_HEAD, get_numerics(cfg.MODEL.NUMERICS))
    return with_boxlists(build_box_extractor(cfg, pooler, in_channels))


def make_roi_box_predictor(cfg: Config, in_channels: int) -> nn.Module:
    """The predictor that MODEL.ROI_BOX_HEAD.PREDICTOR names."""
    return build_box_predictor(cfg, in_channels=in_channels)


def make_roi_box_post_processor(cfg: Config) -> PostProcessor:
    """The post-processor with the numbers of MODEL.ROI_HEADS."""
    heads = cfg.MODEL.ROI_HEADS
    return PostProcessor(
        score_thresh=heads.SCORE_THRESH,
        nms=heads.NMS,
        detections_per_img=heads.DETECTIONS_PER_IMG,
        box_coder=BoxCoder(weights=heads.BBOX_REG_WEIGHTS),
        cls_agnostic_bbox_reg=cfg.MODEL.CLS_AGNOSTIC_BBOX_REG,
        bbox_aug_enabled=cfg.TEST.BBOX_AUG.ENABLED,
    )


def with_boxlists(extractor: nn.Module) -> nn.Module:
    """A feature extractor that takes BoxLists as well; one that a user registered does already."""
    if isinstance(extractor, BoxListExtractor):
        return extractor
    return put_before(extractor, PaddedExtractor)


class PaddedExtractor(Translator):
    """Translates the old call of a feature extractor into the core's."""

    def forward(self, features: Sequence[Tensor], boxes: Any, rows: Rows | None = None) -> Tensor:
        """Maps and one BoxList per image -> (n, ...); or the core's own call."""
        core: Callable[..., Tensor] = super().forward
        if rows is None:
            return on_boxlists(core, features, boxes)
        return core(features, boxes, rows)
