"""The one door: what a file is, is told by its content; where the weights lie in it, too."""

import logging
import pickle

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from maskrcnn_benchmark.build.checkpointer import open_weights
from maskrcnn_benchmark.checkpoint import load
from maskrcnn_benchmark.checkpoint.dialects import DIALECTS, NAMES
from maskrcnn_benchmark.checkpoint.dialects.base import Converted
from maskrcnn_benchmark.checkpoint.opening import open_file, open_source
from maskrcnn_benchmark.config import get_defaults
from maskrcnn_benchmark.errors import CheckpointError, ConfigError

OURS = {"backbone.body.stem.conv1.weight": torch.ones(2), "rpn.head.conv.weight": torch.ones(3)}


def test_a_checkpoint_of_the_old_project(tmp_path):
    """Saved under DistributedDataParallel, with its optimizer."""
    data = {
        "model": {f"module.{name}": value for name, value in OURS.items()},
        "optimizer": {"state": {}, "param_groups": []},
        "scheduler": {"last_epoch": 90000, "milestones": [60000, 80000]},
        "iteration": 90000,
    }
    torch.save(data, tmp_path / "model_final.pth", _use_new_zipfile_serialization=False)
    opened = open_file(tmp_path / "model_final.pth")
    assert opened.converted.dialect == "legacy"
    assert opened.converted.is_detector
    assert dict(opened.converted.settings) == {"MODEL.NUMERICS": "detectron"}
    assert list(opened.converted.weights) == list(OURS)
    assert opened.rest["iteration"] == 90000
    assert set(opened.rest) == {"optimizer", "scheduler", "iteration"}


def test_a_checkpoint_of_this_package_says_what_it_needs(tmp_path):
    config = "INPUT:\n  TO_BGR255: false\n  PIXEL_STD: [0.5, 0.5, 0.5]\n"
    data = {"model": OURS, "numerics": "mmdet", "config": config}
    data["settings"] = {"MODEL.RETINANET.NMS_TH": 0.5}
    torch.save(data, tmp_path / "a.pth")
    converted = load(tmp_path / "a.pth")
    assert converted.dialect == "native"
    assert dict(converted.settings) == {
        "MODEL.NUMERICS": "mmdet",
        "MODEL.RETINANET.NMS_TH": 0.5,
        "INPUT.TO_BGR255": False,
        "INPUT.PIXEL_STD": (0.5, 0.5, 0.5),
    }
    # One of an earlier version, whose numerics were not settled; and a configuration that is none.
    del data["settings"]
    torch.save({**data, "numerics": "auto", "config": "{"}, tmp_path / "a.pth")
    assert load(tmp_path / "a.pth").settings == (("MODEL.NUMERICS", "detectron"),)


@pytest.mark.parametrize("place", ["model", "state_dict", "model_state_dict", None])
def test_weights_are_found_where_programs_put_them(tmp_path, place):
    torch.save({place: OURS, "epoch": 3} if place else OURS, tmp_path / "a.pth")
    opened = open_file(tmp_path / "a.pth")
    assert list(opened.converted.weights) == list(OURS)
    assert opened.rest == ({"epoch": 3} if place else {})


@pytest.mark.parametrize("place", ["model_state", "weights", "net", "state_dict_ema"])
def test_weights_are_found_where_other_programs_put_them(tmp_path, place):
    torch.save({"epoch": 3, "model": None, place: OURS}, tmp_path / "a.pth")
    assert list(load(tmp_path / "a.pth").weights) == list(OURS)


def test_weights_go_before_their_averages(tmp_path):
    averages = {name: value + 1 for name, value in OURS.items()}
    torch.save({"model_ema": averages, "state_dict": OURS}, tmp_path / "a.pth")
    found = load(tmp_path / "a.pth").weights
    assert all(torch.equal(found[name], OURS[name]) for name in OURS)


def test_a_weight_may_be_called_like_a_place(tmp_path):
    torch.save({"weights": torch.ones(2), "net.w": torch.ones(1)}, tmp_path / "a.pth")
    assert list(load(tmp_path / "a.pth").weights) == ["weights", "net.w"]


@pytest.mark.parametrize(
    "rename",
    [
        "module.{}",
        "_orig_mod.{}",
        "module._orig_mod.{}",
        "_orig_mod.module.{}",
        "model.{}",
        "model.detector._orig_mod.{}",
        "_fsdp_wrapped_module.{}",
    ],
)
def test_what_wrappers_put_into_names_is_taken_out(tmp_path, rename):
    torch.save({rename.format(name): value for name, value in OURS.items()}, tmp_path / "a.pth")
    converted = load(tmp_path / "a.pth")
    assert converted.dialect == "legacy"
    assert list(converted.weights) == list(OURS)


