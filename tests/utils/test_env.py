import os
import subprocess
import sys

import pytest

from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.utils import env


def test_without_the_variable_nothing_happens(monkeypatch):
    monkeypatch.delenv(env.VARIABLE, raising=False)
    env.setup_environment()


def test_the_users_function_runs_when_the_module_is_first_imported(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def setup_environment():\n    print('ran as', __name__)\n")
    done = subprocess.run(
        [sys.executable, "-c", "import maskrcnn_benchmark.utils.env"],
        env={**os.environ, env.VARIABLE: str(path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "ran as maskrcnn_benchmark.utils.env.custom_module\n"


def test_a_missing_file_or_function_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv(env.VARIABLE, str(tmp_path / "none.py"))
    with pytest.raises(ConfigError, match=r"none\.py"):
        env.setup_environment()
    path = tmp_path / "empty.py"
    path.write_text("")
    monkeypatch.setenv(env.VARIABLE, str(path))
    with pytest.raises(ConfigError, match="must define a function setup_environment"):
        env.setup_environment()
