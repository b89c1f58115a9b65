"""Detectron's names become ours, for every model that can be built; files load back to the source."""

import json
import pickle

import numpy as np
import pytest
import torch

from maskrcnn_benchmark.build.checkpointer import DetectronCheckpointer
from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.build.weight_settings import adapt_config
from maskrcnn_benchmark.checkpoint.checkpointer import Checkpointer
from maskrcnn_benchmark.checkpoint.dialects.caffe2 import find_last_blocks, rename_blob
from maskrcnn_benchmark.checkpoint.files import read_checkpoint
from maskrcnn_benchmark.checkpoint.matching import match_keys
from maskrcnn_benchmark.checkpoint.opening import load, open_file
from maskrcnn_benchmark.errors import CheckpointError
from tests.checkpoint.detectron_files import (
    detectron_name,
    group_norm_name,
    retinanet_name,
    to_blobs,
    write_as_python2,
)
from tests.checkpoint.thin import config_of, model_of

LAST = {"R-50": {2: 2, 3: 3, 4: 5, 5: 2}, "R-101": {2: 2, 3: 3, 4: 22, 5: 2}}
FAMILIES = {
    "mask_rcnn_R_50_FPN": "e2e_mask_rcnn_R_50_FPN_1x",
    "faster_rcnn_R_50_FPN": "e2e_faster_rcnn_R_50_FPN_1x",
    "mask_rcnn_R_50_C4": "e2e_mask_rcnn_R_50_C4_1x",
}


def loaded_and_kept(model, fpn, name_of):
    """Keys that a file of this model holds, and those that it does not."""
    keys = list(model.state_dict())
    held = [key for key in keys if name_of(key, fpn=fpn)]
    return held, [key for key in keys if key not in held]


@pytest.mark.parametrize(
    ("name", "name_of"),
    [
        ("e2e_mask_rcnn_R_50_FPN_1x", detectron_name),
        ("e2e_faster_rcnn_R_50_FPN_1x", detectron_name),
        ("e2e_faster_rcnn_R_50_C4_1x", detectron_name),
        ("e2e_mask_rcnn_R_50_C4_1x", detectron_name),
        ("e2e_keypoint_rcnn_R_50_FPN_1x", detectron_name),
        ("gn_baselines/e2e_mask_rcnn_R_50_FPN_Xconv1fc_1x_gn", group_norm_name),
        ("retinanet/retinanet_R-50-FPN_1x", retinanet_name),
    ],
)
def test_a_detector_comes_back_from_its_detectron_file(tmp_path, repository, name, name_of):
    cfg, fpn = config_of(repository, name), "FPN" in name
    source, model = model_of(cfg, 1), model_of(cfg, 2)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    blobs = to_blobs(source.state_dict(), fpn=fpn, name_of=name_of)
    write_as_python2(tmp_path / "model_final.pkl", {"blobs": blobs, "cfg": "MODEL: {}\n"})
    opened = open_file(tmp_path / "model_final.pkl")
    assert opened.converted.dialect == "caffe2"
    assert opened.converted.is_detector
    assert adapt_config(cfg, opened.converted) is cfg
    match, _ = Checkpointer(model, save_to_disk=False).load_weights(opened)
    held, kept = loaded_and_kept(model, fpn, name_of)
    assert not match.unexpected
    assert sorted(match.pairs) == sorted(held)
    expected, state = source.state_dict(), model.state_dict()
    assert all(torch.equal(state[key], expected[key]) for key in held)
    assert all(torch.equal(state[key], before[key]) for key in kept)
    assert all("anchor" in key or "running" in key for key in kept)


def test_a_deformable_stage_starts_from_an_ordinary_one(tmp_path, repository):
    plain = model_of(config_of(repository, "e2e_mask_rcnn_R_50_FPN_1x"), 1)
    body = {key: value for key, value in plain.state_dict().items() if "backbone.body" in key}
    write_as_python2(tmp_path / "R-50.pkl", to_blobs(body, fpn=True))
    model = model_of(config_of(repository, "dcn/e2e_mask_rcnn_mdconv_R_50_FPN_1x"), 2)
    match, _ = Checkpointer(model, save_to_disk=False).load_weights(tmp_path / "R-50.pkl")
    state = model.state_dict()
    name = "backbone.body.layer3.1.conv2"
    assert torch.equal(state[f"{name}.conv.weight"], body[f"{name}.weight"])
    assert f"{name}.offset.weight" in match.missing


