"""Where the time of an image goes: the parts of a detector, one after the other."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from maskrcnn_benchmark.bench.timing import Timing, wait_for_device
from maskrcnn_benchmark.modeling.detector.detector import Detector


def stages_of(model: Detector) -> dict[str, nn.Module]:
    """Name -> the module whose forward is a stage."""
    stages: dict[str, nn.Module] = {"backbone": model.backbone}
    children = dict(model.named_children())
    if "rpn" in children:
        stages["rpn"] = children["rpn"]
    heads = children.get("roi_heads")
    for name in ("box", "mask", "keypoint"):
        part = getattr(heads, name, None)
        if isinstance(part, nn.Module):
            stages[f"{name} head"] = part
    return stages


@contextmanager
def timed_stages(model: Detector) -> Iterator[dict[str, list[float]]]:
    """Collect seconds of every stage while the block runs; a GPU is waited for at every border."""
    seconds: dict[str, list[float]] = defaultdict(list)
    stages = stages_of(model)
    originals = {name: module.forward for name, module in stages.items()}

    def wrap(name: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            wait_for_device()
            began = time.perf_counter()
            result = forward(*args, **kwargs)
            wait_for_device()
            seconds[name].append(time.perf_counter() - began)
            return result

        return timed

    for name, module in stages.items():
        module.forward = wrap(name, originals[name])
    try:
        yield seconds
    finally:
        for module in stages.values():
            # The instance's own attribute goes, the class's method is left.
            del module.forward


def time_stages(model: Detector, step: Callable[[], object], *, rounds: int) -> dict[str, Timing]:
    """Seconds of every stage over some runs of a step, after one to warm up."""
    step()
    with timed_stages(model) as seconds:
        for _ in range(rounds):
            step()
    return {name: Timing(tuple(values)) for name, values in seconds.items()}
