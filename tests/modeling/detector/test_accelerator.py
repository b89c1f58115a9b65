"""The network as on a GPU: all of it on one device, nothing outside the operators waits, the numbers of the CPU.

Without a GPU: on torch's fake tensors, which have its rules, and on a pretended GPU, which has numbers. Gradients need
a real device; here the rows that a GPU computes, padding included, are compared with those of the CPU, on the CPU.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_map_only

from maskrcnn_benchmark.modeling.detector import GeneralizedRCNN
from maskrcnn_benchmark.modeling.detector.detector import Detector
from maskrcnn_benchmark.modeling.poolers import Rows
from maskrcnn_benchmark.predict.tuning import Precision, tune
from maskrcnn_benchmark.structures.padded import PaddedTargets
from tests.export.architectures import from_config
from tests.pretended_gpu import pretended_gpu, read
from tests.thin_cascade import thin_cascade
from tests.thin_models import make_images, make_target, thin_detector
from tests.thin_retinanet import thin_retinanet

SIZES = torch.tensor([[90.0, 120.0], [96.0, 128.0]])


def _changed(**values: Any) -> Detector:
    """A detector with other settings: `box_` of the box head, `rpn_` of the proposal loss."""
    model = thin_detector(per_batch=True)
    assert model.roi_heads is not None
    for name, value in values.items():
        part, name = name.split("_", 1)
        where = {
            "box": model.roi_heads.box,
            "post": model.roi_heads.box.post_processor,
            "rpn": model.rpn.loss,
            "anchors": model.rpn.anchor_generator,
        }[part]
        assert hasattr(where, name)
        setattr(where, name, value)
    return model


MODELS: dict[str, Callable[[], Detector]] = {
    "FPN": lambda: thin_detector(with_keypoints=True),
    "C4": lambda: thin_detector(kind="C4", with_keypoints=True),
    "proposals": lambda: thin_detector(with_heads=False),
    "one stage": thin_retinanet,
    "one stage, of torchvision": lambda: thin_retinanet(
        style="rounded", loss={"normalizer": "image"}, inference={"clip": "after_nms"}
    ),
    "one stage, of detectron2": lambda: thin_retinanet(
        style="exact", loss={"normalizer": "ema"}, inference={"drop_empty": True}
    ),
    "cascade": thin_cascade,
    "per batch, soft, IoU losses": lambda: _changed(
        post_nms="soft_linear", box_loss="giou", rpn_loss="ciou", anchors_straddle_threshold=-1
    ),
    "GN": lambda: from_config("gn_baselines/e2e_mask_rcnn_R_50_FPN_1x_gn.yaml"),
    "FBNet": lambda: from_config("e2e_mask_rcnn_fbnet.yaml"),
    "deformable": lambda: from_config("dcn/e2e_faster_rcnn_mdconv_R_50_FPN_1x.yaml"),
    "RoIPool, one box for all classes": lambda: from_config(
        "e2e_faster_rcnn_R_50_FPN_1x.yaml",
        ROI_BOX_HEAD__POOLER_TYPE="ROIPool",
        CLS_AGNOSTIC_BBOX_REG=True,
    ),
    **{
        f"numerics of {name}": lambda name=name: from_config(  # type: ignore[misc]
            "e2e_mask_rcnn_R_50_FPN_1x.yaml", NUMERICS=name
        )
        # Of the others, mmdet and tensorpack, all that matters here is in these.
        for name in ("detectron2", "torchvision")
    },
}


def make_inputs(model: Detector) -> tuple[Tensor, PaddedTargets]:
    images = torch.stack(make_images((96, 128), (96, 128)))
    targets = PaddedTargets.from_boxlists(
        [make_target(90, 120, count=3), make_target(96, 128, count=2)],
        with_masks=model.with_masks,
        with_keypoints=model.with_keypoints,
    )
    return images.contiguous(memory_format=torch.channels_last), targets


@pytest.fixture(params=MODELS, scope="module")
def model(request: pytest.FixtureRequest) -> Detector:
    return MODELS[request.param]()


def to_fake(value: Any) -> Any:
    """A module, in place, or a structure of tensors, on a device that only knows shapes."""
    if isinstance(value, nn.Module):
        for part in value.modules():
            for name, own in part._parameters.items():
                if own is not None:
                    part._parameters[name] = nn.Parameter(to_fake(own.detach()), own.requires_grad)
            part._buffers.update(to_fake(part._buffers))
        return value
    return tree_map_only(Tensor, lambda tensor: tensor.to("cuda"), value)


# Of the anchors that are kept, whose key it is part of.
@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
def test_everything_lies_on_one_device_and_no_value_is_read(model: Detector) -> None:
    model = copy.deepcopy(model)
    images, targets = make_inputs(model)
    with FakeTensorMode(allow_non_fake_inputs=True):
        batch, sizes = to_fake((images, SIZES))
        to_fake(model)
        with torch.no_grad():
            found = model.eval().detect(batch, sizes)
        losses = model.train().compute_losses(batch, sizes, targets.to("cuda"))
    devices = {value.device.type for value in (*found, *losses.values()) if value is not None}
    assert devices == {"cuda"}


def test_the_numbers_are_those_of_the_cpu_and_nothing_waits(model: Detector) -> None:
    images, targets = make_inputs(model)
    with torch.no_grad():
        expected = copy.deepcopy(model).eval().detect(images, SIZES)
        expected_losses = copy.deepcopy(model).train().compute_losses(images, SIZES, targets)
    assert expected.valid.any()
    with pretended_gpu() as gpu:
        there = gpu.put(copy.deepcopy(model))
        batch, sizes = gpu.put(images), gpu.put(SIZES)
        with torch.no_grad():
            found = read(there.eval().detect(batch, sizes))
        losses = read(there.train().compute_losses(batch, sizes, gpu.put(targets)))
    assert gpu.waits == {}
    assert list(losses) == list(expected_losses)
    if any(isinstance(part, nn.GroupNorm) for part in model.modules()):
        # Ours is more exact on a CPU than torch's elsewhere, by enough for other proposals to be chosen.
        for name, want in expected_losses.items():
            torch.testing.assert_close(losses[name].detach(), want, rtol=0.05, atol=0.01)
        return
    for name, want in expected_losses.items():
        torch.testing.assert_close(losses[name].detach(), want, rtol=1e-3, atol=1e-4)
    assert torch.equal(found.valid, expected.valid)
    for got, want in zip(found, expected, strict=True):
        assert (got is None) == (want is None)
        if want is not None:
            torch.testing.assert_close(got[found.valid], want[found.valid], rtol=1e-3, atol=1e-3)


@pytest.fixture
def lower_type() -> Iterator[None]:
    """Mixed precision of a GPU; `torch.autocast` leaves it off where there is none."""
    before = torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    yield
    torch.set_autocast_enabled("cuda", False)
    torch.set_autocast_dtype("cuda", before)
    torch.clear_autocast_cache()


@pytest.mark.usefixtures("lower_type")
@pytest.mark.parametrize("name", ["FPN", "C4", "one stage", "cascade"])
def test_mixed_precision_waits_for_nothing(name: str) -> None:
    model = MODELS[name]()
    images, targets = make_inputs(model)
    convolutions = set()

    def record(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        convolutions.add(output.dtype)

    with pretended_gpu() as gpu:
        gpu.put(model)
        next(m for m in model.rpn.modules() if isinstance(m, nn.Conv2d)).register_forward_hook(
            record
        )
        with torch.no_grad():
            found = model.detect(gpu.put(images), gpu.put(SIZES))
        losses = model.train().compute_losses(gpu.put(images), gpu.put(SIZES), gpu.put(targets))
    assert convolutions == {torch.bfloat16}
    assert gpu.waits == {}
    assert found.boxes.dtype == found.scores.dtype == torch.float32
    assert all(loss.dtype == torch.float32 for loss in losses.values())
    assert all(torch.isfinite(read(loss)) for loss in losses.values())
    assert read(found.valid).any()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_tuned_network_waits_for_nothing(
    dtype: Precision, request: pytest.FixtureRequest
) -> None:
    if dtype != "float32":
        request.getfixturevalue("lower_type")
    model = thin_detector(with_keypoints=True)
    images, _ = make_inputs(model)
    tune(model, device=torch.device("cuda"), dtype=dtype)
    with pretended_gpu() as gpu, torch.no_grad():
        found = gpu.put(model).detect(gpu.put(images), gpu.put(SIZES))
        assert gpu.waits == {}
        assert read(found.valid).sum() > 20
        assert found.masks.dtype == found.keypoints.dtype == torch.float32


@pytest.fixture
def rows_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """All rows are computed, padding too, as off a CPU; the list tells how many rows were padding."""
    padding: list[int] = []

    def all_rows(valid: Tensor) -> Rows:
        padding.append(int((~valid).sum()))
        return Rows(None, valid.flatten())

    monkeypatch.setattr(Rows, "of", staticmethod(all_rows))
    monkeypatch.setattr(Rows, "padded", property(lambda rows: rows.valid))
    return padding


def train_once(model: Detector) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Losses, gradients and buffers after a step without update."""
    images, targets = make_inputs(model)
    losses = model.train().compute_losses(images, SIZES, targets)
    torch.stack(list(losses.values())).sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    buffers = dict(model.named_buffers())
    return {name: loss.detach() for name, loss in losses.items()}, gradients, buffers


