import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maskrcnn_benchmark.config import get_defaults
from maskrcnn_benchmark.errors import ConfigError, DatasetError, ShapeError
from maskrcnn_benchmark.predict import Predictor
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.masks import decode_mask

from .conftest import CLASS_NAMES, MakeRun


def make_image(height: int = 60, width: int = 90, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (height // 10, width // 10, 3))
    return noise.astype(np.uint8).repeat(10, axis=0).repeat(10, axis=1)


def assert_same(first: Detections, second: Detections) -> None:
    np.testing.assert_array_equal(first.boxes, second.boxes)
    np.testing.assert_array_equal(first.scores, second.scores)
    assert first.masks == second.masks


def test_objects_come_in_original_pixels(make_run: MakeRun, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(make_image()).save(path)
    predictor = Predictor(make_run(), score_threshold=0.0)
    found = predictor(path)
    assert found.image_size == (60, 90)
    assert 0 < len(found) <= 8
    assert found.class_names == tuple(CLASS_NAMES)
    assert found.path == str(path)
    assert (found.boxes >= 0).all()
    assert (found.boxes[:, 2] <= 90).all()
    assert (found.boxes[:, 3] <= 60).all()
    assert (np.diff(found.scores) <= 0).all()
    assert found.dense_masks().shape == (len(found), 60, 90)


def test_every_kind_of_image_gives_the_same(make_run: MakeRun, tmp_path: Path) -> None:
    image = make_image()
    path = tmp_path / "a.png"
    Image.fromarray(image).save(path)
    predictor = Predictor(make_run(), score_threshold=0.0)
    expected = predictor(image)
    for source in (path, str(path), Image.fromarray(image)):
        assert_same(predictor(source), expected)


def test_an_image_gives_the_same_alone_and_among_others(make_run: MakeRun) -> None:
    predictor = Predictor(make_run(), score_threshold=0.0)
    images = [make_image(60, 90), make_image(90, 60, seed=1), make_image(60, 90, seed=2)]
    for image, found in zip(images, predictor(images), strict=True):
        assert_same(found, predictor(image))
    assert predictor([]) == []


SIZES = [(60, 90), (90, 60), (60, 92), (100, 40), (60, 90), (62, 90), (60, 90)]


def close(first: Detections, second: Detections) -> None:
    assert len(first) == len(second) > 0
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_allclose(first.boxes, second.boxes, atol=1e-4)
    np.testing.assert_allclose(first.scores, second.scores, atol=1e-5)
    assert first.image_size == second.image_size
    for a, b in zip(first.masks or (), second.masks or (), strict=True):
        assert np.mean(decode_mask(a) != decode_mask(b)) < 1e-3


@pytest.mark.parametrize("batch_size", [2, 3, 16])
def test_a_batch_of_unlike_sizes_gives_what_single_images_give(
    make_run: MakeRun, batch_size: int
) -> None:
    run = make_run()
    one_by_one = Predictor(run, score_threshold=0.0)
    batches = Predictor(run, score_threshold=0.0, batch_size=batch_size)
    images = [make_image(*size, seed=seed) for seed, size in enumerate(SIZES)]
    found = batches(images)
    for image, own in zip(images, found, strict=True):
        close(own, one_by_one(image))


def test_images_are_read_when_their_turn_comes(make_run: MakeRun) -> None:
    predictor = Predictor(make_run(), score_threshold=0.0, batch_size=2)
    read = []

    def images() -> Iterator[np.ndarray]:
        for seed in range(40):
            read.append(seed)
            yield make_image(60, 90, seed=seed)

    iterator = predictor.iterate(images())
    assert next(iterator)[0] == 0
    assert len(read) == 2
    iterator.close()


def test_bad_images_among_others_can_be_skipped(make_run: MakeRun, tmp_path: Path) -> None:
    predictor = Predictor(make_run(), batch_size=2)
    skipped: dict[int, str] = {}
    images = [make_image(), tmp_path / "absent.png", make_image(), np.zeros((2000, 1, 3), np.uint8)]
    found = dict(
        predictor.iterate(images, skipped=lambda index, error: skipped.update({index: str(error)}))
    )
    assert sorted(found) == [0, 2]
    assert sorted(skipped) == [1, 3]
    assert "absent.png" in skipped[1]


def test_test_time_augmentation_looks_again(make_run: MakeRun) -> None:
    run, image = make_run(), make_image()
    plain = Predictor(run, score_threshold=0.0)(image)
    augmented = Predictor(run, score_threshold=0.0, test_time_aug=True)
    first, second = augmented([image, make_image(90, 60)])
    assert second.image_size == (90, 60)
    assert len(first) > 0
    assert first.scores.tolist() != plain.scores.tolist()
    assert first.masks is not None
    sized = make_run("TEST.BBOX_AUG.SCALES", (64,), name="sized")
    scaled = Predictor(sized, score_threshold=0.0, test_time_aug=True)(image)
    assert scaled.scores.tolist() != first.scores.tolist()


def test_bfloat16_is_near(make_run: MakeRun) -> None:
    run, image = make_run(), make_image()
    expected = Predictor(run, score_threshold=0.0)(image)
    predictor = Predictor(run, score_threshold=0.0, dtype="bfloat16")
    weights = {name: value.dtype for name, value in predictor.network.named_parameters()}
    assert set(weights.values()) == {torch.bfloat16}
    found = predictor(image)
    assert found.boxes.dtype == np.float32
    assert found.masks is not None
    np.testing.assert_allclose(np.sort(found.scores)[-3:], np.sort(expected.scores)[-3:], atol=0.05)


def test_settings_that_do_not_go_together_are_refused(make_run: MakeRun) -> None:
    run = make_run()
    with pytest.raises(ConfigError, match="batch_size must be at least 1, got 0"):
        Predictor(run, batch_size=0)
    with pytest.raises(ConfigError, match="expected one of float32, bfloat16, float16"):
        Predictor(run, dtype="float64")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="float16 needs a GPU"):
        Predictor(run, dtype="float16", device="cpu")
    with pytest.raises(ConfigError, match="not compiled"):
        Predictor(run, compile=True, test_time_aug=True)
    with pytest.raises(ConfigError, match="at least 32 pixels a side, got 8"):
        Predictor(run, tile=8)
    with pytest.raises(ConfigError, match="overlap of tiles must be"):
        Predictor(run, tile=64, overlap=1.0)


@pytest.mark.slow
def test_one_compiled_graph_serves_all_sizes(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._dynamo.testing import CompileCounterWithBackend

    # The traced graph runs as it is: generating C++ takes minutes, and is torch's own affair.
    counter = CompileCounterWithBackend("aot_eager")
    compile_with = partial(torch.compile, backend=counter)
    monkeypatch.setattr(torch, "compile", compile_with)
    torch.compiler.reset()
    run = make_run()
    predictor = Predictor(run, score_threshold=0.0, compile=True)
    eager = Predictor(run, score_threshold=0.0)
    # Maps of one column, those of an image thinner than 65 pixels, would be a graph of their own.
    compiled = []
    for size in ((60, 90), (90, 60), (62, 90), (100, 80)):
        close(predictor(make_image(*size)), eager(make_image(*size)))
        compiled.append(counter.frame_count)
    assert compiled[0] > 0
    assert len(set(compiled)) == 1
    torch.compiler.reset()


def test_thresholds_decide_what_is_returned(make_run: MakeRun) -> None:
    run, image = make_run(), make_image()
    everything = Predictor(run, score_threshold=0.0)(image)
    threshold = float(np.median(everything.scores))
    some = Predictor(run, score_threshold=threshold)(image)
    assert some.scores.tolist() == [s for s in everything.scores.tolist() if s > threshold]
    assert len(Predictor(run, score_threshold=1.0)(image)) == 0
    larger = Predictor(run, score_threshold=0.0, mask_threshold=0.01)(image)
    assert larger.dense_masks().sum() > everything.dense_masks().sum()


def test_proposal_networks_find_objects_without_a_class(make_run: MakeRun) -> None:
    run = make_run("MODEL.RPN_ONLY", True, "MODEL.MASK_ON", False)
    found = Predictor(run, score_threshold=0.0)(make_image())
    assert len(found) > 0
    assert set(found.names) == {"object"}
    assert found.masks is None


@pytest.mark.parametrize("size", [(1, 1), (1, 100), (3, 400)])
def test_tiny_and_narrow_images_are_searched(make_run: MakeRun, size: tuple[int, int]) -> None:
    image = np.zeros((*size, 3), dtype=np.uint8)
    found = Predictor(make_run(), score_threshold=0.0)(image)
    assert found.image_size == size
    assert found.dense_masks().shape[1:] == size


def test_images_without_width_are_refused(make_run: MakeRun) -> None:
    predictor = Predictor(make_run())
    with pytest.raises(DatasetError, match="1x1000 pixels is too narrow"):
        predictor(np.zeros((1000, 1, 3), dtype=np.uint8))


def test_errors_say_which_image(make_run: MakeRun, tmp_path: Path) -> None:
    predictor = Predictor(make_run())
    with pytest.raises(ShapeError, match="image 1 of 2: an image array must be uint8"):
        predictor([make_image(), np.zeros((4, 4))])
    with pytest.raises(DatasetError, match="image 0 of 1: there is no image file"):
        predictor([tmp_path / "absent.jpg"])
    with pytest.raises(TypeError, match="image 0 of 1: an image must be a path"):
        predictor([3])  # type: ignore[list-item]


@pytest.mark.shared_data
@pytest.mark.parametrize(
    "case", ["mask_rcnn_R_50_FPN", "mask_rcnn_R_50_C4", "faster_rcnn_R_50_FPN"]
)
def test_recorded_weights_find_the_recorded_objects(
    shared: Path, repository: Path, tmp_path: Path, case: str
) -> None:
    folder = shared / "reference" / "goldens" / case
    recipe = json.loads((folder / "case.json").read_text())
    cfg = get_defaults()
    cfg.merge_from_file(repository / recipe["config"])
    cfg.merge_from_list([*recipe["overrides"], "MODEL.DEVICE", "cpu"])
    with np.load(folder / "weights.npz") as file:
        weights = {name: torch.from_numpy(file[name]) for name in file.files}
    torch.save({"model": weights}, tmp_path / "weights.pth")
    predictor = Predictor(tmp_path / "weights.pth", config=cfg, score_threshold=0.0)
    with np.load(folder / "inference.npz") as file:
        expected = {name: file[f"im0_{name}"] for name in ("orig_boxes", "scores", "labels")}
        masks = None
        if "im0_orig_masks_packed" in file.files:
            shape = file["im0_orig_masks_shape"]
            bits = np.unpackbits(file["im0_orig_masks_packed"])[: np.prod(shape)]
            masks = bits.reshape(shape)[:, 0].astype(bool)
    found = predictor(folder / "image0.png")
    order = np.argsort(-expected["scores"], kind="stable")
    assert len(found) == len(order)
    np.testing.assert_allclose(found.scores, expected["scores"][order], atol=1e-4)
    # Where scores are equal to the last bits the order may differ: match by label and place.
    dense = found.dense_masks() if masks is not None else None
    for index in order:
        same = found.labels == expected["labels"][index]
        distance = np.abs(found.boxes - expected["orig_boxes"][index]).max(axis=1)
        match = int(np.argmin(np.where(same, distance, np.inf)))
        assert distance[match] < 2e-2
        if masks is not None and dense is not None:
            differing = (dense[match] != masks[index]).sum()
            assert differing <= 0.01 * max(masks[index].sum(), 100)


@pytest.mark.parametrize("value", [-0.1, 50, float("nan"), "0.5", None])
@pytest.mark.parametrize("name", ["score_threshold", "mask_threshold"])
def test_thresholds_are_shares(make_run: MakeRun, name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be a number from 0 to 1, got"):
        Predictor(make_run(), **{name: value})  # type: ignore[arg-type]


def test_settings_name_the_weights_that_were_loaded(make_run: MakeRun) -> None:
    run = make_run()
    predictor = Predictor(run)
    before = predictor.settings
    # Training goes on meanwhile.
    (run / "model_0000100.pth").write_bytes((run / "model_final.pth").read_bytes())
    (run / "last_checkpoint").write_text("model_0000100.pth")
    assert predictor.settings == before
    assert before["weights"] == str(run / "model_final.pth")
    assert Predictor(run).settings != before


def test_an_iterator_is_no_image(make_run: MakeRun) -> None:
    predictor = Predictor(make_run())
    with pytest.raises(TypeError, match=r"as a list, or call iterate\(\)"):
        predictor(iter([make_image()]))  # type: ignore[call-overload]
