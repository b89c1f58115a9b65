import torch

from maskrcnn_benchmark.structures.outlines import outline_masks
from maskrcnn_benchmark.structures.polygons import rasterize_polygons


def test_a_rectangle_has_four_corners_on_pixel_edges():
    mask = torch.zeros(6, 8)
    mask[1:3, 2:7] = 1
    (outline,) = outline_masks(mask)
    assert sorted(map(tuple, outline.view(-1, 2).tolist())) == [(2, 1), (2, 3), (7, 1), (7, 3)]


def test_drawing_the_outlines_gives_the_mask_back_with_its_holes_filled():
    for trial in range(50):
        torch.manual_seed(trial)
        mask = torch.rand(13, 17) > torch.rand(1)
        drawn = rasterize_polygons(outline_masks(mask), height=13, width=17).bool()
        assert torch.equal(drawn & mask, mask)
        assert torch.equal(drawn, _without_holes(mask))


def _without_holes(mask: torch.Tensor) -> torch.Tensor:
    """Everything that cannot be reached from outside through the background.

    Background connects across corners where the object does not: 8 neighbours.
    """
    outside = torch.zeros(mask.shape[0] + 2, mask.shape[1] + 2)
    outside[0] = 1
    background = torch.nn.functional.pad((~mask).float(), (1, 1, 1, 1), value=1.0)
    while True:
        grown = torch.nn.functional.max_pool2d(outside[None, None], 3, 1, 1)[0, 0] * background
        if torch.equal(grown, outside):
            return ~outside[1:-1, 1:-1].bool()
        outside = grown


def test_nothing_has_no_outline():
    assert outline_masks(torch.zeros(4, 5)) == []
    assert rasterize_polygons([], height=4, width=5).shape == (4, 5)
