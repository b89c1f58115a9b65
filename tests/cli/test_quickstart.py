from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from maskrcnn_benchmark.build.config_files import find_config
from maskrcnn_benchmark.cli.quickstart import CONFIG, quickstart
from maskrcnn_benchmark.config import get_defaults
from maskrcnn_benchmark.errors import ConfigError

# A minute network: what is tested is the way through, not what is learnt.
TINY = [
    *("SOLVER.MAX_ITER", "3", "SOLVER.LOG_PERIOD", "1", "SOLVER.IMS_PER_BATCH", "2"),
    *("MODEL.RESNETS.WIDTH_PER_GROUP", "8", "MODEL.RESNETS.RES2_OUT_CHANNELS", "8"),
    *("MODEL.RESNETS.STEM_OUT_CHANNELS", "8", "MODEL.RESNETS.BACKBONE_OUT_CHANNELS", "8"),
    *("MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM", "16", "MODEL.ROI_MASK_HEAD.CONV_LAYERS", "(8,)"),
    *("INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.MIN_SIZE_TEST", "64"),
    *("MODEL.ROI_HEADS.SCORE_THRESH", "0.0", "DATALOADER.NUM_WORKERS", "0"),
    *("LOG.TENSORBOARD", "off", "MODEL.DEVICE", "cpu"),
]


def run_tiny(
    folder: Path, *extra: str, seed: int = 0, num_train: int = 6
) -> dict[str, dict[str, float]]:
    return quickstart(
        output_dir=folder,
        seed=seed,
        overrides=[*TINY, *extra],
        num_train=num_train,
        num_val=4,
        num_pictures=2,
    )


def test_the_shipped_config_is_valid_and_small() -> None:
    cfg = get_defaults()
    cfg.merge_from_file(str(find_config(CONFIG)))
    assert cfg.MODEL.MASK_ON
    assert cfg.MODEL.WEIGHT == ""  # Trained from scratch, so no part of it may be frozen.
    assert cfg.MODEL.BACKBONE.FREEZE_CONV_BODY_AT == 0
    assert cfg.MODEL.RESNETS.NORM == "BN"


def test_it_draws_trains_tests_and_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "quickstart"
    metrics = run_tiny(folder)
    printed = capsys.readouterr().out

    assert metrics.keys() == {"bbox", "segm"}
    assert 0.0 <= metrics["bbox"]["AP"] <= 1.0
    for line in ("boxes  ", "masks  ", "AP75", f"maskrcnn predict {folder}", "maskrcnn train"):
        assert line in printed

    for name in ("model_final.pth", "config.yml", "metrics.jsonl", "predictions.png"):
        assert (folder / name).is_file()
        assert name == "metrics.jsonl" or name == "model_final.pth" or name in printed
    with Image.open(folder / "loss_curve.png") as curve:
        assert curve.width > 500
    assert [path.name for path in sorted((folder / "predictions").iterdir())] == [
        "000001.png",
        "000002.png",
    ]
    content = json.loads((folder / "data/annotations/instances_train.json").read_text())
    assert len(content["images"]) == 6


def test_a_second_time_it_goes_on_unless_the_settings_differ(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run_tiny(tmp_path)
    capsys.readouterr()
    again = run_tiny(tmp_path, "MODEL.DEVICE", "cpu", "LOG.TENSORBOARD", "auto")
    assert f"Going on with the run in {tmp_path}" in capsys.readouterr().out
    assert again == first

    picture = (tmp_path / "data/val/000001.jpg").read_bytes()
    for seed, extra, message in (
        (1, (), "SEED was 0 and is now 1"),
        (0, ("SOLVER.BASE_LR", "0.5"), r"SOLVER\.BASE_LR was .* and is now 0\.5"),
    ):
        with pytest.raises(ConfigError, match=message):
            run_tiny(tmp_path, *extra, seed=seed)
    # Refused before anything of that run was touched.
    assert (tmp_path / "data/val/000001.jpg").read_bytes() == picture


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    import torch

    first, again = (
        torch.load(tmp_path / name / "model_final.pth", weights_only=True)["model"]
        for name in ("a", "b")
        if run_tiny(tmp_path / name, seed=3)
    )
    assert all(torch.equal(first[key], again[key]) for key in first)
