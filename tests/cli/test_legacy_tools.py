from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from maskrcnn_benchmark.cli.legacy_tools import add_common_arguments, read_config
from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.errors import ConfigError


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_common_arguments(parser)
    return parser.parse_args(words)


def test_local_rank_in_either_spelling() -> None:
    assert parse("--local_rank=3").local_rank == 3
    assert parse("--local-rank", "2").local_rank == 2
    assert parse().local_rank == 0


def test_the_rest_of_the_line_is_for_the_config() -> None:
    arguments = parse("--config-file", "x.yaml", "SOLVER.STEPS", "(1, 2)", "SEED", "-1")
    assert arguments.config_file == "x.yaml"
    assert arguments.opts == ["SOLVER.STEPS", "(1, 2)", "SEED", "-1"]


def test_config_file_is_needed() -> None:
    with pytest.raises(ConfigError, match="--config-file FILE"):
        read_config(parse())


def test_global_config_is_filled_and_frozen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = cfg.clone()
    monkeypatch.setattr("maskrcnn_benchmark.config.cfg", mine)
    file = tmp_path / "mine.yaml"
    file.write_text("SEED: 4\n")
    assert read_config(parse("--config-file", str(file), "OUTPUT_DIR", "there")) is mine
    assert (mine.SEED, mine.OUTPUT_DIR) == (4, "there")
    assert mine.is_frozen()
