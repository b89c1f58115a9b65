from __future__ import annotations

import json
from pathlib import Path

import yaml
from typer.testing import CliRunner

from maskrcnn_benchmark.cli import app


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["config", *words])
    assert result.exit_code == 0, result.output
    return result.output


def test_config_shows_values_and_where_they_come_from(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("SOLVER:\n  MAX_ITER: 7\n  STEPS: (3, 5)\n")
    output = run(str(file), "SOLVER.BASE_LR", "0.5", "--only-changed")
    assert yaml.safe_load(output)["SOLVER"]["BASE_LR"] == 0.5
    lines = {line.split(":")[0].strip(): line for line in output.splitlines() if ":" in line}
    assert lines["MAX_ITER"].endswith("mine.yaml:2")
    assert lines["BASE_LR"].endswith("command line")


def test_config_of_a_shipped_name() -> None:
    output = run("e2e_mask_rcnn_R_50_FPN_1x", "--only-changed", "--without-meanings")
    assert yaml.safe_load(output)["MODEL"]["MASK_ON"] is True


def test_schema_is_json() -> None:
    assert "SOLVER" in json.dumps(json.loads(run("--schema")))


def test_option_that_does_not_exist() -> None:
    result = CliRunner().invoke(app, ["config", "--shema"], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert "Did you mean --schema?" in result.output
