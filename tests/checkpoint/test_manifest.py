"""A `.safetensors` file says what its weights are, and what it says is checked."""

import json

import pytest
import torch
from safetensors import safe_open

from maskrcnn_benchmark.checkpoint.files import read_checkpoint, write_safetensors
from maskrcnn_benchmark.checkpoint.manifest import METADATA_KEY, Manifest
from maskrcnn_benchmark.checkpoint.opening import open_file
from maskrcnn_benchmark.errors import CheckpointError

WEIGHTS = {"roi_heads.box.predictor.cls_score.bias": torch.arange(3.0), "rpn.x": torch.ones(2, 2)}


def full():
    return Manifest(
        classes=["__background__", "cat", "dog"],
        category_ids=[17, 18],
        keypoints={"names": ["nose"]},
        numerics="detectron2",
        preprocessing={"PIXEL_MEAN": [1.0, 2.0, 3.0], "TO_BGR255": True},
        config="INPUT:\n  PIXEL_MEAN: [1.0, 2.0, 3.0]\n",
        metrics={"val": {"bbox": {"AP": 0.5}}},
        provenance={"source": "a.pkl"},
    )


def test_weights_and_manifest_come_back(tmp_path):
    path = tmp_path / "a.safetensors"
    write_safetensors(path, WEIGHTS, full())
    opened = open_file(path)
    assert opened.converted.dialect == "native"
    assert opened.converted.is_detector
    for name, value in WEIGHTS.items():
        assert torch.equal(opened.converted.weights[name], value)
    assert opened.rest["class_names"] == ["__background__", "cat", "dog"]
    assert opened.rest["category_ids"] == [17, 18]
    assert opened.rest["keypoints"] == {"names": ["nose"]}
    assert opened.rest["manifest"]["metrics"] == {"val": {"bbox": {"AP": 0.5}}}
    assert set(opened.rest["manifest"]["versions"]) == {"maskrcnn_benchmark", "torch"}
    assert dict(opened.converted.settings) == {
        "MODEL.NUMERICS": "detectron2",
        "INPUT.PIXEL_MEAN": (1.0, 2.0, 3.0),
    }
    # Any reader of safetensors sees the same.
    with safe_open(path, framework="pt") as file:
        assert set(file.keys()) == set(WEIGHTS)
        assert json.loads(file.metadata()[METADATA_KEY])["numerics"] == "detectron2"


def test_shared_and_channels_last_weights_are_written_one_by_one(tmp_path):
    shared = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    write_safetensors(tmp_path / "a.safetensors", {"box.w": shared, "mask.w": shared}, Manifest())
    found = read_checkpoint(tmp_path / "a.safetensors")["model"]
    assert torch.equal(found["box.w"], shared)
    assert torch.equal(found["mask.w"], shared)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "folder" / "a.safetensors"
    with pytest.raises(CheckpointError, match=r"could not write .*No such file"):
        write_safetensors(path, WEIGHTS, Manifest())
    write_safetensors(tmp_path / "a.safetensors", WEIGHTS, Manifest())
    with pytest.raises(TypeError, match="JSON"):
        write_safetensors(tmp_path / "a.safetensors", {}, Manifest(metrics={"a": object()}))
    assert len(read_checkpoint(tmp_path / "a.safetensors")["model"]) == 2
    assert [each.name for each in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_file_without_a_manifest_is_a_bare_state_dict(tmp_path):
    from safetensors.torch import save_file

    save_file({"w": torch.ones(1)}, tmp_path / "a.safetensors", metadata={"format": "pt"})
    opened = open_file(tmp_path / "a.safetensors")
    assert opened.rest == {}
    assert opened.converted.settings == ()


def test_the_content_decides_and_not_the_name(tmp_path):
    write_safetensors(tmp_path / "a.pth", WEIGHTS, full())
    assert open_file(tmp_path / "a.pth").rest["numerics"] == "detectron2"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "its manifest is not JSON"),
        ("[1]", "no table with a number under 'format'"),
        ('{"format": "1"}', "no table with a number under 'format'"),
        ('{"format": 1, "config": 3}', "'config' of its manifest should be a str or NoneType"),
        ('{"format": 1, "classes": [1, 2, 3]}', "the classes in its manifest should be names"),
    ],
)
def test_a_manifest_that_is_none_is_refused(tmp_path, text, message):
    from safetensors.torch import save_file

    save_file(WEIGHTS, tmp_path / "a.safetensors", metadata={METADATA_KEY: text})
    with pytest.raises(CheckpointError, match=message):
        open_file(tmp_path / "a.safetensors")


def test_keys_of_a_later_version_are_passed_over(tmp_path):
    from safetensors.torch import save_file

    text = json.dumps({"format": 1, "numerics": "mmdet", "colour": "red"})
    save_file(WEIGHTS, tmp_path / "a.safetensors", metadata={METADATA_KEY: text})
    assert open_file(tmp_path / "a.safetensors").rest["numerics"] == "mmdet"
