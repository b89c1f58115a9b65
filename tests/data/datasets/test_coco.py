"""COCODataset: targets as the old project made them, and unreadable images."""

import json
import logging
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from maskrcnn_benchmark.data.datasets import COCODataset
from maskrcnn_benchmark.data.datasets.coco import has_valid_annotation
from maskrcnn_benchmark.errors import DatasetError


def make(folder, training=True, **options):
    return COCODataset(folder.write(), folder.root, training, **options)


def test_training_leaves_out_images_without_annotations(coco_folder):
    assert make(coco_folder).ids == [10, 20]
    testing = make(coco_folder, training=False)
    assert testing.ids == [10, 20, 30]
    assert testing.id_to_img_map == {0: 10, 1: 20, 2: 30}
    assert len(testing[2][1]) == 0


def test_labels_follow_the_order_of_the_file(coco_folder):
    dataset = make(coco_folder)
    assert dataset.categories == {7: "nut", 3: "fig"}
    assert dataset.class_names == ("__background__", "nut", "fig")
    assert dataset.json_category_id_to_contiguous_id == {7: 1, 3: 2}
    assert dataset.contiguous_category_id_to_json_id == {1: 7, 2: 3}


def test_a_sample(coco_folder):
    image, target, index = make(coco_folder)[1]
    assert index == 1
    assert (image.mode, image.size) == ("RGB", (64, 48))
    assert np.array_equal(np.array(image), np.array(Image.open(coco_folder.root / "wide.png")))
    assert target.size == (64, 48)
    assert target.mode == "xyxy"
    assert target.bbox.tolist() == [[4, 6, 23, 25], [30, 10, 39, 19]], "without the crowd"
    assert target.get_field("labels").tolist() == [2, 1]
    masks = target.get_field("masks")
    assert masks.mode == "poly"
    assert masks.get_mask_tensor().flatten(1).sum(1).tolist() == [128, 100]
    assert make(coco_folder).get_img_info(1)["file_name"] == "wide.png"


def test_transforms_get_image_and_target(coco_folder):
    dataset = make(coco_folder, transforms=lambda image, target: (image.size, len(target)))
    assert dataset[0] == ((40, 60), 1, 0)


def test_boxes_are_clipped_and_those_left_without_extent_removed(coco_folder):
    coco_folder.add(10, [-1.5, 20, 12, 41], segmentation=[[0, 20, 10, 20, 10, 60]])
    coco_folder.add(10, [3, 3, 1, 9], segmentation=[[3, 3, 4, 3, 4, 12]])
    target = make(coco_folder)[0][1]
    assert target.bbox.tolist() == [[5, 5, 34, 44], [0, 20, 9.5, 59]]
    assert len(target.get_field("masks")) == 2


def test_polygons_and_run_length_code_in_one_image(coco_folder):
    pixels = np.zeros((48, 64), np.uint8)
    pixels[30:40, 50:60] = 1
    compressed = coco_mask.encode(np.asfortranarray(pixels))
    compressed["counts"] = compressed["counts"].decode()
    coco_folder.add(20, [50, 30, 10, 10], segmentation=compressed)
    masks = make(coco_folder)[1][1].get_field("masks")
    assert masks.mode == "mask"
    assert masks.get_mask_tensor().flatten(1).sum(1).tolist() == [128, 100, 100]
    assert torch.equal(masks.get_mask_tensor()[2], torch.from_numpy(pixels))
    half = masks.resize((32, 24)).get_mask_tensor().flatten(1).sum(1)
    assert half.tolist() == [32, 25, 25]


def test_masks_only_where_every_object_has_one(coco_folder):
    coco_folder.add(20, [50, 30, 10, 10])
    coco_folder.add(10, [1, 2, 3, 4], segmentation=[])
    dataset = make(coco_folder)
    assert dataset[0][1].fields() == ["labels"]
    assert dataset[1][1].fields() == ["labels"]


def test_coco_api_without_prints(coco_folder, capsys):
    coco = make(coco_folder).coco
    assert coco.getCatIds() == [7, 3]
    assert len(coco.getAnnIds(imgIds=[20])) == 3
    assert capsys.readouterr().out == ""


def test_the_evaluator_never_sees_the_annotation_id_zero(coco_folder):
    coco_folder.annotation(1)["id"] = 0
    dataset = make(coco_folder)
    assert sorted(dataset.coco.anns) == [2, 3, 4, 5]
    assert dataset.coco.anns[5]["bbox"] == [4, 6, 20, 20]
    assert [a["id"] for a in dataset.annotations.by_image[20]] == [0, 2, 3]


def test_a_data_set_can_go_to_another_process(coco_folder):
    copied = pickle.loads(pickle.dumps(make(coco_folder)))
    assert copied[1][1].bbox.tolist() == [[4, 6, 23, 25], [30, 10, 39, 19]]


def test_what_is_worth_training_on():
    assert not has_valid_annotation([])
    assert not has_valid_annotation([{"bbox": [0, 0, 1, 50]}, {"bbox": [0, 0, 50, 0.5]}])
    assert has_valid_annotation([{"bbox": [0, 0, 1, 50]}, {"bbox": [0, 0, 2, 2]}])
    assert has_valid_annotation([{"bbox": [0, 0, 9, 9], "iscrowd": 1}])
    nine = {"bbox": [0, 0, 9, 9], "keypoints": [5, 5, 2] * 9 + [0, 0, 0] * 8}
    one = {"bbox": [0, 0, 9, 9], "keypoints": [5, 5, 1] + [0, 0, 0] * 16}
    assert not has_valid_annotation([nine])
    assert has_valid_annotation([nine, one])
    assert has_valid_annotation([{"bbox": [0, 0, 9, 9], "keypoints": [], "num_keypoints": 0}])


