"""`maskrcnn predict`: pictures of what a model finds, and one json with all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskrcnn_benchmark.cli.group import EXIT_FAILED


def predict(
    weights: Annotated[
        str,
        typer.Argument(
            metavar="RUN|WEIGHTS", help="The folder of a training run, or a file of weights."
        ),
    ],
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE|FOLDER", help="Pictures, and folders of pictures."),
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
    device: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="cuda, cpu, ...; default: MODEL.DEVICE if it is there."),
    ] = None,
    config_file: Annotated[
        str | None,
        typer.Option(
            "--config-file",
            "-c",
            metavar="FILE",
            help="Config of the weights; a run, and weights of this version, know their own.",
        ),
    ] = None,
) -> None:
    """Find objects in pictures.

    For example:

      maskrcnn predict runs/quickstart photos/ --output found --threshold 0.7
    """
    from maskrcnn_benchmark.build.config_files import find_config
    from maskrcnn_benchmark.predict import Predictor, predict_folder
    from maskrcnn_benchmark.predict.folder import find_images

    # A mistyped name is reported before the network is loaded.
    find_images(images)
    predictor = Predictor(
        weights,
        config=None if config_file is None else find_config(config_file),
        device=device,
        score_threshold=threshold,
    )
    report = predict_folder(predictor, images, output, category_ids=predictor.category_ids)
    typer.echo(f"Found {report.num_objects} objects in {len(report.pictures)} pictures.")
    typer.echo(f"  Pictures:  {output}")
    typer.echo(f"  As json:   {report.predictions}")
    if report.skipped:
        typer.secho(f"  {len(report.skipped)} files could not be read.", fg="yellow", err=True)
        if not report.pictures:
            raise typer.Exit(EXIT_FAILED)
