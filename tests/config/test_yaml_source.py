from __future__ import annotations

import pytest

from maskrcnn_benchmark.config.yaml_source import Setting, read_settings
from maskrcnn_benchmark.errors import ConfigError

SECTIONS = {"SOLVER", "MODEL", "MODEL.RPN"}


def read(text: str) -> list[Setting]:
    return read_settings(text, name="my.yaml", is_section=SECTIONS.__contains__)


def test_each_value_comes_with_its_line() -> None:
    text = "# a comment\nSOLVER:\n  BASE_LR: 0.02\n\nMODEL:\n  RPN: {A: [1, 2]}\n  B: (3, 4)\nX: {Y: 1}\n"
    assert read(text) == [
        Setting("SOLVER.BASE_LR", 0.02, "my.yaml:3"),
        Setting("MODEL.RPN.A", [1, 2], "my.yaml:6"),
        Setting("MODEL.B", "(3, 4)", "my.yaml:7"),
        Setting("X", {"Y": 1}, "my.yaml:8"),
    ]


def test_a_section_without_keys_is_nothing() -> None:
    assert read("SOLVER:\n  # BASE_LR: 0.02\nSEED: 1\n") == [Setting("SEED", 1, "my.yaml:3")]


def test_anchors_and_merge_keys() -> None:
    text = "SOLVER: &base\n  GAMMA: 0.1\nMODEL:\n  RPN:\n    <<: *base\n    GAMMA: 0.5\n    B: 2\n"
    values = {setting.key: setting.value for setting in read(text)}
    assert values == {"SOLVER.GAMMA": 0.1, "MODEL.RPN.GAMMA": 0.5, "MODEL.RPN.B": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "my.yaml: expected keys and values, got an empty file"),
        ("# only a comment\n", "got an empty file"),
        ("SOLVER:\n  A: 1\n  B: 2\n  A: 3\n", "my.yaml:4: SOLVER.A stands here and on line 2"),
        (
            "SOLVER: {A: 1}\nSEED: 1\nSOLVER: {B: 1}\n",
            "my.yaml:3: SOLVER stands here and on line 1",
        ),
        ("SOLVER:\n  A: [1, 2\nSEED: 1\n", "my.yaml:3: this is not YAML"),
        ("SOLVER:\n\tA: 1\n", "my.yaml:2: this is not YAML"),
        ("SOLVER:\n  A: !!python/tuple [1]\n", "my.yaml:2: this is not YAML"),
        ("SOLVER:\n  A: !!python/object/apply:os.getcwd []\n", "my.yaml:2: this is not YAML"),
        ("- 1\n- 2\n", r"my.yaml:1: expected KEY: value, got \[1, 2\]"),
        ("just words\n", "my.yaml:1: expected KEY: value, got 'just words'"),
        ("SOLVER: 3\n", "my.yaml:1: SOLVER is a section: expected its keys below it, got 3"),
        ("A: 1\n---\nA: 2\n", "my.yaml:2: this is not YAML"),
        ("A: *nowhere\n", "my.yaml:1: this is not YAML"),
        ("A: \x00\n", "my.yaml: this is not YAML"),
    ],
)
def test_what_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(text)
