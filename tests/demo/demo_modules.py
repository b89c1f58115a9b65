"""The modules of `demo/`, imported as someone in that folder imports them."""

from __future__ import annotations

import sys
from pathlib import Path

DEMO = Path(__file__).resolve().parents[2] / "demo"
sys.path.insert(0, str(DEMO))

import predictor  # noqa: E402
import webcam  # noqa: E402

__all__ = ["DEMO", "predictor", "webcam"]
