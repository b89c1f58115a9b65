import numpy as np
import pytest
from PIL import Image

from maskrcnn_benchmark.data.datasets.images import read_image
from maskrcnn_benchmark.errors import DatasetError


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK", "1"])
def test_every_kind_becomes_rgb(tmp_path, mode):
    path = tmp_path / "image.tif"
    Image.new("RGB", (5, 4), (255, 255, 255)).convert(mode).save(path)
    image = read_image(path)
    assert (image.mode, image.size) == ("RGB", (5, 4))
    assert np.array(image).min() == 255


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp"])
def test_cut_off_files_are_named(tmp_path, suffix):
    path = tmp_path / f"image.{suffix}"
    noise = np.random.RandomState(0).randint(0, 256, (60, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DatasetError, match=rf"image\.{suffix}' cannot be read"):
        read_image(path)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>"])
def test_files_that_are_no_images_are_named(tmp_path, content):
    path = tmp_path / "page.jpg"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"page\.jpg' cannot be read"):
        read_image(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"not found: '.*gone\.jpg'"):
        read_image(tmp_path / "gone.jpg")


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_values_beyond_8_bits_are_not_cut_off(tmp_path, dtype):
    """PIL makes 255 of whatever is above: an image that is white all over."""
    path = tmp_path / "deep.tif"
    Image.fromarray(np.linspace(0, 60000, 20, dtype=dtype).reshape(4, 5)).save(path)
    with pytest.raises(DatasetError, match=r"deep\.tif' cannot be read: .*INPUT\.BIT_DEPTH 16"):
        read_image(path)


def test_integers_of_byte_range_are_read(tmp_path):
    path = tmp_path / "image.tif"
    values = np.arange(0, 256, 15, dtype=np.int32)[None]
    Image.fromarray(values).save(path)
    assert np.array_equal(np.asarray(read_image(path))[..., 0], values)
