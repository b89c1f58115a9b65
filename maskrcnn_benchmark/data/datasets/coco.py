"""Images and annotations in COCO's format."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from pycocotools.coco import COCO
from torch import Tensor
from torch.utils.data import Dataset

from maskrcnn_benchmark.data.datasets.channels import (
    PHOTOGRAPH,
    ImageFormat,
    black_image,
    read_sample,
    size_of,
)
from maskrcnn_benchmark.data.datasets.coco_json import Check, CocoAnnotations, load_coco_json
from maskrcnn_benchmark.data.datasets.coco_keypoints import find_keypoint_schema, visible_count
from maskrcnn_benchmark.data.datasets.problems import OnError
from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.structures.binary_masks import BinaryMaskList
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.keypoint import PERSON, Keypoints, Pair, make_keypoints
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask
from maskrcnn_benchmark.structures.sizes import WidthHeight

# Detectron: images with fewer visible keypoints of persons are not trained on. Of other objects, which may have fewer
# in all, one is enough.
MIN_KEYPOINTS_PER_IMAGE = 10

logger = logging.getLogger(__name__)


def has_valid_annotation(anno: Sequence[dict[str, Any]]) -> bool:
    """Whether an image is worth training on.

    Args:
        anno: all annotations of the image, crowds included.

    Returns:
        True if some box is larger than one pixel in both directions and, in a keypoint file, at
        least ten keypoints of persons (17 keypoints each) or one of other objects are visible.
    """
    if all(any(side <= 1 for side in entry["bbox"][2:]) for entry in anno):
        return False
    # Some tools write an empty list where there are no keypoints.
    if not anno[0].get("keypoints"):
        return True
    is_person = any(len(entry.get("keypoints", ())) == 3 * len(PERSON.names) for entry in anno)
    return sum(map(visible_count, anno)) >= (MIN_KEYPOINTS_PER_IMAGE if is_person else 1)


class COCODataset(Dataset[Any]):
    """Samples (image, BoxList, index) of a COCO annotation file.

    The BoxList holds the annotations that are no crowds: boxes clipped to the image, those left
    without extent removed, with the fields `labels`, `masks` if every one of them has a
    segmentation, and `keypoints` if the file has any (objects without get those with v = 0).

    Attributes:
        ids: json ids of the images, ascending.
        categories: json id -> name, in the order of the file.
        class_names: name of each label, "__background__" first.
        json_category_id_to_contiguous_id: json id -> label from 1, in the order of the file.
        contiguous_category_id_to_json_id: the way back.
        id_to_img_map: index -> json id of the image.
        keypoint_schema: what the keypoints are; None in a file without.
        unreadable: paths that could not be read so far, and were skipped, by this process.
    """

    def __init__(
        self,
        ann_file: str | os.PathLike[str],
        root: str | os.PathLike[str],
        remove_images_without_annotations: bool,
        transforms: Callable[..., Any] | None = None,
        *,
        on_error: OnError = "stop",
        check: Check = "full",
        require_masks: bool = False,
        require_keypoints: bool = False,
        keypoint_flip_pairs: Sequence[Pair] = (),
        keypoint_sigmas: Sequence[float] = (),
        image_format: ImageFormat = PHOTOGRAPH,
    ) -> None:
        """Read and check the annotation file; images are read when they are asked for.

        Args:
            ann_file: json file in COCO's format.
            root: folder that the file names are relative to.
            remove_images_without_annotations: for training: leave out images without a valid
                annotation, and under "skip" let the next image stand in for one that cannot be
                read. Otherwise a black image stands in for it, so that it counts as empty.
            transforms: called with (image, target).
            on_error: "stop" raises DatasetError for whatever is wrong, "skip" leaves it out and
                says how much that was.
            check: "full" also looks at every polygon, and for every image file, before the start.
            require_masks: an annotation without a segmentation is something wrong.
            require_keypoints: a file without keypoints is something wrong.
            keypoint_flip_pairs: override those that follow from the keypoints' names (left_.., right_..).
            keypoint_sigmas: override the file's tolerances in the evaluation.
            image_format: channels and bits of the images.

        Raises:
            DatasetError: see `on_error`; also if nothing is left.
        """
        self.root = os.fspath(root)
        self.transforms = transforms
        self.on_error: OnError = on_error
        self.image_format = image_format
        self.for_training = remove_images_without_annotations
        self.annotations: CocoAnnotations = load_coco_json(
            ann_file,
            image_folder=self.root,
            on_error=on_error,
            check=check,
            require_masks=require_masks,
        )
        self.categories = self.annotations.categories
        self.class_names = ("__background__", *self.categories.values())
        self.json_category_id_to_contiguous_id = {
            json_id: label for label, json_id in enumerate(self.categories, start=1)
        }
        self.contiguous_category_id_to_json_id = {
            label: json_id for json_id, label in self.json_category_id_to_contiguous_id.items()
        }
        everything = self.annotations.images
        self.ids = _training_ids(self.annotations) if self.for_training else sorted(everything)
        self.id_to_img_map = dict(enumerate(self.ids))
        self.keypoint_schema = find_keypoint_schema(
            self.annotations.path,
            self.annotations.content,
            flip_pairs=keypoint_flip_pairs,
            sigmas=keypoint_sigmas,
        )
        if require_keypoints and self.keypoint_schema is None:
            raise DatasetError(
                f"{self.annotations.path}: no annotation has keypoints, but keypoints are to be trained; name a file "
                "that has them (person_keypoints_*.json of COCO), or set MODEL.KEYPOINT_ON False"
            )
        self.unreadable: list[str] = []
        self._coco: COCO | None = None

    @property
    def coco(self) -> COCO:
        """The annotations as an object of COCO's API, built when first asked for."""
        if self._coco is None:
            self._coco = _make_coco(self.annotations.content)
        return self._coco

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[Any, Any, int]:
        """Sample as (image, target, index).

        Raises:
            DatasetError: if the image cannot be read or has another size than the json says, unless
                such images are skipped.
        """
        index = range(len(self))[index]
        for candidate in range(index, index + len(self)):
            index = candidate % len(self)
            image = self._read(index)
            if image is not None:
                break
        else:
            raise DatasetError(
                f"none of the {len(self)} images of {self.annotations.path} can be read; "
                f"the first is '{self.image_path(0)}'"
            )
        target = self.get_groundtruth(index)
        if self.transforms is not None:
            image, target = self.transforms(image, target)
        return image, target, index

    def get_img_info(self, index: int) -> dict[str, Any]:
        """The json's entry of an image: height, width, file_name, id."""
        return self.annotations.images[self.ids[index]]

    def image_path(self, index: int) -> str:
        """Path of an image file."""
        return os.path.join(self.root, self.get_img_info(index)["file_name"])

    def get_groundtruth(self, index: int) -> BoxList:
        """The target of an image, before any transform."""
        info = self.get_img_info(index)
        size = WidthHeight(info["width"], info["height"])
        annotations = [
            entry for entry in self.annotations.by_image[self.ids[index]] if not entry["iscrowd"]
        ]
        boxes = torch.tensor([entry["bbox"] for entry in annotations], dtype=torch.float32)
        target = BoxList(boxes.reshape(-1, 4), size, mode="xywh").convert("xyxy")
        labels = [
            self.json_category_id_to_contiguous_id[entry["category_id"]] for entry in annotations
        ]
        target.add_field("labels", torch.tensor(labels, dtype=torch.int64))
        segmentations = [entry.get("segmentation") for entry in annotations]
        if all(segmentations):
            target.add_field("masks", _make_masks(segmentations, size))
        if self.keypoint_schema is not None:
            target.add_field("keypoints", self._make_keypoints(annotations, size))
        return target.clip_to_image(remove_empty=True)

    def _make_keypoints(self, annotations: list[dict[str, Any]], size: WidthHeight) -> Keypoints:
        assert self.keypoint_schema is not None
        absent = [0.0] * (3 * len(self.keypoint_schema.names))
        points = [entry.get("keypoints") or absent for entry in annotations]
        return make_keypoints(points, size, self.keypoint_schema)

    def _read(self, index: int) -> Image.Image | Tensor | None:
        """The image; None if it cannot be read and another is to take its place."""
        path = self.image_path(index)
        info = self.get_img_info(index)
        size = (info["width"], info["height"])
        try:
            image = read_sample(path, self.image_format)
            if size_of(image) != size:
                raise DatasetError(_size_message(self.annotations.path, info, path, size_of(image)))
        except DatasetError as error:
            if self.on_error == "stop":
                raise
            if path not in self.unreadable:
                self.unreadable.append(path)
                stand_in = "the next image" if self.for_training else "a black image"
                logger.warning(
                    "%s takes the place of image %d (%d so far in this process): %s",
                    stand_in,
                    info["id"],
                    len(self.unreadable),
                    error,
                )
            return None if self.for_training else black_image(WidthHeight(*size), self.image_format)
        return image


