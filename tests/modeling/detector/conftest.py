"""Tracing under pytest: without the tracer's own records."""

from __future__ import annotations

import logging

import pytest
import torch  # noqa: F401  (sets up its loggers)


@pytest.fixture(autouse=True)
def _quiet_tracer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep pytest from listening to torch's trace log.

    That log is written only where someone listens. pytest listens to every logger that does not propagate, and the
    descriptions of all traced symbols then take minutes instead of seconds.
    """
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "propagate", True)
