"""The same images and augmentations for any number of ranks and workers, and after a resume."""

import random
from itertools import chain

import pytest
import torch

from maskrcnn_benchmark.data.datasets import COCODataset
from maskrcnn_benchmark.data.loader import aspect_groups, make_test_loader, make_train_loader
from maskrcnn_benchmark.data.seeds import sample_seed
from maskrcnn_benchmark.data.transforms import (
    ColorJitter,
    Compose,
    RandomHorizontalFlip,
    Resize,
    ToTensor,
)
from maskrcnn_benchmark.errors import ConfigError, DatasetError
from maskrcnn_benchmark.structures.image_list import ImageList

SIZES = [(40, 30), (30, 40), (30, 30), (50, 30), (48, 36), (20, 60), (44, 30), (41, 30), (40, 31)]


class NumpyNoise:
    """A user's transform that draws from all global generators."""

    def __call__(self, image, target):
        import numpy as np

        return image + np.random.rand() + random.random() + torch.rand(()).item(), target


@pytest.fixture
def dataset(drawn_dataset):
    steps = [ColorJitter(0.2, 0.2), Resize((24, 32, 40), 99), RandomHorizontalFlip()]
    return drawn_dataset(SIZES, Compose([*steps, ToTensor(), NumpyNoise()]))


def stream(dataset, iterations=12, **options):
    """What reaches the model, image by image: [iteration][image] -> numbers."""
    loader = make_train_loader(
        dataset, images_per_batch=4, num_iterations=iterations, seed=5, **options
    )
    assert len(loader) == iterations
    batches = []
    for images, targets, indices in loader:
        assert isinstance(images, ImageList)
        assert isinstance(targets, list)
        batches.append(
            [
                (
                    index,
                    height,
                    width,
                    float(image[:, :height, :width].double().sum()),
                    target.sample_seed,
                    *target.bbox.flatten().tolist(),
                )
                for image, (height, width), target, index in zip(
                    images.tensors, images.image_sizes, targets, indices, strict=True
                )
            ]
        )
    return batches


@pytest.fixture
def whole(dataset):
    return stream(dataset)


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_together_see_what_one_process_sees(dataset, whole, world_size):
    ranks = [stream(dataset, rank=rank, world_size=world_size) for rank in range(world_size)]
    together = [list(chain.from_iterable(shares)) for shares in zip(*ranks, strict=True)]
    assert together == whole


@pytest.mark.parametrize("world_size", [1, 2])
def test_workers_change_nothing(dataset, whole, world_size):
    ranks = [
        stream(dataset, rank=rank, world_size=world_size, num_workers=2)
        for rank in range(world_size)
    ]
    assert [list(chain.from_iterable(shares)) for shares in zip(*ranks, strict=True)] == whole


@pytest.mark.parametrize("start", range(0, 13))
def test_a_resumed_run_goes_on_exactly(dataset, whole, start):
    random.seed(start)
    torch.manual_seed(start)
    assert stream(dataset, start_iteration=start) == whole[start:]


def test_resuming_with_workers(dataset, whole):
    assert stream(dataset, start_iteration=7, num_workers=2) == whole[7:]


def test_augmentation_differs_between_passes_and_seeds_are_given(dataset, whole):
    seen = {}
    for batch in whole:
        for sample in batch:
            seen.setdefault(sample[0], []).append(sample)
    for index, samples in seen.items():
        assert [s[4] for s in samples] == [sample_seed(5, e, index) for e in range(len(samples))]
    assert len({(s[1], s[5]) for s in seen[0] + seen[3]}) > 2


def test_every_image_once_per_pass_in_batches_of_one_shape(dataset):
    groups = aspect_groups(dataset)
    assert groups == [0, 1, 1, 0, 0, 1, 0, 0, 0]
    batches = stream(dataset, iterations=9 * 4)
    assert all(len({groups[sample[0]] for sample in batch}) == 1 for batch in batches)
    per_pass = [sorted(i for i, *_ in _of_pass(batches, epoch)) for epoch in range(12)]
    assert per_pass == [list(range(9))] * 12
    mixed = stream(dataset, iterations=9, aspect_grouping=False)
    assert any(len({groups[sample[0]] for sample in batch}) == 2 for batch in mixed)


