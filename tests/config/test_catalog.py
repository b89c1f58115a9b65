from __future__ import annotations

from pathlib import Path

import pytest

from maskrcnn_benchmark.config import get_defaults, paths_catalog
from maskrcnn_benchmark.config.catalog import find_dataset, find_weights, load_catalog
from maskrcnn_benchmark.errors import ConfigError

MINE = """
class DatasetCatalog:
    DATASETS = {"nuts": 1}

    @staticmethod
    def get(name):
        if name == "nuts":
            return {"factory": "NutDataset", "args": {"folder": "nuts"}}
        raise RuntimeError("Dataset not available: " + name)


class ModelCatalog:
    @staticmethod
    def get(name):
        return "https://example.org/" + name
"""


def test_the_catalog_of_the_package_is_the_default() -> None:
    config = get_defaults()
    assert load_catalog(config.PATHS_CATALOG) is paths_catalog
    assert find_dataset(config, "coco_2017_val")["factory"] == "COCODataset"
    assert find_weights(config, "ImageNetPretrained/MSRA/R-50").endswith("/MSRA/R-50.pkl")


def test_the_package_may_lie_elsewhere() -> None:
    path = "/somewhere/else/maskrcnn_benchmark/config/paths_catalog.py"
    assert load_catalog(path) is paths_catalog


def test_a_catalog_of_ones_own(tmp_path: Path) -> None:
    config = get_defaults()
    config.PATHS_CATALOG = str(tmp_path / "mine.py")
    Path(config.PATHS_CATALOG).write_text(MINE)
    assert find_dataset(config, "nuts") == {"factory": "NutDataset", "args": {"folder": "nuts"}}
    assert find_weights(config, "x.pkl") == "https://example.org/x.pkl"
    with pytest.raises(ConfigError, match=r"'nust' is neither .* did you mean nuts\?.*CUSTOM"):
        find_dataset(config, "nust")


def test_data_given_directly_comes_first() -> None:
    config = get_defaults()
    entry = {"ann_file": "a.json", "img_dir": "images"}
    config.DATASETS.CUSTOM = {"coco_2017_val": entry, "toy": entry}
    expected = {"factory": "COCODataset", "args": {"root": "images", "ann_file": "a.json"}}
    assert find_dataset(config, "toy") == expected
    assert find_dataset(config, "coco_2017_val") == expected
    with pytest.raises(ConfigError, match=r"did you mean toy\?"):
        find_dataset(config, "toi")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "which is no such file"),
        ("x = 1\n", "has no class DatasetCatalog"),
        ("1 / 0\n", "fails when imported: ZeroDivisionError"),
        ("def (\n", "fails when imported: SyntaxError"),
    ],
)
def test_a_catalog_that_is_none(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_catalog(path)


def test_custom_data_of_other_formats() -> None:
    config = get_defaults()
    config.DATASETS.CUSTOM = {
        "animals": {"data_dir": "/data/voc", "split": "all", "classes": "raccoon, fox"},
        "pascal": {"data_dir": "/data/voc", "split": "train"},
        "streets": {"img_dir": "a", "ann_dir": "b", "split": "val", "mode": "poly"},
    }
    assert find_dataset(config, "animals") == {
        "factory": "PascalVOCDataset",
        "args": {"data_dir": "/data/voc", "split": "all", "classes": ("raccoon", "fox")},
    }
    assert "classes" not in find_dataset(config, "pascal")["args"]
    assert find_dataset(config, "streets") == {
        "factory": "CityScapesDataset",
        "args": {"img_dir": "a", "ann_dir": "b", "split": "val", "mode": "poly"},
    }
    for entry in (
        {"data_dir": "a"},
        {"img_dir": "a", "ann_dir": "b"},
        {"ann_file": "a", "split": "b"},
    ):
        with pytest.raises(ConfigError, match=f"'wrong' has {', '.join(entry)}"):
            config.DATASETS.CUSTOM = {"wrong": entry}
