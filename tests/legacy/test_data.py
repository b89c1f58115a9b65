"""Data sets, transforms, samplers, loaders and scoring, as old code uses them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.config.paths_catalog import DatasetCatalog, ModelCatalog
from maskrcnn_benchmark.data import datasets, make_data_loader, transforms
from maskrcnn_benchmark.data.build import (
    build_dataset,
    make_batch_data_sampler,
    make_data_sampler,
)
from maskrcnn_benchmark.data.collate_batch import BatchCollator, BBoxAugCollator
from maskrcnn_benchmark.data.datasets import evaluation
from maskrcnn_benchmark.data.datasets.coco import has_valid_annotation
from maskrcnn_benchmark.data.datasets.evaluation import evaluate
from maskrcnn_benchmark.data.samplers import (
    DistributedSampler,
    GroupedBatchSampler,
    IterationBasedBatchSampler,
)
from maskrcnn_benchmark.data.transforms import build_transforms
from maskrcnn_benchmark.data.transforms.transforms import ColorJitter, RandomVerticalFlip
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import ImageList
from tests.build.toy_run import make_config
from tests.data.datasets.cityscapes_folder import write_cityscapes
from tests.data.datasets.voc_folder import write_voc
from tests.legacy.contract import contract


@pytest.fixture(scope="module")
def cfg(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A run on a drawn COCO folder."""
    return make_config(tmp_path_factory.mktemp("toy"), DATALOADER__NUM_WORKERS=0)


def coco(cfg: Config, name: str = "toy_val", **arguments: Any) -> Any:
    custom = cfg.DATASETS.CUSTOM[name]
    arguments = {"remove_images_without_annotations": False, **arguments}
    return datasets.COCODataset(custom["ann_file"], custom["img_dir"], **arguments)


def truth_of(dataset: Any) -> list[BoxList]:
    """Perfect predictions, in the size of the images."""
    predictions = []
    for index in range(len(dataset)):
        _, target, _ = dataset[index]
        boxes = target.copy_with_fields("labels")
        boxes.add_field("scores", torch.ones(len(target)))
        masks = (
            target.get_field("masks").get_mask_tensor().reshape(len(target), *reversed(target.size))
        )
        boxes.add_field("mask", cut_to_boxes(masks, boxes))
        predictions.append(boxes)
    return predictions


def cut_to_boxes(masks: torch.Tensor, boxes: BoxList) -> torch.Tensor:
    cut = torch.zeros(len(boxes), 1, 56, 56)
    for mask, box, out in zip(masks, boxes.bbox.round().int().tolist(), cut, strict=True):
        piece = mask[box[1] : box[3] + 1, box[0] : box[2] + 1].float()
        out[0] = torch.nn.functional.interpolate(piece[None, None], (56, 56), mode="bilinear")[0, 0]
    return cut


@contract("data.datasets.COCODataset", "data.datasets", "data.datasets.coco.has_valid_annotation")
def test_coco_dataset(cfg: Config) -> None:
    dataset = coco(cfg)
    image, target, index = dataset[1]
    assert isinstance(image, Image.Image)
    assert (image.size, index) == (target.size, 1)
    assert {"labels", "masks"} <= set(target.fields())
    assert len(dataset) == len(dataset.ids) == 6
    assert dataset.id_to_img_map[1] == dataset.ids[1]
    info = dataset.get_img_info(1)
    assert (info["width"], info["height"]) == image.size
    for json_id, label in dataset.json_category_id_to_contiguous_id.items():
        assert dataset.contiguous_category_id_to_json_id[label] == json_id
        assert dataset.categories[json_id] == dataset.coco.cats[json_id]["name"]
    assert min(dataset.contiguous_category_id_to_json_id) == 1

    assert has_valid_annotation([{"bbox": [0, 0, 5, 5]}])
    assert not has_valid_annotation([])
    assert not has_valid_annotation([{"bbox": [0, 0, 1, 5]}])
    ten, nine = ([1, 1, 2] * count + [0, 0, 0] * (17 - count) for count in (10, 9))
    assert has_valid_annotation([{"bbox": [0, 0, 5, 5], "keypoints": ten}])
    assert not has_valid_annotation([{"bbox": [0, 0, 5, 5], "keypoints": nine}])


@contract("data.datasets.PascalVOCDataset")
def test_voc_dataset(tmp_path: Path) -> None:
    root = write_voc(tmp_path)
    dataset = datasets.PascalVOCDataset(str(root), "train", use_difficult=True)
    assert dataset.ids == ["000001", "000002", "000003"]
    assert len(dataset.CLASSES) == 21
    target = dataset.get_groundtruth(0)
    assert target.bbox.tolist() == [[0, 0, 19, 29], [10, 5, 59, 47]]
    names = [
        dataset.map_class_id_to_class_name(label) for label in target.get_field("labels").tolist()
    ]
    assert names == ["cat", "person"]
    assert target.get_field("difficult").tolist() == [0, 1]
    assert dataset.get_img_info(0)["width"] == 64
    assert len(datasets.PascalVOCDataset(str(root), "train").get_groundtruth(0)) == 1
    image, target, index = dataset[1]
    assert (image.size, len(target), index) == ((40, 60), 1, 1)


