"""A description of the machine and the installed versions, for logs and bug reports."""

from __future__ import annotations

import importlib.metadata

import PIL
from torch.utils.collect_env import get_pretty_env_info

from maskrcnn_benchmark import __version__

# What decides our numbers beside torch.
_PACKAGES = ("torchvision", "numpy", "pycocotools", "pydantic", "safetensors")


def collect_env_info() -> str:
    """Return torch's report, then Pillow's version, ours and those of what we compute with.

    Takes a few seconds: it asks the system for its devices and packages.
    """
    lines = [get_pretty_env_info(), f"        Pillow ({PIL.__version__})"]
    lines.append(f"        maskrcnn-benchmark ({__version__})")
    for package in _PACKAGES:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            version = "not installed"
        lines.append(f"        {package} ({version})")
    return "\n".join(lines)