def test_empty_lists_of_keypoints_are_none(coco_folder):
    """As some tools write them for every object; such images were left out of the training."""
    for annotation in coco_folder.content["annotations"]:
        annotation.update(keypoints=[], num_keypoints=0)
    dataset = make(coco_folder)
    assert dataset.ids == [10, 20]
    assert dataset.keypoint_schema is None


def test_nothing_to_train_on(coco_folder):
    coco_folder.content["annotations"] = []
    with pytest.raises(DatasetError, match="none of its 3 images has an annotation"):
        make(coco_folder)
    assert len(make(coco_folder, training=False)) == 3


# Images that cannot be read


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_truncated_jpeg_is_named(coco_folder):
    path = coco_folder.root / "wide.jpg"
    Image.open(coco_folder.root / "wide.png").save(path)
    truncate(path)
    coco_folder.content["images"][0]["file_name"] = "wide.jpg"
    dataset = make(coco_folder)
    assert dataset[0][2] == 0
    with pytest.raises(DatasetError, match=r"wide\.jpg' cannot be read: .*truncated"):
        dataset[1]


def test_an_image_that_disappears_is_named(coco_folder):
    dataset = make(coco_folder)
    (coco_folder.root / "wide.png").unlink()
    with pytest.raises(DatasetError, match=r"not found: '.*wide\.png'"):
        dataset[1]


def test_an_image_of_another_size_is_named(coco_folder):
    Image.new("RGB", (48, 64)).save(coco_folder.root / "wide.png")
    message = r"wide\.png' has 48 x 64 pixels, but .*annotations\.json says 64 x 48 .*EXIF"
    with pytest.raises(DatasetError, match=message):
        make(coco_folder)[1]
    Image.new("RGB", (50, 64)).save(coco_folder.root / "wide.png")
    with pytest.raises(DatasetError, match=r"50 x 64 .*Correct the json or the image"):
        make(coco_folder)[1]


def test_exif_orientation_is_ignored(coco_folder):
    path = coco_folder.root / "wide.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(coco_folder.root / "wide.png").save(path, exif=exif)
    coco_folder.content["images"][0]["file_name"] = "wide.jpg"
    assert make(coco_folder)[1][0].size == (64, 48)


def test_in_training_the_next_image_stands_in(coco_folder, caplog):
    dataset = make(coco_folder, on_error="skip")
    truncate(coco_folder.root / "wide.png")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            image, target, index = dataset[1]
            assert index == 0, "after the last comes the first"
            assert image.size == target.size == (40, 60)
    assert dataset.unreadable == [str(coco_folder.root / "wide.png")]
    assert len(caplog.records) == 1
    assert "next image takes the place of image 20 (1 so far" in caplog.text


def test_in_testing_a_black_image_stands_in(coco_folder, caplog):
    dataset = make(coco_folder, training=False, on_error="skip")
    truncate(coco_folder.root / "wide.png")
    image, target, index = dataset[1]
    assert (index, image.size, image.getextrema()) == (1, (64, 48), ((0, 0),) * 3)
    assert len(target) == 2
    assert "black image takes the place of image 20" in caplog.text


def test_no_image_can_be_read(coco_folder):
    dataset = make(coco_folder, on_error="skip")
    for name in ("wide.png", "tall.png"):
        truncate(coco_folder.root / name)
    with pytest.raises(DatasetError, match="none of the 2 images"):
        dataset[0]


# Real data


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("split", "images", "boxes"), [("train", 80, 739 - 8), ("val", 79, 624 - 5)]
)
def test_real_coco_loads_without_complaint(shared, split, images, boxes, caplog):
    folder = shared / "data/coco_mini"
    ann_file = folder / f"annotations/instances_{split}2017.json"
    dataset = COCODataset(ann_file, folder / f"{split}2017", False, require_masks=True)
    targets = [dataset.get_groundtruth(index) for index in range(len(dataset))]
    assert len(dataset) == images
    assert sum(map(len, targets)) == boxes
    assert all(len(target.get_field("masks")) == len(target) for target in targets)
    assert dataset.class_names[1:4] == ("person", "bicycle", "car")
    assert dataset.json_category_id_to_contiguous_id[90] == 80
    assert [dataset[index][0].size for index in range(0, images, 20)]
    assert caplog.records == []


@pytest.mark.shared_data
def test_ids_from_zero_load_without_complaint(shared, caplog):
    folder = shared / "data/fruits_nuts/data"
    dataset = COCODataset(folder / "trainval.json", folder / "images", True)
    assert len(dataset) == 18
    assert dataset.class_names == ("__background__", "date", "fig", "hazelnut")
    assert sum(len(dataset[index][1]) for index in range(18)) == 165
    assert 0 not in dataset.coco.anns
    assert caplog.records == []


@pytest.mark.shared_data
def test_captions_are_no_object_annotations(shared):
    path = shared / "data/coco_mini/annotations/captions_val2017.json"
    with pytest.raises(DatasetError, match=r"captions_val2017\.json.*no list 'categories'"):
        COCODataset(path, path.parent, False)


def test_mask_pixels_agree_with_cocos_api(coco_folder):
    dataset = make(coco_folder)
    masks = dataset[1][1].get_field("masks").get_mask_tensor()
    for row, annotation_id in enumerate((1, 2)):
        drawn = dataset.coco.annToMask(dataset.coco.anns[annotation_id])
        assert np.array_equal(masks[row].numpy(), drawn)
    assert json.loads(coco_folder.ann_file.read_text()) == coco_folder.content, "left as it was"
