import torch

from maskrcnn_benchmark.data.transforms.transforms import Normalize, ToTensor
from maskrcnn_benchmark.export.graph import DetectionGraph
from maskrcnn_benchmark.modeling.detector.exported_detector import (
    ExportedDetector,
    GraphInput,
    read_outputs,
)
from maskrcnn_benchmark.structures.image_list import to_image_list
from maskrcnn_benchmark.structures.padded import Proposals
from tests.export.architectures import detect, picture_batch
from tests.thin_models import thin_detector


class InPyTorch(ExportedDetector):
    """The graph itself, as a runtime would run it."""

    def __init__(self, graph, graph_input):
        super().__init__(metadata=graph_input.to_metadata(), output_names=graph.output_names())
        self.graph = graph

    def run(self, inputs):
        with torch.no_grad():
            return self.graph(inputs["images"], inputs["image_sizes"])


def test_outputs_are_read_back():
    model = thin_detector(with_keypoints=True)
    graph = DetectionGraph(model)
    assert graph.output_names() == [
        *("boxes", "scores", "labels", "num_detections", "masks", "keypoints")
    ]
    images, sizes = picture_batch(2, 96, 128)
    with torch.no_grad():
        found = read_outputs(graph.output_names(), graph(images, sizes))
    for one, two in zip(detect(model, images, sizes), found, strict=True):
        torch.testing.assert_close(one, two)


def test_proposals_are_read_back():
    model = thin_detector(with_heads=False)
    graph = DetectionGraph(model)
    images, sizes = picture_batch(1, 96, 128)
    with torch.no_grad():
        found = read_outputs(graph.output_names(), graph(images, sizes))
    assert isinstance(found, Proposals)
    torch.testing.assert_close(found.objectness, detect(model, images, sizes).objectness)


def test_real_detections_come_first():
    model = thin_detector(with_masks=True)
    graph, processor = DetectionGraph(model), model.roi_heads.box.post_processor
    # Boxes without area are dropped after they were ranked: gaps among the rows.
    processor.drop_empty = True
    images, sizes = picture_batch(2, 96, 128)
    sizes[:, 1] = 40.0
    with torch.no_grad():
        expected = detect(model, images, sizes)
        outputs = dict(zip(graph.output_names(), graph(images, sizes), strict=True))
    count = expected.valid.sum(dim=1)
    assert outputs["num_detections"].tolist() == count.tolist()
    for image in range(2):
        kept = expected.valid[image]
        torch.testing.assert_close(
            outputs["boxes"][image, : count[image]], expected.boxes[image, kept]
        )
        torch.testing.assert_close(
            outputs["masks"][image, : count[image]], expected.masks[image, kept]
        )
        assert not outputs["boxes"][image, count[image] :].any()
        assert not outputs["labels"][image, count[image] :].any()


def test_pixels_are_normalised_inside():
    model = thin_detector()
    for to_bgr255 in (True, False):
        numbers = {"mean": (100.0, 110.0, 120.0), "std": (1.0, 2.0, 3.0), "to_bgr255": to_bgr255}
        graph = DetectionGraph(model, takes_pixels=True, **numbers)
        exported = InPyTorch(graph, GraphInput(kind="pixels", **numbers))
        pixels = torch.randint(0, 256, (3, 90, 120), dtype=torch.uint8)
        normalise = Normalize(numbers["mean"], numbers["std"], to_bgr255=to_bgr255)
        batch = to_image_list([normalise(ToTensor()(pixels.float() / 255)[0])])
        (ours,), (theirs,) = model(batch), exported(batch)
        torch.testing.assert_close(ours.bbox, theirs.bbox, atol=1e-2, rtol=1e-4)
        torch.testing.assert_close(ours.get_field("labels"), theirs.get_field("labels"))
