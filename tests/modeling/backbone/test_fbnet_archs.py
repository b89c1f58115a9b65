"""The tables of FBNet: those of the package against the reference, and tables in JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.modeling.backbone.fbnet_archs import FBNET_TABLES, get_arch, parse_arch
from maskrcnn_benchmark.modeling.backbone.fbnet_blocks import (
    OPS,
    FBNetStyle,
    InvertedResidual,
    make_blocks,
)

SMALL: dict[str, Any] = {
    "first": {"channels": 8, "stride": 2, "kernel": 3},
    "stages": [
        {"ops": [["ir_k3", 2]], "tcns": [[2, 8, 2, 2]]},
        {"ops": [["ir_k5", 1], ["skip", 1]], "tcns": [[2, 16, 1, 1], [1, 16, 1, 1]]},
    ],
    "last": {"channels": 24, "scale": 0.0},
    "backbone": [0],
    "bbox": [1],
}


@pytest.mark.shared_data
@pytest.mark.parametrize("name", FBNET_TABLES)
def test_widths_strides_and_names_are_the_references(name: str, shared: Path) -> None:
    reference = json.loads((shared / "reference" / "fbnet_archs.json").read_text())
    assert set(FBNET_TABLES) == set(reference["archs"])
    expanded = reference["expanded_width_divisor_8"][name]
    arch, style = get_arch(name), FBNetStyle(divisor=8)
    assert style.width(arch.stem_channels) == expanded["first"]["out"]
    assert arch.stem_stride == expanded["first"]["stride"]
    parts = [part for part in ("backbone", "rpn", "bbox", "mask") if part in expanded]
    assert set(parts) >= set(arch.parts)
    for part in parts:
        specs, wanted = arch.blocks(part), expanded[part]
        blocks, _ = make_blocks(specs, in_channels=wanted[0]["in"], style=style)
        found = [
            {
                "name": spec.name,
                "op": spec.op,
                "in": block.pw.conv.in_channels,
                "mid": block.pw.conv.out_channels,
                "out": block.out_channels,
                "stride": spec.stride,
                "residual": block.is_residual,
            }
            for spec, (_, block) in zip(specs, blocks.named_children(), strict=True)
            if isinstance(block, InvertedResidual)
        ]
        assert found == wanted


@pytest.mark.shared_data
def test_operators_are_the_references(shared: Path) -> None:
    reference = json.loads((shared / "reference" / "fbnet_archs.json").read_text())["ops"]
    found = {
        name: {
            "expansion": "t" if op.expansion is None else op.expansion,
            "kernel": op.kernel,
            "groups": op.groups,
            "shuffle": op.groups > 1,
            "se": op.se,
            "double_dw": op.double,
        }
        for name, op in OPS.items()
    }
    assert found == reference


def test_blocks_of_a_stage() -> None:
    arch = parse_arch(SMALL)
    assert [tuple(block) for block in arch.blocks("bbox")] == [
        ("xif1_0", "ir_k5", 2, 16, 1),
        ("xif1_1", "skip", 1, 16, 1),
    ]
    # A part that the table does not name takes all stages.
    assert [block.name for block in arch.blocks("rpn")] == ["xif0_0", "xif0_1", "xif1_0", "xif1_1"]
    assert [block.stride for block in arch.blocks("backbone")] == [2, 1]
    assert arch.last_channels == 24


def test_json_and_the_layout_of_the_old_project_are_read_alike() -> None:
    old = {
        "block_op_type": [["ir_k3", "ir_k3"], ["ir_k5", "skip"]],
        "block_cfg": {
            "first": [8, 2],
            "stages": [[[2, 8, 2, 2]], [[2, 16, 1, 1], [1, 16, 1, 1]]],
            "last": [24, 0.0],
            "backbone": [0],
            "bbox": [1],
        },
    }
    expected = parse_arch(SMALL)
    assert parse_arch(old) == expected
    assert parse_arch(json.dumps(old)) == expected
    assert parse_arch(json.dumps(SMALL)) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"first": None}, "TypeError"),
        ({"stages": [{"ops": [["ir_k3", 2]]}]}, "KeyError: 'tcns'"),
        (
            {"stages": [{"ops": [["ir_k3", 1]], "tcns": [[2, 8, 2, 2]]}]},
            "stage 0 has 1 operators for 2",
        ),
        ({"bbox": [2]}, r"bbox names the stages \[2\], but there are 2"),
        (
            {"stages": [{"ops": [["ir_k3", 1]], "tcns": [[2, 8, 1, 0]]}] * 2},
            "a stride other than 0",
        ),
        ({"backbone": "x"}, "ValueError"),
    ],
)
def test_wrong_tables_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_arch({**SMALL, **change})


def test_other_wrong_input() -> None:
    with pytest.raises(ConfigError, match="expected the stages of 'backbone'"):
        parse_arch({key: value for key, value in SMALL.items() if key != "backbone"})
    with pytest.raises(ConfigError, match=r"ARCH_DEF: expected JSON, got 'default'"):
        parse_arch("default")
    with pytest.raises(ConfigError, match=r"expected a JSON object, got '\[1\]'"):
        parse_arch("[1]")
    with pytest.raises(ConfigError, match=r"expected one of default, .*, got 'nonsense'"):
        get_arch("nonsense")
    with pytest.raises(ConfigError, match="block_op_type has 1 stages, block_cfg 0"):
        parse_arch({"block_op_type": [["ir_k3"]], "block_cfg": {"first": [8, 2], "stages": []}})
