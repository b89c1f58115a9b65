import torch

from maskrcnn_benchmark.data.collate_batch import BatchCollator, BBoxAugCollator


def test_batches_are_padded_images_and_lists():
    samples = [(torch.ones(3, 30, 50), "a", 7), (torch.ones(3, 40, 20), "b", 9)]
    images, targets, indices = BatchCollator(32)(samples)
    assert images.tensors.shape == (2, 3, 64, 64)
    assert images.image_sizes == [(30, 50), (40, 20)]
    assert (targets, indices) == (["a", "b"], [7, 9])
    assert BatchCollator()(samples)[0].tensors.shape == (2, 3, 40, 50)


def test_images_for_augmentation_stay_as_they_are():
    assert BBoxAugCollator()([("x", "a", 7), ("y", "b", 9)]) == [("x", "y"), ("a", "b"), (7, 9)]
