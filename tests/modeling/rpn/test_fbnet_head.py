"""The proposal head of FBNet: names, shapes, and blocks that anchors could not follow."""

from __future__ import annotations

import pytest
import torch

from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.modeling.backbone.fbnet_archs import get_arch
from maskrcnn_benchmark.modeling.backbone.fbnet_blocks import FBNetStyle
from maskrcnn_benchmark.modeling.rpn.fbnet_head import FBNetRPNHead

THIN = FBNetStyle(scale=0.25, divisor=8)


def test_maps_of_any_size_share_the_head() -> None:
    specs = get_arch("default").blocks("rpn")
    head = FBNetRPNHead(in_channels=24, num_anchors=15, specs=specs, style=THIN).eval()
    maps = [torch.randn(2, 24, 6, 5), torch.randn(2, 24, 3, 3)]
    objectness, deltas = head(maps)
    assert [tuple(o.shape) for o in objectness] == [(2, 15, 6, 5), (2, 15, 3, 3)]
    assert [tuple(d.shape) for d in deltas] == [(2, 60, 6, 5), (2, 60, 3, 3)]
    names = set(head.state_dict())
    assert {"0.head.xif5_2.pwl.bn.bias", "1.cls_logits.weight", "1.bbox_pred.bias"} < names
    for name in ("1.cls_logits", "1.bbox_pred"):
        assert head.get_parameter(f"{name}.weight").std().item() == pytest.approx(0.01, rel=0.15)
        assert not head.get_parameter(f"{name}.bias").any()


def test_blocks_that_change_the_size_are_refused() -> None:
    # mobilenet_v2 has no blocks for proposals, so that all of its stages are used.
    specs = get_arch("mobilenet_v2").blocks("rpn")
    with pytest.raises(ConfigError, match=r"xif1_0.*RPN_HEAD_BLOCKS"):
        FBNetRPNHead(in_channels=96, num_anchors=15, specs=specs)
    FBNetRPNHead(in_channels=24, num_anchors=15, specs=specs[-3:], style=THIN)
