"""Variances for norms that add an epsilon themselves.

The dialects convert for the frozen norms of a ResNet, which have no epsilon: it is in the variance already. Where norms
are trained, or the body is one of torchvision or timm, it would count twice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import Tensor, nn

from maskrcnn_benchmark.checkpoint.dialects.layouts import BATCH_NORM_EPS


def take_out_epsilon(
    model: nn.Module,
    loaded: Mapping[str, Tensor],
    *,
    pairs: Mapping[str, str],
    folded: Collection[str],
) -> dict[str, Tensor]:
    """The loaded weights, without epsilon where the model's norm adds its own.

    Args:
        model: that the weights are for.
        loaded: name -> tensor.
        pairs: the model's name -> loaded name.
        folded: loaded names of the variances that include an epsilon.
    """
    result = dict(loaded)
    for name, loaded_name in pairs.items():
        if loaded_name in folded:
            norm = model.get_submodule(name.rpartition(".")[0])
            if getattr(norm, "eps", 0.0) > 0:
                # In float64, that a variance far below epsilon comes back as it was, as far as float32 kept it.
                variance = (loaded[loaded_name].double() - BATCH_NORM_EPS).clamp(min=0)
                result[loaded_name] = variance.to(loaded[loaded_name].dtype)
    return result
