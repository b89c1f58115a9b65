from __future__ import annotations

import re

import pytest

from maskrcnn_benchmark.config import Config, get_defaults
from maskrcnn_benchmark.errors import ConfigError

TRAINABLE = ["DATASETS.TRAIN", "('coco_2014_train',)"]
FPN = [
    *TRAINABLE,
    *("MODEL.BACKBONE.CONV_BODY", "R-50-FPN", "MODEL.RESNETS.BACKBONE_OUT_CHANNELS", 256),
    *("MODEL.RPN.USE_FPN", True, "MODEL.RPN.ANCHOR_STRIDE", (4, 8, 16, 32, 64)),
    *("MODEL.ROI_BOX_HEAD.POOLER_SCALES", (0.25, 0.125, 0.0625, 0.03125)),
    *("MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR", "FPN2MLPFeatureExtractor"),
]


def make(*pairs: object) -> Config:
    config = get_defaults()
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        config.merge_from_list([key, value])  # one by one: no two of them in one source
    return config


def test_sound_configurations_pass() -> None:
    make(*TRAINABLE).validate_run()
    make(*FPN).validate_run()
    make(*FPN).validate_run(8)


# --- steps ---


def test_steps_beyond_the_end_in_one_list_are_refused_at_once() -> None:
    with pytest.raises(ConfigError, match=r"SOLVER\.STEPS \(20,\) .* beyond SOLVER\.MAX_ITER 10"):
        get_defaults().merge_from_list(["SOLVER.MAX_ITER", "10", "SOLVER.STEPS", "(20,)"])


def test_steps_beyond_the_end_in_one_file_name_both_lines() -> None:
    with pytest.raises(ConfigError, match=r"\(my\.yaml:3\) .* SOLVER\.MAX_ITER 10 \(my\.yaml:2\)"):
        get_defaults().merge_from_text(
            "SOLVER:\n  MAX_ITER: 10\n  STEPS: (5, 20)\n", name="my.yaml"
        )


def test_inherited_steps_are_refused_when_training_starts() -> None:
    config = get_defaults()
    config.merge_from_text(
        "DATASETS:\n  TRAIN: ('a',)\nSOLVER:\n  STEPS: (60000, 80000)\n  MAX_ITER: 90000\n",
        name="a.yaml",
    )
    config.merge_from_list(["SOLVER.MAX_ITER", "900"])
    with pytest.raises(ConfigError) as caught:
        config.validate_run()
    assert str(caught.value) == (
        "SOLVER.STEPS (60000, 80000) (a.yaml:4) lie beyond SOLVER.MAX_ITER 900 (command line): the "
        'learning rate would not drop there. Add SOLVER.STEPS "(600, 800)", say, or '
        'SOLVER.STEPS "()" for no drop'
    )
    config.validate_run(training=False)
    config.merge_from_list(["SOLVER.STEPS", "(600, 800)"])
    config.validate_run()


@pytest.mark.parametrize(("end", "steps"), [(1, "(1,)"), (3, "(2, 3)"), (9, "(6, 8)")])
def test_suggested_steps_are_accepted(end: int, steps: str) -> None:
    config = make(*TRAINABLE, "SOLVER.STEPS", "(60000, 80000)", "SOLVER.MAX_ITER", end)
    with pytest.raises(ConfigError) as caught:
        config.validate_run()
    assert f'SOLVER.STEPS "{steps}"' in str(caught.value)
    config.merge_from_list(["SOLVER.STEPS", steps])
    config.validate_run()


def test_steps_do_not_matter_where_they_are_not_used() -> None:
    make(*TRAINABLE, "SOLVER.MAX_ITER", 10, "SOLVER.LR_SCHEDULE", "cosine").validate_run()
    make(*TRAINABLE, "SOLVER.MAX_ITER", 10, "SOLVER.STEPS", "()").validate_run()
    make(*TRAINABLE, "SOLVER.MAX_ITER", 10, "SOLVER.STEPS", "(10,)").validate_run()


