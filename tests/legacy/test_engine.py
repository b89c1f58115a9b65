"""Training and testing through the old entry points, in both forms that users call them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

from maskrcnn_benchmark.config import Config, cfg, get_defaults
from maskrcnn_benchmark.data import make_data_loader
from maskrcnn_benchmark.engine.bbox_aug import im_detect_bbox_aug
from maskrcnn_benchmark.engine.inference import compute_on_dataset, inference
from maskrcnn_benchmark.engine.trainer import do_train, reduce_loss_dict
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.solver import WarmupMultiStepLR, make_lr_scheduler, make_optimizer
from maskrcnn_benchmark.utils.checkpoint import DetectronCheckpointer
from maskrcnn_benchmark.utils.timer import Timer
from tests.build.toy_run import make_config
from tests.legacy.contract import contract


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return make_config(
        tmp_path_factory.mktemp("toy"),
        DATALOADER__NUM_WORKERS=0,
        SOLVER__MAX_ITER=3,
        SOLVER__STEPS=(2,),
        SOLVER__WARMUP_ITERS=0,
    )


def parts(toy: Config, folder: Path) -> tuple[Any, ...]:
    """What tools/train_net.py of the old project put together."""
    model = build_detection_model(toy)
    optimizer = make_optimizer(toy, model)
    scheduler = make_lr_scheduler(toy, optimizer)
    checkpointer = DetectronCheckpointer(toy, model, optimizer, scheduler, str(folder), True)
    return model, optimizer, scheduler, checkpointer


@contract("engine.trainer.do_train")
@pytest.mark.parametrize("form", ["with cfg", "older"])
def test_do_train(toy: Config, tmp_path: Path, form: str) -> None:
    model, optimizer, scheduler, checkpointer = parts(toy, tmp_path)
    arguments: dict[str, Any] = {"iteration": 0}
    arguments.update(checkpointer.load(toy.MODEL.WEIGHT))
    loader = make_data_loader(toy, is_train=True, is_distributed=False, start_iter=0)
    before = model.roi_heads.box.predictor.cls_score.weight.clone()
    if form == "older":
        do_train(
            model, loader, optimizer, scheduler, checkpointer, torch.device("cpu"), 2, arguments
        )
    else:
        do_train(
            toy,
            model,
            loader,
            None,
            optimizer,
            scheduler,
            checkpointer,
            torch.device("cpu"),
            2,
            0,
            arguments,
        )
    assert arguments["iteration"] == 3
    assert not torch.equal(model.roi_heads.box.predictor.cls_score.weight, before)
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["last_checkpoint", "model_0000002.pth", "model_final.pth"]
    assert set(torch.load(tmp_path / "model_final.pth")) >= {
        "model",
        "optimizer",
        "scheduler",
        "iteration",
    }
    assert optimizer.param_groups[0]["lr"] == pytest.approx(toy.SOLVER.BASE_LR * 0.1)


@contract("engine.trainer.reduce_loss_dict")
def test_reduce_loss_dict() -> None:
    losses = {"loss_b": torch.tensor(2.0), "loss_a": torch.tensor(1.0)}
    assert reduce_loss_dict(losses) == losses


@contract("engine.inference.inference", "engine.inference.compute_on_dataset")
def test_inference(toy: Config, tmp_path: Path) -> None:
    model = build_detection_model(toy).eval()
    (loader,) = make_data_loader(toy, is_train=False, is_distributed=False)
    outcome = inference(
        model,
        loader,
        dataset_name="toy_val",
        iou_types=("bbox", "segm"),
        box_only=False,
        bbox_aug=False,
        device="cpu",
        expected_results=(),
        expected_results_sigma_tol=4,
        output_folder=str(tmp_path),
    )
    assert set(outcome[0].results) == {"bbox", "segm"}
    assert "predictions.pth" in {file.name for file in tmp_path.iterdir()}
    timer = Timer()
    found = compute_on_dataset(model, loader, torch.device("cpu"), False, timer)
    assert sorted(found) == list(range(6))
    assert timer.total_time > 0
    # The notebooks' form.
    older = Timer()
    again = compute_on_dataset(model, loader, torch.device("cpu"), older)
    assert older.total_time > 0
    torch.testing.assert_close(again[3].bbox, found[3].bbox)


@contract("engine.bbox_aug.im_detect_bbox_aug")
def test_test_time_augmentation(toy: Config) -> None:
    """It reads the global config, as it always did."""
    model = build_detection_model(toy).eval()
    folder = Path(toy.DATASETS.CUSTOM["toy_val"]["img_dir"])
    image = Image.open(min(folder.iterdir())).convert("RGB")
    before = cfg.clone()
    cfg.defrost()
    try:
        cfg.merge_from_list(
            [
                *("INPUT.MIN_SIZE_TEST", 64, "INPUT.MAX_SIZE_TEST", 96),
                *("TEST.BBOX_AUG.ENABLED", True, "TEST.BBOX_AUG.H_FLIP", True),
                *("TEST.BBOX_AUG.SCALES", (48,), "TEST.BBOX_AUG.MAX_SIZE", 96),
            ]
        )
        (found,) = im_detect_bbox_aug(model, [image], torch.device("cpu"))
    finally:
        cfg._adopt(before)
    assert {"scores", "labels"} <= set(found.fields())
    assert max(found.size) <= 96


@contract("solver.make_optimizer")
def test_make_optimizer() -> None:
    settings = get_defaults()
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    model[1].weight.requires_grad_(False)
    optimizer = make_optimizer(settings, model)
    assert isinstance(optimizer, torch.optim.SGD)
    found = {
        id(group["params"][0]): (group["lr"], group["weight_decay"], group["momentum"])
        for group in optimizer.param_groups
    }
    rate, decay = settings.SOLVER.BASE_LR, settings.SOLVER.WEIGHT_DECAY
    assert found[id(model[0].weight)] == (rate, decay, 0.9)
    assert found[id(model[0].bias)] == (rate * 2, 0, 0.9)
    assert id(model[1].weight) not in found


@contract("solver.make_lr_scheduler", "solver.WarmupMultiStepLR")
def test_make_lr_scheduler() -> None:
    # The known answer of numerics.md 21.
    settings = get_defaults()
    settings.merge_from_list(
        [
            "SOLVER.BASE_LR",
            0.02,
            "SOLVER.STEPS",
            (5, 8),
            "SOLVER.WARMUP_ITERS",
            3,
            "SOLVER.MAX_ITER",
            9,
        ]
    )
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.02)
    scheduler = make_lr_scheduler(settings, optimizer)
    assert isinstance(scheduler, WarmupMultiStepLR)
    rates = []
    for _ in range(9):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    wanted = [0.006667, 0.011111, 0.015556, 0.02, 0.02, 0.002, 0.002, 0.002, 0.0002]
    assert rates == pytest.approx(wanted, rel=1e-4)
    plain = WarmupMultiStepLR(optimizer, [5, 8], 0.1, warmup_factor=1 / 3, warmup_iters=3)
    assert plain.last_epoch == 0
