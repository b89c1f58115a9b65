"""demo/export_to_onnx.py and demo/eval_onnx.py, one after the other, on a thin model."""

import importlib.util
import os
import subprocess
import sys

import pytest
from PIL import Image

from maskrcnn_benchmark.data.transforms.resize import Resize

pytest.importorskip("cv2", reason="pip install 'maskrcnn-benchmark[demo]'")


def run_demo(repository, name, *words, cwd):
    return subprocess.run(
        [sys.executable, str(repository / "demo" / name), *map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(repository)},
    )


@pytest.mark.slow
def test_export_and_evaluate(repository, run, pictures, tmp_path):
    words = ("--config-file", run / "config.yml", "--weights", run / "model_final.pth")
    done = run_demo(repository, "export_to_onnx.py", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mask_rcnn_R_50_FPN_1x.onnx").is_file()
    assert (tmp_path / "input_0.pb").is_file()
    assert "Avg run time of pytorch model: " in done.stdout
    assert "Avg run time of onnx model: " in done.stdout

    (tmp_path / "coco_classes.txt").write_text("__background__\none\ntwo\nthree\nfour\nfive\n")
    (tmp_path / "frcnn_demo.jpg").write_bytes(pictures[0].read_bytes())
    words = ("--short-side", 64, "--threshold", 0.1, "--output", "found.png")
    done = run_demo(repository, "eval_onnx.py", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for name in ("boxes", "scores", "labels", "masks"):
        assert f"{name} (" in done.stdout
    assert ", 28, 28)" in done.stdout
    assert (tmp_path / "found.png").stat().st_size > 1000


def test_pictures_become_as_large_as_in_a_test(repository):
    spec = importlib.util.spec_from_file_location("eval_onnx", repository / "demo" / "eval_onnx.py")
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    resize = Resize(80, 133)
    # A ratio times 77 may be a little less than 80; and a short side of 74.8 becomes 75.
    for sides in ((77, 77), (77, 120), (128, 72), (72, 128), (64, 48), (300, 100)):
        padded, (height, width) = demo.preprocess(Image.new("RGB", sides), 80, 133)
        assert (height, width) == resize.get_size(sides)
        assert padded.shape == (3, -(-height // 32) * 32, -(-width // 32) * 32)
