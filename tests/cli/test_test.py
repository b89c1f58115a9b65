from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from maskrcnn_benchmark.cli import app
from maskrcnn_benchmark.cli.test import make_config
from maskrcnn_benchmark.config import get_defaults
from maskrcnn_benchmark.errors import ConfigError


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    cfg = get_defaults()
    cfg.merge_from_list(["OUTPUT_DIR", "elsewhere", "SEED", "3"])
    (tmp_path / "config.yml").write_text(cfg.dump())
    return tmp_path


def test_run_folder_brings_its_config(run_folder: Path) -> None:
    cfg = make_config(run_folder, config_file=None, pairs=["TEST.IMS_PER_BATCH", "2"])
    assert cfg.SEED == 3
    assert cfg.TEST.IMS_PER_BATCH == 2
    # The folder may have been moved since.
    assert str(run_folder) == cfg.OUTPUT_DIR


def test_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"with a file config\.yml"):
        make_config(tmp_path, config_file=None, pairs=[])


@pytest.mark.parametrize("words", [[], ["SEED", "1"], ["runs/x", "-c", "a.yaml"]])
def test_run_or_config(words: list[str]) -> None:
    result = CliRunner().invoke(app, ["test", *words], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert "either the folder of a run or a file of weights, or --config-file" in result.output
