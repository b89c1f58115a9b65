from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from maskrcnn_benchmark.config.paths_catalog import DatasetCatalog, ModelCatalog
from maskrcnn_benchmark.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "factory", "arguments"),
    [
        (
            "coco_2014_minival",
            "COCODataset",
            {
                "root": "datasets/coco/val2014",
                "ann_file": "datasets/coco/annotations/instances_minival2014.json",
            },
        ),
        (
            "voc_2007_train_cocostyle",
            "COCODataset",
            {
                "root": "datasets/voc/VOC2007/JPEGImages",
                "ann_file": "datasets/voc/VOC2007/Annotations/pascal_train2007.json",
            },
        ),
        (
            "voc_2012_val",
            "PascalVOCDataset",
            {"data_dir": "datasets/voc/VOC2012", "split": "val"},
        ),
        (
            "cityscapes_mask_instance_minival",
            "CityScapesDataset",
            {
                "img_dir": "datasets/cityscapes/leftImg8bit",
                "ann_dir": "datasets/cityscapes/gtFine",
                "split": "val",
                "mode": "mask",
                "mini": 10,
            },
        ),
    ],
)
def test_data_sets(name: str, factory: str, arguments: dict[str, Any]) -> None:
    assert DatasetCatalog.get(name) == {"factory": factory, "args": arguments}


def test_asking_changes_nothing() -> None:
    before = json.dumps(DatasetCatalog.DATASETS)
    for name in DatasetCatalog.DATASETS:
        DatasetCatalog.get(name)
    assert json.dumps(DatasetCatalog.DATASETS) == before


def test_an_entry_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        DatasetCatalog.DATASETS, "nuts", {"img_dir": "/data/nuts", "ann_file": "nuts.json"}
    )
    assert DatasetCatalog.get("nuts") == {
        "factory": "COCODataset",
        "args": {"root": "/data/nuts", "ann_file": "datasets/nuts.json"},
    }
    monkeypatch.setitem(DatasetCatalog.DATASETS, "streets", {"img_dir": "a", "ann_dir": "b"})
    assert DatasetCatalog.get("streets")["factory"] == "CityScapesDataset"
    monkeypatch.setitem(DatasetCatalog.DATASETS, "pascal", {"data_dir": "a", "split": "b"})
    assert DatasetCatalog.get("pascal")["factory"] == "PascalVOCDataset"


def test_an_unknown_data_set() -> None:
    with pytest.raises(ConfigError, match=r"'coco_2014_minval' .*did you mean coco_2014_minival\?"):
        DatasetCatalog.get("coco_2014_minval")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("ImageNetPretrained/MSRA/R-50", "ImageNetPretrained/MSRA/R-50.pkl"),
        (
            "ImageNetPretrained/FAIR/20171220/X-101-32x8d",
            "ImageNetPretrained/20171220/X-101-32x8d.pkl",
        ),
        (
            "Caffe2Detectron/COCO/35858933/e2e_mask_rcnn_R-50-FPN_1x",
            "35858933/12_2017_baselines/e2e_mask_rcnn_R-50-FPN_1x.yaml.01_48_14.DzEQe4wC/output/train/"
            "coco_2014_train%3Acoco_2014_valminusminival/generalized_rcnn/model_final.pkl",
        ),
        (
            "Caffe2Detectron/COCO/37697547/e2e_keypoint_rcnn_R-50-FPN_1x",
            "37697547/12_2017_baselines/e2e_keypoint_rcnn_R-50-FPN_1x.yaml.08_42_54.kdzV35ao/output/"
            "train/keypoints_coco_2014_train%3Akeypoints_coco_2014_valminusminival/generalized_rcnn/"
            "model_final.pkl",
        ),
    ],
)
def test_weights(name: str, path: str) -> None:
    assert ModelCatalog.get(name) == f"https://dl.fbaipublicfiles.com/detectron/{path}"


@pytest.mark.parametrize(
    "name",
    ["ImageNetPretrained/MSRA/R-5O", "Caffe2Detectron/COCO/35858933/e2e_mask_rcnn", "R-50"],
)
def test_unknown_weights(name: str) -> None:
    with pytest.raises(ConfigError, match=f"'catalog://{name}' are not in ModelCatalog"):
        ModelCatalog.get(name)


@pytest.mark.shared_data
def test_the_old_catalog_is_complete(shared: Path) -> None:
    old = json.loads((shared / "reference" / "legacy_catalog.json").read_text())
    assert old["DATA_DIR"] == DatasetCatalog.DATA_DIR
    assert old["DATASETS"] == DatasetCatalog.DATASETS
    for name, value in old["MODELS"].items():
        assert getattr(ModelCatalog, name) == value
