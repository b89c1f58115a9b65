"""What a model must find in a file, by kind of file; and the table of what it found."""

import logging

import pytest
import torch
from torch import nn

from maskrcnn_benchmark.checkpoint.checkpointer import Checkpointer
from maskrcnn_benchmark.checkpoint.dialects.base import Converted
from maskrcnn_benchmark.checkpoint.opening import LoadedFile
from maskrcnn_benchmark.checkpoint.requirements import check_finite, is_class_layer
from maskrcnn_benchmark.errors import CheckpointError

LAYERS = {
    "backbone.body.stem.conv1": (4, 3),
    "backbone.fpn.fpn_inner1": (4, 4),
    "rpn.head.bbox_pred": (12, 4),
    "roi_heads.box.feature_extractor.fc6": (8, 4),
    "roi_heads.box.predictor.cls_score": (4, 8),
    "roi_heads.box.predictor.bbox_pred": (16, 8),
}
RETINANET = {
    "rpn.head.cls_tower.0": (4, 4),
    "rpn.head.cls_logits": (27, 4),
    "rpn.head.bbox_pred": (36, 4),
}


class Model(nn.Module):
    """Linear layers under the names of a detector's."""

    def __init__(self, layers):
        super().__init__()
        for name, (rows, columns) in layers.items():
            parent = self
            *path, last = name.split(".")
            for step in path:
                if not hasattr(parent, step):
                    parent.add_module(step, nn.Module())
                parent = getattr(parent, step)
            parent.add_module(last, nn.Linear(columns, rows))


def load(model, layers, *, is_detector=True, allow_mismatch=False):
    weights = {}
    for name, shape in layers.items():
        weights[f"{name}.weight"] = torch.ones(shape)
        weights[f"{name}.bias"] = torch.ones(shape[0])
    converted = Converted(dialect="caffe2", weights=weights, is_detector=is_detector)
    opened = LoadedFile(path="a.pkl", converted=converted, rest={})
    checkpointer = Checkpointer(model, save_to_disk=False)
    return checkpointer.load_weights(opened, allow_mismatch=allow_mismatch)[0]


def without(*names):
    return {name: shape for name, shape in LAYERS.items() if name not in names}


def test_class_layers_are_those_that_depend_on_the_classes():
    def chosen(layers):
        return [
            name for name in layers if is_class_layer(f"{name}.weight", Model(layers).state_dict())
        ]

    assert chosen(LAYERS) == list(LAYERS)[-2:]
    assert chosen(RETINANET) == ["rpn.head.cls_logits"]
    others = {"roi_heads.box.stages.1.predictor.bbox_pred": (8, 2)}
    others |= {"roi_heads.mask.predictor.mask_fcn_logits": (3, 2)}
    others |= {"roi_heads.keypoint.predictor.kps_score_lowres": (3, 2)}
    assert chosen(others) == list(others)


def test_a_detector_may_lack_its_class_layers_and_nothing_else():
    match = load(Model(LAYERS), without(*list(LAYERS)[-2:]))
    assert len(match.missing) == 4
    for name in list(LAYERS)[:-2]:
        with pytest.raises(CheckpointError) as error:
            load(Model(LAYERS), without(name))
        assert f"a.pkl lacks 2 weights of the network, the first is {name}.weight" in str(
            error.value
        )
        assert "maskrcnn convert --backbone-only IN OUT" in str(error.value)


def test_a_backbone_must_be_whole_and_may_lack_all_else():
    body = {"backbone.body.stem.conv1": (4, 3)}
    assert len(load(Model(LAYERS), body, is_detector=False).missing) == 10
    deeper = {**LAYERS, "backbone.body.layer1.0.conv1": (4, 4)}
    with pytest.raises(
        CheckpointError, match=r"the first is backbone\.body\.layer1\.0\.conv1\.weight"
    ):
        load(Model(deeper), body, is_detector=False)
    # Deformable convolutions find their offsets anew.
    deformable = {**LAYERS, "backbone.body.layer1.0.conv2.offset": (18, 4)}
    load(Model(deformable), body, is_detector=False)


def test_other_shapes_are_refused_outside_of_the_class_layers():
    wider = {**LAYERS, "roi_heads.box.feature_extractor.fc6": (16, 4)}
    for allow in (True, False):
        with pytest.raises(CheckpointError, match=r"fc6\.weight +\(8, 4\).* \(16, 4\)"):
            load(Model(LAYERS), wider, allow_mismatch=allow)


def test_other_classes_are_allowed_on_purpose_only(caplog):
    others = {**LAYERS, "roi_heads.box.predictor.cls_score": (81, 8)}
    others["roi_heads.box.predictor.bbox_pred"] = (324, 8)
    expected = "he file has 80 classes + background, the model 3 + background"
    with pytest.raises(CheckpointError) as error:
        load(Model(LAYERS), others)
    assert f"T{expected}" in str(error.value)
    match = load(Model(LAYERS), others, allow_mismatch=True)
    assert len(match.mismatched) == 4
    assert f"t{expected}: the layers of classes are trained anew" in caplog.text


def test_classes_of_retinanet_are_counted_by_anchor():
    others = {**RETINANET, "rpn.head.cls_logits": (720, 4)}
    with pytest.raises(
        CheckpointError, match=r"The file has 80 classes \+ background, the model 3"
    ):
        load(Model(RETINANET), others)


def test_boxes_for_each_class_and_for_all_alike_are_told_apart():
    agnostic = {**LAYERS, "roi_heads.box.predictor.bbox_pred": (8, 8)}
    with pytest.raises(CheckpointError, match=r"MODEL\.CLS_AGNOSTIC_BBOX_REG"):
        load(Model(LAYERS), agnostic)


def test_the_table_counts_by_part(caplog):
    with caplog.at_level(logging.INFO):
        load(Model(LAYERS), {**without("roi_heads.box.predictor.cls_score"), "other.layer": (1, 1)})
    lines = caplog.text.splitlines()
    heading = next(i for i, line in enumerate(lines) if "part of the model" in line)
    assert lines[heading].split("model")[-1].split() == [
        *("matched", "missing", "wrong", "shape", "unexpected"),
    ]
    rows = {line.split()[0]: line.split()[1:] for line in lines[heading + 1 : heading + 6]}
    assert rows == {
        "backbone.body": ["2", "0", "0", "0"],
        "backbone.fpn": ["2", "0", "0", "0"],
        "rpn.head": ["2", "0", "0", "0"],
        "roi_heads.box": ["4", "2", "0", "0"],
        "other": ["0", "0", "0", "2"],
    }


def test_on_a_terminal_the_table_is_drawn(monkeypatch, capsys):
    monkeypatch.setattr("maskrcnn_benchmark.checkpoint.table.is_watched", lambda: True)
    load(Model(LAYERS), LAYERS)
    output = capsys.readouterr().out
    assert "roi_heads.box" in output
    assert "┃" in output


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_numbers_are_refused(value: float) -> None:
    loaded = {"good": torch.ones(3), "count": torch.tensor(7), "bad": torch.tensor([0.0, value])}
    with pytest.raises(
        CheckpointError, match=r"run\.pth: 1 of its 3 weights .* the\s+first is bad"
    ):
        check_finite(loaded, source="run.pth")
    check_finite({"good": torch.ones(3)}, source="run.pth")
