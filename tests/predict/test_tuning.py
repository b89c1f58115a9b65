from __future__ import annotations

import pytest
import torch
from torch import nn

from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.layers.norms import FrozenBatchNorm2d
from maskrcnn_benchmark.predict.tuning import precision_context, tune
from tests.thin_models import make_images, thin_detector

CPU = torch.device("cpu")


def test_the_numbers_stay_the_same_bits() -> None:
    images = make_images((96, 128), (64, 100))
    with torch.inference_mode():
        expected = thin_detector()(images)
        network = tune(thin_detector(), device=CPU)
        assert not any(isinstance(part, FrozenBatchNorm2d) for part in network.modules())
        for got, want in zip(network(images), expected, strict=True):
            assert len(want) > 0
            assert torch.equal(got.bbox, want.bbox)
            assert torch.equal(got.get_field("scores"), want.get_field("scores"))


def test_nothing_is_brought_back_to_float32_on_the_way() -> None:
    network = tune(thin_detector(), device=CPU, dtype="bfloat16")
    types = set()

    def record(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        types.update({inputs[0].dtype, output.dtype})

    for name, part in network.named_modules():
        if isinstance(part, nn.Conv2d) and "stem" not in name:
            part.register_forward_hook(record)
    with torch.inference_mode(), precision_context(CPU, "bfloat16"):
        (found,) = network(make_images((96, 128)))
    assert types == {torch.bfloat16}
    assert found.bbox.dtype == torch.float32


def test_exported_networks_stay_as_they_are() -> None:
    exported = nn.Identity()
    assert tune(exported, device=CPU) is exported
    with pytest.raises(ConfigError, match="runs as it was exported"):
        tune(exported, device=CPU, dtype="bfloat16")
    with pytest.raises(ConfigError, match="runs as it was exported"):
        tune(exported, device=CPU, compile_network=True)
