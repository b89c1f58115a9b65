"""Class logits and box deltas of each region.

R: regions.    D: features.    K: classes, background included.
"""

from __future__ import annotations

from torch import Tensor, nn

from maskrcnn_benchmark.layers.linear import Linear


class BoxPredictor(nn.Module):
    """Two linear layers, on features averaged over space if they have any."""

    def __init__(self, *, in_channels: int, num_classes: int, class_agnostic: bool = False) -> None:
        """Build.

        Args:
            in_channels: D.
            num_classes: K, background included.
            class_agnostic: one box for background and one for all classes, instead of one for each class.
        """
        super().__init__()
        self.cls_score = Linear(in_channels, num_classes)
        self.bbox_pred = Linear(in_channels, 4 * (2 if class_agnostic else num_classes))
        nn.init.normal_(self.cls_score.weight, std=0.01)
        nn.init.normal_(self.bbox_pred.weight, std=0.001)
        for layer in (self.cls_score, self.bbox_pred):
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(R, D) or (R, D, S, S) -> logits (R, K), deltas (R, 4K or 8), both float32."""
        if x.dim() == 4:
            x = x.mean(dim=(2, 3))
        return self.cls_score(x).float(), self.bbox_pred(x).float()
