"""Pictures of detections: translucent masks with outlines, boxes, keypoints, and labels that stay readable.

N: objects.    H, W: height and width of the picture.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.masks import RLE, BoolArray, area_of
from maskrcnn_benchmark.results.palette import Color, ColorBy, object_colors, text_color_on
from maskrcnn_benchmark.results.pictures import to_rgb
from maskrcnn_benchmark.results.skeletons import draw_skeletons
from maskrcnn_benchmark.results.windows import cut

Pixels = NDArray[np.uint8]  # (H, W, 3) RGB
Rectangle = tuple[int, int, int, int]  # left, top, right, bottom; the last two lie outside
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

MASK_OPACITY = 0.42


@dataclass(frozen=True)
class _Sizes:
    """How thick and tall things are, in pixels: they grow with the picture."""

    line: int
    outline: int
    text: int
    margin: int

    @classmethod
    def for_picture(cls, width: int, height: int) -> _Sizes:
        side = min(width, height)
        text = min(max(round(side / 36), 11), 64)
        return cls(
            line=max(1, round(side / 320)),
            outline=max(1, round(side / 320)),
            text=text,
            margin=max(2, round(text / 5)),
        )


def draw(
    image: Image.Image | Pixels,
    detections: Detections,
    *,
    color_by: ColorBy = "class",
    with_scores: bool = True,
    min_side: int = 0,
) -> Image.Image:
    """Draw objects over their image.

    Args:
        image: the image they were found in, a PIL image of any mode or RGB; one that was opened from their file is
            turned as its EXIF orientation says, as they were found.
        detections: what to draw; ground truth comes as `Detections.from_targets`.
        color_by: see `palette.object_colors`.
        with_scores: whether labels show the score after the class name.
        min_side: an image whose shorter side has fewer pixels is enlarged to it, so that labels do not cover it.

    Returns:
        A new RGB picture; the image is left as it is.

    Raises:
        ShapeError: if the image has another size than the one the objects were found in.
    """
    picture = to_picture(image, detections)
    scale = max(1.0, min_side / max(1, min(picture.size)))
    if scale > 1:
        size = (round(picture.width * scale), round(picture.height * scale))
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    sizes = _Sizes.for_picture(*picture.size)
    colors = object_colors(detections.labels.tolist(), by=color_by)
    if detections.masks is not None:
        picture = _draw_masks(picture, detections.masks, colors, outline=sizes.outline)
    boxes = _scale_boxes(detections, picture.size)
    pen = ImageDraw.Draw(picture)
    for box, color in zip(boxes, colors, strict=True):
        left, top, right, bottom = box
        pen.rectangle((left, top, right - 1, bottom - 1), outline=color, width=sizes.line)
    if detections.keypoints is not None:
        height, width = detections.image_size
        enlarged = (picture.width / width, picture.height / height)
        draw_skeletons(pen, detections.keypoints, colors, scale=enlarged, line=sizes.line)
    _draw_labels(picture, _label_texts(detections, with_scores), boxes, colors, detections, sizes)
    return picture


def to_picture(image: Image.Image | Pixels, detections: Detections) -> Image.Image:
    """A copy of the image in RGB.

    Raises:
        ShapeError: if it is no image, or has another size than the one the objects were found in.
    """
    if isinstance(image, Image.Image):
        picture = _turn_as_found(image, detections)
    elif image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ShapeError(
            f"an image must be uint8 (H, W, 3) in RGB, got {image.dtype} {image.shape}"
        )
    else:
        picture = Image.fromarray(image)
    if picture.size != detections.image_size[::-1]:
        is_turned = picture.size == detections.image_size
        raise ShapeError(
            f"the image has {picture.width}x{picture.height} pixels, but the objects were found in "
            f"one of {detections.image_size.width}x{detections.image_size.height}"
            + (
                ". Files are turned by their EXIF orientation: do so with this image (PIL.ImageOps.exif_transpose)"
                if is_turned
                else ""
            )
        )
    return to_rgb(picture)


def _turn_as_found(image: Image.Image, detections: Detections) -> Image.Image:
    """The image; turned by its EXIF orientation if it was opened from the file that the objects were found in.

    A Predictor turns files, and takes PIL images as they lie.
    """
    name = getattr(image, "filename", "")
    if not name or detections.path is None:
        return image
    if os.path.realpath(name) != os.path.realpath(detections.path):
        return image
    turned = ImageOps.exif_transpose(image)
    return turned if turned.size == detections.image_size[::-1] else image


def _scale_boxes(detections: Detections, size: tuple[int, int]) -> list[Rectangle]:
    """Boxes in whole pixels of a picture (width, height), inside it and at least one pixel large."""
    height, width = detections.image_size
    factors = np.array([size[0] / width, size[1] / height] * 2)
    corners = detections.boxes.astype(np.float64)
    corners[:, 2:] += detections.box_offset
    corners = np.round(corners * factors).astype(np.int64)
    corners[:, :2] = np.clip(corners[:, :2], 0, np.array(size) - 1)
    corners[:, 2:] = np.clip(corners[:, 2:], corners[:, :2] + 1, size)
    return [(left, top, right, bottom) for left, top, right, bottom in corners.tolist()]


# Masks


def _draw_masks(
    picture: Image.Image, masks: list[RLE], colors: list[Color], *, outline: int
) -> Image.Image:
    """Tint the pixels of each object, the smaller ones on top, and trace its edge."""
    canvas: Pixels = np.array(picture)
    for index in sorted(range(len(masks)), key=lambda index: -area_of(masks[index])):
        window, left, top = _cut_mask(masks[index], picture.size)
        if not window.any():
            continue
        height, width = window.shape
        pixels = canvas[top : top + height, left : left + width]
        color = np.array(colors[index], dtype=np.float64)
        tinted = pixels[window] * (1 - MASK_OPACITY) + color * MASK_OPACITY
        pixels[window] = np.round(tinted).astype(np.uint8)
        pixels[window & ~_shrink(window, outline)] = colors[index]
    return Image.fromarray(canvas)


def _cut_mask(rle: RLE, size: tuple[int, int]) -> tuple[BoolArray, int, int]:
    """The part of a mask that is not empty, scaled to a picture (width, height), and its left top corner."""
    height, width = rle["size"]
    y, x, window = cut(rle)
    h, w = window.shape
    scale_x, scale_y = size[0] / width, size[1] / height
    left, top = round(x * scale_x), round(y * scale_y)
    if size == (width, height) or not window.size:
        return window, left, top
    right, bottom = round((x + w) * scale_x), round((y + h) * scale_y)
    grey = Image.fromarray(window.astype(np.uint8) * 255)
    scaled = grey.resize((right - left, bottom - top), Image.Resampling.BILINEAR)
    return np.asarray(scaled) > 127, left, top


def _shrink(mask: BoolArray, pixels: int) -> BoolArray:
    """A mask (H, W) without its outermost pixels; beyond the array it counts as empty."""
    for _ in range(pixels):
        inner = np.zeros_like(mask)
        inner[1:-1, 1:-1] = (
            mask[1:-1, 1:-1] & mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
        )
        mask = inner
    return mask


# Labels


def _label_texts(detections: Detections, with_scores: bool) -> list[str]:
    if not with_scores:
        return detections.names
    pairs = zip(detections.names, detections.scores.tolist(), strict=True)
    return [f"{name} {score:.2f}" for name, score in pairs]


def _draw_labels(
    picture: Image.Image,
    texts: list[str],
    boxes: list[Rectangle],
    colors: list[Color],
    detections: Detections,
    sizes: _Sizes,
) -> None:
    """Write each label near its box; objects of a high score choose their place first and lie on top."""
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=sizes.text)
    order = np.argsort(-detections.scores, kind="stable").tolist()
    placed: dict[int, tuple[Rectangle, str]] = {}
    for index in order:
        text, width, height = _fit_text(texts[index], font, sizes, picture.width)
        taken = [rectangle for rectangle, _ in placed.values()]
        place = _place_label(boxes[index], (width, height), picture.size, taken)
        placed[index] = place, text
    for index in reversed(order):
        (left, top, right, bottom), text = placed[index]
        pen.rectangle((left, top, right - 1, bottom - 1), fill=colors[index])
        pen.text(
            (left + sizes.margin, (top + bottom) / 2),
            text,
            fill=text_color_on(colors[index]),
            font=font,
            anchor="lm",
        )


def _fit_text(text: str, font: Any, sizes: _Sizes, available: int) -> tuple[str, int, int]:
    """A label's text, shortened until it fits into the picture, with the label's width and height."""
    height = round(sizes.text * 1.2) + sizes.margin
    shown, kept = text, len(text)
    while (width := round(font.getlength(shown)) + 2 * sizes.margin) > available and kept > 1:
        kept -= 1
        shown = text[:kept].rstrip() + ".."
    return shown, width, height


def _place_label(
    box: Rectangle, label: tuple[int, int], picture: tuple[int, int], taken: list[Rectangle]
) -> Rectangle:
    """The place for a label, inside the picture, where it covers the least of what should be seen.

    That is: the labels placed before, and its own object where that is small.

    Args:
        box: the object's.
        label: width and height.
        picture: width and height.
        taken: where labels are already.
    """
    left, top, right, bottom = box
    width, height = label
    # Above, inside at the top, below, inside at the bottom; then a step further away.
    near = (top - height, top, bottom, bottom - height)
    far = (top - 2 * height, bottom + height)
    candidates = []
    for rows in (near, far):
        for x, y in itertools.product((left, right - width, (left + right - width) // 2), rows):
            x_in = min(max(x, 0), max(picture[0] - width, 0))
            y_in = min(max(y, 0), max(picture[1] - height, 0))
            candidates.append((x_in, y_in, x_in + width, y_in + height))
    seen = [*taken, box] if bottom - top < 3 * height else taken
    return min(candidates, key=lambda place: sum(_overlap(place, other) for other in seen))


def _overlap(a: Rectangle, b: Rectangle) -> int:
    """Pixels that two rectangles share."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0)
