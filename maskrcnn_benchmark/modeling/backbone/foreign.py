"""Classification networks of torchvision and timm as bodies, by their name there.

The parameters keep the names they have in that library, so ImageNet weights load by name. Which map has which stride is
found by running the network once on a small image.

B: images.    C: channels.    H, W: height and width.    Stages: 1 is the stem (what runs until stride 2, or the first
layer of a network that begins with stride 4), 2 the rest until stride 4, 3 until stride 8, and so on.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from types import ModuleType
from typing import Any

from torch import Tensor, nn
from torchvision import models

from maskrcnn_benchmark.errors import ConfigError, MissingExtraError
from maskrcnn_benchmark.layers.norms import NormName
from maskrcnn_benchmark.modeling.backbone.map_probe import (
    choose_strides,
    explain_no_maps,
    probe_maps,
    read_strides,
)
from maskrcnn_benchmark.modeling.backbone.norm_replacement import (
    replace_batch_norms,
    replace_input_channels,
)

_torchvision: Any = models  # it does not declare the functions that find networks by name

# What stands behind the features of a classification network, and branches off beside them.
_CLASSIFIER = frozenset(
    [
        "avgpool",
        "classifier",
        "fc",
        "head",
        "dropout",
        "norm",
        "permute",
        "flatten",
        "aux1",
        "aux2",
        "AuxLogits",
    ]
)
# Chains whose members are taken one by one.
_CHAINS = frozenset(("features", "trunk_output", "layers"))

# What torchvision's constructors need to stay silent, or to leave out branches.
_TORCHVISION_ARGUMENTS: dict[str, dict[str, Any]] = {
    "googlenet": {"aux_logits": False, "init_weights": False},
    "inception_v3": {"aux_logits": False, "init_weights": False},
}


class FrozenStages(nn.Module):
    """A network some of whose stages never train: neither their weights nor the statistics of their norms."""

    _frozen: tuple[str, ...] = ()

    def freeze(self, names: Iterable[str]) -> None:
        """Freeze the modules of these names, each without those inside it."""
        self._frozen = tuple(names)
        for name in self._frozen:
            for parameter in self.get_submodule(name).parameters(recurse=False):
                parameter.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> FrozenStages:
        """As usual, but what is frozen stays in evaluation mode."""
        super().train(mode)
        for name in self._frozen:
            self.get_submodule(name).training = False
        return self


class TorchvisionBody(FrozenStages):
    """A network of torchvision without its classifier.

    Attributes:
        strides: image pixels per cell of each map that `forward` returns, finest first.
        out_channels: stride -> channels, of all maps that there are.
    """

    def __init__(
        self,
        name: str,
        *,
        strides: Sequence[int] | None = (4, 8, 16, 32),
        in_channels: int = 3,
        norm: NormName = "",
        norm_groups: int = 32,
        norm_eps: float = 1e-5,
        freeze_at: int = 0,
    ) -> None:
        """Build with random weights.

        Args:
            name: as `torchvision.models.get_model` knows it.
            strides: of the maps that are wanted; None for the coarsest alone.
            in_channels: of the images.
            norm: "" for the network's own, FrozenBN (its batch norms frozen), BN, SyncBN or GN in their place.
            norm_groups: groups of GN.
            norm_eps: epsilon of GN.
            freeze_at: leading stages that never train, see the module; 0 none.

        Raises:
            ConfigError: if there is no such network, it has no maps of these strides, or too few stages.
        """
        super().__init__()
        network = _make_torchvision_network(name)
        self._steps = _find_steps(network)
        for child_name in dict.fromkeys(step.split(".")[0] for step in self._steps):
            self.add_module(child_name, network.get_submodule(child_name))
        replace_input_channels(self, in_channels)
        replace_batch_norms(self, norm, norm_groups=norm_groups, norm_eps=norm_eps)
        source = f"torchvision/{name}"
        shapes = probe_maps(self._run_steps, self, source, in_channels)
        step_strides, self._is_channels_last = read_strides(source, shapes)
        last = {stride: index for index, stride in enumerate(step_strides)}
        self.out_channels = {
            stride: shapes[index][-1 if self._is_channels_last[index] else 1]
            for stride, index in last.items()
        }
        self.strides = choose_strides(source, sorted(last), strides)
        self._returned = {last[stride] for stride in self.strides}
        del self._steps[max(self._returned) + 1 :]
        stages = _group_steps(self._steps, step_strides)
        self.freeze(_all_names(self, _leading(source, stages, freeze_at)))

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, C, H, W) -> maps (B, C_i, H / stride_i, W / stride_i)."""
        maps = self._run_steps(images)
        chosen = [(index, maps[index]) for index in sorted(self._returned)]
        return [x.permute(0, 3, 1, 2) if self._is_channels_last[i] else x for i, x in chosen]

    def _run_steps(self, x: Tensor) -> list[Tensor]:
        """The output of every step."""
        outputs = []
        for step in self._steps:
            x = self.get_submodule(step)(x)
            outputs.append(x)
        return outputs


