import PIL
import torch

from maskrcnn_benchmark import __version__
from maskrcnn_benchmark.utils.collect_env import collect_env_info


def test_the_report_names_what_computes():
    report = collect_env_info()
    assert f"PyTorch version: {torch.__version__}" in report
    assert f"Pillow ({PIL.__version__})" in report
    assert f"maskrcnn-benchmark ({__version__})" in report
    assert "pycocotools (" in report
