"""Config -> proposal network: the numerics and the keys beyond the old project's arrive."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from maskrcnn_benchmark.build.proposals import build_rpn
from maskrcnn_benchmark.config import get_defaults
from maskrcnn_benchmark.modeling.rpn.rpn import ProposalLimits
from maskrcnn_benchmark.numerics import NON_EMPTY, get_numerics


def build(*overrides: Any, numerics: str = "detectron") -> Any:
    cfg = get_defaults()
    cfg.merge_from_list(list(overrides))
    with torch.device("meta"):
        return build_rpn(cfg, in_channels=8, numerics=get_numerics(numerics))


def test_the_old_projects() -> None:
    rpn = build()
    assert rpn.train_limits == ProposalLimits(
        pre_nms=12000, post_nms=2000, total=2000, per_batch=True
    )
    assert rpn.test_limits == ProposalLimits(pre_nms=6000, post_nms=1000, total=2000)
    assert (rpn.ranked_by, rpn.min_size, rpn.nms_inclusive) == ("probability", 0, True)
    assert (rpn.loss.loss, rpn.loss.normalizer) == ("smooth_l1", "sampled")
    assert rpn.loss.beta == pytest.approx(1 / 9)
    assert rpn.anchor_generator.style == "detectron"


def test_those_of_detectron2() -> None:
    rpn = build(numerics="detectron2")
    assert rpn.train_limits == ProposalLimits(pre_nms=12000, post_nms=0, total=2000)
    assert rpn.test_limits == ProposalLimits(pre_nms=6000, post_nms=0, total=1000)
    assert (rpn.ranked_by, rpn.min_size, rpn.nms_inclusive) == ("logit", NON_EMPTY, False)
    assert (rpn.loss.normalizer, rpn.loss.box_offset) == ("wanted", 0.0)
    assert rpn.anchor_generator.style == "exact"


def test_keys() -> None:
    rpn = build(
        "MODEL.RPN.LOSS_TYPE", "diou",
        "MODEL.RPN.SMOOTH_L1_BETA", 0.0,
        "MODEL.RPN.NUM_CONVS", 3,
        "MODEL.RPN.MIN_SIZE", 4,
        numerics="torchvision",
    )  # fmt: skip
    assert (rpn.loss.loss, rpn.loss.beta) == ("diou", 0.0)
    assert len(rpn.head.conv) == 3
    assert rpn.min_size == 4
