"""From a file of any dialect to one of ours, and straight to detections."""

import numpy as np
import pytest
import torch
from PIL import Image

from maskrcnn_benchmark.build.checkpointer import build_with_weights
from maskrcnn_benchmark.build.convert import convert_weights
from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.checkpoint.checkpointer import Checkpointer
from maskrcnn_benchmark.checkpoint.opening import open_file
from maskrcnn_benchmark.errors import CheckpointError, ConfigError
from maskrcnn_benchmark.predict import Predictor
from tests.checkpoint.detectron_files import to_blobs, write_as_python2
from tests.checkpoint.thin import config_of

NAME = "e2e_mask_rcnn_R_50_FPN_1x"


@pytest.fixture
def cfg(repository):
    cfg = config_of(repository, NAME)
    cfg.merge_from_list(
        [
            *("MODEL.DEVICE", "cpu", "INPUT.MIN_SIZE_TEST", 64, "INPUT.MAX_SIZE_TEST", 96),
            *("MODEL.ROI_BOX_HEAD.NUM_CLASSES", 4, "MODEL.ROI_HEADS.SCORE_THRESH", 0.0),
            *("MODEL.RPN.POST_NMS_TOP_N_TEST", 20, "MODEL.RPN.FPN_POST_NMS_TOP_N_TEST", 20),
        ]
    )
    return cfg


@pytest.fixture
def detectron_file(tmp_path, cfg):
    """A model with initial weights, as Detectron would have written it."""
    torch.manual_seed(3)
    path = tmp_path / "model_final.pkl"
    write_as_python2(path, {"blobs": to_blobs(build_model(cfg).state_dict(), fpn=True)})
    return path


def picture():
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 80, 3), np.uint8))


def test_a_detectron_file_becomes_one_file_that_predicts(tmp_path, cfg, detectron_file):
    done = convert_weights(detectron_file, tmp_path / "a.safetensors", cfg=cfg)
    assert (done.dialect, done.has_config, done.dropped) == ("caffe2", True, ())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "a.safetensors").rename(elsewhere / "a.safetensors")
    predictor = Predictor(elsewhere / "a.safetensors", score_threshold=0.0)
    direct = Predictor(detectron_file, config=cfg, score_threshold=0.0)
    found, expected = predictor(picture()), direct(picture())
    assert len(found) == len(expected) > 0
    assert np.array_equal(found.boxes, expected.boxes)
    assert np.array_equal(found.scores, expected.scores)
    manifest = open_file(elsewhere / "a.safetensors").rest["manifest"]
    assert manifest["numerics"] == "detectron"
    assert manifest["provenance"] == {"source": "model_final.pkl", "dialect": "caffe2"}
    assert manifest["preprocessing"]["MIN_SIZE_TEST"] == 64


def test_a_detector_without_a_configuration_is_told_from_its_weights(tmp_path, detectron_file):
    done = convert_weights(detectron_file, tmp_path / "a.pth")
    assert done.has_config
    opened = open_file(tmp_path / "a.pth")
    assert opened.converted.dialect == "native"
    assert "NUM_CLASSES: 4" in opened.rest["config"]
    predictor = Predictor(tmp_path / "a.pth", device="cpu")
    assert predictor.cfg.MODEL.BACKBONE.CONV_BODY == "R-50-FPN"
    assert predictor.cfg.MODEL.MASK_ON


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_without_heads_it_starts_training_for_other_classes(tmp_path, cfg, detectron_file, ending):
    path = tmp_path / f"start{ending}"
    done = convert_weights(detectron_file, path, cfg=cfg, drop_heads=True)
    assert len(done.dropped) == 6
    assert all("predictor" in name for name in done.dropped)
    assert not done.has_config
    other = cfg.clone()
    other.MODEL.ROI_BOX_HEAD.NUM_CLASSES = 9
    with pytest.raises(CheckpointError, match="The file has 3 classes"):
        build_with_weights(other, detectron_file)
    model, _ = build_with_weights(other, path)
    opened = open_file(detectron_file)
    name = "roi_heads.box.feature_extractor.fc6.weight"
    assert torch.equal(model.state_dict()[name], opened.converted.weights[name])
    with pytest.raises(CheckpointError, match="lacks 6 weights"):
        Predictor(path, config=other)


def test_the_backbone_alone_fits_any_detector_on_it(tmp_path, repository, detectron_file):
    done = convert_weights(detectron_file, tmp_path / "body.pth", backbone_only=True)
    assert not done.has_config
    names = list(open_file(tmp_path / "body.pth").converted.weights)
    assert all("layer" in name or "stem" in name for name in names)
    retinanet = config_of(repository, "retinanet/retinanet_R-50-FPN_1x")
    model, _ = build_with_weights(retinanet, tmp_path / "body.pth")
    match, _ = Checkpointer(model, save_to_disk=False).load_weights(tmp_path / "body.pth")
    assert all(key.startswith("backbone.body.") for key in match.pairs)


