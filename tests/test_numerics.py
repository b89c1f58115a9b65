"""Profiles of numbers: what the Detectron one says, and what an unknown name gets."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.numerics import DETECTRON, NON_EMPTY, PROFILES, get_numerics


def test_the_detectron_profile() -> None:
    assert dataclasses.asdict(get_numerics("detectron")) == {
        "name": "detectron",
        "box_offset": 1.0,
        "anchors": "detectron",
        "roi_align_aligned": False,
        "level_eps": 1e-06,
        "nms_inclusive": True,
        "proposals_per_level": True,
        "proposals_ranked_by": "probability",
        "min_proposal_size": 0.0,
        "min_detection_size": 0.0,
        "drops_empty_results": False,
        "rpn_normalizer": "sampled",
        "keypoints_visible_in": "gt_box",
        "keypoint_offset": 0.0,
        "keypoint_score": "logit",
        "retinanet_normalizer": "batch",
        "retinanet_clip": "before_nms",
        "retinanet_drops_empty": False,
        "paste": "integer",
        "mask_padding": 1,
        "resize": "detectron",
    }


def test_profiles_know_their_names() -> None:
    assert {name: profile.name for name, profile in PROFILES.items()} == {n: n for n in PROFILES}


def test_a_profile_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        DETECTRON.box_offset = 0.0  # type: ignore[misc]


def test_an_unknown_profile_lists_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"MODEL\.NUMERICS.*detectron.*'detectron3'"):
        get_numerics("detectron3")


def test_the_least_side_is_the_least_positive_float() -> None:
    assert torch.finfo(torch.float32).tiny == NON_EMPTY
    assert (torch.tensor([0.0, 1e-30]) >= NON_EMPTY).tolist() == [False, True]
