"""All of RetinaNet (Lin et al., 2017, arXiv:1708.02002) behind the backbone: anchors, head, detections, losses.

B: images.    L: levels.    A_l: anchors of a level.    C: classes without background.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.modeling.rpn.anchor_generator import AnchorGenerator
from maskrcnn_benchmark.modeling.rpn.retinanet.inference import RetinaNetPostProcessor
from maskrcnn_benchmark.modeling.rpn.retinanet.loss import RetinaNetLoss
from maskrcnn_benchmark.structures.padded import PaddedDetections, PaddedTargets
from maskrcnn_benchmark.utils.old_names import old_names

# Old names, which live elsewhere now.
__getattr__ = old_names(__name__, {"build_retinanet": "maskrcnn_benchmark.build.legacy.retinanet"})


class RetinaNetModule(nn.Module):
    """What takes the place of the proposal network; parameter names are those of the old checkpoints."""

    def __init__(
        self,
        *,
        anchor_generator: AnchorGenerator,
        head: nn.Module,
        loss: RetinaNetLoss,
        post_processor: RetinaNetPostProcessor,
    ) -> None:
        """Put the parts together.

        Args:
            anchor_generator: makes the anchors.
            head: maps -> class logits and deltas.
            loss: how it trains.
            post_processor: how it detects.
        """
        super().__init__()
        self.anchor_generator = anchor_generator
        self.head = head
        self.loss = loss
        self.post_processor = post_processor

    def forward(self, features: Sequence[Tensor], image_sizes: Tensor) -> PaddedDetections:
        """Detections.

        Args:
            features: L maps (B, channels, H, W).
            image_sizes: (B, 2) height and width without padding.
        """
        anchors, logits, deltas = self._predict(features)
        return self.post_processor(anchors, logits, deltas, image_sizes)

    def forward_training(
        self, features: Sequence[Tensor], targets: PaddedTargets
    ) -> dict[str, Tensor]:
        """The losses `loss_retina_cls` and `loss_retina_reg`."""
        anchors, logits, deltas = self._predict(features)
        losses: dict[str, Tensor] = self.loss(torch.cat(anchors), logits, deltas, targets)
        return losses

    def _predict(
        self, features: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Anchors (A_l, 4), logits (B, A_l, C) and deltas (B, A_l, 4) of each level, deltas in float32."""
        logits, deltas = self.head(features)
        counts = self.anchor_generator.num_anchors_per_cell
        # (B, a * C, H, W) -> (B, H, W, a * C) -> (B, H * W * a, C): no copy in channels-last memory.
        return (
            self.anchor_generator(features),
            [
                logit.permute(0, 2, 3, 1).unflatten(3, (count, -1)).flatten(1, 3)
                for logit, count in zip(logits, counts, strict=True)
            ],
            [
                delta.permute(0, 2, 3, 1).unflatten(3, (-1, 4)).flatten(1, 3).float()
                for delta in deltas
            ],
        )
