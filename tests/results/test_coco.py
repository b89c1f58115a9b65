import contextlib
import io
import json
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO

from maskrcnn_benchmark.results.coco import coco_document, detections_from_coco
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.masks import encode_mask
from maskrcnn_benchmark.structures.sizes import HeightWidth

NAMES = ("__background__", "cat", "dog")
CATEGORIES = {1: 17, 2: 18}
LABELS = {17: 1, 18: 2}


def make_detections(image_id: int | None, *, with_masks: bool) -> Detections:
    mask = np.zeros((20, 30), dtype=bool)
    mask[2:5, 3:9] = True
    return Detections(
        image_size=HeightWidth(20, 30),
        boxes=np.array([[3, 2, 8, 4], [20.25, 10.5, 24, 11]], dtype=np.float32),
        scores=np.array([0.5, 0.875]),
        labels=np.array([2, 1]),
        class_names=NAMES,
        masks=[encode_mask(mask)] * 2 if with_masks else None,
        image_id=image_id,
        path="a.jpg",
    )


def test_results_come_back_as_they_went() -> None:
    found = make_detections(5, with_masks=True)
    again = detections_from_coco(
        json.loads(json.dumps(found.to_coco(CATEGORIES))),
        image_size=found.image_size,
        class_names=NAMES,
        labels_of_categories=LABELS,
        image_id=5,
        path="a.jpg",
    )
    assert again.to_dict() == found.to_dict()


def test_a_box_is_drawn_around_a_mask_without_one() -> None:
    found = make_detections(5, with_masks=True)
    entries = [{k: v for k, v in e.items() if k != "bbox"} for e in found.to_coco(CATEGORIES)]
    again = detections_from_coco(
        entries, image_size=found.image_size, class_names=NAMES, labels_of_categories=LABELS
    )
    assert again.boxes.tolist() == [[3, 2, 8, 4]] * 2


def test_no_results() -> None:
    nothing = detections_from_coco(
        [], image_size=HeightWidth(4, 4), class_names=NAMES, labels_of_categories=LABELS
    )
    assert len(nothing) == 0


def test_a_document_opens_as_a_data_set(tmp_path: Path) -> None:
    document = coco_document(
        [make_detections(None, with_masks=True), make_detections(None, with_masks=False)],
        category_ids=CATEGORIES,
    )
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps(document))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(path))
    assert [coco.imgs[key]["file_name"] for key in sorted(coco.imgs)] == ["a.jpg", "a.jpg"]
    assert {key: value["name"] for key, value in coco.cats.items()} == {17: "cat", 18: "dog"}
    assert [coco.anns[key]["area"] for key in (1, 2, 3, 4)] == [18, 18, 18, 4.75 * 1.5]
    assert coco.annToMask(coco.anns[1]).sum() == 18
    assert [coco.anns[key]["image_id"] for key in (1, 2, 3, 4)] == [1, 1, 2, 2]
