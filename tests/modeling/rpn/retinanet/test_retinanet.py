"""Anchors and predictions belong together: the order in which the head's channels are laid out."""

from __future__ import annotations

import torch

from maskrcnn_benchmark.modeling.rpn.anchor_generator import AnchorGenerator
from maskrcnn_benchmark.modeling.rpn.retinanet import (
    RetinaNetHead,
    RetinaNetLoss,
    RetinaNetModule,
    RetinaNetPostProcessor,
)


def make_module() -> RetinaNetModule:
    return RetinaNetModule(
        anchor_generator=AnchorGenerator(
            sizes=((16, 20), (32, 40)), strides=(8, 16), aspect_ratios=(0.5, 1.0)
        ),
        head=RetinaNetHead(in_channels=1, num_classes=4, num_anchors=4, num_convs=0),
        loss=RetinaNetLoss(),
        post_processor=RetinaNetPostProcessor(max_detections=1, score_threshold=0.5),
    )


def test_channel_a_times_classes_plus_c_is_class_c_of_anchor_a() -> None:
    module = make_module()
    features = [torch.zeros(1, 1, 5, 7), torch.zeros(1, 1, 3, 4)]
    sizes = torch.tensor([[200.0, 200.0]])
    anchors = module.anchor_generator(features)
    for level, y, x, anchor, label in ((0, 2, 3, 1, 1), (0, 4, 6, 3, 3), (1, 1, 2, 2, 2)):
        logits = [torch.full((1, 12, *f.shape[2:]), -9.0) for f in features]
        deltas = [torch.zeros(1, 16, *f.shape[2:]) for f in features]
        logits[level][0, anchor * 3 + label - 1, y, x] = 5.0
        # A whole width to the right.
        deltas[level][0, anchor * 4, y, x] = 10.0
        module.head.forward = lambda _, out=(logits, deltas): out  # type: ignore[method-assign]
        found = module(features, sizes)
        assert found.labels.tolist() == [[label]]
        box = anchors[level].view(*features[level].shape[2:], 4, 4)[y, x, anchor].clone()
        box[[0, 2]] += box[2] - box[0] + 1
        torch.testing.assert_close(found.boxes[0, 0], box.clamp(min=0, max=199))


def test_names_are_those_of_the_old_checkpoints() -> None:
    names = {name.partition(".")[0] for name in make_module().state_dict()}
    assert names == {"anchor_generator", "head"}
