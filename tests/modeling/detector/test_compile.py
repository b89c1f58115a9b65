"""The padded core as one graph: compiled without a break it gives the numbers of eager mode.

With the backend that runs the traced graph as it is: generating and compiling C++ takes minutes for a whole detector,
and is torch's own affair.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch._dynamo.utils import counters

from maskrcnn_benchmark.structures.padded import PaddedDetections, PaddedTargets, Proposals
from tests.thin_models import Kind, make_images, make_target, thin_detector
from tests.thin_retinanet import thin_retinanet

SIZES = torch.tensor([[90.0, 120.0], [96.0, 128.0]])


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def make_batch() -> torch.Tensor:
    images = torch.stack(make_images((96, 128), (96, 128)))
    return images.contiguous(memory_format=torch.channels_last)


def assert_same(got: PaddedDetections | Proposals, expected: PaddedDetections | Proposals) -> None:
    assert expected.valid.any()
    assert torch.equal(got.valid, expected.valid)
    for name, value in expected._asdict().items():
        if value is None:
            assert getattr(got, name) is None
            continue
        torch.testing.assert_close(
            getattr(got, name)[got.valid], value[expected.valid], rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("kind", ["FPN", "C4"])
def test_detecting_is_one_graph(kind: Kind) -> None:
    model, images = thin_detector(kind=kind, with_keypoints=True), make_batch()
    with torch.no_grad():
        expected = model.detect(images, SIZES)
        compiled = torch.compile(model.detect, fullgraph=True, backend="aot_eager")
        got = compiled(images, SIZES)
    assert isinstance(expected, PaddedDetections)
    assert expected.masks is not None
    assert expected.keypoints is not None
    assert expected.valid.sum() > 20
    assert_same(got, expected)


@pytest.mark.parametrize("dynamic", [False, True])
def test_every_size_is_compiled_once(dynamic: bool) -> None:
    model = thin_detector().eval()
    compiled = torch.compile(model.detect, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    counters.clear()
    with torch.no_grad():
        # Two shapes, each with images of several sizes inside: the bucket counts, not what is in it.
        for height, width in ((96, 128), (96, 160), (96, 128), (96, 160)):
            images = torch.randn(2, 3, height, width).contiguous(memory_format=torch.channels_last)
            for shorter in (0.0, 5.0):
                found = compiled(images, torch.tensor([[height - shorter, width], [height, width]]))
                assert found.valid.any()
    assert counters["graph_break"] == {}
    assert counters["stats"]["unique_graphs"] == (1 if dynamic else 2)


def test_training_is_compiled_a_few_times_for_any_targets() -> None:
    model, images = thin_detector().train(), make_batch()
    compiled = torch.compile(model.compute_losses, fullgraph=True, backend="aot_eager")
    counters.clear()
    graphs = []
    # Outlines of masks are of any length, so the second batch makes their lengths symbols.
    for counts in ((3, 1), (2, 3), (4, 0), (2, 2), (5, 3), (7, 6)):
        targets = PaddedTargets.from_boxlists(
            [make_target(90, 120, count=counts[0]), make_target(96, 128, count=counts[1])],
            with_masks=True,
        )
        sum(compiled(images, SIZES, targets).values()).backward()
        graphs.append(counters["stats"]["unique_graphs"])
    assert counters["graph_break"] == {}
    assert graphs[0] == 1
    assert graphs[-1] == graphs[2] <= 3


def test_mixed_precision_is_one_graph() -> None:
    model, images = thin_detector(), make_batch()
    compiled = torch.compile(model.detect, fullgraph=True, backend="aot_eager")
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected, got = model.detect(images, SIZES), compiled(images, SIZES)
    assert expected.boxes.dtype == expected.masks.dtype == torch.float32
    assert_same(got, expected)


def test_proposing_is_one_graph() -> None:
    model, images = thin_detector(with_heads=False), make_batch()
    with torch.no_grad():
        expected = model.detect(images, SIZES)
        compiled = torch.compile(model.detect, fullgraph=True, backend="aot_eager")
        assert_same(compiled(images, SIZES), expected)


def test_training_is_one_graph() -> None:
    model, images = thin_detector(with_keypoints=True).train(), make_batch()
    targets = PaddedTargets.from_boxlists(
        [make_target(90, 120, count=3), make_target(96, 128, count=0)],
        with_masks=True,
        with_keypoints=True,
    )
    parameters = [p for p in model.parameters() if p.requires_grad]
    results = []
    compiled = torch.compile(model.compute_losses, fullgraph=True, backend="aot_eager")
    for compute in (model.compute_losses, compiled):
        losses = compute(images, SIZES, targets)
        results.append((losses, torch.autograd.grad(sum(losses.values()), parameters)))
    (expected, expected_gradients), (got, gradients) = results
    assert list(got) == list(expected)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-3, atol=1e-5)


def test_one_stage_detecting_is_one_graph() -> None:
    model, images = thin_retinanet(), make_batch()
    with torch.no_grad():
        expected = model.detect(images, SIZES)
        compiled = torch.compile(model.detect, fullgraph=True, backend="aot_eager")
        assert_same(compiled(images, SIZES), expected)
    assert expected.valid.sum() > 20


@pytest.mark.parametrize("normalizer", ["batch", "ema", "image"])
def test_one_stage_training_is_one_graph(normalizer: str) -> None:
    model, images = thin_retinanet(loss={"normalizer": normalizer}).train(), make_batch()
    targets = PaddedTargets.from_boxlists(
        [make_target(90, 120, count=3, masks=False), make_target(96, 128, count=0, masks=False)],
        with_masks=False,
    )
    parameters = [p for p in model.parameters() if p.requires_grad]
    results = []
    compiled = torch.compile(model.compute_losses, fullgraph=True, backend="aot_eager")
    for compute in (model.compute_losses, compiled):
        model.rpn.loss.positives_average.fill_(100.0)
        losses = compute(images, SIZES, targets)
        average = model.rpn.loss.positives_average.clone()
        results.append((losses, average, torch.autograd.grad(sum(losses.values()), parameters)))
    expected, got = results
    assert (got[1] != 100.0) == (normalizer == "ema")
    torch.testing.assert_close(got[:2], expected[:2])
    torch.testing.assert_close(got[2], expected[2], rtol=1e-3, atol=1e-5)
