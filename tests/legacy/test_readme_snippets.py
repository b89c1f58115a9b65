"""What the README of the old project told its users to write, written and run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from maskrcnn_benchmark.build.data import make_dataset
from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.data.build import make_batch_data_sampler, make_data_sampler
from maskrcnn_benchmark.data.collate_batch import BatchCollator
from maskrcnn_benchmark.data.transforms import build_transforms
from maskrcnn_benchmark.engine.inference import inference
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.solver import make_optimizer
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask
from tests.build.toy_run import THIN

PARTS = Path(__file__).parents[1] / "build" / "users_parts.py"

CATALOG = """
import torch
from PIL import Image
from maskrcnn_benchmark.config.paths_catalog import ModelCatalog
from maskrcnn_benchmark.structures.bounding_box import BoxList

class MyDataset:
    def __init__(self, number, transforms=None):
        self.number, self.transforms = number, transforms
    def __getitem__(self, idx):
        image = Image.new("RGB", (96, 64), (40 * idx, 90, 30))
        boxlist = BoxList([[8, 8, 40, 40], [50, 10, 90, 60]], image.size, mode="xyxy")
        boxlist.add_field("labels", torch.tensor([1, 2]))
        if self.transforms:
            image, boxlist = self.transforms(image, boxlist)
        return image, boxlist, idx
    def __len__(self):
        return self.number
    def get_img_info(self, idx):
        return {"height": 64, "width": 96}

class DatasetCatalog:
    @staticmethod
    def get(name):
        assert name == "my_train"
        return {"factory": MyDataset, "args": {"number": 6}}
