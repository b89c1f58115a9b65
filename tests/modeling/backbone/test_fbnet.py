"""FBNet as a body."""

from __future__ import annotations

import pytest
import torch

from maskrcnn_benchmark.modeling.backbone.fbnet import FBNet
from maskrcnn_benchmark.modeling.backbone.fbnet_archs import FBNET_TABLES, get_arch
from maskrcnn_benchmark.modeling.backbone.fbnet_blocks import FBNetStyle

THIN = FBNetStyle(scale=0.25, divisor=8)


@pytest.mark.parametrize("name", FBNET_TABLES)
def test_every_table_gives_one_map_of_stride_16(name: str) -> None:
    body = FBNet(arch=get_arch(name), style=THIN, in_channels=4)
    assert body.stride == 16
    (feature,) = body(torch.randn(2, 4, 64, 96))
    assert feature.shape == (2, body.out_channels, 4, 6)
    feature.sum().backward()
    assert all(p.grad is not None for p in body.parameters())


def test_names_and_full_widths() -> None:
    with torch.device("meta"):
        body = FBNet(arch=get_arch("default"))
    assert body.out_channels == 96
    shapes = {name: tuple(p.shape) for name, p in body.named_parameters()}
    assert shapes["first.conv.weight"] == (32, 3, 3, 3)
    assert shapes["stages.xif3_6.pwl.conv.weight"] == (96, 576, 1, 1)
    # Of the 3.4 million of MobileNetV2 without its last stage and classifier.
    assert sum(p.numel() for p in body.parameters()) == pytest.approx(0.55e6, rel=0.05)


def test_one_graph() -> None:
    torch.compiler.reset()
    body = FBNet(arch=get_arch("default"), style=THIN).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        got = torch.compile(body, fullgraph=True, backend="aot_eager")(images)
        torch.testing.assert_close(got, body(images), rtol=1e-4, atol=1e-4)
    torch.compiler.reset()
