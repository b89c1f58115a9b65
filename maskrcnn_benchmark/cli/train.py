"""`maskrcnn train`: from a config and data to a trained, tested model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskrcnn_benchmark.cli.group import UsageError, exit_if_gate_failed
from maskrcnn_benchmark.cli.overrides import (
    OVERRIDES_HELP,
    OVERRIDES_METAVAR,
    check_overrides,
)

if TYPE_CHECKING:
    from maskrcnn_benchmark.build.direct_data import DirectData
    from maskrcnn_benchmark.config import Config

# What `--data` trains when no config is named.
# From scratch, on a CPU in minutes: works for anyone, offline too.
DEFAULT_CONFIG = "quickstart/mask_rcnn_photos.yaml"
# The keys that follow from the number of categories in the data, unless they were given.
CLASS_KEYS = ("MODEL.ROI_BOX_HEAD.NUM_CLASSES", "MODEL.RETINANET.NUM_CLASSES")
# The key that follows from their keypoints.
KEYPOINTS_KEY = "MODEL.ROI_KEYPOINT_HEAD.NUM_CLASSES"

# What `maskrcnn config` and error messages call the origin of keys that follow from the data.
DATA_ORIGIN = "data given directly"

_DATA_PANEL = "Data given directly, instead of names in the config"


def train(
    context: typer.Context,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar=OVERRIDES_METAVAR, help=OVERRIDES_HELP)
    ] = None,
    config_file: Annotated[
        str | None,
        typer.Option(
            "--config-file",
            "-c",
            metavar="FILE",
            help="A YAML file, or the name of a shipped one "
            f"(with data given directly: {DEFAULT_CONFIG} if left out).",
        ),
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "--output-dir",
            "-o",
            metavar="FOLDER",
            help="Folder of the run: weights, logs, results. A run already in it is resumed. "
            "Default: OUTPUT_DIR of the config, else runs/NAME, after the data or the config.",
        ),
    ] = None,
    skip_test: Annotated[
        bool, typer.Option("--skip-test", help="Do not test the final model.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="Same as the override SEED.", min=0)
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="FOLDER",
            help="A folder in COCO format: annotations/*.json and images.",
            rich_help_panel=_DATA_PANEL,
        ),
    ] = None,
    train_json: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Annotations.", rich_help_panel=_DATA_PANEL),
    ] = None,
    train_images: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Their images.", rich_help_panel=_DATA_PANEL),
    ] = None,
    val_json: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Annotations to test on.", rich_help_panel=_DATA_PANEL),
    ] = None,
    val_images: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Their images (default: the training images' folder).",
            rich_help_panel=_DATA_PANEL,
        ),
    ] = None,
) -> None:
    """Train a model, then test it.

    For example:

      maskrcnn train --data my_coco/ SOLVER.MAX_ITER 3000

      maskrcnn train -c configs/e2e_mask_rcnn_R_50_FPN_1x.yaml OUTPUT_DIR runs/coco

    Options go anywhere; run the same command again to resume an interrupted run.
    """
    pairs = check_overrides(overrides, context=context)
    if seed is not None:
        pairs += ["SEED", str(seed)]
    if output_dir is not None:
        pairs += ["OUTPUT_DIR", str(output_dir)]
    direct = read_data(
        data=data,
        train_json=train_json,
        train_images=train_images,
        val_json=val_json,
        val_images=val_images,
        keypoints=data is not None and finds_keypoints(config_file or DEFAULT_CONFIG, pairs),
    )
    if config_file is None and direct is None:
        raise UsageError(
            "Nothing to train on: give --config-file FILE, --data FOLDER, "
            "or --train-json FILE with --train-images FOLDER."
        )
    cfg = make_config(config_file or DEFAULT_CONFIG, direct=direct, pairs=pairs)
    is_first = os.environ.get("RANK", "0") == "0"
    if direct is not None and direct.val is None and not skip_test and is_first:
        typer.echo("No validation annotations were found: the final model is not tested.")

    from maskrcnn_benchmark.build.run import train as run_train

    exit_if_gate_failed(run_train(cfg, skip_test=skip_test))


def read_data(
    *,
    data: Path | None,
    train_json: Path | None,
    train_images: Path | None,
    val_json: Path | None,
    val_images: Path | None,
    keypoints: bool = False,
) -> DirectData | None:
    """Describe the data that the options name; None if they name none.

    Args:
        data: a folder to look in, else the files themselves.
        train_json: annotations.
        train_images: their folder.
        val_json: annotations to test on.
        val_images: their folder.
        keypoints: whether a folder's annotations of keypoints go before others.
    """
    from maskrcnn_benchmark.build.direct_data import data_from_files, find_data

    files = (train_json, train_images, val_json, val_images)
    if data is not None:
        if any(path is not None for path in files):
            raise UsageError(
                "--data finds the files itself; give it without --train-json and the like."
            )
        return find_data(data, keypoints=keypoints)
    if all(path is None for path in files):
        return None
    if train_json is None or train_images is None:
        missing = "--train-json FILE" if train_json is None else "--train-images FOLDER"
        raise UsageError(f"Data given by its files also needs {missing}.")
    return data_from_files(
        train_json=train_json,
        train_images=train_images,
        val_json=val_json,
        val_images=val_images,
    )


def finds_keypoints(config_file: str, pairs: list[str]) -> bool:
    """Whether the model that file and overrides describe finds keypoints."""
    return bool(make_config(config_file, direct=None, pairs=pairs).MODEL.KEYPOINT_ON)


def make_config(config_file: str, *, direct: DirectData | None, pairs: list[str]) -> Config:
    """Put together file, data and overrides; what was given explicitly always wins."""
    from maskrcnn_benchmark.build.config_files import find_config
    from maskrcnn_benchmark.config import get_defaults

    cfg = get_defaults()
    path = find_config(config_file)
    cfg.merge_from_file(str(path))
    if direct is not None:
        cfg.merge_from_list(direct.overrides(), origin=DATA_ORIGIN)
    cfg.merge_from_list(pairs)
    derived: list[str] = []
    if direct is not None:
        for key in CLASS_KEYS:
            if cfg.origin(key) == "default":
                derived += [key, str(direct.num_classes)]
        if direct.train.num_keypoints and cfg.origin(KEYPOINTS_KEY) == "default":
            derived += [KEYPOINTS_KEY, str(direct.train.num_keypoints)]
    if cfg.origin("OUTPUT_DIR") == "default":
        name = path.stem if direct is None else direct.train.name.removesuffix("_train")
        derived += ["OUTPUT_DIR", str(Path("runs", name))]
    cfg.merge_from_list(derived, origin=DATA_ORIGIN if direct else "name of the config")
    cfg.freeze()
    return cfg
