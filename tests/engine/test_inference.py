"""Running a model over a data set: order, completeness, files. The scoring itself is tested with `data`."""

import logging

import pytest
import torch
from torch import nn

from maskrcnn_benchmark.data.collate_batch import BBoxAugCollator
from maskrcnn_benchmark.data.loader import make_test_loader
from maskrcnn_benchmark.engine import inference as module
from maskrcnn_benchmark.engine.inference import (
    compute_on_dataset,
    gather_predictions,
    inference,
    save_predictions,
)
from maskrcnn_benchmark.errors import ConfigError, DatasetError
from maskrcnn_benchmark.numerics import DETECTRON2
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.keypoint import Keypoints
from maskrcnn_benchmark.utils.comm import get_rank
from maskrcnn_benchmark.utils.timer import Timer
from tests.engine.processes import run_ranks


class Numbered:
    """Image i is filled with i."""

    def __len__(self):
        return 5

    def get_img_info(self, index):
        return {"height": 6, "width": 4}

    def __getitem__(self, index):
        return torch.full((3, 6, 4), float(index)), BoxList(torch.zeros(1, 4), (4, 6)), index


class Detector(nn.Module):
    """Finds a box whose score is the value of the image."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, images):
        assert not self.training
        assert not torch.is_grad_enabled()
        found = []
        for image, size in zip(images.tensors, images.image_sizes, strict=True):
            boxes = BoxList([[0, 0, 2, 3]], (size.width, size.height))
            boxes.add_field("scores", (image[0, 0, :1] * self.scale).float())
            boxes.add_field("labels", torch.tensor([1]))
            found.append(boxes)
        return found


def make_loader(**settings):
    return make_test_loader(Numbered(), images_per_batch=2, **settings)


def test_each_image_gets_its_boxes():
    model, timer = Detector().train(), Timer()
    found = compute_on_dataset(model, make_loader(), "cpu", timer=timer)
    assert list(found) == [0, 1, 2, 3, 4]
    assert [boxes.get_field("scores").item() for boxes in found.values()] == [0, 1, 2, 3, 4]
    assert timer.calls == 3
    assert model.training, "the model comes back in its own mode"


def test_results_can_be_changed_in_place_later():
    found = compute_on_dataset(Detector().eval(), make_loader(), torch.device("cpu"))
    found[0].bbox.mul_(2)
    found[0].bbox.requires_grad_(True)


def test_the_mode_comes_back_after_an_error():
    class Failing(Detector):
        def forward(self, images):
            raise ValueError("inside")

    model = Failing().train()
    with pytest.raises(ValueError, match="inside"):
        compute_on_dataset(model, make_loader(), "cpu")
    assert model.training


def test_test_time_augmentation_gets_the_images_as_they_are():
    def augmentation(model, images, device):
        assert device == torch.device("cpu")
        assert not model.training
        return [BoxList(torch.full((1, 4), image.mean()), (4, 6)) for image in images]

    loader = make_loader(collate=BBoxAugCollator())
    found = compute_on_dataset(Detector(), loader, "cpu", test_time_aug=augmentation)
    assert [boxes.bbox[0, 0].item() for boxes in found.values()] == [0, 1, 2, 3, 4]


def test_test_time_augmentation_of_an_unknown_model():
    with pytest.raises(ConfigError, match=r"got Detector; set TEST\.BBOX_AUG\.ENABLED False"):
        compute_on_dataset(Detector(), make_loader(), "cpu", bbox_aug=True)


def test_an_image_that_was_left_out_is_named():
    boxes = BoxList(torch.zeros(0, 4), (4, 6))
    with pytest.raises(DatasetError, match="left out 2 of 4 images, the first is number 1"):
        gather_predictions({3: boxes, 0: boxes}, number=4)


def test_predictions_are_plain_tensors_on_disk(tmp_path):
    found = list(compute_on_dataset(Detector(), make_loader(), "cpu").values())
    save_predictions(found, tmp_path / "predictions.pth")
    loaded = torch.load(tmp_path / "predictions.pth", weights_only=True)
    assert len(loaded) == 5
    assert loaded[3]["size"] == (4, 6)
    assert loaded[3]["mode"] == "xyxy"
    assert torch.equal(loaded[3]["bbox"], found[3].bbox)
    assert loaded[3]["fields"]["scores"].item() == 3


def test_keypoints_are_among_them(tmp_path):
    boxes = BoxList(torch.zeros(2, 4), (4, 6))
    keypoints = Keypoints(torch.rand(2, 5, 3), (4, 6))
    keypoints.add_field("logits", torch.rand(2, 5))
    boxes.add_field("keypoints", keypoints)
    save_predictions([boxes], tmp_path / "predictions.pth")
    (loaded,) = torch.load(tmp_path / "predictions.pth", weights_only=True)
    assert torch.equal(loaded["fields"]["keypoints"], keypoints.keypoints)
    assert torch.equal(loaded["fields"]["keypoint_scores"], keypoints.get_field("logits"))


@pytest.fixture
def scored(monkeypatch):
    """Keep what `evaluate` is called with."""
    calls = []

    def evaluate(dataset, predictions, output_folder, **settings):
        calls.append((dataset, predictions, output_folder, settings))
        return "results"

    monkeypatch.setattr(module, "evaluate", evaluate)
    return calls


def test_everything_reaches_the_evaluation(tmp_path, scored, caplog):
    loader = make_loader(num_workers=1)
    with caplog.at_level(logging.INFO):
        result = inference(
            Detector(),
            loader,
            "numbered",
            iou_types=("bbox", "segm"),
            device="cpu",
            expected_results=[["bbox", "AP", [0.5, 0.1]]],
            expected_results_sigma_tol=3,
            output_folder=str(tmp_path),
            numerics=DETECTRON2,
        )
    assert result == "results"
    ((dataset, predictions, folder, settings),) = scored
    assert dataset is loader.dataset
    assert [boxes.get_field("scores").item() for boxes in predictions] == [0, 1, 2, 3, 4]
    assert folder == str(tmp_path)
    assert settings == {
        "box_only": False,
        "iou_types": ("bbox", "segm"),
        "expected_results": [["bbox", "AP", [0.5, 0.1]]],
        "expected_results_sigma_tol": 3,
        "numerics": DETECTRON2,
    }
    assert (tmp_path / "predictions.pth").exists()
    assert caplog.messages[0] == "Start evaluation on numbered dataset(5 images)."
    assert caplog.messages[1].startswith("Total run time: 0:00:")
    assert caplog.messages[2].startswith("Model inference time: 0:00:")
    assert caplog.messages[2].endswith("s / img per device, on 1 devices)")


def test_without_a_folder_nothing_is_written(tmp_path, scored, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inference(Detector(), make_loader(), "numbered", device="cpu")
    assert list(tmp_path.iterdir()) == []


def test_mixed_precision_reaches_the_model(scored):
    seen = []

    class Watching(Detector):
        def forward(self, images):
            seen.append((self.scale @ self.scale).dtype)
            return super().forward(images)

    inference(Watching(), make_loader(), "numbered", device="cpu", dtype=torch.bfloat16)
    assert set(seen) == {torch.bfloat16}


def _infer(folder):
    torch.distributed.init_process_group("gloo")
    module.evaluate = lambda dataset, predictions, output_folder, **settings: [
        boxes.get_field("scores").item() for boxes in predictions
    ]
    loader = make_loader(rank=get_rank(), world_size=2)
    result = inference(Detector(), loader, "numbered", device="cpu", output_folder=folder)
    torch.save(result, folder / f"{get_rank()}.pth")
    torch.distributed.destroy_process_group()


def test_two_processes_share_the_images_and_the_first_one_scores(tmp_path):
    assert run_ranks(_infer, tmp_path, folder=tmp_path) == [0, 0]
    assert torch.load(tmp_path / "0.pth") == [0, 1, 2, 3, 4]
    assert torch.load(tmp_path / "1.pth") is None
