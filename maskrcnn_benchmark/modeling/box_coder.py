"""Old face of `layers.boxes.encode_boxes` and `decode_boxes`.

N: boxes.    K: classes, background included.    Boxes are xyxy with inclusive corners.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from maskrcnn_benchmark.layers.boxes import (
    LEGACY_OFFSET,
    MAX_LOG_SCALE,
    DeltaWeights,
    decode_boxes,
    encode_boxes,
)


class BoxCoder:
    """Boxes <-> what a network predicts about them."""

    def __init__(self, weights: Sequence[float], bbox_xform_clip: float = MAX_LOG_SCALE) -> None:
        """Keep the numbers.

        Args:
            weights: factors of (dx, dy, dw, dh).
            bbox_xform_clip: upper bound of dw and dh in decoding.
        """
        wx, wy, ww, wh = (float(weight) for weight in weights)
        self.weights: DeltaWeights = (wx, wy, ww, wh)
        self.bbox_xform_clip = bbox_xform_clip

    def encode(self, reference_boxes: Tensor, proposals: Tensor) -> Tensor:
        """Deltas (N, 4) that turn `proposals` (N, 4) into `reference_boxes` (N, 4)."""
        return encode_boxes(reference_boxes, proposals, weights=self.weights, offset=LEGACY_OFFSET)

    def decode(self, rel_codes: Tensor, boxes: Tensor) -> Tensor:
        """Boxes (N, 4 * K) from deltas (N, 4 * K) relative to `boxes` (N, 4), not clipped."""
        return decode_boxes(
            rel_codes,
            boxes,
            weights=self.weights,
            offset=LEGACY_OFFSET,
            max_log_scale=self.bbox_xform_clip,
        )
