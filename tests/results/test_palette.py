import itertools

from maskrcnn_benchmark.results.palette import color_of, object_colors, text_color_on


def distance(a: tuple[int, int, int], b: tuple[int, int, int]) -> int:
    return sum(abs(x - y) for x, y in zip(a, b, strict=True))


def test_the_first_classes_are_far_apart() -> None:
    colors = [color_of(index) for index in range(12)]
    assert min(distance(a, b) for a, b in itertools.combinations(colors, 2)) > 40


def test_objects_of_one_class_differ_but_less_than_classes() -> None:
    first, second, other = object_colors([1, 1, 2])
    assert 0 < distance(first, second) < distance(first, other)
    assert object_colors([2])[0] == other


def test_instances_differ_whatever_their_class() -> None:
    assert object_colors([5, 5, 5], by="instance") == [color_of(0), color_of(1), color_of(2)]


def test_text_is_black_on_light_and_white_on_dark() -> None:
    assert text_color_on((255, 255, 0)) == (0, 0, 0)
    assert text_color_on((60, 0, 90)) == (255, 255, 255)


def test_channels_are_bytes() -> None:
    for index in range(200):
        assert all(0 <= channel <= 255 for channel in color_of(index))