# --- the rest of a run ---


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["DATASETS.TRAIN", ()], "DATASETS.TRAIN is empty"),
        (["INPUT.MAX_SIZE_TRAIN", 600], r"INPUT\.MIN_SIZE_TRAIN \(800,\) .* above .*TRAIN 600"),
        (["INPUT.MIN_SIZE_TEST", 2000], r"INPUT\.MIN_SIZE_TEST 2000 .* above .*TEST 1333"),
    ],
)
def test_run_contradictions(pairs: list[object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(*TRAINABLE, *pairs).validate_run()


def test_batches_are_shared_by_all_processes() -> None:
    config = make(*TRAINABLE, "SOLVER.IMS_PER_BATCH", 6, "TEST.IMS_PER_BATCH", 2)
    config.validate_run(3)  # nothing to test on
    with pytest.raises(ConfigError, match=r"IMS_PER_BATCH 6 .* 4 processes: .*IMS_PER_BATCH 8"):
        config.validate_run(4)
    config.DATASETS.TEST = ("coco_2014_minival",)
    with pytest.raises(ConfigError, match=r"^TEST\.IMS_PER_BATCH 2 .* by 3 processes"):
        config.validate_run(3)
    with pytest.raises(ConfigError) as caught:
        config.validate_run(5)
    assert len(str(caught.value).splitlines()) == 2


# --- the network ---

MASK = [
    *("MODEL.MASK_ON", True, "MODEL.ROI_MASK_HEAD.SHARE_BOX_FEATURE_EXTRACTOR", False),
    *("MODEL.ROI_MASK_HEAD.FEATURE_EXTRACTOR", "MaskRCNNFPNFeatureExtractor"),
    *("MODEL.ROI_MASK_HEAD.POOLER_SCALES", (0.25, 0.125)),
]
RETINANET = [
    *("MODEL.RPN_ONLY", True, "MODEL.RETINANET_ON", True),
    *("MODEL.BACKBONE.CONV_BODY", "R-50-FPN-RETINANET"),
]
KEYPOINTS = [
    *("MODEL.KEYPOINT_ON", True, "MODEL.ROI_KEYPOINT_HEAD.SHARE_BOX_FEATURE_EXTRACTOR", False),
    *("MODEL.ROI_KEYPOINT_HEAD.POOLER_SCALES", (0.25, 0.125, 0.0625, 0.03125)),
]


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["MODEL.RPN.ANCHOR_SIZES", (32, 64)], "got 5 strides and 2 sizes"),
        (["MODEL.RPN.USE_FPN", False], r"several strides need MODEL\.RPN\.USE_FPN True"),
        (
            ["MODEL.RPN.ANCHOR_STRIDE", (16,), "MODEL.RPN.ANCHOR_SIZES", (32,)],
            r"\(4, 8, 16, 32, 64",
        ),
        (["MODEL.ROI_BOX_HEAD.POOLER_SCALES", (0.0625,)], r"does not fit .*R-50-FPN.*\(0\.25, "),
        (["MODEL.BACKBONE.CONV_BODY", "R-50-FPN-RETINANET"], "set MODEL.RETINANET_ON True"),
        (["MODEL.RETINANET_ON", True], r"take a body R-\.\.-FPN-RETINANET"),
        (
            ["MODEL.RPN.BG_IOU_THRESHOLD", 0.8],
            r"BG_IOU_THRESHOLD 0\.8 .* is above .*THRESHOLD 0\.7",
        ),
        (["MODEL.GROUP_NORM.DIM_PER_GP", 16], "expected one of the two to be -1"),
        (["MODEL.GROUP_NORM.NUM_GROUPS", -1], "expected one of the two to be -1"),
        (MASK, r"write MODEL\.ROI_MASK_HEAD\.RESOLUTION 28"),
        ([*MASK, "MODEL.ROI_MASK_HEAD.POOLER_SCALES", (0.0625,)], r"MASK_HEAD\.POOLER_SCALES"),
        (KEYPOINTS, r"write MODEL\.ROI_KEYPOINT_HEAD\.RESOLUTION 56"),
        ([*RETINANET, "MODEL.RETINANET.ANCHOR_SIZES", (32,)], "one size and one stride per"),
        (
            [*RETINANET, "MODEL.RETINANET.ANCHOR_STRIDES", (4, 8, 16, 32, 64)],
            r"have the strides \(8, 16",
        ),
    ],
)
def test_network_contradictions(pairs: list[object], message: str) -> None:
    config = make(*FPN, *pairs)
    with pytest.raises(ConfigError, match=message):
        config.validate_run()
    with pytest.raises(ConfigError, match=message):
        config.validate_run(training=False)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["MODEL.RESNETS.RES2_OUT_CHANNELS", 32], "has 128 output channels"),
        (["MODEL.BACKBONE.CONV_BODY", "R-50-C5"], r"strides \(32,\)"),
        (["MODEL.RPN.ANCHOR_SIZES", ((32, 64),)], "a tuple of sizes per feature map needs"),
        (["MODEL.MASK_ON", True, "MODEL.RESNETS.RES5_DILATION", 2], "RESOLUTION 28"),
    ],
)
def test_c4_contradictions(pairs: list[object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(*TRAINABLE, *pairs).validate_run()


@pytest.mark.parametrize(
    "pairs",
    [
        [*MASK, "MODEL.ROI_MASK_HEAD.RESOLUTION", 28],
        [*KEYPOINTS, "MODEL.ROI_KEYPOINT_HEAD.RESOLUTION", 56],
        RETINANET,
        ["MODEL.BACKBONE.CONV_BODY", "MY-BODY", "MODEL.RPN.ANCHOR_STRIDE", (2, 4, 8, 16, 32)],
        [*MASK, "MODEL.ROI_MASK_HEAD.PREDICTOR", "MyPredictor"],
        [*MASK, "MODEL.ROI_MASK_HEAD.FEATURE_EXTRACTOR", "MyExtractor"],
        ["MODEL.GROUP_NORM.DIM_PER_GP", 16, "MODEL.GROUP_NORM.NUM_GROUPS", -1],
        ["MODEL.RPN_ONLY", True, "MODEL.ROI_BOX_HEAD.POOLER_SCALES", (0.0625,)],
    ],
)
def test_sound_networks_pass(pairs: list[object]) -> None:
    make(*FPN, *pairs).validate_run()


def test_a_mask_head_on_shared_features_passes() -> None:
    make(*TRAINABLE, "MODEL.MASK_ON", True).validate_run()


# --- keys of a variant that another would pass over ---

RETINANET = ("MODEL.RETINANET_ON", True, "MODEL.BACKBONE.CONV_BODY", "R-50-FPN-RETINANET")


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (
            ("MODEL.CASCADE_ON", True, "MODEL.RPN_ONLY", True),
            "there are none with MODEL.RPN_ONLY True",
        ),
        (("MODEL.CASCADE_ON", True, *RETINANET), "there are none with MODEL.RETINANET_ON True"),
        (("MODEL.ROI_HEADS.NMS_TYPE", "soft_linear", *RETINANET), "is for box heads"),
        (("MODEL.BACKBONE.NORM", "GN"), "write MODEL.RESNETS.NORM instead"),
        (
            ("MODEL.BACKBONE.NORM", "GN", "MODEL.BACKBONE.CONV_BODY", "FBNet"),
            "write MODEL.FBNET.BN_TYPE instead",
        ),
        (
            ("MODEL.RPN.NUM_CONVS", 2, "MODEL.RPN.RPN_HEAD", "FBNet.rpn_head"),
            "its blocks follow MODEL.FBNET.RPN_HEAD_BLOCKS",
        ),
        (("MODEL.ROI_BOX_HEAD.NORM", "GN"), "write MODEL.RESNETS.NORM instead"),
        (
            ("MODEL.ROI_MASK_HEAD.NORM", "BN", "MODEL.MASK_ON", True),
            "write MODEL.RESNETS.NORM instead",
        ),
    ],
)
def test_a_key_that_the_variant_would_pass_over_is_refused(
    pairs: tuple[object, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"{re.escape(str(pairs[0]))} .*{re.escape(message)}"):
        make(*TRAINABLE, *pairs).validate_run()


def test_what_the_variant_reads_passes() -> None:
    make(*FPN, "MODEL.ROI_BOX_HEAD.NORM", "GN", "MODEL.RPN.NUM_CONVS", 2).validate_run()
    make(*FPN, "MODEL.ROI_HEADS.NMS_TYPE", "soft_linear", "MODEL.CASCADE_ON", True).validate_run()
    foreign = ("MODEL.BACKBONE.CONV_BODY", "timm/resnet18-FPN", "MODEL.BACKBONE.NORM", "FrozenBN")
    make(*FPN, *foreign).validate_run()
    # The head is not there: its section may say anything.
    make(*TRAINABLE, "MODEL.ROI_MASK_HEAD.NORM", "BN").validate_run()
