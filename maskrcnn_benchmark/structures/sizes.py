"""Sizes of images in pixels, named because both orders are in use.

`BoxList.size` is (width, height), `ImageList.image_sizes` holds (height, width); both are plain
tuples besides.
"""

from __future__ import annotations

from typing import NamedTuple


class WidthHeight(NamedTuple):
    """Size of one image in the order of box coordinates."""

    width: int
    height: int

    def transposed(self) -> HeightWidth:
        """The same size in the order of tensor axes."""
        return HeightWidth(self.height, self.width)


class HeightWidth(NamedTuple):
    """Size of one image in the order of tensor axes."""

    height: int
    width: int

    def transposed(self) -> WidthHeight:
        """The same size in the order of box coordinates."""
        return WidthHeight(self.width, self.height)
