"""Our numbers against the old project's, within the tolerances stated with the golden cases.

Detections are matched by label and place, since the old order is by class. Two cases are kept with the tests; the
others are read from the shared folder.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from maskrcnn_benchmark.layers.masks import paste_masks
from maskrcnn_benchmark.modeling.detector import GeneralizedRCNN
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import ImageList
from maskrcnn_benchmark.structures.padded import PaddedTargets
from maskrcnn_benchmark.structures.sizes import HeightWidth
from tests.goldens import RUNS, GoldenCase, pair_by_place, unpack_masks

KEPT = ["mask_rcnn_R_50_FPN", "faster_rcnn_R_50_C4"]
MASKS = [
    "mask_rcnn_R_50_FPN",
    "mask_rcnn_R_50_C4",
    "mask_rcnn_R_50_FPN_gn",
    "mask_rcnn_mdconv_R_50_FPN",
    "mask_rcnn_fbnet_default",
]
KEYPOINTS = ["keypoint_rcnn_R_50_FPN"]
BOXES = [*MASKS, *KEYPOINTS, "faster_rcnn_R_50_FPN", "faster_rcnn_R_50_C4"]
ALL = [*BOXES, "rpn_R_50_FPN", "retinanet_R_50_FPN"]

AGREEING = 0.99
BOX = 1e-2  # pixels
SCORE = 1e-4
MASK = 1e-3
KEYPOINT = 1e-2  # pixels
LOSS = 1e-3  # relative
GRADIENT = 1e-2  # relative
# Rounding in a deformable convolution moves where it samples.
WIDER = {"mask_rcnn_mdconv_R_50_FPN": 10.0}
# Training FBNet, with batch statistics in 80 layers, changes gradients by 3 % when the input changes in its last bit
# (or the number of threads): only sums in the order of the recording, that is in its memory layout, agree with it.
CONTIGUOUS = {"mask_rcnn_fbnet_default"}


def cases(names: Sequence[str]) -> pytest.MarkDecorator:
    """Run a test for these cases; those that are not kept here are marked."""
    marked = [
        pytest.param(name, marks=[] if name in KEPT else [pytest.mark.shared_data])
        for name in names
    ]
    return pytest.mark.parametrize("case", marked, indirect=True, scope="module")


@pytest.fixture(scope="module")
def case(request: pytest.FixtureRequest, repository: Path) -> Iterator[GoldenCase]:
    if request.param in KEPT:
        folder = repository / "tests" / "golden"
    else:
        folder = request.getfixturevalue("shared") / "reference" / "goldens"
    threads = torch.get_num_threads()
    # The original, too, moves by half the tolerance between one thread and two.
    torch.set_num_threads(1)
    yield GoldenCase(folder / request.param, repository)
    torch.set_num_threads(threads)


def wider(case: GoldenCase) -> float:
    """Factor of the tolerances of this case."""
    return WIDER.get(case.folder.name, 1.0)


def largest(difference: Tensor) -> float:
    return float(difference.abs().max()) if difference.numel() else 0.0


@cases(ALL)
def test_parameters_have_the_old_names_and_shapes(case: GoldenCase) -> None:
    ours = {name: list(value.shape) for name, value in case.model.state_dict().items()}
    assert ours == case.read_json("keys.json")


@cases(ALL)
def test_network_input(case: GoldenCase) -> None:
    golden = case.recorded["im0_input"]
    assert case.batch(0).tensors.shape == golden.shape
    assert torch.equal(case.batch(0).tensors, golden)


@cases(ALL)
@pytest.mark.parametrize("run", ["im0", "im1"])
def test_features(case: GoldenCase, run: str) -> None:
    levels = {
        name: value for name, value in case.recorded.items() if name.startswith(f"{run}_feature")
    }
    features = case.infer(run).features
    assert len(levels) == len(features)
    for name, golden in levels.items():
        ours = features[int(name[len(f"{run}_feature")])]
        if name.endswith("_corner"):
            ours = ours[..., :8, :8]
        assert ours.shape == golden.shape
        assert largest(ours - golden) <= SCORE * wider(case) * max(1.0, largest(golden))


@cases(BOXES)
@pytest.mark.parametrize("run", ["im0", "im1"])
def test_proposals(case: GoldenCase, run: str) -> None:
    golden, scores = (case.recorded[f"{run}_proposals{end}"] for end in ("", "_objectness"))
    proposals = case.infer(run).proposals
    valid = proposals.valid[0]
    boxes, objectness = proposals.boxes[0, valid], proposals.objectness[0, valid]
    assert len(boxes) == len(golden)
    ours, theirs, apart = pair_by_place(boxes, golden)
    box, score = BOX * wider(case), SCORE * wider(case)
    same = (apart <= box) & ((objectness[ours] - scores[theirs]).abs() <= score)
    assert same.sum() >= AGREEING * len(golden)


@cases(BOXES)
@pytest.mark.parametrize("run", ["im0", "im1"])
def test_class_logits_and_box_regression(case: GoldenCase, run: str) -> None:
    # For the recorded proposals: a shift of half the tolerance in pixels moves logits of size 10 by more than 1e-4.
    logits, deltas = case.predict(run, case.recorded[f"{run}_proposals"])
    score = SCORE * wider(case)
    same = ((logits - case.recorded[f"{run}_class_logits"]).abs() <= score).all(dim=1)
    same &= ((deltas - case.recorded[f"{run}_box_regression"]).abs() <= score).all(dim=1)
    assert same.sum() >= AGREEING * len(same)


@cases(ALL)
def test_detections(case: GoldenCase) -> None:
    agreeing = total = 0
    box, score, mask = (tolerance * wider(case) for tolerance in (BOX, SCORE, MASK))
    for prefix, image in RUNS.items():
        if f"{prefix}_boxes" not in case.recorded:
            continue  # The old keypoint head took one image at a time.
        ours, golden = case.boxlist(prefix), case.recorded[f"{prefix}_boxes"]
        assert list(ours.size) == case.recorded[f"{prefix}_size_wh"].tolist()
        name = "scores" if f"{prefix}_scores" in case.recorded else "objectness"
        labels, golden_labels = None, None
        if name == "scores":
            labels, golden_labels = ours.get_field("labels"), case.recorded[f"{prefix}_labels"]
        index, golden_index, apart = pair_by_place(
            ours.bbox, golden, labels=labels, golden_labels=golden_labels
        )
        scores = case.recorded[f"{prefix}_{name}"]
        same = (apart <= box) & (
            (ours.get_field(name)[index] - scores[golden_index]).abs() <= score
        )
        index, golden_index = index[same], golden_index[same]
        # In original pixels as well.
        original = ours.resize(case.originals[image].size).bbox
        assert largest(original[index] - case.recorded[f"{prefix}_orig_boxes"][golden_index]) <= box
        if f"{prefix}_mask" in case.recorded:
            masks = case.recorded[f"{prefix}_mask"][golden_index]
            assert largest(ours.get_field("mask")[index] - masks) <= mask
        agreeing += int(same.sum())
        total += max(len(golden), len(ours))
    # Over the whole case: in b1 of rpn_R_50_FPN the sigmoids of two anchors are both exactly 1 in float32; which of
    # the two is the better one, and suppresses the other, is up to the order in which top-k puts equal values.
    assert total >= 80
    assert agreeing >= AGREEING * total


@cases(KEYPOINTS)
@pytest.mark.parametrize("run", ["im0", "im1"])
def test_keypoints(case: GoldenCase, run: str) -> None:
    ours, recorded = case.boxlist(run), case.recorded
    index, golden_index, _ = pair_by_place(
        ours.bbox,
        recorded[f"{run}_boxes"],
        labels=ours.get_field("labels"),
        golden_labels=recorded[f"{run}_labels"],
    )
    for name, boxlist in (
        ("keypoints", ours),
        ("orig_keypoints", ours.resize(case.originals[RUNS[run]].size)),
    ):
        got = boxlist.get_field("keypoints").keypoints[index]
        golden = recorded[f"{run}_{name}"][golden_index]
        same = (got - golden).abs().amax(dim=(1, 2)) <= KEYPOINT
        assert same.sum() >= AGREEING * len(recorded[f"{run}_boxes"])


@cases(KEYPOINTS)
@pytest.mark.parametrize("run", ["im0", "im1"])
def test_keypoints_and_logits_in_recorded_boxes(case: GoldenCase, run: str) -> None:
    # A shift of the box by a few thousandths of a pixel moves logits by more than 1e-4.
    keypoints, logits = case.find_keypoints(run)
    assert largest(keypoints - case.recorded[f"{run}_keypoints"]) <= KEYPOINT
    assert largest(logits - case.recorded[f"{run}_kp_logits"]) <= SCORE


@cases(MASKS)
@pytest.mark.parametrize("prefix", RUNS)
def test_masks_of_our_detections_pasted(case: GoldenCase, prefix: str) -> None:
    width, height = case.originals[RUNS[prefix]].size
    ours = case.boxlist(prefix).resize((width, height))
    recorded = case.recorded
    index, golden_index, _ = pair_by_place(
        ours.bbox,
        recorded[f"{prefix}_orig_boxes"],
        labels=ours.get_field("labels"),
        golden_labels=recorded[f"{prefix}_labels"],
    )
    golden = unpack_masks(
        recorded[f"{prefix}_orig_masks_packed"], recorded[f"{prefix}_orig_masks_shape"]
    )[golden_index]
    masks = ours.get_field("mask")[index, 0]
    pasted = paste_masks(masks, ours.bbox[index], height=height, width=width)
    # Only pixels within the tolerance of the threshold may differ.
    assert (pasted != golden).sum() <= 1e-3 * golden.sum()


@cases(MASKS)
@pytest.mark.parametrize("prefix", RUNS)
def test_recorded_masks_pasted(case: GoldenCase, prefix: str) -> None:
    recorded = case.recorded
    golden = unpack_masks(
        recorded[f"{prefix}_orig_masks_packed"], recorded[f"{prefix}_orig_masks_shape"]
    )
    pasted = paste_masks(
        recorded[f"{prefix}_mask"][:, 0],
        recorded[f"{prefix}_orig_boxes"],
        height=golden.shape[1],
        width=golden.shape[2],
    )
    # The same probabilities and boxes give the same pixels, bit for bit.
    assert torch.equal(pasted, golden)


def contiguous_losses(
    model: GeneralizedRCNN, batch: ImageList, targets: Sequence[BoxList]
) -> dict[str, Tensor]:
    """Losses with all maps in torch's usual memory layout."""
    sizes = torch.tensor(batch.image_sizes, dtype=torch.float32)
    model = model.to(memory_format=torch.contiguous_format)
    padded = PaddedTargets.from_boxlists(targets, with_masks=True)
    return model.compute_losses(batch.tensors.contiguous(), sizes, padded)


