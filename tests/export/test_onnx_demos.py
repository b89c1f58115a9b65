"""demo/export_to_onnx.py and demo/eval_onnx.py, one after the other, on a thin model."""

import os
import subprocess
import sys

import pytest

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
