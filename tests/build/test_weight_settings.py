"""What weights need is taken over into the configuration, or warned of; never the network they come from."""

import logging

import pytest
import torch

from maskrcnn_benchmark.build.config_files import find_config, list_configs
from maskrcnn_benchmark.build.weight_settings import adapt_config, adapted_settings, infer_config
from maskrcnn_benchmark.checkpoint.dialects import caffe2
from maskrcnn_benchmark.checkpoint.dialects.base import Converted
from maskrcnn_benchmark.checkpoint.opening import LoadedFile
from maskrcnn_benchmark.config import get_defaults
from maskrcnn_benchmark.errors import ConfigError

STEM = {
    "conv1_w": torch.ones(4, 3, 7, 7),
    "res2_0_branch2a_w": torch.ones(4, 4, 1, 1),
}
RGB = (
    ("INPUT.TO_BGR255", False),
    ("INPUT.PIXEL_MEAN", (0.485, 0.456, 0.406)),
    ("MODEL.RESNETS.STRIDE_IN_1X1", False),
)


def converted(*settings, is_detector=True, dialect="torchvision"):
    return Converted(dialect=dialect, weights={}, settings=settings, is_detector=is_detector)


def config(*pairs):
    cfg = get_defaults()
    cfg.merge_from_list(pairs)
    return cfg


def test_a_detector_brings_its_numerics_and_each_change_is_logged(caplog):
    cfg = config("INPUT.PIXEL_STD", (1.0, 1.0, 1.0))
    with caplog.at_level(logging.INFO):
        adapted = adapt_config(cfg, converted(("MODEL.NUMERICS", "torchvision"), *RGB))
    assert adapted.MODEL.NUMERICS == "torchvision"
    assert adapted.INPUT.TO_BGR255 is False
    assert adapted.MODEL.RESNETS.STRIDE_IN_1X1 is False
    assert adapted.origin("INPUT.TO_BGR255") == "weights of torchvision"
    assert "INPUT.TO_BGR255: True -> False, as these weights (torchvision) need it" in caplog.text
    assert len(caplog.records) == 4
    assert cfg.MODEL.NUMERICS == "auto", "the given one stays"
    assert "PIXEL_STD" not in caplog.text


def test_nothing_changes_for_weights_of_the_old_project(caplog):
    cfg = config()
    old = converted(("MODEL.NUMERICS", "detectron"), dialect="legacy")
    assert adapt_config(cfg, old) is cfg
    assert caplog.text == ""


def test_classes_heads_and_sizes_stay_the_configurations():
    cfg = config("MODEL.ROI_BOX_HEAD.NUM_CLASSES", 4)
    needed = (
        ("MODEL.ROI_BOX_HEAD.NUM_CLASSES", 81),
        ("MODEL.MASK_ON", True),
        ("MODEL.BACKBONE.CONV_BODY", "R-101-FPN"),
        ("INPUT.MIN_SIZE_TRAIN", (640,)),
        ("MODEL.FPN.NORM", "BN"),
    )
    assert adapt_config(cfg, converted(*needed)) is cfg


def test_a_backbone_asks_for_preprocessing_and_strides_only():
    body = converted(("MODEL.NUMERICS", "torchvision"), *RGB, is_detector=False)
    adapted = adapt_config(config(), body)
    assert adapted.MODEL.NUMERICS == "auto"
    assert adapted.INPUT.TO_BGR255 is False


def test_a_backbone_does_not_override_what_was_chosen(caplog):
    cfg = config("INPUT.PIXEL_MEAN", (0.5, 0.5, 0.5))
    adapted = adapt_config(cfg, converted(*RGB, is_detector=False))
    assert adapted.INPUT.PIXEL_MEAN == (0.5, 0.5, 0.5)
    assert adapted.INPUT.TO_BGR255 is False
    assert "INPUT.PIXEL_MEAN is (0.5, 0.5, 0.5) (command line), but these weights" in caplog.text


def test_numerics_set_by_hand_stay_with_a_warning(caplog):
    cfg = config("MODEL.NUMERICS", "detectron2")
    assert adapt_config(cfg, converted(("MODEL.NUMERICS", "torchvision"), RGB[0])) is cfg
    assert "MODEL.NUMERICS is detectron2 (command line), but these weights" in caplog.text
    assert "INPUT.TO_BGR255 is True (default), but" in caplog.text


def test_what_was_taken_over_is_kept_for_who_goes_on_from_there():
    needed = (("MODEL.NUMERICS", "detectron2"), ("MODEL.ROI_HEADS.BBOX_REG_WEIGHTS", (1.0,) * 4))
    cfg = config("INPUT.PIXEL_STD", (2.0, 2.0, 2.0))
    assert adapted_settings(cfg) == {}
    kept = adapted_settings(adapt_config(cfg, converted(*needed)))
    assert kept == dict(needed)
    again = adapt_config(cfg, converted(*kept.items(), dialect="native"))
    assert adapted_settings(again) == kept


def test_thresholds_and_limits_are_taken_over_unless_chosen():
    habits = (("MODEL.ROI_HEADS.SCORE_THRESH", 0.2), ("MODEL.RPN.STRADDLE_THRESH", -1))
    adapted = adapt_config(config("MODEL.ROI_HEADS.SCORE_THRESH", 0.3), converted(*habits))
    assert adapted.MODEL.ROI_HEADS.SCORE_THRESH == 0.3
    assert adapted.MODEL.RPN.STRADDLE_THRESH == -1


