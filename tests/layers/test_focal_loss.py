"""The focal loss against torchvision's, its derivative, saturated logits, and its memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss as torchvision_focal_loss

from maskrcnn_benchmark.layers import focal_loss
from maskrcnn_benchmark.layers.focal_loss import SigmoidFocalLoss, sigmoid_focal_loss

CLASSES = 5


def random_case(images: int = 3, anchors: int = 40) -> tuple[Tensor, Tensor]:
    logits = 3 * torch.randn(images, anchors, CLASSES)
    labels = torch.randint(-1, CLASSES + 1, (images, anchors))
    return logits.requires_grad_(), labels


def reference(logits: Tensor, labels: Tensor, gamma: float, alpha: float) -> Tensor:
    wanted = (labels[..., None] == torch.arange(1, CLASSES + 1)).to(logits.dtype)
    values = torchvision_focal_loss(logits, wanted, alpha=alpha, gamma=gamma)
    return (values * (labels >= 0)[..., None]).sum(dim=(1, 2))


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (0.0, 0.5), (1.5, 0.9)])
@pytest.mark.parametrize("chunk", [2**22, 37])
def test_value_and_gradient_are_torchvisions(
    gamma: float, alpha: float, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(focal_loss, "MAX_LOGITS", chunk)
    logits, labels = random_case()
    got = sigmoid_focal_loss(logits, labels, gamma=gamma, alpha=alpha)
    expected = reference(logits, labels, gamma, alpha)
    assert got.shape == (3,)
    torch.testing.assert_close(got, expected)
    # Images weigh differently, as the normaliser of one per image does it.
    scale = torch.tensor([1.0, 0.5, 2.0])
    (gradient,) = torch.autograd.grad((got * scale).sum(), logits)
    (wanted,) = torch.autograd.grad((expected * scale).sum(), logits)
    torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-6)
    assert not gradient[labels < 0].any()


def test_a_value_by_hand() -> None:
    # p = 1/2 everywhere: own class 0.25 * 0.25 * log 2, others 0.75 * 0.25 * log 2.
    loss = sigmoid_focal_loss(torch.zeros(1, 3, 2), torch.tensor([[1, 0, -1]]))
    assert loss.item() == pytest.approx((0.0625 + 3 * 0.1875) * torch.tensor(2.0).log().item())


def test_saturated_logits_have_finite_losses_and_gradients() -> None:
    # The old project's CPU code gave infinity here.
    logits = torch.tensor([[[200.0, -200.0], [200.0, -200.0]]], requires_grad=True)
    for gamma in (0.0, 0.5, 2.0):
        loss = sigmoid_focal_loss(logits, torch.tensor([[0, 2]]), gamma=gamma)
        # Wrong by 200: thrice at weight 0.75, 0.75 and 0.25.
        assert loss.item() == pytest.approx(200 * (0.75 + 0.75 + 0.25))
        (gradient,) = torch.autograd.grad(loss, logits)
        assert gradient.isfinite().all()
        assert gradient[0, 1, 1].item() == pytest.approx(-0.25)


def test_the_old_class_sums_one_list() -> None:
    logits, labels = random_case(images=1)
    module = SigmoidFocalLoss(2.0, 0.25)
    got = module(logits[0], labels[0].int())
    assert got.shape == ()
    torch.testing.assert_close(got, sigmoid_focal_loss(logits, labels)[0])
    assert repr(module) == "SigmoidFocalLoss(gamma=2.0, alpha=0.25)"
    assert SigmoidFocalLoss(2.0, 0.25)(torch.zeros(0, 4), torch.zeros(0).int()).item() == 0.0


def test_half_precision_counts_in_float32() -> None:
    logits, labels = random_case()
    half = logits.detach().bfloat16().requires_grad_()
    loss = sigmoid_focal_loss(half, labels)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, sigmoid_focal_loss(half.detach().float(), labels))
    loss.sum().backward()
    assert half.grad is not None
    assert half.grad.dtype == torch.bfloat16


def test_nothing_but_the_inputs_is_kept_for_the_gradient() -> None:
    logits, labels = random_case()
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        sigmoid_focal_loss(logits, labels)
    assert {tensor.data_ptr() for tensor in kept} == {logits.data_ptr(), labels.data_ptr()}


def test_it_compiles_whole() -> None:
    torch.compiler.reset()
    logits, labels = random_case()

    def compute(logits: Tensor, labels: Tensor) -> Tensor:
        return sigmoid_focal_loss(logits, labels).sum()

    compiled = torch.compile(compute, fullgraph=True, backend="aot_eager")
    results = [torch.autograd.grad(f(logits, labels), logits)[0] for f in (compute, compiled)]
    torch.testing.assert_close(*results)
    torch.compiler.reset()
