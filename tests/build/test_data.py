"""From config keys to data: the whole way, on a COCO folder drawn here."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from maskrcnn_benchmark.build.data import (
    build_test_loaders,
    build_train_loader,
    build_transforms,
    build_validation_loader,
)
from maskrcnn_benchmark.config import get_defaults
from maskrcnn_benchmark.data import make_data_loader
from maskrcnn_benchmark.data.build import (
    build_dataset,
    make_batch_data_sampler,
    make_data_sampler,
)
from maskrcnn_benchmark.data.collate_batch import BBoxAugCollator
from maskrcnn_benchmark.data.datasets import COCODataset, ConcatDataset
from maskrcnn_benchmark.data.transforms import build_transforms as old_build_transforms
from maskrcnn_benchmark.errors import ConfigError, DatasetError


def write_coco(root, *, num_images, empty=(), masks=True, categories=("nut", "fig")):
    root.mkdir()
    pixels = np.random.RandomState(0)
    content = {"images": [], "annotations": [], "categories": []}
    content["categories"] = [{"id": i * 2, "name": n} for i, n in enumerate(categories)]
    for index in range(num_images):
        width, height = (48, 36) if index % 3 else (36, 48)
        values = pixels.randint(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(values).save(root / f"{index}.png")
        image = {"id": index, "file_name": f"{index}.png", "width": width, "height": height}
        content["images"].append(image)
        if index in empty:
            continue
        annotation = {"id": index + 1, "image_id": index, "category_id": 2 * (index % 2)}
        annotation |= {"bbox": [4, 5, 20, 10], "iscrowd": 0, "area": 200}
        if masks:
            annotation["segmentation"] = [[4, 5, 24, 5, 24, 15, 4, 15]]
        content["annotations"].append(annotation)
    (root / "data.json").write_text(json.dumps(content))
    return {"ann_file": str(root / "data.json"), "img_dir": str(root)}


@pytest.fixture
def cfg(tmp_path):
    custom = {
        "fruit_train": write_coco(tmp_path / "train", num_images=7, empty=(6,)),
        "fruit_val": write_coco(tmp_path / "val", num_images=5, empty=(0,)),
    }
    config = get_defaults()
    for key, value in {
        "DATASETS.CUSTOM": custom,
        "DATASETS.TRAIN": ("fruit_train",),
        "DATASETS.TEST": ("fruit_val",),
        "MODEL.DEVICE": "cpu",
        "MODEL.ROI_BOX_HEAD.NUM_CLASSES": 3,
        "SOLVER.MAX_ITER": 8,
        "SOLVER.STEPS": (6,),
        "SOLVER.IMS_PER_BATCH": 2,
        "TEST.IMS_PER_BATCH": 2,
        "INPUT.MIN_SIZE_TRAIN": (40, 50),
        "INPUT.MIN_SIZE_TEST": 40,
        "DATALOADER.SIZE_DIVISIBILITY": 32,
        "DATALOADER.NUM_WORKERS": 0,
        "SEED": 3,
    }.items():
        config.merge_from_list([key, value])
    return config


def test_training_loader(cfg):
    loader = build_train_loader(cfg)
    batches = list(loader)
    assert len(loader) == len(batches) == 8
    for images, targets, indices in batches:
        assert images.tensors.shape[2] % 32 == images.tensors.shape[3] % 32 == 0
        assert {min(size) for size in images.image_sizes} <= {40, 50}
        assert all(target.fields() == ["labels", "masks"] for target in targets)
        assert set(indices) <= set(range(6)), "without the empty image"
    resumed = list(build_train_loader(cfg, start_iter=5))
    for mine, theirs in zip(resumed, batches[5:], strict=True):
        assert torch.equal(mine[0].tensors, theirs[0].tensors)
        assert mine[2] == theirs[2]


def test_the_seed_of_the_run_chooses_the_stream(cfg):
    first = [indices for *_, indices in build_train_loader(cfg)]
    cfg.SEED = 4
    assert [indices for *_, indices in build_train_loader(cfg)] != first


def test_test_loaders_keep_empty_images_and_order(cfg):
    cfg.DATASETS.TEST = ("fruit_val", "fruit_train")
    loaders = build_test_loaders(cfg)
    assert [len(loader.dataset) for loader in loaders] == [5, 7]
    assert all(isinstance(loader.dataset, COCODataset) for loader in loaders)
    indices = [index for *_, batch in loaders[0] for index in batch]
    assert sorted(indices) == [0, 1, 2, 3, 4]
    assert {min(size) for images, *_ in loaders[0] for size in images.image_sizes} == {40}


def test_the_validation_loader_joins_and_filters(cfg):
    assert len(build_validation_loader(cfg).dataset) == 4
    cfg.DATASETS.TEST = ("fruit_val", "fruit_train")
    joined = build_validation_loader(cfg).dataset
    assert isinstance(joined, ConcatDataset)
    assert len(joined) == 4 + 6


def test_the_old_entry_point(cfg):
    ours = [indices for *_, indices in build_train_loader(cfg, start_iter=6)]
    assert [indices for *_, indices in make_data_loader(cfg, start_iter=6)] == ours
    (loader,) = make_data_loader(cfg, is_train=False)
    assert len(loader.dataset) == 5
    assert len(make_data_loader(cfg, is_train=False, is_for_period=True).dataset) == 4


def test_transforms_follow_the_input_section(cfg):
    cfg.INPUT.HORIZONTAL_FLIP_PROB_TRAIN = 0.25
    cfg.INPUT.VERTICAL_FLIP_PROB_TRAIN = 0.125
    cfg.INPUT.BRIGHTNESS = 0.5
    cfg.INPUT.TO_BGR255 = False
    text = repr(build_transforms(cfg))
    assert "brightness=(0.5, 1.5)" in text
    assert "Resize(min_size=(40, 50), max_size=1333)" in text
    assert "HorizontalFlip(prob=0.25)" in text
    assert "VerticalFlip(prob=0.125)" in text
    assert "to_bgr255=False" in text
    testing = repr(old_build_transforms(cfg, is_train=False))
    assert "brightness=None" in testing
    assert "Resize(min_size=(40,), max_size=1333)" in testing
    assert "HorizontalFlip(prob=0.0)" in testing


def test_too_few_classes_say_both_numbers(cfg):
    cfg.MODEL.ROI_BOX_HEAD.NUM_CLASSES = 2
    message = (
        "data set 'fruit_train' has 2 categories, so MODEL.ROI_BOX_HEAD.NUM_CLASSES must be at "
        "least 3 .*got 2; set MODEL.ROI_BOX_HEAD.NUM_CLASSES 3"
    )
    with pytest.raises(ConfigError, match=message):
        build_train_loader(cfg)
    with pytest.raises(ConfigError, match="'fruit_val' has 2 categories"):
        build_test_loaders(cfg)
    cfg.MODEL.RPN_ONLY = True
    assert len(build_train_loader(cfg)) == 8, "proposals have no classes"


def test_more_classes_than_categories_are_a_warning(cfg, caplog):
    cfg.MODEL.ROI_BOX_HEAD.NUM_CLASSES = 81
    build_train_loader(cfg)
    assert "has 2 categories, but MODEL.ROI_BOX_HEAD.NUM_CLASSES is 81" in caplog.text


def test_masks_must_be_there_if_they_are_to_be_trained(cfg, tmp_path):
    without = write_coco(tmp_path / "boxes", num_images=3, masks=False)
    cfg.merge_from_list(["DATASETS.CUSTOM", {"boxes": without}])
    cfg.DATASETS.TRAIN = ("boxes",)
    assert build_train_loader(cfg).dataset.get_groundtruth(0).fields() == ["labels"]
    cfg.MODEL.MASK_ON = True
    with pytest.raises(DatasetError, match=r"annotation 1 .*no segmentation"):
        build_train_loader(cfg)


def test_skip_reaches_the_data_set(cfg, tmp_path):
    (tmp_path / "train" / "0.png").unlink()
    with pytest.raises(DatasetError, match=r"no file '.*0\.png'"):
        build_train_loader(cfg)
    cfg.DATALOADER.ON_ERROR = "skip"
    assert len(build_train_loader(cfg).dataset) == 5


def test_joined_data_sets_must_agree_in_their_categories(cfg, tmp_path):
    other = write_coco(tmp_path / "other", num_images=3, categories=("fig", "nut"))
    cfg.merge_from_list(["DATASETS.CUSTOM", {"other": other}])
    cfg.DATASETS.TRAIN = ("fruit_train", "other")
    with pytest.raises(DatasetError, match="label 1 is 'nut' in the first and 'fig' in another"):
        build_train_loader(cfg)


def test_names_must_lead_somewhere(cfg):
    cfg.DATASETS.TRAIN = ()
    with pytest.raises(ConfigError, match=r"DATASETS\.TRAIN is empty"):
        build_train_loader(cfg)
    cfg.DATASETS.TRAIN = ("fruit_trian",)
    with pytest.raises(ConfigError, match=r"fruit_trian.*fruit_train"):
        build_train_loader(cfg)


def test_images_stay_raw_for_test_time_augmentation(cfg):
    cfg.TEST.BBOX_AUG.ENABLED = True
    (loader,) = build_test_loaders(cfg)
    assert isinstance(loader.collate_fn, BBoxAugCollator)
    images, _, _ = next(iter(loader))
    assert all(isinstance(image, Image.Image) for image in images)


def test_a_catalog_of_ones_own(cfg, tmp_path):
    entry = cfg.DATASETS.CUSTOM["fruit_train"]
    catalog = tmp_path / "catalog.py"
    args = {"root": entry["img_dir"], "ann_file": entry["ann_file"]}
    catalog.write_text(
        "class ModelCatalog:\n    pass\n\n\nclass DatasetCatalog:\n    @staticmethod\n"
        "    def get(name):\n"
        f"        return {{'factory': name.split('/')[0], 'args': {args!r}}}\n"
    )
    cfg.PATHS_CATALOG = str(catalog)
    cfg.DATASETS.TRAIN = ("COCODataset/mine",)
    assert len(build_train_loader(cfg).dataset) == 6
    cfg.DATASETS.TRAIN = ("NoSuchDataset/mine",)
    with pytest.raises(ConfigError, match=r"class 'NoSuchDataset'.*it has .*COCODataset"):
        build_train_loader(cfg)


class Catalog:
    entries: dict

    def get(self, name):
        entry = self.entries[name]
        args = {"root": entry["img_dir"], "ann_file": entry["ann_file"]}
        return {"factory": "COCODataset", "args": args}


def test_the_old_data_set_builder_and_samplers(cfg):
    catalog = Catalog()
    catalog.entries = cfg.DATASETS.CUSTOM
    (joined,) = build_dataset(["fruit_train", "fruit_val"], None, catalog, is_train=True)
    assert len(joined) == 6 + 4
    apart = build_dataset(["fruit_train", "fruit_val"], None, catalog, is_train=False)
    assert [len(dataset) for dataset in apart] == [7, 5]
    dataset = apart[0]
    ordered = make_data_sampler(dataset, shuffle=False, distributed=False)
    assert list(ordered) == list(range(7))
    assert sorted(make_data_sampler(dataset, shuffle=True, distributed=False)) == list(range(7))
    grouped = make_batch_data_sampler(dataset, ordered, True, 2)
    assert list(grouped) == [[0, 3], [1, 2], [4, 5], [6]]
    plain = make_batch_data_sampler(dataset, ordered, False, 3)
    assert list(plain) == [[0, 1, 2], [3, 4, 5], [6]]
    repeated = make_batch_data_sampler(dataset, ordered, [1], 2, num_iters=6, start_iter=1)
    assert list(repeated) == [[0, 3], [1, 2], [4, 5], [6], [0, 3]]
