"""Body and neck in a row."""

from __future__ import annotations

import weakref

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


def test_maps_of_the_body_are_freed_while_the_pyramid_is_made() -> None:
    backbone = thin_backbone("FPN")
    maps: list[weakref.ref[torch.Tensor]] = []
    alive: list[int] = []
    backbone.body.register_forward_hook(
        lambda _m, _i, outputs: maps.extend(weakref.ref(each) for each in outputs)
    )
    for level in range(1, 5):
        backbone.fpn.get_submodule(f"fpn_layer{level}").register_forward_hook(
            lambda _m, _i, _o: alive.append(sum(each() is not None for each in maps))
        )
    with torch.inference_mode():
        backbone(torch.randn(1, 3, 64, 64))
    # The coarsest one is for the top block.
    assert alive == [4, 3, 2, 1]
    # Gradients need them.
    maps.clear()
    alive.clear()
    backbone(torch.randn(1, 3, 64, 64))
    assert alive == [4, 4, 4, 4]


def test_a_list_of_ones_own_is_left_alone() -> None:
    backbone = thin_backbone("FPN")
    with torch.inference_mode():
        maps = backbone.body(torch.randn(1, 3, 64, 64))
        expected = backbone.fpn(tuple(maps))
        again = backbone.fpn(maps)
    assert len(maps) == 4
    assert all(torch.equal(*pair) for pair in zip(expected, again, strict=True))
