"""Detections against the rule written out class by class, in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from maskrcnn_benchmark.layers.boxes import clip_boxes
from maskrcnn_benchmark.layers.soft_nms import NmsName, soft_nms_padded
from maskrcnn_benchmark.modeling.roi_heads.box_head.inference import BoxPostProcessor

WEIGHTS = (10.0, 10.0, 5.0, 5.0)
SIZES = torch.tensor([[80.0, 120.0], [100.0, 90.0]])
CLASSES = 4


def random_head(count: int = 40, *, agnostic: bool = False) -> tuple[Tensor, ...]:
    """Proposals in clusters, so that some suppress others; their validity, logits and deltas."""
    corner = torch.randint(0, 5, (2, count, 2)) * 15.0 + torch.randn(2, count, 2) * 2
    proposals = torch.cat((corner, corner + 20 + torch.rand(2, count, 2) * 20), dim=2).clamp(min=0)
    valid = torch.rand(2, count) < 0.85
    logits = torch.randn(2, count, CLASSES) * 2
    deltas = torch.randn(2, count, 8 if agnostic else 4 * CLASSES)
    return proposals, valid, logits, deltas


def decode(box: list[float], delta: list[float], limit: list[float]) -> list[float]:
    width, height = box[2] - box[0] + 1, box[3] - box[1] + 1
    dx, dy, dw, dh = (d / w for d, w in zip(delta, WEIGHTS, strict=True))
    x, y = box[0] + width / 2 + dx * width, box[1] + height / 2 + dy * height
    width *= math.exp(min(dw, math.log(1000 / 16)))
    height *= math.exp(min(dh, math.log(1000 / 16)))
    corners = [x - width / 2, y - height / 2, x + width / 2 - 1, y + height / 2 - 1]
    return [min(max(c, 0.0), m) for c, m in zip(corners, limit * 2, strict=True)]


def iou(a: list[float], b: list[float]) -> float:
    width = max(min(a[2], b[2]) - max(a[0], b[0]) + 1, 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]) + 1, 0)
    area = sum((c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b))
    return width * height / (area - width * height)


def naive_detections(
    image: int, inputs: tuple[Tensor, ...], *, agnostic: bool, most: int, threshold: float
) -> list[tuple[float, int, list[float]]]:
    """(score, label, box), best first."""
    proposals, valid, logits, deltas = (tensor[image].double() for tensor in inputs)
    height, width = SIZES[image].tolist()
    scores = logits.softmax(dim=1)
    detections: list[tuple[float, int, list[float]]] = []
    for label in range(1, CLASSES):
        columns = slice(4, 8) if agnostic else slice(4 * label, 4 * label + 4)
        candidates = [
            (
                scores[row, label].item(),
                label,
                decode(
                    proposals[row].tolist(), deltas[row, columns].tolist(), [width - 1, height - 1]
                ),
            )
            for row in range(len(proposals))
            if valid[row] and scores[row, label] > threshold
        ]
        candidates.sort(key=lambda c: -c[0])
        kept: list[tuple[float, int, list[float]]] = []
        for candidate in candidates:
            if all(iou(candidate[2], other[2]) < 0.5 for other in kept):
                kept.append(candidate)
        detections += kept
    detections.sort(key=lambda c: -c[0])
    return detections[:most] if most > 0 else detections


@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize("most", [7, 200, 0])
def test_detections_equal_the_plain_rule(agnostic: bool, most: int) -> None:
    inputs = random_head(agnostic=agnostic)
    post_processor = BoxPostProcessor(class_agnostic=agnostic, max_detections=most)
    got = post_processor(*inputs, SIZES)
    assert got.boxes.shape == (2, most or 120, 4)
    assert got.masks is None
    for image in range(2):
        expected = naive_detections(image, inputs, agnostic=agnostic, most=most, threshold=0.05)
        assert len(expected) > 6
        real = got.valid[image]
        assert real.sum() == len(expected)
        assert real[: len(expected)].all()
        assert got.labels[image, real].tolist() == [label for _, label, _ in expected]
        scores = torch.tensor([score for score, _, _ in expected])
        torch.testing.assert_close(got.scores[image, real], scores)
        boxes = torch.tensor([box for _, _, box in expected])
        torch.testing.assert_close(got.boxes[image, real], boxes, rtol=1e-4, atol=1e-3)
        assert not got.labels[image, ~real].any()
        assert not got.scores[image, ~real].any()


def test_the_score_threshold_is_exclusive() -> None:
    proposals = torch.tensor([[[0.0, 0.0, 20.0, 20.0]]])
    logits = torch.zeros(1, 1, 4)  # 0.25 each
    deltas = torch.zeros(1, 1, 16)
    valid = torch.ones(1, 1, dtype=torch.bool)
    for threshold, found in ((0.25, 0), (0.2499, 3)):
        got = BoxPostProcessor(score_threshold=threshold)(
            proposals, valid, logits, deltas, SIZES[:1]
        )
        assert got.valid.sum() == found


def test_equal_scores_do_not_exceed_the_limit() -> None:
    # The old project kept all that tie with the last one; a fixed number of rows cannot.
    corner = torch.arange(10.0)[:, None].repeat(1, 2) * 8
    proposals = torch.cat((corner, corner + 5), dim=1)[None]
    logits = torch.tensor([0.0, 2.0]).expand(1, 10, 2)
    got = BoxPostProcessor(max_detections=4)(
        proposals,
        torch.ones(1, 10, dtype=torch.bool),
        logits,
        torch.zeros(1, 10, 8),
        torch.tensor([[100.0, 100.0]]),
    )
    assert got.valid.tolist() == [[True] * 4]
    # Ties keep the order of the proposals.
    torch.testing.assert_close(got.boxes, proposals[:, :4])


def test_nothing_found() -> None:
    proposals, valid, logits, deltas = random_head()
    got = BoxPostProcessor()(proposals, torch.zeros_like(valid), logits, deltas, SIZES)
    assert not got.valid.any()
    assert got.boxes.shape == (2, 100, 4)


@pytest.mark.parametrize("method", ["soft_linear", "soft_gaussian"])
def test_soft_suppression(method: NmsName) -> None:
    proposals, valid, logits, deltas = random_head()
    processor = BoxPostProcessor(nms=method, soft_nms_sigma=0.4, max_detections=25)
    found = processor(proposals, valid, logits, deltas, SIZES)
    # Every candidate through the operator itself.
    boxes = clip_boxes(processor.decode(proposals, deltas, CLASSES), SIZES)
    scores = logits.softmax(dim=2)[..., 1:].flatten(1)
    labels = torch.arange(1, CLASSES).repeat(scores.shape[1] // (CLASSES - 1)).expand(2, -1)
    index, lowered, kept = soft_nms_padded(
        boxes,
        scores,
        groups=labels,
        valid=valid.repeat_interleave(CLASSES - 1, dim=1),
        method=method,
        iou_threshold=0.5,
        sigma=0.4,
        score_threshold=0.05,
        max_output=25,
    )
    assert kept.sum() > 20
    assert torch.equal(found.valid, kept)
    assert torch.equal(found.scores, lowered)
    assert torch.equal(found.labels, torch.where(kept, labels.gather(1, index), 0))
    assert (found.scores[kept] > 0.05).all()
    assert (lowered < scores.gather(1, index))[kept].any()
    torch.testing.assert_close(found.boxes[0, 0], boxes[0, index[0, 0]])


def line_and_box() -> tuple[Tensor, ...]:
    """A proposal beyond the right edge, surer than one inside; class 1 of 2, no deltas."""
    proposals = torch.tensor([[[130.0, 10, 150, 30], [20.0, 20, 60, 60]]])
    logits = torch.tensor([[[0.0, 3.0], [0.0, 2.0]]])
    return proposals, torch.ones(1, 2, dtype=torch.bool), logits, torch.zeros(1, 2, 8)


def test_boxes_without_extent_count_and_are_dropped() -> None:
    inputs = (*line_and_box(), SIZES[:1])
    keeping = BoxPostProcessor(box_offset=0.0, max_detections=1)
    dropping = BoxPostProcessor(box_offset=0.0, max_detections=1, drop_empty=True)
    assert keeping(*inputs).valid.tolist() == [[True]]
    found = dropping(*inputs)
    assert found.valid.tolist() == [[False]]
    assert not found.scores.any()
    assert not found.labels.any()
    dropping.max_detections = 2
    assert dropping(*inputs).valid.tolist() == [[False, True]]


def test_small_boxes_make_room_for_others() -> None:
    inputs = (*line_and_box(), SIZES[:1])
    found = BoxPostProcessor(box_offset=0.0, max_detections=1, min_size=0.01)(*inputs)
    assert found.valid.tolist() == [[True]]
    torch.testing.assert_close(found.boxes[0, 0], torch.tensor([20.0, 20, 60, 60]))


def test_from_probabilities() -> None:
    proposals, valid, logits, deltas = random_head()
    processor = BoxPostProcessor()
    expected = processor(proposals, valid, logits, deltas, SIZES)
    got = processor.select(proposals, valid, logits.softmax(dim=2), deltas, SIZES)
    assert all(torch.equal(a, b) for a, b in zip(got[:4], expected[:4], strict=True))


def test_soft_suppression_is_one_graph() -> None:
    inputs = (*random_head(), SIZES)
    processor = BoxPostProcessor(nms="soft_linear", max_detections=25)
    torch.compiler.reset()
    got = torch.compile(processor.__call__, fullgraph=True, backend="aot_eager")(*inputs)
    torch.compiler.reset()
    expected = processor(*inputs)
    assert torch.equal(got.valid, expected.valid)
    torch.testing.assert_close(got.scores, expected.scores)
