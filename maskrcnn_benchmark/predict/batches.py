"""Images of any sizes -> batches in which each image gives what it gives alone.

What is beside an image in its batch changes nothing, but how far it is padded does: convolutions near its right and
lower edge see the padding. So a batch holds only images that are padded to the same size, each as if it were alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor

from maskrcnn_benchmark.structures.sizes import HeightWidth

# So many batches' worth of images wait for others of their size.
_WAITING_BATCHES = 4


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """An image as the network sees it.

    Attributes:
        index: which of the images it is.
        tensor: (C, h, w).
        image_size: height and width of the original.
        path: its file, where that is known.
    """

    index: int
    tensor: Tensor
    image_size: HeightWidth
    path: str | None = None


def group_by_size(
    images: Iterable[Prepared], *, batch_size: int, size_divisible: int = 0
) -> Iterator[list[Prepared]]:
    """Batches of images that are padded to the same size, about in the order in which they come.

    Args:
        images: are taken as they are needed; at most four batches' worth of them are held.
        batch_size: most images of a batch.
        size_divisible: height and width are padded to a multiple of it, where above 0.
    """
    waiting: dict[tuple[int, int], list[Prepared]] = {}
    for image in images:
        height, width = image.tensor.shape[-2:]
        if size_divisible > 0:
            height += -height % size_divisible
            width += -width % size_divisible
        group = waiting.setdefault((height, width), [])
        group.append(image)
        if len(group) == batch_size:
            yield waiting.pop((height, width))
        elif sum(map(len, waiting.values())) >= _WAITING_BATCHES * batch_size:
            yield waiting.pop(max(waiting, key=lambda size: len(waiting[size])))
    yield from waiting.values()
