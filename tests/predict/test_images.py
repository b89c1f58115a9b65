import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maskrcnn_benchmark.errors import DatasetError, ShapeError
from maskrcnn_benchmark.predict.images import read_image

GREY_RAMP = np.linspace(0, 255, 20, dtype=np.uint8)[None].repeat(10, axis=0)  # (10, 20)
EXIF_ORIENTATION = 0x0112


def save(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = read_image(Image.fromarray(GREY_RAMP).convert("RGB").convert(mode))
    assert image.mode == "RGB"
    assert image.size == (20, 10)
    if mode != "1":
        tolerance = 26 if mode == "P" else 3  # the web palette has six greys
        np.testing.assert_allclose(np.asarray(image)[0, :, 1], GREY_RAMP[0], atol=tolerance)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_keep_their_range(tmp_path: Path, suffix: str) -> None:
    values = (GREY_RAMP.astype(np.uint16)) * 257
    path = save(tmp_path / f"deep.{suffix}", Image.fromarray(values))
    np.testing.assert_array_equal(np.asarray(read_image(path))[..., 0], GREY_RAMP)


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_floating_point_is_read_by_its_range(scale: float) -> None:
    values = GREY_RAMP.astype(np.float32) / 255 * scale
    np.testing.assert_array_equal(
        np.asarray(read_image(Image.fromarray(values)))[..., 2], GREY_RAMP
    )


def test_32_bit_integers_of_byte_range_are_kept() -> None:
    image = Image.fromarray(GREY_RAMP.astype(np.int32))
    assert image.mode == "I"
    np.testing.assert_array_equal(np.asarray(read_image(image))[..., 0], GREY_RAMP)


def test_transparency_shows_white() -> None:
    image = Image.new("RGBA", (4, 2), (10, 20, 30, 0))
    image.putpixel((1, 0), (10, 20, 30, 255))
    pixels = np.asarray(read_image(image))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[0, 1].tolist() == [10, 20, 30]


def test_transparent_palette_entries_show_white(tmp_path: Path) -> None:
    image = Image.new("P", (4, 2), 1)
    image.putpalette([0, 0, 0, 200, 0, 0])
    image.putpixel((0, 0), 0)
    path = save(tmp_path / "a.png", image, transparency=0)
    pixels = np.asarray(read_image(path))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[1, 1].tolist() == [200, 0, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_files_are_turned_as_they_are_looked_at(tmp_path: Path, orientation: int) -> None:
    upright = Image.fromarray(np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3))
    stored = {
        1: upright,
        2: upright.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: upright.transpose(Image.Transpose.ROTATE_180),
        4: upright.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: upright.transpose(Image.Transpose.TRANSPOSE),
        6: upright.transpose(Image.Transpose.ROTATE_90),
        7: upright.transpose(Image.Transpose.TRANSVERSE),
        8: upright.transpose(Image.Transpose.ROTATE_270),
    }[orientation]
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    path = save(tmp_path / "a.png", stored, exif=exif)
    np.testing.assert_array_equal(np.asarray(read_image(path)), np.asarray(upright))


def test_pil_images_are_taken_as_they_lie(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    path = save(tmp_path / "a.png", Image.new("RGB", (8, 6)), exif=exif)
    with Image.open(path) as image:
        assert read_image(image).size == (8, 6)


def test_the_first_picture_of_an_animation_is_taken(tmp_path: Path) -> None:
    first, second = (Image.new("RGB", (5, 4), color) for color in ((255, 0, 0), (0, 0, 255)))
    path = save(tmp_path / "a.gif", first, save_all=True, append_images=[second])
    assert np.asarray(read_image(path))[0, 0].tolist() == [255, 0, 0]


def test_arrays_are_rgb() -> None:
    array = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(read_image(array)), array)
    flipped = array[:, ::-1]
    np.testing.assert_array_equal(np.asarray(read_image(flipped)), flipped)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((6, 5), dtype=np.uint8), r"got uint8 of shape \(6, 5\)"),
        (np.zeros((3, 6, 5), dtype=np.uint8), r"got uint8 of shape \(3, 6, 5\)"),
        (np.zeros((6, 5, 3), dtype=np.float32), "scale values from 0..1 by 255"),
        (np.zeros((0, 5, 3), dtype=np.uint8), r"got uint8 of shape \(0, 5, 3\)"),
        (np.full((6, 5, 3), np.nan), "NaN or infinity"),
        (np.zeros((6, 5, 3), dtype=np.int64), "got int64"),
    ],
)
def test_other_arrays_are_refused(array: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        read_image(array)


@pytest.mark.parametrize("source", [None, 3, [1, 2], b"bytes"])
def test_other_things_are_refused(source: Any) -> None:
    with pytest.raises(TypeError, match="an image must be a path, a PIL image or an array"):
        read_image(source)


def test_files_that_are_no_images_are_named(tmp_path: Path) -> None:
    text = tmp_path / "notes.jpg"
    text.write_text("no image")
    empty = tmp_path / "empty.png"
    empty.touch()
    with pytest.raises(DatasetError, match=r"notes\.jpg' cannot be read as an image"):
        read_image(text)
    with pytest.raises(DatasetError, match=r"empty\.png' cannot be read as an image"):
        read_image(str(empty))
    with pytest.raises(DatasetError, match="there is no image file"):
        read_image(tmp_path / "absent.png")
    with pytest.raises(DatasetError, match="is a folder"):
        read_image(tmp_path)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_files_that_are_cut_off_are_named(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(DatasetError, match="cannot be read as an image"):
        read_image(path)
    with Image.open(path) as image, pytest.raises(DatasetError, match="PIL image"):
        read_image(image)


def test_values_that_are_not_finite_are_refused() -> None:
    values = np.zeros((4, 4), dtype=np.float32)
    values[1, 1] = np.nan
    with pytest.raises(DatasetError, match="NaN or infinity"):
        read_image(Image.fromarray(values))


def test_images_beyond_reason_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.png", Image.new("L", (60, 50)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    assert read_image(path).size == (60, 50)  # PIL would warn
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DatasetError, match="exceeds limit"):
        read_image(path)


def test_of_an_animation_it_is_said_that_the_rest_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = (Image.new("RGB", (5, 4), color) for color in ((255, 0, 0), (0, 0, 255)))
    path = save(tmp_path / "a.gif", first, save_all=True, append_images=[second])
    with caplog.at_level("WARNING", logger="maskrcnn_benchmark"):
        read_image(path)
    assert "a.gif' is an animation of 2 pictures: the first one is taken" in caplog.text
    caplog.clear()
    read_image(save(tmp_path / "b.gif", first))
    assert not caplog.text


def test_an_image_of_30000_by_30000_pixels_is_refused_with_a_way_out(tmp_path: Path) -> None:
    # The header alone says so: nothing is decoded.
    data = bytearray(save(tmp_path / "a.png", Image.new("L", (1, 1))).read_bytes())
    data[16:24] = (30000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    path = tmp_path / "huge.png"
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=r"huge\.png' .*900000000 pixels.*MAX_IMAGE_PIXELS"):
        read_image(path)


def test_arrays_in_files_are_read(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    np.save(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "a.npy")), array)
    np.save(tmp_path / "b.npy", array[..., 0])
    with pytest.raises(DatasetError, match=r"b\.npy': an image array must be uint8 of shape"):
        read_image(tmp_path / "b.npy")
    np.save(tmp_path / "c.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "d.npy").write_bytes(b"")
    for name in ("c", "d"):
        with pytest.raises(DatasetError, match=rf"{name}\.npy' cannot be read as an array"):
            read_image(tmp_path / f"{name}.npy")
