import json

from maskrcnn_benchmark.data.datasets.evaluation.coco.results import COCOResults


def test_everything_is_unset_at_first() -> None:
    results = COCOResults("bbox", "box_proposal")
    assert set(results.results["bbox"].values()) == {-1}
    assert list(results.results["box_proposal"])[:5] == [
        "AR@100",
        "ARs@100",
        "ARm@100",
        "ARl@100",
        "AR@1000",
    ]
    assert results.passed is None


def test_it_prints_the_old_lines() -> None:
    results = COCOResults("bbox", "segm")
    results.update("bbox", {"AP": 0.37744, "AP50": 0.6, "AR@100": 0.5})
    assert str(results) == (
        "\nTask: bbox\nAP, AP50, AP75, APs, APm, APl\n"
        "0.3774, 0.6000, -1.0000, -1.0000, -1.0000, -1.0000"
        "\nTask: segm\nAP, AP50, AP75, APs, APm, APl\n"
        "-1.0000, -1.0000, -1.0000, -1.0000, -1.0000, -1.0000"
    )


def test_it_becomes_plain_data() -> None:
    results = COCOResults("segm")
    results.update("segm", {"AP": 0.5}, {"cat": {"AP": 0.5, "AP50": 0.75, "objects": 3}})
    content = json.loads(json.dumps(results.to_dict()))
    assert content["results"]["segm"]["AP"] == 0.5
    assert content["per_class"]["segm"]["cat"]["objects"] == 3
    assert content["passed"] is None
