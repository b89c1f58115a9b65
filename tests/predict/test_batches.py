from __future__ import annotations

from collections.abc import Iterator

import torch

from maskrcnn_benchmark.predict.batches import Prepared, group_by_size
from maskrcnn_benchmark.structures.sizes import HeightWidth


def images(*sizes: tuple[int, int]) -> Iterator[Prepared]:
    for index, size in enumerate(sizes):
        yield Prepared(index=index, tensor=torch.zeros(3, *size), image_size=HeightWidth(1, 1))


def groups(*sizes: tuple[int, int], batch_size: int, size_divisible: int = 0) -> list[list[int]]:
    batches = group_by_size(images(*sizes), batch_size=batch_size, size_divisible=size_divisible)
    return [[image.index for image in batch] for batch in batches]


def test_images_of_one_padded_size_share_a_batch() -> None:
    sizes = [(30, 60), (32, 64), (33, 64), (1, 33), (40, 64)]
    assert groups(*sizes, batch_size=2, size_divisible=32) == [[0, 1], [2, 4], [3]]
    assert groups(*sizes, batch_size=2) == [[0], [1], [2], [3], [4]]
    assert groups(*sizes, batch_size=1, size_divisible=32) == [[0], [1], [2], [3], [4]]
    assert groups(batch_size=3) == []


def test_few_images_wait() -> None:
    sizes = [(side, 1) for side in range(1, 40)]
    taken = 0

    def counted() -> Iterator[Prepared]:
        nonlocal taken
        for image in images(*sizes):
            taken += 1
            yield image

    done = 0
    for batch in group_by_size(counted(), batch_size=3):
        done += len(batch)
        assert taken - done < 4 * 3
    assert done == 39
