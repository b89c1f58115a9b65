"""A whole Cascade Mask R-CNN as one graph, compiled and exported."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.export import Dim, export

from maskrcnn_benchmark.structures.padded import PaddedDetections, PaddedTargets
from tests.thin_cascade import thin_cascade
from tests.thin_models import make_images, make_target

SIZES = torch.tensor([[90.0, 120.0], [96.0, 128.0]])


def make_batch(height: int = 96, width: int = 128, count: int = 2) -> Tensor:
    images = torch.stack(make_images(*[(height, width)] * count))
    return images.contiguous(memory_format=torch.channels_last)


def test_a_cascade_is_one_graph() -> None:
    torch.compiler.reset()
    model, images = thin_cascade(), make_batch()
    with torch.no_grad():
        expected = model.detect(images, SIZES)
        got = torch.compile(model.detect, fullgraph=True, backend="aot_eager")(images, SIZES)
    assert isinstance(expected, PaddedDetections)
    assert expected.valid.sum() > 20
    assert torch.equal(got.valid, expected.valid)
    torch.testing.assert_close(
        got.boxes[got.valid], expected.boxes[got.valid], rtol=1e-4, atol=1e-3
    )
    targets = PaddedTargets.from_boxlists(
        [make_target(90, 120, count=3), make_target(96, 128, count=0)], with_masks=True
    )
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    results = []
    compiled = torch.compile(model.compute_losses, fullgraph=True, backend="aot_eager")
    for compute in (model.compute_losses, compiled):
        losses = compute(images, SIZES, targets)
        results.append((losses, torch.autograd.grad(sum(losses.values()), parameters)))
    torch.compiler.reset()
    assert list(results[0][0])[-3:] == ["loss_mask", "loss_objectness", "loss_rpn_box_reg"]
    torch.testing.assert_close(results[1][0], results[0][0])
    torch.testing.assert_close(results[1][1], results[0][1], rtol=1e-3, atol=1e-5)


class Detect(torch.nn.Module):
    """Images and sizes in, the fields of the padded detections out."""

    def __init__(self) -> None:
        super().__init__()
        self.model = thin_cascade()

    def forward(self, images: Tensor, image_sizes: Tensor) -> tuple[Tensor, ...]:
        found = self.model.detect(images, image_sizes)
        assert isinstance(found, PaddedDetections)
        return tuple(field for field in found if field is not None)


def test_a_cascade_is_exported() -> None:
    network, batch = Detect(), Dim("batch", min=1, max=8)
    program = export(
        network,
        (make_batch(), SIZES),
        dynamic_shapes={
            "images": {0: batch, 2: Dim.AUTO, 3: Dim.AUTO},
            "image_sizes": {0: batch},
        },
    )
    images, sizes = make_batch(160, 96, 1), torch.tensor([[159.0, 96.0]])
    with torch.no_grad():
        expected, got = network(images, sizes), program.module()(images, sizes)
    valid = expected[3]
    assert valid.sum() > 5
    assert torch.equal(got[3], valid)
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours[valid], theirs[valid], rtol=1e-4, atol=1e-3)
