"""FBNet (arXiv:1812.03443) as a body: a small first convolution, then the blocks of its table; one map.

Its heads are in `modeling.rpn.fbnet_head` and `modeling.roi_heads.fbnet_head`.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from maskrcnn_benchmark.modeling.backbone.fbnet_archs import FBNetArch
from maskrcnn_benchmark.modeling.backbone.fbnet_blocks import (
    DEFAULT_STYLE,
    ConvNorm,
    FBNetStyle,
    make_blocks,
)


class FBNet(nn.Module):
    """The stages of a table's backbone, under the old names `first` and `stages`.

    Attributes:
        out_channels: channels of the map that leaves.
        stride: image pixels per cell of it.
    """

    def __init__(
        self, *, arch: FBNetArch, style: FBNetStyle = DEFAULT_STYLE, in_channels: int = 3
    ) -> None:
        """Build.

        Args:
            arch: the table (`fbnet_archs.get_arch("default")`).
            style: widths and norms.
            in_channels: channels of the image.
        """
        super().__init__()
        width = style.width(arch.stem_channels)
        self.first = ConvNorm(
            in_channels=in_channels,
            out_channels=width,
            kernel=arch.stem_kernel,
            stride=arch.stem_stride,
            norm=style.norm,
        )
        specs = arch.blocks("backbone")
        self.stages, self.out_channels = make_blocks(specs, in_channels=width, style=style)
        self.stride = arch.stem_stride * math.prod(spec.stride for spec in specs)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, in_channels, H, W) -> one map (B, out_channels, H / stride, W / stride)."""
        return [self.stages(self.first(x))]
