"""maskrcnn-benchmark, reborn: Faster, Mask and Keypoint R-CNN and RetinaNet in today's PyTorch.

Importing the package loads nothing heavy; import the part you need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maskrcnn_benchmark.build.one_line import FasterRCNN, KeypointRCNN, MaskRCNN, RetinaNet

__version__ = "1.0.0.dev0"

__all__ = ["FasterRCNN", "KeypointRCNN", "MaskRCNN", "RetinaNet", "__version__"]


def __getattr__(name: str) -> Any:
    """A detector in one line, imported when it is asked for."""
    if name in ("FasterRCNN", "KeypointRCNN", "MaskRCNN", "RetinaNet"):
        from maskrcnn_benchmark.build import one_line

        return getattr(one_line, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