def test_what_weights_of_detectron_need(tmp_path):
    def settings_of(**blobs):
        write_as_python2(tmp_path / "a.pkl", {k: np.ones(v, "f4") for k, v in blobs.items()})
        return dict(load(tmp_path / "a.pkl").settings)

    stem = {"conv1_w": (4, 3, 7, 7)}
    plain = {"res2_0_branch2a_w": (4, 4, 1, 1), "res2_0_branch2b_w": (4, 4, 3, 3)}
    grouped = {"res2_0_branch2a_w": (8, 4, 1, 1), "res2_0_branch2b_w": (8, 2, 3, 3)}
    assert settings_of(**stem, **plain)["MODEL.RESNETS.STRIDE_IN_1X1"] is True
    assert settings_of(**stem, **grouped)["MODEL.RESNETS.STRIDE_IN_1X1"] is False
    assert settings_of(**stem, **plain, conv1_gn_s=(4,))["MODEL.RESNETS.STRIDE_IN_1X1"] is False
    assert settings_of(**stem)["MODEL.NUMERICS"] == "detectron"
    assert settings_of(**stem)["INPUT.TO_BGR255"] is True


@pytest.mark.parametrize("name", ["e2e_mask_rcnn_R_50_FPN_1x", "e2e_faster_rcnn_R_50_C4_1x"])
def test_an_imagenet_body_loads_from_the_catalog(tmp_path, repository, monkeypatch, name):
    monkeypatch.setenv("TORCH_MODEL_ZOO", str(tmp_path))
    cfg = config_of(repository, name)
    source, model = model_of(cfg, 1), model_of(cfg, 2)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    expected = source.state_dict()
    body = {k: v for k, v in expected.items() if "backbone.body" in k or "layer4" in k}
    blobs = {k: v for k, v in to_blobs(body, fpn=False).items() if not k.endswith("_momentum")}
    unused = {"conv1_b": np.zeros(4), "fc1000_w": np.ones((10, 64)), "fc1000_b": np.ones(10)}
    write_as_python2(tmp_path / "R-50.pkl", blobs | unused)
    assert cfg.MODEL.WEIGHT == "catalog://ImageNetPretrained/MSRA/R-50"
    DetectronCheckpointer(cfg, model).load(cfg.MODEL.WEIGHT)
    in_file = [key for key in body if detectron_name(key, fpn=False)]
    assert any("layer4" in key for key in in_file)
    for key, value in model.state_dict().items():
        assert torch.equal(value, (expected if key in in_file else before)[key]), key


@pytest.mark.shared_data
@pytest.mark.parametrize("family", FAMILIES)
def test_every_blob_of_a_model_goes_where_it_belongs(shared, repository, family):
    table = json.loads((shared / "reference" / "c2_names.json").read_text())["expanded R-50"]
    rows = {blob: targets for blob, _, targets in table[family]}
    last = find_last_blocks(rows)
    assert last == LAST["R-50"]
    names = {blob: rename_blob(blob, last_blocks=last, blobs=rows) for blob in rows}
    with torch.device("meta"):
        keys = list(build_model(config_of(repository, FAMILIES[family])).state_dict())
    found = match_keys(keys, [name for name in names.values() if name is not None])
    for blob, targets in rows.items():
        reached = [key for key, name in found.items() if name == names[blob]]
        assert sorted(reached) == sorted(targets), blob


@pytest.mark.shared_data
@pytest.mark.parametrize("depth", LAST)
def test_every_pattern_of_names_is_known(shared, depth):
    tables = json.loads((shared / "reference" / "c2_names.json").read_text())["patterns"]
    checked = 0
    for group, rows in tables.items():
        if group.startswith(("deformable", "C4 heads", "any")):
            continue
        for row in rows:
            for blob, parameter in expand(row[0], row[2], LAST[depth]):
                name = rename_blob(blob, last_blocks=LAST[depth])
                checked += 1
                if parameter is None:
                    assert name is None, blob
                else:
                    assert f".{parameter}".endswith(f".{name}"), (blob, name, parameter)
    assert checked > 200


