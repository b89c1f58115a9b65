"""`maskrcnn predict`: pictures and videos of what a model finds, and files with all of it."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskrcnn_benchmark.cli.group import EXIT_FAILED, UsageError
from maskrcnn_benchmark.cli.overrides import WeightsConfig

if TYPE_CHECKING:
    from maskrcnn_benchmark.predict import Predictor
    from maskrcnn_benchmark.predict.inputs import Inputs
    from maskrcnn_benchmark.predict.window import Window


class FileFormat(str, Enum):
    """Files that are written besides predictions.json."""

    coco = "coco"
    labelme = "labelme"
    yolo = "yolo"
    csv = "csv"
    png = "png"


class Arithmetic(str, Enum):
    """Numbers to compute with."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


def predict(
    weights: Annotated[
        str,
        typer.Argument(
            metavar="RUN|WEIGHTS",
            help="The folder of a training run, a file of weights, or an exported .onnx file.",
        ),
    ],
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE|FOLDER|PATTERN|VIDEO|WEBCAM",
            help="Pictures, folders (with those in them), patterns in quotes, videos, numbers of webcams.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Where pictures and predictions.json (COCO's format, with scores) are written.",
        ),
    ] = Path("predictions"),
    threshold: Annotated[
        float,
        typer.Option(
            metavar="SCORE", min=0, max=1, help="Show what scores higher than this (0 to 1)."
        ),
    ] = 0.5,
    formats: Annotated[
        list[FileFormat] | None,
        typer.Option(
            "--format", help="Files to write besides predictions.json; may be given several times."
        ),
    ] = None,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Draw what is found.")
    ] = True,
    show: Annotated[bool, typer.Option("--show", help="Show the pictures in a window.")] = False,
    batch_size: Annotated[
        int, typer.Option(metavar="N", min=1, help="Images that run together; more suits a GPU.")
    ] = 1,
    tile: Annotated[
        int | None,
        typer.Option(metavar="PIXELS", min=32, help="Cut larger images into tiles of this side."),
    ] = None,
    overlap: Annotated[
        float, typer.Option(metavar="SHARE", min=0, max=0.89, help="What tiles have in common.")
    ] = 0.2,
    test_time_aug: Annotated[
        bool, typer.Option("--test-time-aug", help="Look at each image several times.")
    ] = False,
    dtype: Annotated[
        Arithmetic, typer.Option(help="bfloat16 and float16 are faster and a little less exact.")
    ] = Arithmetic.float32,
    compile_network: Annotated[
        bool, typer.Option("--compile", help="Compile the network: pays for many images.")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Look again at images that have results already.")
    ] = False,
    device: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="cuda, cpu, ...; default: MODEL.DEVICE if it is there."),
    ] = None,
    config_file: WeightsConfig = None,
) -> None:
    """Find objects in pictures and videos.

    Interrupted work goes on where it stopped: give the same command again. Ends with exit code 1 if a file could not be
    read.

    For example:

      maskrcnn predict runs/quickstart photos/ --output found --threshold 0.7

      maskrcnn predict model.pth 'scans/**/*.tif' --tile 1024 --format labelme

      maskrcnn predict runs/quickstart street.mp4

      maskrcnn predict runs/quickstart 0 --show
    """
    from maskrcnn_benchmark.build.config_files import find_config
    from maskrcnn_benchmark.predict import Predictor
    from maskrcnn_benchmark.predict.inputs import check_nothing_is_replaced, sort_inputs
    from maskrcnn_benchmark.predict.window import Window

    if compile_network and test_time_aug:
        raise UsageError("--compile and --test-time-aug do not go together")
    # A mistyped name, and a place that is taken, are reported before the network is loaded.
    found = sort_inputs(inputs, leave_out=output)
    work = _name_videos(found, output)
    check_nothing_is_replaced(
        [*found.images, *found.videos],
        [file for target in work.values() for file in (target, target.with_suffix(".json"))],
    )
    predictor = Predictor(
        weights,
        config=None if config_file is None else find_config(config_file),
        device=device,
        score_threshold=threshold,
        batch_size=batch_size,
        dtype=dtype.value,
        compile=compile_network,
        test_time_aug=test_time_aug,
        tile=tile,
        overlap=overlap,
    )
    window = Window() if show else None
    is_whole = True
    if found.images:
        names = [each.value for each in formats or ()]
        is_whole = _predict_images(predictor, found, output, names, pictures, restart, window)
    if work:
        is_whole = _predict_videos(predictor, work, window) and is_whole
    if window is not None:
        window.wait()
    if not is_whole:
        raise typer.Exit(EXIT_FAILED)


def _predict_images(
    predictor: Predictor,
    found: Inputs,
    output: Path,
    formats: list[str],
    pictures: bool,
    restart: bool,
    window: Window | None,
) -> bool:
    """Whether all could be read."""
    from maskrcnn_benchmark.predict.folder import predict_files

    report = predict_files(
        predictor,
        found.images,
        output,
        roots=found.roots,
        category_ids=predictor.category_ids,
        formats=formats,
        with_pictures=pictures,
        resume=not restart,
        show=None if window is None else window.show,
    )
    count = len(found.images) - len(report.skipped)
    typer.echo(f"Found {report.num_objects} objects in {count} pictures.")
    if report.num_earlier:
        typer.echo(f"  Known from before: {report.num_earlier} (--restart looks at them again)")
    if pictures:
        typer.echo(f"  Pictures:  {output}")
    typer.echo(f"  As json:   {report.predictions}")
    if report.skipped:
        typer.secho(f"  {len(report.skipped)} files could not be read:", fg="yellow", err=True)
        for reason in report.skipped.values():
            typer.secho(f"    {reason}", fg="yellow", err=True)
    return not report.skipped


def _name_videos(found: Inputs, output: Path) -> dict[Path | int, Path]:
    """Each video and webcam, and the video to write for it."""
    from maskrcnn_benchmark.predict.inputs import name_results
    from maskrcnn_benchmark.predict.journal import PREDICTIONS_FILE

    # The json beside a video must not be that of the pictures, nor that of a webcam.
    taken = [PREDICTIONS_FILE, *(f"webcam{number}.json" for number in found.webcams)]
    places = name_results(
        found.videos,
        found.roots,
        earlier={Path(name): Path(name).with_suffix("") for name in taken},
    )
    work: dict[Path | int, Path] = {
        path: output / name.with_name(f"{name.name}.mp4") for path, name in places.items()
    }
    work.update({number: output / f"webcam{number}.mp4" for number in found.webcams})
    return work


def _predict_videos(
    predictor: Predictor, work: dict[Path | int, Path], window: Window | None
) -> bool:
    """Whether all could be read to their ends."""
    from maskrcnn_benchmark.errors import DatasetError
    from maskrcnn_benchmark.predict.video import predict_video

    is_whole = True
    for source, target in work.items():
        try:
            report = predict_video(
                predictor,
                source,
                target,
                category_ids=predictor.category_ids,
                show=None if window is None else window.show,
            )
        except DatasetError as error:
            typer.secho(f"Skipped: {error}", fg="yellow", err=True)
            is_whole = False
            continue
        typer.echo(f"Found {report.num_objects} objects in {report.num_frames} frames.")
        typer.echo(f"  Video:     {report.video}")
        typer.echo(f"  As json:   {report.predictions}")
        is_whole = is_whole and not report.remark
    return is_whole
