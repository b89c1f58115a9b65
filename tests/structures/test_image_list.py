import pytest
import torch

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.structures.image_list import ImageList, to_image_list


def test_images_are_padded_right_and_below_with_zeros():
    images = [torch.ones(3, 4, 5), torch.full((3, 7, 2), 2.0)]
    batch = to_image_list(images)
    assert batch.tensors.shape == (2, 3, 7, 5)
    assert batch.image_sizes == [(4, 5), (7, 2)]
    assert batch.image_sizes[0].height == 4
    for padded, image in zip(batch.tensors, images, strict=True):
        assert torch.equal(padded[:, : image.shape[1], : image.shape[2]], image)
        assert padded.sum() == image.sum()


@pytest.mark.parametrize(
    ("divisor", "height", "width"), [(0, 33, 64), (1, 33, 64), (32, 64, 64), (48, 48, 96)]
)
def test_padding_to_a_multiple(divisor, height, width):
    batch = to_image_list([torch.ones(3, 33, 20), torch.ones(3, 5, 64)], divisor)
    assert batch.tensors.shape == (2, 3, height, width)


def test_one_image_a_batch_and_an_image_list():
    image = torch.rand(3, 5, 6)
    one = to_image_list(image)
    assert one.tensors.shape == (1, 3, 5, 6)
    assert one.image_sizes == [(5, 6)]
    assert to_image_list(image, 4).tensors.shape == (1, 3, 8, 8)
    batch = torch.rand(2, 3, 5, 6)
    assert to_image_list(batch).tensors is batch
    assert to_image_list(batch, 4).tensors.shape == (2, 3, 8, 8)
    assert to_image_list(batch).image_sizes == [(5, 6)] * 2
    assert to_image_list(one, 32) is one


def test_other_things_are_refused():
    with pytest.raises(ShapeError, match=r"got \(5, 6\)"):
        to_image_list(torch.zeros(5, 6))
    with pytest.raises(ShapeError, match=r"image 1 .* got \(4, 4\)"):
        to_image_list([torch.zeros(3, 4, 4), torch.zeros(4, 4)])
    with pytest.raises(ShapeError, match="at least one"):
        to_image_list([])
    with pytest.raises(TypeError, match="got str"):
        to_image_list("image.jpg")


def test_moving_keeps_the_sizes():
    batch = ImageList(torch.zeros(1, 3, 4, 4), [(3, 4)])
    moved = batch.to(torch.float16)
    assert moved.tensors.dtype == torch.float16
    assert moved.image_sizes == [(3, 4)]
    assert len(moved) == 1
    assert "image_sizes" in repr(moved)
