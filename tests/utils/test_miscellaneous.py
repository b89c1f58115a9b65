import json
from types import SimpleNamespace

from maskrcnn_benchmark.utils.miscellaneous import mkdir, save_config, save_labels


def test_mkdir_makes_all_levels_and_accepts_what_exists(tmp_path):
    mkdir(tmp_path / "a" / "b")
    mkdir(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_the_config_is_dumped(tmp_path):
    save_config(SimpleNamespace(dump=lambda: "DTYPE: float32\n"), tmp_path / "config.yml")
    assert (tmp_path / "config.yml").read_text() == "DTYPE: float32\n"


def test_labels_of_all_datasets_are_written(tmp_path):
    first = SimpleNamespace(categories={1: "person", 3: "car"})
    second = SimpleNamespace(categories={3: "car", 7: "train"})
    save_labels([SimpleNamespace(datasets=[first, second])], tmp_path)
    text = (tmp_path / "labels.json").read_text()
    assert json.loads(text) == {"1": "person", "3": "car", "7": "train"}
    assert text.startswith('{\n  "1": "person"')


def test_datasets_without_names_are_reported(tmp_path, caplog):
    save_labels([object()], tmp_path)
    assert "Dataset object has no categories" in caplog.text
    assert not (tmp_path / "labels.json").exists()
