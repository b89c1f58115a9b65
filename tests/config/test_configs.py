"""Every YAML file in configs/ loads, and those of the old project say what they always said."""

from __future__ import annotations

import json
import re
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import yaml

from maskrcnn_benchmark.config import Config, get_defaults

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
FILES = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob("*.yaml"))


# Not in the old project.
NEW_FOLDERS = ("quickstart/", "mobilenet/", "cascade/")


def load(name: str) -> Config:
    config = get_defaults()
    config.merge_from_file(CONFIGS / name)
    return config


@pytest.mark.parametrize("name", FILES)
def test_config_loads_and_holds_together(name: str) -> None:
    config = load(name)
    config.validate_run(training=bool(config.DATASETS.TRAIN))
    again = get_defaults()
    again.merge_from_text(config.dump())
    assert again == config


@pytest.mark.parametrize("name", FILES)
def test_config_opens_with_the_command_to_run_it(name: str) -> None:
    lines = (CONFIGS / name).read_text().splitlines()
    head = list(takewhile(lambda line: line.startswith("#"), lines))
    assert any(line.split()[1:2] == ["maskrcnn"] for line in head)
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith(NEW_FOLDERS)])
def test_old_configs_say_what_was_published(name: str) -> None:
    lines = (CONFIGS / name).read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("# Published: "))
    figures = re.fullmatch(r"# Published: (nothing|(?:\S+ )?(?:AP|AR@1000) .+ \(.+\))\.", line)
    assert figures, line


@pytest.mark.shared_data
def test_old_files_have_their_old_values(shared: Path) -> None:
    old: dict[str, Any] = json.loads((shared / "reference" / "legacy_configs.json").read_text())
    assert len(old) == 66
    for path, values in old.items():
        found = yaml.safe_load((CONFIGS.parent / path).read_text())
        assert found == values, path


@pytest.mark.shared_data
def test_golden_overrides_are_accepted(shared: Path) -> None:
    cases = sorted((shared / "reference" / "goldens").glob("*/case.json"))
    assert cases
    for path in cases:
        case = json.loads(path.read_text())
        config = load(case["config"].removeprefix("configs/"))
        config.merge_from_list(case["overrides"])
        config.validate_run()
        assert config.MODEL.DEVICE == "cpu"


def test_two_configurations_live_side_by_side() -> None:
    first, second = load("e2e_mask_rcnn_R_50_FPN_1x.yaml"), load("e2e_faster_rcnn_R_50_C4_1x.yaml")
    assert first.MODEL.MASK_ON
    assert not second.MODEL.MASK_ON
    assert second.MODEL.ROI_BOX_HEAD.POOLER_SCALES == (0.0625,)
