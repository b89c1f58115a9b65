"""`maskrcnn bench`: how fast, side by side."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskrcnn_benchmark.cli.overrides import (
    OVERRIDE_SETTINGS,
    OVERRIDES_HELP,
    OVERRIDES_METAVAR,
    check_overrides,
)

if TYPE_CHECKING:
    from maskrcnn_benchmark.bench.contestants import Scene
    from maskrcnn_benchmark.config import Config

app = typer.Typer(
    no_args_is_help=True,
    help="Measure how fast things are: tables with latencies, rates, memory, and ratios.",
    rich_markup_mode="rich",
)


class Rival(str, Enum):
    """What ours is measured against."""

    TORCHVISION = "torchvision"
    ONNXRUNTIME = "onnxruntime"


class Lower(str, Enum):
    """Numbers that the network computes with."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


_Config = Annotated[
    str, typer.Argument(metavar="CONFIG", help="A YAML file, or the name of a shipped one.")
]
_Overrides = Annotated[
    list[str] | None, typer.Argument(metavar=OVERRIDES_METAVAR, help=OVERRIDES_HELP)
]
_Size = Annotated[
    tuple[int, int],
    typer.Option("--size", metavar="HEIGHT WIDTH", help="Of the network's input, in pixels."),
]
_Batch = Annotated[int, typer.Option("--batch", metavar="N", min=1, help="Images at a time.")]
_Rounds = Annotated[int, typer.Option("--rounds", metavar="N", min=1, help="Runs that count.")]
_Against = Annotated[
    list[Rival] | None,
    typer.Option("--against", help="Take turns with it, on the same weights and images."),
]
_DType = Annotated[
    list[Lower] | None, typer.Option("--dtype", help="Measure ours in this precision too.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
_Memory = Annotated[
    bool, typer.Option("--memory", help="Measure peak memory too, in processes of their own.")
]

DEFAULT = "e2e_mask_rcnn_R_50_FPN_1x"


def _load(context: typer.Context, config: str, overrides: list[str] | None) -> tuple[Config, Path]:
    from maskrcnn_benchmark.build.config_files import find_config
    from maskrcnn_benchmark.config import get_defaults

    path = find_config(config)
    cfg = get_defaults()
    cfg.merge_from_file(path)
    cfg.merge_from_list(check_overrides(overrides, context=context))
    return cfg, path


def _notes(scene: Scene, rounds: int) -> dict[str, Any]:
    return {"input": f"{scene.batch} x 3 x {scene.height} x {scene.width}", "rounds": rounds}


@app.command("infer", context_settings=OVERRIDE_SETTINGS)
def infer(
    context: typer.Context,
    config: _Config = DEFAULT,
    overrides: _Overrides = None,
    size: _Size = (800, 1216),
    batch: _Batch = 1,
    rounds: _Rounds = 5,
    against: _Against = None,
    dtype: _DType = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Measure ours compiled too (5 minutes for each).")
    ] = False,
    memory: _Memory = False,
    as_json: _Json = False,
) -> None:
    """Detect: latency and images a second, of the whole and of each stage, and the floor.

    The floor is what the model's convolutions and matrix products take alone.
    """
    import torch

    from maskrcnn_benchmark.bench import contestants, report
    from maskrcnn_benchmark.bench.floor import record_floor
    from maskrcnn_benchmark.bench.memory import peak_gib
    from maskrcnn_benchmark.bench.stages import time_stages
    from maskrcnn_benchmark.bench.timing import take_turns

    cfg, path = _load(context, config, overrides)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    scene = contestants.Scene(batch=batch, height=size[0], width=size[1])
    rivals = set(against or [])
    steps: dict[str, Any] = {}
    if Rival.TORCHVISION in rivals:
        theirs, ours = contestants.make_torchvision(cfg, scene, device=device)
        steps["torchvision"] = contestants.torchvision_inference(theirs, scene)
    else:
        ours = contestants.make_ours(cfg, device=device)
    ours = contestants.tuned(ours)
    for precision in dict.fromkeys((Lower.FLOAT32, *(dtype or ()))):
        lower = precision.value
        name = "ours" if precision is Lower.FLOAT32 else f"ours {lower}"
        model = contestants.tuned(ours, precision=lower) if name != "ours" else ours
        for suffix in ("", " compiled") if compiled else ("",):
            steps[name + suffix] = contestants.ours_inference(
                model, scene, precision=lower, compiled=bool(suffix)
            )
    if Rival.ONNXRUNTIME in rivals:
        steps["onnxruntime"] = contestants.onnxruntime_inference(ours, scene)
    detections = {name: step() for name, step in steps.items()}
    steps["floor"] = record_floor(steps["ours"])
    timings = take_turns(steps, rounds=rounds)
    rows = [
        report.timing_row(name, timing, count=batch, detections=detections.get(name, "-"))
        for name, timing in timings.items()
    ]
    if memory:
        for row in rows:
            if row["what"] in ("ours", "torchvision"):
                row["peak GiB"] = round(peak_gib(row["what"], "infer", str(path), scene), 2)
    rows = report.with_ratios(rows, to="torchvision" if "torchvision" in steps else "ours")
    stages = time_stages(ours.model, steps["ours"], rounds=rounds)
    rows += [report.timing_row(f"  {name}", timing, count=batch) for name, timing in stages.items()]
    report.show(f"Inference, {config}", rows, notes=_notes(scene, rounds), as_json=as_json)


@app.command("train", context_settings=OVERRIDE_SETTINGS)
def train(
    context: typer.Context,
    config: _Config = DEFAULT,
    overrides: _Overrides = None,
    size: _Size = (800, 1216),
    batch: _Batch = 1,
    rounds: _Rounds = 5,
    against: _Against = None,
    dtype: _DType = None,
    memory: _Memory = False,
    as_json: _Json = False,
) -> None:
    """Train: a step of forward, losses and backward, with 10 objects on each image."""
    import torch

    from maskrcnn_benchmark.bench import contestants, report
    from maskrcnn_benchmark.bench.memory import peak_gib
    from maskrcnn_benchmark.bench.timing import take_turns

    cfg, path = _load(context, config, overrides)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    scene = contestants.Scene(batch=batch, height=size[0], width=size[1])
    if Rival.ONNXRUNTIME in (against or []):
        raise typer.BadParameter("ONNX Runtime does not train; use it with `bench infer`.")
    steps: dict[str, Any] = {}
    if against:
        theirs, ours = contestants.make_torchvision(cfg, scene, device=device)
        steps["torchvision"] = contestants.torchvision_training(theirs, scene)
    else:
        ours = contestants.make_ours(cfg, device=device)
    steps["ours"] = contestants.ours_training(ours, scene)
    for lower in dtype or []:
        if lower is not Lower.FLOAT32:
            name = f"ours {lower.value}"
            steps[name] = contestants.ours_training(ours, scene, precision=lower.value)
    timings = take_turns(steps, rounds=rounds)
    rows = [report.timing_row(name, timing, count=batch) for name, timing in timings.items()]
    if memory:
        for row in rows:
            if row["what"] in ("ours", "torchvision"):
                row["peak GiB"] = round(peak_gib(row["what"], "train", str(path), scene), 2)
    rows = report.with_ratios(rows, to="torchvision" if "torchvision" in steps else "ours")
    report.show(f"A training step, {config}", rows, notes=_notes(scene, rounds), as_json=as_json)


@app.command("data", context_settings=OVERRIDE_SETTINGS)
def data(
    context: typer.Context,
    images: Annotated[Path, typer.Option("--images", metavar="FOLDER", help="Of pictures.")],
    config: _Config = DEFAULT,
    overrides: _Overrides = None,
    rounds: _Rounds = 3,
    as_json: _Json = False,
) -> None:
    """Read pictures: decode, resize and normalise, pad to batches; on one core."""
    from maskrcnn_benchmark.bench import report
    from maskrcnn_benchmark.bench.data import list_images, time_data

    cfg, _ = _load(context, config, overrides)
    files = list_images(images)
    timings = time_data(cfg, files, rounds=rounds)
    rows = [report.timing_row(name, timing, count=len(files)) for name, timing in timings.items()]
    report.show(f"Reading {len(files)} pictures", rows, notes={"rounds": rounds}, as_json=as_json)


@app.command("eval")
def evaluate(
    images: Annotated[int, typer.Option("--images", metavar="N", min=1)] = 200,
    detections: Annotated[int, typer.Option("--detections", metavar="N", min=1)] = 100,
    rounds: _Rounds = 3,
    as_json: _Json = False,
) -> None:
    """Score drawn detections: COCO's box AP on N images with N detections each."""
    from maskrcnn_benchmark.bench import report
    from maskrcnn_benchmark.bench.scoring import time_scoring

    timings = time_scoring(images=images, detections=detections, rounds=rounds)
    rows = [report.timing_row(name, timing, count=images) for name, timing in timings.items()]
    notes = {"images": images, "detections on each": detections, "rounds": rounds}
    report.show("Scoring", rows, notes=notes, as_json=as_json)


@app.command("export", context_settings=OVERRIDE_SETTINGS)
def export(
    context: typer.Context,
    config: _Config = DEFAULT,
    overrides: _Overrides = None,
    size: _Size = (800, 1216),
    batch: _Batch = 1,
    rounds: _Rounds = 5,
    as_json: _Json = False,
) -> None:
    """Export to ONNX, and run what was exported beside PyTorch."""
    infer(
        context,
        config=config,
        overrides=overrides,
        size=size,
        batch=batch,
        rounds=rounds,
        against=[Rival.ONNXRUNTIME],
        as_json=as_json,
    )
