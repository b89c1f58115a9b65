"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch

from maskrcnn_benchmark import __version__

# What decides about the speed of convolutions.
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def describe_machine() -> dict[str, str]:
    """Processor, threads, memory, GPU and versions, for the head of a table."""
    facts = {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "versions": f"maskrcnn-benchmark {__version__}, torch {torch.__version__}, "
        f"torchvision {version('torchvision')}, Python {platform.python_version()}",
    }
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    return facts


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        text = info.read_text(encoding="utf-8")
        for line in text.splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                flags = [flag for flag in _FLAGS if flag in text]
                return f"{value.strip()} ({', '.join(flags)})" if flags else value.strip()
    return platform.processor() or platform.machine()
