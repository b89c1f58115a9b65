"""The list of models: every config and every catalog entry, with what their headers say."""

from __future__ import annotations

import pytest

from maskrcnn_benchmark.build.config_files import list_configs
from maskrcnn_benchmark.build.model_list import ModelEntry, list_models
from maskrcnn_benchmark.config.paths_catalog import ModelCatalog


def entry(name: str) -> ModelEntry:
    (found,) = (e for e in list_models() if e.name == name)
    return found


def test_every_config_and_every_published_set_of_weights_is_there_once() -> None:
    names = [e.name for e in list_models()]
    assert len(set(names)) == len(names)
    assert set(list_configs()) < set(names)
    catalog = len(ModelCatalog.C2_DETECTRON_MODELS) + len(ModelCatalog.C2_IMAGENET_MODELS)
    assert len(names) == len(list_configs()) + catalog
    assert all(e.task and e.backbone and e.weights for e in list_models())


@pytest.mark.parametrize(
    ("name", "task", "backbone", "published"),
    [
        ("e2e_mask_rcnn_R_50_FPN_1x.yaml", "Mask R-CNN", "R-50-FPN", "box AP 37.8, mask AP 34.2"),
        (
            "e2e_faster_rcnn_X_101_32x8d_FPN_1x.yaml",
            "Faster R-CNN",
            "X-101-32x8d-FPN",
            "box AP 41.2",
        ),
        ("rpn_R_50_C4_1x.yaml", "RPN", "R-50-C4", "AR@1000 51.6"),
        ("retinanet/retinanet_R-50-FPN_1x.yaml", "RetinaNet", "R-50-FPN", "box AP 35.7"),
        ("e2e_faster_rcnn_fbnet_chamv1a_600.yaml", "Faster R-CNN", "FBNet cham_v1a", ""),
        (
            "dcn/e2e_mask_rcnn_mdconv_R_50_FPN_1x.yaml",
            "Mask R-CNN",
            "R-50-FPN DCNv2",
            "box AP 40.7, mask AP 36.7",
        ),
        (
            "catalog://Caffe2Detectron/COCO/37697547/e2e_keypoint_rcnn_R-50-FPN_1x",
            "Keypoint R-CNN",
            "R-50-FPN",
            "box AP 53.6, keypoint AP 64.2",
        ),
        ("catalog://ImageNetPretrained/MSRA/R-50-GN", "ImageNet", "R-50-GN", ""),
    ],
)
def test_what_an_entry_says(name: str, task: str, backbone: str, published: str) -> None:
    found = entry(name)
    assert (found.task, found.backbone, found.published) == (task, backbone, published)
    assert bool(found.source) == bool(published)


def test_weights_are_an_address_or_what_the_config_says() -> None:
    assert entry("e2e_mask_rcnn_R_50_FPN_1x.yaml").weights == (
        "catalog://ImageNetPretrained/MSRA/R-50"
    )
    assert entry("catalog://ImageNetPretrained/MSRA/R-50").weights.startswith("https://")
    assert entry("e2e_mask_rcnn_fbnet.yaml").weights == "none"


def test_a_text_narrows_the_list() -> None:
    found = list_models("KEYPOINT")
    assert found
    assert all("keypoint" in f"{e.name} {e.task}".lower() for e in found)
    assert list_models("no such model") == []
