"""Config, checkpoints, processes, logging and small helpers, as old code uses them."""

from __future__ import annotations

import importlib.util
import logging
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from maskrcnn_benchmark.config import cfg, get_defaults
from maskrcnn_benchmark.errors import ConfigError, MissingExtraError
from maskrcnn_benchmark.utils import cv2_util
from maskrcnn_benchmark.utils.c2_model_loading import load_c2_format
from maskrcnn_benchmark.utils.checkpoint import Checkpointer, DetectronCheckpointer
from maskrcnn_benchmark.utils.collect_env import collect_env_info
from maskrcnn_benchmark.utils.comm import (
    all_gather,
    get_rank,
    get_world_size,
    is_main_process,
    reduce_dict,
    synchronize,
)
from maskrcnn_benchmark.utils.env import setup_environment
from maskrcnn_benchmark.utils.imports import import_file
from maskrcnn_benchmark.utils.logger import setup_logger
from maskrcnn_benchmark.utils.metric_logger import MetricLogger, SmoothedValue
from maskrcnn_benchmark.utils.miscellaneous import mkdir, save_config, save_labels
from maskrcnn_benchmark.utils.model_serialization import (
    align_and_update_state_dicts,
    load_state_dict,
    strip_prefix_if_present,
)
from maskrcnn_benchmark.utils.model_zoo import cache_url
from maskrcnn_benchmark.utils.timer import Timer, get_time_str
from tests.legacy.contract import contract


@contract("config.cfg")
def test_cfg(tmp_path: Path) -> None:
    own = cfg.clone()
    own.defrost()
    file = tmp_path / "own.yaml"
    file.write_text("MODEL:\n  WEIGHT: 'here.pth'\nSOLVER:\n  STEPS: (60000, 80000)\n")
    own.merge_from_file(str(file))
    own.merge_from_list(["SOLVER.BASE_LR", "0.0025", "MODEL.MASK_ON", "True"])
    assert (own.MODEL.WEIGHT, own.SOLVER.STEPS) == ("here.pth", (60000, 80000))
    assert (own.SOLVER.BASE_LR, own.MODEL.MASK_ON) == (0.0025, True)
    assert cfg.MODEL.WEIGHT == ""
    own.freeze()
    with pytest.raises((AttributeError, ValueError)):
        own.SOLVER.BASE_LR = 1.0
    thawed = own.clone()
    thawed.defrost()
    with pytest.raises(ValueError, match="not a configuration key"):
        thawed.merge_from_list(["SOLVER.NONSENSE", 1])
    again = get_defaults()
    (tmp_path / "dumped.yaml").write_text(own.dump())
    again.merge_from_file(tmp_path / "dumped.yaml")
    assert again == own


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)


@contract("utils.checkpoint.Checkpointer", "utils.checkpoint.DetectronCheckpointer")
def test_checkpointers(tmp_path: Path) -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    checkpointer = Checkpointer(model, optimizer, None, str(tmp_path), True)
    assert not checkpointer.has_checkpoint()
    assert checkpointer.load("") == {}
    checkpointer.save("model_0000010", iteration=10)
    assert checkpointer.has_checkpoint()
    assert Path(checkpointer.get_checkpoint_file()).name == "model_0000010.pth"
    other = Net()
    fresh = DetectronCheckpointer(
        get_defaults(),
        other,
        save_dir=str(tmp_path),
        save_to_disk=False,
        logger=logging.getLogger(),
    )
    assert fresh.load(f="nowhere.pth")["iteration"] == 10
    assert torch.equal(other.layer.weight, model.layer.weight)
    # Exactly that file.
    torch.save(
        {"model": {"module.layer.weight": torch.ones(2, 2), "module.layer.bias": torch.ones(2)}},
        tmp_path / "x.pth",
    )
    fresh.load(str(tmp_path / "x.pth"), use_latest=False)
    assert other.layer.weight.eq(1).all()
    checkpointer.tag_last_checkpoint(str(tmp_path / "x.pth"))
    assert Path(checkpointer.get_checkpoint_file()).name == "x.pth"


