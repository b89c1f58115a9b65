"""Fine-tuning on 14 photos from ImageNet weights, beside the same schedule from scratch.

    python benchmarks/finetune_mobilenet_v2.py WEIGHTS FRUITS [--output runs/fruits] [KEY VALUE ...]

WEIGHTS: a state dict of torchvision's mobilenet_v2, FRUITS: the folder of `fruits_nuts` (its `trainval.json` and
`images/`). The split is fixed: 4.jpg, 8.jpg, 12.jpg and 16.jpg are tested on and never seen in training. From scratch
the norms learn and nothing is frozen, which is what a network without weights needs. Prints AP50 and minutes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

CONFIG = Path(__file__).parents[1] / "configs/mobilenet/mask_rcnn_mobilenet_v2_FPN.yaml"
TEST_IMAGES = frozenset(("4.jpg", "8.jpg", "12.jpg", "16.jpg"))
FROM_SCRATCH = ["MODEL.BACKBONE.NORM", "BN", "MODEL.BACKBONE.FREEZE_CONV_BODY_AT", "0"]


def split(annotations: Path, folder: Path) -> tuple[Path, Path]:
    """Write `train.json` and `val.json`, and return their paths."""
    content = json.loads(annotations.read_text())
    paths = (folder / "train.json", folder / "val.json")
    folder.mkdir(parents=True, exist_ok=True)
    for path, is_test in zip(paths, (False, True), strict=True):
        images = [
            each for each in content["images"] if (each["file_name"] in TEST_IMAGES) is is_test
        ]
        ids = {each["id"] for each in images}
        own = [each for each in content["annotations"] if each["image_id"] in ids]
        path.write_text(json.dumps({**content, "images": images, "annotations": own}))
    return paths


def train(output: Path, *, fruits: Path, overrides: list[str]) -> tuple[dict[str, float], float]:
    """Train and test in a process of its own; AP50 by task, and minutes."""
    train_json, val_json = split(fruits / "trainval.json", output.parent)
    command = [sys.executable, "-m", "maskrcnn_benchmark", "train", "-c", str(CONFIG)]
    command += ["-o", str(output), "--train-json", str(train_json), "--val-json", str(val_json)]
    command += ["--train-images", str(fruits / "images"), *overrides]
    start = time.perf_counter()
    subprocess.run(command, check=True)
    minutes = (time.perf_counter() - start) / 60
    (results,) = output.glob("inference/*/coco_results.json")
    found = json.loads(results.read_text())["results"]
    return {task: found[task]["AP50"] for task in ("bbox", "segm")}, minutes


def main() -> None:
    """Train both ways."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("fruits", type=Path)
    parser.add_argument("--output", type=Path, default=Path("runs/fruits"))
    arguments, overrides = parser.parse_known_args()
    ways = {
        "imagenet": ["MODEL.WEIGHT", str(arguments.weights)],
        "scratch": FROM_SCRATCH,
    }
    lines = []
    for name, own in ways.items():
        found, minutes = train(
            arguments.output / name, fruits=arguments.fruits, overrides=[*own, *overrides]
        )
        lines.append(
            f"{name:10} box AP50 {found['bbox']:.3f}  mask AP50 {found['segm']:.3f}  {minutes:.1f} min"
        )
    print(*lines, sep="\n")


if __name__ == "__main__":
    main()
