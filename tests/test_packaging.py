"""Contracts on what is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SOURCES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> zipfile.ZipFile:
    """A wheel of the package, built from a copy of what it is made of."""
    copy = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        shutil.copy(repository / name, copy)
    for name in ("configs", "maskrcnn_benchmark"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(repository / name, copy / name, ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", "wheels", "."], cwd=copy, check=True)
    (path,) = (copy / "wheels").glob("*.whl")
    return zipfile.ZipFile(path)


def test_wheel_carries_the_configs(wheel: zipfile.ZipFile, repository: Path) -> None:
    names = set(wheel.namelist())
    for path in (repository / "configs").rglob("*.yaml"):
        assert f"maskrcnn_benchmark/{path.relative_to(repository).as_posix()}" in names


def test_wheel_holds_the_package_alone(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert "maskrcnn_benchmark/py.typed" in names
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"maskrcnn_benchmark"}


def test_installed_wheel_finds_its_configs(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    code = (
        "import maskrcnn_benchmark.build.config_files as c; "
        "print(c.find_config('e2e_mask_rcnn_R_50_FPN_1x'))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    assert Path(output.strip()).parent == tmp_path / "maskrcnn_benchmark" / "configs"