"""


class MyDataset:
    """The example of the section "Adding your own dataset"."""

    def __init__(self, transforms: Any = None) -> None:
        self.transforms = transforms

    def __getitem__(self, idx: int) -> tuple[Any, Any, int]:
        # load the image as a PIL Image
        image = Image.new("RGB", (96, 64), (20 * idx, 90, 30))

        # load the bounding boxes as a list of list of boxes
        # in this case, for illustrative purposes, we use
        # x1, y1, x2, y2 order.
        boxes = [[8, 8, 40, 40], [50, 10, 90, 60]]
        # and labels
        labels = torch.tensor([1, 2])

        # create a BoxList from the boxes
        boxlist = BoxList(boxes, image.size, mode="xyxy")
        # add the labels to the boxlist
        boxlist.add_field("labels", labels)
        boxlist.add_field(
            "masks",
            SegmentationMask([[[8, 8, 40, 8, 40, 40]], [[50, 10, 90, 10, 90, 60]]], image.size),
        )

        if self.transforms:
            image, boxlist = self.transforms(image, boxlist)

        # return the image, the boxlist and the idx in your dataset
        return image, boxlist, idx

    def __len__(self) -> int:
        return 5

    def get_img_info(self, idx: int) -> dict[str, int]:
        # get img_height and img_width. This is used if
        # we want to split the batches according to the aspect ratio
        # of the image, as it can be more efficient than loading the
        # image from disk
        return {"height": 64, "width": 96}


def test_own_dataset_with_the_loader_and_a_model(repository: Path) -> None:
    own = cfg.clone()
    # update the config options with the config file
    own.merge_from_file(str(repository / "configs" / "e2e_mask_rcnn_R_50_FPN_1x.yaml"))
    # manual override some options
    own.merge_from_list(["MODEL.DEVICE", "cpu"])
    own.merge_from_list([word for pair in THIN.items() for word in pair])
    dataset = MyDataset(build_transforms(own, is_train=True))
    sampler = make_data_sampler(dataset, shuffle=True, distributed=False)
    batches = make_batch_data_sampler(dataset, sampler, True, 2, num_iters=2)
    loader = torch.utils.data.DataLoader(
        dataset, batch_sampler=batches, collate_fn=BatchCollator(own.DATALOADER.SIZE_DIVISIBILITY)
    )
    model = build_detection_model(own)
    optimizer = make_optimizer(own, model)
    seen = []
    for images, targets, ids in loader:
        losses = model(images.to("cpu"), [target.to("cpu") for target in targets])
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        seen += ids
    assert len(seen) == 4
    assert set(seen) <= set(range(5))
    assert total.isfinite()


def test_own_dataset_in_own_catalog_trains_with_the_tool(repository: Path, tmp_path: Path) -> None:
    """PATHS_CATALOG names the user's file, TORCH_DETECTRON_ENV_MODULE another that brings a backbone."""
    catalog = tmp_path / "my_catalog.py"
    catalog.write_text(CATALOG)
    environment = tmp_path / "my_environment.py"
    environment.write_text(
        "from maskrcnn_benchmark.utils.imports import import_file\n"
        f"def setup_environment():\n    import_file('users_parts', {str(PARTS)!r})\n"
    )
    settings: dict[str, Any] = {
        **THIN,
        "PATHS_CATALOG": str(catalog),
        "DATASETS.TRAIN": "('my_train',)",
        "OUTPUT_DIR": str(tmp_path / "run"),
        "MODEL.MASK_ON": False,
        "MODEL.BACKBONE.CONV_BODY": "user-net",
        "MODEL.RPN.ANCHOR_STRIDE": (4, 8),
        "MODEL.RPN.ANCHOR_SIZES": (16, 32),
        "MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR": "UserBoxExtractor",
        "MODEL.ROI_BOX_HEAD.NUM_CLASSES": 3,
        "MODEL.ROI_BOX_HEAD.POOLER_SCALES": (0.25, 0.125),
        "SOLVER.MAX_ITER": 2,
        "SOLVER.STEPS": (1,),
        "SOLVER.IMS_PER_BATCH": 2,
        "LOG.TENSORBOARD": "off",
    }
    words = [str(word) for pair in settings.items() for word in pair]
    done = subprocess.run(
        [
            *(sys.executable, "tools/train_net.py", "--skip-test"),
            *("--config-file", "configs/e2e_faster_rcnn_R_50_FPN_1x.yaml"),
            *words,
        ],
        cwd=repository,
        env={**os.environ, "TORCH_DETECTRON_ENV_MODULE": str(environment)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    saved = torch.load(tmp_path / "run" / "model_final.pth")["model"]
    assert "backbone.fine.weight" in saved
    assert "roi_heads.box.feature_extractor.fc6.weight" in saved


class ShapeDataset(MyDataset):
    """The fine-tuning notebook's: what `inference` with COCO's measures needs besides."""

    id_to_img_map = dict(enumerate(range(5)))  # noqa: RUF012
    contiguous_category_id_to_json_id = {1: 1, 2: 2}  # noqa: RUF012

    @property
    def coco(self) -> Any:
        from pycocotools.coco import COCO

        coco = COCO()
        boxes = {1: [8, 8, 33, 33], 2: [50, 10, 41, 51]}
        coco.dataset = {
            "info": {},
            "images": [{"id": i, "height": 64, "width": 96} for i in range(5)],
            "categories": [{"id": 1, "name": "square"}, {"id": 2, "name": "circle"}],
            "annotations": [
                {
                    "id": 2 * i + label,
                    "image_id": i,
                    "category_id": label,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
                for i in range(5)
                for label, box in boxes.items()
            ],
        }
        coco.createIndex()
        return coco


def test_dataset_of_the_notebook_is_scored_with_ap_of_each_class() -> None:
    class Perfect(torch.nn.Module):
        """Finds what is there."""

        def forward(self, images: Any) -> list[BoxList]:
            found = []
            for height, width in images.image_sizes:
                boxes = BoxList([[8, 8, 40, 40], [50, 10, 90, 60]], (96, 64)).resize(
                    (width, height)
                )
                boxes.add_field("labels", torch.tensor([1, 2]))
                boxes.add_field("scores", torch.tensor([0.9, 0.8]))
                found.append(boxes)
            return found

    own = cfg.clone()
    own.merge_from_list(["INPUT.MIN_SIZE_TEST", 64])
    dataset = ShapeDataset(build_transforms(own, is_train=False))
    loader = torch.utils.data.DataLoader(dataset, batch_size=2, collate_fn=BatchCollator())
    results, _ = inference(Perfect(), loader, "shapes", iou_types=("bbox",), device="cpu")
    assert results.results["bbox"]["AP"] == 1.0
    assert {name: entry["AP"] for name, entry in results.per_class["bbox"].items()} == {
        "square": 1.0,
        "circle": 1.0,
    }


def test_the_catalog_may_name_a_class_in_the_package(monkeypatch: Any) -> None:
    """As the old README: the class goes into maskrcnn_benchmark/data/datasets/__init__.py."""
    from maskrcnn_benchmark.data import datasets

    monkeypatch.setattr(datasets, "MyDataset", MyDataset, raising=False)
    entry = {"factory": "MyDataset", "args": {}}
    assert len(make_dataset("mine", entry, for_training=True, transforms=None)) == 5
