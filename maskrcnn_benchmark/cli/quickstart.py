"""`maskrcnn quickstart`: draw a toy set, train on it, test, and show what came out.

What is left in the folder, besides what `maskrcnn train` leaves there:

    data/                    the toy set, in COCO's format
    predictions/             what was found in test pictures, beside what is there
    predictions.png          some of them on one sheet
    loss_curve.png           the losses of the training
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from maskrcnn_benchmark.cli.test import RUN_CONFIG
from maskrcnn_benchmark.cli.train import CLASS_KEYS
from maskrcnn_benchmark.cli.train import make_config as make_train_config
from maskrcnn_benchmark.errors import ConfigError

if TYPE_CHECKING:
    from maskrcnn_benchmark.config import Config
    from maskrcnn_benchmark.data.toy import ToyDataset

CONFIG = "quickstart/mask_rcnn_toy.yaml"

# An earlier run in the same folder is gone on with if it differs in nothing but these.
_MAY_DIFFER = ("DATASETS", "OUTPUT_DIR", "MODEL.DEVICE", "LOG", *CLASS_KEYS)
_NUM_ON_SHEET = 12
_METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")


@dataclass(frozen=True, kw_only=True)
class QuickstartFiles:
    """Where things are in the folder of a quickstart."""

    root: Path

    @property
    def data(self) -> Path:
        """The toy set."""
        return self.root / "data"

    @property
    def predictions(self) -> Path:
        """Pictures of predictions beside the ground truth."""
        return self.root / "predictions"

    @property
    def sheet(self) -> Path:
        """Some of these on one sheet."""
        return self.root / "predictions.png"

    @property
    def loss_curve(self) -> Path:
        """The picture of the losses."""
        return self.root / "loss_curve.png"


def quickstart(
    *,
    output_dir: Path = Path("runs/quickstart"),
    seed: int = 0,
    overrides: Sequence[str] = (),
    num_train: int = 600,
    num_val: int = 100,
    num_pictures: int = 24,
) -> dict[str, dict[str, float]]:
    """Draw a toy set, train a small Mask R-CNN from scratch, test it and draw what it found.

    Run again in the same folder, it goes on where it was stopped.

    Args:
        output_dir: everything is written below it.
        seed: of the pictures, the initial weights and the order of training.
        overrides: KEY VALUE pairs on top of the shipped config.
        num_train: pictures to train on.
        num_val: other pictures to test on.
        num_pictures: how many of the test pictures are drawn with what was found in them.

    Returns:
        "bbox" and "segm" -> metric -> value between 0 and 1.

    Raises:
        ConfigError: if the folder holds a run with other settings.
    """
    files = QuickstartFiles(root=Path(output_dir))
    pairs = ["SEED", str(seed), "OUTPUT_DIR", str(files.root), *overrides]
    # Before the toy set of that run is drawn over.
    _check_earlier_run(make_train_config(CONFIG, direct=None, pairs=pairs), files.root)

    from maskrcnn_benchmark.data.toy import write_toy_dataset

    began = time.perf_counter()
    toy = write_toy_dataset(files.data, seed=seed, num_train=num_train, num_val=num_val)
    seconds = time.perf_counter() - began
    typer.echo(f"Toy set of {num_train} + {num_val} pictures in {files.data} ({seconds:.0f} s)")
    cfg = _make_config(toy, pairs=pairs)

    from maskrcnn_benchmark.build.run import train

    began = time.perf_counter()
    (results,) = train(cfg).values()
    minutes = (time.perf_counter() - began) / 60
    _draw_pictures(toy, cfg, files=files, count=num_pictures)
    metrics: dict[str, dict[str, float]] = results.results
    typer.echo(_summary(metrics, files=files, minutes=minutes))
    return metrics


def _make_config(toy: ToyDataset, *, pairs: Sequence[str]) -> Config:
    """Put together the shipped config, the toy set and what was asked for."""
    import torch

    from maskrcnn_benchmark.build.direct_data import data_from_files

    direct = data_from_files(
        train_json=toy.train.json_path,
        train_images=toy.train.image_folder,
        val_json=toy.val.json_path,
        val_images=toy.val.image_folder,
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return make_train_config(CONFIG, direct=direct, pairs=["MODEL.DEVICE", device, *pairs])


def _check_earlier_run(cfg: Config, folder: Path) -> None:
    """Refuse to go on with a run of other settings: its results would be of neither.

    Raises:
        ConfigError: that names what differs.
    """
    path = folder / RUN_CONFIG
    if not path.is_file():
        return
    import yaml

    earlier = _flatten(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    wanted = _flatten(yaml.safe_load(cfg.dump()))
    differing = [
        key
        for key in sorted(earlier.keys() | wanted.keys())
        if earlier.get(key) != wanted.get(key)
        and not any(key == name or key.startswith(f"{name}.") for name in _MAY_DIFFER)
    ]
    if not differing:
        typer.echo(f"Going on with the run in {folder}; remove that folder to start afresh.")
        return
    shown = ", ".join(
        f"{key} was {earlier.get(key)!r} and is now {wanted.get(key)!r}" for key in differing[:3]
    )
    more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
    raise ConfigError(
        f"{folder} holds a run with other settings ({shown}{more}). "
        "Choose another folder with --output-dir, or remove this one."
    )


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        flat.update(_flatten(value, f"{name}.") if isinstance(value, Mapping) else {name: value})
    return flat


def _draw_pictures(toy: ToyDataset, cfg: Config, *, files: QuickstartFiles, count: int) -> None:
    from PIL import Image

    from maskrcnn_benchmark.data.datasets.coco import COCODataset
    from maskrcnn_benchmark.engine.metric_writers import METRICS_FILE, read_metrics
    from maskrcnn_benchmark.report.loss_curve import draw_loss_curve
    from maskrcnn_benchmark.report.result_pictures import tile_pictures, write_comparisons

    written = write_comparisons(
        COCODataset(toy.val.json_path, toy.val.image_folder, False, check="fast"),
        files.root / "inference" / cfg.DATASETS.TEST[0],
        files.predictions,
        count=count,
    )
    shown = []
    for path in written[:_NUM_ON_SHEET]:
        with Image.open(path) as picture:
            shown.append(picture.convert("RGB"))
    tile_pictures(shown, columns=3).save(files.sheet)
    draw_loss_curve(read_metrics(files.root / METRICS_FILE)).save(files.loss_curve)


def _summary(
    metrics: Mapping[str, Mapping[str, float]], *, files: QuickstartFiles, minutes: float
) -> str:
    lines = [f"\nTraining and testing took {minutes:.1f} minutes.\n", _table(metrics), ""]
    for what, path in (
        ("Predictions beside the ground truth", files.sheet),
        ("One by one", files.predictions),
        ("Loss curve", files.loss_curve),
        ("Weights, log and settings", files.root),
    ):
        lines.append(f"  {what + ':':38}{path}")
    lines.append("\nWhat to type next:\n")
    for command, what in (
        (f"maskrcnn predict {files.root} {files.data / 'val'}", "draw what it finds in images"),
        (
            "maskrcnn train --data MY_FOLDER",
            "learn your own photos, annotated in COCO's format: annotations/*.json and images",
        ),
        (f"maskrcnn config {files.root / RUN_CONFIG}", "every setting and what it means"),
    ):
        lines.append(f"  {command}\n      {what}")
    return "\n".join(lines)


def _table(metrics: Mapping[str, Mapping[str, float]]) -> str:
    """A line for boxes and one for masks; a number that could not be measured is a dash."""
    rows = [["", *_METRICS]]
    for task, name in (("bbox", "boxes"), ("segm", "masks")):
        if task in metrics:
            values = (metrics[task][metric] for metric in _METRICS)
            rows.append([name, *("-" if value < 0 else f"{value:.3f}" for value in values)])
    return "\n".join(
        "  " + row[0].ljust(8) + "".join(cell.rjust(8) for cell in row[1:]) for row in rows
    )
