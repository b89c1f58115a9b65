"""Predictor: images in, Detections out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, overload

import torch
from PIL import Image
from torch import Tensor

from maskrcnn_benchmark.build.data import build_transforms, image_format_of
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.data.datasets.channels import size_of
from maskrcnn_benchmark.data.transforms.transforms import ToTensor
from maskrcnn_benchmark.errors import DatasetError, ShapeError
from maskrcnn_benchmark.numerics import get_numerics
from maskrcnn_benchmark.predict.images import ImageSource, read_input
from maskrcnn_benchmark.predict.loading import load_model
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.keypoints import THRESHOLDS
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import ImageList, to_image_list
from maskrcnn_benchmark.structures.sizes import HeightWidth


class Predictor:
    """A trained detector, ready for images.

        predictor = Predictor("my_run")
        detections = predictor("photo.jpg")

    Attributes:
        network: the detector, in evaluation mode.
        cfg: its configuration.
        device: where it runs.
        class_names: name of each label, background first.
        category_ids: label -> category id of the data set it was trained on.
        keypoint_schema: what its keypoints are; None: it finds none, or the checkpoint does not say.
        image_format: channels and bits of the images it takes.
        score_threshold: only detections with a higher score are returned.
        mask_threshold: pixels with a higher probability belong to the object.
    """

    def __init__(
        self,
        source: str | os.PathLike[str],
        *,
        config: Config | str | os.PathLike[str] | None = None,
        device: str | torch.device | None = None,
        score_threshold: float = 0.5,
        mask_threshold: float = 0.5,
    ) -> None:
        """Load a detector.

        Args:
            source: the folder of a run, a checkpoint, or an exported `.onnx` file: see `loading.load_model`.
            config: configuration of the network; None: the one beside the checkpoint or inside it.
            device: "cuda", "cpu", ...; None: what the configuration says, as far as it is there.
            score_threshold: see the class.
            mask_threshold: see the class.
        """
        model = load_model(source, config=config, device=device, score_threshold=score_threshold)
        self.network = model.network
        self.cfg = model.cfg
        self.device = model.device
        self.class_names = model.class_names
        self.category_ids = model.category_ids
        self.keypoint_schema = model.keypoint_schema
        self.score_threshold = score_threshold
        self.mask_threshold = mask_threshold
        self.image_format = image_format_of(self.cfg)
        self._numerics = get_numerics(self.cfg.MODEL.NUMERICS)
        self._takes_images = model.takes_images
        self._transforms = build_transforms(self.cfg, is_train=False)

    @overload
    def __call__(self, images: ImageSource) -> Detections: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, images: Sequence[ImageSource]) -> list[Detections]: ...
    def __call__(
        self, images: ImageSource | Sequence[ImageSource]
    ) -> Detections | list[Detections]:
        """Find objects.

        Args:
            images: an image or several: paths, PIL images, or arrays (H, W, 3) of uint8 in RGB; of other channels or
                bits where the network was trained on them. See `images.read_input`.

        Returns:
            Detections in pixels of the image, the highest score first; a list of them for a list of images. An image
            gives the same alone and among others.

        Raises:
            DatasetError: if an image cannot be read.
            ShapeError: for an array that is no image.
        """
        if not isinstance(images, list | tuple):
            return self._predict_one(images)
        results = []
        for position, image in enumerate(images):
            try:
                results.append(self._predict_one(image))
            except (DatasetError, ShapeError, TypeError) as error:
                raise type(error)(f"image {position} of {len(images)}: {error}") from error
        return results

    def _predict_one(self, source: Any) -> Detections:
        image = read_input(source, self.image_format)
        batch = self._prepare(image)
        with torch.inference_mode():
            found = self.network(batch.to(self.device))
        return self._read_output(
            found[0],
            image_size=size_of(image).transposed(),
            path=os.fspath(source) if isinstance(source, str | os.PathLike) else None,
        )

    def _prepare(self, image: Image.Image | Tensor) -> ImageList:
        """The network's input, exactly as in a test."""
        width, height = size_of(image)
        short, long = sorted((width, height))
        # The long side is brought to at most MAX_SIZE_TEST; nothing may be left of the short one.
        if round(self.cfg.INPUT.MAX_SIZE_TEST * short / long) < 1:
            raise DatasetError(
                f"an image of {width}x{height} pixels is too narrow: with its long side at "
                f"INPUT.MAX_SIZE_TEST ({self.cfg.INPUT.MAX_SIZE_TEST}) nothing is left of the other. "
                "Cut it into parts"
            )
        if self._takes_images:
            return to_image_list([ToTensor()(image)[0] * 255])
        tensor: Tensor = self._transforms(image)
        return to_image_list([tensor], self.cfg.DATALOADER.SIZE_DIVISIBILITY)

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
            keypoint_offset=self._numerics.keypoint_offset,
            path=path,
        ).sorted()
