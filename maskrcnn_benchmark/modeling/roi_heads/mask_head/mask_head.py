"""Mask head: a small mask per class inside each box (Mask R-CNN, arXiv:1703.06870).

B: images.    D: detections, S: regions of each image, padded.    R: rows that are computed.    C: classes,
background included.    M: side of the mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.layers.masks import rasterize_in_boxes
from maskrcnn_benchmark.layers.norms import NormName
from maskrcnn_benchmark.layers.row_norm import run_rows
from maskrcnn_benchmark.modeling.make_layers import initialise, make_conv
from maskrcnn_benchmark.modeling.poolers import Pooler, Rows
from maskrcnn_benchmark.modeling.roi_heads.sampling import SampledRegions
from maskrcnn_benchmark.structures.padded import PaddedDetections, PaddedTargets
from maskrcnn_benchmark.utils.old_names import old_names

# Old names, which live elsewhere now.
__getattr__ = old_names(
    __name__,
    {
        "ROIMaskHead": "maskrcnn_benchmark.build.legacy.roi_heads",
        "build_roi_mask_head": "maskrcnn_benchmark.build.legacy.roi_heads",
    },
)

# Upsampled features of so many regions are 25 MiB: they stay in the cache, and malloc gives the same memory again.
_ROWS_AT_A_TIME = 32


class MaskFeatureExtractor(nn.Module):
    """3x3 convolutions `mask_fcn1`, `mask_fcn2`, ... on the pooled region."""

    def __init__(
        self,
        *,
        pooler: Pooler,
        in_channels: int = 256,
        layers: Sequence[int] = (256, 256, 256, 256),
        dilation: int = 1,
        norm: NormName = "",
        norm_groups: int = 32,
        norm_eps: float = 1e-5,
    ) -> None:
        """Build one convolution for each entry of `layers`, its output channels."""
        super().__init__()
        self.pooler = pooler
        self.blocks = [f"mask_fcn{number}" for number in range(1, len(layers) + 1)]
        for name, channels in zip(self.blocks, layers, strict=True):
            conv = make_conv(
                in_channels,
                channels,
                3,
                dilation=dilation,
                norm=norm,
                norm_groups=norm_groups,
                norm_eps=norm_eps,
            )
            self.add_module(name, conv)
            in_channels = channels
        self.out_channels = in_channels

    def forward(self, features: Sequence[Tensor], boxes: Tensor, rows: Rows) -> Tensor:
        """Maps and boxes (B, K, 4) -> (R, channels, S, S)."""
        x: Tensor = self.pooler(features, boxes, rows)
        x = x.contiguous(memory_format=torch.channels_last)
        for name in self.blocks:
            x = F.relu_(run_rows(self.get_submodule(name), x, rows.padded))
        return x


class MaskPredictor(nn.Module):
    """Transposed convolution that doubles the side, then one logit map per class."""

    def __init__(self, *, in_channels: int, hidden: int | None, num_classes: int) -> None:
        """Build.

        Args:
            in_channels: of the features.
            hidden: channels of the transposed convolution; None to leave it out.
            num_classes: C, background included (its map is never used).
        """
        super().__init__()
        self.conv5_mask: nn.ConvTranspose2d | None = None
        if hidden is not None:
            self.conv5_mask = nn.ConvTranspose2d(in_channels, hidden, 2, stride=2)
            initialise(self.conv5_mask, "msra")
            in_channels = hidden
        self.mask_fcn_logits = nn.Conv2d(in_channels, num_classes, 1)
        initialise(self.mask_fcn_logits, "msra")

    def forward(self, x: Tensor) -> Tensor:
        """(R, channels, S, S) -> logits of every class (R, C, M, M)."""
        logits: Tensor = self.mask_fcn_logits(self._upsample(x))
        return logits.float()

    def forward_class(self, x: Tensor, labels: Tensor) -> Tensor:
        """Logits of one class for each row: (R, channels, S, S), labels (R,) -> (R, M, M).

        Of the C maps only one is ever used; C times less work and memory than choosing afterwards.
        """
        if torch.is_grad_enabled() or torch.compiler.is_compiling() or x.device.type != "cpu":
            return self._class_logits(x, labels)
        parts = zip(x.split(_ROWS_AT_A_TIME), labels.split(_ROWS_AT_A_TIME), strict=True)
        return torch.cat([self._class_logits(*part) for part in parts])

    def _class_logits(self, x: Tensor, labels: Tensor) -> Tensor:
        x = self._upsample(x)
        rows, channels, height, width = x.shape
        weight = self.mask_fcn_logits.weight.flatten(1)[labels]  # (R, channels)
        assert self.mask_fcn_logits.bias is not None
        bias = self.mask_fcn_logits.bias[labels]
        if torch.onnx.is_in_onnx_export():
            # There maps are innermost in memory.
            logits = torch.bmm(weight[:, None, :], x.flatten(2)).squeeze(1)
        else:
            # Channels are innermost (channels_last): this view costs nothing.
            cells = x.permute(0, 2, 3, 1).reshape(rows, height * width, channels)
            logits = torch.bmm(cells, weight[:, :, None]).squeeze(2)
        logits = logits + bias[:, None]
        return logits.view(rows, height, width).float()

    def _upsample(self, x: Tensor) -> Tensor:
        return x if self.conv5_mask is None else F.relu_(self.conv5_mask(x))


class MaskHead(nn.Module):
    """Features, masks and loss."""

    def __init__(
        self, *, feature_extractor: nn.Module, predictor: MaskPredictor, resolution: int = 28
    ) -> None:
        """Put the parts together; `resolution` is M."""
        super().__init__()
        self.feature_extractor = feature_extractor
        self.predictor = predictor
        self.resolution = resolution

    def forward(self, features: Sequence[Tensor], detections: PaddedDetections) -> Tensor:
        """Mask probabilities (B, D, M, M) of the predicted class of each detection."""
        rows = Rows.of(detections.valid)
        x = self.feature_extractor(features, detections.boxes, rows)
        masks = self.predictor.forward_class(x, rows.take(detections.labels)).sigmoid()
        return rows.put(masks, detections.valid.shape)

    def forward_training(
        self,
        features: Sequence[Tensor],
        regions: SampledRegions,
        targets: PaddedTargets,
        *,
        shared_features: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """`loss_mask`: mean binary cross entropy of the label's map over all positives.

        Args:
            features: maps of the backbone.
            regions: positives, padded.
            targets: ground truth with masks.
            shared_features: features of the box head's rows, and the row (B, S') of each of its regions, of which
                these are the first ones (C4).

        Raises:
            ShapeError: if the targets have no masks, or the resolution is not what the predictor gives.
        """
        if targets.masks is None:
            raise ShapeError(
                "The mask head needs targets with the field 'masks' (SegmentationMask), got none. "
                "Add it in the dataset, or set MODEL.MASK_ON False."
            )
        rows = Rows.of(regions.valid)
        if shared_features is None:
            x = self.feature_extractor(features, regions.boxes, rows)
        else:
            box_features, position = shared_features
            x = box_features[rows.take(position[:, : regions.valid.shape[1]])]
        logits = self.predictor.forward_class(x, rows.take(regions.labels))
        if logits.shape[-1] != self.resolution:
            raise ShapeError(
                f"The mask predictor gives {logits.shape[-1]} x {logits.shape[-1]} masks, but the resolution is "
                f"{self.resolution}. Set MODEL.ROI_MASK_HEAD.RESOLUTION to {logits.shape[-1]}."
            )
        # Instance numbers count over the whole batch.
        first = torch.arange(regions.valid.shape[0], device=x.device) * targets.valid.shape[1]
        packed = targets.masks
        wanted = rasterize_in_boxes(
            packed.points,
            packed.part_starts,
            packed.instance_starts,
            packed.bits,
            packed.windows,
            rows.take(regions.boxes),
            rows.take(regions.targets + first[:, None]),
            rows.valid,
            self.resolution,
        )
        per_cell = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        total = torch.where(rows.valid[:, None, None], per_cell, 0.0).sum()
        return total / (rows.valid.sum().clamp(min=1) * self.resolution**2)
