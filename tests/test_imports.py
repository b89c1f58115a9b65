"""Contracts on imports: what is heavy stays away until used, and a config stays above build/."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "maskrcnn_benchmark"
HEAVY = {"torch", "torchvision", "numpy", "pycocotools", "PIL"}
LIGHT_MODULES = [
    PACKAGE,
    f"{PACKAGE}.errors",
    f"{PACKAGE}.config",
    f"{PACKAGE}.cli",
    f"{PACKAGE}.cli.legacy_tools",
    f"{PACKAGE}.build.config_files",
    f"{PACKAGE}.build.direct_data",
]

# What lies below build/ and the config. The files here know no config...
BELOW_BUILD = [
    "checkpoint",
    "data",
    "engine",
    "layers",
    "modeling",
    "results",
    "solver",
    "structures",
    "utils",
    "errors.py",
    "numerics.py",
]
# ... but for the old entry points that take one: a few lines each. Nothing else may be added.
LEGACY_ENTRY_POINTS = {
    "data.transforms.build:build_transforms",
    "data:make_data_loader",
    "engine.old_training:_train_with_config",
    "engine.old_training:do_train",
    "modeling.registry:BuiltIn",
    "modeling.detector:build_detection_model",
    "solver:make_lr_scheduler",
    "solver:make_optimizer",
    "utils.miscellaneous:save_config",
}
# Upward imports by name, which import-linter does not see: (module, what it loads when called).
LEGACY_LAZY_IMPORTS = {
    ("engine.old_training", "build.training"),
    ("modeling.backbone", "build.backbones"),
    ("modeling.backbone.resnet", "build.backbones.resnet:body_arguments"),
    ("modeling.backbone.resnet", "build.legacy.resnet"),
    ("modeling.make_layers", "build.legacy.layers"),
    ("modeling.poolers", "build.legacy.box_head"),
    ("modeling.registry", "build.legacy.named"),
    ("modeling.roi_heads.box_head.inference", "build.legacy.box_head"),
    ("modeling.roi_heads.box_head.roi_box_feature_extractors", "build.legacy.box_head"),
    ("modeling.roi_heads.box_head.roi_box_predictors", "build.legacy.box_head"),
    ("modeling.roi_heads.mask_head.mask_head", "build.legacy.roi_heads"),
    ("modeling.roi_heads.roi_heads", "build.legacy.roi_heads"),
    ("modeling.rpn.retinanet.retinanet", "build.legacy.retinanet"),
    ("modeling.rpn.rpn", "build.legacy.rpn"),
    ("modeling.rpn.rpn", "build.legacy.rpn:head_arguments"),
    ("utils.c2_model_loading", "build.legacy.weights"),
    ("utils.checkpoint", "build.checkpointer"),
    ("utils.checkpoint", "checkpoint.checkpointer"),
    ("utils.model_serialization", "checkpoint.matching"),
    ("utils.model_zoo", "checkpoint.download"),
}


@pytest.mark.parametrize("module", LIGHT_MODULES)
def test_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert not HEAVY & set(output.split())


def test_help_loads_no_torch() -> None:
    code = (
        "import sys, contextlib\n"
        "from maskrcnn_benchmark.cli import main\n"
        "sys.argv = ['maskrcnn', '--help']\n"
        "with contextlib.suppress(SystemExit): main()\n"
        "print(*sys.modules)"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert "quickstart" in output
    assert not HEAVY & set(output.splitlines()[-1].split())


def _sources(root: Path) -> Iterator[Path]:
    for name in BELOW_BUILD:
        path = root / PACKAGE / name
        assert path.exists(), path
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def _module(path: Path, root: Path) -> str:
    name = ".".join(path.relative_to(root / PACKAGE).with_suffix("").parts)
    return name.removesuffix(".__init__")


def _names(node: ast.AST) -> Iterator[str]:
    """Every identifier in a piece of code; words of comments and docstrings are none."""
    for each in ast.walk(node):
        match each:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield name
            case ast.alias(name=name):
                yield from name.split(".")


def test_no_config_below_build(repository: Path) -> None:
    found = set()
    for path in _sources(repository):
        module = _module(path, repository)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if "cfg" in set(_names(node)):
                found.add(f"{module}:{getattr(node, 'name', '')}")
    assert found == LEGACY_ENTRY_POINTS


def test_upward_imports_by_name_are_listed(repository: Path) -> None:
    pattern = re.compile(
        rf"{PACKAGE}\.(build|checkpoint|config|solver|engine|data|modeling)\.[\w.]+(?::\w+)?"
    )
    found = set()
    for path in _sources(repository):
        module = _module(path, repository)
        own = module.partition(".")[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Constant(value=str(text)) if hit := pattern.fullmatch(text):
                    if hit[1] != own:
                        found.add((module, text.removeprefix(f"{PACKAGE}.")))
    assert found == LEGACY_LAZY_IMPORTS


def test_imports_go_downwards(repository: Path) -> None:
    code = "from importlinter.cli import lint_imports_command as lint; lint()"
    result = subprocess.run(
        [sys.executable, "-c", code, "--no-cache"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
