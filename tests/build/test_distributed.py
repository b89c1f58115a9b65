"""One process with four images per batch, or two with two each: the same data, losses, gradients."""

import hashlib
from itertools import chain

import pytest
import torch

from maskrcnn_benchmark.build.data import build_train_loader
from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.checkpoint.files import read_checkpoint
from maskrcnn_benchmark.engine.distributed import distribute, process_group
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask
from maskrcnn_benchmark.utils.comm import all_gather, is_main_process
from tests.build.toy_run import make_config, train
from tests.engine.processes import run_in_process, run_ranks

ITERATIONS = 20
# Their normaliser is the number of samples, which is the same for every image here. The mask loss
# is a mean over the positives, of which each process has its own number.
COMPARABLE = ("loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg")
SETTINGS = {
    "MODEL__RPN__FPN_POST_NMS_PER_BATCH": False,
    # Statistics of a batch would depend on its size, and so would the padding.
    "MODEL__RESNETS__NORM": "FrozenBN",
    "DATALOADER__SIZE_DIVISIBILITY": 128,
    "SOLVER__MAX_ITER": ITERATIONS,
}


def fingerprint(images, targets, ids):
    """What each image of a batch is: its index, its draw, its pixels and its boxes and masks."""
    found = []
    for image, size, target, index in zip(
        images.tensors, images.image_sizes, targets, ids, strict=True
    ):
        content = hashlib.sha256(image[:, : size.height, : size.width].numpy().tobytes())
        for part in (target.bbox, target.get_field("labels")):
            content.update(part.numpy().tobytes())
        masks = target.get_field("masks").get_mask_tensor() if len(target) else torch.zeros(0)
        content.update(masks.numpy().tobytes())
        found.append((index, target.sample_seed, tuple(size), content.hexdigest()))
    return found


def observe(folder):
    """Go through all iterations with fixed weights; rank 0 saves what all ranks saw together."""
    cfg = make_config(folder, **SETTINGS)
    steps = []
    with process_group(torch.device("cpu")) as place:
        torch.manual_seed(0)
        model = distribute(build_model(cfg), place).train()
        for images, targets, ids in build_train_loader(cfg):
            model.zero_grad()
            losses = model(images, targets)
            ignored = 0 * losses["loss_mask"]  # Its weights still take part in the exchange.
            (sum(losses[name] for name in COMPARABLE) + ignored).backward()
            every = all_gather({name: loss.item() for name, loss in losses.items()})
            steps.append(
                {
                    "images": list(chain(*all_gather(fingerprint(images, targets, ids)))),
                    "losses": {k: sum(each[k] for each in every) / len(every) for k in losses},
                    "gradients": {
                        name.removeprefix("module."): parameter.grad.clone()
                        for name, parameter in model.named_parameters()
                        if parameter.requires_grad
                    },
                }
            )
        if is_main_process():
            torch.save(steps, folder / f"{place.world_size}.pth")


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What one process saw, and what two saw together, iteration by iteration."""
    folder = tmp_path_factory.mktemp("ranks")
    assert run_in_process(observe, folder, log=folder / "error.txt") == 0
    assert run_ranks(observe, folder, folder=folder) == [0, 0]
    return [torch.load(folder / f"{number}.pth") for number in (1, 2)]


def test_the_same_images_with_the_same_augmentations_at_every_iteration(seen):
    alone, together = seen
    assert len(alone) == len(together) == ITERATIONS
    for one, other in zip(alone, together, strict=True):
        assert len(one["images"]) == 4
        assert one["images"] == other["images"]
    contents = {image[-1] for step in alone for image in step["images"]}
    indices = {image[0] for step in alone for image in step["images"]}
    assert len(contents) > 2 * len(indices), "sizes, flips and colours vary from pass to pass"


@pytest.mark.parametrize("name", COMPARABLE)
def test_the_mean_loss_is_the_loss_of_one_process(seen, name):
    for one, other in zip(*seen, strict=True):
        assert other["losses"][name] == pytest.approx(one["losses"][name], rel=1e-4)


def test_the_averaged_gradients_are_those_of_one_process(seen):
    worst = 0.0
    for one, other in zip(*seen, strict=True):
        for name, gradient in one["gradients"].items():
            difference = (other["gradients"][name] - gradient).norm()
            scale = gradient.norm()
            if scale == 0:
                assert difference == 0
                continue
            worst = max(worst, float(difference / scale))
    print(f"largest relative difference of a gradient: {worst:.2e}")
    assert worst < 1e-4


def test_the_mask_loss_differs_by_how_unevenly_the_positives_fall(seen):
    """The mean of two means is not the mean of all, but it stays near."""
    pairs = [
        (one["losses"]["loss_mask"], other["losses"]["loss_mask"])
        for one, other in zip(*seen, strict=True)
    ]
    differences = [abs(one - other) / one for one, other in pairs]
    print(f"relative difference of loss_mask: mean {sum(differences) / len(differences):.2e}, "
          f"largest {max(differences):.2e}")  # fmt: skip
    assert 0 < max(differences) < 0.5


def test_every_weight_gets_a_gradient_even_from_images_without_objects(tmp_path):
    """So DistributedDataParallel never waits for one that does not come."""
    model = build_model(make_config(tmp_path)).train()
    targets = []
    for number in range(2):
        target = BoxList(torch.zeros(0, 4), (64, 64))
        target.add_field("labels", torch.zeros(0, dtype=torch.int64))
        target.add_field("masks", SegmentationMask([], (64, 64)))
        target.sample_seed = number
        targets.append(target)
    sum(model(torch.randn(2, 3, 64, 64), targets).values()).backward()
    without = [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.grad is None
    ]
    assert without == []


def test_two_processes_train_and_test_like_one(tmp_path):
    """The whole `train`, with weights that move: results stay close, files are written once."""
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    changes = {**SETTINGS, "SOLVER__MAX_ITER": 4, "SOLVER__STEPS": (), "SOLVER__BASE_LR": 1e-4}
    train(folders[0], **changes)
    assert run_ranks(_train, folders[1], changes, folder=tmp_path) == [0, 0]
    one, two = (read_checkpoint(each / "run" / "model_final.pth") for each in folders)
    assert one["iteration"] == two["iteration"] == 4
    for key, value in one["model"].items():
        assert torch.allclose(two["model"][key], value, rtol=1e-2, atol=1e-3), key
    log = (folders[1] / "run" / "train.log").read_text()
    assert "Using 2 cpu processes" in log
    assert log.count("Start training") == 1


def _train(folder, changes):
    train(folder, **changes)