@cases(ALL)
def test_losses_and_gradients(case: GoldenCase) -> None:
    golden = case.read_json("train.json")
    targets = [target for _, target in case.samples]
    with np.load(case.folder / "train.npz") as arrays:
        batch = case.batch(0, 1)
        assert batch.image_sizes == [HeightWidth(*size) for size in arrays["image_sizes"].tolist()]
        for number, target in enumerate(targets):
            assert torch.equal(target.bbox, torch.from_numpy(arrays[f"boxes{number}"]))
    # A copy: training moves the statistics of norms.
    model = copy.deepcopy(case.model).train()
    compute = contiguous_losses if case.folder.name in CONTIGUOUS else type(model).__call__
    losses = compute(model, batch, targets)
    total = torch.stack(list(losses.values())).sum()
    total.backward()
    norms = {
        name: p.grad.norm().item() for name, p in model.named_parameters() if p.grad is not None
    }
    got = {name: loss.item() for name, loss in losses.items()}
    assert list(got) == list(golden["losses"])
    assert got == pytest.approx(golden["losses"], rel=LOSS)
    assert total.item() == pytest.approx(golden["total"], rel=LOSS)
    # A bias with a batch norm behind it has a gradient of 0, and rounding.
    assert norms == pytest.approx(golden["grad_norms"], rel=GRADIENT, abs=1e-6)


@pytest.mark.shared_data
@pytest.mark.parametrize("name", KEPT)
def test_the_kept_cases_are_what_was_recorded(name: str, repository: Path, shared: Path) -> None:
    kept = repository / "tests" / "golden" / name
    origin = shared / "reference" / "goldens" / name
    for archive in ("weights.npz", "inference.npz", "train.npz"):
        with np.load(kept / archive) as ours, np.load(origin / archive) as theirs:
            assert set(ours) == set(theirs)
            assert all(np.array_equal(ours[key], theirs[key]) for key in ours)
    for file in ("image0.png", "image1.png", "train.json", "keys.json", "case.json"):
        assert (kept / file).read_bytes() == (origin / file).read_bytes()
