import pickle
import random

import numpy as np
import pytest
import torch
from torchvision.transforms import ColorJitter

from maskrcnn_benchmark.data.seeded import SeededDataset, seeded_generators
from maskrcnn_benchmark.data.seeds import SampleIndex, sample_seed


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_all_three_generators_are_seeded_and_restored():
    before = draw()
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    first = draw()
    with seeded_generators(2**62 + 5):
        inside = draw()
        draw()
    second = draw()
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    assert (first, second) == (draw(), draw())
    draw()
    with seeded_generators(2**62 + 5):
        assert draw() == inside
    with seeded_generators(5):
        other = draw()
    assert all(a != b for a, b in zip(inside, other, strict=True)), "the upper bits count"
    assert before != inside


def test_generators_are_restored_after_an_error():
    state = random.getstate()
    with pytest.raises(KeyError), seeded_generators(1):
        raise KeyError
    assert random.getstate() == state


def jitter(image, target):
    return (
        ColorJitter(0.5, 0.5, 0.5, 0.2)(image),
        random.random(),
        float(np.random.rand()),
    ), target


@pytest.fixture
def dataset(drawn_dataset):
    return SeededDataset(drawn_dataset([(12, 8), (8, 12), (9, 9)], jitter), seed=1)


def test_a_sample_depends_on_seed_epoch_and_index_alone(dataset, drawn_dataset):
    def numbers(of, *which):
        (image, *drawn), target, _ = of[SampleIndex(*which)]
        return (*drawn, image.getpixel((0, 0)), target.sample_seed)

    first = numbers(dataset, 1, 4)
    draw()
    assert numbers(dataset, 1, 4) == first
    other_seed = SeededDataset(dataset.dataset, seed=2)
    others = [numbers(dataset, 1, 5), numbers(dataset, 2, 4), numbers(other_seed, 1, 4)]
    assert len({first, *others}) == 4
    assert first[-1] == sample_seed(1, 4, 1)
    assert numbers(dataset, 1, 0) == (*_bare(dataset, 1), sample_seed(1, 0, 1))


def _bare(dataset, index):
    (image, *drawn), _, _ = dataset[index]
    return (*drawn, image.getpixel((0, 0)))


def test_it_answers_for_the_data_set_inside(dataset):
    assert len(dataset) == 3
    assert dataset.get_img_info(0) == {"width": 12, "height": 8}
    with pytest.raises(AttributeError, match="nothing_such"):
        dataset.nothing_such  # noqa: B018
    assert len(pickle.loads(pickle.dumps(SeededDataset([1, 2], seed=0)))) == 2