@contract("data.datasets.CityScapesDataset")
@pytest.mark.parametrize("mode", ["mask", "poly"])
def test_cityscapes_dataset(tmp_path: Path, mode: str) -> None:
    write_cityscapes(tmp_path)
    dataset = datasets.CityScapesDataset(
        str(tmp_path / "leftImg8bit"), str(tmp_path / "gtFine"), "train", mode=mode
    )
    assert dataset.CLASSES[0] == "__background__"
    assert dataset.id_to_name[dataset.name_to_id["car"]] == "car"
    image, target, index = dataset[0]
    assert (image.size, index) == ((64, 48), 0)
    names = {dataset.id_to_name[label] for label in target.get_field("labels").tolist()}
    assert {"car", "person"} <= names
    assert len(target.get_field("masks")) == len(target)


@contract("data.datasets.AbstractDataset", "data.datasets.ConcatDataset")
def test_abstract_and_joined_datasets(cfg: Config) -> None:
    class Own(datasets.AbstractDataset):
        CLASSES = ("__background__", "nut", "fig")

        def __init__(self) -> None:
            self.initMaps()

        def __getitem__(self, index: int) -> tuple[str, None, int]:
            return f"sample {index}", None, index

        def __len__(self) -> int:
            return 3

        def get_img_info(self, index: int) -> dict[str, int]:
            return {"height": index, "width": 7}

    own = Own()
    assert (own.name_to_id["fig"], own.id_to_name[1]) == (2, "nut")
    joined = datasets.ConcatDataset([own, Own()])
    assert len(joined) == 6
    assert joined.get_idxs(4) == (1, 1)
    assert joined.get_img_info(4) == {"height": 1, "width": 7}
    assert joined[5][0] == "sample 2"


@contract("data.datasets.evaluation.evaluate", "data.datasets.evaluation")
def test_evaluate_with_ap_of_each_class(cfg: Config, tmp_path: Path) -> None:
    dataset = coco(cfg)
    outcome = evaluate(
        dataset=dataset,
        predictions=truth_of(dataset),
        output_folder=str(tmp_path),
        box_only=False,
        iou_types=("bbox", "segm"),
        expected_results=[["bbox", "AP", [1.0, 0.05]]],
        expected_results_sigma_tol=4,
    )
    results, _ = outcome
    assert results.results["bbox"]["AP"] == pytest.approx(1.0)
    assert results.results["segm"]["AP50"] == pytest.approx(1.0)
    # What the old README told its users to patch in.
    classes = results.per_class["bbox"]
    assert set(classes) == set(dataset.categories.values())
    assert all(entry["AP"] == pytest.approx(1.0) for entry in classes.values())
    assert {"bbox.json", "segm.json", "coco_results.pth"} <= {f.name for f in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="cannot score list"):
        evaluation.evaluate([], [], None)


@contract(
    "data.transforms",
    "data.transforms.Compose",
    "data.transforms.Resize",
    "data.transforms.RandomHorizontalFlip",
    "data.transforms.ToTensor",
    "data.transforms.Normalize",
    "data.transforms.transforms.RandomVerticalFlip",
    "data.transforms.transforms.ColorJitter",
    "data.transforms.build_transforms",
)
def test_transforms(cfg: Config) -> None:
    target = BoxList([[10, 0, 19, 9]], (40, 20))
    whole = transforms.Compose(
        [
            ColorJitter(0.1, 0.1, 0.1, 0.1),
            transforms.Resize(40, 100),
            transforms.RandomHorizontalFlip(1.0),
            RandomVerticalFlip(prob=1.0),
            transforms.ToTensor(),
            transforms.Normalize([102.9801, 115.9465, 122.7717], [1.0, 1.0, 1.0], to_bgr255=True),
        ]
    )
    image, moved = whole(Image.new("RGB", (40, 20), (200, 100, 0)), target)
    assert image.shape == (3, 40, 80)
    assert moved.size == (80, 40)
    assert moved.bbox.tolist() == [[41, 21, 59, 39]]
    # BGR, 0 to 255, without the mean.
    plain = transforms.Compose(whole.transforms[4:])
    image, _ = plain(Image.new("RGB", (4, 2), (200, 100, 0)), target)
    assert image[:, 0, 0].tolist() == pytest.approx([-102.9801, 100 - 115.9465, 200 - 122.7717])
    built = build_transforms(cfg, is_train=False)
    assert [type(each).__name__ for each in built.transforms] == [
        "ColorJitter",
        "Resize",
        "RandomHorizontalFlip",
        "RandomVerticalFlip",
        "ToTensor",
        "Normalize",
    ]
    assert built(Image.new("RGB", (32, 48)), None).shape == (3, 96, 64)