@contract(
    "utils.model_serialization.load_state_dict",
    "utils.model_serialization.align_and_update_state_dicts",
    "utils.model_serialization.strip_prefix_if_present",
)
def test_model_serialization() -> None:
    model = nn.Module()
    model.block1 = Net()
    model.block2 = Net()
    weights = torch.rand(2, 2)
    loaded = {
        "module.block1.layer.weight": weights,
        "module.block1.layer.bias": torch.ones(2),
        "module.layer.weight": weights * 2,
        "module.layer.bias": torch.zeros(2),
    }
    assert set(strip_prefix_if_present(loaded, prefix="module.")) == {
        name.removeprefix("module.") for name in loaded
    }
    load_state_dict(model, loaded)
    # The longest matching end wins; block2 takes the short name.
    assert torch.equal(model.block1.layer.weight, weights)
    assert torch.equal(model.block2.layer.weight, weights * 2)
    state = model.state_dict()
    align_and_update_state_dicts(state, {"block1.layer.weight": weights * 3})
    assert torch.equal(state["block1.layer.weight"], weights * 3)


@contract("utils.c2_model_loading.load_c2_format")
def test_load_c2_format(tmp_path: Path) -> None:
    blobs: dict[str, Any] = {
        "conv1_w": np.ones((64, 3, 7, 7), dtype=np.float32),
        "res_conv1_bn_s": np.ones(64, dtype=np.float32),
        "res_conv1_bn_b": np.zeros(64, dtype=np.float32),
        "res2_0_branch2a_w": np.full((64, 64, 1, 1), 2, dtype=np.float32),
        "res2_0_branch2a_bn_s": np.full(64, 3, dtype=np.float32),
        "conv1_w_momentum": np.ones((64, 3, 7, 7), dtype=np.float32),
        "fc1000_w": np.ones((1000, 2048), dtype=np.float32),
    }
    path = tmp_path / "R-50.pkl"
    with path.open("wb") as file:
        pickle.dump({"blobs": blobs}, file, protocol=2)
    weights = load_c2_format(get_defaults(), str(path))["model"]
    ends = {
        "stem.conv1.weight": 1,
        "stem.bn1.weight": 1,
        "stem.bn1.bias": 0,
        "layer1.0.conv1.weight": 2,
        "layer1.0.bn1.weight": 3,
    }
    for end, value in ends.items():
        (name,) = [name for name in weights if name.endswith(end)]
        assert weights[name].eq(value).all()
    assert not [name for name in weights if "momentum" in name or "fc1000" in name]


@contract("utils.model_zoo.cache_url")
def test_cache_url(tmp_path: Path) -> None:
    source = tmp_path / "weights.pth"
    source.write_bytes(b"content")
    folder = tmp_path / "cache"
    path = cache_url(source.as_uri(), str(folder), progress=False)
    assert Path(path) == folder / "weights.pth"
    assert Path(path).read_bytes() == b"content"
    source.unlink()
    assert cache_url(source.as_uri(), str(folder)) == path


@contract(
    "utils.comm.get_world_size",
    "utils.comm.get_rank",
    "utils.comm.is_main_process",
    "utils.comm.synchronize",
    "utils.comm.all_gather",
    "utils.comm.reduce_dict",
)
def test_comm_of_one_process() -> None:
    """Of several, in tests/utils/test_comm.py."""
    assert (get_world_size(), get_rank(), is_main_process()) == (1, 0, True)
    synchronize()
    assert all_gather({"a": 1}) == [{"a": 1}]
    assert reduce_dict({"a": torch.tensor(2.0)}, average=True) == {"a": torch.tensor(2.0)}


