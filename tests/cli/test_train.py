from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from maskrcnn_benchmark.build.direct_data import find_data
from maskrcnn_benchmark.cli import app
from maskrcnn_benchmark.cli.train import DEFAULT_CONFIG, finds_keypoints, make_config


def run(*words: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["train", *map(str, words)], env={"COLUMNS": "300"})
    if not isinstance(result.exception, SystemExit | None):
        raise result.exception
    return result.exit_code, result.output


def test_data_fills_in_the_config(squares: Path) -> None:
    cfg = make_config(DEFAULT_CONFIG, direct=find_data(squares), pairs=[])
    assert cfg.DATASETS.TRAIN == ("squares_train",)
    assert cfg.DATASETS.TEST == ("squares_val",)
    assert cfg.DATASETS.CUSTOM["squares_val"]["img_dir"] == str(squares / "val")
    assert cfg.MODEL.ROI_BOX_HEAD.NUM_CLASSES == 3
    assert cfg.origin("MODEL.ROI_BOX_HEAD.NUM_CLASSES") == "data given directly"
    assert str(Path("runs", "squares")) == cfg.OUTPUT_DIR
    assert cfg.is_frozen()


def test_what_is_given_wins_over_the_data(squares: Path) -> None:
    pairs = ["MODEL.ROI_BOX_HEAD.NUM_CLASSES", "9", "DATASETS.TEST", "()", "OUTPUT_DIR", "there"]
    cfg = make_config(DEFAULT_CONFIG, direct=find_data(squares), pairs=pairs)
    assert cfg.MODEL.ROI_BOX_HEAD.NUM_CLASSES == 9
    assert cfg.DATASETS.TEST == ()
    assert cfg.OUTPUT_DIR == "there"


def test_number_of_keypoints_comes_from_the_data(squares: Path) -> None:
    file = "e2e_keypoint_rcnn_R_50_FPN_1x"
    assert finds_keypoints(file, [])
    assert not finds_keypoints(file, ["MODEL.KEYPOINT_ON", "False"])
    assert not finds_keypoints(DEFAULT_CONFIG, [])
    data = find_data(squares)
    four = replace(data, train=replace(data.train, num_keypoints=4))
    cfg = make_config(file, direct=four, pairs=[])
    assert cfg.MODEL.ROI_KEYPOINT_HEAD.NUM_CLASSES == 4
    given = ["MODEL.ROI_KEYPOINT_HEAD.NUM_CLASSES", "5"]
    assert make_config(file, direct=four, pairs=given).MODEL.ROI_KEYPOINT_HEAD.NUM_CLASSES == 5


def test_config_alone_names_the_run() -> None:
    cfg = make_config("rpn_R_50_FPN_1x", direct=None, pairs=[])
    assert str(Path("runs", "rpn_R_50_FPN_1x")) == cfg.OUTPUT_DIR
    assert cfg.DATASETS.TRAIN == ("coco_2014_train", "coco_2014_valminusminival")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Nothing to train on"),
        (["--train-json", "a.json"], "also needs --train-images FOLDER"),
        (["--val-json", "a.json"], "also needs --train-json FILE"),
        (["--data", "x", "--val-json", "a.json"], "--data finds the files itself"),
        (["--datta", "x"], "No such option: --datta. Did you mean --data?"),
    ],
)
def test_words_that_do_not_go_together(words: list[str], message: str) -> None:
    code, output = run(*words)
    assert code == 2
    assert message in output


def test_wrong_values_name_the_key(squares: Path) -> None:
    code, output = run("--data", squares, "SOLVER.BASE_LR", "fast")
    assert code == 2
    assert "ConfigError: command line: SOLVER.BASE_LR" in output
