"""The floor: a model's convolutions and matrix products alone, on their own shapes, timed apart from all else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from maskrcnn_benchmark.layers.linear import multiply

_HEAVY = {
    torch.ops.aten.convolution.default,
    # In inference mode these come whole.
    torch.ops.aten.conv2d.default,
    torch.ops.aten.conv_transpose2d.input,
    torch.ops.aten.linear.default,
    torch.ops.aten.matmul.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten.mm.default,
    torch.ops.aten.bmm.default,
    torch.ops.aten.baddbmm.default,
}
_LINEAR = {torch.ops.aten.linear.default}


class _Recorder(TorchDispatchMode):
    """Keeps the heavy calls, with stand-ins of the same shapes and layouts for their tensors."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[tuple[Any, Any, Any]] = []
        self._stand_ins: dict[tuple[object, ...], Tensor] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in _HEAVY:
            # As the model does it when nobody watches.
            own = multiply if func in _LINEAR else func
            self.calls.append((own, tree_map(self._stand_in, args), kwargs or {}))
        return result

    def _stand_in(self, value: Any) -> Any:
        """One tensor for all of a shape and layout: a detector's activations would not fit at once."""
        if not isinstance(value, Tensor):
            return value
        key = (value.shape, value.stride(), value.dtype, value.device)
        if key not in self._stand_ins:
            # Ordinary numbers: subnormal ones, as they lie about in memory, take a processor much longer.
            self._stand_ins[key] = torch.full_like(value, 0.5)
        return self._stand_ins[key]


def record_floor(step: Callable[[], object]) -> Callable[[], None]:
    """Run a step once and return a function that does its convolutions and matrix products again, and nothing else.

    Args:
        step: inference; what it computes is not needed.
    """
    with torch.no_grad(), _Recorder() as recorder:
        step()

    def replay() -> None:
        with torch.inference_mode():
            for func, args, kwargs in recorder.calls:
                func(*args, **kwargs)

    return replay
