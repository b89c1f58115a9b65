from __future__ import annotations

import json

import pytest

from maskrcnn_benchmark.bench.report import show, timing_row, with_ratios
from maskrcnn_benchmark.bench.timing import Timing, take_turns


def test_steps_take_turns_and_warm_up_does_not_count() -> None:
    order: list[str] = []
    timings = take_turns(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=2, warm_up=1
    )
    assert order == ["a", "b"] * 3
    assert [len(timing.seconds) for timing in timings.values()] == [2, 2]


def test_percentiles_and_rates() -> None:
    timing = Timing((1.0, 2.0, 6.0))
    assert timing.median == 2.0
    assert timing.percentile(100) == 6.0
    assert timing.per_second(4) == 2.0


def test_rows_have_ratios() -> None:
    rows = [
        timing_row("slow", Timing((2.0,)), count=1),
        timing_row("fast", Timing((0.5,)), count=1, detections=3),
    ]
    slow, fast = with_ratios(rows, to="slow")
    assert slow["times slow"] == 1.0
    assert fast["times slow"] == 4.0
    assert fast["per second"] == 2.0
    assert fast["median ms"] == 500.0


def test_table_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [timing_row("a", Timing((2.0,))), timing_row("b", Timing((1.0,)), detections=3)]
    show("Title", rows, notes={"rounds": 1}, as_json=True)
    facts = json.loads(capsys.readouterr().out)
    assert facts["rows"][1]["detections"] == 3
    assert facts["rounds"] == 1
    assert "torch" in facts["versions"]
    show("Title", rows, notes={"rounds": 1}, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    # A row without detections has a dash.
    assert next(line for line in lines if line.startswith("a ")).endswith("-")
    assert next(line for line in lines if line.startswith("b ")).endswith("3")
