"""Parts that users registered under the old registries, fitted into the padded core.

A user's part keeps its class's name, its parameters and their names. Where its `forward` speaks another language than
the core (lists of BoxLists instead of padded tensors), a translating `forward` is put before it.

The network lies channels last in memory, where `x.view(x.size(0), -1)`, as old heads have it, is an error. So the
weights of a user's extractors and mask predictors stay channels first, and with them what their convolutions give;
and so are the features that a predictor takes.

B: images.    K: regions of each image, padded.    R: rows that are computed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.errors import ConfigError, ShapeError
from maskrcnn_benchmark.modeling.backbone import Backbone
from maskrcnn_benchmark.modeling.poolers import Rows
from maskrcnn_benchmark.modeling.registry import BuiltIn
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils.registry import Registry

# What parts are made with; a backbone with the first, an RPN head with all three, others with two.
_ARGUMENTS = ("cfg", "in_channels", "num_anchors")

# What predictors give: those of the box head both.
_OUTPUTS = ("logits", "deltas")

_Module = TypeVar("_Module", bound=nn.Module)


def find_registered(registry: Registry, name: str) -> Callable[..., Any] | None:
    """What makes the user's part of that name, None where there is none.

    Calling it raises ConfigError if the part does not take the arguments of its kind.
    """
    part: Callable[..., Any] | None = registry.get(name)
    return None if part is None or isinstance(part, BuiltIn) else partial(_make, part, name)


def _make(part: Callable[..., Any], name: str, *arguments: Any) -> Any:
    try:
        inspect.signature(part).bind(*arguments)
    except TypeError as error:
        expected = ", ".join(_ARGUMENTS[: len(arguments)])
        raise ConfigError(
            f"{name!r} is registered as {getattr(part, '__qualname__', part)}, which cannot be made with ({expected}) "
            f"as its kind is: {error}"
        ) from error
    except ValueError:  # Something built in, without a signature.
        pass
    made = part(*arguments)
    if isinstance(made, nn.Module):
        if len(arguments) == 2:
            made.register_forward_pre_hook(_features_first)
        elif len(arguments) == 3:
            made.register_forward_hook(partial(_check_head, num_anchors=arguments[2]))
    return made


def _features_first(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The features that a predictor takes, channels first; an extractor takes lists, which stay."""
    return tuple(each.contiguous() if isinstance(each, Tensor) else each for each in inputs)


def _check_head(module: nn.Module, inputs: tuple[Any, ...], maps: Any, *, num_anchors: int) -> None:
    """Refuse what is not one map of objectness and one of deltas for each map, for every anchor."""
    expected = [
        [(*x.shape[:1], n, *x.shape[2:]) for x in inputs[0]] for n in (num_anchors, 4 * num_anchors)
    ]
    given = [[tuple(each.shape) for each in kind] for kind in maps]
    if given == expected:
        return
    raise ShapeError(
        f"RPN head {type(module).__name__}: expected objectness of shapes {expected[0]} and deltas of shapes "
        f"{expected[1]}, one map for each of the backbone's and {num_anchors} anchors a cell, got {given}"
    )


def registered_names(registry: Registry) -> list[str]:
    """What users registered, in order."""
    return sorted(name for name, part in registry.items() if not isinstance(part, BuiltIn))


def unknown_part(key: str, name: str, registry: Registry) -> ConfigError:
    """The error for a name that is neither a part of this package nor registered.

    Args:
        key: of the config.
        name: its value.
        registry: of such parts.
    """
    known = ", ".join(map(repr, sorted(registry)))
    return ConfigError(
        f"{key}: expected one of {known}, got {name!r}. A part of your own is known once its module has been imported "
        "and has registered it (maskrcnn_benchmark.modeling.registry)."
    )


def adapt_backbone(module: nn.Module, cfg: Config) -> Backbone:
    """A user's backbone with the attributes that this package's have.

    Its `forward` then raises ShapeError for maps that are not as it says.

    Raises:
        ConfigError: if it does not say how many channels its maps have.
    """
    _require_channels(module, "MODEL.BACKBONE.CONV_BODY", cfg.MODEL.BACKBONE.CONV_BODY)
    if not hasattr(module, "strides"):
        keys = cfg.MODEL
        strides = keys.RETINANET.ANCHOR_STRIDES if keys.RETINANET_ON else keys.RPN.ANCHOR_STRIDE
        module.strides = tuple(strides)  # type: ignore[assignment]
    module.register_forward_hook(_check_maps)
    return cast(Backbone, module)


