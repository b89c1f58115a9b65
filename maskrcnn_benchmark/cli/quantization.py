"""What `maskrcnn export --int8` does besides: options, and what quantisation changes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from maskrcnn_benchmark.config import Config
    from maskrcnn_benchmark.predict.loading import LoadedModel

# What quantisation usually leaves; reported, not required.
EXPECTED_FOUND = 0.9
EXPECTED_SCORES = 0.05


def check_options(
    *, int8: bool, calibration: Path | None, test: bool | None, format_: str, input_kind: str
) -> list[Path]:
    """The pictures to calibrate with; none without --int8.

    Raises:
        ConfigError: if an option does not go with another.
        DatasetError: if there are no pictures.
    """
    from maskrcnn_benchmark.errors import ConfigError
    from maskrcnn_benchmark.export.quantization import MAX_IMAGES, check_int8
    from maskrcnn_benchmark.predict.folder import find_images

    if not int8:
        if calibration is not None or test is not None:
            raise ConfigError("--calibration, --test and --no-test are for --int8. Add it")
        return []
    check_int8(format=format_, input_kind=input_kind)
    if calibration is None:
        raise ConfigError(
            "--int8 needs pictures like those that the model will see. Add: --calibration FOLDER"
        )
    return find_images([calibration])[:MAX_IMAGES]


def write_int8(model: LoadedModel, draft: Path, output: Path, pictures: Sequence[Path]) -> None:
    """Quantise a file and print the sizes."""
    from maskrcnn_benchmark.export.quantization import quantize

    path = quantize(model, draft, output, pictures)
    before, after = (each.stat().st_size / 2**20 for each in (draft, path))
    typer.echo(f"Wrote {path} ({after:.1f} MiB; in float {before:.1f} MiB).")


def report(
    model: LoadedModel, draft: Path, output: Path, pictures: Sequence[Path], *, test: bool | None
) -> None:
    """Print AP before and after quantisation if that can be had, else how far the two files agree.

    Args:
        model: the files were made from.
        draft: the file in float.
        output: the quantised one.
        pictures: to compare them on.
        test: whether to score them; None: if the sets of DATASETS.TEST are there.
    """
    if test or (test is None and _has_test_sets(_test_config(draft))):
        _print_scores(_score(draft), _score(output))
    else:
        _print_agreement(model, draft, output, pictures)


def _test_config(path: Path) -> Config:
    """What `maskrcnn test` takes from a file, on the CPU and without a gate."""
    from maskrcnn_benchmark.build.exported import config_of, manifest_of, open_exported

    cfg = config_of(manifest_of(open_exported(path), path), path)
    cfg.merge_from_list(["MODEL.DEVICE", "cpu", "TEST.EXPECTED_RESULTS", []])
    return cfg


def _has_test_sets(cfg: Config) -> bool:
    from maskrcnn_benchmark.build.data import build_test_loaders
    from maskrcnn_benchmark.errors import MaskRCNNError

    try:
        return bool(cfg.DATASETS.TEST) and bool(build_test_loaders(cfg))
    except (MaskRCNNError, OSError):
        return False


def _score(path: Path) -> dict[str, Any]:
    """Results by data set; the files of the test are not kept."""
    from maskrcnn_benchmark.build.run import test

    cfg = _test_config(path)
    with tempfile.TemporaryDirectory() as folder:
        cfg.merge_from_list(["OUTPUT_DIR", folder])
        cfg.freeze()
        return {name: outcome.results for name, outcome in test(cfg, checkpoint=str(path)).items()}


def _print_scores(before: dict[str, Any], after: dict[str, Any]) -> None:
    table = _table("data set", "task", "metric", "float", "int8", "difference")
    for name, tasks in before.items():
        for task, metrics in tasks.items():
            for metric, value in metrics.items():
                other = after[name][task][metric]
                figures = (f"{value:.4f}", f"{other:.4f}", f"{other - value:+.4f}")
                table.add_row(name, task, metric, *figures)
    Console(soft_wrap=True).print(table)


def _print_agreement(
    model: LoadedModel, draft: Path, output: Path, pictures: Sequence[Path]
) -> None:
    from maskrcnn_benchmark.export.quantization import agreement
    from maskrcnn_benchmark.modeling.detector.onnx_detector import OnnxDetector

    result = agreement(model, OnnxDetector(draft), OnnxDetector(output), pictures)
    table = _table("compared with float", "int8", "expected")
    share = result.found / max(result.detections, 1)
    table.add_row(
        f"found again, IoU above {result.iou:g}", f"{share:.1%}", f"{EXPECTED_FOUND:.0%} or more"
    )
    table.add_row(
        "their scores, mean difference", f"{result.scores:.2g}", f"{EXPECTED_SCORES:g} or less"
    )
    Console(soft_wrap=True).print(table)
    typer.echo(
        f"{result.detections} detections in {result.images} images. AP says more: give DATASETS.TEST and --test."
    )


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading)
    return table
