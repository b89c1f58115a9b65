"""Where data sets lie and where published weights are fetched from, by name.

Edit this file, or copy it, change the copy and name it in the key PATHS_CATALOG. A data set in COCO's format needs
no entry at all: see the key DATASETS.CUSTOM.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar

from maskrcnn_benchmark.config.suggest import nearest
from maskrcnn_benchmark.errors import ConfigError


class DatasetCatalog:
    """Data sets by name; paths are relative to DATA_DIR."""

    DATA_DIR: ClassVar[str] = "datasets"
    DATASETS: ClassVar[dict[str, dict[str, Any]]] = {
        "coco_2017_train": {
            "img_dir": "coco/train2017",
            "ann_file": "coco/annotations/instances_train2017.json",
        },
        "coco_2017_val": {
            "img_dir": "coco/val2017",
            "ann_file": "coco/annotations/instances_val2017.json",
        },
        "coco_2014_train": {
            "img_dir": "coco/train2014",
            "ann_file": "coco/annotations/instances_train2014.json",
        },
        "coco_2014_val": {
            "img_dir": "coco/val2014",
            "ann_file": "coco/annotations/instances_val2014.json",
        },
        "coco_2014_minival": {
            "img_dir": "coco/val2014",
            "ann_file": "coco/annotations/instances_minival2014.json",
        },
        "coco_2014_valminusminival": {
            "img_dir": "coco/val2014",
            "ann_file": "coco/annotations/instances_valminusminival2014.json",
        },
        "keypoints_coco_2014_train": {
            "img_dir": "coco/train2014",
            "ann_file": "coco/annotations/person_keypoints_train2014.json",
        },
        "keypoints_coco_2014_val": {
            "img_dir": "coco/val2014",
            "ann_file": "coco/annotations/person_keypoints_val2014.json",
        },
        "keypoints_coco_2014_minival": {
            "img_dir": "coco/val2014",
            "ann_file": "coco/annotations/person_keypoints_minival2014.json",
        },
        "keypoints_coco_2014_valminusminival": {
            "img_dir": "coco/val2014",
            "ann_file": "coco/annotations/person_keypoints_valminusminival2014.json",
        },
        "voc_2007_train": {"data_dir": "voc/VOC2007", "split": "train"},
        "voc_2007_train_cocostyle": {
            "img_dir": "voc/VOC2007/JPEGImages",
            "ann_file": "voc/VOC2007/Annotations/pascal_train2007.json",
        },
        "voc_2007_val": {"data_dir": "voc/VOC2007", "split": "val"},
        "voc_2007_val_cocostyle": {
            "img_dir": "voc/VOC2007/JPEGImages",
            "ann_file": "voc/VOC2007/Annotations/pascal_val2007.json",
        },
        "voc_2007_test": {"data_dir": "voc/VOC2007", "split": "test"},
        "voc_2007_test_cocostyle": {
            "img_dir": "voc/VOC2007/JPEGImages",
            "ann_file": "voc/VOC2007/Annotations/pascal_test2007.json",
        },
        "voc_2012_train": {"data_dir": "voc/VOC2012", "split": "train"},
        "voc_2012_train_cocostyle": {
            "img_dir": "voc/VOC2012/JPEGImages",
            "ann_file": "voc/VOC2012/Annotations/pascal_train2012.json",
        },
        "voc_2012_val": {"data_dir": "voc/VOC2012", "split": "val"},
        "voc_2012_val_cocostyle": {
            "img_dir": "voc/VOC2012/JPEGImages",
            "ann_file": "voc/VOC2012/Annotations/pascal_val2012.json",
        },
        "voc_2012_test": {"data_dir": "voc/VOC2012", "split": "test"},
        "cityscapes_fine_instanceonly_seg_train_cocostyle": {
            "img_dir": "cityscapes/images",
            "ann_file": "cityscapes/annotations/instancesonly_filtered_gtFine_train.json",
        },
        "cityscapes_fine_instanceonly_seg_val_cocostyle": {
            "img_dir": "cityscapes/images",
            "ann_file": "cityscapes/annotations/instancesonly_filtered_gtFine_val.json",
        },
        "cityscapes_fine_instanceonly_seg_test_cocostyle": {
            "img_dir": "cityscapes/images",
            "ann_file": "cityscapes/annotations/instancesonly_filtered_gtFine_test.json",
        },
        "cityscapes_poly_instance_train": {
            "img_dir": "cityscapes/leftImg8bit/",
            "ann_dir": "cityscapes/gtFine/",
            "split": "train",
            "mode": "poly",
        },
        "cityscapes_poly_instance_val": {
            "img_dir": "cityscapes/leftImg8bit",
            "ann_dir": "cityscapes/gtFine",
            "split": "val",
            "mode": "poly",
        },
        "cityscapes_poly_instance_minival": {
            "img_dir": "cityscapes/leftImg8bit",
            "ann_dir": "cityscapes/gtFine",
            "split": "val",
            "mode": "poly",
            "mini": 10,
        },
        "cityscapes_mask_instance_train": {
            "img_dir": "cityscapes/leftImg8bit/",
            "ann_dir": "cityscapes/gtFine/",
            "split": "train",
            "mode": "mask",
        },
        "cityscapes_mask_instance_val": {
            "img_dir": "cityscapes/leftImg8bit",
            "ann_dir": "cityscapes/gtFine",
            "split": "val",
            "mode": "mask",
        },
        "cityscapes_mask_instance_minival": {
            "img_dir": "cityscapes/leftImg8bit",
            "ann_dir": "cityscapes/gtFine",
            "split": "val",
            "mode": "mask",
            "mini": 10,
        },
    }

    @staticmethod
    def get(name: str) -> dict[str, Any]:
        """Return which class of `maskrcnn_benchmark.data.datasets` reads a data set, and with what arguments.

        As ever, the name decides: "coco" in it comes first, then "voc", then "cityscapes". A name of your own with
        none of them is judged by the entry: `ann_file` is COCO's format, `ann_dir` Cityscapes', `data_dir` VOC's.

        Returns:
            {"factory": class name, "args": keyword arguments}.

        Raises:
            ConfigError: there is no such data set.
        """
        try:
            entry = dict(DatasetCatalog.DATASETS[name])
        except KeyError:
            hint = nearest(name, DatasetCatalog.DATASETS)
            raise ConfigError(
                f"the data set {name!r} is not in DatasetCatalog{hint or '.'} Add it to "
                "config/paths_catalog.py (or your PATHS_CATALOG), or give it directly: "
                "DATASETS.CUSTOM, or --train-json and --train-images on the command line."
            ) from None
        for key in ("img_dir", "ann_file", "ann_dir", "data_dir"):
            if key in entry:
                entry[key] = os.path.join(DatasetCatalog.DATA_DIR, entry[key])
        factory = _factory(name, entry)
        if factory == "COCODataset":
            entry["root"] = entry.pop("img_dir")
        return {"factory": factory, "args": entry}


def _factory(name: str, entry: dict[str, Any]) -> str:
    if "coco" in name:
        return "COCODataset"
    if "voc" in name:
        return "PascalVOCDataset"
    if "cityscapes" in name or "ann_dir" in entry:
        return "CityScapesDataset"
    return "COCODataset" if "ann_file" in entry else "PascalVOCDataset"


class ModelCatalog:
    """Published weights by name, as MODEL.WEIGHT takes them after `catalog://`."""

    S3_C2_DETECTRON_URL: ClassVar[str] = "https://dl.fbaipublicfiles.com/detectron"
    C2_IMAGENET_MODELS: ClassVar[dict[str, str]] = {
        "MSRA/R-50": "ImageNetPretrained/MSRA/R-50.pkl",
        "MSRA/R-50-GN": "ImageNetPretrained/47261647/R-50-GN.pkl",
        "MSRA/R-101": "ImageNetPretrained/MSRA/R-101.pkl",
        "MSRA/R-101-GN": "ImageNetPretrained/47592356/R-101-GN.pkl",
        "FAIR/20171220/X-101-32x8d": "ImageNetPretrained/20171220/X-101-32x8d.pkl",
    }
    C2_DETECTRON_SUFFIX: ClassVar[str] = (
        "output/train/{}coco_2014_train%3A{}coco_2014_valminusminival/generalized_rcnn/"
        "model_final.pkl"
    )
    C2_DETECTRON_MODELS: ClassVar[dict[str, str]] = {
        "35857197/e2e_faster_rcnn_R-50-C4_1x": "01_33_49.iAX0mXvW",
        "35857345/e2e_faster_rcnn_R-50-FPN_1x": "01_36_30.cUF7QR7I",
        "35857890/e2e_faster_rcnn_R-101-FPN_1x": "01_38_50.sNxI7sX7",
        "36761737/e2e_faster_rcnn_X-101-32x8d-FPN_1x": "06_31_39.5MIHi1fZ",
        "35858791/e2e_mask_rcnn_R-50-C4_1x": "01_45_57.ZgkA7hPB",
        "35858933/e2e_mask_rcnn_R-50-FPN_1x": "01_48_14.DzEQe4wC",
        "35861795/e2e_mask_rcnn_R-101-FPN_1x": "02_31_37.KqyEK4tT",
        "36761843/e2e_mask_rcnn_X-101-32x8d-FPN_1x": "06_35_59.RZotkLKI",
        "37129812/e2e_mask_rcnn_X-152-32x8d-FPN-IN5k_1.44x": "09_35_36.8pzTQKYK",
        "37697547/e2e_keypoint_rcnn_R-50-FPN_1x": "08_42_54.kdzV35ao",
    }

    @staticmethod
    def get(name: str) -> str:
        """Return the address of the weights called ImageNetPretrained/... or Caffe2Detectron/COCO/....

        Raises:
            ConfigError: there are no such weights.
        """
        if name.startswith("Caffe2Detectron/COCO"):
            return ModelCatalog.get_c2_detectron_12_2017_baselines(name)
        if name.startswith("ImageNetPretrained"):
            return ModelCatalog.get_c2_imagenet_pretrained(name)
        raise _unknown_model(name)

    @staticmethod
    def get_c2_imagenet_pretrained(name: str) -> str:
        """Return the address of a backbone trained on ImageNet: ImageNetPretrained/MSRA/R-50, say."""
        try:
            path = ModelCatalog.C2_IMAGENET_MODELS[name.removeprefix("ImageNetPretrained/")]
        except KeyError:
            raise _unknown_model(name) from None
        return f"{ModelCatalog.S3_C2_DETECTRON_URL}/{path}"

    @staticmethod
    def get_c2_detectron_12_2017_baselines(name: str) -> str:
        """Return the address of a Detectron model: Caffe2Detectron/COCO/{id}/{model}."""
        key = name.removeprefix("Caffe2Detectron/COCO/")
        try:
            signature = ModelCatalog.C2_DETECTRON_MODELS[key]
        except KeyError:
            raise _unknown_model(name) from None
        number, _, model = key.partition("/")
        task = "keypoints_" if "keypoint" in model else ""
        suffix = ModelCatalog.C2_DETECTRON_SUFFIX.format(task, task)
        base = f"{ModelCatalog.S3_C2_DETECTRON_URL}/{number}/12_2017_baselines"
        return f"{base}/{model}.yaml.{signature}/{suffix}"


def _unknown_model(name: str) -> ConfigError:
    names = [f"ImageNetPretrained/{key}" for key in ModelCatalog.C2_IMAGENET_MODELS]
    names += [f"Caffe2Detectron/COCO/{key}" for key in ModelCatalog.C2_DETECTRON_MODELS]
    return ConfigError(
        f"the weights 'catalog://{name}' are not in ModelCatalog{nearest(name, names) or '.'} Add them to "
        "config/paths_catalog.py (or your PATHS_CATALOG), or set MODEL.WEIGHT to a file."
    )
