"""A random sample of positives and negatives from torch's own generator.

The network itself samples by `layers.sampling.sample_labels`, whose draw is a function of the image's seed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class BalancedPositiveNegativeSampler:
    """Draws so many candidates of each image, at most a fraction of them positive."""

    def __init__(self, batch_size_per_image: int, positive_fraction: float) -> None:
        """Keep the numbers; negatives fill what positives leave."""
        self.batch_size_per_image = batch_size_per_image
        self.positive_fraction = positive_fraction

    def __call__(self, matched_idxs: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Draw, image after image, positives first.

        Args:
            matched_idxs: labels (N_i,) of each image: 1 or more is positive, 0 negative, below 0 not to be drawn.

        Returns:
            Masks (N_i,) bool of the drawn positives, and of the drawn negatives.
        """
        positives, negatives = [], []
        most = int(self.batch_size_per_image * self.positive_fraction)
        for labels in matched_idxs:
            chosen = _draw(labels >= 1, most)
            positives.append(chosen)
            negatives.append(_draw(labels == 0, self.batch_size_per_image - int(chosen.sum())))
        return positives, negatives


def _draw(candidates: Tensor, most: int) -> Tensor:
    """Mask of at most `most` of the candidates (N,) bool."""
    index = candidates.nonzero().squeeze(1)
    index = index[torch.randperm(len(index), device=index.device)[:most]]
    chosen = torch.zeros_like(candidates)
    chosen[index] = True
    return chosen
