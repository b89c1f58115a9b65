"""TEST.BBOX_AUG: the views of the shipped config, a golden model, and whole runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from maskrcnn_benchmark.build import run
from maskrcnn_benchmark.build.data import (
    build_test_loaders,
    build_transforms,
    build_validation_loader,
)
from maskrcnn_benchmark.build.test_time_aug import build_test_time_aug
from maskrcnn_benchmark.config import cfg as global_config
from maskrcnn_benchmark.config import get_defaults
from maskrcnn_benchmark.engine.bbox_aug import im_detect_bbox_aug
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import to_image_list
from tests.build.toy_run import make_config
from tests.goldens import GoldenCase
from tests.thin_models import thin_detector


@pytest.fixture(scope="module")
def golden(repository: Path) -> GoldenCase:
    folder = repository / "tests" / "golden" / "mask_rcnn_R_50_FPN"
    return GoldenCase(folder, repository)


def test_views_of_the_shipped_config(repository: Path) -> None:
    cfg = get_defaults()
    cfg.merge_from_file(repository / "configs" / "test_time_aug" / "e2e_mask_rcnn_R_50_FPN_1x.yaml")
    cfg.freeze()
    augmentation = build_test_time_aug(cfg)
    assert [view.flip for view in augmentation.views] == [False, True] * 9
    assert augmentation.size_divisible == 32
    image = Image.new("RGB", (640, 480))
    shapes = [tuple(view.transform(image).shape) for view in augmentation.views[::2]]
    sides = [800, 400, 500, 600, 700, 900, 1000, 1100, 1200]
    assert [shape[1] for shape in shapes] == sides
    assert shapes[0] == (3, 800, 1066)
    wide = Image.new("RGB", (1000, 200))
    assert augmentation.views[0].transform(wide).shape == (3, 267, 1335)
    assert augmentation.views[-1].transform(wide).shape == (3, 400, 2000)


def plain_test(golden: GoldenCase) -> list[BoxList]:
    """Both images in one batch, without augmentation."""
    transform = build_transforms(golden.cfg, is_train=False)
    images = [transform(image) for image in golden.originals]
    with torch.no_grad():
        found = golden.model(to_image_list(images, golden.cfg.DATALOADER.SIZE_DIVISIBILITY))
    assert isinstance(found, list)
    return found


def test_the_golden_model_with_one_view(golden: GoldenCase) -> None:
    augmentation = build_test_time_aug(golden.cfg)
    assert len(augmentation.views) == 1
    found = augmentation(golden.model, golden.originals, "cpu")
    for ours, theirs in zip(found, plain_test(golden), strict=True):
        assert torch.equal(ours.bbox, theirs.bbox)
        for name in ("scores", "labels", "mask"):
            assert torch.equal(ours.get_field(name), theirs.get_field(name))


def test_the_golden_model_with_several_views(golden: GoldenCase) -> None:
    cfg = golden.cfg.clone()
    cfg.defrost()
    keys = {"H_FLIP": True, "SCALES": (64, 160), "MAX_SIZE": 300, "SCALE_H_FLIP": True}
    for key, value in keys.items():
        cfg.merge_from_list([f"TEST.BBOX_AUG.{key}", value])
    augmentation = build_test_time_aug(cfg)
    assert len(augmentation.views) == 6
    found = augmentation(golden.model, golden.originals, "cpu")
    for boxes, plain in zip(found, plain_test(golden), strict=True):
        assert boxes.size == plain.size
        assert len(boxes)
        assert boxes.get_field("mask").shape[1:] == plain.get_field("mask").shape[1:]
        assert 0 <= boxes.get_field("mask").min() <= boxes.get_field("mask").max() <= 1


def test_the_old_entry_point_reads_the_global_config(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = get_defaults()
    changed.merge_from_list(["INPUT.MIN_SIZE_TEST", 64, "TEST.BBOX_AUG.H_FLIP", True])
    monkeypatch.setattr("maskrcnn_benchmark.build.test_time_aug.global_config", changed)
    assert type(changed) is type(global_config)
    noise = torch.randint(0, 256, (50, 80, 3), dtype=torch.uint8).numpy()
    (boxes,) = im_detect_bbox_aug(thin_detector(), [Image.fromarray(noise)], torch.device("cpu"))
    assert boxes.size == (102, 64)
    assert boxes.has_field("mask")


AUGMENTED = {
    "TEST__BBOX_AUG__ENABLED": True,
    "TEST__BBOX_AUG__H_FLIP": True,
    "TEST__BBOX_AUG__SCALES": (48, 80),
    "TEST__BBOX_AUG__MAX_SIZE": 120,
}


def test_a_whole_run(tmp_path: Path) -> None:
    cfg = make_config(
        tmp_path, SOLVER__MAX_ITER=2, SOLVER__STEPS=(), SOLVER__TEST_PERIOD=2, **AUGMENTED
    )
    results = run.train(cfg)["toy_val"]
    assert set(results.results) == {"bbox", "segm"}
    saved = torch.load(tmp_path / "run" / "inference" / "toy_val" / "predictions.pth")
    assert len(saved) == 6
    assert all("mask" in entry["fields"] for entry in saved)
    assert run.test(cfg)["toy_val"].results == results.results


def test_only_the_scored_images_come_without_transforms(tmp_path: Path) -> None:
    cfg = make_config(tmp_path, **AUGMENTED)
    (loader,) = build_test_loaders(cfg)
    images, targets, indices = next(iter(loader))
    assert isinstance(images[0], Image.Image)
    assert len(images) == len(targets) == len(indices) == 4
    images, *_ = next(iter(build_validation_loader(cfg)))
    assert images.tensors.shape[0] == 4


def test_a_proposal_network(tmp_path: Path) -> None:
    changes = {
        "MODEL__RPN_ONLY": True,
        "MODEL__MASK_ON": False,
        "SOLVER__MAX_ITER": 1,
        "SOLVER__STEPS": (),
    }
    results = run.train(make_config(tmp_path, **AUGMENTED, **changes))["toy_val"]
    assert set(results.results) == {"box_proposal"}


def test_keypoints_that_change_places() -> None:
    cfg = get_defaults()
    assert build_test_time_aug(cfg).keypoint_flip_pairs is None
    cfg.merge_from_list(["DATASETS.KEYPOINT_FLIP_PAIRS", ((0, 1),)])
    assert build_test_time_aug(cfg).keypoint_flip_pairs == ((0, 1),)

    class Named:
        class keypoint_schema:  # noqa: N801
            flip_pairs = ((2, 3),)

    assert build_test_time_aug(cfg, dataset=Named()).keypoint_flip_pairs == ((2, 3),)
