"""COCODemo: what it finds is what the network found, and what it draws is where it was found."""

from __future__ import annotations

import inspect
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.errors import ConfigError, ShapeError
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.predict import Predictor
from maskrcnn_benchmark.predict.loading import find_config
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.keypoint import Keypoints, PersonKeypoints
from tests.demo.demo_modules import predictor
from tests.legacy.thin_configs import thin_config

COCODemo = predictor.COCODemo
WIDTH, HEIGHT = 160, 120
GREY = 90


def config(folder: Path, name: str = "mask", **changes: Any) -> Config:
    own = {
        "MODEL.WEIGHT": "",
        "OUTPUT_DIR": str(folder),
        "INPUT.MIN_SIZE_TEST": 96,
        "INPUT.MAX_SIZE_TEST": 200,
        **{key.replace("__", "."): value for key, value in changes.items()},
    }
    return thin_config(name, **own)


def checkpoint(cfg: Config, path: Path, *, seed: int = 1, **about: Any) -> Path:
    torch.manual_seed(seed)
    weights = build_detection_model(cfg).state_dict()
    torch.save({"model": weights, "config": cfg.dump(), **about}, path)
    return path


def picture(height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> Any:
    """Smooth patches of colour (height, width, 3)."""
    coarse = torch.randint(0, 256, (1, 3, 6, 8), generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.interpolate(coarse.float(), size=(height, width), mode="bilinear")
    return smooth[0].permute(1, 2, 0).byte().numpy()


def grey() -> Any:
    return np.full((HEIGHT, WIDTH, 3), GREY, dtype=np.uint8)


def boxes(*corners: tuple[float, float, float, float], labels: list[int] | None = None) -> BoxList:
    result = BoxList(torch.tensor(corners).reshape(-1, 4), (WIDTH, HEIGHT))
    result.add_field("labels", torch.tensor(labels or [1] * len(corners)))
    result.add_field("scores", torch.linspace(0.9, 0.8, len(corners)))
    return result


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.manual_seed(0)
    return COCODemo(config(tmp_path_factory.mktemp("demo")), confidence_threshold=0.0)


# The old face


def test_the_signature_is_the_old_one() -> None:
    parameters = inspect.signature(COCODemo).parameters
    assert {name: each.default for name, each in parameters.items() if name != "cfg"} == {
        "confidence_threshold": 0.7,
        "show_mask_heatmaps": False,
        "masks_per_dim": 2,
        "min_image_size": 224,
        "weight_loading": None,
    }
    assert (
        str(inspect.signature(predictor.vis_keypoints))
        .replace("'", "")
        .startswith("(img: Pixels, kps: NDArray[Any], kp_thresh: float = 2, alpha: float = 0.7")
    )


def test_public_attributes(demo: Any) -> None:
    assert len(COCODemo.CATEGORIES) == 81
    assert [COCODemo.CATEGORIES[i] for i in (0, 1, 17, 80)] == [
        "__background",
        "person",
        "dog",
        "toothbrush",
    ]
    assert not demo.model.training
    assert demo.device == torch.device("cpu")
    assert demo.palette.tolist() == [2**25 - 1, 2**15 - 1, 2**21 - 1]
    assert (demo.masks_per_dim, demo.show_mask_heatmaps) == (2, False)
    assert demo.masker.threshold == 0.5
    assert demo.cfg.INPUT.MIN_SIZE_TEST == demo.min_image_size == 96


def test_the_callers_config_stays_as_it_is(tmp_path: Path) -> None:
    cfg = config(tmp_path)
    before = cfg.dump()
    demo = COCODemo(cfg, min_image_size=64)
    assert cfg.dump() == before
    assert not cfg.is_frozen()
    assert demo.cfg.INPUT.MIN_SIZE_TEST == 64


# What goes into the network


def test_input_is_bgr_less_the_mean(demo: Any) -> None:
    image = np.empty((96, 96, 3), dtype=np.uint8)
    image[:] = (10, 100, 200)
    tensor = demo.transforms(image)
    expected = torch.tensor([10.0, 100, 200]) - torch.tensor([102.9801, 115.9465, 122.7717])
    torch.testing.assert_close(tensor[:, 50, 50], expected)


def test_input_without_bgr255_is_rgb_from_0_to_1(tmp_path: Path) -> None:
    demo = COCODemo(
        config(
            tmp_path,
            INPUT__TO_BGR255=False,
            INPUT__PIXEL_MEAN=(0.5, 0.5, 0.5),
            INPUT__PIXEL_STD=(0.5, 0.5, 0.5),
        )
    )
    image = np.empty((96, 96, 3), dtype=np.uint8)
    image[:] = (0, 51, 255)
    torch.testing.assert_close(demo.transforms(image)[:, 5, 5], torch.tensor([1.0, -0.6, -1.0]))


@pytest.mark.parametrize(
    ("given", "side"),
    [
        ({}, 96),
        ({"min_image_size": None}, 96),
        ({"min_image_size": 64}, 64),
        ({"min_image_size": 224}, 150),
    ],
)
def test_min_image_size_is_the_short_side_unless_left_out(
    tmp_path: Path, given: dict[str, Any], side: int
) -> None:
    """224 given on purpose counts; here the long side's limit of 200 stops it at 150."""
    demo = COCODemo(config(tmp_path), **given)
    assert demo.min_image_size == given.get("min_image_size") or 96
    assert min(demo.transforms(picture()).shape[1:]) == side


# What comes out


def test_prediction_is_what_the_network_found_in_pixels_of_the_image(demo: Any) -> None:
    image = picture()
    found = demo.compute_prediction(image)
    with torch.no_grad():
        raw = demo.model([demo.transforms(image)])[0]
    assert len(found) == len(raw) > 2
    assert found.size == (WIDTH, HEIGHT)
    torch.testing.assert_close(found.bbox, raw.bbox * (HEIGHT / 96))
    torch.testing.assert_close(found.get_field("scores"), raw.get_field("scores"))
    masks = found.get_field("mask")
    assert masks.shape == (len(found), 1, HEIGHT, WIDTH)
    assert masks.dtype == torch.bool


def test_it_finds_what_predictor_finds(tmp_path: Path) -> None:
    cfg = config(tmp_path)
    path = checkpoint(cfg, tmp_path / "model.pth")
    cfg.MODEL.WEIGHT = str(path)
    image = picture()
    demo = COCODemo(cfg, confidence_threshold=0.1)
    ours = demo.select_top_predictions(demo.compute_prediction(image))
    theirs = Predictor(path, score_threshold=0.1)(image[..., ::-1])
    assert len(ours) > 2
    np.testing.assert_allclose(ours.bbox.numpy(), theirs.boxes, atol=1e-3)
    np.testing.assert_array_equal(ours.get_field("labels").numpy(), theirs.labels)
    np.testing.assert_array_equal(ours.get_field("mask").numpy()[:, 0], theirs.dense_masks())


def test_weights_bring_their_numerics_and_names(tmp_path: Path) -> None:
    cfg = config(tmp_path, MODEL__NUMERICS="detectron2")
    names = ["__background__", "nut", "fig", "date"]
    path = checkpoint(cfg, tmp_path / "model.pth", class_names=names, numerics="detectron2")
    plain = config(tmp_path, MODEL__WEIGHT=str(path))
    demo = COCODemo(plain, confidence_threshold=0.1)
    assert demo.cfg.MODEL.NUMERICS == "detectron2"
    assert (demo.masker.style, demo.masker.padding) == ("grid", 0)
    assert list(demo.CATEGORIES) == names
    assert COCODemo.CATEGORIES[1] == "person"
    image = picture()
    ours = demo.select_top_predictions(demo.compute_prediction(image))
    theirs = Predictor(path, score_threshold=0.1)(image[..., ::-1])
    np.testing.assert_allclose(ours.bbox.numpy(), theirs.boxes, atol=1e-3)
    np.testing.assert_array_equal(ours.get_field("mask").numpy()[:, 0], theirs.dense_masks())


def test_weights_of_torchvision(tmp_path: Path) -> None:
    torch.manual_seed(0)
    backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=None)
    theirs = MaskRCNN(backbone, num_classes=91).state_dict()
    # Scores that differ.
    theirs["roi_heads.box_predictor.cls_score.weight"] *= 30
    path = tmp_path / "torchvision.pth"
    torch.save(theirs, path)
    cfg = find_config(str(path))
    sizes = ["INPUT.MIN_SIZE_TEST", 96, "INPUT.MAX_SIZE_TEST", 200]
    cfg.merge_from_list(["MODEL.WEIGHT", str(path), "OUTPUT_DIR", str(tmp_path), *sizes])
    cfg.MODEL.DEVICE = "cpu"
    demo = COCODemo(cfg, confidence_threshold=0.1)
    assert demo.cfg.MODEL.NUMERICS == "torchvision"
    # Their labels are COCO's ids.
    assert [demo.CATEGORIES[i] for i in (1, 12, 13, 18, 90)] == [
        "person",
        "class 12",
        "stop sign",
        "dog",
        "toothbrush",
    ]
    image = picture()
    found = demo.select_top_predictions(demo.compute_prediction(image))
    expected = Predictor(path, config=cfg, score_threshold=0.1)(image[..., ::-1])
    assert len(found) == len(expected) > 2
    np.testing.assert_allclose(found.bbox.numpy(), expected.boxes, atol=1e-2)
    np.testing.assert_array_equal(found.get_field("mask").numpy()[:, 0], expected.dense_masks())


def test_categories_of_the_users_own_win(tmp_path: Path) -> None:
    class Mine(COCODemo):  # type: ignore[misc, valid-type]
        CATEGORIES = ("__background", "thing")

    cfg = config(tmp_path)
    cfg.MODEL.WEIGHT = str(checkpoint(cfg, tmp_path / "model.pth", class_names=["b", "x"]))
    assert Mine(cfg).CATEGORIES == ("__background", "thing")


def test_weight_loading_comes_on_top(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg = config(tmp_path)
    first = checkpoint(cfg, tmp_path / "first.pth", seed=1)
    second = checkpoint(cfg, tmp_path / "second.pth", seed=2)
    cfg.MODEL.WEIGHT = str(first)
    demo = COCODemo(cfg, weight_loading=second)
    assert f"Loading weight from {second}." in capsys.readouterr().out
    expected = torch.load(second, weights_only=True)["model"]
    for name, value in demo.model.state_dict().items():
        torch.testing.assert_close(value, expected[name])


def test_the_folders_last_checkpoint_goes_before_weight(tmp_path: Path) -> None:
    cfg = config(tmp_path)
    last = checkpoint(cfg, tmp_path / "model_0000010.pth", seed=3)
    (tmp_path / "last_checkpoint").write_text(str(last))
    cfg.MODEL.WEIGHT = str(tmp_path / "is-not-there.pth")
    demo = COCODemo(cfg)
    expected = torch.load(last, weights_only=True)["model"]["rpn.head.conv.weight"]
    torch.testing.assert_close(demo.model.state_dict()["rpn.head.conv.weight"], expected)


def test_random_weights_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        COCODemo(config(tmp_path))
    assert "what is found is noise" in caplog.text


def test_top_predictions_are_strictly_above_the_threshold_best_first(tmp_path: Path) -> None:
    found = boxes((0, 0, 5, 5), (1, 1, 6, 6), (2, 2, 7, 7))
    found.add_field("scores", torch.tensor([0.75, 0.5, 0.875]))
    demo = COCODemo(config(tmp_path), confidence_threshold=0.5)
    assert demo.select_top_predictions(found).get_field("scores").tolist() == [0.875, 0.75]


# Drawing


def test_colors_are_the_old_ones(demo: Any) -> None:
    colors = demo.compute_colors_for_labels(torch.tensor([0, 1, 80]))
    assert colors.dtype == np.uint8
    expected = [[k * p % 255 for p in (2**25 - 1, 2**15 - 1, 2**21 - 1)] for k in (0, 1, 80)]
    assert colors.tolist() == expected


def test_boxes_are_one_pixel_wide_with_truncated_corners(demo: Any) -> None:
    image = grey()
    found = boxes((20.9, 30.2, 60.99, 80.5), (140, 100, 160, 120.7), labels=[1, 2])
    returned = demo.overlay_boxes(image, found)
    assert returned is image
    expected = grey()
    first, second = ([k * p % 255 for p in (2**25 - 1, 2**15 - 1, 2**21 - 1)] for k in (1, 2))
    expected[30, 20:61] = expected[80, 20:61] = first
    expected[30:81, 20] = expected[30:81, 60] = first
    # What lies outside is drawn along the picture's edge.
    expected[100, 140:] = expected[119, 140:] = second
    expected[100:, 140] = expected[100:, 159] = second
    np.testing.assert_array_equal(image, expected)


def test_boxes_that_are_hardly_any(demo: Any) -> None:
    """Narrower than a pixel (inclusive corners), or of a network that has gone astray."""
    nan, infinite = float("nan"), float("inf")
    image = demo.overlay_boxes(
        grey(), boxes((20.2, 30.2, 19.9, 30.1), (nan, nan, nan, nan), (50, 5, infinite, -infinite))
    )
    drawn = np.argwhere((image != GREY).any(axis=2)).tolist()
    assert drawn == [[0, 0], *[[5, x] for x in range(50, WIDTH)], [30, 20]]


def test_outlines_of_masks_are_three_pixels_wide_around_holes_too(demo: Any) -> None:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[20:100, 0:70] = True
    mask[50:70, 30:45] = False
    found = boxes((0, 20, 69, 99))
    found.add_field("mask", torch.from_numpy(mask)[None, None])
    image = demo.overlay_mask(grey(), found)
    drawn = (image != GREY).any(axis=2)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]

    def ring(top: int, bottom: int, left: int, right: int) -> Any:
        """Pixels at most one away from the border of a rectangle, which belongs to it."""
        outer = (
            (rows >= top - 1)
            & (rows <= bottom + 1)
            & (columns >= left - 1)
            & (columns <= right + 1)
        )
        inner = (
            (rows > top + 1) & (rows < bottom - 1) & (columns > left + 1) & (columns < right - 1)
        )
        return outer & ~inner

    # The hole's border are the pixels of the object around it, without the corners, which touch it nowhere.
    hole = ring(49, 70, 29, 45) & ~_corners_of(rows, columns, 49, 70, 29, 45)
    np.testing.assert_array_equal(drawn, ring(20, 99, 0, 69) | hole)


def _corners_of(rows: Any, columns: Any, top: int, bottom: int, left: int, right: int) -> Any:
    """The outermost pixel at each corner of a ring."""
    return np.isin(rows, (top - 1, bottom + 1)) & np.isin(columns, (left - 1, right + 1))


def test_an_empty_mask_draws_nothing(demo: Any) -> None:
    found = boxes((0, 0, 9, 9))
    found.add_field("mask", torch.zeros(1, 1, HEIGHT, WIDTH, dtype=torch.bool))
    np.testing.assert_array_equal(demo.overlay_mask(grey(), found), grey())


@pytest.mark.parametrize("corner", [(40.0, 60.0), (0.0, 0.0), (150.0, 119.0)])
def test_names_are_white_at_the_corner_and_inside_the_picture(
    demo: Any, corner: tuple[float, float]
) -> None:
    image = demo.overlay_class_names(grey(), boxes((*corner, 159, 119)))
    white = np.argwhere((image > 200).all(axis=2))
    assert len(white) > 60  # "person: 0.90"
    (top, left), (bottom, right) = white.min(axis=0), white.max(axis=0)
    assert 8 <= bottom - top <= 20
    assert 60 <= right - left <= 110
    if corner == (40.0, 60.0):
        assert 38 <= left <= 44
        assert 55 <= bottom <= 63


def test_a_label_beyond_the_names_has_its_number(demo: Any) -> None:
    one = demo.overlay_class_names(grey(), boxes((5, 60, 99, 99), labels=[123]))
    other = demo.overlay_class_names(grey(), boxes((5, 60, 99, 99), labels=[124]))
    assert (one != other).any()
    assert demo._name_of(123) == "class 123"


def test_the_whole_picture(demo: Any) -> None:
    image = picture()
    before = image.copy()
    drawn = demo.run_on_opencv_image(image)
    np.testing.assert_array_equal(image, before)
    assert (drawn.shape, drawn.dtype) == (image.shape, np.uint8)
    found = demo.select_top_predictions(demo.compute_prediction(image))
    expected = demo.overlay_class_names(
        demo.overlay_mask(demo.overlay_boxes(before, found), found), found
    )
    np.testing.assert_array_equal(drawn, expected)


# Heat maps


def test_jet_runs_from_dark_blue_to_dark_red() -> None:
    assert predictor.JET[[0, 64, 128, 191, 255]].tolist() == [
        [128, 0, 0],
        [255, 128, 0],
        [126, 255, 130],
        [0, 128, 255],
        [0, 0, 128],
    ]


def test_jet_is_opencvs() -> None:
    cv2 = pytest.importorskip("cv2")
    ramp = np.arange(256, dtype=np.uint8)[:, None]
    expected = cv2.applyColorMap(ramp, cv2.COLORMAP_JET)[:, 0]
    np.testing.assert_allclose(predictor.JET.astype(int), expected, atol=1)


def test_montage_shows_the_values(demo: Any) -> None:
    found = boxes((0, 0, 9, 9), (0, 0, 9, 9), (0, 0, 9, 9))
    heat = torch.zeros(3, 1, HEIGHT, WIDTH, dtype=torch.uint8)
    for index, value in enumerate((40, 130, 250)):
        heat[index, 0, 20:80, 40:100] = value
    found.add_field("mask", heat)
    montage = demo.create_mask_montage(grey(), found)
    assert (montage.shape, montage.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
    cells = {(0, 0): 40, (0, 1): 130, (1, 0): 250, (1, 1): 0}
    for (row, column), value in cells.items():
        cell = montage[60 * row : 60 * (row + 1), 80 * column : 80 * (column + 1)]
        assert cell[25, 35].tolist() == predictor.JET[value].tolist()
        assert cell[2, 2].tolist() == predictor.JET[0].tolist()


def test_montage_of_bool_masks_and_of_none(demo: Any) -> None:
    found = boxes((0, 0, 9, 9))
    found.add_field("mask", torch.ones(1, 1, HEIGHT, WIDTH, dtype=torch.bool))
    montage = demo.create_mask_montage(grey(), found)
    assert montage[30, 40].tolist() == predictor.JET[255].tolist()
    empty = found[torch.zeros(1, dtype=torch.bool)]
    empty.add_field("mask", torch.zeros(0, 1, 28, 28, dtype=torch.uint8))
    assert (demo.create_mask_montage(grey(), empty) == predictor.JET[0]).all()


def test_heat_maps_hold_probabilities(tmp_path: Path, demo: Any) -> None:
    """The old heat maps were black and white: 0 or not 0."""
    cfg = config(tmp_path)
    cfg.MODEL.WEIGHT = str(checkpoint(cfg, tmp_path / "model.pth"))
    hot = COCODemo(cfg, confidence_threshold=0.1, show_mask_heatmaps=True, masks_per_dim=3)
    image = picture()
    found = hot.compute_prediction(image)
    maps = found.get_field("mask")
    assert maps.dtype == torch.uint8
    masks = COCODemo(cfg).compute_prediction(image).get_field("mask")
    # The threshold of masks, 127.5, lies within the step of 127.
    assert masks[maps >= 128].all()
    assert not masks[maps < 127].any()
    assert len(maps.unique()) > 20
    shown = hot.run_on_opencv_image(image)
    assert shown.shape == (HEIGHT // 3 * 3, WIDTH // 3 * 3, 3)
    expected = hot.create_mask_montage(image, hot.select_top_predictions(found))
    np.testing.assert_array_equal(shown, expected)


# Keypoints


def _person() -> Any:
    """(3, 17): on a grid 20 pixels apart, x in 20..100, y in 20..80; all certain."""
    points = np.empty((3, 17), dtype=np.float32)
    points[0] = 20 + 20 * (np.arange(17) % 5)
    points[1] = 20 + 20 * (np.arange(17) // 5)
    points[2] = 3.0
    return points


def test_keypoints_are_blended_with_their_colour() -> None:
    points = _person()
    points[2, 1:] = 2.0  # not above the threshold
    image = grey()
    result = predictor.vis_keypoints(image, points)
    np.testing.assert_array_equal(image, grey())
    drawn = (result != GREY).any(axis=2)
    rows, columns = np.nonzero(drawn)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (17, 23, 17, 23)
    # The nose's last line is from between the shoulders: the last colour but one of seventeen in all.
    at = 15 / 16
    color = [np.cos(at * np.pi / 2), np.sin(at * np.pi), 2 * at - 0.5]
    expected = 0.3 * GREY + 0.7 * 255 * np.clip(color, 0, 1)
    np.testing.assert_allclose(result[20, 20], expected, atol=1.5)


def test_lines_need_both_ends() -> None:
    points = _person()
    points[2] = 0.0
    points[2, [5, 7]] = 3.0  # left shoulder (20, 40), left elbow (60, 40)
    result = predictor.vis_keypoints(grey(), points, kp_thresh=2, alpha=1.0)
    assert (result[40, 40] != GREY).any()
    points[2, 7] = 1.0
    result = predictor.vis_keypoints(grey(), points, kp_thresh=2, alpha=1.0)
    assert (result[40, 40] == GREY).all()
    assert (result[40, 20] != GREY).any()


def test_a_person_has_two_lines_from_between_the_shoulders() -> None:
    points = np.zeros((3, 17), dtype=np.float32)
    points[:, 0] = (80, 20, 3)  # nose
    points[:, 5], points[:, 6] = (60, 50, 3), (100, 50, 3)
    points[:, 11], points[:, 12] = (60, 100, 3), (100, 100, 3)
    result = predictor.vis_keypoints(grey(), points, alpha=1.0)
    assert (result[35, 80] != GREY).any()  # to the nose
    assert (result[75, 80] != GREY).any()  # to between the hips
    points[2, 6] = 0.0
    result = predictor.vis_keypoints(grey(), points, alpha=1.0)
    assert (result[[35, 75], [80, 80]] == GREY).all()


def test_keypoints_without_a_skeleton_are_dots() -> None:
    points = np.array([[20, 60, 100], [30, 30, 30], [3, 1, 3]], dtype=np.float32)
    result = predictor.vis_keypoints(grey(), points)
    assert [(result[30, x] != GREY).any() for x in (20, 60, 100)] == [True, False, True]


def test_keypoints_that_are_nowhere() -> None:
    points = _person()
    points[0, 0], points[1, 1] = np.nan, np.inf
    result = predictor.vis_keypoints(grey(), points)
    assert (result[20, 20] == GREY).all()
    assert (result[20, 60] != GREY).any()


def test_overlay_of_several_people(demo: Any) -> None:
    found = boxes((0, 0, 9, 9), (0, 0, 9, 9))
    points = torch.full((2, 17, 3), 1.0)
    points[0, :, :2], points[1, :, :2] = 30.0, 90.0
    keypoints = PersonKeypoints(points, (WIDTH, HEIGHT))
    keypoints.add_field("logits", torch.tensor([3.0, 1.0])[:, None].expand(2, 17))
    found.add_field("keypoints", keypoints)
    drawn = (demo.overlay_keypoints(grey(), found) != GREY).any(axis=2)
    assert drawn[30, 30]
    assert not drawn[90, 90]


def test_a_model_that_finds_keypoints(tmp_path: Path) -> None:
    demo = COCODemo(config(tmp_path, "keypoint"), confidence_threshold=0.0)
    image = picture()
    found = demo.compute_prediction(image)
    keypoints = found.get_field("keypoints")
    assert isinstance(keypoints, Keypoints)
    assert keypoints.keypoints.shape == (len(found), 17, 3)
    assert keypoints.size == (WIDTH, HEIGHT)
    inside = found.bbox[:, None, :2] - 1 <= keypoints.keypoints[..., :2]
    assert inside.all()
    assert demo.run_on_opencv_image(image).shape == image.shape


def test_a_model_with_boxes_only(tmp_path: Path) -> None:
    demo = COCODemo(config(tmp_path, "retinanet"), confidence_threshold=0.0)
    found = demo.compute_prediction(picture())
    assert set(found.fields()) == {"scores", "labels"}
    assert demo.run_on_opencv_image(picture()).shape == (HEIGHT, WIDTH, 3)


# Wrong input


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (None, "got NoneType; cv2.imread returns None"),
        (np.zeros((9, 9), np.uint8), r"uint8 of shape \(9, 9\)"),
        (np.zeros((9, 9, 3), np.float32), "float32"),
        (np.zeros((9, 9, 4), np.uint8), r"shape \(9, 9, 4\)"),
        (np.zeros((0, 9, 3), np.uint8), r"shape \(0, 9, 3\)"),
        (np.zeros((1, 2000, 3), np.uint8), "2000x1 pixels is too narrow"),
    ],
)
def test_what_is_no_image(demo: Any, image: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        demo.run_on_opencv_image(image)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (40, 300)])
def test_small_and_long_images(demo: Any, size: tuple[int, int]) -> None:
    image = picture(*size)
    assert demo.run_on_opencv_image(image).shape == image.shape


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("rpn", {}, "RPN_ONLY"),
        ("faster", {"show_mask_heatmaps": True}, "predicts no masks"),
        ("mask", {"masks_per_dim": 0}, "masks_per_dim: expected 1 or more, got 0"),
        ("mask", {"min_image_size": 0}, "min_image_size: expected pixels"),
    ],
)
def test_arguments_that_do_not_suit(
    tmp_path: Path, name: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        COCODemo(config(tmp_path, name), **arguments)


def test_keypoints_of_a_wrong_shape() -> None:
    with pytest.raises(ShapeError, match=r"rows x, y, score, got \(2, 17\)"):
        predictor.vis_keypoints(grey(), np.zeros((2, 17)))