def _check_maps(module: nn.Module, _: Any, maps: Any) -> None:
    """Refuse what is not one map for each stride, with the channels promised."""
    strides, channels = cast("tuple[int, ...]", module.strides), module.out_channels
    if not isinstance(maps, Tensor) and [m.shape[1] for m in maps] == [channels] * len(strides):
        return
    given = [maps] if isinstance(maps, Tensor) else maps
    shapes = ", ".join(str(tuple(each.shape)) for each in given)
    raise ShapeError(
        f"backbone {type(module).__name__}: expected a list of {len(strides)} maps (B, {channels}, H, W), one for each "
        f"of the strides {strides} (its attribute `strides`, else MODEL.RPN.ANCHOR_STRIDE) and with `out_channels` "
        f"{channels}, got {'a single tensor' if isinstance(maps, Tensor) else f'{len(given)}'} of shape {shapes}"
    )


def adapt_extractor(module: _Module, head: Any, key: str) -> _Module:
    """A user's feature extractor, also for padded regions.

    Its `forward(maps, proposals)` gets lists of BoxLists without fields, whose size is that of the padded batch.

    Args:
        module: with the attribute `out_channels`.
        head: section of the config, read for the scale of the finest map.
        key: of the config, that names the extractor.

    Raises:
        ConfigError: if it does not say how many channels its features have.
    """
    _require_channels(module, key, head.FEATURE_EXTRACTOR)
    module._pixels_per_cell = round(1 / head.POOLER_SCALES[0])
    return put_before(module, BoxListExtractor)


def adapt_predictor(module: _Module) -> _Module:
    """A user's mask predictor, also for one class of each region."""
    return module if hasattr(module, "forward_class") else put_before(module, AllClassesPredictor)


def check_outputs(module: _Module, channels: Sequence[int]) -> _Module:
    """A user's predictor, whose `forward` raises ShapeError unless its outputs have so many channels."""
    module.register_forward_hook(partial(_check_channels, channels=tuple(channels)))
    return module


def _check_channels(module: nn.Module, _: Any, outputs: Any, *, channels: tuple[int, ...]) -> None:
    given = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    if [each.shape[1] for each in given] == list(channels):
        return
    names = (f"{kind} (R, {count}, ...)" for kind, count in zip(_OUTPUTS, channels, strict=False))
    raise ShapeError(
        f"predictor {type(module).__name__}: expected {' and '.join(names)}, as NUM_CLASSES of ROI_BOX_HEAD and "
        f"CLS_AGNOSTIC_BBOX_REG say, got {', '.join(str(tuple(each.shape)) for each in given)}"
    )


class Translator(nn.Module):
    """Stands before the class of a module; see `put_before`."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Copied and pickled as its two classes: the one made of them has no place of its own."""
        form, own = type(self).__bases__
        return _new, (form, own), self.__dict__


def put_before(module: _Module, form: type[Translator]) -> _Module:
    """Let a module's class inherit from `form` first, which then stands before its own `forward`."""
    own = type(module)
    module.__class__ = type(own.__name__, (form, own), {"__module__": own.__module__})
    return module


def _new(form: type[Translator], own: type[nn.Module]) -> nn.Module:
    return put_before(own.__new__(own), form)


class ChannelsFirst(Translator):
    """Keeps weights channels first, whatever the rest of the network is moved to."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        return super()._apply(lambda tensor: _channels_first(fn(tensor)), recurse)  # type: ignore[no-untyped-call]


class BoxListExtractor(ChannelsFirst):
    """Translates the core's call of a feature extractor into the old one."""

    def forward(self, features: Sequence[Tensor], boxes: Any, rows: Rows | None = None) -> Tensor:
        """Maps and boxes (B, K, 4) -> (R, ...); without `rows`, the old call with BoxLists."""
        old: Callable[..., Tensor] = super().forward
        if rows is None:
            return old(features, boxes)
        height, width = features[0].shape[-2:]
        pixels = cast(int, self._pixels_per_cell)
        size = (width * pixels, height * pixels)
        return old(list(features), [BoxList(each, size) for each in _per_image(boxes, rows)])


class AllClassesPredictor(ChannelsFirst):
    """Chooses one class of each region from a predictor that gives all of them."""

    def forward_class(self, x: Tensor, labels: Tensor) -> Tensor:
        """Logits of one class for each row: features of R rows, labels (R,) -> (R, M, M)."""
        logits: Tensor = self(x)
        return logits[torch.arange(len(labels), device=labels.device), labels].float()


def _channels_first(tensor: Tensor) -> Tensor:
    # The weights of a 1x1 convolution are contiguous either way, but their strides still say which is meant.
    return tensor.contiguous().flatten().view(tensor.shape)


def _per_image(boxes: Tensor, rows: Rows) -> list[Tensor]:
    """The boxes of the rows that are computed, image by image."""
    if rows.chosen is None:
        return list(boxes)
    counts = torch.bincount(rows.chosen // boxes.shape[1], minlength=len(boxes))
    return list(rows.take(boxes).split(counts.tolist()))


def _require_channels(module: nn.Module, key: str, name: str) -> None:
    if not isinstance(getattr(module, "out_channels", None), int):
        raise ConfigError(
            f"{key}: {name!r} is registered, but {type(module).__name__} has no attribute out_channels: set it in "
            "__init__ to the number of channels that leave it."
        )
