"""What differs in number between the frameworks, as data with a name.

A profile is handed out as single, explicit fields: a pure function that depends on the box offset takes
`offset`, never the whole profile. `build/` reads the profile's name from the config (`MODEL.NUMERICS`).
"""

from __future__ import annotations

from dataclasses import dataclass

from maskrcnn_benchmark.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Numerics:
    """The numeric conventions of one family of detectors.

    Attributes:
        name: what the config and checkpoints call the profile.
        box_offset: 1 for inclusive corners (width = x2 - x1 + 1), 0 for continuous ones.
        round_anchors: whether the base windows are rounded to whole pixels, as Detectron did.
        roi_align_aligned: whether RoIAlign shifts by half a pixel.
        nms_inclusive: whether a box whose IoU equals the threshold is suppressed.
        mask_padding: pixels of zero border around a mask before it is pasted.
    """

    name: str
    box_offset: float
    round_anchors: bool
    roi_align_aligned: bool
    nms_inclusive: bool
    mask_padding: int


DETECTRON = Numerics(
    name="detectron",
    box_offset=1.0,
    round_anchors=True,
    roi_align_aligned=False,
    nms_inclusive=True,
    mask_padding=1,
)

PROFILES = {profile.name: profile for profile in (DETECTRON,)}


def get_numerics(name: str) -> Numerics:
    """Look a profile up by name.

    Raises:
        ConfigError: if there is no such profile; the message lists those there are.
    """
    try:
        return PROFILES[name]
    except KeyError:
        known = ", ".join(sorted(PROFILES))
        raise ConfigError(
            f"MODEL.NUMERICS: expected one of {known}, got {name!r}. "
            "Leave the key out for the old project's numbers ('detectron')."
        ) from None
