"""The keys that describe data, schedule, test and logs of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field

from maskrcnn_benchmark.config.kinds import (
    Count,
    NonNegative,
    NonNegativeNumber,
    Positive,
    Share,
    Size,
    Sizes,
    Steps,
)
from maskrcnn_benchmark.config.section import Section


class Input(Section):
    """INPUT."""

    MIN_SIZE_TRAIN: Sizes = Field(
        default=(800,),
        description="Short side of the resized image in pixels, in training; one of these is drawn "
        "for each image.",
    )
    MAX_SIZE_TRAIN: Size = Field(
        default=1333, description="Most pixels of the long side of the resized image, in training."
    )
    MIN_SIZE_TEST: Size = Field(
        default=800, description="Short side of the resized image in pixels, at test."
    )
    MAX_SIZE_TEST: Size = Field(
        default=1333, description="Most pixels of the long side of the resized image, at test."
    )
    PIXEL_MEAN: Annotated[tuple[float, ...], Field(min_length=1)] = Field(
        default=(102.9801, 115.9465, 122.7717),
        description="Subtracted from each channel: in BGR and 0-255 with TO_BGR255, else RGB and 0-1.",
    )
    PIXEL_STD: Annotated[tuple[Positive, ...], Field(min_length=1)] = Field(
        default=(1.0, 1.0, 1.0),
        description="Each channel is divided by this after the mean is subtracted.",
    )
    TO_BGR255: bool = Field(
        default=True, description="The network sees BGR in 0-255 (true) or RGB in 0-1 (false)."
    )
    CHANNELS: Size = Field(
        default=3,
        description="Channels of the images; PIXEL_MEAN and PIXEL_STD have as many numbers.",
    )
    BIT_DEPTH: Literal[8, 16] = Field(
        default=8,
        description="Bits per channel of the image files; 16-bit values are scaled to 0-255 (or "
        "0-1) before mean and std.",
    )
    BRIGHTNESS: NonNegative = Field(
        default=0.0,
        description="Training: brightness times a factor from 1 - this to 1 + this; 0 = off.",
    )
    CONTRAST: NonNegative = Field(
        default=0.0,
        description="Training: contrast times a factor from 1 - this to 1 + this; 0 = off.",
    )
    SATURATION: NonNegative = Field(
        default=0.0,
        description="Training: saturation times a factor from 1 - this to 1 + this; 0 = off.",
    )
    HUE: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="Training: hue moved by up to this share of the colour circle; 0 = off.",
    )
    HORIZONTAL_FLIP_PROB_TRAIN: Share = Field(
        default=0.5, description="Training: probability of a left-right flip."
    )
    VERTICAL_FLIP_PROB_TRAIN: Share = Field(
        default=0.0, description="Training: probability of a top-bottom flip."
    )


# What an entry of DATASETS.CUSTOM must have, and what it may have besides.
_CUSTOM_FORMS = (
    ({"ann_file", "img_dir"}, set[str]()),
    ({"data_dir", "split"}, {"classes"}),
    ({"img_dir", "ann_dir", "split"}, {"mode"}),
)


def _check_custom(entries: Mapping[str, Mapping[str, str]]) -> Mapping[str, Mapping[str, str]]:
    for name, entry in entries.items():
        if not any(needed <= set(entry) <= needed | more for needed, more in _CUSTOM_FORMS):
            raise ValueError(
                "for each name ann_file (a COCO json) and img_dir (a folder); or data_dir and split, "
                "perhaps classes (Pascal VOC); or img_dir, ann_dir and split, perhaps mode "
                f"(Cityscapes); {name!r} has {', '.join(entry) or 'none'}"
            )
    return entries


CustomData: TypeAlias = Annotated[Mapping[str, Mapping[str, str]], AfterValidator(_check_custom)]
"""Data sets given directly, by name: a COCO annotation file and the folder of its images, or other folders."""


class Datasets(Section):
    """DATASETS."""

    TRAIN: tuple[str, ...] = Field(
        default=(),
        description="Names of the data sets to train on, from PATHS_CATALOG or CUSTOM; joined.",
    )
    TEST: tuple[str, ...] = Field(
        default=(),
        description="Names of the data sets to test on, from PATHS_CATALOG or CUSTOM; each apart.",
    )
    CUSTOM: CustomData = Field(
        default={},
        description="Data sets given directly, name -> {ann_file: COCO json, img_dir: folder}, "
        "{data_dir: folder, split: list, classes: 'a, b'} (Pascal VOC) or {img_dir: folder, "
        "ann_dir: folder, split: name, mode: mask or poly} (Cityscapes); their names can stand in "
        "TRAIN and TEST.",
    )
    KEYPOINT_FLIP_PAIRS: tuple[tuple[Count, Count], ...] = Field(
        default=(),
        description="Pairs of keypoints (from 0) that change places in a mirrored image; empty = "
        "from the names in the annotation file (left_.., right_..).",
    )
    KEYPOINT_OKS_SIGMAS: tuple[Positive, ...] = Field(
        default=(),
        description="Tolerance of each keypoint in the evaluation, as a share of the object's "
        "scale; empty = the annotation file's, or COCO's for 17 keypoints.",
    )


class DataLoader(Section):
    """DATALOADER."""

    NUM_WORKERS: Count = Field(
        default=4,
        description="Processes per GPU that read images; 0 = the training process itself.",
    )
    SIZE_DIVISIBILITY: Count = Field(
        default=0,
        description="Height and width of a batch are padded to a multiple of this, in pixels: 32 "
        "for FPN; 0 = no rounding.",
    )
    ASPECT_RATIO_GROUPING: bool = Field(
        default=True,
        description="Images in a batch are either all wide or all tall, to save padding.",
    )
    ON_ERROR: Literal["stop", "skip"] = Field(
        default="stop",
        description="What a bad image or annotation does: stop the run, or be skipped and counted.",
    )


class Solver(Section):
    """SOLVER."""

    MAX_ITER: Size = Field(
        default=40000, description="Number of updates; each sees IMS_PER_BATCH images."
    )
    BASE_LR: NonNegative = Field(
        default=0.001, description="Learning rate after warm-up; scale it with IMS_PER_BATCH."
    )
    BIAS_LR_FACTOR: NonNegativeNumber = Field(
        default=2, description="Learning rate of biases / learning rate of weights."
    )
    OPTIMIZER: Literal["SGD", "AdamW"] = Field(
        default="SGD",
        description="SGD with momentum as in Detectron, or AdamW (short runs from scratch).",
    )
    MOMENTUM: float = Field(default=0.9, ge=0, lt=1, description="Momentum of SGD.")
    WEIGHT_DECAY: NonNegative = Field(default=0.0005, description="Weight decay (L2) of weights.")
    WEIGHT_DECAY_BIAS: NonNegativeNumber = Field(
        default=0, description="Weight decay (L2) of biases."
    )
    GAMMA: NonNegative = Field(
        default=0.1, description="The learning rate is multiplied by this at each step."
    )
    STEPS: Steps = Field(
        default=(30000,),
        description="Iterations at which the learning rate drops by GAMMA; none beyond MAX_ITER, "
        "() for no drop.",
    )
    LR_SCHEDULE: Literal["multistep", "cosine"] = Field(
        default="multistep",
        description="After warm-up: drop at STEPS, or fall along a cosine to 0 at MAX_ITER.",
    )
    WARMUP_FACTOR: NonNegative = Field(
        default=1.0 / 3, description="Warm-up starts at this share of the learning rate."
    )
    WARMUP_ITERS: Count = Field(default=500, description="Iterations of warm-up; 0 = none.")
    WARMUP_METHOD: Literal["linear", "constant"] = Field(
        default="linear",
        description="Warm-up rises linearly, or stays at WARMUP_FACTOR until it ends.",
    )
    CLIP_GRAD_NORM: NonNegative = Field(
        default=0.0,
        description="Largest norm of the gradient of all weights together; 0 = no limit.",
    )
    COMPILE: Literal["", "inductor", "aot_eager"] = Field(
        default="",
        description="Compile the losses with this backend of torch.compile, which takes minutes once: inductor, or "
        'aot_eager, which generates no code and shows what would fail; "" = run eagerly.',
    )
    CHECKPOINT_PERIOD: Size = Field(
        default=2500, description="Iterations from one checkpoint to the next."
    )
    CHECKPOINT_KEEP: Count = Field(
        default=0,
        description="Number of the latest checkpoints to keep, the final one apart; 0 = all.",
    )
    TEST_PERIOD: Count = Field(
        default=0,
        description="Iterations from one test on DATASETS.TEST to the next, in training; 0 = none.",
    )
    LOG_PERIOD: Size = Field(default=20, description="Iterations from one log line to the next.")
    IMS_PER_BATCH: Size = Field(
        default=16, description="Images per update, over all GPUs; a multiple of their number."
    )


class BoxAug(Section):
    """TEST.BBOX_AUG."""

    ENABLED: bool = Field(
        default=False, description="Test each image several times and merge the boxes."
    )
    H_FLIP: bool = Field(default=False, description="Also test the mirrored image.")
    SCALES: tuple[Size, ...] = Field(
        default=(),
        description="Also test at these short sides, in pixels, besides INPUT.MIN_SIZE_TEST.",
    )
    MAX_SIZE: Size = Field(
        default=4000, description="Most pixels of the long side at these SCALES."
    )
    SCALE_H_FLIP: bool = Field(
        default=False, description="Also test the mirrored image at these SCALES."
    )


# (task, metric, (mean, standard deviation)), for example ("bbox", "AP", (0.377, 0.002)).
ExpectedResult = tuple[str, str, tuple[float, Annotated[float, Field(ge=0)]]]


class Testing(Section):
    """TEST."""

    EXPECTED_RESULTS: tuple[ExpectedResult, ...] = Field(
        default=(),
        description="Results that a test should give: rows of (task, metric, (mean, standard "
        "deviation)), as (('bbox', 'AP', (0.377, 0.002)),); each is logged as PASS or FAIL.",
    )
    EXPECTED_RESULTS_SIGMA_TOL: NonNegativeNumber = Field(
        default=4, description="How many standard deviations an expected result may be off."
    )
    IMS_PER_BATCH: Size = Field(
        default=8,
        description="Images per batch at test, over all GPUs; a multiple of their number.",
    )
    DETECTIONS_PER_IMG: int = Field(
        default=100,
        ge=-1,
        description="RetinaNet: most detections per image; 0 or -1 = no limit. Other models: see "
        "MODEL.ROI_HEADS.DETECTIONS_PER_IMG.",
    )
    BBOX_AUG: BoxAug = Field(default_factory=BoxAug, description="Test-time augmentation.")


class Log(Section):
    """LOG."""

    TENSORBOARD: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Write TensorBoard files to OUTPUT_DIR: auto = if the package is installed, on "
        "= an error if it is not, off.",
    )