@contract(
    "data.samplers.DistributedSampler",
    "data.samplers.GroupedBatchSampler",
    "data.samplers.IterationBasedBatchSampler",
    "data.build.make_data_sampler",
    "data.build.make_batch_data_sampler",
)
def test_samplers() -> None:
    data = list(range(7))
    shares = [
        DistributedSampler(data, num_replicas=2, rank=rank, shuffle=False) for rank in range(2)
    ]
    assert [list(each) for each in shares] == [[0, 1, 2, 3], [4, 5, 6, 0]]
    shuffled = DistributedSampler(data, num_replicas=1, rank=0)
    first = list(shuffled)
    shuffled.set_epoch(1)
    assert sorted(first) == data
    assert list(shuffled) != first

    grouped = GroupedBatchSampler(data, [0, 1, 0, 1, 0, 1, 0], 2)
    assert list(grouped) == [[0, 2], [1, 3], [4, 6], [5]]
    assert [5] not in list(GroupedBatchSampler(data, [0, 1, 0, 1, 0, 1, 0], 2, drop_uneven=True))
    repeated = IterationBasedBatchSampler(grouped, num_iterations=6, start_iter=1)
    assert len(list(repeated)) == 5
    assert len(repeated) == 6

    sampler = make_data_sampler(data, shuffle=False, distributed=False)
    assert list(sampler) == data

    class Sized(list[int]):
        def get_img_info(self, index: int) -> dict[str, int]:
            return {"height": 10, "width": 5 if index % 2 else 20}

    batches = make_batch_data_sampler(Sized(data), sampler, True, 2, num_iters=3)
    assert list(batches) == [[0, 2], [1, 3], [4, 6]]


@contract("data.collate_batch.BatchCollator", "data.collate_batch.BBoxAugCollator")
def test_collators() -> None:
    batch = [(torch.ones(3, 10, 20), "target", 4), (torch.ones(3, 8, 8), "other", 2)]
    images, targets, ids = BatchCollator(32)(batch)
    assert isinstance(images, ImageList)
    assert (images.tensors.shape, list(targets), list(ids)) == (
        (2, 3, 32, 32),
        ["target", "other"],
        [4, 2],
    )
    images, targets, ids = BBoxAugCollator()(batch)
    assert [tuple(each.shape) for each in images] == [(3, 10, 20), (3, 8, 8)]
    assert list(ids) == [4, 2]


@contract("data.make_data_loader", "data.build.build_dataset")
def test_loaders(cfg: Config) -> None:
    loader = make_data_loader(cfg, is_train=True, is_distributed=False, start_iter=12)
    batches = list(loader)
    # Iterations 13 and 14; the length is the iteration to stop at.
    assert (len(batches), len(loader)) == (2, cfg.SOLVER.MAX_ITER)
    images, targets, ids = batches[0]
    assert isinstance(images, ImageList)
    assert len(targets) == len(ids) == cfg.SOLVER.IMS_PER_BATCH
    assert targets[0].has_field("masks")
    (test,) = make_data_loader(cfg, is_train=False)
    assert len(test.dataset) == 6
    assert sorted(index for _, _, indices in test for index in indices) == list(range(6))
    period = make_data_loader(cfg, is_train=False, is_for_period=True)
    assert not isinstance(period, list)

    class Catalog:
        @staticmethod
        def get(name: str) -> dict[str, Any]:
            entry = cfg.DATASETS.CUSTOM[name]
            return {
                "factory": "COCODataset",
                "args": {"ann_file": entry["ann_file"], "root": entry["img_dir"]},
            }

    (joined,) = build_dataset(["toy_train", "toy_val"], None, Catalog)
    # Images without annotations are left out of training.
    assert len(joined) == 20
    assert [len(each) for each in build_dataset(["toy_val"], None, Catalog, is_train=False)] == [6]


@contract("config.paths_catalog.DatasetCatalog", "config.paths_catalog.ModelCatalog")
def test_catalogs() -> None:
    assert DatasetCatalog.DATA_DIR == "datasets"
    entry = DatasetCatalog.get("coco_2014_train")
    assert entry["factory"] == "COCODataset"
    assert entry["args"]["root"] == "datasets/coco/train2014"
    assert DatasetCatalog.get("voc_2007_test")["factory"] == "PascalVOCDataset"
    assert (
        DatasetCatalog.get("cityscapes_fine_instanceonly_seg_train_cocostyle")["factory"]
        == "COCODataset"
    )
    assert "coco_2017_val" in DatasetCatalog.DATASETS
    with pytest.raises(ValueError, match="not in DatasetCatalog"):
        DatasetCatalog.get("nonsense")

    url = ModelCatalog.get("ImageNetPretrained/MSRA/R-50")
    assert url.startswith(ModelCatalog.S3_C2_DETECTRON_URL)
    assert url == ModelCatalog.get_c2_imagenet_pretrained("ImageNetPretrained/MSRA/R-50")
    name = "Caffe2Detectron/COCO/35858933/e2e_mask_rcnn_R-50-FPN_1x"
    url = ModelCatalog.get(name)
    assert url == ModelCatalog.get_c2_detectron_12_2017_baselines(name)
    assert url.endswith(ModelCatalog.C2_DETECTRON_SUFFIX.format("", "").split("/")[-1])
    assert ModelCatalog.C2_IMAGENET_MODELS
    assert ModelCatalog.C2_DETECTRON_MODELS
