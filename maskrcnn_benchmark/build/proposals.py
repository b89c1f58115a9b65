"""Config -> region proposal network."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from maskrcnn_benchmark.build.backbones.fbnet import build_fbnet_rpn_head
from maskrcnn_benchmark.build.registered import find_registered, unknown_part
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.modeling import registry
from maskrcnn_benchmark.modeling.rpn.anchor_generator import AnchorGenerator
from maskrcnn_benchmark.modeling.rpn.loss import RPNLoss
from maskrcnn_benchmark.modeling.rpn.rpn import RPN, ProposalLimits, RPNHead
from maskrcnn_benchmark.numerics import Numerics


def build_rpn(
    cfg: Config, *, in_channels: int, numerics: Numerics, strides: Sequence[int] | None = None
) -> RPN:
    """Anchors, head, loss and limits of the proposal network.

    Args:
        cfg: the config.
        in_channels: of each map.
        numerics: conventions.
        strides: of the backbone's maps, to check the anchors against; None if they are not known.
    """
    rpn = cfg.MODEL.RPN
    if strides is not None and tuple(rpn.ANCHOR_STRIDE) != tuple(strides):
        raise ConfigError(
            f"MODEL.RPN.ANCHOR_STRIDE: {cfg.MODEL.BACKBONE.CONV_BODY} gives {len(strides)} maps with the strides "
            f"{tuple(strides)}, but the config says {tuple(rpn.ANCHOR_STRIDE)}. Use {tuple(strides)}."
        )
    anchors = AnchorGenerator(
        sizes=rpn.ANCHOR_SIZES,
        aspect_ratios=rpn.ASPECT_RATIOS,
        strides=rpn.ANCHOR_STRIDE,
        straddle_threshold=rpn.STRADDLE_THRESH,
        style=numerics.anchors,
    )
    return RPN(
        anchor_generator=anchors,
        head=build_rpn_head(
            cfg, in_channels=in_channels, num_anchors=anchors.num_anchors_per_cell[0]
        ),
        loss=build_rpn_loss(cfg, numerics),
        train_limits=build_limits(
            per_level=numerics.proposals_per_level,
            pre_nms=rpn.PRE_NMS_TOP_N_TRAIN,
            post_nms=rpn.POST_NMS_TOP_N_TRAIN,
            total=rpn.FPN_POST_NMS_TOP_N_TRAIN,
            per_batch=rpn.FPN_POST_NMS_PER_BATCH,
        ),
        test_limits=build_limits(
            per_level=numerics.proposals_per_level,
            pre_nms=rpn.PRE_NMS_TOP_N_TEST,
            post_nms=rpn.POST_NMS_TOP_N_TEST,
            total=rpn.FPN_POST_NMS_TOP_N_TEST,
            per_batch=False,
        ),
        nms_threshold=rpn.NMS_THRESH,
        nms_inclusive=numerics.nms_inclusive,
        min_size=max(rpn.MIN_SIZE, numerics.min_proposal_size),
        ranked_by=numerics.proposals_ranked_by,
        box_offset=numerics.box_offset,
    )


def build_rpn_loss(cfg: Config, numerics: Numerics) -> RPNLoss:
    """How the proposal network trains."""
    rpn = cfg.MODEL.RPN
    return RPNLoss(
        fg_iou_threshold=rpn.FG_IOU_THRESHOLD,
        bg_iou_threshold=rpn.BG_IOU_THRESHOLD,
        batch_size_per_image=rpn.BATCH_SIZE_PER_IMAGE,
        positive_fraction=rpn.POSITIVE_FRACTION,
        loss=rpn.LOSS_TYPE,
        beta=rpn.SMOOTH_L1_BETA,
        normalizer=numerics.rpn_normalizer,
        box_offset=numerics.box_offset,
    )


def build_limits(
    *, per_level: bool, pre_nms: int, post_nms: int, total: int, per_batch: bool
) -> ProposalLimits:
    """POST_NMS_TOP_N limits each level and FPN_POST_NMS_TOP_N the rest, or POST_NMS_TOP_N all of an image at once."""
    if per_level:
        return ProposalLimits(pre_nms=pre_nms, post_nms=post_nms, total=total, per_batch=per_batch)
    return ProposalLimits(pre_nms=pre_nms, post_nms=0, total=post_nms)


def build_rpn_head(cfg: Config, *, in_channels: int, num_anchors: int) -> nn.Module:
    """The head that MODEL.RPN.RPN_HEAD names."""
    name = cfg.MODEL.RPN.RPN_HEAD
    registered = find_registered(registry.RPN_HEADS, name)
    if registered is not None:
        head: nn.Module = registered(cfg, in_channels, num_anchors)
        return head
    if name == "SingleConvRPNHead":
        return RPNHead(
            in_channels=in_channels, num_anchors=num_anchors, num_convs=cfg.MODEL.RPN.NUM_CONVS
        )
    if name == "FBNet.rpn_head":
        return build_fbnet_rpn_head(cfg, in_channels=in_channels, num_anchors=num_anchors)
    raise unknown_part("MODEL.RPN.RPN_HEAD", name, registry.RPN_HEADS)
