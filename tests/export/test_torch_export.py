"""Files of PyTorch's own formats; whole commands are in test_model_export.py."""

import pytest
import torch

from maskrcnn_benchmark.errors import CheckpointError, ExportError
from maskrcnn_benchmark.export import torch_export
from maskrcnn_benchmark.export.graph import DetectionGraph
from maskrcnn_benchmark.export.torch_export import TorchDetector, compile_ahead, export_torch
from maskrcnn_benchmark.export.verification import Differences, Tolerance, compare
from tests.export.architectures import detect, picture_batch
from tests.thin_models import thin_detector


@pytest.mark.parametrize("fails", [False, True])
def test_compiled_files_are_written_whole_or_not_at_all(fails, tmp_path, monkeypatch):
    path = tmp_path / "model.pt2"
    path.write_text("of last week")

    def compile_and_package(program, *, package_path, inductor_configs):
        with open(package_path, "w") as file:
            file.write("new" if not fails else "half of the n")
        if fails:
            raise RuntimeError("the disk is full")

    monkeypatch.setattr(torch_export, "to_program", lambda graph, *, channels: None)
    monkeypatch.setattr(torch_export, "_describe", lambda graph, metadata: "{}")
    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", compile_and_package)
    if fails:
        with pytest.raises(ExportError, match="the disk is full"):
            compile_ahead(None, path)
    else:
        assert compile_ahead(None, path) == path
    assert path.read_text() == ("of last week" if fails else "new")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
@pytest.mark.skipif(
    torch.__version__.startswith("2.11"), reason="torch 2.11 ties a C4 graph to odd or even sides"
)
def test_images_of_any_size(tmp_path):
    model = thin_detector(kind="C4")
    path = export_torch(DetectionGraph(model), tmp_path / "model.pt2")
    exported = TorchDetector(path)
    differences = Differences()
    for height, width in ((128, 160), (97, 131), (33, 250), (15, 40)):
        images, sizes = picture_batch(2, height, width)
        sizes.clamp_(min=10)
        expected, found = detect(model, images, sizes), detect(exported, images, sizes)
        assert found.valid.sum(dim=1).tolist() == expected.valid.sum(dim=1).tolist()
        compare(expected, found, differences)
    assert differences.detections >= 50
    assert differences.passes(Tolerance()), differences


@pytest.mark.parametrize("is_compiled", [False, True])
def test_a_file_that_is_none(is_compiled, tmp_path):
    (tmp_path / "model.pt2").write_text("no model")
    with pytest.raises(CheckpointError, match=r"model\.pt2 cannot be read as a detector"):
        TorchDetector(tmp_path / "model.pt2", is_compiled=is_compiled)