@pytest.mark.parametrize("drop_heads", [False, True])
def test_a_backbone_does_not_become_a_detector(tmp_path, cfg, drop_heads):
    """With the config of a detector, too: its other weights are not in the file."""
    state = build_model(cfg).backbone.body.state_dict()
    torch.save(state, tmp_path / "body.pth")
    path = tmp_path / "a.safetensors"
    done = convert_weights(tmp_path / "body.pth", path, cfg=cfg, drop_heads=drop_heads)
    assert not done.has_config
    written = open_file(path).converted.weights
    assert set(written) == {f"backbone.body.{name}" for name in state}
    with pytest.raises(CheckpointError, match="lacks"):
        Predictor(path)


def test_what_foreign_weights_need_survives_without_a_configuration(tmp_path):
    """A backbone of torchvision keeps its colours, its scale and its strides."""
    state = {
        "conv1.weight": torch.ones(4, 3, 7, 7),
        "bn1.weight": torch.ones(4),
        "bn1.running_var": torch.ones(4),
        "layer1.0.conv1.weight": torch.ones(4, 4, 1, 1),
        "fc.weight": torch.ones(10, 4),
    }
    torch.save(state, tmp_path / "resnet50.pth")
    before = open_file(tmp_path / "resnet50.pth").converted
    for ending in (".safetensors", ".pth"):
        convert_weights(tmp_path / "resnet50.pth", tmp_path / f"b{ending}")
        after = open_file(tmp_path / f"b{ending}").converted
        assert dict(after.settings) == dict(before.settings)
        assert after.is_detector is False
        assert set(after.weights) == set(before.weights)


def test_the_file_that_is_read_is_not_overwritten(tmp_path, cfg):
    path = tmp_path / "a.pth"
    torch.save({"model": build_model(cfg).state_dict(), "optimizer": {}}, path)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"a\.pth is the file that is read"):
        convert_weights(path, tmp_path / "." / "a.pth", cfg=cfg)
    assert path.read_bytes() == before


def test_wrong_words_are_explained(tmp_path, detectron_file, cfg):
    with pytest.raises(ConfigError, match=r"ends in \.safetensors or \.pth"):
        convert_weights(detectron_file, tmp_path / "a.onnx")
    deeper = cfg.clone()
    deeper.MODEL.BACKBONE.CONV_BODY = "R-101-FPN"
    with pytest.raises(CheckpointError, match=r"lacks \d+ weights of the network"):
        convert_weights(detectron_file, tmp_path / "a.pth", cfg=deeper)
    assert not (tmp_path / "a.pth").exists()


def test_words_go_on_top_of_what_the_file_says(tmp_path, cfg, detectron_file):
    path = tmp_path / "new" / "folder" / "a.safetensors"
    convert_weights(detectron_file, path, cfg=cfg, overrides=["INPUT.MIN_SIZE_TEST", "72"])
    words = ["INPUT.MAX_SIZE_TEST", "90"]
    convert_weights(path, tmp_path / "b.pth", overrides=words)
    predictor = Predictor(tmp_path / "b.pth")
    assert predictor.cfg.INPUT.MIN_SIZE_TEST == 72
    assert predictor.cfg.INPUT.MAX_SIZE_TEST == 90
    assert len(predictor.class_names) == 4
    with pytest.raises(ConfigError, match=r"INPUT\.MAX_SIZE_TEST 90 cannot be applied"):
        convert_weights(path, tmp_path / "c.pth", overrides=words, backbone_only=True)


def test_a_folder_that_cannot_be_made_is_named(tmp_path, detectron_file, cfg):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="its folder cannot be made"):
        convert_weights(detectron_file, tmp_path / "file" / "a.pth", cfg=cfg)


def test_names_of_another_number_of_classes_are_left_out(tmp_path, cfg, caplog):
    data = {"model": build_model(cfg).state_dict(), "class_names": ["__background__", "cat"]}
    torch.save({**data, "category_ids": [7], "numerics": "detectron"}, tmp_path / "a.pth")
    convert_weights(tmp_path / "a.pth", tmp_path / "b.safetensors", cfg=cfg)
    assert "names 2 classes (background included), its weights are for 4" in caplog.text
    assert Predictor(tmp_path / "b.safetensors").class_names[1:] == (
        "class 1",
        "class 2",
        "class 3",
    )
