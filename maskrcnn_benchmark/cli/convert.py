"""`maskrcnn convert`: weights of any program as a file of this package's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskrcnn_benchmark.cli.overrides import OVERRIDES_HELP, OVERRIDES_METAVAR, check_overrides

# Names that are worth a line each.
_MOST_NAMES = 12


def convert(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="IN",
            help="Weights: a file, a run's folder, a http(s) address or a catalog:// name; of maskrcnn-benchmark, "
            "Detectron, detectron2, torchvision, mmdetection, tensorpack or timm.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="The new file: NAME.safetensors (with classes, numerics and config) or NAME.pth.",
        ),
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar=OVERRIDES_METAVAR, help=OVERRIDES_HELP)
    ] = None,
    config_file: Annotated[
        str | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            help="Config of the network; left out: the one in the file, or told from the weights.",
        ),
    ] = None,
    drop_heads: Annotated[
        bool,
        typer.Option(
            "--drop-heads",
            help="Leave out the layers that depend on the classes, to fine-tune for others.",
        ),
    ] = False,
    backbone_only: Annotated[
        bool, typer.Option("--backbone-only", help="Leave out all but the backbone's body.")
    ] = False,
) -> None:
    """Bring weights of any program under this package's names, with all that is needed to use them.

    For example:

      maskrcnn convert model_final_f10217.pkl mask_rcnn.safetensors

      maskrcnn convert --drop-heads mask_rcnn.safetensors start.pth
    """
    words = check_overrides(overrides if source[:1] != "-" else [source, ""], context=context)

    from maskrcnn_benchmark.build.config_files import find_config
    from maskrcnn_benchmark.build.convert import convert_weights
    from maskrcnn_benchmark.checkpoint.dialects import NAMES
    from maskrcnn_benchmark.config import get_defaults
    from maskrcnn_benchmark.predict.loading import find_weights

    cfg = None
    if config_file is not None:
        cfg = get_defaults()
        cfg.merge_from_file(find_config(config_file))
    done = convert_weights(
        find_weights(source),
        output,
        cfg=cfg,
        overrides=words,
        drop_heads=drop_heads,
        backbone_only=backbone_only,
    )
    typer.echo(f"Read weights of {NAMES.get(done.dialect, 'a network with names of its own')}.")
    if len(done.dropped) > _MOST_NAMES:
        typer.echo(f"  left out {len(done.dropped)}: {', '.join(done.dropped[:3])}, ...")
    for name in done.dropped if len(done.dropped) <= _MOST_NAMES else ():
        typer.echo(f"  left out: {name}")
    if done.unused:
        typer.echo(f"  {len(done.unused)} have no counterpart here: {', '.join(done.unused[:3])}")
    typer.echo(f"Wrote {done.weights} weights to {done.path}.")
    if done.has_config:
        typer.echo(f"  Use them: maskrcnn predict {done.path} IMAGE")
