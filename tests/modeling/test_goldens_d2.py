"""Our numbers, with converted weights, against detectron2's.

Its recording scaled `boxes` (and the x, y of `keypoints`) to original pixels in place, so they are compared there.
Detections without extent are in it as well; its results (`orig_...`) leave them out, and so does our network.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from maskrcnn_benchmark.layers.masks import paste_masks
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.sizes import HeightWidth
from tests.goldens import RUNS, pair_by_place, unpack_masks
from tests.goldens_d2 import Detectron2Case

KEPT = ["cascade_mask_rcnn_R_50_FPN"]
MASKS = ["mask_rcnn_R_50_FPN", "cascade_mask_rcnn_R_50_FPN"]
# Its cascade does not record what a single box head predicts.
ONE_BOX_HEAD = ["mask_rcnn_R_50_FPN", "faster_rcnn_R_50_C4", "keypoint_rcnn_R_50_FPN"]
TWO_STAGES = [*ONE_BOX_HEAD, "cascade_mask_rcnn_R_50_FPN"]
ALL = [*TWO_STAGES, "retinanet_R_50_FPN"]

AGREEING = 0.99
BOX = 1e-2  # pixels
SCORE = 1e-4
MASK = 1e-3
LOSS = 1e-3  # relative
GRADIENT = 1e-2  # relative

# Its name of a loss -> ours.
LOSSES = {
    r"loss_cls(_stage\d)?": r"loss_classifier\1",
    r"loss_keypoint": "loss_kp",
    r"loss_rpn_cls": "loss_objectness",
    r"loss_rpn_loc": "loss_rpn_box_reg",
}
RETINANET_LOSSES = {"loss_cls": "loss_retina_cls", "loss_box_reg": "loss_retina_reg"}


def cases(names: Sequence[str]) -> pytest.MarkDecorator:
    """Run a test for these cases; those that are not kept with the tests are marked."""
    marked = [
        pytest.param(name, marks=[] if name in KEPT else [pytest.mark.shared_data])
        for name in names
    ]
    return pytest.mark.parametrize("case", marked, indirect=True, scope="module")


@pytest.fixture(scope="module")
def case(request: pytest.FixtureRequest, repository: Path) -> Iterator[Detectron2Case]:
    if request.param in KEPT:
        folder = repository / "tests" / "golden_d2"
    else:
        folder = request.getfixturevalue("shared") / "reference" / "goldens_d2"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Detectron2Case(folder / request.param, repository)
    torch.set_num_threads(threads)


def largest(difference: Tensor) -> float:
    return float(difference.abs().max()) if difference.numel() else 0.0


def original(case: Detectron2Case, prefix: str) -> BoxList:
    """Our detections in pixels of the original image."""
    return case.boxlist(prefix).resize(case.originals[RUNS[prefix]].size)


def pair(case: Detectron2Case, prefix: str) -> tuple[BoxList, Tensor, Tensor, Tensor]:
    """Ours, indices of the pairs in ours and in its results, and how far the corners are apart."""
    ours = original(case, prefix)
    index, golden, apart = pair_by_place(
        ours.bbox,
        case.recorded[f"{prefix}_orig_boxes"],
        labels=ours.get_field("labels"),
        golden_labels=case.recorded[f"{prefix}_orig_labels"] + 1,
    )
    return ours, index, golden, apart


@cases(ALL)
def test_weights_convert_with_nothing_left_over(case: Detectron2Case) -> None:
    case.model  # noqa: B018  (loads them, strictly)
    assert case.converted.is_detector
    assert case.converted.unused == ()
    assert dict(case.converted.settings)["MODEL.NUMERICS"] == "detectron2"


@cases(ALL)
def test_network_input(case: Detectron2Case) -> None:
    golden = case.recorded["im0_input"]
    assert case.batch(0).tensors.shape == golden.shape
    assert torch.equal(case.batch(0).tensors, golden)


@cases(ALL)
@pytest.mark.parametrize("run", ["im0", "im1"])
def test_features(case: Detectron2Case, run: str) -> None:
    levels = {
        name: value for name, value in case.recorded.items() if name.startswith(f"{run}_feature")
    }
    features = case.infer(run).features
    assert len(levels) == len(features)
    for (name, golden), ours in zip(levels.items(), features, strict=True):
        ours = ours[..., :8, :8] if name.endswith("_corner") else ours
        assert ours.shape == golden.shape
        assert largest(ours - golden) <= SCORE * max(1.0, largest(golden))


@cases(TWO_STAGES)
@pytest.mark.parametrize("run", ["im0", "im1"])
def test_proposals(case: Detectron2Case, run: str) -> None:
    golden, logits = (case.recorded[f"{run}_proposals{end}"] for end in ("", "_logits"))
    proposals = case.infer(run).proposals
    valid = proposals.valid[0]
    boxes, objectness = proposals.boxes[0, valid], proposals.objectness[0, valid]
    assert len(boxes) == len(golden)
    ours, theirs, apart = pair_by_place(boxes, golden)
    same = (apart <= BOX) & ((objectness[ours] - logits.sigmoid()[theirs]).abs() <= SCORE)
    assert same.sum() >= AGREEING * len(golden)


@cases(ONE_BOX_HEAD)
@pytest.mark.parametrize("run", ["im0", "im1"])
def test_class_logits_and_box_regression(case: Detectron2Case, run: str) -> None:
    logits, deltas = case.predict(run, case.recorded[f"{run}_proposals"])
    # Background is its last class, and has no box.
    golden = case.recorded[f"{run}_class_logits"].roll(1, dims=1)
    same = ((logits - golden).abs() <= SCORE).all(dim=1)
    same &= ((deltas[:, 4:] - case.recorded[f"{run}_box_regression"]).abs() <= SCORE).all(dim=1)
    assert same.sum() >= AGREEING * len(same)


@cases(ALL)
def test_detections(case: Detectron2Case) -> None:
    agreeing = total = 0
    for prefix in RUNS:
        height, width = case.recorded[f"{prefix}_image_size_hw"].tolist()
        assert case.boxlist(prefix).size == (width, height)
        ours, index, golden, apart = pair(case, prefix)
        scores = case.recorded[f"{prefix}_orig_scores"]
        same = (apart <= BOX) & ((ours.get_field("scores")[index] - scores[golden]).abs() <= SCORE)
        agreeing += int(same.sum())
        total += max(len(scores), len(ours))
    assert total > 80
    assert agreeing >= AGREEING * total


@cases(MASKS)
@pytest.mark.parametrize("prefix", RUNS)
def test_masks(case: Detectron2Case, prefix: str) -> None:
    ours, index, golden, _ = pair(case, prefix)
    masks = case.recorded[f"{prefix}_mask"]
    assert len(masks) == len(case.recorded[f"{prefix}_orig_boxes"])
    assert largest(ours.get_field("mask")[index] - masks[golden]) <= MASK


@cases(MASKS)
@pytest.mark.parametrize("prefix", RUNS)
def test_recorded_masks_pasted(case: Detectron2Case, prefix: str) -> None:
    recorded = case.recorded
    golden = unpack_d2(recorded, prefix)
    pasted = paste_masks(
        recorded[f"{prefix}_mask"][:, 0],
        recorded[f"{prefix}_orig_boxes"],
        height=golden.shape[1],
        width=golden.shape[2],
        style="grid",
    )
    # The same probabilities and boxes give the same pixels, bit for bit.
    assert torch.equal(pasted, golden)


@cases(MASKS)
@pytest.mark.parametrize("prefix", ["im0", "im1"])
def test_results_in_original_pixels(case: Detectron2Case, prefix: str) -> None:
    """What the Predictor hands out."""
    width, height = case.originals[RUNS[prefix]].size
    _, index, golden, _ = pair(case, prefix)
    found = Detections.from_boxlist(
        case.boxlist(prefix),
        image_size=HeightWidth(height, width),
        class_names=[str(number) for number in range(case.cfg.MODEL.ROI_BOX_HEAD.NUM_CLASSES)],
        mask_paste="grid",
        box_offset=0.0,
    )
    masks = torch.from_numpy(found.dense_masks())[index]
    wanted = unpack_d2(case.recorded, prefix)[golden]
    # Only pixels within the tolerance of the threshold may differ.
    assert (masks != wanted).sum() <= 1e-3 * wanted.sum()


def unpack_d2(recorded: dict[str, Tensor], prefix: str) -> Tensor:
    """Pasted masks (N, H, W); here they were recorded without the axis of one channel."""
    shape = recorded[f"{prefix}_orig_masks_shape"]
    count, height, width = shape.tolist()
    return unpack_masks(
        recorded[f"{prefix}_orig_masks_packed"], torch.tensor([count, 1, height, width])
    )


@cases(["keypoint_rcnn_R_50_FPN"])
@pytest.mark.parametrize("prefix", RUNS)
def test_keypoints(case: Detectron2Case, prefix: str) -> None:
    ours, index, golden, _ = pair(case, prefix)
    found = ours.get_field("keypoints")
    wanted = case.recorded[f"{prefix}_orig_keypoints"][golden]
    apart = (found.keypoints[index][..., :2] - wanted[..., :2]).abs().amax(dim=-1)
    # A maximum between two cells of nearly the same height may be taken from either.
    assert (apart <= BOX).sum() >= AGREEING * apart.numel()
    scores = found.get_field("logits")[index]
    assert ((scores - wanted[..., 2]).abs() <= MASK).sum() >= AGREEING * apart.numel()


@cases(ALL)
def test_losses_and_gradients(case: Detectron2Case) -> None:
    golden = case.read_json("train.json")
    targets = [target for _, target in case.samples]
    with np.load(case.folder / "train.npz") as arrays:
        batch = case.batch(0, 1)
        assert batch.image_sizes == [HeightWidth(*size) for size in arrays["image_sizes"].tolist()]
        for number, target in enumerate(targets):
            recorded = torch.from_numpy(arrays[f"boxes{number}"])
            torch.testing.assert_close(target.bbox, recorded, rtol=1e-6, atol=1e-4)
    model = case.model.train()
    try:
        losses = model(batch, targets)
        total = sum(losses.values())
        total.backward()
        norms = {
            name: p.grad.norm().item() for name, p in model.named_parameters() if p.grad is not None
        }
    finally:
        model.zero_grad()
        model.eval()
    got = {name: loss.item() for name, loss in losses.items()}
    is_retinanet = case.cfg.MODEL.RETINANET_ON
    expected = {loss_name(name, is_retinanet): value for name, value in golden["losses"].items()}
    assert got == pytest.approx(expected, rel=LOSS)
    assert total.item() == pytest.approx(golden["total"], rel=LOSS)
    wanted = {case.own_name(name): value for name, value in golden["grad_norms"].items()}
    assert norms == pytest.approx(wanted, rel=GRADIENT, abs=1e-6)


def loss_name(name: str, is_retinanet: bool) -> str:
    if is_retinanet:
        return RETINANET_LOSSES[name]
    for theirs, ours in LOSSES.items():
        if re.fullmatch(theirs, name):
            return re.sub(theirs, ours, name)
    return name


@pytest.mark.shared_data
@pytest.mark.parametrize("name", KEPT)
def test_the_kept_case_is_what_was_recorded(name: str, repository: Path, shared: Path) -> None:
    kept = sorted((repository / "tests" / "golden_d2" / name).iterdir())
    origin = shared / "reference" / "goldens_d2" / name
    assert [file.name for file in kept] == sorted(file.name for file in origin.iterdir())
    for file in kept:
        assert file.read_bytes() == (origin / file.name).read_bytes()
