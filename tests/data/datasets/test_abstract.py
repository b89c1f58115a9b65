import pytest

from maskrcnn_benchmark.data.datasets import AbstractDataset


class Fruits(AbstractDataset):
    CLASSES = ("__background__", "fig", "date")

    def __init__(self):
        super().__init__()
        self.initMaps()


def test_names_are_numbered():
    fruits = Fruits()
    assert fruits.name_to_id == {"__background__": 0, "fig": 1, "date": 2}
    assert fruits.id_to_name[2] == "date"
    assert fruits.class_names == Fruits.CLASSES


def test_background_comes_first():
    class Wrong(Fruits):
        CLASSES = ("fig", "date")

    with pytest.raises(NotImplementedError, match="'__background__' first"):
        Wrong()


@pytest.mark.parametrize("use", [len, lambda d: d[0], lambda d: d.get_img_info(0)])
def test_what_a_data_set_must_define(use):
    with pytest.raises(NotImplementedError, match="Fruits must define"):
        use(Fruits())
