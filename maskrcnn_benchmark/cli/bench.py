"""`maskrcnn bench`: how fast, side by side."""

from __future__ import annotations

from dataclasses import dataclass
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
    from torch import device

    from maskrcnn_benchmark.bench.contestants import Precision, Scene
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
    typer.Option(
        "--against",
        metavar="torchvision|onnxruntime",
        help="Take turns with it, on the same weights and images (repeatable).",
    ),
]
_DType = Annotated[
    list[Lower] | None,
    typer.Option("--dtype", metavar="float32|bfloat16", help="Measure ours in this precision too."),
]
_Compiled = Annotated[
    bool, typer.Option("--compile", help="Measure ours compiled too (minutes for each).")
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
_Memory = Annotated[
    bool, typer.Option("--memory", help="Measure peak memory too, in processes of their own.")
]

DEFAULT = "e2e_mask_rcnn_R_50_FPN_1x"


@dataclass(frozen=True, kw_only=True)
class _Setting:
    """What `infer` and `train` measure on.

    Attributes:
        config: its name on the command line.
        cfg: what was read.
        path: of its file.
        overrides: of its keys, as on the command line.
        scene: the images.
        device: a GPU, if there is one.
        rounds: runs that count.
    """

    config: str
    cfg: Config
    path: Path
    overrides: list[str]
    scene: Scene
    device: device
    rounds: int

    def add_memory(self, rows: list[dict[str, Any]], mode: str) -> None:
        """Measure the peaks of the rows that have one: in processes of their own."""
        from maskrcnn_benchmark.bench.memory import peak_gib

        for row in rows:
            if row["what"] in ("ours", "torchvision"):
                peak = peak_gib(
                    row["what"], mode, str(self.path), self.scene, overrides=self.overrides
                )
                row["peak GiB"] = round(peak, 2)

    def show(self, title: str, rows: list[dict[str, Any]], *, as_json: bool) -> None:
        """Print the table."""
        from maskrcnn_benchmark.bench import report

        scene = self.scene
        size = f"{scene.batch} x 3 x {scene.height} x {scene.width}"
        notes = {"input": size, "rounds": self.rounds}
        report.show(f"{title}, {self.config}", rows, notes=notes, as_json=as_json)


def _load(config: str, overrides: list[str]) -> tuple[Config, Path]:
    from maskrcnn_benchmark.build.config_files import find_config
    from maskrcnn_benchmark.config import get_defaults

    path = find_config(config)
    cfg = get_defaults()
    cfg.merge_from_file(path)
    cfg.merge_from_list(overrides)
    return cfg, path


def _set_up(
    context: typer.Context,
    config: str,
    overrides: list[str] | None,
    *,
    size: tuple[int, int],
    batch: int,
    rounds: int,
) -> _Setting:
    import torch

    from maskrcnn_benchmark.bench.contestants import Scene

    if min(size) < 1:
        raise typer.BadParameter(f"--size: expected a height and width above 0, got {size}.")
    words = check_overrides(overrides, context=context)
    cfg, path = _load(config, words)
    return _Setting(
        config=config,
        cfg=cfg,
        path=path,
        overrides=words,
        scene=Scene(batch=batch, height=size[0], width=size[1]),
        device=torch.device("cuda" if torch.cuda.is_available() else "cpu"),
        rounds=rounds,
    )


def _variants(dtype: list[Lower] | None, *, compiled: bool) -> list[tuple[str, Precision, bool]]:
    """Name, precision and whether it is compiled, of each of ours."""
    variants: list[tuple[str, Precision, bool]] = []
    for lower in dict.fromkeys((Lower.FLOAT32, *(dtype or ()))):
        name = "ours" if lower is Lower.FLOAT32 else f"ours {lower.value}"
        variants.append((name, lower.value, False))
        if compiled:
            variants.append((f"{name} compiled", lower.value, True))
    return variants


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
    compiled: _Compiled = False,
    memory: _Memory = False,
    as_json: _Json = False,
) -> None:
    """Detect: latency and images a second, of the whole and of each stage, and the floor.

    The floor is what the model's convolutions and matrix products take alone. Latencies are of the network; decode,
    preprocess and paste come on top for a photograph that is enlarged to the size.
    """
    from maskrcnn_benchmark.bench import contestants, report
    from maskrcnn_benchmark.bench.around import time_around
    from maskrcnn_benchmark.bench.floor import record_floor
    from maskrcnn_benchmark.bench.stages import time_stages
    from maskrcnn_benchmark.bench.timing import take_turns

    setting = _set_up(context, config, overrides, size=size, batch=batch, rounds=rounds)
    cfg, scene, device = setting.cfg, setting.scene, setting.device
    steps: dict[str, Any] = {}
    if Rival.TORCHVISION in (against or []):
        theirs, ours = contestants.make_torchvision(cfg, scene, device=device)
        steps["torchvision"] = contestants.torchvision_inference(theirs, scene)
    else:
        ours = contestants.make_ours(cfg, device=device)
    models = {"float32": contestants.tuned(ours)}
    ours = models["float32"]
    for name, precision, late in _variants(dtype, compiled=compiled):
        if precision not in models:
            models[precision] = contestants.tuned(ours, precision=precision)
        steps[name] = contestants.ours_inference(
            models[precision], scene, precision=precision, compiled=late
        )
    if Rival.ONNXRUNTIME in (against or []):
        steps["onnxruntime"] = contestants.onnxruntime_inference(ours, scene)
    detections = {name: step() for name, step in steps.items()}
    for name, _, late in _variants(dtype, compiled=compiled):
        if not late:
            steps[name.replace("ours", "floor")] = record_floor(steps[name])
    # ONNX Runtime's own allocator takes a few runs to settle.
    timings = take_turns(steps, rounds=rounds, warm_up=3)
    rows = [
        report.timing_row(name, timing, count=batch, detections=detections.get(name, "-"))
        for name, timing in timings.items()
    ]
    if memory:
        setting.add_memory(rows, "infer")
    rows = report.with_ratios(rows, to="torchvision" if "torchvision" in steps else "ours")
    stages = time_stages(ours.model, steps["ours"], rounds=rounds)
    stages |= time_around(ours, scene, rounds=rounds)
    rows += [report.timing_row(f"  {name}", timing, count=batch) for name, timing in stages.items()]
    setting.show("Inference", rows, as_json=as_json)


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
    compiled: _Compiled = False,
    memory: _Memory = False,
    as_json: _Json = False,
) -> None:
    """Train: a step of forward, losses and backward, with 10 objects on each image."""
    from maskrcnn_benchmark.bench import contestants, report
    from maskrcnn_benchmark.bench.timing import take_turns

    setting = _set_up(context, config, overrides, size=size, batch=batch, rounds=rounds)
    cfg, scene, device = setting.cfg, setting.scene, setting.device
    if Rival.ONNXRUNTIME in (against or []):
        raise typer.BadParameter("ONNX Runtime does not train; use it with `bench infer`.")
    steps: dict[str, Any] = {}
    if against:
        theirs, ours = contestants.make_torchvision(cfg, scene, device=device)
        steps["torchvision"] = contestants.torchvision_training(theirs, scene)
    else:
        ours = contestants.make_ours(cfg, device=device)
    for name, precision, late in _variants(dtype, compiled=compiled):
        steps[name] = contestants.ours_training(ours, scene, precision=precision, compiled=late)
    timings = take_turns(steps, rounds=rounds)
    rows = [report.timing_row(name, timing, count=batch) for name, timing in timings.items()]
    if memory:
        setting.add_memory(rows, "train")
    rows = report.with_ratios(rows, to="torchvision" if "torchvision" in steps else "ours")
    setting.show("A training step", rows, as_json=as_json)


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

    cfg, _ = _load(config, check_overrides(overrides, context=context))
    files = list_images(images)
    timings = time_data(cfg, files, rounds=rounds)
    rows = [report.timing_row(name, timing, count=len(files)) for name, timing in timings.items()]
    report.show(f"Reading {len(files)} pictures", rows, notes={"rounds": rounds}, as_json=as_json)


