"""The matching rule on a matrix of overlaps; `layers.matching.match_boxes` is the batched one on boxes.

M: targets.    N: candidates (anchors or proposals).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.layers.matching import BELOW_LOW_THRESHOLD, BETWEEN_THRESHOLDS


class Matcher:
    """Assigns each candidate the target it overlaps most, or none."""

    BELOW_LOW_THRESHOLD: ClassVar[int] = BELOW_LOW_THRESHOLD
    BETWEEN_THRESHOLDS: ClassVar[int] = BETWEEN_THRESHOLDS

    def __init__(
        self,
        high_threshold: float,
        low_threshold: float,
        allow_low_quality_matches: bool = False,
    ) -> None:
        """Keep the thresholds.

        Args:
            high_threshold: quality from which a candidate is matched.
            low_threshold: quality below which it is background.
            allow_low_quality_matches: candidates that are the best of some target keep their own best target.

        Raises:
            ValueError: if the low threshold is above the high one.
        """
        if low_threshold > high_threshold:
            raise ValueError(
                f"Matcher: expected low_threshold <= high_threshold, got {low_threshold} > {high_threshold}."
            )
        self.high_threshold = high_threshold
        self.low_threshold = low_threshold
        self.allow_low_quality_matches = allow_low_quality_matches

    def __call__(self, match_quality_matrix: Tensor) -> Tensor:
        """Match by a quality such as the overlap.

        Args:
            match_quality_matrix: (M, N), higher is better.

        Returns:
            (N,) int64: the index of the target, BELOW_LOW_THRESHOLD or BETWEEN_THRESHOLDS.

        Raises:
            ShapeError: (a ValueError) if there are no targets or no candidates.
        """
        quality = match_quality_matrix
        if quality.numel() == 0:
            targets, candidates = quality.shape
            raise ShapeError(
                f"Matcher: expected at least one target and one candidate, got {targets} targets and {candidates} "
                "candidates. Leave images without boxes out of the training set."
            )
        best = quality.max(dim=0)
        matches = torch.where(best.values < self.high_threshold, BETWEEN_THRESHOLDS, best.indices)
        matches = torch.where(best.values < self.low_threshold, BELOW_LOW_THRESHOLD, matches)
        if self.allow_low_quality_matches:
            # Detectron: all ties, and also where a target's best overlap is 0.
            is_best = (quality == quality.amax(dim=1, keepdim=True)).any(dim=0)
            matches = torch.where(is_best, best.indices, matches)
        return matches
