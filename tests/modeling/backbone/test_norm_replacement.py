from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2

from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.modeling.backbone.norm_replacement import (
    replace_batch_norms,
    replace_input_channels,
)


class NormWithActivation(nn.BatchNorm2d):
    """As timm writes them."""

    def __init__(self, channels: int, act: nn.Module) -> None:
        super().__init__(channels)
        self.act = act

    def forward(self, input: Tensor) -> Tensor:
        result: Tensor = self.act(super().forward(input))
        return result


def randomise(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            # Small enough for epsilon to show.
            nn.init.uniform_(module.running_var, 1e-5, 1e-3)


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, eps=1e-3)),
        nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), NormWithActivation(8, nn.SiLU())),
        nn.Sequential(nn.BatchNorm2d(3, affine=False)),
        mobilenet_v2(width_mult=0.25).features[:4],
    ],
    ids=["conv-norm-relu", "bias", "activation", "no-affine", "mobilenet"],
)
def test_a_frozen_norm_is_the_norm_in_evaluation(network: nn.Module) -> None:
    randomise_all = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d) and m.affine]
    for norm in randomise_all:
        randomise(norm)
    # The outermost chain is replaced in its parent. In float64: the small variances multiply
    # rounding by hundreds at every norm, by how much depends on the processor.
    network = nn.Sequential(network).double()
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    expected = network.eval()(images)
    names = {name for name in network.state_dict() if "num_batches" not in name}
    replace_batch_norms(network, "FrozenBN")
    assert names <= set(network.state_dict())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    torch.testing.assert_close(network(images), expected, rtol=1e-9, atol=1e-9)
    # And it stays so in training.
    torch.testing.assert_close(network.train()(images), expected, rtol=1e-9, atol=1e-9)


def test_weights_load_by_the_old_names_into_a_frozen_norm() -> None:
    trained = nn.Sequential(mobilenet_v2(width_mult=0.25).features[:4]).double()
    randomise(trained)
    frozen = nn.Sequential(mobilenet_v2(width_mult=0.25).features[:4]).double()
    replace_batch_norms(frozen, "FrozenBN")
    result = frozen.load_state_dict(trained.state_dict(), strict=False)
    assert not result.missing_keys
    images = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(frozen(images), trained.eval()(images), rtol=1e-9, atol=1e-9)


def test_a_convolution_before_a_frozen_norm_still_learns() -> None:
    network = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4)))
    replace_batch_norms(network, "FrozenBN")
    network(torch.randn(1, 3, 4, 4)).sum().backward()
    assert [name for name, _ in network.named_parameters()] == ["0.0.weight"]
    assert next(network.parameters()).grad is not None


@pytest.mark.parametrize("activation", [None, nn.ReLU()])
@pytest.mark.parametrize(("norm", "kind"), [("GN", nn.GroupNorm), ("SyncBN", nn.SyncBatchNorm)])
def test_other_norms(norm: str, kind: type[nn.Module], activation: nn.Module | None) -> None:
    old = NormWithActivation(8, activation) if activation else nn.BatchNorm2d(8, eps=1e-3)
    network = nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), old)
    replace_batch_norms(network, norm, norm_groups=4)
    new = network[1]
    assert isinstance(new, kind)
    if norm == "SyncBN":
        assert new.eps == old.eps
    output = network.eval()(torch.randn(2, 3, 4, 4))
    assert (output.min() >= 0) == (activation is not None)


@pytest.mark.parametrize("norm", ["", "BN"])
def test_its_own_norms(norm: str) -> None:
    network = nn.Sequential(nn.BatchNorm2d(8))
    kept = network[0]
    replace_batch_norms(network, norm)
    assert network[0] is kept


def test_groups_that_do_not_divide_the_channels() -> None:
    with pytest.raises(ConfigError, match="24 channels cannot be split into 32 groups"):
        replace_batch_norms(nn.Sequential(nn.BatchNorm2d(24)), "GN")


@pytest.mark.parametrize("channels", [1, 3, 6])
def test_input_channels(channels: int) -> None:
    network = nn.Sequential(mobilenet_v2(width_mult=0.25).features[:2])
    before = sum(1 for _ in network.parameters())
    replace_input_channels(network, channels)
    assert sum(1 for _ in network.parameters()) == before
    assert network(torch.randn(2, channels, 16, 16)).shape[-2:] == (8, 8)
