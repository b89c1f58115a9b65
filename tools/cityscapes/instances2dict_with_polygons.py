"""The instances of Cityscapes' instanceIds images, with their outlines.

    python tools/cityscapes/instances2dict_with_polygons.py A_gtFine_instanceIds.png ... > instances.json

Cityscapes' own scripts and OpenCV are not needed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from maskrcnn_benchmark.cli.group import readable_errors
from maskrcnn_benchmark.data.datasets.cityscapes_files import (
    INSTANCE_CLASS_IDS,
    read_instance_image,
)
from maskrcnn_benchmark.data.datasets.cityscapes_to_coco import list_instances

Instances = dict[str, list[dict[str, Any]]]


def instances2dict_with_polygons(
    imageFileList: str | Sequence[str],  # noqa: N803 (the old name)
    verbose: bool = False,
) -> dict[str, Instances]:
    """Read images of instance numbers.

    Args:
        imageFileList: paths; one alone may be given as it is.
        verbose: say how far it is.

    Returns:
        Absolute path -> class name -> a dict for each instance: instID, labelID, pixelCount, bbox (x1, y1, x2, y2,
        inclusive) and contours, flat x0, y0, x1, y1, ... of the outer outline of each part along the edges of its
        pixels. Every class with instances is there, perhaps with an empty list.
    """
    paths = [imageFileList] if isinstance(imageFileList, str) else imageFileList
    if verbose:
        print(f"Processing {len(paths)} images...")
    found: dict[str, Instances] = {}
    for number, path in enumerate(paths, start=1):
        instances: Instances = {name: [] for name in INSTANCE_CLASS_IDS}
        for part in list_instances(read_instance_image(path)):
            instances[part.label].append(
                {
                    "instID": part.number,
                    "labelID": INSTANCE_CLASS_IDS[part.label],
                    "pixelCount": part.pixels,
                    "bbox": list(part.box),
                    "contours": part.polygons,
                }
            )
        found[os.path.abspath(path)] = instances
        if verbose:
            print(f"\rImages Processed: {number}", end="", flush=True)
    if verbose:
        print()
    return found


def main() -> None:
    """Print the instances of the images named on the command line."""
    if len(sys.argv) == 1 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        raise SystemExit(len(sys.argv) == 1)
    with readable_errors():
        json.dump(instances2dict_with_polygons(sys.argv[1:]), sys.stdout)


if __name__ == "__main__":
    main()
