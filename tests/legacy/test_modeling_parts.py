"""Coder, matcher, sampler, poolers and small layers, as old code uses them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from maskrcnn_benchmark.config import cfg as global_cfg
from maskrcnn_benchmark.config import get_defaults
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.modeling.balanced_positive_negative_sampler import (
    BalancedPositiveNegativeSampler,
)
from maskrcnn_benchmark.modeling.box_coder import BoxCoder
from maskrcnn_benchmark.modeling.make_layers import (
    conv_with_kaiming_uniform,
    group_norm,
    make_conv3x3,
    make_fc,
)
from maskrcnn_benchmark.modeling.matcher import Matcher
from maskrcnn_benchmark.modeling.poolers import LevelMapper, Pooler, make_pooler
from maskrcnn_benchmark.modeling.roi_heads.mask_head.inference import Masker
from maskrcnn_benchmark.modeling.rpn.anchor_generator import BufferList
from maskrcnn_benchmark.modeling.utils import cat
from maskrcnn_benchmark.structures.bounding_box import BoxList
from tests.legacy.contract import contract


@pytest.fixture
def restored_cfg() -> Iterator[None]:
    """The global config back as it was."""
    numbers = dict(global_cfg.MODEL.GROUP_NORM.items())
    yield
    for key, value in numbers.items():
        global_cfg.MODEL.GROUP_NORM[key] = value


@contract("modeling.box_coder.BoxCoder")
def test_box_coder() -> None:
    coder = BoxCoder(weights=(10.0, 10.0, 5.0, 5.0))
    proposals = torch.tensor([[10.0, 20.0, 29.0, 59.0], [0.0, 0.0, 15.0, 15.0]])
    targets = torch.tensor([[12.0, 18.0, 41.0, 47.0], [2.0, 2.0, 9.0, 33.0]])
    codes = coder.encode(targets, proposals)
    # Inclusive widths 20 and 30; centres x1 + w / 2.
    assert codes[0, 0].item() == pytest.approx(10 * (27 - 20) / 20)
    assert codes[0, 2].item() == pytest.approx(5 * math.log(30 / 20))
    torch.testing.assert_close(coder.decode(codes, proposals), targets)
    # Several classes side by side, and the bound of the growth.
    both = coder.decode(torch.cat((codes, torch.zeros_like(codes)), dim=1), proposals)
    torch.testing.assert_close(both, torch.cat((targets, proposals), dim=1))
    huge = torch.tensor([[0.0, 0.0, 100.0, 0.0]])
    grown = BoxCoder((1.0, 1.0, 1.0, 1.0)).decode(huge, proposals[1:])
    assert (grown[0, 2] - grown[0, 0] + 1).item() == pytest.approx(1000)
    doubled = BoxCoder((1.0, 1.0, 1.0, 1.0), math.log(2)).decode(huge, proposals[1:])
    assert (doubled[0, 2] - doubled[0, 0] + 1).item() == pytest.approx(32)


@contract("modeling.matcher.Matcher")
def test_matcher() -> None:
    quality = torch.tensor([[0.8, 0.2, 0.4, 0.1], [0.1, 0.25, 0.5, 0.25]])
    assert Matcher(0.7, 0.3)(quality).tolist() == [0, -1, -2, -1]
    assert (Matcher.BELOW_LOW_THRESHOLD, Matcher.BETWEEN_THRESHOLDS) == (-1, -2)
    # The best candidate of target 1 is matched too, and so would its equals be.
    assert Matcher(0.7, 0.3, allow_low_quality_matches=True)(quality).tolist() == [0, -1, 1, -1]
    ties = torch.tensor([[0.8, 0.2, 0.2], [0.0, 0.0, 0.0]])
    # A target without any overlap: every candidate ties for its best.
    assert Matcher(0.7, 0.3, True)(ties).tolist() == [0, 0, 0]
    for empty in (torch.zeros(0, 5), torch.zeros(5, 0)):
        with pytest.raises(ValueError, match="at least one target and one candidate"):
            Matcher(0.7, 0.3)(empty)
    with pytest.raises(ValueError, match="low_threshold <= high_threshold"):
        Matcher(0.3, 0.7)


@contract("modeling.balanced_positive_negative_sampler.BalancedPositiveNegativeSampler")
def test_sampler() -> None:
    sampler = BalancedPositiveNegativeSampler(8, 0.25)
    labels = [
        torch.tensor([1.0] * 5 + [0.0] * 20 + [-1.0] * 5),
        torch.tensor([2, -1, 0, 0, 0]),
    ]
    positive, negative = sampler(labels)
    assert [int(mask.sum()) for mask in positive] == [2, 1]
    assert [int(mask.sum()) for mask in negative] == [6, 3]
    for mask, image in zip(positive, labels, strict=True):
        assert mask.dtype == torch.bool
        assert (image[mask] >= 1).all()
    assert all((image[mask] == 0).all() for mask, image in zip(negative, labels, strict=True))
    # Two permutations an image, positives first, from torch's generator.
    torch.manual_seed(3)
    (mask,), _ = sampler(labels[:1])
    torch.manual_seed(3)
    assert mask.nonzero().flatten().tolist() == sorted(torch.randperm(5)[:2].tolist())


@contract("modeling.utils.cat")
def test_cat() -> None:
    one = torch.ones(2, 3)
    assert cat([one]) is one
    assert cat([one, one], dim=1).shape == (2, 6)
    assert cat((one, one)).shape == (4, 3)


@contract("modeling.poolers.Pooler", "modeling.poolers")
def test_pooler() -> None:
    pooler = Pooler((7, 7), (0.25, 0.125), 2)
    maps = [torch.rand(2, 5, 32, 32), torch.rand(2, 5, 16, 16), torch.rand(2, 5, 8, 8)]
    boxes = [
        BoxList([[0, 0, 30, 30], [10, 10, 100, 120]], (128, 128)),
        BoxList([[4, 4, 40, 41, 37, 38][:4]], (128, 128)).convert("xywh"),
    ]
    pooled = pooler(maps, boxes)
    assert pooled.shape == (3, 5, 7, 7)
    # Each row is its box's own, in the order of the lists; the third map is not looked at.
    alone = pooler(maps, [boxes[0][[1]], boxes[1][[]]])
    torch.testing.assert_close(alone[0], pooled[1])
    assert pooler(maps, [boxes[0][[]], boxes[1][[]]]).shape == (0, 5, 7, 7)
    assert Pooler(output_size=(7, 7), scales=(0.25,), sampling_ratio=0)(maps, boxes).shape[0] == 3
    with pytest.raises(ConfigError, match="square"):
        Pooler((7, 5), (0.25,), 2)


@contract("modeling.poolers.LevelMapper", "modeling.poolers.make_pooler")
def test_levels_and_make_pooler() -> None:
    mapper = LevelMapper(2, 5)
    boxes = BoxList(
        [[0, 0, 223, 223], [0, 0, 111, 111], [0, 0, 9, 9], [0, 0, 900, 900]], (999, 999)
    )
    assert mapper([boxes, boxes[[0]]]).tolist() == [2, 1, 0, 3, 2]
    cfg = get_defaults()
    cfg.MODEL.ROI_BOX_HEAD.POOLER_SCALES = (0.25, 0.125)
    cfg.MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION = 7
    pooler = make_pooler(cfg, "ROI_BOX_HEAD")
    assert isinstance(pooler, Pooler)
    assert (pooler.output_size, pooler.scales) == (7, [0.25, 0.125])


@pytest.mark.usefixtures("restored_cfg")
@contract("modeling.make_layers.group_norm")
def test_group_norm() -> None:
    norm = group_norm(64)
    assert (norm.num_groups, norm.num_channels, norm.eps, norm.affine) == (32, 64, 1e-5, True)
    assert group_norm(64, affine=False, divisor=2).num_groups == 16
    # It reads the global config, as it always did.
    global_cfg.MODEL.GROUP_NORM.NUM_GROUPS = -1
    global_cfg.MODEL.GROUP_NORM.DIM_PER_GP = 16
    assert group_norm(64).num_groups == 4
    assert group_norm(64, divisor=4).num_groups == 16
    with pytest.raises(ConfigError, match="60 channels cannot be split"):
        group_norm(60, divisor=2)


@contract("modeling.make_layers.make_fc")
def test_make_fc() -> None:
    plain = make_fc(12, 64)
    assert isinstance(plain, nn.Linear)
    assert plain.bias is not None
    assert not plain.bias.any()
    # Caffe2's XavierFill: uniform with the bound sqrt(3 / fan_in).
    assert 0.4 < plain.weight.abs().max() <= math.sqrt(3 / 12)
    normed = make_fc(12, 64, use_gn=True)
    assert list(normed.state_dict()) == ["0.weight", "1.weight", "1.bias"]
    assert normed(torch.rand(5, 12)).shape == (5, 64)


@contract("modeling.make_layers.make_conv3x3")
def test_make_conv3x3() -> None:
    conv = make_conv3x3(8, 16, dilation=2, stride=1)
    assert list(conv.state_dict()) == ["weight", "bias"]
    assert conv(torch.rand(1, 8, 10, 10)).shape == (1, 16, 10, 10)
    assert make_conv3x3(8, 16, stride=2)(torch.rand(1, 8, 10, 10)).shape == (1, 16, 5, 5)
    # Kaiming normal over fan_out, or 0.01.
    assert make_conv3x3(64, 64).weight.std().item() == pytest.approx(math.sqrt(2 / 576), rel=0.05)
    small = make_conv3x3(64, 64, kaiming_init=False)
    assert small.weight.std().item() == pytest.approx(0.01, rel=0.05)
    whole = make_conv3x3(8, 32, use_gn=True, use_relu=True)
    assert list(whole.state_dict()) == ["0.weight", "1.weight", "1.bias"]
    assert whole(torch.rand(1, 8, 4, 4)).min() >= 0


@contract("modeling.make_layers.conv_with_kaiming_uniform")
def test_conv_with_kaiming_uniform() -> None:
    make = conv_with_kaiming_uniform()
    conv = make(8, 16, 1)
    assert list(conv.state_dict()) == ["weight", "bias"]
    assert conv.weight.abs().max() <= math.sqrt(3 / 8)
    assert make(8, 16, 3, 2)(torch.rand(1, 8, 10, 10)).shape == (1, 16, 5, 5)
    whole = conv_with_kaiming_uniform(use_gn=True, use_relu=True)(8, 32, 3)
    assert list(whole.state_dict()) == ["0.weight", "1.weight", "1.bias"]
    assert whole(torch.rand(1, 8, 4, 4)).min() >= 0


@contract("modeling.rpn.anchor_generator.BufferList")
def test_buffer_list() -> None:
    buffers = BufferList([torch.zeros(2)])
    buffers.extend([torch.ones(3), torch.ones(4)])
    assert len(buffers) == 3
    assert [len(each) for each in buffers] == [2, 3, 4]
    assert list(buffers.state_dict()) == ["0", "1", "2"]
    assert len(BufferList()) == 0
    assert next(iter(buffers.to(torch.float64))).dtype == torch.float64


@contract("modeling.roi_heads.mask_head.inference.Masker")
def test_masker() -> None:
    boxes = BoxList([[2, 2, 12, 8], [15, 5, 30, 12]], (20, 10))
    masks = torch.ones(2, 1, 14, 14)
    masker = Masker(threshold=0.5, padding=1)
    (pasted,) = masker([masks], [boxes])
    assert (pasted.shape, pasted.dtype) == ((2, 1, 10, 20), torch.bool)
    # Corners (1, 1) to (12, 8) after growing by 16 / 14; cells at 0.5 and below fall away.
    assert pasted[0, 0].nonzero().min(dim=0).values.tolist() == [2, 2]
    assert pasted[0, 0].nonzero().max(dim=0).values.tolist() == [7, 11]
    (alone,) = masker(masks, boxes)
    assert torch.equal(alone, pasted)
    assert torch.equal(masker.forward_single_image(masks, boxes), pasted)
    assert masker([masks[:0]], [boxes[[]]])[0].shape == (0, 1, 14, 14)
    # Mended: a negative threshold gives the probabilities.
    heat = Masker(threshold=-1).forward_single_image(masks * 0.4, boxes)
    assert (heat.dtype, int(heat.max())) == (torch.uint8, 102)
    assert torch.equal(heat[0, 0] > 51, pasted[0, 0])
    with pytest.raises(ValueError, match="each of 1 images, got 2"):
        masker([masks, masks], [boxes])
