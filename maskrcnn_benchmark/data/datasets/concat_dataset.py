"""Several data sets as one."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Any

from torch.utils.data import ConcatDataset as TorchConcatDataset

from maskrcnn_benchmark.errors import DatasetError


class ConcatDataset(TorchConcatDataset[Any]):
    """Data sets of the same classes, one after the other; indices run through.

    The index inside a sample is the one in the joined data set. (The old project left the one in the
    sample's own data set, so that two images could claim the same index.)
    """

    def __init__(self, datasets: Sequence[Any]) -> None:
        """Join data sets.

        Args:
            datasets: at least one; those with `class_names` must agree in them, and so must those with
                keypoints in what these are.

        Raises:
            DatasetError: if the same label means different classes, or the same keypoint different places.
        """
        super().__init__(datasets)
        _check_same_keypoints(datasets)
        named = [dataset for dataset in datasets if hasattr(dataset, "class_names")]
        for other in named[1:]:
            _check_same_classes(named[0].class_names, other.class_names)

    def __getitem__(self, idx: int) -> Any:
        """Sample as (image, target, index)."""
        idx = range(len(self))[idx]
        dataset_idx, sample_idx = self.get_idxs(idx)
        *sample, own_idx = self.datasets[dataset_idx][sample_idx]
        return (*sample, own_idx + idx - sample_idx)

    def get_idxs(self, idx: int) -> tuple[int, int]:
        """Number of the data set that a sample is in, and its index there."""
        dataset_idx = bisect.bisect_right(self.cumulative_sizes, idx)
        return dataset_idx, idx - (self.cumulative_sizes[dataset_idx - 1] if dataset_idx else 0)

    def get_img_info(self, idx: int) -> dict[str, Any]:
        """What the sample's data set knows about its image: height, width, ..."""
        dataset_idx, sample_idx = self.get_idxs(idx)
        info: dict[str, Any] = self.datasets[dataset_idx].get_img_info(sample_idx)  # type: ignore[attr-defined]
        return info

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each label, from 0 (background)."""
        return next(
            (dataset.class_names for dataset in self.datasets if hasattr(dataset, "class_names")),
            (),
        )

    @property
    def contiguous_category_id_to_json_id(self) -> dict[int, int]:
        """Label -> category id, where all of them have the same.

        Raises:
            AttributeError: where they have none, or different ones; so `getattr` with a default works.
        """
        name = "contiguous_category_id_to_json_id"
        first = getattr(self.datasets[0], name, None)
        if first is None or any(getattr(each, name, None) != first for each in self.datasets):
            raise AttributeError(f"the joined data sets have no {name} in common")
        ids: dict[int, int] = first
        return ids

    @property
    def keypoint_schema(self) -> Any:
        """What the keypoints are; None without."""
        return next(iter(_schemas(self.datasets)), None)


def _schemas(datasets: Sequence[Any]) -> list[Any]:
    schemas = (getattr(dataset, "keypoint_schema", None) for dataset in datasets)
    return [schema for schema in schemas if schema is not None]


def _check_same_keypoints(datasets: Sequence[Any]) -> None:
    names = [schema.names for schema in _schemas(datasets)]
    for other in names[1:]:
        if other != names[0]:
            raise DatasetError(
                "data sets to join must have the same keypoints in the same order: one has "
                f"{', '.join(names[0])}, another {', '.join(other)}; make their category records equal"
            )


def _check_same_classes(first: Sequence[str], second: Sequence[str]) -> None:
    if tuple(first) == tuple(second):
        return
    for label in range(max(len(first), len(second))):
        mine = repr(first[label]) if label < len(first) else "not there"
        theirs = repr(second[label]) if label < len(second) else "not there"
        if mine != theirs:
            raise DatasetError(
                f"data sets to join must have the same categories in the same order: label {label} "
                f"is {mine} in the first and {theirs} in another; make the 'categories' lists of "
                "their annotation files equal"
            )
