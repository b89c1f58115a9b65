import pytest

from maskrcnn_benchmark.data.datasets import ConcatDataset
from maskrcnn_benchmark.errors import DatasetError


@pytest.fixture
def parts(drawn_dataset):
    return drawn_dataset([(10, 20), (30, 20)]), drawn_dataset([(11, 9), (12, 9), (13, 9)])


def test_indices_run_through(parts):
    joined = ConcatDataset(parts)
    assert len(joined) == 5
    assert [joined.get_idxs(i) for i in range(5)] == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]
    assert [joined.get_img_info(i)["width"] for i in range(5)] == [10, 30, 11, 12, 13]
    assert [joined[i][0].width for i in range(5)] == [10, 30, 11, 12, 13]
    assert [joined[i][2] for i in range(5)] == [0, 1, 2, 3, 4]
    assert joined[-1][2] == 4
    assert joined.class_names == ()


def test_classes_must_agree(parts):
    first, second = parts
    first.class_names = ("__background__", "cat", "dog")
    second.class_names = ("__background__", "cat", "dog")
    assert ConcatDataset(parts).class_names == first.class_names
    second.class_names = ("__background__", "dog", "cat")
    with pytest.raises(DatasetError, match="label 1 is 'cat' in the first and 'dog' in another"):
        ConcatDataset(parts)
    second.class_names = ("__background__", "cat")
    with pytest.raises(DatasetError, match="label 2 is 'dog' in the first and not there"):
        ConcatDataset(parts)


def test_category_ids_are_those_that_all_have(parts):
    first, second = parts
    name = "contiguous_category_id_to_json_id"
    joined = ConcatDataset(parts)
    assert getattr(joined, name, None) is None
    first.contiguous_category_id_to_json_id = {1: 7, 2: 3}
    assert getattr(joined, name, None) is None
    second.contiguous_category_id_to_json_id = {1: 7, 2: 3}
    assert joined.contiguous_category_id_to_json_id == {1: 7, 2: 3}
    second.contiguous_category_id_to_json_id = {1: 3, 2: 7}
    assert getattr(joined, name, None) is None