def test_a_compiled_part_has_its_own_names_again(tmp_path):
    state = {
        "backbone._orig_mod.body.stem.conv1.weight": torch.ones(1),
        "rpn.head.conv.weight": torch.ones(2),
    }
    torch.save(state, tmp_path / "a.pth")
    names = list(load(tmp_path / "a.pth").weights)
    assert names == ["backbone.body.stem.conv1.weight", "rpn.head.conv.weight"]


def test_averages_over_the_training_are_weights(tmp_path):
    model = torch.nn.ModuleDict({"rpn": torch.nn.ModuleDict({"head": torch.nn.Linear(2, 2)})})
    torch.save(AveragedModel(model).state_dict(), tmp_path / "a.pth")
    assert list(load(tmp_path / "a.pth").weights) == ["rpn.head.weight", "rpn.head.bias"]


def test_long_numbers_are_shortened(tmp_path):
    blobs = {"conv1_w": np.arange(6, dtype=np.longdouble).reshape(2, 3)}
    np.savez(tmp_path / "a.npz", **blobs)
    (weight,) = load(tmp_path / "a.npz").weights.values()
    assert weight.dtype == torch.float64
    assert weight.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_arrays_among_tensors_become_tensors(tmp_path):
    torch.save({"w": np.arange(3.0)}, tmp_path / "a.pth")
    assert torch.equal(load(tmp_path / "a.pth").weights["w"], torch.arange(3.0).double())


def test_names_of_ones_own_are_taken_as_they_are(tmp_path):
    torch.save({"mine.w": torch.ones(1)}, tmp_path / "a.pth")
    assert load(tmp_path / "a.pth") == Converted(
        dialect="unknown", weights={"mine.w": torch.ones(1)}, is_detector=False
    )


def test_counters_of_batches_are_not_reported_as_unused(tmp_path):
    names = ["conv1.weight", "bn1.num_batches_tracked", "layer1.0.conv1.weight", "fc.weight"]
    torch.save({name: torch.ones(4, 4, 1, 1) for name in names}, tmp_path / "resnet.pth")
    assert load(tmp_path / "resnet.pth").unused == ("fc.weight",)


def test_arrays_in_the_machines_other_byte_order(tmp_path):
    blobs = {"conv1_w": np.arange(6, dtype=">f4").reshape(2, 3)}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(blobs, 2))
    weights = load(tmp_path / "a.pkl").weights
    assert weights["backbone.body.stem.conv1.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_catalog_names_are_looked_up(tmp_path, monkeypatch, caplog):
    torch.save(OURS, tmp_path / "a.pth")
    found = open_source("catalog://mine/a", find_in_catalog=lambda name: str(tmp_path / "a.pth"))
    assert list(found.converted.weights) == list(OURS)
    with pytest.raises(CheckpointError, match="no catalog of models is known here"):
        load("catalog://mine/a")
    with pytest.raises(ConfigError, match=r"catalog://ImageNetPretrained/R-50' are not in"):
        open_weights(get_defaults(), "catalog://ImageNetPretrained/R-50")
    # What is in the cache needs no network.
    monkeypatch.setenv("TORCH_MODEL_ZOO", str(tmp_path))
    (tmp_path / "R-50.pkl").write_bytes(pickle.dumps({"conv1_w": np.ones(3)}, 2))
    with caplog.at_level(logging.INFO):
        opened = open_weights(get_defaults(), "catalog://ImageNetPretrained/MSRA/R-50")
    assert opened.converted.dialect == "caffe2"
    assert "holds weights of a backbone in the dialect of Detectron (Caffe2)" in caplog.text


def test_every_dialect_has_a_name_and_knows_nothing_of_an_empty_file():
    for dialect in DIALECTS:
        assert dialect.recognise({}) is False
        assert dialect.recognise({"weight": (1,)}) is False
    assert set(NAMES) >= {"native", "legacy"}


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("folder", "dialect"), [("goldens", "legacy"), ("goldens_d2", "detectron2")]
)
def test_recorded_models_are_recognised(shared, folder, dialect):
    cases = sorted((shared / "reference" / folder).glob("*/weights.npz"))
    assert len(cases) >= 5
    for path in cases:
        converted = load(path)
        assert converted.dialect == dialect, path
        assert converted.is_detector, path


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("class_names", {0: "cat"}),
        ("class_names", [["cat"]]),
        ("category_ids", ["x"]),
        ("keypoints", 17),
        ("keypoints", {"names": 17}),
        ("manifest", [1]),
    ],
)
def test_other_things_under_this_packages_words_are_not_used(tmp_path, caplog, key, value):
    torch.save({"model": OURS, key: value, "epoch": 3}, tmp_path / "a.pth")
    with caplog.at_level(logging.WARNING):
        assert open_file(tmp_path / "a.pth").rest == {"epoch": 3}
    assert f"under '{key}', found {value!r}; it is not used" in caplog.text
