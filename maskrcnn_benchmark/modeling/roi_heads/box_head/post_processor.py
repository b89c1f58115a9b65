"""From the box head's outputs to one BoxList per image, by the old rules and in the old order.

The network itself uses `inference.BoxPostProcessor`, batched; it finds the same boxes, best first.

n: boxes over all images.    N: boxes of an image.    C: classes, background included (label 0).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.modeling.box_coder import BoxCoder
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxlist_ops import boxlist_nms, cat_boxlist


class PostProcessor(nn.Module):
    """Softmax, decoding, threshold, suppression within each class, the best so many."""

    def __init__(
        self,
        score_thresh: float = 0.05,
        nms: float = 0.5,
        detections_per_img: int = 100,
        box_coder: BoxCoder | None = None,
        cls_agnostic_bbox_reg: bool = False,
        bbox_aug_enabled: bool = False,
    ) -> None:
        """Keep the numbers.

        Args:
            score_thresh: detections must score more (strictly).
            nms: overlap from which the lesser of two detections of a class goes.
            detections_per_img: of an image; 0 or less for all there are.
            box_coder: decodes the deltas; by default with the weights (10, 10, 5, 5).
            cls_agnostic_bbox_reg: one box for all classes.
            bbox_aug_enabled: leave threshold, suppression and cap to the caller.
        """
        super().__init__()
        self.score_thresh = score_thresh
        self.nms = nms
        self.detections_per_img = detections_per_img
        self.box_coder = box_coder or BoxCoder(weights=(10.0, 10.0, 5.0, 5.0))
        self.cls_agnostic_bbox_reg = cls_agnostic_bbox_reg
        self.bbox_aug_enabled = bbox_aug_enabled

    def forward(self, x: tuple[Tensor, Tensor], boxes: Sequence[BoxList]) -> list[BoxList]:
        """Detections of every image, with the fields scores and labels.

        Args:
            x: logits (n, C) and deltas (n, 4 * C), or (n, 8) if class-agnostic.
            boxes: the proposals, one BoxList per image, n boxes in all.
        """
        logits, deltas = x
        scores = logits.softmax(dim=-1)
        counts = [len(each) for each in boxes]
        proposals = torch.cat([each.convert("xyxy").bbox for each in boxes])
        if self.cls_agnostic_bbox_reg:
            deltas = deltas[:, -4:]
        decoded = self.box_coder.decode(deltas, proposals)
        if self.cls_agnostic_bbox_reg:
            decoded = decoded.repeat(1, logits.shape[1])
        found = []
        for image, own_scores, own_boxes in zip(
            boxes, scores.split(counts), decoded.split(counts), strict=True
        ):
            boxlist = self.prepare_boxlist(own_boxes, own_scores, image.size)
            boxlist = boxlist.clip_to_image(remove_empty=False)
            if not self.bbox_aug_enabled:
                boxlist = self.filter_results(boxlist, logits.shape[1])
            found.append(boxlist)
        return found

    def prepare_boxlist(self, boxes: Tensor, scores: Tensor, image_shape: Sequence[int]) -> BoxList:
        """Boxes (N, 4 * C) and scores (N, C) as N * C boxes with the field scores.

        Args:
            boxes: box after box, all classes of each.
            scores: likewise.
            image_shape: width and height of the image.
        """
        boxlist = BoxList(boxes.reshape(-1, 4), image_shape, mode="xyxy")
        boxlist.add_field("scores", scores.reshape(-1))
        return boxlist

    def filter_results(self, boxlist: BoxList, num_classes: int) -> BoxList:
        """Threshold, suppress within each class, and keep the best so many.

        Args:
            boxlist: N * C boxes of `prepare_boxlist`.
            num_classes: C.

        Returns:
            Class by class, and within a class in the order of the proposals. Boxes that score the same as the last
            one kept are kept too.
        """
        boxes = boxlist.bbox.reshape(-1, num_classes, 4)
        scores = boxlist.get_field("scores").reshape(-1, num_classes)
        found = []
        for label in range(1, num_classes):
            keep = (scores[:, label] > self.score_thresh).nonzero().squeeze(1)
            of_class = BoxList(boxes[keep, label], boxlist.size, mode="xyxy")
            of_class.add_field("scores", scores[keep, label])
            of_class = boxlist_nms(of_class, self.nms)
            labels = torch.full((len(of_class),), label, dtype=torch.int64, device=scores.device)
            of_class.add_field("labels", labels)
            found.append(of_class)
        return self._cap(cat_boxlist(found))

    def _cap(self, boxlist: BoxList) -> BoxList:
        most = self.detections_per_img
        if not 0 < most < len(boxlist):
            return boxlist
        scores = boxlist.get_field("scores")
        lowest = scores.topk(most).values[-1]
        return boxlist[(scores >= lowest).nonzero().squeeze(1)]
