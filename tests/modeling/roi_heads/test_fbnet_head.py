"""Features of regions by the blocks of FBNet."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.modeling.backbone.fbnet_archs import get_arch
from maskrcnn_benchmark.modeling.backbone.fbnet_blocks import FBNetStyle
from maskrcnn_benchmark.modeling.poolers import Pooler, Rows
from maskrcnn_benchmark.modeling.roi_heads.fbnet_head import FBNetFeatureExtractor, select_blocks

THIN = FBNetStyle(scale=0.25, divisor=8)
BOXES = torch.tensor([[[3.0, 4.0, 60.0, 70.0], [10.0, 0.0, 30.0, 20.0]]])
ROWS = Rows.of(torch.ones(1, 2, dtype=torch.bool))
FEATURES = [torch.randn(1, 24, 6, 6)]


def extractor(arch: str, head: str, *, stride: int = 0, **options: float) -> FBNetFeatureExtractor:
    specs = select_blocks(get_arch(arch).blocks(head), stride=stride)
    return FBNetFeatureExtractor(
        pooler=Pooler(output_size=6, scales=(1 / 16,), sampling_ratio=0),
        in_channels=24,
        specs=specs,
        style=THIN,
        **options,  # type: ignore[arg-type]
    ).eval()


@pytest.mark.parametrize(
    ("arch", "head", "shape"),
    [
        ("default", "bbox", (2, 64, 3, 3)),
        ("default", "mask", (2, 24, 12, 12)),
        ("xirb16d_dsmask", "mask", (2, 16, 12, 12)),
        ("cham_v2", "bbox", (2, 32, 3, 3)),
        ("default", "kpts", (2, 24, 2, 2)),  # not in the table: all stages
    ],
)
def test_shapes_and_names(arch: str, head: str, shape: tuple[int, ...]) -> None:
    part = extractor(arch, head)
    got = part(FEATURES, BOXES, ROWS)
    assert got.shape == shape
    assert part.out_channels == shape[1]
    assert all(name.startswith("head.blocks.xif") for name in part.state_dict())


def test_the_stride_of_the_first_block() -> None:
    assert extractor("default", "bbox", stride=1)(FEATURES, BOXES, ROWS).shape == (2, 64, 6, 6)
    assert extractor("default", "mask", stride=2)(FEATURES, BOXES, ROWS).shape == (2, 24, 6, 6)


def test_some_of_the_blocks() -> None:
    specs = get_arch("default").blocks("bbox")
    assert select_blocks(specs) == specs
    chosen = select_blocks(specs, indices=(0, 3), stride=1)
    assert [spec.name for spec in chosen] == ["xif4_0", "xif4_3"]
    assert [spec.stride for spec in chosen] == [1, 1]
    assert specs[0].stride == 2
    with pytest.raises(ConfigError, match=r"4 blocks, from 0; got \[4\]"):
        select_blocks(specs, indices=(1, 4))


@pytest.mark.parametrize(
    ("channels", "scale", "width"),
    [
        (0, 0.0, 64),
        (0, 1.0, 64),
        (0, -1.0, 64),
        (0, -0.5, 32),
        (40, 0.0, 64),
        (40, 1.0, 40),
        (40, 0.5, 24),
    ],
)
def test_the_last_convolution(channels: int, scale: float, width: int) -> None:
    part = extractor("default", "bbox", last_channels=channels, last_scale=scale)
    assert part.out_channels == width
    has_last = scale < 0 or (channels > 0 and scale > 0)
    assert ("head.last.conv.weight" in part.state_dict()) == has_last
    assert part(FEATURES, BOXES, ROWS).shape == (2, width, 3, 3)


def test_no_regions() -> None:
    none = Rows.of(torch.zeros(1, 2, dtype=torch.bool))
    assert extractor("default", "mask")(FEATURES, BOXES, none).shape == (0, 24, 12, 12)


@pytest.mark.parametrize("head", ["bbox", "mask"])
def test_padding_rows_do_not_train_batch_norms(head: str) -> None:
    boxes = torch.rand(1, 6, 2).repeat(1, 1, 2) * 40
    boxes[..., 2:] += 30
    valid = torch.tensor([[True, True, False, True, False, False]])
    results: list[tuple[Tensor, tuple[Tensor, ...], dict[str, Tensor]]] = []
    for rows in (Rows.of(valid), Rows(None, valid.flatten())):
        torch.manual_seed(0)
        part = extractor("default", head).train()
        x = part(FEATURES, boxes, rows)[rows.valid]
        gradients = torch.autograd.grad(x.square().sum(), list(part.parameters()))
        results.append((x, gradients, dict(part.named_buffers())))
    (compact, expected, buffers), (padded, got, padded_buffers) = results
    torch.testing.assert_close(padded, compact, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(padded_buffers, buffers, rtol=1e-3, atol=1e-5)
    for ours, theirs in zip(got, expected, strict=True):
        # What a norm takes away again has no gradient but rounding.
        assert (ours - theirs).norm() <= 0.01 * theirs.norm() + 5e-3
