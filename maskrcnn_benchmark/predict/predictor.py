"""Predictor: images in, Detections out."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, cast, overload

import torch
from PIL import Image
from torch import Tensor

from maskrcnn_benchmark.build.data import build_transforms, image_format_of
from maskrcnn_benchmark.build.test_time_aug import build_test_time_aug
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.data.datasets.channels import size_of
from maskrcnn_benchmark.data.transforms.transforms import ToTensor
from maskrcnn_benchmark.engine.test_time_aug import TestTimeAugmentation
from maskrcnn_benchmark.errors import ConfigError, DatasetError, MaskRCNNError
from maskrcnn_benchmark.numerics import get_numerics
from maskrcnn_benchmark.predict.batches import Prepared, group_by_size
from maskrcnn_benchmark.predict.loading import find_weights, load_model
from maskrcnn_benchmark.predict.sources import AnySource, name_of, read_source
from maskrcnn_benchmark.predict.tiles import Tiling, detect_in_tiles
from maskrcnn_benchmark.predict.tuning import Precision, precision_context, tune
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.keypoints import THRESHOLDS
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import to_image_list
from maskrcnn_benchmark.structures.sizes import HeightWidth

# Called with the position of an image and why nothing came of it.
Skipped = Callable[[int, Exception], None]


class Predictor:
    """A trained detector, ready for images.

        predictor = Predictor("my_run")
        detections = predictor("photo.jpg")

    Attributes:
        network: the detector, in evaluation mode; changed so that it is fast, see `tuning.tune`.
        cfg: its configuration.
        device: where it runs.
        class_names: name of each label, background first.
        category_ids: label -> category id of the data set it was trained on.
        keypoint_schema: what its keypoints are; None: it finds none, or the checkpoint does not say.
        image_format: channels and bits of the images it takes.
        score_threshold: only detections with a higher score are returned.
        mask_threshold: pixels with a higher probability belong to the object.
        batch_size: images that run together.
        tiling: how large images are cut; None: they are not.
    """

    def __init__(
        self,
        source: str | os.PathLike[str],
        *,
        config: Config | str | os.PathLike[str] | None = None,
        device: str | torch.device | None = None,
        score_threshold: float = 0.5,
        mask_threshold: float = 0.5,
        batch_size: int = 1,
        dtype: Precision = "float32",
        compile: bool = False,
        test_time_aug: bool = False,
        tile: int | None = None,
        overlap: float = 0.2,
    ) -> None:
        """Load a detector.

        Args:
            source: the folder of a run, a checkpoint, or an exported `.onnx` file: see `loading.load_model`.
            config: configuration of the network; None: the one beside the checkpoint or inside it.
            device: "cuda", "cpu", ...; None: what the configuration says, as far as it is there.
            score_threshold: see the class.
            mask_threshold: see the class.
            batch_size: see the class; above 1 it is faster on a GPU, and in list calls only.
            dtype: bfloat16 (or float16 on a GPU) is faster where the hardware knows it; results differ a little.
            compile: compile the network; pays for thousands of images, see `tuning.tune`.
            test_time_aug: look at each image several times, as TEST.BBOX_AUG says, or plainly and mirrored where it
                says nothing: slower, and a little better.
            tile: larger images are cut into squares of so many pixels, and what was found in them is joined.
            overlap: part of a tile that it shares with the next.

        Raises:
            CheckpointError: if there are no weights that can be used.
            ConfigError: if there is no configuration, or settings that do not go together.
        """
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {batch_size}")
        score_threshold = _to_share("score_threshold", score_threshold)
        mask_threshold = _to_share("mask_threshold", mask_threshold)
        weights = _identify(source)
        if compile and test_time_aug:
            raise ConfigError("test-time augmentation runs the parts of the network: not compiled")
        model = load_model(source, config=config, device=device, score_threshold=score_threshold)
        self.cfg = model.cfg
        self.device = model.device
        self.network = tune(model.network, device=self.device, dtype=dtype, compile_network=compile)
        self.class_names = model.class_names
        self.category_ids = model.category_ids
        self.keypoint_schema = model.keypoint_schema
        self.score_threshold = score_threshold
        self.mask_threshold = mask_threshold
        self.batch_size = batch_size
        self.tiling = None if tile is None else Tiling(side=tile, overlap=overlap)
        self.image_format = image_format_of(self.cfg)
        self._weights = weights
        self._dtype = dtype
        self._numerics = get_numerics(self.cfg.MODEL.NUMERICS)
        self._takes_images = model.takes_images
        self._transforms = build_transforms(self.cfg, is_train=False)
        self._test_time_aug = _build_views(self.cfg) if test_time_aug else None

    @property
    def settings(self) -> dict[str, Any]:
        """What decides about results, in types that JSON knows; other weights under the same name are seen."""
        tiling = self.tiling
        return {
            **self._weights,
            "config": self.cfg.dump(),
            "class_names": list(self.class_names),
            "score_threshold": self.score_threshold,
            "mask_threshold": self.mask_threshold,
            "dtype": self._dtype,
            "test_time_aug": self._test_time_aug is not None,
            "tile": None if tiling is None else [tiling.side, tiling.overlap],
        }

    @overload
    def __call__(self, images: AnySource) -> Detections: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, images: Sequence[AnySource]) -> list[Detections]: ...
    def __call__(self, images: AnySource | Sequence[AnySource]) -> Detections | list[Detections]:
        """Find objects.

        Args:
            images: an image or several: paths, PIL images, arrays (H, W, 3) of uint8 in RGB, bytes or open files,
                tensors; of other channels or bits where the network was trained on them. See `sources.read_source`.

        Returns:
            Detections in pixels of the image, the highest score first; a list of them for a list of images. An image
            gives the same alone and among others: exactly where images run one by one, to rounding errors in batches.

        Raises:
            DatasetError: if an image cannot be read.
            ShapeError: for an array or a tensor that is no image.
        """
        if isinstance(images, Iterator) and not hasattr(images, "read"):
            raise TypeError(
                "give several images as a list, or call iterate(), which takes any iterable"
            )
        if not isinstance(images, list | tuple):
            ((_, found),) = self.iterate([cast("AnySource", images)])
            return found
        results: dict[int, Detections] = {}

        def fail(position: int, error: Exception) -> None:
            raise type(error)(f"image {position} of {len(images)}: {error}") from error

        results.update(self.iterate(images, skipped=fail))
        return [results[position] for position in range(len(images))]

    def iterate(
        self, images: Iterable[AnySource], *, skipped: Skipped | None = None
    ) -> Iterator[tuple[int, Detections]]:
        """Find objects in any number of images, which are read when their turn comes.

        Args:
            images: see `__call__`.
            skipped: called for an image of which nothing came; the others go on. None: its error is raised.

        Yields:
            The position of an image, and what is in it; images of one size together, so not always in order.
        """
        if self.tiling is not None:
            yield from self._iterate_tiled(images, skipped, self.tiling)
        elif self._test_time_aug is not None:
            for index, source, image in self._read(images, skipped):
                yield index, self._augment(image, path=name_of(source))
        else:
            prepared = (
                self._prepare(image, index=index, path=name_of(source))
                for index, source, image in self._read(images, skipped)
            )
            divisor = 0 if self._takes_images else self.cfg.DATALOADER.SIZE_DIVISIBILITY
            for batch in group_by_size(
                prepared, batch_size=self.batch_size, size_divisible=divisor
            ):
                yield from self._run(batch, divisor)

    def _read(
        self, images: Iterable[AnySource], skipped: Skipped | None
    ) -> Iterator[tuple[int, AnySource, Image.Image | Tensor]]:
        """The images that can be read and are large enough."""
        for index, source in enumerate(images):
            try:
                image = read_source(source, self.image_format)
                self._check_size(image)
            except (MaskRCNNError, TypeError) as error:
                if skipped is None:
                    raise
                skipped(index, error)
                continue
            yield index, source, image

    def _check_size(self, image: Image.Image | Tensor) -> None:
        width, height = size_of(image)
        short, long = sorted((width, height))
        # The long side is brought to at most MAX_SIZE_TEST; nothing may be left of the short one.
        if round(self.cfg.INPUT.MAX_SIZE_TEST * short / long) < 1 and self.tiling is None:
            raise DatasetError(
                f"an image of {width}x{height} pixels is too narrow: with its long side at "
                f"INPUT.MAX_SIZE_TEST ({self.cfg.INPUT.MAX_SIZE_TEST}) nothing is left of the other. "
                "Cut it into parts"
            )

    def _prepare(self, image: Image.Image | Tensor, *, index: int, path: str | None) -> Prepared:
        """The network's input, exactly as in a test."""
        tensor = ToTensor()(image)[0] * 255 if self._takes_images else self._transforms(image)
        size = size_of(image).transposed()
        return Prepared(index=index, tensor=tensor, image_size=size, path=path)

    def _run(self, batch: list[Prepared], divisor: int) -> list[tuple[int, Detections]]:
        images = to_image_list([image.tensor for image in batch], divisor).to(self.device)
        with torch.inference_mode(), precision_context(self.device, self._dtype):
            found = self.network(images)
        return [
            (image.index, self._read_output(boxes, image_size=image.image_size, path=image.path))
            for image, boxes in zip(batch, found, strict=True)
        ]

    def _augment(self, image: Image.Image | Tensor, *, path: str | None) -> Detections:
        views = cast("TestTimeAugmentation", self._test_time_aug)
        with torch.inference_mode(), precision_context(self.device, self._dtype):
            (found,) = views(self.network, [image], self.device)
        return self._read_output(found, image_size=size_of(image).transposed(), path=path)

    def _iterate_tiled(
        self, images: Iterable[AnySource], skipped: Skipped | None, tiling: Tiling
    ) -> Iterator[tuple[int, Detections]]:
        whole = copy.copy(self)  # The same network.
        whole.tiling = None

        def detect(parts: Iterable[Image.Image | Tensor]) -> Iterator[tuple[int, Detections]]:
            yield from whole.iterate(parts)

        for index, source, image in self._read(images, skipped):
            found = detect_in_tiles(detect, image, tiling, max_overlap=self._max_overlap())
            yield index, found.with_source(path=name_of(source))

    def _max_overlap(self) -> float:
        model = self.cfg.MODEL
        if model.RETINANET_ON:
            return float(model.RETINANET.NMS_TH)
        return float(model.RPN.NMS_THRESH if model.RPN_ONLY else model.ROI_HEADS.NMS)

    def _read_output(
        self, found: BoxList, *, image_size: HeightWidth, path: str | None
    ) -> Detections:
        scores = found.get_field("scores" if found.has_field("scores") else "objectness")
        # Before masks are pasted, which takes longer than all else here.
        found = found[scores > self.score_threshold]
        return Detections.from_boxlist(
            found,
            image_size=image_size,
            class_names=self.class_names,
            mask_threshold=self.mask_threshold,
            mask_padding=self._numerics.mask_padding,
            mask_paste=self._numerics.paste,
            box_offset=self._numerics.box_offset,
            keypoint_schema=self.keypoint_schema,
            keypoint_threshold=THRESHOLDS[self._numerics.keypoint_score],
            path=path,
        ).sorted()


def _to_share(name: str, value: Any) -> float:
    if not isinstance(value, Real) or not 0 <= float(value) <= 1:  # NaN is neither.
        raise ConfigError(f"{name} must be a number from 0 to 1, got {value!r}")
    return float(value)


def _identify(source: str | os.PathLike[str]) -> dict[str, Any]:
    """Which weights they are; asked before they are read, since a run that goes on writes new ones."""
    weights = Path(find_weights(source))
    if not weights.is_file():
        return {"weights": os.fspath(source), "weights_modified": None}
    return {"weights": str(weights.resolve()), "weights_modified": weights.stat().st_mtime_ns}


def _build_views(cfg: Config) -> TestTimeAugmentation:
    """Those of TEST.BBOX_AUG; plain and mirrored where it has but the plain one."""
    keys = cfg.TEST.BBOX_AUG
    if not keys.H_FLIP and not keys.SCALES:
        cfg = cfg.clone()
        cfg.defrost()
        cfg.TEST.BBOX_AUG.H_FLIP = True
    return build_test_time_aug(cfg)
