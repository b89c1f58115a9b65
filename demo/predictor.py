"""COCODemo: a picture in, the same picture with what was found in it out; both as OpenCV holds them.

    from predictor import COCODemo
    demo = COCODemo(cfg, min_image_size=800, confidence_threshold=0.7)
    drawn = demo.run_on_opencv_image(image)

Images are uint8 arrays (H, W, 3) in BGR; OpenCV itself is not needed. The class of the old project with its
constructor, methods and attributes; `maskrcnn_benchmark.predict.Predictor` is the shorter way for new code.

n: objects.    K: keypoints of an object.    H, W: height and width of the image.    M: side of a predicted mask.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from maskrcnn_benchmark.build.checkpointer import open_weights
from maskrcnn_benchmark.build.data import build_transforms, image_format_of
from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.build.run import choose_device
from maskrcnn_benchmark.build.weight_settings import adapt_config
from maskrcnn_benchmark.checkpoint.checkpointer import Checkpointer
from maskrcnn_benchmark.checkpoint.matching import IMPLIED
from maskrcnn_benchmark.checkpoint.opening import LoadedFile
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.data.transforms import Compose
from maskrcnn_benchmark.errors import ConfigError, ShapeError
from maskrcnn_benchmark.modeling.roi_heads.mask_head.inference import Masker
from maskrcnn_benchmark.numerics import get_numerics
from maskrcnn_benchmark.results.keypoints import THRESHOLDS
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import to_image_list
from maskrcnn_benchmark.structures.keypoint import KeypointSchema

logger = logging.getLogger("maskrcnn_benchmark.demo")

Pixels = NDArray[np.uint8]  # (H, W, 3) BGR
Color = tuple[int, int, int]

_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
_TEXT_SIZE = 14
_HEAT_MAP = -1.0  # as threshold of a Masker: the values themselves
_DIMMER = 0.7  # how much keypoints hide of the image

# As they come in COCO's files; the ids go to 90, and ten of them are of nothing.
_COCO_TEXT = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,"
    "parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,"
    "tie,suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,"
    "tennis racket,bottle,wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,"
    "hot dog,pizza,donut,cake,chair,couch,potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,"
    "cell phone,microwave,oven,toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush"
)
_COCO_NAMES = _COCO_TEXT.split(",")
_BACKGROUND = "__background"
_COCO_CATEGORIES = [_BACKGROUND, *_COCO_NAMES]
_NUM_COCO_IDS = 91
_UNUSED_COCO_IDS = frozenset({12, 26, 29, 30, 45, 66, 68, 69, 71, 83})


class _LeftToConfig(int):
    """The old default of `min_image_size`, told apart from the same number given on purpose."""


class COCODemo:
    """A detector with its weights that draws what it finds.

    Attributes:
        CATEGORIES: name of each label, background first; overwrite it for classes of your own. Left alone, it gives
            way to the names that a checkpoint holds.
        cfg: what the network was built from, after its weights had their say (numerics, preprocessing).
        model: in evaluation mode, on `device`.
        transforms: what `build_transform` returned.
        masker: pastes masks.
        palette: (3) factors of `compute_colors_for_labels`.
        confidence_threshold: objects with a higher score are drawn.
        show_mask_heatmaps: whether the mask montage is shown instead of the picture.
        masks_per_dim: it has so many masks in a row, and so many rows.
        min_image_size: short side that images are scaled to.
    """

    CATEGORIES: Sequence[str] = _COCO_CATEGORIES

    def __init__(
        self,
        cfg: Config,
        confidence_threshold: float = 0.7,
        show_mask_heatmaps: bool = False,
        masks_per_dim: int = 2,
        min_image_size: int | None = _LeftToConfig(224),
        weight_loading: str | os.PathLike[str] | None = None,
    ) -> None:
        """Build the model on MODEL.DEVICE, with OUTPUT_DIR's last checkpoint or else MODEL.WEIGHT.

        Args:
            cfg: of the model; it is not changed.
            confidence_threshold: see the class.
            show_mask_heatmaps: see the class.
            masks_per_dim: see the class.
            min_image_size: a number is taken in the place of INPUT.MIN_SIZE_TEST. Left out or None, the config's
                stays: the default 224 never had an effect, and would find far less.
            weight_loading: a checkpoint whose weights are loaded on top.

        Raises:
            ConfigError: if the config or another argument does not suit.
            CheckpointError: if weights cannot be had or do not fit.
        """
        files = _open_files(cfg, weight_loading)
        self.cfg = _prepare_config(cfg, files, min_image_size)
        _check_arguments(self.cfg, show_mask_heatmaps, masks_per_dim)
        self.device, remark = choose_device(self.cfg.MODEL.DEVICE)
        if remark:
            logger.warning(remark)
        if weight_loading:
            print(f"Loading weight from {os.fspath(weight_loading)}.")
        self.model = _load_model(self.cfg, files).eval().to(self.device)
        if type(self).CATEGORIES is _COCO_CATEGORIES:
            self.CATEGORIES = _find_categories(self.cfg, files)
        self.min_image_size: int = self.cfg.INPUT.MIN_SIZE_TEST
        self.transforms = self.build_transform()
        numerics = get_numerics(self.cfg.MODEL.NUMERICS)
        self.masker = Masker(
            threshold=_HEAT_MAP if show_mask_heatmaps else 0.5,
            padding=1 if show_mask_heatmaps else numerics.mask_padding,
            style=numerics.paste,
        )
        self._keypoint_threshold = THRESHOLDS[numerics.keypoint_score]
        self.palette = torch.tensor([2**25 - 1, 2**15 - 1, 2**21 - 1])
        self.confidence_threshold = confidence_threshold
        self.show_mask_heatmaps = show_mask_heatmaps
        self.masks_per_dim = masks_per_dim

    def build_transform(self) -> Callable[[Pixels], Tensor]:
        """What turns an image (H, W, 3), BGR, into the network's input (3, h, w), as a test does."""
        return Compose([_to_picture, build_transforms(self.cfg, is_train=False)])

    # Finding

    def run_on_opencv_image(self, image: Pixels) -> Pixels:
        """Find objects and draw them.

        Args:
            image: (H, W, 3) uint8, BGR; it is not changed.

        Returns:
            A copy with boxes, outlines of masks, keypoints and class names; with `show_mask_heatmaps` the montage
            of the masks alone.
        """
        predictions = self.select_top_predictions(self.compute_prediction(image))
        result = image.copy()
        if self.show_mask_heatmaps:
            return self.create_mask_montage(result, predictions)
        result = self.overlay_boxes(result, predictions)
        if predictions.has_field("mask"):
            result = self.overlay_mask(result, predictions)
        if predictions.has_field("keypoints"):
            result = self.overlay_keypoints(result, predictions)
        return self.overlay_class_names(result, predictions)

    def compute_prediction(self, original_image: Pixels) -> BoxList:
        """Find objects.

        Args:
            original_image: (H, W, 3) uint8, BGR.

        Returns:
            On the CPU, in pixels of the image, with the fields that the model predicts: scores, labels, keypoints,
            and mask (n, 1, H, W), pasted: bool, or with `show_mask_heatmaps` uint8, the probability times 255.

        Raises:
            ShapeError: if that is no image.
        """
        _check_image(original_image, max_size=self.cfg.INPUT.MAX_SIZE_TEST)
        batch = to_image_list(
            [self.transforms(original_image)], self.cfg.DATALOADER.SIZE_DIVISIBILITY
        )
        with torch.no_grad():
            found = self.model(batch.to(self.device))
        height, width = original_image.shape[:2]
        prediction: BoxList = found[0].to("cpu").convert("xyxy").resize((width, height))
        if prediction.has_field("mask"):
            (masks,) = self.masker([prediction.get_field("mask")], [prediction])
            prediction.add_field("mask", masks)
        return prediction

    def select_top_predictions(self, predictions: BoxList) -> BoxList:
        """Those with a score above the threshold (strictly), the highest first."""
        scores = predictions.get_field("scores")
        order = torch.argsort(scores, descending=True, stable=True)
        return predictions[order[scores[order] > self.confidence_threshold]]

    # Drawing

    def compute_colors_for_labels(self, labels: Tensor) -> NDArray[np.uint8]:
        """A colour for each label (n), the same in every picture: (n, 3)."""
        colors = labels[:, None].to(torch.int64) * self.palette.to(labels.device)
        result: NDArray[np.uint8] = (colors % 255).cpu().numpy().astype(np.uint8)
        return result

    def overlay_boxes(self, image: Pixels, predictions: BoxList) -> Pixels:
        """Draw boxes, one pixel wide, corners truncated to whole pixels, into the image; it is returned."""
        corners = _whole_corners(predictions, (image.shape[1], image.shape[0]))
        for (left, top, right, bottom), color in zip(
            corners, self._colors(predictions), strict=True
        ):
            image[[top, bottom], left : right + 1] = color
            image[top : bottom + 1, [left, right]] = color
        return image

    def overlay_mask(self, image: Pixels, predictions: BoxList) -> Pixels:
        """Draw the outlines of masks, holes too, three pixels wide, into the image; it is returned."""
        masks: NDArray[np.bool_] = predictions.get_field("mask").numpy()[:, 0] != 0
        for mask, color in zip(masks, self._colors(predictions), strict=True):
            image[_outline(mask)] = color
        return image

    def overlay_keypoints(self, image: Pixels, predictions: BoxList) -> Pixels:
        """A copy of the image with skeletons: keypoints whose logit is above 2.

        For models that score keypoints by probability (detectron2's), those above 0.05.
        """
        keypoints = predictions.get_field("keypoints")
        logits = keypoints.get_field("logits")
        rows = torch.cat((keypoints.keypoints[..., :2], logits[..., None]), dim=2)  # (n, K, 3)
        for points in rows.numpy():
            image = vis_keypoints(
                image, points.T, self._keypoint_threshold, _DIMMER, schema=keypoints.schema
            )
        return image

    def overlay_class_names(self, image: Pixels, predictions: BoxList) -> Pixels:
        """Write name and score over each box's left top corner, white, into the image; it is returned."""
        picture = Image.fromarray(image)
        pen = ImageDraw.Draw(picture)
        font = ImageFont.load_default(size=_TEXT_SIZE)
        scores = predictions.get_field("scores").tolist()
        labels = predictions.get_field("labels").tolist()
        corners = _whole_corners(predictions, picture.size)
        for label, score, (left, top, _, _) in zip(labels, scores, corners, strict=True):
            text = f"{self._name_of(label)}: {score:.2f}"
            # Inside the picture, whatever the box.
            x = max(min(left, picture.width - round(font.getlength(text)) - 1), 0)
            y = max(top - 2, _TEXT_SIZE)
            # A dark edge, so that white can be read on white.
            pen.text(
                (x, y), text, _WHITE, font=font, anchor="ls", stroke_width=1, stroke_fill=_BLACK
            )
        image[...] = np.asarray(picture)
        return image

    def create_mask_montage(self, image: Pixels, predictions: BoxList) -> Pixels:
        """The first masks side by side, each scaled by 1 / masks_per_dim, in JET's colours (blue 0, red 1).

        Args:
            image: only its size matters.
            predictions: their masks (n, 1, H, W), uint8 heat maps or bool.

        Returns:
            (masks_per_dim * (H // masks_per_dim), the same of W, 3); cells without a mask are those of 0.
        """
        per_dim = self.masks_per_dim
        height, width = (max(side // per_dim, 1) for side in image.shape[:2])
        masks = predictions.get_field("mask")[: per_dim**2]
        cells = np.zeros((per_dim**2, height, width), dtype=np.uint8)
        if len(masks):
            values = masks.float() * 255 if masks.dtype == torch.bool else masks.float()
            scaled = F.interpolate(values, size=(height, width), mode="area")
            cells[: len(masks)] = scaled[:, 0].round().byte().numpy()
        grid = cells.reshape(per_dim, per_dim, height, width).swapaxes(1, 2)
        return JET[grid.reshape(per_dim * height, per_dim * width)]

    def _colors(self, predictions: BoxList) -> list[Color]:
        colors = self.compute_colors_for_labels(predictions.get_field("labels")).tolist()
        return [(blue, green, red) for blue, green, red in colors]

    def _name_of(self, label: int) -> str:
        return self.CATEGORIES[label] if label < len(self.CATEGORIES) else f"class {label}"


def vis_keypoints(
    img: Pixels,
    kps: NDArray[Any],
    kp_thresh: float = 2,
    alpha: float = 0.7,
    *,
    schema: KeypointSchema | None = None,
) -> Pixels:
    """A copy of an image with one object's skeleton blended in.

    Args:
        img: (H, W, 3) BGR.
        kps: (3 or more, K): rows x, y, score.
        kp_thresh: keypoints with a higher score are drawn, and lines between two such.
        alpha: weight of the skeleton.
        schema: lines between keypoints; None: a person's if there are 17. A person gets two more: from the middle of
            the shoulders to the nose and to the middle of the hips.
    """
    if kps.ndim != 2 or len(kps) < 3:
        raise ShapeError(
            f"vis_keypoints: expected an array (3, K) with the rows x, y, score, got {kps.shape}"
        )
    schema = schema or KeypointSchema.unnamed(kps.shape[1])
    points = kps[:3].astype(np.float32)
    points[2, ~np.isfinite(points[:2]).all(axis=0)] = -np.inf
    lines = [(points[:, a], points[:, b]) for a, b in schema.skeleton]
    lines += _middle_lines(points, schema)
    # Without a skeleton, each keypoint for itself.
    lines = lines or [(point, point) for point in points.T]
    picture = Image.fromarray(img)
    pen = ImageDraw.Draw(picture)
    for (start, end), color in zip(lines, _rainbow(len(lines)), strict=True):
        if min(start[2], end[2]) > kp_thresh:
            pen.line([*map(int, start[:2]), *map(int, end[:2])], fill=color, width=2)
        for x, y, score in (start, end):
            if score > kp_thresh:
                pen.ellipse((int(x) - 3, int(y) - 3, int(x) + 3, int(y) + 3), fill=color)
    drawn = np.asarray(picture, dtype=np.float32)
    blended: Pixels = np.rint(img * np.float32(1 - alpha) + drawn * alpha).astype(np.uint8)
    return blended


def _middle_lines(
    points: NDArray[Any], schema: KeypointSchema
) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """From between the shoulders to the nose and to between the hips, where there are such keypoints."""
    needed = ("nose", "left_shoulder", "right_shoulder", "left_hip", "right_hip")
    if not set(needed) <= set(schema.names):
        return []
    nose, *sides = (points[:, schema.names.index(name)] for name in needed)
    shoulders, hips = _middle(*sides[:2]), _middle(*sides[2:])
    return [(shoulders, nose), (shoulders, hips)]


def _middle(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    return np.append((a[:2] + b[:2]) / 2, min(a[2], b[2]))


# Colours


def _rainbow(count: int) -> list[Color]:
    """Colours (BGR) from violet over blue, green and orange to red."""
    at = np.linspace(0, 1, count)
    channels = (np.cos(at * np.pi / 2), np.sin(at * np.pi), np.abs(2 * at - 0.5))
    colors = np.rint(np.clip(np.stack(channels, axis=1), 0, 1) * 255).astype(int).tolist()
    return [(blue, green, red) for blue, green, red in colors]


def _jet() -> NDArray[np.uint8]:
    """The colour map JET as a table (256, 3), BGR: dark blue, blue, cyan, yellow, red, dark red."""
    at = np.arange(256)[:, None] / 255
    channels = 1.5 - np.abs(4 * at - np.array([1.0, 2.0, 3.0]))
    table: NDArray[np.uint8] = np.rint(np.clip(channels, 0, 1) * 255).astype(np.uint8)
    return table


JET = _jet()


# Geometry


def _whole_corners(predictions: BoxList, size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Left, top, right, bottom of boxes, truncated, inside a picture (width, height)."""
    limits = np.array([size[0] - 1, size[1] - 1] * 2)
    corners = np.nan_to_num(predictions.convert("xyxy").bbox.numpy())
    corners = np.clip(corners, 0, limits).astype(np.int64)
    # An inclusive box narrower than a pixel ends before it begins.
    corners[:, 2:] = np.maximum(corners[:, 2:], corners[:, :2])
    return [(a, b, c, d) for a, b, c, d in corners.tolist()]


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels (H, W) at most one away from the mask's outermost ones, those around holes included."""
    result = np.zeros_like(mask)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return result
    # Only where the mask is, with one pixel around, as far as the image goes.
    top, left = max(rows[0] - 1, 0), max(columns[0] - 1, 0)
    window = mask[top : rows[-1] + 2, left : columns[-1] + 2]
    around = np.pad(window, 1)  # beyond the image there is no mask
    inner = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    edge = np.pad(window & ~inner, 1)
    height, width = window.shape
    near = [edge[y : y + height, x : x + width] for y in range(3) for x in range(3)]
    result[top : top + height, left : left + width] = np.logical_or.reduce(near)
    return result


# Making ready


def _to_picture(image: Pixels, target: None = None) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(image[..., ::-1]))


def _check_image(image: Any, *, max_size: int) -> None:
    shape = getattr(image, "shape", None)
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3:
        got = f"{image.dtype} of shape {shape}" if shape is not None else type(image).__name__
        hint = "; cv2.imread returns None for a file it cannot read" if image is None else ""
        raise ShapeError(f"expected an image array uint8 (H, W, 3) in BGR, got {got}{hint}")
    if image.shape[2] != 3 or not image.size:
        raise ShapeError(f"expected an image array uint8 (H, W, 3) in BGR, got shape {shape}")
    short, long = sorted(image.shape[:2])
    if round(max_size * short / long) < 1:
        raise ShapeError(
            f"an image of {image.shape[1]}x{image.shape[0]} pixels is too narrow: with its long side at "
            f"INPUT.MAX_SIZE_TEST ({max_size}) nothing is left of the other"
        )


def _check_arguments(cfg: Config, show_mask_heatmaps: bool, masks_per_dim: int) -> None:
    if not image_format_of(cfg).is_photograph:
        raise ConfigError(
            f"COCODemo takes colour images of 8 bits, but INPUT.CHANNELS is {cfg.INPUT.CHANNELS} and INPUT.BIT_DEPTH "
            f"{cfg.INPUT.BIT_DEPTH}; use maskrcnn_benchmark.predict.Predictor"
        )
    if cfg.MODEL.RPN_ONLY and not cfg.MODEL.RETINANET_ON:
        raise ConfigError(
            "COCODemo draws objects with their classes, but with MODEL.RPN_ONLY the model finds proposals without; "
            "use maskrcnn_benchmark.predict.Predictor"
        )
    if show_mask_heatmaps and not cfg.MODEL.MASK_ON:
        raise ConfigError("show_mask_heatmaps: the model predicts no masks (MODEL.MASK_ON False)")
    if masks_per_dim < 1:
        raise ConfigError(f"masks_per_dim: expected 1 or more, got {masks_per_dim}")


def _open_files(cfg: Config, weight_loading: str | os.PathLike[str] | None) -> list[LoadedFile]:
    """What holds the weights, in the order in which it is loaded."""
    last = Checkpointer(nn.Module(), save_dir=cfg.OUTPUT_DIR, save_to_disk=False)
    files = []
    if last.has_checkpoint():
        files.append(last.open_last())
    elif cfg.MODEL.WEIGHT:
        files.append(open_weights(cfg, cfg.MODEL.WEIGHT))
    if weight_loading:
        files.append(open_weights(cfg, weight_loading))
    return files


def _prepare_config(cfg: Config, files: list[LoadedFile], min_image_size: int | None) -> Config:
    for file in files:
        cfg = adapt_config(cfg, file.converted)
    cfg = cfg.clone()
    cfg.defrost()
    # Masks are pasted into the original image, not into the network's input.
    cfg.MODEL.ROI_MASK_HEAD.POSTPROCESS_MASKS = False
    if min_image_size is not None and not isinstance(min_image_size, _LeftToConfig):
        if min_image_size < 1:
            raise ConfigError(f"min_image_size: expected pixels, 1 or more, got {min_image_size}")
        cfg.INPUT.MIN_SIZE_TEST = int(min_image_size)
    cfg.freeze()
    return cfg


def _load_model(cfg: Config, files: list[LoadedFile]) -> nn.Module:
    model = build_model(cfg)
    missing = set(model.state_dict())
    for file in files:
        match, _ = Checkpointer(model, save_to_disk=False).load_weights(file)
        missing &= set(match.missing)
    missing = {name for name in missing if not IMPLIED.search(name)}
    if missing:
        logger.warning(
            "%d weights are random, %s among them: what is found is noise. Name a trained model in MODEL.WEIGHT",
            len(missing),
            min(missing),
        )
    return model


def _find_categories(cfg: Config, files: list[LoadedFile]) -> Sequence[str]:
    """Names as the newest file tells them; COCO's where none does."""
    section = cfg.MODEL.RETINANET if cfg.MODEL.RETINANET_ON else cfg.MODEL.ROI_BOX_HEAD
    for file in reversed(files):
        if file.rest.get("class_names"):
            return [str(name) for name in file.rest["class_names"]]
        if file.converted.dialect == "torchvision" and section.NUM_CLASSES == _NUM_COCO_IDS:
            # Its labels are COCO's ids.
            names = iter(_COCO_NAMES)
            ids = range(1, _NUM_COCO_IDS)
            used = (f"class {i}" if i in _UNUSED_COCO_IDS else next(names) for i in ids)
            return [_BACKGROUND, *used]
    return _COCO_CATEGORIES
