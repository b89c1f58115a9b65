import pytest
import torch
from torch import nn

from maskrcnn_benchmark.engine.training_step import TrainingStep, make_grad_scaler
from maskrcnn_benchmark.errors import TrainingError
from maskrcnn_benchmark.solver import make_sgd

CPU = torch.device("cpu")


class Quadratic(nn.Module):
    """Losses a * |w|^2 and |w|^2; notes the type in which a product is computed."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[3.0, 4.0]]))
        self.product = None

    def forward(self, images, targets):
        square = self.weight @ self.weight.T
        self.product = square.dtype
        return {"loss_a": targets[0] * square.sum(), "loss_b": square.sum()}


def make(**settings):
    model = Quadratic()
    optimizer = make_sgd(model.named_parameters(), base_lr=0.1, momentum=0, weight_decay=0)
    return model, TrainingStep(model, optimizer, device=CPU, **settings)


def test_the_sum_of_the_losses_is_followed_downhill():
    model, step = make()
    losses = step(None, [2.0])
    assert {name: float(loss) for name, loss in losses.items()} == {"loss_a": 50, "loss_b": 25}
    assert not any(loss.requires_grad for loss in losses.values())
    # d/dw (2 + 1) |w|^2 = 6 w.
    assert torch.allclose(model.weight, torch.tensor([[3.0, 4.0]]) * (1 - 0.1 * 6))


def test_gradients_do_not_add_up_from_step_to_step():
    model, step = make()
    step(None, [0.0])
    step(None, [0.0])
    assert torch.allclose(model.weight, torch.tensor([[3.0, 4.0]]) * 0.8 * 0.8)


def test_the_norm_of_the_gradient_can_be_limited():
    model, step = make(clip_grad_norm=1.0)
    step(None, [2.0])
    moved = torch.tensor([[3.0, 4.0]]) - model.weight
    assert moved.norm().item() == pytest.approx(0.1 * 1.0, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_mixed_precision_keeps_weights_in_float32(dtype, clip):
    scaler = make_grad_scaler(device=CPU, dtype=dtype)
    assert (scaler is None) == (dtype == torch.bfloat16)
    if scaler is not None:
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    model, step = make(dtype=dtype, scaler=scaler, clip_grad_norm=clip)
    losses = step(None, [0.0])
    assert model.product == dtype
    assert model.weight.dtype == torch.float32
    assert float(losses["loss_b"]) == 25
    expected = torch.tensor([[3.0, 4.0]]) * (0.98 if clip else 0.8)
    assert torch.allclose(model.weight, expected, rtol=1e-2)


def test_float16_skips_an_update_that_overflows():
    model, step = make(
        dtype=torch.float16, scaler=make_grad_scaler(device=CPU, dtype=torch.float16)
    )
    model.weight.data *= 2000  # The gradient times the initial scale of 65536 is infinite.
    before, scale = model.weight.clone(), step.scaler
    step(None, [float("inf")])
    assert torch.equal(model.weight, before)
    assert scale.get_scale() == 65536 / 2


def test_a_model_without_losses_is_named():
    class Silent(Quadratic):
        def forward(self, images, targets):
            return {}

    model = Silent()
    step = TrainingStep(model, make_sgd(model.named_parameters()), device=CPU)
    with pytest.raises(TrainingError, match="no losses"):
        step(None, [])
