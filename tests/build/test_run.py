"""`train` and `test` on drawn pictures with a thin Mask R-CNN: files, order, errors."""

import errno
import json
import logging
import os
import signal

import pytest
import torch
from torch._dynamo.utils import counters

from maskrcnn_benchmark.build import run
from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.build.run_folder import LOGGER_NAME, check_writable, run_log
from maskrcnn_benchmark.checkpoint.files import read_checkpoint
from maskrcnn_benchmark.checkpoint.opening import open_file
from maskrcnn_benchmark.config import get_defaults
from maskrcnn_benchmark.engine.metric_writers import read_metrics
from maskrcnn_benchmark.errors import CheckpointError, ConfigError, DatasetError, TrainingError
from tests.build.toy_run import make_config, train


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of six iterations with a test in the middle; its folder, config and results."""
    folder = tmp_path_factory.mktemp("finished")
    cfg = make_config(
        folder,
        SOLVER__MAX_ITER=6,
        SOLVER__STEPS=(),
        SOLVER__TEST_PERIOD=4,
        TEST__EXPECTED_RESULTS=(("bbox", "AP", (0.5, 0.001)),),
    )
    return folder / "run", cfg, run.train(cfg)


def test_the_folder_holds_everything(finished):
    folder, _, _ = finished
    assert sorted(os.listdir(folder)) == [
        "config.yml",
        "environment.txt",
        "inference",
        "labels.json",
        "last_checkpoint",
        "metrics.jsonl",
        "model_0000004.pth",
        "model_final.pth",
        "model_final.safetensors",
        "train.log",
    ]
    tested = set(os.listdir(folder / "inference" / "toy_val"))
    assert tested >= {"predictions.pth", "bbox.json", "segm.json", "coco_results.pth"}


def test_the_config_in_the_folder_describes_the_same_run(finished):
    folder, cfg, _ = finished
    again = get_defaults()
    again.merge_from_file(folder / "config.yml")
    assert again == cfg


def test_the_model_file_is_enough_on_its_own(finished):
    folder, cfg, results = finished
    opened = open_file(folder / "model_final.safetensors")
    manifest = opened.rest["manifest"]
    assert manifest["metrics"]["toy_val"]["bbox"] == results["toy_val"].results["bbox"]
    assert manifest["config"] == cfg.dump()
    assert manifest["numerics"] == "detectron"
    assert len(manifest["classes"]) == cfg.MODEL.ROI_BOX_HEAD.NUM_CLASSES
    assert len(manifest["category_ids"]) == len(manifest["classes"]) - 1
    weights = read_checkpoint(folder / "model_final.pth")["model"]
    assert all(torch.equal(opened.converted.weights[key], weights[key]) for key in weights)


def test_a_run_goes_on_with_what_its_first_weights_needed(tmp_path, capsys):
    """A backbone trained on RGB from 0 to 1: training, resuming and testing all see such images."""
    cfg = make_config(tmp_path, SOLVER__MAX_ITER=1, SOLVER__STEPS=())
    start = "backbone.body."
    body = {
        key.removeprefix(start).removeprefix("stem."): value
        for key, value in build_model(cfg).state_dict().items()
        if key.startswith(start)
    }
    torch.save(body, tmp_path / "features.pth")
    cfg.defrost()
    cfg.MODEL.WEIGHT = str(tmp_path / "features.pth")
    run.train(cfg, skip_test=True)
    assert "INPUT.TO_BGR255: True -> False, as these weights (timm)" in capsys.readouterr().out
    assert "TO_BGR255: false" in (tmp_path / "run" / "config.yml").read_text()
    (tmp_path / "features.pth").unlink()
    cfg.SOLVER.MAX_ITER = 2
    run.train(cfg, skip_test=True)
    run.test(cfg)
    assert capsys.readouterr().out.count("TO_BGR255: True -> False, as these weights (this") == 2
    assert cfg.INPUT.TO_BGR255 is True


def test_environment_and_labels_are_kept(finished):
    folder, _, _ = finished
    assert f"PyTorch version: {torch.__version__}" in (folder / "environment.txt").read_text()
    labels = json.loads((folder / "labels.json").read_text())
    assert list(labels) == ["1", "2", "3", "4", "5"]


def test_the_checkpoint_stands_on_its_own(finished):
    folder, cfg, _ = finished
    data = read_checkpoint(folder / "model_final.pth")
    assert data["iteration"] == 6
    assert data["seed"] == cfg.SEED
    assert data["class_names"][0] == "__background__"
    assert len(data["class_names"]) == 6
    assert data["numerics"] == "detectron"
    again = get_defaults()
    again.merge_from_text(data["config"])
    assert again == cfg


def test_the_log_tells_the_story_in_order(finished):
    folder, _, _ = finished
    log = (folder / "train.log").read_text()
    story = [
        "Using 1 cpu processes",
        "No checkpoint found. Initializing model from scratch",
        "Collecting env info",
        "PyTorch version",
        "Running with config:",
        "Saving config into",
        "Start training",
        "Saving checkpoint to",
        "Start evaluation on toy_val [Validation] dataset(6 images).",
        "[Validation]: eta: 0:00:0",
        "iter: 6  loss: ",
        "Total training time",
        "Start evaluation on toy_val dataset(6 images).",
        "Task: bbox",
        "FAIL: bbox > AP sanity check",
    ]
    for text in story:
        before, found, log = log.partition(text)
        assert found, f"{text!r} does not come after:\n{before[-500:]}"


def test_records_hold_training_and_tests(finished):
    folder, _, _ = finished
    records = read_metrics(folder / "metrics.jsonl")
    assert [(each["kind"], each["iteration"]) for each in records] == [
        ("test", 4),
        ("test", 4),
        ("train", 5),
        ("train", 6),
    ]
    assert records[0]["dataset"] == "toy_val"
    assert records[0]["results"]["segm"]["AP"] >= 0
    names = {"loss", "loss_classifier", "loss_box_reg", "loss_mask"}
    assert names < set(records[1]["losses"])
    assert names < set(records[3])


def test_results_come_back_with_the_verdict(finished):
    _, _, results = finished
    assert list(results) == ["toy_val"]
    assert results["toy_val"].results["bbox"]["AP"] >= 0
    assert results["toy_val"].passed is False


def test_testing_later_gives_the_same_numbers(finished, monkeypatch):
    folder, cfg, results = finished
    before = (folder / "train.log").read_text()
    again = run.test(cfg)
    assert again["toy_val"].results == results["toy_val"].results
    given = run.test(cfg, checkpoint=str(folder / "model_final.pth"))
    assert given["toy_val"].results == results["toy_val"].results
    assert (folder / "train.log").read_text() == before


def test_testing_needs_nothing_of_the_training(finished, tmp_path):
    folder, cfg, trained = finished
    alone = cfg.clone()
    alone.defrost()
    alone.merge_from_list(["DATASETS.TRAIN", (), "SOLVER.MAX_ITER", 1, "OUTPUT_DIR", str(tmp_path)])
    alone.merge_from_list(["SOLVER.STEPS", (5, 7)])
    results = run.test(alone, checkpoint=str(folder / "model_final.pth"))
    assert results["toy_val"].results["bbox"] == trained["toy_val"].results["bbox"]


def test_a_finished_run_is_not_done_again(finished):
    folder, cfg, _ = finished
    before = (folder / "model_0000004.pth").stat().st_mtime_ns
    records = read_metrics(folder / "metrics.jsonl")
    assert run.train(cfg, skip_test=True) == {}
    assert (folder / "model_0000004.pth").stat().st_mtime_ns == before
    assert read_metrics(folder / "metrics.jsonl") == records


def test_tests_in_between_do_not_change_the_training(finished, tmp_path):
    folder, _, _ = finished
    run.train(make_config(tmp_path, SOLVER__MAX_ITER=6, SOLVER__STEPS=()), skip_test=True)
    one = read_checkpoint(folder / "model_final.pth")["model"]
    other = read_checkpoint(tmp_path / "run" / "model_final.pth")["model"]
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_training_starts_from_given_weights_even_for_other_classes(finished, tmp_path, capsys):
    folder, _, _ = finished
    cfg = make_config(
        tmp_path,
        MODEL__WEIGHT=str(folder / "model_final.pth"),
        MODEL__ROI_BOX_HEAD__NUM_CLASSES=7,
        SOLVER__MAX_ITER=1,
        SOLVER__STEPS=(),
    )
    run.train(cfg, skip_test=True)
    output = capsys.readouterr().out
    assert "weights have another shape in the file" in output
    assert "cls_score.weight" in output
    assert "saved at iteration 6; only its weights are used" in output
    assert "iter: 1  loss" in output


def test_a_run_can_be_started_over(finished, tmp_path):
    cfg = make_config(tmp_path, SOLVER__MAX_ITER=2, SOLVER__STEPS=())
    run.train(cfg, skip_test=True)
    run.train(cfg, skip_test=True, resume=False)
    assert (tmp_path / "run" / "train.log").read_text().count("iter: 2  loss") == 2


def test_classes_in_another_order_are_refused(finished, tmp_path):
    """Neither scored (AP 0, without a word) nor learned on top of what was learned."""
    folder, cfg, _ = finished
    other = cfg.clone()
    other.defrost()
    custom = {}
    for name, entry in cfg.DATASETS.CUSTOM.items():
        with open(entry["ann_file"]) as file:
            content = json.load(file)
        content["categories"].reverse()
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(content))
        custom[name] = {**entry, "ann_file": str(path)}
    other.merge_from_list(["DATASETS.CUSTOM", custom, "SOLVER.MAX_ITER", 8])
    message = (
        "label 1 is 'box' in .*model_final.pth, but 'paw' in .*the same classes in another order"
    )
    with pytest.raises(DatasetError, match=message):
        run.test(other, checkpoint=str(folder / "model_final.pth"))
    with pytest.raises(DatasetError, match=message):
        run.train(other)
    # The folder still describes the run that is in it.
    assert "MAX_ITER: 6" in (folder / "config.yml").read_text()


def test_another_model_in_the_folder_of_a_run_leaves_it_alone(tmp_path):
    run.train(make_config(tmp_path, SOLVER__MAX_ITER=1, SOLVER__STEPS=()), skip_test=True)
    before = (tmp_path / "run" / "config.yml").read_text()
    other = make_config(tmp_path, MODEL__ROI_BOX_HEAD__MLP_HEAD_DIM=24)
    with pytest.raises(CheckpointError, match="saved from a different model"):
        run.train(other)
    assert (tmp_path / "run" / "config.yml").read_text() == before


def test_mixed_precision_trains(tmp_path):
    cfg = make_config(tmp_path, DTYPE="bfloat16", SOLVER__MAX_ITER=2, SOLVER__STEPS=())
    results = run.train(cfg)
    assert "toy_val" in results
    weights = read_checkpoint(tmp_path / "run" / "model_final.pth")["model"]
    assert {value.dtype for value in weights.values() if value.is_floating_point()} == {
        torch.float32
    }


def test_a_loss_that_is_not_finite_names_the_images(tmp_path):
    cfg = make_config(tmp_path, SOLVER__BASE_LR=1e12, SOLVER__CLIP_GRAD_NORM=0.0)
    with pytest.raises(TrainingError) as error:
        run.train(cfg)
    assert "not finite" in str(error.value)
    assert "SOLVER.BASE_LR" in str(error.value)
    log = (tmp_path / "run" / "train.log").read_text()
    assert "Stopped by TrainingError" in log


def test_ctrl_c_ends_with_130_and_can_be_resumed(tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_code:
        train(tmp_path, kill_at=3, kill_with=signal.SIGINT)
    assert exit_code.value.code == 130
    assert "run the same command again" in capsys.readouterr().out
    run.train(make_config(tmp_path, SOLVER__MAX_ITER=4, SOLVER__STEPS=()), skip_test=True)
    log = (tmp_path / "run" / "train.log").read_text()
    assert f"Loading checkpoint from {tmp_path / 'run' / 'model_0000003.pth'}" in log


def test_cuda_on_a_machine_without_it_becomes_cpu_with_a_warning(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    device, remark = run.choose_device("cuda")
    assert device == torch.device("cpu")
    assert "MODEL.DEVICE is cuda, but torch finds no CUDA device" in remark
    assert run.choose_device("cpu") == (torch.device("cpu"), "")
    with pytest.raises(ConfigError, match="'gpu' is no device"):
        run.choose_device("gpu")


def test_an_output_folder_that_cannot_be_written_is_found_first(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"OUTPUT_DIR .*file/run' cannot be written"):
        check_writable(str(tmp_path / "file" / "run"))


def test_a_disk_that_fills_up_ends_the_run_with_a_message(tmp_path, monkeypatch):
    def describe(cfg):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run, "describe_run", describe)
    with pytest.raises(TrainingError, match=r"cannot be written: No space left .* Make room"):
        run.train(make_config(tmp_path))


def test_the_end_of_the_log_may_be_lost_on_a_full_disk(tmp_path, monkeypatch):
    close = logging.FileHandler.close

    def close_on_a_full_disk(handler):
        close(handler)
        raise OSError(errno.ENOSPC, "No space left on device")

    before = list(logging.getLogger(LOGGER_NAME).handlers)
    with run_log(str(tmp_path), rank=0):
        monkeypatch.setattr(logging.FileHandler, "close", close_on_a_full_disk)
    assert logging.getLogger(LOGGER_NAME).handlers == before


def test_runs_without_data_are_refused(tmp_path):
    cfg = get_defaults()
    cfg.OUTPUT_DIR = str(tmp_path)
    with pytest.raises(ConfigError, match=r"DATASETS\.TRAIN"):
        run.train(cfg)
    with pytest.raises(ConfigError, match=r"DATASETS\.TEST"):
        run.test(cfg)


def without_masks(content):
    del content["annotations"][0]["segmentation"]


def with_empty_masks(content):
    content["annotations"][0]["segmentation"] = []


def with_more_classes(content):
    content["categories"].append({"id": 99, "name": "more"})


def with_another_order(content):
    content["categories"].reverse()


def with_a_bad_box(content):
    content["annotations"][0]["bbox"] = [5, 5, 0, 0]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            without_masks,
            "annotation 1 .* has no segmentation, but masks are to be trained or scored",
        ),
        (with_empty_masks, "annotation 1 .* has no segmentation"),
        (with_more_classes, "'toy_val' has 6 categories"),
        (with_a_bad_box, "has no extent"),
        (with_another_order, "the same classes in another order"),
    ],
)
def test_mistakes_in_the_test_data_show_before_the_training(tmp_path, spoil, message):
    cfg = make_config(tmp_path)
    path = cfg.DATASETS.CUSTOM["toy_val"]["ann_file"]
    with open(path) as file:
        content = json.load(file)
    spoil(content)
    with open(path, "w") as file:
        json.dump(content, file)
    with pytest.raises(ValueError, match=message):  # DatasetError or ConfigError
        run.train(cfg)
    assert "Start training" not in (tmp_path / "run" / "train.log").read_text()


def test_expectations_of_what_is_not_measured_show_before_the_training(tmp_path):
    cfg = make_config(tmp_path, TEST__EXPECTED_RESULTS=(("bbox", "APX", (0.5, 0.1)),))
    with pytest.raises(ConfigError, match="'bbox' > 'APX' is not measured here"):
        run.train(cfg)
    assert "Start training" not in (tmp_path / "run" / "train.log").read_text()


def test_images_are_named_as_well_as_the_data_set_can():
    class Named:
        def get_img_info(self, index):
            return {"id": 7, "file_name": "a.jpg", "height": 3}

    assert run.describe_image(Named(), 0) == "a.jpg (id 7)"
    assert run.describe_image([], 3) == "number 3"


def test_the_log_is_closed_after_a_run(finished):
    logger = logging.getLogger("maskrcnn_benchmark")
    assert logger.handlers == []
    assert logger.propagate


def test_compiled_training_has_the_losses_of_eager_training(tmp_path):
    torch.compiler.reset()
    counters.clear()
    losses = {}
    for backend in ("", "aot_eager"):
        folder = tmp_path / (backend or "eager")
        train(
            folder,
            SOLVER__COMPILE=backend,
            SOLVER__MAX_ITER=1,
            SOLVER__STEPS=(),
            SOLVER__LOG_PERIOD=1,
            INPUT__MIN_SIZE_TRAIN=(64,),
        )
        records = read_metrics(folder / "run" / "metrics.jsonl")
        losses[backend] = [
            [value for name, value in record.items() if name.startswith("loss")]
            for record in records
        ]
    torch.compiler.reset()
    assert len(losses[""]) == 1
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]
    torch.testing.assert_close(losses["aot_eager"], losses[""], rtol=1e-3, atol=1e-4)
