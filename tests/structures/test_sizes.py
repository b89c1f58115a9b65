from maskrcnn_benchmark.structures.sizes import HeightWidth, WidthHeight


def test_sizes_are_plain_tuples_that_know_their_order():
    size = WidthHeight(640, 480)
    assert size == (640, 480)
    assert size.transposed() == HeightWidth(height=480, width=640)
    assert size.transposed().transposed() == size