def _training_ids(annotations: CocoAnnotations) -> list[int]:
    """Ids of the images worth training on, ascending."""
    by_image = annotations.by_image
    ids = [image_id for image_id in sorted(by_image) if has_valid_annotation(by_image[image_id])]
    if not ids:
        raise DatasetError(
            f"{annotations.path}: none of its {len(by_image)} images has an annotation to train "
            "on (a box larger than one pixel; in a file with keypoints, an image also needs "
            f"{MIN_KEYPOINTS_PER_IMAGE} visible ones of persons, or one of other objects)"
        )
    return ids


def _make_masks(segmentations: list[Any], size: WidthHeight) -> SegmentationMask:
    """Polygons as they are; where run-length code is among them, bit masks of all."""
    if not any(isinstance(segmentation, dict) for segmentation in segmentations):
        return SegmentationMask(segmentations, size, mode="poly")
    # Rounded to nearest when resized: truncation, the old rule, would shrink the objects.
    return SegmentationMask(BinaryMaskList(segmentations, size, threshold=0.5), size, mode="mask")


def _make_coco(content: dict[str, Any]) -> COCO:
    """COCO's API over a parsed file, without its prints.

    Its evaluator takes 0 for "not matched", so an annotation with the id 0 gets another one.
    """
    annotations = content["annotations"]
    if any(entry["id"] == 0 for entry in annotations):
        free = max(entry["id"] for entry in annotations) + 1
        content = {
            **content,
            "annotations": [{**entry, "id": entry["id"] or free} for entry in annotations],
        }
    coco = COCO()
    coco.dataset = content
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _size_message(ann_file: str, info: dict[str, Any], path: str, actual: tuple[int, int]) -> str:
    message = (
        f"image '{path}' has {actual[0]} x {actual[1]} pixels, but {ann_file} says "
        f"{info['width']} x {info['height']} (image {info['id']})"
    )
    if actual == (info["height"], info["width"]):
        return f"{message}. Sizes and boxes must be those of the stored pixels, not turned by EXIF."
    return f"{message}. Correct the json or the image."
