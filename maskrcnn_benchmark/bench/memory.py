"""The most memory a step takes, in a process that does nothing else.

python -m maskrcnn_benchmark.bench.memory NAME MODE CONFIG HEIGHT WIDTH BATCH PRECISION [KEY VALUE]...
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from maskrcnn_benchmark.bench.contestants import (
    Precision,
    Scene,
    Step,
    make_ours,
    make_torchvision,
    ours_inference,
    ours_training,
    torchvision_inference,
    torchvision_training,
)
from maskrcnn_benchmark.config import Config, get_defaults
from maskrcnn_benchmark.errors import MaskRCNNError
from maskrcnn_benchmark.predict.tuning import tune


def peak_gib(
    name: str,
    mode: str,
    config: str,
    scene: Scene,
    *,
    overrides: Sequence[str] = (),
    precision: Precision = "float32",
) -> float:
    """Peak memory in GiB of a process that does two steps: resident, or of the GPU where the model is on one.

    Args:
        name: ours or torchvision.
        mode: infer or train.
        config: path of a YAML file.
        scene: the images.
        overrides: keys and values, one after the other, that replace those of the config.
        precision: of ours.

    Raises:
        MaskRCNNError: if the process fails; with its last line.
    """
    words = [name, mode, config, scene.height, scene.width, scene.batch, precision, *overrides]
    command = [sys.executable, "-m", __spec__.name, *map(str, words)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise MaskRCNNError(f"measuring the memory failed: {run.stderr.strip().splitlines()[-1]}")
    return float(run.stdout.strip().splitlines()[-1])


def make_step(
    name: str, mode: str, cfg: Config, scene: Scene, precision: Precision, device: torch.device
) -> Step:
    """The step of a model: its name, and infer or train."""
    if name == "torchvision":
        theirs, _ = make_torchvision(cfg, scene, device=device)
        make = torchvision_inference if mode == "infer" else torchvision_training
        return make(theirs, scene)
    ours = make_ours(cfg, device=device)
    if mode == "train":
        return ours_training(ours, scene, precision=precision)
    # In place, as `Predictor` does it: a second copy of the weights would count.
    tune(ours.model.eval(), device=device, dtype=precision)
    return ours_inference(ours, scene, precision=precision)


def _resident_peak() -> float:
    """GiB; getrusage would count the parent too, from before this program was started."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main(words: list[str]) -> None:
    """Do two steps and print the peak."""
    name, mode, config, height, width, batch, precision, *overrides = words
    cfg = get_defaults()
    cfg.merge_from_file(config)
    cfg.merge_from_list(overrides)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    scene = Scene(height=int(height), width=int(width), batch=int(batch))
    step = make_step(name, mode, cfg, scene, precision, device)  # type: ignore[arg-type]
    for _ in range(2):
        step()
    peak = _resident_peak()
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**30
    print(peak)


if __name__ == "__main__":
    main(sys.argv[1:])
