"""A small RetinaNet with random weights, made of the parts themselves."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from maskrcnn_benchmark.modeling.backbone import FPN, Backbone, LastLevelP6P7, ResNet
from maskrcnn_benchmark.modeling.detector import RetinaNet
from maskrcnn_benchmark.modeling.rpn.anchor_generator import AnchorGenerator, octave_sizes
from maskrcnn_benchmark.modeling.rpn.retinanet import (
    RetinaNetHead,
    RetinaNetLoss,
    RetinaNetModule,
    RetinaNetPostProcessor,
)
from maskrcnn_benchmark.numerics import AnchorStyle
from tests.thin_models import WIDTH, make_images

STRIDES = (8, 16, 32, 64, 128)


def thin_retinanet(
    *,
    classes: int = 4,
    style: AnchorStyle = "detectron",
    loss: dict[str, Any] | None = None,
    inference: dict[str, Any] | None = None,
    seed: int = 0,
) -> RetinaNet:
    """A detector in eval mode whose random weights make it find something; background is one of the classes.

    Args:
        classes: background included.
        style: of the anchors.
        loss: arguments of `RetinaNetLoss`.
        inference: arguments of `RetinaNetPostProcessor`.
        seed: of the weights.
    """
    torch.manual_seed(seed)
    body = ResNet(depth=18, stem_channels=WIDTH, width=WIDTH, return_stages=(2, 3, 4))
    channels = [body.out_channels[stage] for stage in (2, 3, 4)]
    top = LastLevelP6P7(in_channels=channels[-1], out_channels=16)
    fpn = FPN(in_channels=channels, out_channels=16, first_level=2, top_block=top)
    backbone = Backbone(body=body, fpn=fpn, out_channels=16, strides=STRIDES)
    sizes = octave_sizes((16, 32, 64, 128, 256), scales=3, truncate=style == "rounded")
    module = RetinaNetModule(
        anchor_generator=AnchorGenerator(sizes=sizes, strides=STRIDES, style=style),
        head=RetinaNetHead(in_channels=16, num_classes=classes, num_convs=2),
        loss=RetinaNetLoss(**(loss or {})),
        post_processor=RetinaNetPostProcessor(
            **{"pre_nms": 100, "max_detections": 20, **(inference or {})}
        ),
    )
    model = RetinaNet(backbone=backbone, rpn=module, size_divisible=32)
    _spread(model)
    return model.to(memory_format=torch.channels_last).eval()


def _spread(model: RetinaNet) -> None:
    """Scale the last layers so that they tell places and classes apart, as those of a trained detector do."""
    head = model.rpn.head
    for name, mean, deviation in (("cls_logits", -4.0, 1.5), ("bbox_pred", 0.0, 1.0)):
        layer = head.get_submodule(name)
        seen: list[Tensor] = []
        hook = layer.register_forward_hook(lambda m, i, out, seen=seen: seen.append(out))
        with torch.no_grad():
            model.eval()(make_images((96, 128), seed=77))
            hook.remove()
            outputs = torch.cat([out.movedim(1, -1).flatten(0, -2) for out in seen])
            scale = deviation / outputs.std(dim=0)
            weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
            bias.copy_((bias - outputs.mean(dim=0)) * scale + mean)
            weight.mul_(scale.view(-1, 1, 1, 1))
