import pytest

from maskrcnn_benchmark.utils.registry import Registry


def test_parts_are_registered_by_call_or_decorator():
    registry = Registry()

    @registry.register("first")
    def first():
        return 1

    def second():
        return 2

    assert registry.register("second", second) is second
    assert registry["first"]() == 1
    assert sorted(registry) == ["first", "second"]
    assert isinstance(registry, dict)


def test_initial_parts_can_be_given():
    assert Registry({"a": 1})["a"] == 1


def test_a_name_is_given_once():
    registry = Registry(part=1)
    with pytest.raises(ValueError, match="'part' already belongs to 1"):
        registry.register("part", 2)
    assert registry["part"] == 1
