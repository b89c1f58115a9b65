"""Reading refuses what is not a checkpoint and says what it is; writing is all or nothing."""

import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from maskrcnn_benchmark.checkpoint.files import read_checkpoint, write_checkpoint
from maskrcnn_benchmark.errors import CheckpointError
from tests.engine.processes import run_in_process


def test_a_checkpoint_comes_back_bit_by_bit(tmp_path):
    weight = torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last)
    data = {
        "model": OrderedDict(w=weight, b=torch.tensor([1.0], dtype=torch.float16)),
        "iteration": 7,
        "class_names": ["__background__", "cat"],
        "nested": {"none": None, "flag": True, "pair": (1, 2.5)},
    }
    write_checkpoint(tmp_path / "a.pth", data)
    loaded = read_checkpoint(tmp_path / "a.pth")
    assert torch.equal(loaded["model"]["w"], weight)
    assert loaded["model"]["w"].stride() == weight.stride()
    assert loaded["model"]["b"].dtype == torch.float16
    assert {k: loaded[k] for k in ("iteration", "class_names", "nested")} == {
        k: data[k] for k in ("iteration", "class_names", "nested")
    }
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


def test_a_bare_state_dict_is_the_model(tmp_path):
    torch.save({"w": torch.ones(2)}, tmp_path / "bare.pth")
    assert list(read_checkpoint(tmp_path / "bare.pth")) == ["model"]


def test_torch_files_from_before_2020_are_read(tmp_path):
    data = {"model": OrderedDict(w=torch.arange(3.0)), "iteration": 90000}
    torch.save(data, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    loaded = read_checkpoint(tmp_path / "old.pth")
    assert torch.equal(loaded["model"]["w"], torch.arange(3.0))
    assert loaded["iteration"] == 90000


def test_safetensors_are_read(tmp_path):
    save_file({"w": torch.arange(3.0)}, tmp_path / "w.safetensors")
    assert torch.equal(read_checkpoint(tmp_path / "w.safetensors")["model"]["w"], torch.arange(3.0))


class Exploit:
    """Would run code when unpickled."""

    def __reduce__(self):
        return (print, ("code from the file ran",))


def test_code_in_a_file_is_not_run(tmp_path, capsys):
    torch.save({"model": {"w": torch.ones(1)}, "extra": Exploit()}, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match="could run code from the file"):
        read_checkpoint(tmp_path / "bad.pth")
    with open(tmp_path / "plain.pth", "wb") as file:
        pickle.dump(Exploit(), file)
    with pytest.raises(CheckpointError, match=r"plain\.pth"):
        read_checkpoint(tmp_path / "plain.pth")
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>404</html>", "a web page"),
        (b"  \n<html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
        (b'{"images": []}', "JSON"),
        (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"not a checkpoint at all", r"\(23 bytes\) is damaged or incomplete|not tensors"),
        (b"\x00" * 1000, "damaged or incomplete|not tensors"),
        (bytes(range(128, 256)) * 9, "damaged or incomplete|not tensors"),
    ],
)
def test_foreign_files_are_recognised(tmp_path, content, what):
    (tmp_path / "file.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=what) as error:
        read_checkpoint(tmp_path / "file.pth")
    assert str(tmp_path / "file.pth") in str(error.value)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.999])
def test_a_truncated_file_is_an_error(tmp_path, share, zipped):
    path = tmp_path / "cut.pth"
    torch.save({"model": {"w": torch.randn(10000)}}, path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match=r"cut\.pth"):
        read_checkpoint(path)


def test_a_truncated_safetensors_file_is_an_error(tmp_path):
    path = tmp_path / "cut.safetensors"
    save_file({"w": torch.randn(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        read_checkpoint(path)


def test_detectron_pickles_are_recognised_by_content_and_by_name(tmp_path):
    for name, protocol in (("R-50.pkl", 0), ("R-50.pkl", 2), ("R-50.pth", 2), ("R-50", 4)):
        blobs = {"conv1_w": np.ones(3, np.float32)}
        (tmp_path / name).write_bytes(pickle.dumps({"blobs": blobs}, protocol))
        loaded = read_checkpoint(tmp_path / name)
        assert list(loaded["model"]) == ["backbone.body.stem.conv1.weight"]


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"there is no checkpoint at .*none\.pth$"):
        read_checkpoint(tmp_path / "none.pth")
    with pytest.raises(CheckpointError, match="it is a folder"):
        read_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="does not exist either"):
        read_checkpoint(tmp_path / "nowhere" / "a.pth")


def test_other_contents_are_named(tmp_path):
    torch.save([torch.ones(1)], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="holds a list"):
        read_checkpoint(tmp_path / "list.pth")
    torch.save({"model": {"w": 3}}, tmp_path / "int.pth")
    with pytest.raises(CheckpointError, match="found a int among"):
        read_checkpoint(tmp_path / "int.pth")


def _write_with_little_room(folder, room):
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    message = "it was written"
    try:
        write_checkpoint(folder / "a.pth", {"model": {k: torch.ones(99999) for k in "ab"}})
    except CheckpointError as error:
        message = str(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    (folder / "message").write_text(message)


@pytest.mark.parametrize("room", [0, 100, 1000, 400_000])
def test_a_disk_without_room_leaves_the_old_file(tmp_path, room):
    """A real limit on the size of files, at several places of the write."""
    pytest.importorskip("resource", reason="needs Unix limits")
    path = tmp_path / "a.pth"
    write_checkpoint(path, {"model": {"w": torch.ones(3)}})
    assert run_in_process(_write_with_little_room, tmp_path, room) == 0
    message = (tmp_path / "message").read_text()
    assert f"could not write {path}: File too large. Nothing was changed" in message
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.pth", "message"]
    assert torch.equal(read_checkpoint(path)["model"]["w"], torch.ones(3))


def test_an_error_that_is_not_the_disks_is_passed_on(tmp_path):
    with pytest.raises(AttributeError, match=r"[Cc]an't (get|pickle) local object"):
        write_checkpoint(tmp_path / "a.pth", {"model": {}, "extra": lambda: None})
    assert list(tmp_path.iterdir()) == []