def test_padding_rows_change_neither_losses_nor_gradients(
    model: Detector, request: pytest.FixtureRequest
) -> None:
    model = copy.deepcopy(model)
    has_heads = isinstance(model, GeneralizedRCNN) and model.roi_heads is not None
    if has_heads:
        # Few proposals, all of which train.
        model.rpn.min_size = 45.0
        model.roi_heads.box.sampler.batch_size_per_image = 4000
    expected = train_once(copy.deepcopy(model))
    padding = request.getfixturevalue("rows_of_a_gpu")
    got = train_once(copy.deepcopy(model))
    if has_heads:
        assert min(padding) > 0
    assert expected[1]
    if any(isinstance(part, nn.BatchNorm2d) for part in model.modules()):
        # Gradients of many batch norms in a row, with random weights, are noise.
        got[1].clear()
        expected[1].clear()
    for ours, theirs in zip(got, expected, strict=True):
        assert list(ours) == list(theirs)
        for name, value in theirs.items():
            torch.testing.assert_close(
                ours[name],
                value,
                rtol=1e-3,
                atol=1e-5,
                msg=lambda text, name=name: f"{name}: {text}",
            )


def test_two_devices_in_one_operation_are_found() -> None:
    model, (images, targets) = thin_detector(), make_inputs(thin_detector())
    with pretended_gpu() as gpu, pytest.raises(RuntimeError, match="on cuda:0, 1 on the CPU"):
        gpu.put(model).detect(gpu.put(images), SIZES)
    with pretended_gpu() as gpu, pytest.raises(RuntimeError, match="on cuda:0, 1 on the CPU"):
        model.compute_losses(gpu.put(images), gpu.put(SIZES), targets)


