"""The layouts of FBNet (arXiv:1812.03443), MobileNetV2 (arXiv:1801.04381) and ChamNet (arXiv:1812.08934), as data.

A table has stages, each of which is used by the backbone or by a head. A stage is a list of groups [t, c, n, s]: n
blocks that expand their input t times and give c channels, the first with stride s, the others with 1. A negative
stride is nearest upsampling. Beside them run the names of the blocks' operators (`fbnet_blocks`), with repeats.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from maskrcnn_benchmark.errors import ConfigError

_FIRST = {"channels": 32, "stride": 2, "kernel": 3}
_WHERE = "MODEL.FBNET.ARCH_DEF"

FBNET_TABLES: dict[str, dict[str, Any]] = {
    "default": {
        "first": _FIRST,
        "stages": [
            {"ops": [["ir_k3", 1]], "tcns": [[1, 16, 1, 1]]},
            {"ops": [["ir_k3", 2]], "tcns": [[6, 24, 2, 2]]},
            {"ops": [["ir_k3", 3]], "tcns": [[6, 32, 3, 2]]},
            {"ops": [["ir_k3", 7]], "tcns": [[6, 64, 4, 2], [6, 96, 3, 1]]},
            {"ops": [["ir_k3", 4]], "tcns": [[4, 160, 1, 2], [6, 160, 2, 1], [6, 240, 1, 1]]},
            {"ops": [["ir_k3", 3]], "tcns": [[6, 96, 3, 1]]},
            {"ops": [["ir_k3", 5]], "tcns": [[4, 160, 1, 1], [6, 160, 3, 1], [3, 80, 1, -2]]},
        ],
        "backbone": [0, 1, 2, 3],
        "bbox": [4],
        "rpn": [5],
        "mask": [6],
    },
    "xirb16d_dsmask": {
        "first": {**_FIRST, "channels": 16},
        "stages": [
            {"ops": [["ir_k3", 1]], "tcns": [[1, 16, 1, 1]]},
            {"ops": [["ir_k3", 2]], "tcns": [[6, 32, 2, 2]]},
            {"ops": [["ir_k3", 3]], "tcns": [[6, 48, 3, 2]]},
            {"ops": [["ir_k3", 7]], "tcns": [[6, 96, 4, 2], [6, 128, 3, 1]]},
            {"ops": [["ir_k3", 4]], "tcns": [[4, 128, 1, 2], [6, 128, 2, 1], [6, 160, 1, 1]]},
            {
                "ops": [["ir_k3", 5]],
                "tcns": [[4, 128, 1, 2], [6, 128, 2, 1], [6, 128, 1, -2], [3, 64, 1, -2]],
            },
            {"ops": [["ir_k3", 3]], "tcns": [[6, 128, 3, 1]]},
        ],
        "backbone": [0, 1, 2, 3],
        "bbox": [4],
        "mask": [5],
        "rpn": [6],
    },
    "mobilenet_v2": {
        "first": _FIRST,
        "stages": [
            {"ops": [["ir_k3", 1]], "tcns": [[1, 16, 1, 1]]},
            {"ops": [["ir_k3", 2]], "tcns": [[6, 24, 2, 2]]},
            {"ops": [["ir_k3", 3]], "tcns": [[6, 32, 3, 2]]},
            {"ops": [["ir_k3", 7]], "tcns": [[6, 64, 4, 2], [6, 96, 3, 1]]},
            {"ops": [["ir_k3", 4]], "tcns": [[6, 160, 3, 1], [6, 320, 1, 1]]},
        ],
        "backbone": [0, 1, 2, 3],
        "bbox": [4],
    },
    "cham_v1a": {
        "first": _FIRST,
        "stages": [
            {"ops": [["ir_k3", 1]], "tcns": [[1, 24, 1, 1]]},
            {"ops": [["ir_k7", 2]], "tcns": [[4, 48, 2, 2]]},
            {"ops": [["ir_k3", 5]], "tcns": [[7, 64, 5, 2]]},
            {"ops": [["ir_k5", 7], ["ir_k3", 5]], "tcns": [[12, 56, 7, 2], [8, 88, 5, 1]]},
            {"ops": [["ir_k3", 5]], "tcns": [[7, 152, 4, 2], [10, 104, 1, 1]]},
            {"ops": [["ir_k3", 3]], "tcns": [[8, 88, 3, 1]]},
        ],
        "backbone": [0, 1, 2, 3],
        "bbox": [4],
        "rpn": [5],
    },
    "cham_v2": {
        "first": _FIRST,
        "stages": [
            {"ops": [["ir_k3", 1]], "tcns": [[1, 24, 1, 1]]},
            {"ops": [["ir_k5", 4]], "tcns": [[8, 32, 4, 2]]},
            {"ops": [["ir_k7", 6]], "tcns": [[5, 48, 6, 2]]},
            {"ops": [["ir_k5", 3], ["ir_k3", 6]], "tcns": [[9, 56, 3, 2], [6, 56, 6, 1]]},
            {"ops": [["ir_k3", 7]], "tcns": [[2, 160, 6, 2], [6, 112, 1, 1]]},
            {"ops": [["ir_k3", 1]], "tcns": [[6, 56, 1, 1]]},
        ],
        "backbone": [0, 1, 2, 3],
        "bbox": [4],
        "rpn": [5],
    },
}


class BlockSpec(NamedTuple):
    """One block of a table.

    Attributes:
        name: of the module, xif<stage>_<block in the stage>.
        op: of `fbnet_blocks.OPS`.
        expansion: t.
        channels: c, before scaling.
        stride: s; negative for upsampling.
    """

    name: str
    op: str
    expansion: float
    channels: int
    stride: int


@dataclass(frozen=True, kw_only=True)
class FBNetArch:
    """A table, read and checked.

    Attributes:
        stem_channels: of the first convolution, before scaling.
        stem_stride: its stride.
        stem_kernel: its side.
        stages: blocks of each stage.
        parts: which stages make the backbone, rpn, bbox, mask and kpts head.
        last_channels: of a 1x1 convolution that closes a head; 0 for none.
    """

    stem_channels: int
    stem_stride: int
    stem_kernel: int
    stages: tuple[tuple[BlockSpec, ...], ...]
    parts: Mapping[str, tuple[int, ...]]
    last_channels: int = 0

    def blocks(self, part: str) -> list[BlockSpec]:
        """The blocks of a part; those of all stages where the table does not name it (the old project's rule)."""
        stages = self.parts.get(part, range(len(self.stages)))
        return [block for stage in stages for block in self.stages[stage]]


def get_arch(name: str) -> FBNetArch:
    """One of FBNET_TABLES.

    Raises:
        ConfigError: if there is none of that name.
    """
    if name not in FBNET_TABLES:
        raise ConfigError(
            f"MODEL.FBNET.ARCH: expected one of {', '.join(FBNET_TABLES)}, got {name!r}. "
            f"A table of your own goes into {_WHERE}, as JSON."
        )
    return parse_arch(FBNET_TABLES[name])


def parse_arch(table: str | Mapping[str, Any]) -> FBNetArch:
    """Read a table, in the layout of FBNET_TABLES or in that of the old project, as JSON text or a dict.

    The old layout: `block_op_type`, for each stage a list of one operator per block; and `block_cfg` with `first`
    [channels, stride], `stages` (lists of [t, c, n, s]), `last` [channels, scale] and the stages of each part.

    Raises:
        ConfigError: if it is no such table; the message says where.
    """
    layout = _read_json(table) if isinstance(table, str) else table
    try:
        return _read_table(_in_our_layout(layout))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"{_WHERE}: expected a table with 'first', 'stages' (each 'ops' and 'tcns') and the stages of 'backbone', "
            f"'rpn', 'bbox', 'mask', 'kpts'; {type(error).__name__}: {error}."
        ) from error


