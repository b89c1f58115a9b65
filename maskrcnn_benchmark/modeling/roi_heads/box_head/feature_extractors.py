"""From pooled regions to the features that class and box are predicted from.

R: regions.    C: channels of the maps.    S: side of the pooled region.    D: features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from maskrcnn_benchmark.layers.norms import NormName
from maskrcnn_benchmark.layers.row_norm import run_rows
from maskrcnn_benchmark.modeling.backbone.resnet import ResNetStages
from maskrcnn_benchmark.modeling.make_layers import InitName, make_conv, make_linear
from maskrcnn_benchmark.modeling.poolers import Pooler, Rows


class FPN2MLPFeatureExtractor(nn.Module):
    """Two fully connected layers (FPN, section 5.2)."""

    def __init__(
        self,
        *,
        pooler: Pooler,
        in_channels: int = 256,
        hidden: int = 1024,
        norm: NormName = "",
        norm_groups: int = 32,
        norm_eps: float = 1e-5,
    ) -> None:
        """Build for maps of `in_channels`, D = `hidden`."""
        super().__init__()
        self.pooler = pooler
        flat = in_channels * pooler.output_size**2
        self.fc6 = make_linear(flat, hidden, norm=norm, norm_groups=norm_groups, norm_eps=norm_eps)
        self.fc7 = make_linear(
            hidden, hidden, norm=norm, norm_groups=norm_groups, norm_eps=norm_eps
        )
        self.out_channels = hidden

    def forward(self, features: Sequence[Tensor], boxes: Tensor, rows: Rows) -> Tensor:
        """Maps and boxes (B, K, 4) -> (R, D)."""
        x = self.pooler(features, boxes, rows).flatten(1)
        x = F.relu_(run_rows(self.fc6, x, rows.padded))
        return F.relu_(run_rows(self.fc7, x, rows.padded))


class FPNXconv1fcFeatureExtractor(nn.Module):
    """Some 3x3 convolutions, then one fully connected layer (arXiv:1803.08494, section 5.1: "4conv1fc")."""

    def __init__(
        self,
        *,
        pooler: Pooler,
        in_channels: int = 256,
        num_convs: int = 4,
        conv_channels: int = 256,
        hidden: int = 1024,
        dilation: int = 1,
        norm: NormName = "",
        norm_groups: int = 32,
        norm_eps: float = 1e-5,
        init: InitName = "normal",
    ) -> None:
        """Build; D is `hidden`.

        Args:
            pooler: of S x S.
            in_channels: C.
            num_convs: how many convolutions.
            conv_channels: output channels of each.
            hidden: of the fully connected layer, which never has a norm.
            dilation: of the convolutions.
            norm: behind each convolution.
            norm_groups: groups of GN.
            norm_eps: epsilon of GN.
            init: first weights of the convolutions.
        """
        super().__init__()
        self.pooler = pooler
        layers: list[nn.Module] = []
        for _ in range(num_convs):
            layers += make_conv(
                in_channels,
                conv_channels,
                3,
                dilation=dilation,
                norm=norm,
                norm_groups=norm_groups,
                norm_eps=norm_eps,
                use_relu=True,
                init=init,
            ).children()
            in_channels = conv_channels
        # One flat list, as in the old checkpoints.
        self.xconvs = nn.Sequential(*layers)
        self.fc6 = make_linear(in_channels * pooler.output_size**2, hidden)
        self.out_channels = hidden

    def forward(self, features: Sequence[Tensor], boxes: Tensor, rows: Rows) -> Tensor:
        """Maps and boxes (B, K, 4) -> (R, D)."""
        x = run_rows(self.xconvs, self.pooler(features, boxes, rows), rows.padded)
        return F.relu_(self.fc6(x.flatten(1)))


class ResNetConv5FeatureExtractor(nn.Module):
    """The last stage of the ResNet on every region (the C4 head of Faster R-CNN on ResNet)."""

    def __init__(self, *, pooler: Pooler, head: ResNetStages) -> None:
        """Take a head made of stage 4 alone."""
        super().__init__()
        self.pooler = pooler
        self.head = head
        self.out_channels = head.out_channels[4]

    def forward(self, features: Sequence[Tensor], boxes: Tensor, rows: Rows) -> Tensor:
        """Maps and boxes (B, K, 4) -> (R, D, S / 2, S / 2)."""
        return self.head.forward_rows(self.pooler(features, boxes, rows), rows.padded)[0]