@contract("utils.logger.setup_logger")
def test_setup_logger(tmp_path: Path) -> None:
    logger = setup_logger("contract", str(tmp_path), 0)
    assert logger.level == logging.DEBUG
    logger.info("hello")
    for handler in logger.handlers:
        handler.flush()
    line = (tmp_path / "log.txt").read_text()
    assert re.fullmatch(r"[\d\-]+ [\d:,]+ contract INFO: hello\n", line)
    setup_logger("contract.other", str(tmp_path), 1, filename="other.txt").info("from rank 1")
    assert not (tmp_path / "other.txt").exists()


@contract("utils.metric_logger.MetricLogger", "utils.metric_logger.SmoothedValue")
def test_metric_logger() -> None:
    meters = MetricLogger(delimiter="  ")
    for value in (1.0, 3.0, 2.0, 10.0):
        meters.update(loss=torch.tensor(value), lr=value)
    assert meters.loss.median == 2.0
    assert meters.loss.avg == meters.meters["loss"].global_avg == 4.0
    assert (meters.loss.total, meters.loss.count) == (16.0, 4)
    assert str(meters).split("  ")[0] == "loss: 2.0000 (4.0000)"
    series = SmoothedValue(window_size=2)
    for value in (1.0, 2.0, 3.0):
        series.update(value)
    assert (series.avg, series.global_avg) == (2.5, 2.0)


@contract("utils.imports.import_file", "utils.env.setup_environment")
def test_import_file_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "calls = []\ndef setup_environment():\n    calls.append(1)\n    print('set up')\n"
    )
    module = import_file("users.own", str(file))
    assert module.calls == []
    import_file("contract_own", str(file), make_importable=True)
    assert __import__("contract_own").calls == []
    setup_environment()
    monkeypatch.setenv("TORCH_DETECTRON_ENV_MODULE", str(file))
    setup_environment()
    monkeypatch.setenv("TORCH_DETECTRON_ENV_MODULE", str(tmp_path / "none.py"))
    with pytest.raises(ConfigError, match=r"none\.py"):
        setup_environment()


@contract("utils.collect_env.collect_env_info")
def test_collect_env_info() -> None:
    text = collect_env_info()
    assert "PyTorch version" in text
    assert "Pillow" in text


@contract(
    "utils.miscellaneous.mkdir",
    "utils.miscellaneous.save_config",
    "utils.miscellaneous.save_labels",
)
def test_miscellaneous(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    mkdir(str(folder))
    mkdir(str(folder))
    save_config(get_defaults(), str(folder / "config.yml"))
    assert "BASE_LR" in (folder / "config.yml").read_text()

    class Named:
        categories = {1: "fig", 7: "nut"}  # noqa: RUF012

    save_labels([Named()], str(folder))
    assert (folder / "labels.json").read_text().split() == [
        "{",
        '"1":',
        '"fig",',
        '"7":',
        '"nut"',
        "}",
    ]


@contract("utils.cv2_util", "utils.cv2_util.findContours")
def test_find_contours() -> None:
    mask = np.zeros((10, 12), dtype=np.uint8)
    mask[2:7, 3:9] = 1
    if importlib.util.find_spec("cv2") is None:
        with pytest.raises(MissingExtraError, match=r"maskrcnn-benchmark\[demo\]"):
            cv2_util.findContours(mask, 0, 2)
        return
    # RETR_EXTERNAL and CHAIN_APPROX_SIMPLE.
    (contour,), hierarchy = cv2_util.findContours(mask, 0, 2)
    assert sorted(map(tuple, contour[:, 0].tolist())) == [(3, 2), (3, 6), (8, 2), (8, 6)]
    assert hierarchy.shape == (1, 1, 4)


@contract("utils.timer.Timer", "utils.timer.get_time_str")
def test_timer() -> None:
    timer = Timer()
    timer.tic()
    assert timer.toc(average=False) >= 0
    timer.tic()
    assert timer.toc() == pytest.approx(timer.total_time / 2)
    assert get_time_str(3723.5).startswith("1:02:03")
