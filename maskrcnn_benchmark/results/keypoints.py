"""Keypoints of the objects of one image, in that image's own pixels.

N: objects.    K: keypoints of an object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.structures.keypoint import Keypoints, KeypointSchema

# A keypoint with a higher score is shown: Detectron's for logits, detectron2's for probabilities.
THRESHOLDS = {"logit": 2.0, "probability": 0.05}


@dataclass(frozen=True, eq=False, kw_only=True)
class FoundKeypoints:
    """Keypoints, predicted or annotated.

    Attributes:
        points: (N, K, 3) float32: x, y in pixels of the image, and COCO's visibility (1 for predictions, 0 for a
            keypoint that is not annotated).
        schema: names and skeleton.
        scores: (N, K) float32: logits of the heat maps, or, of a model with detectron2's numerics, probabilities;
            None for ground truth.
        threshold: pictures show the keypoints with a higher score.
    """

    points: NDArray[np.float32]
    schema: KeypointSchema
    scores: NDArray[np.float32] | None = None
    threshold: float = THRESHOLDS["logit"]

    def __post_init__(self) -> None:
        """Bring everything to its declared type.

        Raises:
            ShapeError: if the parts do not fit each other.
        """
        points = np.asarray(self.points, dtype=np.float32)
        object.__setattr__(self, "points", points)
        shape = (len(points), len(self.schema.names))
        if points.shape != (*shape, 3):
            raise ShapeError(
                f"keypoints must have shape (N, {shape[1]}, 3), x, y and visibility of each of {shape[1]} "
                f"keypoints; got {points.shape}"
            )
        if self.scores is not None:
            scores = np.asarray(self.scores, dtype=np.float32)
            object.__setattr__(self, "scores", scores)
            if scores.shape != shape:
                raise ShapeError(f"scores of keypoints must have shape {shape}, got {scores.shape}")

    @classmethod
    def from_field(
        cls,
        keypoints: Keypoints,
        *,
        schema: KeypointSchema | None = None,
        threshold: float = THRESHOLDS["logit"],
        offset: float = 0.0,
    ) -> FoundKeypoints:
        """The field `keypoints` of a BoxList that is in the image's pixels already.

        Args:
            keypoints: with the field `logits` if they are predicted.
            schema: None: the one they have.
            threshold: see the class.
            offset: taken off x and y, for a network whose keypoints are continuous: here they name pixels.
        """
        points = keypoints.keypoints.detach().float().cpu().numpy()
        scores = keypoints.get_field("logits") if keypoints.has_field("logits") else None
        return cls(
            points=points - np.array([offset, offset, 0.0], dtype=np.float32),
            schema=schema or keypoints.schema,
            scores=None if scores is None else scores.detach().float().cpu().numpy(),
            threshold=threshold,
        )

    @classmethod
    def from_coco(
        cls, entries: Sequence[Mapping[str, Any]], schema: KeypointSchema | None = None
    ) -> FoundKeypoints | None:
        """The keypoints of COCO annotations or results; None unless all have some."""
        if not entries or not all(entry.get("keypoints") for entry in entries):
            return None
        points = np.array([entry["keypoints"] for entry in entries], dtype=np.float32)
        points = points.reshape(len(entries), -1, 3)
        scores = None
        if all("keypoint_scores" in entry for entry in entries):
            scores = np.array([entry["keypoint_scores"] for entry in entries], dtype=np.float32)
        return cls(
            points=points, schema=schema or KeypointSchema.unnamed(points.shape[1]), scores=scores
        )

    @staticmethod
    def concatenate(parts: Sequence[FoundKeypoints | None]) -> FoundKeypoints | None:
        """Those of several parts, in their order; None if none of them has any.

        Raises:
            ShapeError: if some have keypoints, or scores of them, and others have not.
        """
        known = [part for part in parts if part is not None]
        if not known:
            return None
        scores = [part.scores for part in known if part.scores is not None]
        if len(known) < len(parts) or len(scores) not in (0, len(known)):
            raise ShapeError("some parts have keypoints, or scores of them, and others have not")
        return replace(
            known[0],
            points=np.concatenate([part.points for part in known]),
            scores=np.concatenate(scores) if scores else None,
        )

    @property
    def is_shown(self) -> NDArray[np.bool_]:
        """Which keypoints (N, K) are there to be seen: annotated, or of a score above the threshold."""
        shown: NDArray[np.bool_] = self.points[..., 2] > 0
        return shown if self.scores is None else shown & (self.scores > self.threshold)

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, positions: Any) -> FoundKeypoints:
        """Those of some of the objects."""
        return replace(
            self,
            points=self.points[positions],
            scores=None if self.scores is None else self.scores[positions],
        )

    def to_coco(self, index: int) -> dict[str, Any]:
        """What an annotation says about the keypoints of an object: flat x, y, visibility, and their scores."""
        entry: dict[str, Any] = {"keypoints": _decimals(self.points[index].ravel())}
        if self.scores is not None:
            entry["keypoint_scores"] = _decimals(self.scores[index])
        return entry

    def category_record(self) -> dict[str, Any]:
        """What a category says about keypoints; COCO counts the ends of lines from 1."""
        return {
            "keypoints": list(self.schema.names),
            "skeleton": [[a + 1, b + 1] for a, b in self.schema.skeleton],
        }

    def to_dict(self) -> dict[str, Any]:
        """Everything in types that JSON knows."""
        return {
            "points": _decimals(self.points),
            "scores": None if self.scores is None else _decimals(self.scores),
            "names": list(self.schema.names),
            "skeleton": [list(line) for line in self.schema.skeleton],
        }


def _decimals(values: NDArray[np.float32]) -> list[Any]:
    """The float64 numbers with the fewest digits that round to these."""
    return values.astype(np.str_).astype(np.float64).tolist()  # type: ignore[no-any-return]
