import logging
import re

import pytest
import torch
from torch import nn

from maskrcnn_benchmark.checkpoint.matching import (
    align_and_update_state_dicts,
    load_exactly,
    load_state_dict,
    match_keys,
    strip_prefix_if_present,
)
from maskrcnn_benchmark.errors import CheckpointError


def test_the_longest_end_wins():
    model = ["backbone.body.layer1.0.conv1.weight", "backbone.body.stem.conv1.weight", "rpn.bias"]
    loaded = ["conv1.weight", "layer1.0.conv1.weight", "0.conv1.weight", "other.bias"]
    assert match_keys(model, loaded) == {
        "backbone.body.layer1.0.conv1.weight": "layer1.0.conv1.weight",
        "backbone.body.stem.conv1.weight": "conv1.weight",
    }


def test_ends_begin_after_a_dot():
    # The old project gave conv1.weight to a.xconv1.weight.
    assert match_keys(["a.xconv1.weight"], ["conv1.weight"]) == {}
    assert match_keys(["a.conv1.weight"], ["a.conv1.weight"]) == {
        "a.conv1.weight": "a.conv1.weight"
    }


def test_one_loaded_key_may_serve_several():
    found = match_keys(["box.head.w", "mask.head.w"], ["head.w"])
    assert found == {"box.head.w": "head.w", "mask.head.w": "head.w"}


def test_a_prefix_goes_only_if_all_names_have_it():
    one = torch.ones(1)
    assert strip_prefix_if_present({"module.a": one, "module.module.b": one}, "module.") == {
        "a": one,
        "module.b": one,
    }
    assert list(strip_prefix_if_present({"module.a": one, "b": one}, "module.")) == [
        "module.a",
        "b",
    ]
    assert strip_prefix_if_present({}, "module.") == {}


class Detector(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
        self.cls_score = nn.Linear(4, classes)


def test_weights_of_a_parallel_run_fit(caplog):
    source, target = Detector(), Detector()
    loaded = {f"module.{key}": value for key, value in source.state_dict().items()}
    with caplog.at_level(logging.DEBUG):
        match = load_state_dict(target, loaded)
    for key, value in target.state_dict().items():
        assert torch.equal(value, source.state_dict()[key])
    assert match.missing == match.unexpected == []
    assert "9 of 9 weights of the model loaded, 9 of 9 in the file used" in caplog.text
    assert re.search(
        r"body\.0\.weight +loaded from body\.0\.weight of shape \(2, 1, 3, 3\)", caplog.text
    )


def test_a_part_of_the_model_is_loaded_and_the_rest_named(caplog):
    target = Detector()
    before = target.cls_score.weight.clone()
    loaded = {"0.weight": torch.zeros(2, 1, 3, 3), "fc1000.weight": torch.zeros(1)}
    with caplog.at_level(logging.INFO):
        match = load_state_dict(target, loaded)
    assert torch.equal(target.body[0].weight, torch.zeros(2, 1, 3, 3))
    assert torch.equal(target.cls_score.weight, before)
    assert match.pairs == {"body.0.weight": "0.weight"}
    assert match.unexpected == ["fc1000.weight"]
    # Those of layers; the statistics of its norm are told apart.
    assert "5 weights of the model are not in the file" in caplog.text
    assert "3 statistics of norms and anchors are not in the file" in caplog.text
    assert "1 weights of the file have no place in the model (fc1000.weight)" in caplog.text


def test_memory_layout_stays_the_models():
    target = nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last)
    values = torch.randn(4, 4, 3, 3)
    load_state_dict(target, {"weight": values, "bias": torch.zeros(4)})
    assert target.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(target.weight, values)


def test_other_shapes_are_refused_with_a_table_of_all_of_them():
    target = Detector(classes=3)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        load_state_dict(target, Detector(classes=81).state_dict())
    lines = str(error.value).splitlines()
    assert re.fullmatch(r" +cls_score\.weight +\(3, 4\) +cls_score\.weight +\(81, 4\)", lines[2])
    assert re.fullmatch(r" +cls_score\.bias +\(3,\) +cls_score\.bias +\(81,\)", lines[3])
    for key, value in target.state_dict().items():
        assert torch.equal(value, before[key]), "nothing may have changed"


def test_other_shapes_can_be_left_as_they_are(caplog):
    source, target = Detector(classes=81), Detector(classes=3)
    before = target.cls_score.weight.clone()
    match = load_state_dict(target, source.state_dict(), allow_mismatch=True)
    assert list(match.mismatched) == ["cls_score.weight", "cls_score.bias"]
    assert torch.equal(target.cls_score.weight, before)
    assert torch.equal(target.body[0].weight, source.body[0].weight)
    assert "2 weights have another shape in the file" in caplog.text
    assert "(81, 4)" in caplog.text


def test_a_file_of_something_else_is_refused():
    with pytest.raises(CheckpointError, match=r"none of the 1 loaded weights \(gpt\.wte\)"):
        load_state_dict(Detector(), {"gpt.wte": torch.ones(1)})


def test_a_state_dict_can_be_updated_as_before():
    model_state = {"a.weight": torch.zeros(2), "a.bias": torch.zeros(1)}
    align_and_update_state_dicts(model_state, {"weight": torch.ones(2)})
    assert torch.equal(model_state["a.weight"], torch.ones(2))
    assert torch.equal(model_state["a.bias"], torch.zeros(1))


def test_exact_loading_wants_every_weight_by_its_own_name(caplog):
    source, target = Detector(), Detector()
    state = source.state_dict()
    load_exactly(target, {f"module.{k}": v for k, v in state.items()}, source="x.pth")
    assert torch.equal(target.cls_score.weight, source.cls_score.weight)
    assert caplog.text == ""

    load_exactly(target, {**state, "mask.weight": torch.ones(1)}, source="x.pth")
    assert "x.pth holds 1 weights that this model has no place for (mask.weight)" in caplog.text

    del state["body.0.weight"]
    with pytest.raises(CheckpointError, match=r"1 weights .* not in it \(body\.0\.weight\)"):
        load_exactly(target, state, source="x.pth")
    with pytest.raises(CheckpointError, match=r"x\.pth was saved from a different model"):
        load_exactly(Detector(classes=5), source.state_dict(), source="x.pth")


def test_counters_of_batches_are_not_reported(caplog):
    model = nn.ModuleDict({"conv": nn.Conv2d(3, 4, 1, bias=False)})
    loaded = {"conv.weight": torch.ones(4, 3, 1, 1), "bn.num_batches_tracked": torch.tensor(5)}
    with caplog.at_level(logging.INFO):
        match = load_state_dict(model, {**loaded, "fc.bias": torch.ones(2)})
    assert match.unexpected == ["fc.bias"]
    assert "num_batches_tracked" not in caplog.text