class _TimmMaps(FrozenStages):
    """What turns a network of timm into a body: its own class gets this one as a base."""

    strides: tuple[int, ...]
    out_channels: dict[int, int]
    map_indices: list[int]
    forward_intermediates: Callable[..., Any]

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, C, H, W) -> maps (B, C_i, H / stride_i, W / stride_i)."""
        maps: list[Tensor] = self.forward_intermediates(
            images, indices=self.map_indices, output_fmt="NCHW", intermediates_only=True
        )
        return maps


def make_timm_body(
    name: str,
    *,
    strides: Sequence[int] | None = (4, 8, 16, 32),
    in_channels: int = 3,
    norm: NormName = "",
    norm_groups: int = 32,
    norm_eps: float = 1e-5,
    freeze_at: int = 0,
) -> _TimmMaps:
    """A network of timm without its classifier, with random weights.

    The network itself, and not a wrapper around it, so that its parameters keep their names.

    Args:
        name: as `timm.create_model` knows it.
        strides: see `TorchvisionBody`.
        in_channels: see there.
        norm: see there.
        norm_groups: see there.
        norm_eps: see there.
        freeze_at: see there.

    Raises:
        ConfigError: as in `TorchvisionBody`.
        MissingExtraError: if timm is not installed.
    """
    source = f"timm/{name}"
    timm = _import_timm(source)
    network, shapes = _make_timm_network(timm, name, in_channels)
    map_strides, _ = read_strides(source, shapes)
    last = {stride: index for index, stride in enumerate(map_strides)}
    wanted = choose_strides(source, sorted(last), strides)
    info = {int(entry["reduction"]): str(entry["module"]) for entry in network.feature_info}
    body: Any = network
    body.prune_intermediate_layers(
        [last[stride] for stride in wanted], prune_norm=True, prune_head=True
    )
    body.map_indices = [last[stride] for stride in wanted]
    body.strides = wanted
    body.out_channels = {stride: shapes[index][1] for stride, index in last.items()}
    body.__class__ = type(f"{type(body).__name__}Maps", (_TimmMaps, type(body)), {})
    assert isinstance(body, _TimmMaps)
    # Before norms are folded into convolutions, which then are not called by themselves.
    stages = _group_by_run(body, source, info, in_channels) if freeze_at > 0 else []
    replace_batch_norms(body, norm, norm_groups=norm_groups, norm_eps=norm_eps)
    body.freeze(_leading(source, stages, freeze_at))
    return body


# Making the networks


def _make_torchvision_network(name: str) -> nn.Module:
    known = _torchvision.list_models(module=models)
    if name not in known:
        raise ConfigError(_unknown(f"torchvision/{name}", name, known))
    network: nn.Module = _torchvision.get_model(
        name, weights=None, **_TORCHVISION_ARGUMENTS.get(name, {})
    )
    return network


def _import_timm(source: str) -> ModuleType:
    try:
        import timm
    except ImportError as error:
        raise MissingExtraError(
            package="timm", extra="timm", purpose=f"MODEL.BACKBONE.CONV_BODY {source!r}"
        ) from error
    module: ModuleType = timm
    return module


def _make_timm_network(
    timm: ModuleType, name: str, in_channels: int
) -> tuple[Any, list[tuple[int, ...]]]:
    source = f"timm/{name}"
    if not timm.is_model(name):
        raise ConfigError(_unknown(source, name, timm.list_models()))
    # Window attention of some networks is made for one size of image unless this is said.
    for arguments in ({}, {"strict_img_size": False}):
        try:
            network = timm.create_model(
                name, pretrained=False, in_chans=in_channels, num_classes=0, **arguments
            )
        except TypeError:
            continue
        if not hasattr(network, "forward_intermediates") or not hasattr(network, "feature_info"):
            raise ConfigError(explain_no_maps(source, "it does not say where its feature maps are"))
        run = partial(network.forward_intermediates, output_fmt="NCHW", intermediates_only=True)
        try:
            return network, probe_maps(run, network, source, in_channels)
        except ConfigError as error:
            failure = error
    raise failure


def _unknown(source: str, name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=4, cutoff=0.5)
    meant = f"did you mean {', '.join(close)}?" if close else f"it has {', '.join(known[:8])}, ..."
    return f"MODEL.BACKBONE.CONV_BODY: {source.split('/')[0]} has no network {name!r}; {meant}"


# What maps there are


def _find_steps(network: nn.Module) -> list[str]:
    """Names of the modules that run one after the other up to the last map."""
    steps = []
    for name, child in network.named_children():
        if name in _CLASSIFIER:
            continue
        if name in _CHAINS and isinstance(child, nn.Sequential):
            steps += [f"{name}.{inner}" for inner, _ in child.named_children()]
        else:
            steps.append(name)
    return steps


# Freezing


def _group_steps(steps: Sequence[str], strides: Sequence[int]) -> list[list[str]]:
    """Names of the steps by stage."""
    stages: dict[int, list[str]] = {}
    for index, (step, stride) in enumerate(zip(steps, strides, strict=False)):
        stage = 1 if stride <= 2 or index == 0 else stride.bit_length() - 1
        stages.setdefault(stage, []).append(step)
    return [stages[stage] for stage in sorted(stages)]


def _group_by_run(
    network: nn.Module, source: str, ends: dict[int, str], in_channels: int
) -> list[list[str]]:
    """Names of the modules with weights of their own by stage, found by the order in which they run.

    Args:
        network: a body.
        source: its name, for messages.
        ends: stride -> the module whose output is the map of that stride.
        in_channels: of the images.
    """
    stages: list[list[str]] = [[]]
    has_stem_map = min(ends) <= 2
    handles = []
    seen: set[str] = set()

    def note(name: str, *_: Any) -> None:
        if name not in seen:
            seen.add(name)
            stages[-1].append(name)

    def begin_stage(*_: Any) -> None:
        stages.append([])

    for name, module in network.named_modules():
        tensors = (*module._parameters.values(), *module._buffers.values())
        if name and any(tensor is not None for tensor in tensors):
            handles.append(module.register_forward_pre_hook(partial(note, name)))
    for stride, name in sorted(ends.items()):
        if stride < 2 or name not in dict(network.named_modules()):
            continue
        module = network.get_submodule(name)
        if stride == 4 and not has_stem_map:
            handles.append(module.register_forward_pre_hook(begin_stage, prepend=True))
        handles.append(module.register_forward_hook(begin_stage))
    try:
        probe_maps(network, network, source, in_channels)
    finally:
        for handle in handles:
            handle.remove()
    return [stage for stage in stages if stage]


def _leading(source: str, stages: Sequence[list[str]], freeze_at: int) -> list[str]:
    if freeze_at > len(stages):
        raise ConfigError(
            f"MODEL.BACKBONE.FREEZE_CONV_BODY_AT: {source} has {len(stages)} stages, got {freeze_at}; "
            f"0 freezes none, {len(stages)} all of them"
        )
    return [name for stage in stages[: max(freeze_at, 0)] for name in stage]


def _all_names(network: nn.Module, names: Iterable[str]) -> list[str]:
    """These modules and all inside them."""
    return [
        f"{name}.{inner}" if inner else name
        for name in names
        for inner, _ in network.get_submodule(name).named_modules()
    ]
