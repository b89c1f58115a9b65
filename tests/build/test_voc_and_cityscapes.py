"""Pascal VOC and Cityscapes from the old configs: the catalog's folders, a step of training, a test, the files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maskrcnn_benchmark.build import run
from maskrcnn_benchmark.build.data import (
    build_test_loaders,
    build_train_dataset,
    build_train_loader,
)
from maskrcnn_benchmark.config import Config, get_defaults
from maskrcnn_benchmark.data.datasets import CityScapesDataset, ConcatDataset, PascalVOCDataset
from maskrcnn_benchmark.data.datasets.cityscapes_to_coco import CityscapesConverter
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.results.writers import write_json
from tests.build.toy_run import REPOSITORY, THIN
from tests.data.datasets.cityscapes_folder import Thing, write_cityscapes
from tests.data.datasets.voc_folder import Object, write_voc

ONE_STEP = {
    **{key: value for key, value in THIN.items() if "NUM_CLASSES" not in key},
    "SOLVER.MAX_ITER": 1,
    "SOLVER.STEPS": (),
    "SOLVER.IMS_PER_BATCH": 2,
    "TEST.IMS_PER_BATCH": 2,
    "DATALOADER.NUM_WORKERS": 0,
    "LOG.TENSORBOARD": "off",
}
# C4: one map, no level of its own for each anchor size.
C4 = {
    **ONE_STEP,
    "MODEL.BACKBONE.CONV_BODY": "R-18-C4",
    "MODEL.RESNETS.BACKBONE_OUT_CHANNELS": 32,
    "MODEL.RPN.ANCHOR_SIZES": (16, 32, 64),
    "MODEL.RPN.POST_NMS_TOP_N_TRAIN": 40,
    "MODEL.RPN.POST_NMS_TOP_N_TEST": 20,
}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the catalog looks: `datasets/` in the working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "datasets"


def read_config(name: str, keys: Mapping[str, Any], folder: Path) -> Config:
    cfg = get_defaults()
    cfg.merge_from_file(REPOSITORY / "configs" / name)
    words = [word for pair in keys.items() for word in pair]
    cfg.merge_from_list([*words, "OUTPUT_DIR", str(folder / "run")])
    cfg.freeze()
    return cfg


def write_voc_sets(root: Path) -> None:
    write_voc(root)
    lists = root / "ImageSets" / "Main"
    for split, names in (("val", "000002\n"), ("test", "000001\n000003\n")):
        (lists / f"{split}.txt").write_text(names)


def test_voc(data: Path) -> None:
    write_voc_sets(data / "voc" / "VOC2007")
    cfg = read_config("pascal_voc/e2e_faster_rcnn_R_50_C4_1x_1_gpu_voc.yaml", C4, data)
    dataset = build_train_dataset(cfg)
    assert isinstance(dataset, ConcatDataset)
    assert len(dataset) == 4
    targets = [dataset[index][1] for index in range(4)]
    assert all(not target.get_field("difficult").any() for target in targets)
    (test_loader,) = build_test_loaders(cfg)
    assert isinstance(test_loader.dataset, PascalVOCDataset)
    assert test_loader.dataset.keep_difficult

    results = run.train(cfg)["voc_2007_test"]
    assert set(results.results) == {"bbox"}
    assert (data / "run" / "inference" / "voc_2007_test" / "result.txt").is_file()
    names = json.loads((data / "run" / "labels.json").read_text())
    assert names["15"] == "person"
    assert run.test(cfg)["voc_2007_test"].results == results.results


def test_ones_own_data_in_vocs_format(data: Path) -> None:
    objects: dict[str, list[Object]] = {
        "a": [("fox", 5, 5, 40, 40, 0)],
        "b": [("Raccoon", 2, 2, 30, 30, 0)],
    }
    root = write_voc(data / "animals", objects=objects, split=None, extension=".png")
    entry = {"data_dir": str(root), "split": "all", "classes": "raccoon, fox"}
    keys = {
        **ONE_STEP,
        "DATASETS.CUSTOM": {"animals": entry},
        "DATASETS.TRAIN": ("animals",),
        "DATASETS.TEST": ("animals",),
        "MODEL.ROI_BOX_HEAD.NUM_CLASSES": 3,
    }
    cfg = read_config("e2e_faster_rcnn_R_50_FPN_1x.yaml", keys, data)
    assert run.train(cfg)["animals"].per_class["bbox"].keys() == {"raccoon", "fox"}


def write_cityscapes_sets(root: Path) -> None:
    write_cityscapes(root)
    scenes: dict[tuple[str, str], list[Thing]] = {
        ("ulm", "ulm_0"): [Thing("car", 3, 4, 6, 40, 30)],
        ("ulm", "ulm_1"): [],
    }
    write_cityscapes(root, scenes=scenes, split="val")


@pytest.mark.parametrize("kind", ["poly", "binarymask"])
def test_cityscapes(data: Path, kind: str) -> None:
    write_cityscapes_sets(data / "cityscapes")
    keys = {**ONE_STEP, "MODEL.ROI_BOX_HEAD.NUM_CLASSES": 11}
    cfg = read_config(f"cityscapes/e2e_mask_rcnn_R_50_FPN_1x_{kind}.yaml", keys, data)
    (test_loader,) = build_test_loaders(cfg)
    assert isinstance(test_loader.dataset, CityScapesDataset)
    assert not test_loader.dataset.replace_empty
    assert len(test_loader.dataset) == 2

    (name,) = cfg.DATASETS.TEST
    results = run.train(cfg)[name]
    assert set(results.results) == {"bbox", "segm"}
    folder = data / "run" / "inference" / name / "evaluationResults"
    assert len(list(folder.glob("*.json"))) == 3
    assert (data / "run" / "labels.json").is_file()


def test_the_old_number_of_classes_is_too_small(data: Path) -> None:
    write_cityscapes_sets(data / "cityscapes")
    cfg = read_config("cityscapes/e2e_mask_rcnn_R_50_FPN_1x_binarymask.yaml", ONE_STEP, data)
    with pytest.raises(
        ConfigError, match=r"10 categories, .* set MODEL\.ROI_BOX_HEAD.NUM_CLASSES 11"
    ):
        build_train_loader(cfg)


@pytest.mark.parametrize("model", ["faster", "mask"])
def test_cityscapes_in_cocos_format(data: Path, model: str) -> None:
    root = data / "cityscapes"
    write_cityscapes_sets(root)
    converter = CityscapesConverter(report=lambda text: None)
    (root / "annotations").mkdir()
    (root / "images").mkdir()
    contents = {split: converter.convert(root / "gtFine" / split) for split in ("train", "val")}
    for split, content in contents.items():
        content["categories"] = converter.categories
        file = f"instancesonly_filtered_gtFine_{split}.json"
        write_json(root / "annotations" / file, content)
        for path in (root / "leftImg8bit" / split).glob("*/*.png"):
            path.rename(root / "images" / path.name)
    name = f"cityscapes/e2e_{model}_rcnn_R_50_FPN_1x_cocostyle.yaml"
    results = run.train(read_config(name, ONE_STEP, data))
    assert list(results) == ["cityscapes_fine_instanceonly_seg_val_cocostyle"]


@pytest.mark.shared_data
@pytest.mark.parametrize("kind", ["poly", "binarymask"])
def test_cityscapes_on_real_annotations(data: Path, shared: Path, kind: str) -> None:
    """A street of New York, eight times smaller, with a picture made of its labels."""
    source = shared / "data" / "cityscapes_format" / "cityscapes" / "gtFine"
    for split in ("train", "val"):
        for path in source.glob(f"{split}/*/*_polygons.json"):
            shrink(path, data / "cityscapes", split)
    keys = {**ONE_STEP, "MODEL.ROI_BOX_HEAD.NUM_CLASSES": 11}
    cfg = read_config(f"cityscapes/e2e_mask_rcnn_R_50_FPN_1x_{kind}.yaml", keys, data)
    loader = build_train_loader(cfg)
    _, (target, *_), _ = next(iter(loader))
    assert set(target.get_field("labels").tolist()) == {3, 4}
    assert len(target) >= 15
    (name,) = cfg.DATASETS.TEST
    # Nothing is annotated in the only picture to test on.
    assert run.train(cfg)[name].results["bbox"] == {"AP": -1, "AP50": -1, "AP75": -1}


def shrink(polygons: Path, root: Path, split: str, factor: int = 8) -> None:
    name, city = polygons.name.removesuffix("_gtFine_polygons.json"), polygons.parent.name
    with Image.open(polygons.with_name(f"{name}_gtFine_instanceIds.png")) as image:
        numbers = np.asarray(image)[::factor, ::factor]
    content = json.loads(polygons.read_text())
    content["imgHeight"], content["imgWidth"] = numbers.shape
    for entry in content["objects"]:
        entry["polygon"] = [[value / factor for value in point] for point in entry["polygon"]]
    annotations, images = root / "gtFine" / split / city, root / "leftImg8bit" / split / city
    for folder in (annotations, images):
        folder.mkdir(parents=True)
    (annotations / polygons.name).write_text(json.dumps(content))
    Image.fromarray(numbers.astype(np.uint16)).save(annotations / f"{name}_gtFine_instanceIds.png")
    colour = np.stack([numbers * step % 256 for step in (3, 29, 101)], axis=2).astype(np.uint8)
    Image.fromarray(colour).save(images / f"{name}_leftImg8bit.png")
