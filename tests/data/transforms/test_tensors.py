"""The transforms on images that PIL does not know: tensors of any number of channels."""

from __future__ import annotations

import pytest
import torch

from maskrcnn_benchmark.data.transforms.transforms import (
    ColorJitter,
    Normalize,
    RandomHorizontalFlip,
    RandomVerticalFlip,
    ToTensor,
)
from maskrcnn_benchmark.errors import ConfigError, ShapeError
from maskrcnn_benchmark.structures.bounding_box import BoxList


@pytest.mark.parametrize(
    ("flip", "axis", "expected"),
    [
        (RandomHorizontalFlip(1.0), -1, [2.0, 1.0, 6.0, 3.0]),
        (RandomVerticalFlip(1.0), -2, [3.0, 4.0, 7.0, 6.0]),
    ],
)
def test_flips(flip: RandomHorizontalFlip, axis: int, expected: list[float]) -> None:
    image = torch.rand(5, 8, 10)
    target = BoxList([[3.0, 1.0, 7.0, 3.0]], (10, 8), mode="xyxy")
    mirrored, boxes = flip(image, target)
    assert torch.equal(mirrored, image.flip(axis))
    assert boxes.bbox.tolist() == [expected]
    again, back = flip(mirrored, boxes)
    assert torch.equal(again, image)
    assert back.bbox.tolist() == target.bbox.tolist()


def test_a_tensor_is_a_tensor_already() -> None:
    image = torch.rand(5, 3, 4)
    assert ToTensor()(image)[0] is image


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_normalising(channels: int) -> None:
    image = torch.rand(channels, 3, 4)
    kept = image.clone()
    means = tuple(10.0 * channel for channel in range(channels))
    found = Normalize(means, (2.0,) * channels, to_bgr255=True)(image)
    # Only three channels are colours, whose order is turned.
    order = [2, 1, 0] if channels == 3 else list(range(channels))
    expected = (image[order] * 255 - torch.tensor(means)[:, None, None]) / 2
    torch.testing.assert_close(found, expected)
    assert torch.equal(image, kept)


def test_numbers_for_other_channels_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"5 channels .* with 3 means and 3 deviations"):
        Normalize((0.0,) * 3, (1.0,) * 3)(torch.rand(5, 3, 4))


def test_jitter() -> None:
    image = torch.rand(5, 3, 4)
    assert ColorJitter()(image)[0] is image
    with pytest.raises(ConfigError, match="1 or 3 channels, got 5"):
        ColorJitter(brightness=0.5)(image)
    brighter = ColorJitter(brightness=0.5)(image[:3])[0]
    assert brighter.shape == (3, 3, 4)
    assert not torch.equal(brighter, image[:3])
