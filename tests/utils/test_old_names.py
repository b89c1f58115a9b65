"""The old import paths of what has moved, and that `utils` does not load it before it is asked for."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("old", "name", "new"),
    [
        ("checkpoint", "Checkpointer", "checkpoint.checkpointer"),
        ("checkpoint", "DetectronCheckpointer", "build.checkpointer"),
        ("model_serialization", "load_state_dict", "checkpoint.matching"),
        ("model_serialization", "align_and_update_state_dicts", "checkpoint.matching"),
        ("model_serialization", "strip_prefix_if_present", "checkpoint.matching"),
        ("model_zoo", "cache_url", "checkpoint.download"),
        ("c2_model_loading", "load_c2_format", "build.legacy.weights"),
    ],
)
def test_old_paths_lead_to_the_new_places(old, name, new):
    import importlib

    shim = importlib.import_module(f"maskrcnn_benchmark.utils.{old}")
    home = importlib.import_module(f"maskrcnn_benchmark.{new}")
    assert getattr(shim, name) is getattr(home, name)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        shim.nonsense  # noqa: B018


def test_the_shims_load_nothing_by_themselves():
    code = (
        "import sys, maskrcnn_benchmark.utils.checkpoint, "
        "maskrcnn_benchmark.utils.model_serialization, maskrcnn_benchmark.utils.model_zoo, "
        "maskrcnn_benchmark.utils.c2_model_loading\n"
        "print(sorted(m for m in sys.modules if m.startswith('maskrcnn_benchmark.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "maskrcnn_benchmark.checkpoint" not in done.stdout
    assert "maskrcnn_benchmark.build" not in done.stdout


def test_the_parts_of_the_model_do_not_load_what_is_above_them():
    modules = [
        "modeling.registry",
        "modeling.poolers",
        "modeling.make_layers",
        "modeling.backbone.resnet",
        "modeling.rpn.rpn",
        "modeling.rpn.retinanet.retinanet",
        "modeling.roi_heads.roi_heads",
        "modeling.roi_heads.box_head.inference",
        "modeling.roi_heads.box_head.roi_box_feature_extractors",
    ]
    code = (
        f"import sys, {', '.join(f'maskrcnn_benchmark.{module}' for module in modules)}\n"
        "print(sorted(m for m in sys.modules if m.startswith('maskrcnn_benchmark.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for above in ("build", "config", "engine"):
        assert f"'maskrcnn_benchmark.{above}" not in done.stdout