def test_keys_of_other_networks_stay():
    others = (
        ("MODEL.RETINANET.NMS_TH", 0.5),
        ("MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO", 2),
        ("MODEL.ROI_KEYPOINT_HEAD.POOLER_SAMPLING_RATIO", 2),
    )
    cfg = config()
    assert adapt_config(cfg, converted(*others)) is cfg
    retinanet = config("MODEL.RETINANET_ON", True, "MODEL.RPN_ONLY", True)
    adapted = adapt_config(retinanet, converted(*others, ("MODEL.RPN.NMS_THRESH", 0.5)))
    assert adapted.MODEL.RETINANET.NMS_TH == 0.5
    assert adapted.MODEL.RPN.NMS_THRESH == 0.7


def test_a_later_setting_wins():
    twice = (("INPUT.TO_BGR255", False), ("INPUT.TO_BGR255", True))
    cfg = config()
    assert adapt_config(cfg, converted(*twice)) is cfg


def test_a_frozen_configuration_gives_a_frozen_one():
    cfg = config()
    cfg.freeze()
    adapted = adapt_config(cfg, converted(*RGB))
    assert adapted.is_frozen()
    assert cfg.INPUT.TO_BGR255 is True


def test_means_of_colours_do_not_go_to_other_channels():
    means = ("INPUT.PIXEL_MEAN", (1.0, 2.0), "INPUT.PIXEL_STD", (1.0, 1.0))
    adapted = adapt_config(config("INPUT.CHANNELS", 2, *means), converted(*RGB))
    assert adapted.INPUT.PIXEL_MEAN == (1.0, 2.0)
    assert adapted.INPUT.TO_BGR255 is False


def test_settings_as_lists_are_understood():
    assert adapt_config(
        config(), converted(("INPUT.PIXEL_MEAN", [1.0, 2.0, 3.0]))
    ).INPUT.PIXEL_MEAN == (1.0, 2.0, 3.0)


def test_a_configuration_is_told_from_a_detector_only():
    weights = {"backbone.body.stem.conv1.weight": torch.ones(4, 3, 7, 7)}
    body = Converted(dialect="caffe2", weights=weights, is_detector=False)
    with pytest.raises(ConfigError, match="give the configuration it was trained with"):
        infer_config(LoadedFile(path="a.pkl", converted=body, rest={}))
    broken = Converted(dialect="legacy", weights={"rpn.head.conv.weight": torch.ones(1)})
    with pytest.raises(ConfigError, match=r"a\.pth does not say how its network is built"):
        infer_config(LoadedFile(path="a.pth", converted=broken, rest={}))


def test_every_old_config_suits_the_weights_it_names():
    """Detectron's weights change nothing, as the old project's users expect."""
    checked = 0
    for name in list_configs():
        cfg = get_defaults()
        cfg.merge_from_file(find_config(name))
        weight = cfg.MODEL.WEIGHT
        if not weight.startswith("catalog://"):
            continue
        blobs = dict(STEM)
        blobs["res2_0_branch2b_w"] = torch.ones(4, 2 if "X-1" in weight else 4, 3, 3)
        if "GN" in weight:
            blobs["conv1_gn_s"] = torch.ones(4)
        weights = caffe2.convert(blobs)
        for is_detector in (True, False):
            needed = Converted(
                dialect="caffe2",
                weights={},
                settings=weights.settings,
                is_detector=is_detector,
            )
            assert adapt_config(cfg, needed) is cfg, name
        checked += 1
    assert checked >= 50


@pytest.mark.parametrize("body", ["timm/densenet121-FPN", "torchvision/densenet121"])
def test_weights_of_unknown_names_for_another_librarys_body_see_its_images(body):
    weights = {"features.conv0.weight": torch.ones(1)}
    opened = Converted(dialect="unknown", weights=weights, is_detector=False)
    cfg = config("MODEL.BACKBONE.CONV_BODY", body)
    adapted = adapt_config(cfg, opened)
    assert adapted.INPUT.TO_BGR255 is False
    assert adapted.INPUT.PIXEL_MEAN == (0.485, 0.456, 0.406)
    assert adapted.INPUT.PIXEL_STD == (0.229, 0.224, 0.225)
    assert adapt_config(get_defaults(), opened) == get_defaults(), "of a network of one's own"


def test_a_detector_of_ones_own_on_such_a_body_keeps_its_input():
    weights = {"backbone.net.conv0.weight": torch.ones(1)}
    opened = Converted(dialect="unknown", weights=weights, is_detector=False)
    cfg = config("MODEL.BACKBONE.CONV_BODY", "torchvision/densenet121")
    assert adapt_config(cfg, opened) is cfg


def test_the_input_that_timm_states_goes_before_that_of_most():
    pytest.importorskip("timm")
    body = converted(*RGB, is_detector=False, dialect="timm")
    cfg = config("MODEL.BACKBONE.CONV_BODY", "timm/resnetv2_50x1_bit-FPN")
    adapted = adapt_config(cfg, body)
    assert adapted.INPUT.PIXEL_MEAN == (0.5, 0.5, 0.5)
    assert adapted.INPUT.PIXEL_STD == (0.5, 0.5, 0.5)
    usual = adapt_config(config("MODEL.BACKBONE.CONV_BODY", "timm/resnet18-FPN"), body)
    assert usual.INPUT.PIXEL_MEAN == (0.485, 0.456, 0.406)
