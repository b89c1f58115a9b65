"""Body and neck in a row."""

from __future__ import annotations

import pytest
import torch

from tests.thin_models import thin_backbone


def test_names_channels_and_strides() -> None:
    backbone = thin_backbone("FPN")
    assert [name for name, _ in backbone.named_children()] == ["body", "fpn"]
    assert backbone.out_channels == 16
    assert backbone.strides == (4, 8, 16, 32, 64)
    assert [name for name, _ in thin_backbone("C4").named_children()] == ["body"]


@pytest.mark.parametrize("kind", ["FPN", "C4"])
@pytest.mark.parametrize("size", [(128, 192), (65, 97)])
def test_maps_have_the_declared_channels_and_strides(kind: str, size: tuple[int, int]) -> None:
    backbone = thin_backbone(kind)  # type: ignore[arg-type]
    maps = backbone(torch.randn(1, 3, *size))
    assert len(maps) == len(backbone.strides)
    for feature, stride in zip(maps, backbone.strides, strict=True):
        expected = [-(-side // stride) for side in size]
        assert tuple(feature.shape) == (1, backbone.out_channels, *expected)
