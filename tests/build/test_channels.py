"""Images of five channels and 16 bits, all the way: data set, training step, weights of colour images, predictions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from maskrcnn_benchmark.build.checkpointer import build_with_weights
from maskrcnn_benchmark.build.data import build_train_loader, build_transforms
from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.config import Config, get_defaults
from maskrcnn_benchmark.errors import ConfigError, DatasetError
from maskrcnn_benchmark.predict import Predictor, predict_folder

CHANNELS = 5


@pytest.fixture
def cfg(tmp_path: Path, repository: Path) -> Config:
    """Two images with a bright square in the fourth channel alone."""
    generator = np.random.default_rng(0)
    images, annotations = [], []
    (tmp_path / "images").mkdir()
    for number in range(2):
        pixels = generator.integers(0, 2000, (60, 80, CHANNELS)).astype(np.uint16)
        pixels[10:40, 20:60, 3] = 50000
        np.save(tmp_path / f"images/{number}.npy", pixels)
        images.append({"id": number, "file_name": f"{number}.npy", "height": 60, "width": 80})
        square = [20, 10, 60, 10, 60, 40, 20, 40]
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": 1,
                "bbox": [20, 10, 40, 30],
                "area": 1200,
                "iscrowd": 0,
                "segmentation": [square],
            }
        )
    file = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "a"}]}
    (tmp_path / "data.json").write_text(json.dumps(file))
    cfg = get_defaults()
    cfg.merge_from_file(repository / "configs/quickstart/mask_rcnn_toy.yaml")
    custom = {
        "squares": {
            "ann_file": str(tmp_path / "data.json"),
            "img_dir": str(tmp_path / "images"),
        }
    }
    pairs: list[object] = ["DATASETS.CUSTOM", repr(custom)]
    pairs += ["DATASETS.TRAIN", "('squares',)", "DATASETS.TEST", "('squares',)"]
    pairs += ["INPUT.CHANNELS", CHANNELS, "INPUT.BIT_DEPTH", 16, "INPUT.TO_BGR255", False]
    pairs += ["INPUT.PIXEL_MEAN", (0.1,) * CHANNELS, "INPUT.PIXEL_STD", (0.2,) * CHANNELS]
    pairs += ["INPUT.BRIGHTNESS", 0.0, "MODEL.ROI_BOX_HEAD.NUM_CLASSES", 2]
    pairs += ["INPUT.MIN_SIZE_TRAIN", (64,), "INPUT.MIN_SIZE_TEST", 64, "MODEL.DEVICE", "cpu"]
    pairs += ["DATALOADER.NUM_WORKERS", 0, "SOLVER.IMS_PER_BATCH", 2, "SOLVER.MAX_ITER", 2]
    cfg.merge_from_list(pairs)
    return cfg


def test_the_data_reaches_the_network_unchanged(cfg: Config, tmp_path: Path) -> None:
    images, targets, _ = next(iter(build_train_loader(cfg)))
    assert images.tensors.shape[:2] == (2, CHANNELS)
    own = images.tensors[0, :, : images.image_sizes[0][0], : images.image_sizes[0][1]]
    # The square covers a quarter of the fourth channel, and nothing of the others.
    expected = (50000 / 65535 - 0.1) / 0.2
    assert own[3].max() == pytest.approx(expected, abs=0.05)
    assert own[[0, 1, 2, 4]].max() < 0
    x1, y1, x2, y2 = targets[0].bbox[0].round().long().tolist()
    assert own[3, y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].min() == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("conv_body", ["R-18-FPN", "torchvision/mobilenet_v2-FPN"])
def test_a_training_step(cfg: Config, conv_body: str) -> None:
    cfg.merge_from_list(["MODEL.BACKBONE.CONV_BODY", conv_body])
    images, targets, _ = next(iter(build_train_loader(cfg)))
    model = build_model(cfg).train()
    losses = model(images, targets)
    sum(losses.values()).backward()
    convs = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    (first,) = (conv for conv in convs if conv.in_channels == CHANNELS)
    assert first.weight.grad is not None
    assert first.weight.grad[:, 3].abs().sum() > 0


def test_weights_of_colour_images_are_spread(cfg: Config, tmp_path: Path) -> None:
    colours = cfg.clone()
    colours.merge_from_list(["INPUT.CHANNELS", 3])
    colours.merge_from_list(["INPUT.PIXEL_MEAN", (0.1,) * 3, "INPUT.PIXEL_STD", (0.2,) * 3])
    weights = build_model(colours).state_dict()
    torch.save({"model": weights}, tmp_path / "colours.pth")
    model, adapted = build_with_weights(cfg, tmp_path / "colours.pth")
    stem = model.state_dict()["backbone.body.stem.conv1.weight"]
    original = weights["backbone.body.stem.conv1.weight"]
    torch.testing.assert_close(stem, original[:, [0, 1, 2, 0, 1]] * 3 / CHANNELS)
    assert len(adapted.INPUT.PIXEL_MEAN) == CHANNELS


def test_predictions(cfg: Config, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    cfg.merge_from_list(["MODEL.ROI_HEADS.SCORE_THRESH", 0.0])
    torch.save({"model": build_model(cfg).state_dict()}, run / "model_final.pth")
    (run / "config.yml").write_text(cfg.dump())
    predictor = Predictor(run, score_threshold=0.0)
    path = tmp_path / "images/0.npy"
    from_file = predictor(path)
    from_array = predictor(np.load(path))
    assert len(from_file) > 0
    np.testing.assert_array_equal(from_file.boxes, from_array.boxes)
    assert from_file.image_size == (60, 80)
    report = predict_folder(predictor, [tmp_path / "images"], tmp_path / "out")
    assert len(report.pictures) == 2
    assert not report.skipped
    with pytest.raises(DatasetError, match="images of 5 channels are expected"):
        predictor(np.zeros((20, 20, 3), dtype=np.uint16))
    # What goes in is what a test would see.
    prepared = predictor._prepare(torch.zeros(CHANNELS, 60, 80), index=0, path=None)
    assert prepared.tensor.shape[0] == CHANNELS


def test_colour_jitter_needs_colours(cfg: Config) -> None:
    cfg.merge_from_list(["INPUT.BRIGHTNESS", 0.5])
    with pytest.raises(ConfigError, match="colour jitter"):
        build_transforms(cfg)(torch.zeros(CHANNELS, 60, 80))
