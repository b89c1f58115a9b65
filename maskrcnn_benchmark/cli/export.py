"""`maskrcnn export`: a trained model as a file for another runtime."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from maskrcnn_benchmark.cli.group import EXIT_FAILED
from maskrcnn_benchmark.cli.overrides import (
    OVERRIDES_HELP,
    OVERRIDES_METAVAR,
    WeightsConfig,
    check_overrides,
)
from maskrcnn_benchmark.cli.quantization import check_options, report, write_int8

if TYPE_CHECKING:
    from maskrcnn_benchmark.config import Config
    from maskrcnn_benchmark.export.verification import Differences, Tolerance
    from maskrcnn_benchmark.predict.loading import LoadedModel


def export(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN|WEIGHTS|CONFIG",
            help="The folder of a training run, a file of weights, or a config: a YAML file or the name of a shipped "
            "one (its MODEL.WEIGHT is taken).",
        ),
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar=OVERRIDES_METAVAR, help=OVERRIDES_HELP)
    ] = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            metavar="NAME",
            help="onnx; torch (torch.export); aoti (machine code); openvino (an .xml and a .bin).",
        ),
    ] = "onnx",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="The new file; default: model with its ending."
        ),
    ] = None,
    input_kind: Annotated[
        str,
        typer.Option(
            "--input",
            metavar="KIND",
            help="tensor (what the network sees), pixels (RGB 0-255, resized and padded) or image (uint8 RGB of any "
            "size; boxes in its pixels).",
        ),
    ] = "tensor",
    config_file: WeightsConfig = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Compare the file with the network on --image or generated pictures; exit code 1 beyond tolerance.",
        ),
    ] = False,
    images: Annotated[
        list[Path] | None,
        typer.Option("--image", metavar="IMAGE|FOLDER", help="Pictures for --verify (repeatable)."),
    ] = None,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="Quantise the convolutions to 8 bits and report what that changes; needs --calibration.",
        ),
    ] = False,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            metavar="FOLDER",
            help="Pictures like those that the model will see, for --int8; the first 32 are used.",
        ),
    ] = None,
    test: Annotated[
        bool | None,
        typer.Option(
            "--test/--no-test",
            help="Score on DATASETS.TEST before and after --int8; default: if it is there.",
        ),
    ] = None,
) -> None:
    """Write a model as one file for another runtime: any number of images of any size.

    For example:

      maskrcnn export runs/my_coco --verify --image photos/

      maskrcnn export model_final.safetensors --format openvino --input image -o detector.xml

      maskrcnn export runs/my_coco --int8 --calibration photos/ -o model_int8.onnx
    """
    words = check_overrides(overrides, context=context)

    from maskrcnn_benchmark.export.model_export import ENDINGS, check_request, export_model
    from maskrcnn_benchmark.predict.loading import load_model

    output = output or Path("model" + ENDINGS.get(format_, ""))  # type: ignore[call-overload]
    # Mistakes are reported before the weights are read.
    check_request(output, format=format_, input_kind=input_kind)
    calibrating = check_options(
        int8=int8, calibration=calibration, test=test, format_=format_, input_kind=input_kind
    )
    pictures = _find_pictures(images)
    weights, cfg = _find_model(source, config_file=config_file, words=words)
    model = load_model(weights, config=cfg, device="cpu", score_threshold=1.0)
    with tempfile.TemporaryDirectory() as folder:
        path = export_model(
            model,
            Path(folder) / output.name if int8 else output,
            format=format_,  # type: ignore[arg-type]
            input_kind=input_kind,  # type: ignore[arg-type]
            source=weights,
        )
        if int8:
            write_int8(model, path, output, calibrating)
        else:
            _print_size(path, format_=format_)
        # Of a quantised file, the one in float that it was made from.
        if (verify or pictures) and not _verify(model, path, format_=format_, pictures=pictures):
            typer.secho(f"{output} does not find what the network finds.", fg="red", err=True)
            raise typer.Exit(EXIT_FAILED)
        if int8:
            report(model, path, output, pictures or calibrating, test=test)


def _print_size(path: Path, *, format_: str) -> None:
    weights_file = path.with_suffix(".bin")
    size = path.stat().st_size + (weights_file.stat().st_size if format_ == "openvino" else 0)
    typer.echo(f"Wrote {path} ({size / 2**20:.1f} MiB).")


def _verify(model: LoadedModel, path: Path, *, format_: str, pictures: list[Path]) -> bool:
    """Run both, print the largest differences; whether they are within tolerance."""
    from maskrcnn_benchmark.export.model_export import open_detector
    from maskrcnn_benchmark.export.verification import make_images, tolerance_of, verify

    detector = open_detector(path, format=format_)  # type: ignore[arg-type]
    differences = verify(model, detector, pictures or make_images())
    tolerance = tolerance_of(detector)
    _print_differences(differences, tolerance)
    return differences.passes(tolerance)


def _find_pictures(images: list[Path] | None) -> list[Path]:
    from maskrcnn_benchmark.predict.folder import find_images

    return [Path(path) for path in find_images(images)] if images else []


def _find_model(
    source: str, *, config_file: str | None, words: list[str]
) -> tuple[str, Config | None]:
    """Which weights are meant, and the config to build their network from; None: their own."""
    from maskrcnn_benchmark.build.config_files import find_config, list_configs
    from maskrcnn_benchmark.config import get_defaults
    from maskrcnn_benchmark.errors import ConfigError
    from maskrcnn_benchmark.predict.loading import find_config as find_own_config
    from maskrcnn_benchmark.predict.loading import find_weights

    is_shipped = not Path(source).exists() and f"{source}.yaml" in list_configs()
    if is_shipped or Path(source).suffix in (".yaml", ".yml"):
        cfg = get_defaults()
        cfg.merge_from_file(find_config(source))
        cfg.merge_from_list(words)
        if not cfg.MODEL.WEIGHT:
            raise ConfigError(
                f"{source} names no weights, and a network that is not trained finds nothing. Name a run or a file of "
                "weights, or add: MODEL.WEIGHT FILE"
            )
        return cfg.MODEL.WEIGHT, cfg
    weights = find_weights(source)
    if config_file is None and not words:
        return weights, None
    if config_file is None:
        cfg = find_own_config(weights)
    else:
        cfg = get_defaults()
        cfg.merge_from_file(find_config(config_file))
    cfg.merge_from_list(words)
    return weights, cfg


def _print_differences(found: Differences, tolerance: Tolerance) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("compared with PyTorch")
    for heading in ("largest difference", "tolerance"):
        table.add_column(heading, justify="right")
    rows = [
        (
            "found by one of the two only",
            f"{found.unmatched}",
            f"{tolerance.unmatched:.0%}",
            found.unmatched <= tolerance.unmatched * found.detections,
        ),
        (
            "boxes, pixels",
            f"{found.boxes:.2g}",
            f"{tolerance.boxes:g}",
            found.boxes <= tolerance.boxes,
        ),
        (
            "scores",
            f"{found.scores:.2g}",
            f"{tolerance.scores:g}",
            found.scores <= tolerance.scores,
        ),
        (
            "masks, least IoU",
            f"{found.mask_iou:.4f}",
            f"{tolerance.mask_iou:g}",
            found.mask_iou >= tolerance.mask_iou,
        ),
        (
            "keypoints, pixels (99 %)",
            f"{found.keypoint_distance:.2g}",
            f"{tolerance.keypoints:g}",
            found.keypoint_distance <= tolerance.keypoints,
        ),
    ]
    for *cells, passed in rows:
        table.add_row(*map(str, cells), style=None if passed else "red")
    Console(soft_wrap=True).print(table)
    typer.echo(f"{found.detections} detections in {found.images} images.")
    if not found.detections:
        typer.secho(
            "Nothing was found in them, which proves little; give pictures with --image.",
            fg="yellow",
            err=True,
        )
