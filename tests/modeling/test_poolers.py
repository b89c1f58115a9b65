"""Which rows are pooled, from which level, and where they go."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.ops import roi_align, roi_pool

from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.modeling.poolers import Pooler, PoolerKind, Rows

VALID = torch.tensor([[True, False, True], [False, False, True]])


def test_rows_eagerly_are_the_real_ones() -> None:
    rows = Rows.of(VALID)
    values = torch.arange(12.0).view(2, 3, 2)
    assert rows.take(values).tolist() == [[0.0, 1.0], [4.0, 5.0], [10.0, 11.0]]
    assert rows.valid.all()
    back = rows.put(rows.take(values), (2, 3))
    assert torch.equal(back, values * VALID[..., None])


def test_all_rows_where_all_are_real_or_shapes_are_fixed() -> None:
    full = torch.ones(2, 3, dtype=torch.bool)
    values = torch.arange(6.0).view(2, 3)
    for rows in (Rows.of(full), Rows(None, VALID.flatten())):
        assert rows.chosen is None
        assert torch.equal(rows.put(rows.take(values), (2, 3)), values)


def test_positions_find_the_row_of_each_slot() -> None:
    for rows in (Rows.of(VALID), Rows(None, VALID.flatten())):
        positions = rows.positions((2, 3))
        values = torch.randn(2, 3)
        assert torch.equal(rows.take(values)[positions[VALID]], values[VALID])
        assert (positions >= 0).all()
        assert (positions < len(rows.valid)).all()


def test_gradients_flow_through_rows() -> None:
    values = torch.randn(2, 3, requires_grad=True)
    rows = Rows.of(VALID)
    rows.put(rows.take(values), (2, 3)).sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad, VALID.float())


def test_each_box_is_pooled_from_its_level() -> None:
    features = [torch.randn(2, 3, 128 // s, 192 // s) for s in (4, 8, 16, 32, 64)]
    pooler = Pooler(output_size=4, scales=(1 / 4, 1 / 8, 1 / 16, 1 / 32), sampling_ratio=2)
    assert (pooler.min_level, pooler.max_level) == (2, 5)
    boxes = torch.tensor(
        [
            [[3.0, 4, 20, 30], [10.0, 20, 129, 131], [0.0, 0, 190, 127]],
            [[0.0, 0, 500, 500], [50.0, 60, 51, 60], [7.0, 8, 100, 120]],
        ]
    )
    levels = [[0, 1, 1], [3, 0, 0]]
    rows = Rows.of(torch.ones(2, 3, dtype=torch.bool))
    got = pooler(features, boxes, rows).unflatten(0, (2, 3))
    for image in range(2):
        for number in range(3):
            level = levels[image][number]
            roi = torch.cat((torch.tensor([float(image)]), boxes[image, number]))[None]
            expected = roi_align(features[level], roi, 4, 1 / (4 * 2**level), 2)
            torch.testing.assert_close(got[image, number], expected[0])


def test_rows_that_are_not_real_are_zero_and_cost_nothing_else() -> None:
    features = [torch.randn(2, 3, 8, 12)]
    pooler = Pooler(output_size=4, scales=(1 / 16,), sampling_ratio=0)
    boxes = torch.rand(2, 3, 2).repeat(1, 1, 2) * 50
    boxes[..., 2:] += 40
    padded = pooler(features, boxes, Rows(None, VALID.flatten()))
    compact = pooler(features, boxes, Rows.of(VALID))
    assert not padded.unflatten(0, (2, 3))[~VALID].any()
    torch.testing.assert_close(padded.unflatten(0, (2, 3))[VALID], compact)


@pytest.mark.parametrize(("kind", "name"), [("ROIAlign", "roi_align"), ("ROIPool", "roi_pool")])
def test_boxes_that_have_no_level_give_zeros(
    kind: PoolerKind, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Memory that nobody has written to may hold anything.
    layer = importlib.import_module(f"maskrcnn_benchmark.layers.{name}")
    empty = layer._empty_output

    def poisoned(*args: Any) -> Any:
        output = empty(*args)
        (output if isinstance(output, Tensor) else output[0]).fill_(torch.nan)
        return output

    monkeypatch.setattr(layer, "_empty_output", poisoned)
    features = [torch.randn(1, 3, 32, 48), torch.randn(1, 3, 16, 24)]
    # Corners the wrong way round, and of a model that has diverged: the logarithm of the area is not a number.
    boxes = torch.tensor([[[3.0, 4, 60, 70], [50.0, 4, 20, 70], [torch.nan, 4, 60, 70]]])
    pooler = Pooler(output_size=4, scales=(1 / 4, 1 / 8), sampling_ratio=2, kind=kind)
    got = pooler(features, boxes, Rows.of(torch.ones(1, 3, dtype=torch.bool)))
    assert got[0].any()
    assert not got[1:].any()


def test_boxes_get_no_gradient() -> None:
    features = [torch.randn(1, 3, 8, 12, requires_grad=True)]
    boxes = torch.tensor([[[3.0, 4.0, 60.0, 70.0]]], requires_grad=True)
    pooler = Pooler(output_size=4, scales=(1 / 16,), sampling_ratio=2)
    pooler(features, boxes, Rows.of(torch.ones(1, 1, dtype=torch.bool))).sum().backward()
    assert boxes.grad is None
    assert features[0].grad is not None
    # A mean per bin: 16 bins and one sample's weights each.
    torch.testing.assert_close(features[0].grad.sum(), torch.tensor(3 * 16.0))


def test_roi_pool_takes_the_largest_cell_of_its_level() -> None:
    features = [torch.randn(2, 3, 128 // s, 192 // s) for s in (4, 8, 16, 32)]
    pooler = Pooler(
        output_size=4, scales=(1 / 4, 1 / 8, 1 / 16, 1 / 32), sampling_ratio=2, kind="ROIPool"
    )
    boxes = torch.tensor([[[3.0, 4, 20, 30], [10.0, 20, 129, 131], [0.0, 0, 190, 127]]])
    boxes = boxes.repeat(2, 1, 1)
    padded = pooler(features, boxes, Rows(None, VALID.flatten())).unflatten(0, (2, 3))
    assert not padded[~VALID].any()
    for image, number in VALID.nonzero().tolist():
        level = [0, 1, 1][number]
        roi = torch.cat((torch.tensor([float(image)]), boxes[image, number]))[None]
        expected = roi_pool(features[level], roi, 4, 1 / (4 * 2**level))
        assert torch.equal(padded[image, number], expected[0])
    assert torch.equal(pooler(features, boxes, Rows.of(VALID)), padded[VALID])


def test_kinds_are_named() -> None:
    with pytest.raises(ConfigError, match="expected ROIAlign or ROIPool, got 'RoIAlignV2'"):
        Pooler(output_size=4, scales=(1 / 4,), sampling_ratio=2, kind="RoIAlignV2")  # type: ignore[arg-type]


def test_the_guard_between_levels() -> None:
    # 112 x 112 is the border between the levels of stride 4 and 8; without the guard its logarithm falls short.
    features = [torch.zeros(1, 1, 64, 64), torch.ones(1, 1, 32, 32)]
    side = 112 * (1 - 1e-7)
    boxes = torch.tensor([[[0.0, 0, side, side]]], dtype=torch.float64).float()
    rows = Rows.of(torch.ones(1, 1, dtype=torch.bool))
    level = {}
    for eps in (1e-3, -1e-3):
        pooler = Pooler(
            output_size=2,
            scales=(1 / 4, 1 / 8),
            sampling_ratio=2,
            box_offset=0.0,
            level_eps=eps,
        )
        level[eps] = int(pooler(features, boxes, rows)[0, 0, 0, 0])
    assert level == {1e-3: 1, -1e-3: 0}


def test_padding_among_rows() -> None:
    assert Rows.of(VALID).padded is None
    assert Rows(None, torch.ones(4, dtype=torch.bool)).padded is None
    padded = Rows(None, VALID.flatten()).padded
    assert padded is not None
    assert torch.equal(padded, VALID.flatten())
