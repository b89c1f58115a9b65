"""`maskrcnn config`, called as a function."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maskrcnn_benchmark.cli.config import config
from maskrcnn_benchmark.config import get_defaults
from maskrcnn_benchmark.errors import ConfigError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def test_effective_values_origins_and_meanings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(CONFIGS.parent)
    file = Path("configs") / "e2e_mask_rcnn_R_50_FPN_1x.yaml"
    config(file, ["SOLVER.BASE_LR", "0.0025"])
    lines = capsys.readouterr().out.splitlines()
    values = {line.split(":")[0].strip(): line for line in lines if "#" in line[2:]}
    assert values["BASE_LR"].split() == ["BASE_LR:", "0.0025", "#", "command", "line"]
    assert values["GAMMA"].split() == ["GAMMA:", "0.1", "#", "default"]
    assert " # configs/e2e_mask_rcnn_R_50_FPN_1x.yaml:" in values["STEPS"]
    assert "  # Number of updates; each sees IMS_PER_BATCH images." in lines
    assert all(len(line) <= 110 for line in lines if not line.startswith("PATHS_CATALOG"))


def test_the_output_is_a_configuration_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = CONFIGS / "caffe2" / "e2e_mask_rcnn_R_50_FPN_1x_caffe2.yaml"
    config(file, ["OUTPUT_DIR", "runs/a b", "DATASETS.TRAIN", "('coco_2014_train',)"])
    (tmp_path / "shown.yaml").write_text(capsys.readouterr().out)
    expected, shown = get_defaults(), get_defaults()
    expected.merge_from_file(file)
    expected.merge_from_list(["OUTPUT_DIR", "runs/a b", "DATASETS.TRAIN", "('coco_2014_train',)"])
    shown.merge_from_file(tmp_path / "shown.yaml")
    assert shown == expected


def test_only_what_changed(capsys: pytest.CaptureFixture[str]) -> None:
    config(None, ["MODEL.RPN.MIN_SIZE", "4", "SEED", "1"], only_changed=True, meanings=False)
    lines = [line.split("#")[0].rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["MODEL:", "  RPN:", "    MIN_SIZE: 4", "SEED: 1"]


def test_schema(capsys: pytest.CaptureFixture[str]) -> None:
    config(schema=True)
    schema = json.loads(capsys.readouterr().out)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "SOLVER" in schema["properties"]


def test_contradictions_are_shown_and_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match=r'Add SOLVER\.STEPS "\(67, 89\)"'):
        config(CONFIGS / "e2e_mask_rcnn_R_50_FPN_1x.yaml", ["SOLVER.MAX_ITER", "100"])
    assert "  MAX_ITER: 100 " in capsys.readouterr().out
    with pytest.raises(ConfigError, match="is not a configuration key"):
        config(None, ["SOLVER.MAXITER", "100"])
    assert capsys.readouterr().out == ""
