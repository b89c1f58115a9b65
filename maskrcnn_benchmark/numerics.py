"""What differs in number between the frameworks, as data with a name.

A profile is handed out as single, explicit fields: a pure function that depends on the box offset takes
`offset`, never the whole profile. `build/` reads the profile's name from the config (`MODEL.NUMERICS`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from maskrcnn_benchmark.errors import ConfigError

# detectron: the window (0, 0, stride - 1, stride - 1) reshaped, its sides rounded; rounded: centred on the cell's
# corner, corners rounded; exact: the same, not rounded.
AnchorStyle = Literal["detectron", "rounded", "exact"]
# integer: the box is rounded to whole pixels and the mask resized into it; grid: the mask is sampled at the centre
# of every pixel.
PasteStyle = Literal["integer", "grid"]
# Who rounds the size of a resized image how, and with what the pixels are made (PIL or torch).
ResizeRule = Literal["detectron", "detectron2", "torchvision", "mmdet"]
# What a sharp limit on the number of proposals sorts by: equal probabilities may come from different logits.
ProposalRank = Literal["probability", "logit"]
# A shorter side than this is none: the least positive float32.
NON_EMPTY = 2.0**-126
# What the loss of the proposal network, of keypoints and of RetinaNet is divided by.
Normalizer = Literal["sampled", "wanted"]
RetinaNetNormalizer = Literal["batch", "ema", "image"]
# When the boxes of RetinaNet are cut to the image.
RetinaNetClip = Literal["before_nms", "after_nms"]


@dataclass(frozen=True, kw_only=True)
class Numerics:
    """The numeric conventions of one family of detectors.

    Attributes:
        name: what the config and checkpoints call the profile.
        box_offset: 1 for inclusive corners (width = x2 - x1 + 1), 0 for continuous ones.
        anchors: how the base windows are made.
        roi_align_aligned: whether RoIAlign shifts by half a pixel.
        level_eps: added to the logarithm (or size) that decides on a region's pyramid level.
        nms_inclusive: whether a box whose IoU equals the threshold is suppressed.
        proposals_per_level: whether POST_NMS_TOP_N limits each level (else all levels of an image together).
        proposals_ranked_by: what the best proposals are chosen by.
        min_proposal_size: proposals with a shorter side, in network pixels, are dropped.
        min_detection_size: the same for detections.
        drops_empty_results: whether detections without extent are left out of the results, after the limit on their
            number has counted them.
        rpn_normalizer: the loss of the RPN is divided by the anchors sampled, or by the number wanted.
        keypoints_visible_in: a region trains keypoints if one is inside its target's box, or its own.
        keypoint_offset: what is added to the keypoints of data sets, which name pixels, and taken off from those found.
        keypoint_score: the heat map's logit, or its probability.
        retinanet_normalizer: by positives of the batch, by their moving average, or image by image.
        retinanet_clip: whether suppression sees the boxes cut to the image.
        retinanet_drops_empty: whether boxes that have no area once they are cut are dropped there.
        paste: how masks get into the image.
        mask_padding: pixels of zero border around a mask before it is pasted (integer style).
        resize: rule for the size and pixels of resized images.
    """

    name: str
    box_offset: float
    anchors: AnchorStyle
    roi_align_aligned: bool
    level_eps: float
    nms_inclusive: bool
    proposals_per_level: bool
    proposals_ranked_by: ProposalRank
    min_proposal_size: float
    min_detection_size: float
    drops_empty_results: bool
    rpn_normalizer: Normalizer
    keypoints_visible_in: Literal["gt_box", "proposal"]
    keypoint_offset: float
    keypoint_score: Literal["logit", "probability"]
    retinanet_normalizer: RetinaNetNormalizer
    retinanet_clip: RetinaNetClip
    retinanet_drops_empty: bool
    paste: PasteStyle
    mask_padding: int
    resize: ResizeRule


DETECTRON = Numerics(
    name="detectron",
    box_offset=1.0,
    anchors="detectron",
    roi_align_aligned=False,
    level_eps=1e-6,
    nms_inclusive=True,
    proposals_per_level=True,
    proposals_ranked_by="probability",
    min_proposal_size=0.0,
    min_detection_size=0.0,
    drops_empty_results=False,
    rpn_normalizer="sampled",
    keypoints_visible_in="gt_box",
    keypoint_offset=0.0,
    keypoint_score="logit",
    retinanet_normalizer="batch",
    retinanet_clip="before_nms",
    retinanet_drops_empty=False,
    paste="integer",
    mask_padding=1,
    resize="detectron",
)

DETECTRON2 = Numerics(
    name="detectron2",
    box_offset=0.0,
    anchors="exact",
    roi_align_aligned=True,
    level_eps=1e-8,
    nms_inclusive=False,
    proposals_per_level=False,
    proposals_ranked_by="logit",
    min_proposal_size=NON_EMPTY,
    min_detection_size=0.0,
    drops_empty_results=True,
    rpn_normalizer="wanted",
    keypoints_visible_in="proposal",
    keypoint_offset=0.5,
    keypoint_score="probability",
    retinanet_normalizer="ema",
    retinanet_clip="after_nms",
    retinanet_drops_empty=True,
    paste="grid",
    mask_padding=0,
    resize="detectron2",
)

TORCHVISION = Numerics(
    name="torchvision",
    box_offset=0.0,
    anchors="rounded",
    roi_align_aligned=False,
    level_eps=1e-6,
    nms_inclusive=False,
    proposals_per_level=False,
    proposals_ranked_by="logit",
    min_proposal_size=1e-3,
    min_detection_size=1e-2,
    drops_empty_results=False,
    rpn_normalizer="sampled",
    keypoints_visible_in="proposal",
    keypoint_offset=0.0,
    keypoint_score="logit",
    retinanet_normalizer="image",
    retinanet_clip="before_nms",
    retinanet_drops_empty=False,
    paste="integer",
    mask_padding=1,
    resize="torchvision",
)

MMDET = replace(
    DETECTRON2,
    name="mmdet",
    level_eps=1e-6,
    drops_empty_results=False,
    rpn_normalizer="sampled",
    retinanet_normalizer="batch",
    retinanet_clip="before_nms",
    resize="mmdet",
)

# Its detectors use continuous boxes and aligned RoIAlign as well.
TENSORPACK = replace(
    DETECTRON2, name="tensorpack", drops_empty_results=False, rpn_normalizer="wanted"
)

PROFILES = {
    profile.name: profile for profile in (DETECTRON, DETECTRON2, TORCHVISION, MMDET, TENSORPACK)
}

# The config's default: the profile of the weights that are loaded, the old project's where they have none.
AUTO = "auto"


def get_numerics(name: str) -> Numerics:
    """Look a profile up by name; `auto` (no weights have decided otherwise) is the old project's.

    Raises:
        ConfigError: if there is no such profile; the message lists those there are.
    """
    if name == AUTO:
        return DETECTRON
    try:
        return PROFILES[name]
    except KeyError:
        known = ", ".join((AUTO, *sorted(PROFILES)))
        raise ConfigError(
            f"MODEL.NUMERICS: expected one of {known}, got {name!r}. "
            "Leave the key out for the numbers of the weights' own project."
        ) from None
