"""What an exported Mask R-CNN finds in a picture, by ONNX Runtime alone.

    python demo/eval_onnx.py

reads coco_classes.txt (one name a line, background first), frcnn_demo.jpg and mask_rcnn_R_50_FPN_1x.onnx from the
current folder, prints the shapes of the outputs and shows what scores above 0.7. `--output FILE` writes the picture
instead of opening a window. Only numpy, Pillow, OpenCV and ONNX Runtime are used to find the objects: this is how the
file is used where this package is not installed.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

MEAN = (102.9801, 115.9465, 122.7717)
Array = NDArray[Any]


def preprocess(
    image: Image.Image, short_side: int = 800, max_size: int = 1333
) -> tuple[Array, Array]:
    """RGB picture -> (3, H, W): resized, BGR, minus the mean, zeros up to multiples of 32; and its size, resized."""
    short, long = sorted(image.size)
    if long / short * short_side > max_size:
        short_side = round(max_size * short / long)
    # In this order, so that the short side becomes exactly what it is to be.
    sides = (int(short_side * image.width / short), int(short_side * image.height / short))
    image = image.resize(sides, Image.BILINEAR)
    values = np.asarray(image.convert("RGB"), dtype=np.float32)[:, :, ::-1] - np.float32(MEAN)
    height, width = (math.ceil(side / 32) * 32 for side in values.shape[:2])
    padded = np.zeros((3, height, width), dtype=np.float32)
    padded[:, : image.height, : image.width] = values.transpose(2, 0, 1)
    return padded, np.float32([image.height, image.width])


def find(path: str, image: Image.Image, short_side: int) -> dict[str, Array]:
    """Run the file on a picture; boxes in pixels of the picture."""
    values, size = preprocess(image, short_side)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found = dict(
        zip(
            names,
            session.run(None, {"images": values[None], "image_sizes": size[None]}),
            strict=True,
        )
    )
    count = int(found.pop("num_detections")[0])
    found = {name: value[0, :count] for name, value in found.items()}
    found["boxes"] = found["boxes"] * np.tile(np.divide(image.size, size[::-1]), 2)
    return found


def draw(image: Image.Image, found: dict[str, Array], names: list[str], threshold: float) -> Array:
    """The picture (H, W, 3) with boxes, names, scores and outlines of masks."""
    canvas = np.array(image.convert("RGB"))
    for index, (box, score, label) in enumerate(
        zip(found["boxes"], found["scores"], found["labels"], strict=True)
    ):
        if score <= threshold:
            continue
        color = tuple(int(value) for value in np.random.default_rng(label).integers(64, 256, 3))
        x1, y1, x2, y2 = (int(value) for value in box)
        cv2.rectangle(canvas, (x1, y1), (x2, y2), color, 2)
        name = names[label] if label < len(names) else f"class {label}"
        place = (x1, max(y1 - 4, 12))
        cv2.putText(canvas, f"{name} {score:.2f}", place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, color, 1)
        if "masks" in found:
            size = (max(x2 - x1 + 1, 1), max(y2 - y1 + 1, 1))
            mask = (cv2.resize(found["masks"][index], size) > 0.5).astype(np.uint8)
            outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
            cv2.drawContours(canvas, outlines, -1, color, 2, offset=(x1, y1))
    return canvas


def main() -> None:
    """Find, print, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mask_rcnn_R_50_FPN_1x.onnx")
    parser.add_argument("--image", default="frcnn_demo.jpg")
    parser.add_argument("--classes", default="coco_classes.txt")
    parser.add_argument("--threshold", type=float, default=0.7)
    parser.add_argument("--short-side", type=int, default=800)
    parser.add_argument("--output", default="", help="write the picture here, open no window")
    arguments = parser.parse_args()
    names = Path(arguments.classes).read_text(encoding="utf-8").splitlines()
    image = Image.open(arguments.image).convert("RGB")
    found = find(arguments.model, image, arguments.short_side)
    for name, value in found.items():
        print(name, value.shape)
    picture = draw(image, found, names, arguments.threshold)
    if arguments.output:
        Image.fromarray(picture).save(arguments.output)
        return
    cv2.imshow(arguments.image, picture[:, :, ::-1])
    cv2.waitKey(0)


if __name__ == "__main__":
    main()
