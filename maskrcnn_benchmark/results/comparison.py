"""Two pictures of one image side by side: what was found, and what is there."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.drawing import Pixels, draw
from maskrcnn_benchmark.results.palette import ColorBy

_PAPER = (255, 255, 255)
_INK = (32, 32, 32)
_FRAME = (200, 200, 200)


def draw_comparison(
    image: Image.Image | Pixels,
    detections: Detections,
    targets: Detections,
    *,
    headings: tuple[str, str] = ("Prediction", "Ground truth"),
    color_by: ColorBy = "class",
    min_side: int = 480,
) -> Image.Image:
    """Draw predictions on the left and ground truth on the right, each under its heading.

    Args:
        image: RGB.
        detections: what was found, shown with scores.
        targets: what is there, from `Detections.from_targets`.
        headings: of the left and of the right picture; the number of objects is added.
        color_by: see `palette.object_colors`.
        min_side: see `draw`.
    """
    pictures = [
        draw(
            image, objects, color_by=color_by, with_scores=objects is detections, min_side=min_side
        )
        for objects in (detections, targets)
    ]
    titles = [
        f"{heading} ({len(objects)})"
        for heading, objects in zip(headings, (detections, targets), strict=True)
    ]
    return set_side_by_side(pictures, titles)


def set_side_by_side(pictures: Sequence[Image.Image], headings: Sequence[str]) -> Image.Image:
    """Set pictures of one height in a row on white paper, each under its heading."""
    side = min(min(picture.size) for picture in pictures)
    gap = max(4, side // 40)
    text = min(max(side // 22, 14), 72)
    font = ImageFont.load_default(size=text)
    bar = round(text * 1.3) + gap
    width = sum(picture.width for picture in pictures) + gap * (len(pictures) + 1)
    height = max(picture.height for picture in pictures) + bar + gap
    sheet = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    left = gap
    for picture, heading in zip(pictures, headings, strict=True):
        pen.text((left + picture.width / 2, bar / 2), heading, fill=_INK, font=font, anchor="mm")
        sheet.paste(picture, (left, bar))
        pen.rectangle(
            (left - 1, bar - 1, left + picture.width, bar + picture.height), outline=_FRAME
        )
        left += picture.width + gap
    return sheet
