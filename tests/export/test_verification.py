import pytest
import torch

from maskrcnn_benchmark.export.verification import (
    Differences,
    Tolerance,
    compare,
    make_images,
    scale,
)
from maskrcnn_benchmark.structures.padded import PaddedDetections, Proposals


def detections(count=4, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(1, count, 2, generator=generator) * 100
    return PaddedDetections(
        boxes=torch.cat((corner, corner + 20), dim=2),
        scores=torch.linspace(0.9, 0.3, count)[None],
        labels=torch.arange(1, count + 1)[None],
        valid=torch.ones(1, count, dtype=torch.bool),
        masks=torch.rand(1, count, 6, 6, generator=generator),
        keypoints=torch.rand(1, count, 3, 3, generator=generator) * 100,
        keypoint_scores=torch.rand(1, count, 3, generator=generator),
    )


def differences_of(expected, found, **options):
    differences = Differences()
    compare(expected, found, differences, **options)
    return differences


def without(detections, *rows):
    """The detections but for some rows."""
    valid = detections.valid.clone()
    valid[:, list(rows)] = False
    return detections._replace(valid=valid)


def test_equal_but_for_the_order():
    one = detections()
    two = PaddedDetections(*(value.flip(1) for value in one))
    found = differences_of(one, two)
    assert found == Differences(images=1, detections=4, keypoints=[0.0] * 12)
    assert found.passes(Tolerance())


@pytest.mark.parametrize(
    ("change", "quantity", "value"),
    [
        ({"boxes": 0.1}, "boxes", 0.1),
        ({"scores": 0.002}, "scores", 0.002),
        ({"keypoints": 1.0}, "keypoint_distance", 2**0.5),
    ],
)
def test_the_largest_difference(change, quantity, value):
    one = detections()
    moved = {name: getattr(one, name) + step for name, step in change.items()}
    found = differences_of(one, one._replace(**moved))
    assert getattr(found, quantity) == pytest.approx(value, abs=1e-4)
    assert found.unmatched == 0
    assert not found.passes(Tolerance())


def test_masks():
    one = detections()
    masks = torch.zeros(1, 4, 6, 6)
    masks[:, :, :2] = 1
    other = masks.clone()
    other[:, 1, 2] = 1
    found = differences_of(one._replace(masks=masks), one._replace(masks=other))
    assert found.mask_iou == pytest.approx(2 / 3)
    empty = one._replace(masks=torch.zeros(1, 4, 6, 6))
    assert differences_of(empty, empty).mask_iou == 1


def test_what_only_one_found():
    one = detections()
    for less, count in ((without(one, 3), 1), (without(one, 1), 1), (without(one, 0, 1, 2, 3), 4)):
        assert differences_of(one, less).unmatched == count
        assert differences_of(less, one).unmatched == count
    # Another label is another detection.
    renamed = one._replace(labels=torch.tensor([[1, 5, 3, 4]]))
    found = differences_of(one, renamed)
    assert found.unmatched == 2
    assert not found.passes(Tolerance())
    assert found.passes(Tolerance(unmatched=0.5))


def test_rounding_at_the_threshold_of_the_scores():
    one = detections()  # The last has a score of 0.3.
    assert differences_of(one, without(one, 3), threshold=0.2995).unmatched == 0
    assert differences_of(one, without(one, 3), threshold=0.298).unmatched == 1
    assert differences_of(one, without(one, 2), threshold=0.2995).unmatched == 1


def test_rounding_at_the_end_of_a_full_list():
    one, other = detections(), detections(seed=1)
    scores = one.scores.clone()
    scores[:, 3] -= 0.0005
    last_differs = one._replace(
        boxes=torch.cat((one.boxes[:, :3], other.boxes[:, 3:]), dim=1), scores=scores
    )
    assert differences_of(one, last_differs).unmatched == 0
    # Beyond rounding: theirs took the place of a better one.
    scores[:, 3] -= 0.1
    assert differences_of(one, last_differs).unmatched == 1


def test_images_without_detections():
    one = detections()
    nothing = without(one, 0, 1, 2, 3)
    assert differences_of(nothing, nothing).passes(Tolerance())
    assert differences_of(nothing, one).unmatched == 4
    # A lost object is no matter of rounding because it was the only one.
    single = without(one, 1, 2, 3)
    assert not differences_of(single, nothing).passes(Tolerance())


@pytest.mark.parametrize("field", ["boxes", "scores", "keypoints"])
def test_what_is_no_number_does_not_pass(field):
    one = detections()
    broken = one._replace(**{field: torch.full_like(getattr(one, field), torch.nan)})
    assert not differences_of(one, broken).passes(Tolerance())


def test_proposals():
    one = detections()
    proposals = Proposals(one.boxes, one.scores, one.valid)
    found = differences_of(proposals, proposals._replace(boxes=one.boxes + 0.01))
    assert found.boxes == pytest.approx(0.01, abs=1e-4)
    assert found.detections == 4


def test_scale():
    one = detections()
    moved = scale(one, (2.0, 3.0))
    torch.testing.assert_close(moved.boxes[..., 0], one.boxes[..., 0] * 2)
    torch.testing.assert_close(moved.boxes[..., 3], one.boxes[..., 3] * 3)
    torch.testing.assert_close(moved.keypoints[..., 1], one.keypoints[..., 1] * 3)
    torch.testing.assert_close(moved.keypoints[..., 2], one.keypoints[..., 2])


def test_generated_pictures():
    images = make_images([(40, 60), (50, 30)])
    assert [image.shape for image in images] == [(40, 60, 3), (50, 30, 3), (40, 60, 3)]
    assert images[0].std() > 20
    assert images[2].std() == 0
