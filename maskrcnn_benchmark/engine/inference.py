"""Testing: run a model over a data set, bring the predictions together, score them."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from maskrcnn_benchmark.data.datasets.evaluation import evaluate
from maskrcnn_benchmark.engine.bbox_aug import im_detect_bbox_aug
from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.numerics import DETECTRON, Numerics
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.keypoint import Keypoints
from maskrcnn_benchmark.utils.atomic import atomic_write
from maskrcnn_benchmark.utils.comm import all_gather, get_world_size, is_main_process, synchronize
from maskrcnn_benchmark.utils.progress import track
from maskrcnn_benchmark.utils.timer import Timer, get_time_str

logger = logging.getLogger("maskrcnn_benchmark.inference")

# (model, images without transforms, device) -> one BoxList per image.
TestTimeAug = Callable[[nn.Module, Sequence[Any], torch.device], list[BoxList]]


def inference(
    model: nn.Module,
    data_loader: Any,
    dataset_name: str,
    iou_types: Sequence[str] = ("bbox",),
    box_only: bool = False,
    bbox_aug: bool = False,
    device: torch.device | str = "cuda",
    expected_results: Sequence[Any] = (),
    expected_results_sigma_tol: float = 4,
    output_folder: str | os.PathLike[str] | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    test_time_aug: TestTimeAug | None = None,
    numerics: Numerics = DETECTRON,
) -> Any:
    """Score a model on a data set; every process takes its share of the images.

    Args:
        model: on `device`; it comes back in the mode (training or not) that it had.
        data_loader: yields (images, targets, indices), its `dataset` is what is scored.
        dataset_name: for the log.
        iou_types: "bbox", and "segm" for a model with masks.
        box_only: score boxes as proposals.
        bbox_aug: test-time augmentation as the global config says; the loader then yields images without transforms.
        device: where batches go.
        expected_results: see `evaluate`.
        expected_results_sigma_tol: see `evaluate`.
        output_folder: an existing folder for predictions and results; None: nothing is written.
        dtype: of the arithmetic; other than float32 means mixed precision.
        test_time_aug: see `compute_on_dataset`.
        numerics: conventions of the model.

    Returns:
        What `evaluate` returns in the first process, None in the others.
    """
    device = torch.device(device)
    dataset = data_loader.dataset
    logger.info("Start evaluation on %s dataset(%d images).", dataset_name, len(dataset))
    model_timer, began = Timer(), time.perf_counter()
    with _mixed_precision(device, dtype):
        found = compute_on_dataset(
            model,
            data_loader,
            device,
            bbox_aug,
            timer=model_timer,
            description=dataset_name,
            test_time_aug=test_time_aug,
        )
    synchronize()
    _log_time("Total run time", time.perf_counter() - began, images=len(dataset))
    _log_time("Model inference time", model_timer.total_time, images=len(dataset))
    predictions = gather_predictions(found, number=len(dataset))
    if predictions is None:
        return None
    if output_folder is not None:
        save_predictions(predictions, Path(output_folder) / "predictions.pth")
    return evaluate(
        dataset,
        predictions,
        output_folder,
        box_only=box_only,
        iou_types=iou_types,
        expected_results=expected_results,
        expected_results_sigma_tol=expected_results_sigma_tol,
        numerics=numerics,
    )


def compute_on_dataset(
    model: nn.Module,
    data_loader: Any,
    device: torch.device | str,
    bbox_aug: bool | Timer = False,
    timer: Timer | None = None,
    *,
    description: str = "Testing",
    test_time_aug: TestTimeAug | None = None,
) -> dict[int, BoxList]:
    """Run a model over the batches of this process.

    Args:
        model: on `device`; it comes back in the mode that it had.
        data_loader: yields (images, targets, indices).
        device: where batches go.
        bbox_aug: test-time augmentation as the global config says. An older form of the call has the timer here.
        timer: adds up the time spent in the model.
        description: what the progress bar says.
        test_time_aug: called with (model, images, device), returns a BoxList per image; the loader then yields images
            without transforms (`BBoxAugCollator`).

    Returns:
        Index in the data set -> boxes on the CPU, in network pixels.
    """
    if isinstance(bbox_aug, Timer):
        timer, bbox_aug = bbox_aug, False
    if bbox_aug and test_time_aug is None:
        test_time_aug = im_detect_bbox_aug
    device = torch.device(device)
    network = model.module if isinstance(model, DistributedDataParallel) else model
    results: dict[int, BoxList] = {}

    def detect(images: Any) -> list[BoxList]:
        if test_time_aug is not None:
            return test_time_aug(network, images, device)
        plain: list[BoxList] = network(images.to(device))
        return plain

    with evaluation_mode(network), torch.no_grad():
        for images, _, indices in track(data_loader, f"Testing {description}"):
            if timer is not None:
                timer.tic()
            found = [boxes.to("cpu") for boxes in detect(images)]
            if timer is not None:
                timer.toc()
            results.update(zip(indices, found, strict=True))
    return results


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, and back into its own mode afterwards."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def gather_predictions(found: Mapping[int, BoxList], *, number: int) -> list[BoxList] | None:
    """Bring the predictions of all processes together, in the order of the data set.

    Args:
        found: index -> boxes, of this process.
        number: how many images the data set has.

    Returns:
        One BoxList per image in the first process, None in the others.

    Raises:
        DatasetError: if there is no prediction for some image.
    """
    gathered = all_gather(dict(found))
    if not is_main_process():
        return None
    together: dict[int, BoxList] = {}
    for part in gathered:
        together.update(part)
    missing = [index for index in range(number) if index not in together]
    if missing:
        raise DatasetError(
            f"the data loader left out {len(missing)} of {number} images, the first is number "
            f"{missing[0]}; a test loader must yield each image once"
        )
    return [together[index] for index in range(number)]


def save_predictions(predictions: Sequence[BoxList], path: str | os.PathLike[str]) -> None:
    """Write predictions as plain tensors: `torch.load(path, weights_only=True)` reads them.

    The file holds a list with a dict per image: `bbox` (N, 4), `size` (width, height), `mode`, and
    `fields` name -> tensor: scores, labels, mask (N, 1, M, M), keypoints (N, K, 3) and keypoint_scores (N, K), those
    that the model predicts.
    """
    plain = [
        {
            "bbox": boxes.bbox.clone(),
            "size": tuple(boxes.size),
            "mode": boxes.mode,
            "fields": {name: value.clone() for name, value in _tensor_fields(boxes)},
        }
        for boxes in predictions
    ]
    with atomic_write(path, "wb") as file:
        torch.save(plain, file)


def _tensor_fields(boxes: BoxList) -> Iterator[tuple[str, torch.Tensor]]:
    for name, value in boxes.extra_fields.items():
        if isinstance(value, torch.Tensor):
            yield name, value
        elif isinstance(value, Keypoints):
            yield name, value.keypoints
            if "logits" in value.extra_fields:
                yield "keypoint_scores", value.extra_fields["logits"]


def _mixed_precision(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    mixed = dtype != torch.float32
    return torch.autocast(device.type, dtype=dtype if mixed else None, enabled=mixed)


def _log_time(what: str, seconds: float, *, images: int) -> None:
    devices = get_world_size()
    logger.info(
        "%s: %s (%.6f s / img per device, on %d devices)",
        what,
        get_time_str(seconds),
        seconds * devices / max(images, 1),
        devices,
    )