def _of_pass(batches, epoch):
    return [s for batch in batches for s in batch if s[4] == sample_seed(5, epoch, s[0])]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_models_random_numbers_are_left_alone(dataset, num_workers):
    random.seed(0)
    torch.manual_seed(0)
    states = random.getstate(), torch.get_rng_state()
    stream(dataset, iterations=3, num_workers=num_workers)
    assert random.getstate() == states[0]
    assert torch.equal(torch.get_rng_state(), states[1])


def test_padding(dataset):
    loader = make_train_loader(dataset, images_per_batch=4, num_iterations=2, size_divisible=32)
    assert all(side % 32 == 0 for images, *_ in loader for side in images.tensors.shape[2:])


def test_grouping_needs_sizes():
    with pytest.raises(DatasetError, match=r"list\.get_img_info.*ASPECT_RATIO_GROUPING to False"):
        make_train_loader([1, 2], images_per_batch=1, num_iterations=1)


# Testing


@pytest.mark.parametrize("world_size", [1, 2, 4])
@pytest.mark.parametrize("aspect_grouping", [False, True])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_every_image_once_over_all_ranks(dataset, world_size, aspect_grouping, num_workers):
    shares = []
    for rank in range(world_size):
        loader = make_test_loader(
            dataset,
            images_per_batch=8,
            rank=rank,
            world_size=world_size,
            aspect_grouping=aspect_grouping,
            num_workers=num_workers,
        )
        assert loader.dataset is dataset
        batches = [indices for _, _, indices in loader]
        assert len(batches) == len(loader)
        share = [index for batch in batches for index in batch]
        assert sorted(share) == list(range(min(share), max(share) + 1)), "contiguous"
        assert aspect_grouping or share == sorted(share)
        shares += share
    assert sorted(shares) == list(range(len(dataset)))


def test_more_ranks_than_images(drawn_dataset):
    few = drawn_dataset([(8, 8)] * 2)
    few.transforms = ToTensor()
    seen = []
    for rank in range(4):
        loader = make_test_loader(few, images_per_batch=4, rank=rank, world_size=4)
        seen += [index for _, _, indices in loader for index in indices]
    assert seen == [0, 1]


def test_batches_that_cannot_be_shared(dataset):
    with pytest.raises(ConfigError, match=r"got 3 for 2; set TEST\.IMS_PER_BATCH"):
        make_test_loader(dataset, images_per_batch=3, rank=0, world_size=2)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_bad_image_is_named_plainly_also_from_a_worker(coco_folder, num_workers):
    transforms = Compose([ToTensor()])
    dataset = COCODataset(coco_folder.ann_file, coco_folder.root, True, transforms)
    (coco_folder.root / "wide.png").write_bytes(b"nothing")
    loader = make_test_loader(dataset, images_per_batch=1, num_workers=num_workers)
    with pytest.raises(DatasetError, match=r"^image file '.*wide\.png' cannot be read") as caught:
        list(loader)
    assert "Traceback" not in str(caught.value)


@pytest.mark.shared_data
def test_real_coco_stream(shared):
    folder = shared / "data/coco_mini"
    transforms = Compose([Resize(64, 100), RandomHorizontalFlip(), ToTensor()])
    dataset = COCODataset(
        folder / "annotations/instances_train2017.json", folder / "train2017", True, transforms
    )
    whole = stream(dataset, iterations=20, size_divisible=32)
    ranks = [
        stream(dataset, iterations=20, size_divisible=32, rank=r, world_size=2, num_workers=2)
        for r in range(2)
    ]
    together = [list(chain.from_iterable(shares)) for shares in zip(*ranks, strict=True)]
    # The batch is padded to its own largest image; sums do not see the padding.
    assert together == whole
