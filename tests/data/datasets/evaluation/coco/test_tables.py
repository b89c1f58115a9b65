from maskrcnn_benchmark.data.datasets.evaluation.coco.results import COCOResults
from maskrcnn_benchmark.data.datasets.evaluation.coco.tables import format_classes, format_recalls


def test_classes_stand_under_their_heads() -> None:
    results = COCOResults("bbox", "segm")
    for task, value in (("bbox", 0.5), ("segm", 0.25)):
        results.update(
            task,
            {},
            {
                "cat": {"AP": value, "AP50": 1.0, "objects": 12},
                "a long name": {"AP": -1, "AP50": -1, "objects": 0},
            },
        )
    assert format_classes(results).split("\n") == [
        "class        objects  bbox AP  bbox AP50  segm AP  segm AP50",
        "cat               12     50.0      100.0     25.0      100.0",
        "a long name        0        -          -        -          -",
    ]


def test_recalls_have_their_lines() -> None:
    results = COCOResults("bbox")
    results.update("bbox", {"AR@1": 0.5})
    lines = format_recalls(results).split("\n")
    assert lines[:2] == ["Average recall: bbox", "AR@1, AR@10, AR@100, ARs@100, ARm@100, ARl@100"]
    assert lines[2].startswith("0.5000, -1.0000")


def test_proposals_have_neither() -> None:
    results = COCOResults("box_proposal")
    assert format_classes(results) == ""
    assert format_recalls(results) == ""