def _read_json(text: str) -> Mapping[str, Any]:
    try:
        table = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{_WHERE}: expected JSON, got {text[:40]!r} ({error}).") from None
    if not isinstance(table, dict):
        raise ConfigError(f"{_WHERE}: expected a JSON object, got {text[:40]!r}.")
    return table


def _in_our_layout(table: Mapping[str, Any]) -> Mapping[str, Any]:
    if "block_cfg" not in table:
        return table
    old = dict(table["block_cfg"])
    first = list(old["first"])
    old["first"] = {"channels": first[0], "stride": first[1], "kernel": 3}
    if len(table["block_op_type"]) != len(old["stages"]):
        raise ConfigError(
            f"{_WHERE}: block_op_type has {len(table['block_op_type'])} stages, block_cfg {len(old['stages'])}."
        )
    old["stages"] = [
        {"ops": [[op, 1] for op in ops], "tcns": groups}
        for ops, groups in zip(table["block_op_type"], old["stages"], strict=True)
    ]
    old["last"] = {"channels": old.get("last", (0, 0.0))[0]}
    return old


def _read_table(table: Mapping[str, Any]) -> FBNetArch:
    stages = tuple(
        tuple(_read_stage(number, stage)) for number, stage in enumerate(table["stages"])
    )
    parts = {
        name: tuple(int(stage) for stage in table[name])
        for name in ("backbone", "rpn", "bbox", "mask", "kpts")
        if name in table
    }
    if "backbone" not in parts:
        raise ConfigError(f"{_WHERE}: expected the stages of 'backbone', got {sorted(parts)}.")
    for name, numbers in parts.items():
        wrong = [stage for stage in numbers if not 0 <= stage < len(stages)]
        if wrong:
            raise ConfigError(
                f"{_WHERE}: {name} names the stages {wrong}, but there are {len(stages)}, from 0."
            )
    first = table["first"]
    return FBNetArch(
        stem_channels=int(first["channels"]),
        stem_stride=int(first["stride"]),
        stem_kernel=int(first.get("kernel", 3)),
        stages=stages,
        parts=parts,
        last_channels=int(table.get("last", {}).get("channels", 0)),
    )


def _read_stage(number: int, stage: Mapping[str, Any]) -> Iterator[BlockSpec]:
    ops = [op for op, repeats in stage["ops"] for _ in range(repeats)]
    blocks = [shape for group in stage["tcns"] for shape in _expand(group)]
    if len(ops) != len(blocks):
        raise ConfigError(
            f"{_WHERE}: stage {number} has {len(ops)} operators for {len(blocks)} blocks."
        )
    for index, (op, (expansion, channels, stride)) in enumerate(zip(ops, blocks, strict=True)):
        yield BlockSpec(f"xif{number}_{index}", str(op), expansion, channels, stride)


def _expand(group: Sequence[float]) -> list[tuple[float, int, int]]:
    expansion, channels, repeats, stride = group
    if int(stride) == 0 or int(channels) < 1:
        raise ConfigError(
            f"{_WHERE}: expected [t, c, n, s] with channels above 0 and a stride other than 0, got {list(group)}."
        )
    return [
        (expansion, int(channels), int(stride) if index == 0 else 1)
        for index in range(int(repeats))
    ]