def expand(blob, parameter, last):
    """Write out {S}, {B}, {L}, {S-1}, {i} and {w|b}."""
    pairs = []
    fixed_stage = [5] if "res5_{L}" in blob else [2, 3, 4]
    stages = LAST["R-50"] if "{S}" in blob else fixed_stage
    if "lateral" in blob:
        stages = [2, 3, 4]
    for stage in stages if "res" in blob and "{" in blob else [2]:
        for number in range(last[stage] + 1) if "{B}" in blob else range(1, 5):
            for ending, word in (("w", "weight"), ("b", "bias")):
                values = {"{S}": stage, "{S-1}": stage - 1, "{B}": number, "{i}": number}
                values |= {"{L}": last[stage], "{w|b}": ending, "{weight|bias}": word}
                pair = [blob, parameter]
                for mark, value in values.items():
                    pair = [text and text.replace(mark, str(value)) for text in pair]
                pairs.append(tuple(pair))
    return sorted(set(pairs), key=str)


@pytest.mark.parametrize(
    "blob",
    [
        "res2_0_branch2a_w_momentum",
        "xconv1_w",
        "head_conv1_s",
        "head_conv_w",
        "_[mask]_fcn1_gn_w",
        "fpn_6_s",
        "retnet_cls_conv_n0_fpn4_w",
        "conv1_weight",
        "res6_0_branch2a_w",
        "res2_0_branch2a_s",
        "res2_0_branch2a_bn_w",
        "fpn_inner_res5_2_sum_lateral_w",
        "fpn_inner_res4_5_sum_w",
        "fpn_res4_4_sum_w",
        "fpn_inner_res4_22_sum_lateral_w",
        "weight",
        "",
    ],
)
def test_other_names_stand_for_nothing(blob):
    assert rename_blob(blob, last_blocks=LAST["R-50"]) is None


def test_a_name_takes_only_the_layer_it_belongs_to():
    keys = ["a.stem.conv1.weight", "backbone.body.stem.conv1.weight"]
    keys += ["backbone.body.layer1.0.conv1.weight", "rpn.head.conv.weight"]
    name = rename_blob("conv1_w", last_blocks={})
    assert list(match_keys(keys, [name])) == ["backbone.body.stem.conv1.weight"]


def test_what_is_left_out_is_logged(tmp_path, caplog):
    blobs = {"conv1_w": np.ones(3, ">f4"), "refine_mask_w": np.ones(2), "lr": 0.1}
    blobs["conv1_w_momentum"] = np.zeros(3)
    write_as_python2(tmp_path / "a.pkl", blobs)
    converted = load(tmp_path / "a.pkl")
    assert list(converted.weights) == ["backbone.body.stem.conv1.weight"]
    assert torch.equal(converted.weights["backbone.body.stem.conv1.weight"], torch.ones(3))
    assert set(converted.unused) == {"refine_mask_w", "conv1_w_momentum"}
    assert "1 arrays" in caplog.text
    assert "refine_mask_w" in caplog.text
    assert "momentum" not in caplog.text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([1, 2], "holds a list; .* of Detectron's weights"),
        ({"blobs": 3}, "holds a int"),
        ({"blobs": {}}, r"none of its 0 arrays \(none\)"),
        ({"model": {"backbone.res2.weight": np.ones(1)}}, "expected weights of .*detectron2"),
        ({"backbone.res2.weight": np.ones(1)}, r"none of its 1 arrays \(backbone\.res2\.weight\)"),
        ({"conv_rpn_w": np.ones(1), "conv_rpn_fpn2_w": np.ones(1)}, "both stand for rpn.head.conv"),
    ],
)
@pytest.mark.parametrize("name", ["a.pkl", "a.pth"])
def test_pickles_of_something_else_are_refused(tmp_path, data, message, name):
    (tmp_path / name).write_bytes(pickle.dumps(data, 2))
    with pytest.raises(CheckpointError, match=message) as error:
        read_checkpoint(tmp_path / name)
    assert name in str(error.value)


def test_a_torch_file_called_pkl_is_still_one_of_torch(tmp_path):
    for zipped in (True, False):
        path = tmp_path / "a.pkl"
        torch.save({"w": torch.ones(2)}, path, _use_new_zipfile_serialization=zipped)
        assert torch.equal(read_checkpoint(path)["model"]["w"], torch.ones(2))
