"""For all tests: one thread per process, a fixed seed per test, the shared data."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest

# Set before torch is imported, and inherited by the processes that tests start: tests run in
# parallel already, and a sum split over threads is not the same to the last bit.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("MPLBACKEND", "Agg")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout: where configs/, tools/ and docs/ are."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real images and golden numbers: $MASKRCNN_SHARED, else `shared` beside the checkout."""
    folder = Path(os.environ.get("MASKRCNN_SHARED") or REPOSITORY.parent / "shared")
    if not (folder / "reference").is_dir() or not (folder / "data").is_dir():
        pytest.skip(f"no shared data in {folder}; set MASKRCNN_SHARED to the folder that holds it")
    return folder


def _seed() -> None:
    random.seed(0)
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed(0)
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    """Start every test from the same random state, whatever ran before it in this process."""
    _seed()


def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> None:
    """The same for what tests share: it is made before the fixture above is called."""
    if fixturedef.scope != "function":
        _seed()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `gpu` where no CUDA device is there."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if torch.cuda.is_available():
        return
    for item in marked:
        item.add_marker(pytest.mark.skip(reason="no CUDA device"))
