from __future__ import annotations

from maskrcnn_benchmark.config.suggest import nearest


def test_nearest() -> None:
    names = ["SOLVER.BASE_LR", "SOLVER.STEPS", "coco_2014_minival"]
    assert nearest("SOLVER.BAES_LR", names) == "; did you mean SOLVER.BASE_LR?"
    assert nearest("COCO_2014_minval", names) == "; did you mean coco_2014_minival?"
    assert nearest("quite different", names) == ""
    assert nearest("anything", []) == ""
    assert nearest("ab", ["ax", "zz", "abc"], count=2, cutoff=0) == "; did you mean abc or ax?"
