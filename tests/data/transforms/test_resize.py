from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from maskrcnn_benchmark.data.transforms.resize import Resize
from maskrcnn_benchmark.structures.bounding_box import BoxList


def ramp(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack((x % 256, y % 256, (x * y) % 256), axis=-1).astype(np.uint8)


# Worked out by each framework's formula; (width, height) -> (height, width) for 800 / 1333.
@pytest.mark.parametrize(
    ("rule", "size", "expected"),
    [
        ("detectron", (640, 480), (800, 1066)),
        ("detectron2", (640, 480), (800, 1067)),
        ("mmdet", (640, 480), (800, 1067)),
        ("torchvision", (640, 480), (800, 1066)),
        ("detectron", (1000, 333), (444, 1333)),
        ("detectron2", (1000, 333), (444, 1333)),
        ("mmdet", (1000, 333), (444, 1333)),
        ("torchvision", (1000, 333), (443, 1333)),
        ("mmdet", (500, 1000), (1333, 667)),
        ("torchvision", (500, 1000), (1333, 666)),
        # Far longer than wide.
        ("detectron", (1, 3000), (3000, 1)),
        ("detectron2", (1, 3000), (1333, 1)),
        ("mmdet", (3000, 1), (1, 1333)),
        ("torchvision", (1, 3000), (1333, 1)),
    ],
)
def test_sizes(rule: str, size: tuple[int, int], expected: tuple[int, int]) -> None:
    resize = Resize(800, 1333, rule=rule)
    assert resize.get_size(size) == expected
    if max(size) < 1000 or min(size) == 1:
        image = Image.new("RGB", size)
        assert resize(image).size == expected[::-1]
        assert resize(torch.zeros(3, *size[::-1])).shape[1:] == expected


@pytest.mark.parametrize("size", [(60, 301), (97, 64), (33, 33), (500, 21)])
def test_torchvision_resizes_alike(size: tuple[int, int]) -> None:
    theirs = GeneralizedRCNNTransform(128, 200, [0.0] * 3, [1.0] * 3, size_divisible=1).eval()
    image = torch.from_numpy(ramp(*size)).permute(2, 0, 1).float() / 255
    expected = theirs([image])[0].tensors[0]
    found = Resize(128, 200, rule="torchvision")(image)
    assert torch.equal(found, expected)


def test_a_tensor_is_resized_as_the_picture_of_the_same_pixels() -> None:
    pixels = ramp(90, 120)
    resize = Resize(40, 100)
    picture = np.asarray(resize(Image.fromarray(pixels)))
    tensor = resize(torch.from_numpy(pixels).permute(2, 0, 1).float())
    # PIL rounds to whole numbers between its two passes.
    np.testing.assert_allclose(tensor.permute(1, 2, 0).numpy(), picture, atol=1.01)


def test_without_antialiasing_only_neighbours_count() -> None:
    pixels = np.zeros((40, 40, 3), dtype=np.uint8)
    pixels[:, 2::4] = 255  # never one of the two nearest columns
    sharp = np.asarray(Resize(10, 100, rule="mmdet")(Image.fromarray(pixels)))
    smooth = np.asarray(Resize(10, 100)(Image.fromarray(pixels)))
    assert sharp.shape == smooth.shape == (10, 10, 3)
    assert sharp.mean() == pytest.approx(128, abs=1)
    assert smooth.std() < 10
    assert abs(smooth.mean() - 64) < 5


@pytest.mark.parametrize("rule", ["detectron", "detectron2", "mmdet", "torchvision"])
def test_the_target_follows(rule: str) -> None:
    target = BoxList([[10.0, 20.0, 50.0, 40.0]], (100, 80), mode="xyxy")
    image, resized = Resize(40, 200, rule=rule)(torch.zeros(3, 80, 100), target)
    assert image.shape == (3, 40, 50)
    assert resized.size == (50, 40)
    assert resized.bbox.tolist() == [[5.0, 10.0, 25.0, 20.0]]
    assert f"{rule!r}" in repr(Resize(40, 200, rule=rule)) or rule == "detectron"
