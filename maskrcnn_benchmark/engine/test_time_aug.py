"""Test-time augmentation: the same image seen at several sizes and mirrored, and the answers brought together.

Boxes: every view gives all its boxes of all classes; they are brought into the pixels of the first view, and one
threshold, one suppression within each class and one limit choose among all of them. Masks and keypoints: each view
predicts them for the chosen boxes; probabilities (masks) and logits (heat maps) are averaged.

One-stage detectors and proposal networks merge what each view kept on its own, by the same suppression.

B: images.    N: boxes of each image over all views, D: detections, both padded.    V: views.    K: keypoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.layers.nms import nms_padded
from maskrcnn_benchmark.modeling.detector.detector import Detector
from maskrcnn_benchmark.modeling.detector.generalized_rcnn import GeneralizedRCNN
from maskrcnn_benchmark.modeling.detector.retinanet import RetinaNet
from maskrcnn_benchmark.modeling.roi_heads.box_head.inference import BoxCandidates
from maskrcnn_benchmark.modeling.roi_heads.roi_heads import ROIHeads
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import to_image_list
from maskrcnn_benchmark.structures.keypoint import KeypointSchema
from maskrcnn_benchmark.structures.padded import (
    PaddedDetections,
    Proposals,
    detections_to_boxlists,
    proposals_to_boxlists,
)
from maskrcnn_benchmark.structures.sizes import HeightWidth

# An image as the data set has it -> (C, h, w), resized and normalised.
Transform = Callable[[Any], Tensor]


@dataclass(frozen=True, kw_only=True)
class View:
    """One way to look at an image.

    Attributes:
        transform: image -> (C, h, w), as for an ordinary test at some size.
        flip: mirror left and right afterwards.
    """

    transform: Transform
    flip: bool = False


def make_views(
    transform_at: Callable[[int, int], Transform],
    *,
    min_size: int,
    max_size: int,
    flip: bool = False,
    scales: Sequence[int] = (),
    scales_max_size: int = 4000,
    scales_flip: bool = False,
) -> list[View]:
    """The views of a test: the ordinary size, then the others, each perhaps followed by its mirror image.

    Args:
        transform_at: (short side, longest long side) -> transform.
        min_size: short side of the ordinary size, in pixels.
        max_size: longest long side there.
        flip: mirror it, too.
        scales: short sides of the others.
        scales_max_size: longest long side there.
        scales_flip: mirror them, too.
    """
    sizes = [(min_size, max_size, flip), *((s, scales_max_size, scales_flip) for s in scales)]
    views = []
    for short_side, long_side, with_mirror in sizes:
        transform = transform_at(short_side, long_side)
        views += [
            View(transform=transform, flip=mirrored)
            for mirrored in ((False, True) if with_mirror else (False,))
        ]
    return views


class TestTimeAugmentation:
    """Runs a detector over all views of a batch of images, one view after the other.

    The backbone runs a second time for masks and keypoints: keeping the maps of all views would take gigabytes.
    """

    # Not a test of ours, whatever pytest thinks of the name.
    __test__ = False

    def __init__(
        self,
        views: Sequence[View],
        *,
        size_divisible: int = 0,
        keypoint_flip_pairs: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        """Keep the views.

        Args:
            views: at least one; boxes come back in the pixels of the first, which must not be mirrored.
            size_divisible: height and width of a batch are padded to a multiple of it, where above 0.
            keypoint_flip_pairs: keypoints (from 0) that change places in a mirrored image; None: a person's where there
                are 17, else none.

        Raises:
            ConfigError: for no views, or a first one that is mirrored.
        """
        if not views or views[0].flip:
            raise ConfigError(
                "test-time augmentation needs a first view that is not mirrored: results are in its pixels"
            )
        self.views = tuple(views)
        self.size_divisible = size_divisible
        self.keypoint_flip_pairs = keypoint_flip_pairs

    @torch.no_grad()
    def __call__(
        self, model: nn.Module, images: Sequence[Any], device: torch.device | str
    ) -> list[BoxList]:
        """What the model finds, in the form that it returns itself.

        Args:
            model: a detector on `device`, in evaluation mode.
            images: as the data set has them, without transforms.
            device: where batches go.

        Returns:
            One BoxList per image, in network pixels of the first view.

        Raises:
            ConfigError: for a model of another kind than the package's detectors.
        """
        if not isinstance(model, GeneralizedRCNN | RetinaNet):
            raise ConfigError(
                f"test-time augmentation knows GeneralizedRCNN and RetinaNet, got {type(model).__name__}; "
                "set TEST.BBOX_AUG.ENABLED False"
            )
        if isinstance(model, RetinaNet):
            found, sizes = self._merge_detections(model, images, device)
            return detections_to_boxlists(found, sizes)
        if model.roi_heads is None:
            proposals, sizes = self._merge_proposals(model, images, device)
            return proposals_to_boxlists(proposals, sizes)
        found, sizes = self._detect(model, model.roi_heads, images, device)
        return detections_to_boxlists(found, sizes)

    def _detect(
        self,
        model: GeneralizedRCNN,
        heads: ROIHeads,
        images: Sequence[Any],
        device: torch.device | str,
    ) -> tuple[PaddedDetections, list[HeightWidth]]:
        """Boxes of all views together, then masks and keypoints of those that are kept."""
        collect = getattr(heads.box, "candidates", None)
        if collect is None:
            raise ConfigError(
                f"test-time augmentation needs all boxes of the box head, which {type(heads.box).__name__} does not "
                "give (method `candidates`); set TEST.BBOX_AUG.ENABLED False"
            )
        parts: list[BoxCandidates] = []
        first: _Run | None = None
        for run in self._runs(model, images, device):
            first = first or run
            features = model.backbone(run.tensors)
            proposals = model.rpn(features, run.sizes)
            found: BoxCandidates = collect(features, proposals, run.sizes)
            parts.append(
                found._replace(boxes=_to_first(found.boxes, run, first, heads.box.box_offset))
            )
        assert first is not None
        together = BoxCandidates(
            *(torch.cat(tensors, dim=1) for tensors in zip(*parts, strict=True))
        )
        detections = heads.box.post_processor.filter(together)
        if heads.mask is not None or heads.keypoint is not None:
            detections = self._refine(model, heads, detections, images, device)
        return detections, first.image_sizes

    def _refine(
        self,
        model: GeneralizedRCNN,
        heads: ROIHeads,
        detections: PaddedDetections,
        images: Sequence[Any],
        device: torch.device | str,
    ) -> PaddedDetections:
        """Detections with masks and keypoints, averaged over the views."""
        masks: list[Tensor] = []
        heat_maps: list[Tensor] = []
        first: _Run | None = None
        for run in self._runs(model, images, device):
            first = first or run
            features = model.backbone(run.tensors)
            boxes = _from_first(detections.boxes, run, first, heads.box.box_offset)
            seen = detections._replace(boxes=boxes)
            if heads.mask is not None:
                mask = heads.mask(features, seen)  # (B, D, M, M)
                _accumulate(masks, mask.flip(-1) if run.flip else mask)
            if heads.keypoint is not None:
                maps = heads.keypoint.predict(features, seen)  # (rows, K, S, S)
                _accumulate(heat_maps, self._unflip_heat_maps(maps) if run.flip else maps)
        if heads.mask is not None:
            detections = detections._replace(masks=masks[0] / len(self.views))
        if heads.keypoint is not None:
            keypoints, scores = heads.keypoint.decode(heat_maps[0] / len(self.views), detections)
            detections = detections._replace(keypoints=keypoints, keypoint_scores=scores)
        return detections

    def _merge_detections(
        self, model: RetinaNet, images: Sequence[Any], device: torch.device | str
    ) -> tuple[PaddedDetections, list[HeightWidth]]:
        """What a one-stage detector kept in each view, suppressed once more."""
        settings = model.rpn.post_processor
        parts: list[BoxCandidates] = []
        first: _Run | None = None
        for run in self._runs(model, images, device):
            first = first or run
            found = model.detect(run.tensors, run.sizes)
            boxes = _to_first(found.boxes, run, first, settings.box_offset)
            parts.append(BoxCandidates(boxes, found.scores, found.labels, found.valid))
        assert first is not None
        most = settings.max_detections
        merged = _suppress(
            parts,
            iou_threshold=settings.nms_threshold,
            inclusive=settings.nms_inclusive,
            offset=settings.box_offset,
            max_output=most if most > 0 else sum(part.scores.shape[1] for part in parts),
        )
        return PaddedDetections(*merged), first.image_sizes

    def _merge_proposals(
        self, model: GeneralizedRCNN, images: Sequence[Any], device: torch.device | str
    ) -> tuple[Proposals, list[HeightWidth]]:
        """What a proposal network kept in each view, suppressed once more."""
        rpn = model.rpn
        parts: list[BoxCandidates] = []
        first: _Run | None = None
        for run in self._runs(model, images, device):
            first = first or run
            found = rpn(model.backbone(run.tensors), run.sizes)
            boxes = _to_first(found.boxes, run, first, rpn.box_offset)
            labels = torch.ones_like(found.valid, dtype=torch.int64)
            parts.append(BoxCandidates(boxes, found.objectness, labels, found.valid))
        assert first is not None
        merged = _suppress(
            parts,
            iou_threshold=rpn.nms_threshold,
            inclusive=rpn.nms_inclusive,
            offset=rpn.box_offset,
            max_output=max(part.scores.shape[1] for part in parts),
        )
        return Proposals(merged.boxes, merged.scores, merged.valid), first.image_sizes

    def _runs(
        self, model: Detector, images: Sequence[Any], device: torch.device | str
    ) -> Iterator[_Run]:
        """The batch as each view sees it, made when it is needed."""
        for view in self.views:
            seen = [view.transform(image) for image in images]
            if view.flip:
                seen = [image.flip(-1) for image in seen]
            batch = model.to_batch(to_image_list(seen, self.size_divisible).to(device))
            sizes = torch.tensor(batch.image_sizes, dtype=torch.float32).to(device)
            yield _Run(
                tensors=batch.tensors,
                sizes=sizes,
                image_sizes=batch.image_sizes,
                flip=view.flip,
            )

    def _unflip_heat_maps(self, maps: Tensor) -> Tensor:
        """Heat maps (rows, K, S, S) of mirrored regions as if they had not been mirrored."""
        count = maps.shape[1]
        schema = KeypointSchema.unnamed(count)
        order = schema.flip_indices
        if self.keypoint_flip_pairs is not None:
            order = list(range(count))
            for left, right in self.keypoint_flip_pairs:
                order[left], order[right] = right, left
        return maps.flip(-1)[:, order]


@dataclass(frozen=True, kw_only=True)
class _Run:
    """A batch as one view sees it.

    Attributes:
        tensors: (B, C, H, W).
        sizes: (B, 2) float32 height and width without padding.
        image_sizes: the same as numbers.
        flip: whether the images are mirrored.
    """

    tensors: Tensor
    sizes: Tensor
    image_sizes: list[HeightWidth]
    flip: bool


def _to_first(boxes: Tensor, run: _Run, first: _Run, offset: float) -> Tensor:
    """Boxes (B, N, 4) of a run in the pixels of the first one."""
    if run.flip:
        boxes = _mirror(boxes, run, offset)
    return boxes * (_corner_sizes(first) / _corner_sizes(run))


def _from_first(boxes: Tensor, run: _Run, first: _Run, offset: float) -> Tensor:
    """The way back."""
    boxes = boxes * (_corner_sizes(run) / _corner_sizes(first))
    return _mirror(boxes, run, offset) if run.flip else boxes


def _mirror(boxes: Tensor, run: _Run, offset: float) -> Tensor:
    """Boxes (B, N, 4) after their images were mirrored left to right."""
    last = run.sizes[:, 1, None] - offset  # (B, 1)
    x1, y1, x2, y2 = boxes.unbind(dim=-1)
    return torch.stack((last - x2, y1, last - x1, y2), dim=-1)


def _corner_sizes(run: _Run) -> Tensor:
    """(B, 1, 4) width, height, width, height."""
    return run.sizes.flip(-1).repeat(1, 2)[:, None, :]


def _accumulate(total: list[Tensor], value: Tensor) -> None:
    """Add to the only entry of a list."""
    if total:
        total[0] += value
    else:
        total.append(value.clone())


def _suppress(
    parts: Sequence[BoxCandidates],
    *,
    iou_threshold: float,
    inclusive: bool,
    offset: float,
    max_output: int,
) -> BoxCandidates:
    """Boxes of several views, the lesser ones that overlap a better one of their class left out, best first."""
    if len(parts) == 1:
        return parts[0]
    boxes, scores, labels, valid = (
        torch.cat(tensors, dim=1) for tensors in zip(*parts, strict=True)
    )
    index, kept = nms_padded(
        boxes,
        scores,
        groups=labels,
        valid=valid,
        iou_threshold=iou_threshold,
        max_output=max_output,
        offset=offset,
        inclusive=inclusive,
    )
    return BoxCandidates(
        boxes=boxes.gather(1, index[..., None].expand(-1, -1, 4)),
        scores=torch.where(kept, scores.gather(1, index), 0.0),
        labels=torch.where(kept, labels.gather(1, index), 0),
        valid=kept,
    )