@app.command("eval")
def evaluate(
    images: Annotated[
        int, typer.Option("--images", metavar="N", min=1, help="How many are drawn.")
    ] = 200,
    detections: Annotated[
        int, typer.Option("--detections", metavar="N", min=1, help="On each.")
    ] = 100,
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


@app.command("agree")
def agree(
    source: Annotated[
        str, typer.Argument(metavar="RUN|WEIGHTS", help="A trained model, in float32.")
    ],
    images: Annotated[Path, typer.Option("--images", metavar="FOLDER", help="Of pictures.")],
    other: Annotated[
        str | None,
        typer.Option("--other", metavar="FILE", help="Another model, say model.onnx."),
    ] = None,
    dtype: Annotated[
        Lower, typer.Option("--dtype", metavar="float32|bfloat16", help="Of the other.")
    ] = Lower.FLOAT32,
    compiled: Annotated[bool, typer.Option("--compile", help="Compile the other.")] = False,
    score_threshold: Annotated[
        float,
        typer.Option(
            "--score-threshold",
            metavar="P",
            min=0.0,
            max=1.0,
            help="Only detections with a higher score are compared.",
        ),
    ] = 0.5,
    as_json: _Json = False,
) -> None:
    """Compare detections: what a lower precision, compiling or an export changes on your pictures."""
    from maskrcnn_benchmark.bench import report
    from maskrcnn_benchmark.bench.agreement import compare
    from maskrcnn_benchmark.bench.data import list_images
    from maskrcnn_benchmark.predict.predictor import Predictor

    files = list_images(images, most=1000)
    found = compare(
        Predictor(source, score_threshold=score_threshold),
        Predictor(
            other or source, score_threshold=score_threshold, dtype=dtype.value, compile=compiled
        ),
        files,
    )
    rows = [
        report.spread_row(name, values, worst=worst)
        for name, values, worst in (
            ("corner of a box, pixels", found.boxes, max),
            ("score", found.scores, max),
            ("overlap of masks", found.mask_ious, min),
        )
        if values
    ]
    notes = {
        "images": found.images,
        "detections": found.detections,
        "only in the first": found.only_first,
        "only in the other": found.only_second,
    }
    title = f"{source} and {other or 'itself'} ({dtype.value}{', compiled' * compiled})"
    report.show(title, rows, notes=notes, as_json=as_json)


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
