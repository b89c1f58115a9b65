import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from maskrcnn_benchmark.config import get_defaults
from maskrcnn_benchmark.errors import CheckpointError, ConfigError
from maskrcnn_benchmark.predict import loading
from maskrcnn_benchmark.predict.loading import find_classes, find_config, find_weights, load_model

from .conftest import CLASS_NAMES, MakeRun


def test_a_run_has_all_that_is_needed(make_run: MakeRun) -> None:
    model = load_model(make_run(), score_threshold=0.5)
    assert model.class_names == tuple(CLASS_NAMES)
    assert model.category_ids == {1: 7, 2: 3}
    assert model.device.type == "cpu"
    assert not model.network.training
    assert model.cfg.MODEL.ROI_HEADS.SCORE_THRESH == 0.05


def test_the_network_returns_what_the_threshold_lets_through(make_run: MakeRun) -> None:
    model = load_model(make_run(), score_threshold=0.01)
    assert model.cfg.MODEL.ROI_HEADS.SCORE_THRESH == 0.01


def test_a_checkpoint_alone_is_enough(make_run: MakeRun, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(make_run() / "model_final.pth", alone / "best.pth")
    model = load_model(alone / "best.pth", score_threshold=0.5)
    assert model.class_names == tuple(CLASS_NAMES)
    assert model.category_ids == {1: 1, 2: 2}


def test_a_given_configuration_comes_first(make_run: MakeRun) -> None:
    run = make_run()
    cfg = get_defaults()
    cfg.merge_from_file(run / "config.yml")
    cfg.INPUT.MIN_SIZE_TEST = 64
    cfg.freeze()
    assert load_model(run, config=cfg, score_threshold=0.5).cfg.INPUT.MIN_SIZE_TEST == 64
    assert cfg.is_frozen()
    other = run / "other.yml"
    other.write_text(cfg.dump())
    found = find_config(str(run / "model_final.pth"), other)
    assert found.INPUT.MIN_SIZE_TEST == 64


def test_weights_without_a_configuration_are_not_enough(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.zeros(1)}, tmp_path / "bare.pth")
    with pytest.raises(ConfigError, match=r"no config\.yml beside it; give the configuration"):
        load_model(tmp_path / "bare.pth", score_threshold=0.5)


def test_weights_of_a_part_are_refused(make_run: MakeRun) -> None:
    run = make_run()
    data = torch.load(run / "model_final.pth", weights_only=True)
    data["model"] = {key: value for key, value in data["model"].items() if "roi_heads" not in key}
    torch.save(data, run / "model_final.pth")
    with pytest.raises(CheckpointError, match=r"lacks \d+ weights of the network, .* roi_heads"):
        load_model(run, score_threshold=0.5)


def test_the_last_checkpoint_is_taken(tmp_path: Path) -> None:
    for name in ("model_final.pth", "model_0000100.pth", "model_0000200.pth"):
        (tmp_path / name).touch()
    (tmp_path / "last_checkpoint").write_text("elsewhere/model_0000100.pth")
    assert find_weights(tmp_path) == str(tmp_path / "model_0000100.pth")
    (tmp_path / "last_checkpoint").unlink()
    assert find_weights(tmp_path) == str(tmp_path / "model_final.pth")
    (tmp_path / "model_final.pth").unlink()
    assert find_weights(tmp_path) == str(tmp_path / "model_0000200.pth")
    assert find_weights("catalog://name") == "catalog://name"


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no checkpoint in the folder"):
        find_weights(tmp_path)
    with pytest.raises(CheckpointError, match=r"there is no checkpoint at .*absent\.pth"):
        load_model(tmp_path / "absent.pth", score_threshold=0.5)


def test_classes_are_named_by_the_checkpoint_then_by_the_labels(tmp_path: Path) -> None:
    labels = tmp_path / "labels.json"
    assert find_classes(None, labels, count=3)[0] == ("__background__", "class 1", "class 2")
    labels.write_text(json.dumps({"5": "a", "2": "b"}))
    assert find_classes(None, labels, count=3) == (("__background__", "a", "b"), {1: 5, 2: 2})
    # Names of the checkpoint count; ids only where the file speaks of the same classes.
    other = find_classes(["__background__", "b", "a"], labels, count=3)
    assert other == (("__background__", "b", "a"), {1: 1, 2: 2})
    assert find_classes(None, labels, count=1)[0] == ("__background__", "a", "b")


def test_damaged_labels_are_named(tmp_path: Path) -> None:
    labels = tmp_path / "labels.json"
    for text in ("[1]", "{", '{"a": "b"}'):
        labels.write_text(text)
        with pytest.raises(CheckpointError, match=r"labels\.json should map category ids"):
            find_classes(None, labels, count=3)


def test_a_retinanet_returns_what_the_threshold_lets_through(make_run: MakeRun) -> None:
    run = make_run(
        *("MODEL.RETINANET_ON", True, "MODEL.MASK_ON", False, "MODEL.RETINANET.NUM_CLASSES", 3),
        *("MODEL.BACKBONE.CONV_BODY", "R-18-FPN-RETINANET"),
    )
    model = load_model(run, score_threshold=0.01)
    assert model.cfg.MODEL.RETINANET.INFERENCE_TH == 0.01
    assert load_model(run, score_threshold=0.5).cfg.MODEL.RETINANET.INFERENCE_TH == 0.05


@pytest.mark.parametrize(("threshold", "is_said"), [(0.01, True), (0.5, False)])
def test_an_exported_model_says_that_it_was_made_for_a_higher_threshold(
    threshold: float,
    is_said: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    manifest = SimpleNamespace(classes=None, category_ids=None, keypoints=None)
    detector = SimpleNamespace(graph_input=SimpleNamespace(kind="tensor"))
    monkeypatch.setattr(loading, "open_exported", lambda path, device: detector)
    monkeypatch.setattr(loading, "manifest_of", lambda *_: manifest)
    monkeypatch.setattr(loading, "config_of", lambda *_: get_defaults())
    with caplog.at_level("WARNING", logger="maskrcnn_benchmark"):
        load_model("model.onnx", score_threshold=threshold)
    said = "model.onnx was exported to find what scores higher than 0.05" in caplog.text
    assert said == is_said
