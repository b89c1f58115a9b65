"""Base of data sets whose classes are listed in code."""

from __future__ import annotations

from typing import Any

from torch.utils.data import Dataset


class AbstractDataset(Dataset[Any]):
    """A data set of (image, BoxList, index).

    A subclass lists its class names in `CLASSES`, "__background__" first, calls `initMaps` in its
    constructor and defines `__getitem__`, `__len__` and `get_img_info`.
    """

    CLASSES: list[str] | tuple[str, ...] | None = None

    def __init__(self) -> None:
        """Prepare the maps between names and labels, which `initMaps` fills."""
        self.name_to_id: dict[str, int] = {}
        self.id_to_name: dict[int, str] = {}

    def __getitem__(self, index: int) -> Any:
        """Sample as (image, target, index)."""
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__")

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must define __len__")

    def get_img_info(self, index: int) -> dict[str, Any]:
        """Height and width of an image, without reading it."""
        raise NotImplementedError(f"{type(self).__name__} must define get_img_info")

    def initMaps(self) -> None:
        """Number the names in `CLASSES` from 0."""
        if not self.CLASSES or self.CLASSES[0] != "__background__":
            raise NotImplementedError(
                f"{type(self).__name__} must define CLASSES with '__background__' first, "
                f"got {self.CLASSES}"
            )
        self.name_to_id = {name: label for label, name in enumerate(self.CLASSES)}
        self.id_to_name = dict(enumerate(self.CLASSES))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each label, from 0 (background)."""
        return tuple(self.CLASSES or ())
