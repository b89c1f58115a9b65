import sys

import pytest

from maskrcnn_benchmark.utils.imports import import_file


@pytest.fixture
def module_file(tmp_path):
    path = tmp_path / "anything.py"
    path.write_text("VALUE = __name__\n")
    return path


def test_a_file_becomes_a_module(module_file):
    module = import_file("some.name", module_file)
    assert module.VALUE == "some.name"
    assert "some.name" not in sys.modules


def test_it_can_be_made_importable(module_file):
    try:
        module = import_file("importable_for_a_test", str(module_file), True)
        import importable_for_a_test

        assert importable_for_a_test is module
    finally:
        sys.modules.pop("importable_for_a_test", None)


def test_what_is_not_there_or_not_python_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="catalog"):
        import_file("m", tmp_path / "catalog.py")
    (tmp_path / "catalog.txt").write_text("")
    with pytest.raises(ImportError, match=r"catalog\.txt"):
        import_file("m", tmp_path / "catalog.txt")
