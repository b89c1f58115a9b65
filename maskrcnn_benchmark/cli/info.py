"""`maskrcnn info`: what a config or a file of weights is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from maskrcnn_benchmark.cli.overrides import (
    OVERRIDES_HELP,
    OVERRIDES_METAVAR,
    check_overrides,
)

if TYPE_CHECKING:
    from maskrcnn_benchmark.config import Config

_OF_WEIGHTS = (".pth", ".pt", ".pkl", ".npz", ".safetensors")


def info(
    context: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG|WEIGHTS",
            help="A YAML file or the name of a shipped one; or weights: a file, a run's folder, a catalog:// name.",
        ),
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar=OVERRIDES_METAVAR, help=OVERRIDES_HELP)
    ] = None,
    without_flops: Annotated[
        bool,
        typer.Option("--without-flops", help="Do not run the network to count its arithmetic."),
    ] = False,
) -> None:
    """Show what a config or a file of weights is: parameters, FLOPs, layers, input, classes, origin.

    For example:

      maskrcnn info e2e_mask_rcnn_R_50_FPN_1x
    """
    words = check_overrides(overrides, context=context)
    if _is_config(what):
        from maskrcnn_benchmark.build.config_files import find_config
        from maskrcnn_benchmark.config import get_defaults

        cfg = get_defaults()
        cfg.merge_from_file(find_config(what))
        cfg.merge_from_list(words)
        _print_network(cfg, count_flops=not without_flops)
        return
    from maskrcnn_benchmark.predict.weights_info import describe_weights

    found = describe_weights(what, overrides=words)
    _print_pairs(found.facts)
    if found.cfg is not None:
        _print_network(found.cfg, count_flops=not without_flops)


def _is_config(what: str) -> bool:
    if "://" in what:
        return False
    path = Path(what)
    return path.suffix in (".yaml", ".yml") or not (path.exists() or path.suffix in _OF_WEIGHTS)


def _print_network(cfg: Config, *, count_flops: bool) -> None:
    from maskrcnn_benchmark.build.model_info import describe_parts
    from maskrcnn_benchmark.build.model_list import backbone_of, task_of

    inputs = cfg.INPUT
    order = "BGR, 0-255" if inputs.TO_BGR255 else "RGB, 0-1"
    model = cfg.MODEL
    classes = model.RETINANET.NUM_CLASSES if model.RETINANET_ON else model.ROI_BOX_HEAD.NUM_CLASSES
    _print_pairs(
        {
            "network": f"{task_of(cfg)}, {backbone_of(cfg)}",
            "numerics": model.NUMERICS,
            "input": f"{inputs.CHANNELS} channels ({order}), short side {inputs.MIN_SIZE_TEST}, long side at most "
            f"{inputs.MAX_SIZE_TEST}, minus {_numbers(inputs.PIXEL_MEAN)}, divided by {_numbers(inputs.PIXEL_STD)}",
            "classes": "object or background"
            if model.RPN_ONLY and not model.RETINANET_ON
            else f"{classes - 1} and background",
            **({"starts from": model.WEIGHT} if model.WEIGHT else {}),
        }
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("part")
    table.add_column("kind")
    for heading in ("parameters", "trained", "layers", "GFLOPs"):
        table.add_column(heading, justify="right")
    for part in describe_parts(cfg, count_flops=count_flops):
        gflops = f"{part.flops / 1e9:,.1f}" if count_flops else "-"
        row = (f"{part.parameters:,}", f"{part.trainable:,}", str(part.layers), gflops)
        table.add_row(part.name, part.kind, *row, style="bold" if part.name == "all" else None)
    Console(soft_wrap=True).print(table)


def _print_pairs(facts: dict[str, Any]) -> None:
    width = max(map(len, facts))
    for name, value in facts.items():
        typer.echo(f"{name.ljust(width)}  {value}")
    typer.echo()


def _numbers(values: tuple[float, ...]) -> str:
    return f"({', '.join(f'{value:g}' for value in values)})"
