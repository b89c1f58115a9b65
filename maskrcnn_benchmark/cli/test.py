"""`maskrcnn test`: score a trained model on the test sets of its config."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskrcnn_benchmark.cli.group import UsageError, exit_if_gate_failed
from maskrcnn_benchmark.cli.overrides import (
    OVERRIDES_HELP,
    OVERRIDES_METAVAR,
    check_overrides,
    split_first,
)

if TYPE_CHECKING:
    from maskrcnn_benchmark.config import Config

# The effective config that training leaves in the folder of a run.
RUN_CONFIG = "config.yml"


def run_test(
    context: typer.Context,
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN|FILE.onnx",
            help="Folder of a training run, for its config and its last weights; or an exported model.",
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar=OVERRIDES_METAVAR, help=OVERRIDES_HELP)
    ] = None,
    config_file: Annotated[
        str | None,
        typer.Option(
            "--config-file", "-c", metavar="FILE", help="A YAML file, or the name of a shipped one."
        ),
    ] = None,
    ckpt: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Weights to test; default: the last of OUTPUT_DIR, else MODEL.WEIGHT.",
        ),
    ] = None,
) -> None:
    """Test a model: box and mask AP on every set of DATASETS.TEST.

    For example:

      maskrcnn test runs/my_coco

      maskrcnn test -c configs/e2e_mask_rcnn_R_50_FPN_1x.yaml --ckpt model_final.pth

      maskrcnn test model.onnx

    The exit code is 1 if TEST.EXPECTED_RESULTS is given and not reached.
    """
    # Without a RUN, the first word of the overrides is taken for it.
    run_folder, words = split_first([*([] if run is None else [run]), *(overrides or [])])
    pairs = check_overrides(words, context=context)
    if (run_folder is None) == (config_file is None):
        raise UsageError("Give either the folder of a run or --config-file FILE.")
    if run_folder is not None and run_folder.suffix == ".onnx":
        cfg, ckpt = _read_exported(run_folder, pairs=pairs), str(run_folder)
    else:
        cfg = make_config(run_folder, config_file=config_file, pairs=pairs)

    from maskrcnn_benchmark.build.run import test

    exit_if_gate_failed(test(cfg, checkpoint=ckpt))


def _read_exported(path: Path, *, pairs: list[str]) -> Config:
    """The config that a model was exported from, and the overrides on top."""
    from maskrcnn_benchmark.build.exported import config_of, manifest_of, open_exported

    cfg = config_of(manifest_of(open_exported(path), path), path)
    # Its results go beside it, not into the folder of the run.
    cfg.merge_from_list(["OUTPUT_DIR", str(path.with_suffix("")), *pairs])
    cfg.freeze()
    return cfg


def make_config(run_folder: Path | None, *, config_file: str | None, pairs: list[str]) -> Config:
    """Read the config of a run, or a config file, and put the overrides on top."""
    from maskrcnn_benchmark.build.config_files import find_config
    from maskrcnn_benchmark.config import get_defaults
    from maskrcnn_benchmark.errors import ConfigError

    cfg = get_defaults()
    if run_folder is not None:
        path = run_folder / RUN_CONFIG
        if not path.is_file():
            raise ConfigError(
                f"Expected the folder of a training run, with a file {RUN_CONFIG}, "
                f"got '{run_folder}'."
            )
        cfg.merge_from_file(str(path))
        # The run may have been moved since it was trained.
        cfg.merge_from_list(["OUTPUT_DIR", str(run_folder)])
    elif config_file is not None:
        cfg.merge_from_file(str(find_config(config_file)))
    cfg.merge_from_list(pairs)
    cfg.freeze()
    return cfg
