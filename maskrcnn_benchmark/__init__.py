"""maskrcnn-benchmark, reborn: Faster, Mask and Keypoint R-CNN and RetinaNet in today's PyTorch.

Importing the package loads nothing heavy; import the part you need.
"""

__version__ = "1.0.0.dev0"

__all__ = ["__version__"]
