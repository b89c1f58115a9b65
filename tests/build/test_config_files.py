from __future__ import annotations

from pathlib import Path

import pytest

from maskrcnn_benchmark.build.config_files import find_config, list_configs
from maskrcnn_benchmark.errors import ConfigError


def test_a_path_comes_first(tmp_path: Path) -> None:
    mine = tmp_path / "e2e_mask_rcnn_R_50_FPN_1x.yaml"
    mine.write_text("{}")
    assert find_config(mine) == mine


@pytest.mark.parametrize(
    "name",
    [
        "configs/e2e_mask_rcnn_R_50_FPN_1x.yaml",
        "e2e_mask_rcnn_R_50_FPN_1x.yaml",
        "e2e_mask_rcnn_R_50_FPN_1x",
    ],
)
def test_shipped_names(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config(name) == repository / "configs" / "e2e_mask_rcnn_R_50_FPN_1x.yaml"


def test_every_listed_config_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = list_configs()
    assert "caffe2/e2e_mask_rcnn_R_50_FPN_1x_caffe2.yaml" in names
    for name in names:
        assert find_config(name).is_file()


def test_unknown_name_gets_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Did you mean e2e_mask_rcnn_R_50_FPN_1x\.yaml"):
        find_config("configs/e2e_mask_rcn_R_50_FPN_1x.yaml")
    with pytest.raises(ConfigError, match="the folder"):
        find_config(tmp_path)
    with pytest.raises(ConfigError, match="was not found"):
        find_config(tmp_path / "zzz")