@pytest.mark.parametrize(
    ("wait", "count"),
    [
        (lambda x: x.sum().item(), 1),
        (lambda x: bool((x > 0).any()), 1),
        (lambda x: x.tolist(), 1),
        (lambda x: x.cpu(), 1),
        (lambda x: x.nonzero(), 1),
        (lambda x: x[x > 0], 1),
        (lambda x: x.new_tensor([1.0, 2.0]), 1),
        (lambda x: torch.tensor([1.0], device=x.device), 1),
        (lambda x: torch.zeros(3).to(x.device), 1),
        (lambda x: x.__setitem__(torch.arange(2, device=x.device), 1.0), 1),
        (lambda x: torch.zeros(3).to(x.device, non_blocking=True), 0),
        (lambda x: x.index_fill_(0, torch.arange(2, device=x.device), 1.0), 0),
        (lambda x: torch.where(x > 0, x, 2.0).topk(2), 0),
        (lambda x: x[:2].copy_(torch.arange(2, device=x.device)), 0),
    ],
)
def test_waiting_is_found(wait: Callable[[Tensor], Any], count: int) -> None:
    with pretended_gpu() as gpu:
        wait(gpu.put(torch.tensor([1.0, -1.0, 2.0])))
    assert sum(gpu.waits.values()) == count


def test_how_often_operators_wait() -> None:
    model = thin_detector(with_keypoints=True)
    images, targets = make_inputs(model)
    with pretended_gpu() as gpu:
        there = gpu.put(model)
        with torch.no_grad():
            there.detect(gpu.put(images), gpu.put(SIZES))
        detecting = gpu.by_operator()
        gpu.in_operators.clear()
        there.train().compute_losses(gpu.put(images), gpu.put(SIZES), gpu.put(targets))
        training = gpu.by_operator()
    assert gpu.waits == {}
    # Of proposals: two images; each the real ones, the first tried, the sizes of groups, and five levels.
    proposals = 2 * (3 + 5)
    # Of detections: three classes, and so few candidates that all are tried at once.
    assert detecting["nms_padded"] <= proposals + 2 * (2 + 3)
    assert training["nms_padded"] <= proposals
    # Box, mask and keypoint head, once each.
    assert detecting["pyramid_roi_align"] == training["pyramid_roi_align"] == 3
    assert detecting["decode_heat_maps"] == 1
    # Numbers of either type in, masks out.
    assert training["rasterize_in_boxes"] == 3
