from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch.utils._python_dispatch import TorchDispatchMode

from maskrcnn_benchmark.bench import contestants
from maskrcnn_benchmark.bench.contestants import Ours, Scene
from maskrcnn_benchmark.bench.floor import record_floor
from maskrcnn_benchmark.bench.stages import time_stages
from maskrcnn_benchmark.build.config_files import find_config
from maskrcnn_benchmark.config import Config, get_defaults
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.layers.norms import FrozenBatchNorm2d
from tests.cli.test_info import THIN

CPU = torch.device("cpu")
SCENE = Scene(batch=2, height=64, width=96)


def make_config(name: str = "e2e_mask_rcnn_R_50_FPN_1x") -> Config:
    cfg = get_defaults()
    cfg.merge_from_file(find_config(name))
    cfg.merge_from_list([*THIN, "MODEL.ROI_MASK_HEAD.CONV_LAYERS", (8,)])
    return cfg


@pytest.fixture(scope="module")
def ours() -> Ours:
    return contestants.make_ours(make_config(), device=CPU)


class Names(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


def test_scene_is_the_same_every_time() -> None:
    assert torch.equal(SCENE.images()[1], Scene(batch=2, height=64, width=96).images()[1])
    boxes, labels = SCENE.boxes(num_classes=3)
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert len(labels) == contestants.NUM_OBJECTS
    assert set(labels.tolist()) == {1, 2}


def test_tuned_copy_finds_the_same(ours: Ours) -> None:
    expected = contestants.ours_inference(ours, SCENE)()
    tuned = contestants.tuned(ours)
    assert expected == contestants.ours_inference(tuned, SCENE)() > 0
    assert not any(isinstance(part, FrozenBatchNorm2d) for part in tuned.model.modules())
    assert any(isinstance(part, FrozenBatchNorm2d) for part in ours.model.modules())


def test_lower_precision_has_lower_weights(ours: Ours) -> None:
    tuned = contestants.tuned(ours, precision="bfloat16")
    heads = tuned.model.roi_heads
    assert heads.box.feature_extractor.fc6.weight.dtype == torch.bfloat16
    assert contestants.ours_inference(tuned, SCENE, precision="bfloat16")() > 0


def test_training_leaves_no_gradients(ours: Ours) -> None:
    before = {key: value.clone() for key, value in ours.model.state_dict().items()}
    assert contestants.ours_training(ours, SCENE)() == contestants.NUM_OBJECTS
    assert all(parameter.grad is None for parameter in ours.model.parameters())
    after = ours.model.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_a_keypoint_model_has_keypoints_to_train_on() -> None:
    cfg = make_config("e2e_keypoint_rcnn_R_50_FPN_1x")
    cfg.merge_from_list(["MODEL.ROI_KEYPOINT_HEAD.CONV_LAYERS", (8,)])
    ours = contestants.make_ours(cfg, device=CPU)
    assert ours.model.with_keypoints
    assert contestants.ours_training(ours, SCENE)() == contestants.NUM_OBJECTS


def test_floor_does_the_heavy_calls_and_nothing_else() -> None:
    weight, matrix = torch.randn(4, 3, 3, 3), torch.randn(5, 4)

    def step() -> torch.Tensor:
        with torch.inference_mode():
            x = F.relu(F.conv2d(torch.randn(1, 3, 8, 8), weight))
            return F.linear(x.mean(dim=(2, 3)), matrix).softmax(1)

    replay = record_floor(step)
    with Names() as names:
        replay()
        replay()
    assert len(names.seen) == 4
    assert all("conv" in name or "linear" in name or "mm" in name for name in names.seen)


def test_stages_are_timed_and_given_back(ours: Ours) -> None:
    tuned = contestants.tuned(ours)
    timings = time_stages(tuned.model, contestants.ours_inference(tuned, SCENE), rounds=2)
    assert list(timings) == ["backbone", "rpn", "box head", "mask head"]
    assert all(len(timing.seconds) == 2 and timing.median > 0 for timing in timings.values())
    assert "forward" not in vars(tuned.model.backbone)


def test_no_rival_for_other_models() -> None:
    with pytest.raises(ConfigError, match="R-50-FPN"):
        contestants.make_torchvision(make_config("e2e_mask_rcnn_R_101_FPN_1x"), SCENE, device=CPU)
