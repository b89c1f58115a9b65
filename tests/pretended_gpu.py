"""A device that is a CUDA device to all who ask, and computes on the CPU.

It has the numbers, so that whole networks run on it with the bodies of their operators, whose steps depend on values.
Two devices in one operation are an error, as on a GPU, and whatever would make the CPU wait for the GPU is noted. What
it has not is the arithmetic of a GPU, and gradients: torch's engine wants a real device for these.
"""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._library.custom_ops import OPDEFS
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

_PACKAGE = str(Path(__file__).resolve().parents[1] / "maskrcnn_benchmark")
# How often each waits for the device: for the size of its result, or for one number.
_WAITS = {
    "aten::_local_scalar_dense": 1,
    "aten::bincount": 3,
    "aten::equal": 1,
    "aten::masked_select": 1,
    "aten::nonzero": 1,
    "aten::repeat_interleave.Tensor": 1,
    "aten::unique_consecutive": 1,
    "torchvision::nms": 1,
}
_COPIES = ("aten::_to_copy", "aten::copy_")
_INDEXED = ("aten::index.Tensor", "aten::index_put", "aten::index_put_")


class OnGPU(Tensor):
    """A tensor that says it is on `cuda:0`; `values` is the same on the CPU."""

    values: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> OnGPU:
        result = Tensor._make_wrapper_subclass(
            cls,
            values.shape,
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device="cuda:0",
        )
        result.values = values
        return result

    def data_ptr(self) -> int:
        return self.values.data_ptr()

    def tolist(self) -> Any:
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} outside of `pretended_gpu`")


class PretendedGPU(TorchDispatchMode):
    """Every operation on it; `waits` counts those that wait, by operation and line of the package."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.in_operators: Counter[str] = Counter()
        self._operator: str | None = None

    def put(self, value: Any) -> Any:
        """The same tensor, module (in place), data class or list on the device."""
        if isinstance(value, nn.Module):
            for part in value.modules():
                for name, own in part._parameters.items():
                    if own is not None:
                        moved = OnGPU(own.detach())
                        part._parameters[name] = nn.Parameter(moved, own.requires_grad)
                for name, own in part._buffers.items():
                    part._buffers[name] = None if own is None else OnGPU(own)
            return value
        if isinstance(value, Tensor):
            return OnGPU(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in dataclasses.fields(value)]
            return dataclasses.replace(
                value, **{name: self.put(getattr(value, name)) for name in names}
            )
        return [self.put(each) for each in value] if isinstance(value, list) else value

    def by_operator(self) -> Counter[str]:
        """How often each of our operators waited."""
        total: Counter[str] = Counter()
        for where, count in self.in_operators.items():
            total[where.split()[0].removeprefix("maskrcnn::")] += count
        return total

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = func._schema.name + (f".{func._schema.overload_name}".rstrip("."))
        if func.namespace == "maskrcnn":
            outer, self._operator = self._operator, name
            with self:
                result = OPDEFS[func._schema.name]._init_fn(*args, **kwargs)
            self._operator = outer
            return result
        if func._can_decompose():  # Such as aten::to, in the bodies of operators.
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        if name == "prim::device":
            return args[0].device
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        here = [isinstance(tensor, OnGPU) for tensor in tensors]
        self._check(name, args, kwargs, tensors)
        wanted = kwargs.get("device")
        is_here = any(here) if wanted is None else torch.device(wanted).type == "cuda"
        if wanted is not None:
            kwargs["device"] = torch.device("cpu")
        plain_args, plain_kwargs = tree_map(_values, (args, kwargs))
        with _disable_current_modes():
            result = func(*plain_args, **plain_kwargs)
            if wanted is not None and len(tensors) == 1 and any(here) != is_here:
                result = result.clone()  # Never the same memory.
        written = [
            arg
            for arg, spec in zip(args, func._schema.arguments, strict=False)
            if spec.alias_info is not None and spec.alias_info.is_write
        ]
        if "out" in kwargs or (written and func._schema.name.endswith("_")):
            return written[0] if written else kwargs["out"]
        return tree_map(
            lambda leaf: OnGPU(leaf) if is_here and isinstance(leaf, Tensor) else leaf, result
        )

    def _check(self, name: str, args: Any, kwargs: dict[str, Any], tensors: list[Tensor]) -> None:
        here = [tensor for tensor in tensors if isinstance(tensor, OnGPU)]
        base = name.split(".")[0]
        if base in _COPIES:
            wanted = kwargs.get("device")
            places = {isinstance(tensor, OnGPU) for tensor in tensors}
            if wanted is not None:
                places.add(torch.device(wanted).type == "cuda")
            # A copy to the device that need not be complete does not wait, one from it does.
            to_device = not here
            if len(places) == 2 and not (to_device and kwargs.get("non_blocking")):
                self._note(name)
            return
        if not here:
            return
        others = [tensor for tensor in tensors if not isinstance(tensor, OnGPU)]
        if name in _INDEXED or base in _INDEXED:
            indices = [index for index in args[1] if index is not None]
            if any(index.dtype in (torch.bool, torch.uint8) for index in indices):
                self._note(name)
            # torch brings indices and a single value to the device.
            if others:
                self._note(name)
            return
        if any(tensor.dim() for tensor in others):
            raise RuntimeError(f"{name}: {len(here)} tensors on cuda:0, {len(others)} on the CPU")
        for _ in range(_WAITS.get(name, _WAITS.get(base, 0))):
            self._note(name)

    def _note(self, name: str) -> None:
        frame = sys._getframe(2)
        while frame.f_back is not None and not frame.f_code.co_filename.startswith(_PACKAGE):
            frame = frame.f_back
        where = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} {name}"
        if self._operator is None:
            self.waits[where] += 1
        else:
            self.in_operators[f"{self._operator} {where}"] += 1


def _values(leaf: Any) -> Any:
    return leaf.values if isinstance(leaf, OnGPU) else leaf


@contextmanager
def pretended_gpu() -> Iterator[PretendedGPU]:
    """The device; tensors on it can be used inside only."""
    # Under fake tensors torch does not look for a real device where one is asked for by name. The CPU has no cuDNN.
    with torch.backends.cudnn.flags(enabled=False), FakeTensorMode(), PretendedGPU() as gpu:
        yield gpu


def read(value: Any) -> Any:
    """Tensors of any structure, brought back without waiting."""
    return tree_map(_values, value)
