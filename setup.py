"""What pyproject.toml cannot say: a wheel carries the folder `configs/` inside the package."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """Copy `configs/**/*.yaml` to `maskrcnn_benchmark/configs/` of what is built."""

    def run(self) -> None:
        """Build as usual, then add the configs; an editable install uses them where they are."""
        super().run()
        if self.editable_mode:
            return
        root = Path(__file__).resolve().parent / "configs"
        for source in sorted(root.rglob("*.yaml")):
            target = Path(self.build_lib, "maskrcnn_benchmark", "configs", source.relative_to(root))
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


setup(cmdclass={"build_py": BuildWithConfigs})
