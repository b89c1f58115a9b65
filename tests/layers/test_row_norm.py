"""Batch norm among padding rows: as if these were not there."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from maskrcnn_benchmark.layers.row_norm import TakesRows, norm_rows, run_rows

VALID = torch.tensor([True, False, True, True, False])


def with_padding(*shape: int) -> Tensor:
    x = torch.randn(5, *shape) * 2 + 1
    x[~VALID] = 100.0
    return x.requires_grad_()


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("affine", [True, False])
def test_maps(momentum: float | None, affine: bool) -> None:
    norm = nn.BatchNorm2d(4, momentum=momentum, affine=affine)
    if affine:
        nn.init.uniform_(norm.weight, 0.5, 2.0)
        nn.init.normal_(norm.bias)
    expected_norm = copy.deepcopy(norm)
    for _ in range(3):  # the running statistics follow
        x = with_padding(4, 3, 2)
        got, expected = norm_rows(norm, x, VALID), expected_norm(x[VALID])
        torch.testing.assert_close(got[VALID], expected)
        direction = torch.randn_like(expected)
        ours = torch.autograd.grad((got[VALID] * direction).sum(), x)[0]
        theirs = torch.autograd.grad((expected * direction).sum(), x)[0]
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
        assert not ours[~VALID].any()
    torch.testing.assert_close(norm.state_dict(), expected_norm.state_dict())


def test_vectors_and_half_precision() -> None:
    norm, x = nn.BatchNorm1d(4), with_padding(4)
    torch.testing.assert_close(norm_rows(norm, x, VALID)[VALID], nn.BatchNorm1d(4)(x[VALID]))
    assert norm_rows(norm, x.bfloat16(), VALID).dtype == torch.bfloat16


def test_no_row_is_real() -> None:
    norm = nn.BatchNorm2d(4)
    before = copy.deepcopy(norm.state_dict())
    for rows in (5, 0):
        x = torch.randn(rows, 4, 3, 2, requires_grad=True)
        out = norm_rows(norm, x, torch.zeros(rows, dtype=torch.bool))
        assert out.shape == x.shape
        assert out.isfinite().all()
        out.sum().backward()
    torch.testing.assert_close(norm.state_dict(), before)


def test_other_norms_and_evaluation_are_their_own() -> None:
    x = with_padding(4, 3, 2)
    for norm in (nn.GroupNorm(2, 4), nn.BatchNorm2d(4).eval(), nn.SyncBatchNorm(4).eval()):
        assert torch.equal(norm_rows(norm, x, VALID), norm(x))
    all_real = nn.BatchNorm2d(4)
    assert torch.equal(norm_rows(all_real, x, None), nn.BatchNorm2d(4)(x))


def test_synchronised_norms_of_one_process() -> None:
    x = with_padding(4, 3, 2)
    got = norm_rows(nn.SyncBatchNorm(4), x, VALID)
    torch.testing.assert_close(got[VALID], nn.BatchNorm2d(4)(x[VALID]))


class Doubled(TakesRows):
    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        assert valid is VALID
        return 2 * x


def test_modules_inside_of_modules() -> None:
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(4, 4, 1), nn.Sequential(nn.BatchNorm2d(4), nn.ReLU()), Doubled()
    )
    x = with_padding(4, 3, 2)
    got = run_rows(model, x, VALID)
    expected = 2 * model[:2](x[VALID])
    torch.testing.assert_close(got[VALID], expected)
    plain = model[:2]
    assert torch.equal(run_rows(plain, x, None), plain(x))
