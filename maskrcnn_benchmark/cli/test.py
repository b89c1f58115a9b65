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
            metavar="RUN|WEIGHTS|FILE.onnx",
            help="Folder of a training run, for its config and its last weights; a file of weights that "
            "says how its network is built, or lies beside config.yml; or an exported model.",
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
            help="Weights to test; default: the last of the run; with --config-file those of OUTPUT_DIR, "
            "else MODEL.WEIGHT.",
        ),
    ] = None,
) -> None:
    """Test a model: box and mask AP on every set of DATASETS.TEST.

    For example:

      maskrcnn test runs/my_coco

      maskrcnn test -c configs/e2e_mask_rcnn_R_50_FPN_1x.yaml --ckpt model_final.pth

      maskrcnn test model_final.safetensors DATASETS.TEST "('my_test',)"

      maskrcnn test model.onnx

    The exit code is 1 if TEST.EXPECTED_RESULTS is given and not reached.
    """
    # Without a RUN, the first word of the overrides is taken for it.
    source, words = split_first([*([] if run is None else [run]), *(overrides or [])])
    pairs = check_overrides(words, context=context)
    if (source is None) == (config_file is None):
        raise UsageError(
            "Give either the folder of a run or a file of weights, or --config-file FILE."
        )
    if ckpt is not None and source is not None and source.is_file():
        raise UsageError(f"Give one file of weights: {source}, or --ckpt {ckpt}.")
    cfg = make_config(source, config_file=config_file, pairs=pairs)

    from maskrcnn_benchmark.build.run import test
    from maskrcnn_benchmark.predict.loading import find_weights

    if source is not None:
        # OUTPUT_DIR among the overrides says where the results go, not what is tested.
        ckpt = ckpt or find_weights(source)
    exit_if_gate_failed(test(cfg, checkpoint=ckpt))


def make_config(source: Path | None, *, config_file: str | None, pairs: list[str]) -> Config:
    """Read the config of a run or of a file of weights, or a config file, and put the overrides on top."""
    from maskrcnn_benchmark.build.config_files import find_config
    from maskrcnn_benchmark.config import get_defaults

    if source is not None:
        cfg = _config_of(source)
    else:
        cfg = get_defaults()
        cfg.merge_from_file(str(find_config(str(config_file))))
    cfg.merge_from_list(pairs)
    cfg.freeze()
    return cfg


def _config_of(source: Path) -> Config:
    """With OUTPUT_DIR where the run or the file is now."""
    from maskrcnn_benchmark.config import get_defaults
    from maskrcnn_benchmark.errors import ConfigError

    path = source / RUN_CONFIG
    if path.is_file():
        cfg = get_defaults()
        cfg.merge_from_file(str(path))
        # The run may have been moved since it was trained.
        cfg.merge_from_list(["OUTPUT_DIR", str(source)])
        return cfg
    if not source.is_file():
        raise ConfigError(
            f"Expected the folder of a training run, with a file {RUN_CONFIG}, or a file of weights, "
            f"got '{source}'."
        )
    return _config_of_file(source)


def _config_of_file(path: Path) -> Config:
    from maskrcnn_benchmark.build.exported import config_of, manifest_of, open_exported
    from maskrcnn_benchmark.predict.loading import find_config

    if path.suffix == ".onnx":
        cfg = config_of(manifest_of(open_exported(path), path), path)
    else:
        cfg = find_config(str(path))
        if (path.parent / RUN_CONFIG).is_file():
            cfg.merge_from_list(["OUTPUT_DIR", str(path.parent)])
            return cfg
    # Its results go beside it, not into the folder of the run.
    cfg.merge_from_list(["OUTPUT_DIR", str(path.with_suffix(""))])
    return cfg
