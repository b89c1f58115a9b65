"""Broken and malicious files: each is refused with a message that says what it is and what to do, and runs nothing.

The malicious ones would make a folder, by `os.system`; none may appear.
"""

import argparse
import io
import json
import os
import pickle
import struct
import sys
import zipfile
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import nn

from maskrcnn_benchmark.checkpoint import load
from maskrcnn_benchmark.checkpoint.checkpointer import Checkpointer
from maskrcnn_benchmark.checkpoint.manifest import METADATA_KEY, Manifest
from maskrcnn_benchmark.errors import CheckpointError

STATE = {"backbone.body.stem.conv1.weight": torch.randn(64, 3, 7, 7)}
WRITERS = {}


def hostile(message):
    """Register a writer of a hostile file, and what the refusal must say."""

    def register(write):
        WRITERS[write.__name__] = (write, message)
        return write

    return register


class Command:
    """Runs a command when unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.system, (f"mkdir {self.folder}",)


def cut(content):
    return content[: len(content) * 2 // 3]


def torch_bytes(data, *, zipped=True):
    buffer = io.BytesIO()
    torch.save(data, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def npz_bytes(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def header_bytes(header):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text


@hostile(r"is damaged or incomplete: .*Download or copy it again")
def truncated_pth(marker):
    return "a.pth", cut(torch_bytes({"model": STATE}))


@hostile(r"is damaged or incomplete|not tensors or plain data")
def truncated_pth_of_2019(marker):
    return "a.pth", cut(torch_bytes({"model": STATE}, zipped=False))


@hostile(r"is damaged or incomplete, or not a pickle of arrays")
def truncated_pkl(marker):
    return "a.pkl", cut(pickle.dumps({"blobs": {"conv1_w": np.ones((64, 3, 7, 7))}}, 2))


@hostile(r"is damaged or incomplete: BadZipFile")
def truncated_npz(marker):
    return "a.npz", cut(npz_bytes(**{"conv0/W": np.ones((7, 7, 3, 64))}))


@hostile(r"is not a checkpoint but a web page or XML, probably an error page")
def html_page_as_pth(marker):
    return "a.pth", b"<!DOCTYPE html><html><body>404 Not Found</body></html>"


@hostile(r"is empty; it was never written to its end")
def empty_file(marker):
    return "a.pth", b""


@hostile(
    r"is damaged or incomplete, or not a pickle of arrays: .*object number 2147483647 in 9 bytes"
)
def pkl_that_reserves_gigabytes(marker):
    """Nine bytes: protocol 2, an empty list, remembered under the largest number there is."""
    return "a.pkl", b"\x80\x02]r\xff\xff\xff\x7f."


@hostile(r"asks for (os|posix|nt)\.system, which could run code .* Nothing was run")
def command_in_pkl(marker):
    return "R-50.pkl", pickle.dumps({"blobs": {"conv1_w": Command(marker)}}, 2)


@hostile(r"could run code from the file\. Nothing was run")
def command_in_pth(marker):
    return "a.pth", torch_bytes({"model": STATE, "extra": Command(marker)})


@hostile(r"could run code from the file\. Nothing was run")
def command_in_pth_of_2019(marker):
    return "a.pth", torch_bytes({"model": STATE, "extra": Command(marker)}, zipped=False)


@hostile(r"asks for (os|posix|nt)\.system")
def command_in_a_plain_pickle_called_pth(marker):
    return "a.pth", pickle.dumps(Command(marker), 2)


@hostile(r"'weights' is an array of Python objects.* Nothing was run")
def command_in_npz(marker):
    return "a.npz", npz_bytes(weights=np.array([Command(marker)], dtype=object))


@hostile(r"holds objects that are not tensors or plain data \(torch\.nn\.modules\.\w+\.\w+\)")
def whole_module_in_pth(marker):
    return "a.pth", torch_bytes(nn.Sequential(nn.Linear(2, 2)))


@hostile(r"none of its 1 arrays \(transformer/h0\) has a name that is known; expected weights of")
def pkl_of_the_wrong_model(marker):
    return "gpt.pkl", pickle.dumps({"transformer/h0": np.ones(3)}, 2)


@hostile(r"is not a readable safetensors file: .*Download or copy it again")
def safetensors_with_a_lying_header(marker):
    entry = {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}
    return "a.safetensors", header_bytes({"w": entry}) + b"\0" * 64


@hostile(r"is not a readable safetensors file")
def safetensors_with_an_oversized_header(marker):
    return "a.safetensors", struct.pack("<Q", 1 << 62) + b'{"w": 1}'


@hostile(r"its manifest should be a dict, it is a list")
def safetensors_with_a_broken_manifest(marker):
    metadata = {METADATA_KEY: json.dumps({"format": 1, "metrics": []})}
    return "a.safetensors", save(STATE, metadata=metadata)


@hostile(r"was written by a newer version \(manifest 99")
def safetensors_of_a_newer_version(marker):
    metadata = {METADATA_KEY: json.dumps({"format": 99})}
    return "a.safetensors", save(STATE, metadata=metadata)


@hostile(r"its manifest names 2 classes \(background included\), its weights are for 81")
def safetensors_with_too_few_names(marker):
    state = {"roi_heads.box.predictor.cls_score.bias": torch.zeros(81)}
    return "a.safetensors", save(state, metadata=Manifest(classes=["a", "b"]).to_metadata())


@hostile(r"would unpack to \d+ bytes, more than 100 times its size")
def zip_bomb(marker):
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("a.npy", "w") as file,
    ):
        for _ in range(160):
            file.write(bytes(1 << 20))
    return "a.npz", buffer.getvalue()


@hostile(r"is a zip archive of something else \(word/document\.xml\)")
def another_zip(marker):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("word/document.xml", "<xml/>")
    return "a.pth", buffer.getvalue()


@hostile(r"is a TorchScript program, which holds code; expected weights")
def torchscript(marker):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model/data.pkl", b"\x80\x02}.")
        archive.writestr("model/code/__torch__.py", "import os")
    return "a.pth", buffer.getvalue()


@hostile(r"holds a str under the key 'model'; expected weights as name -> tensor")
def text_where_weights_should_be(marker):
    return "a.pth", torch_bytes({"model": "see attachment"})


@hostile(r"would become 4398046511104 bytes of weights, more than 100 times its size")
def pth_that_repeats_one_number(marker):
    return "a.pth", torch_bytes({"model": {"rpn.w": torch.zeros(1).expand(1 << 20, 1 << 20)}})


@hostile(r"would become \d+ bytes of weights, more than 100 times its size")
def pth_with_one_array_under_many_names(marker):
    value = torch.zeros(1 << 16)
    return "a.pth", torch_bytes({f"rpn.{number}": value for number in range(1000)})


@hostile(r"rpn\.w is a tensor of layout torch\.sparse_coo; expected dense numbers")
def sparse_tensor(marker):
    return "a.pth", torch_bytes({"model": {**STATE, "rpn.w": torch.eye(3).to_sparse()}})


@hostile(r"rpn\.w is a tensor on the device meta and without numbers")
def tensor_without_numbers(marker):
    return "a.pth", torch_bytes({"model": {**STATE, "rpn.w": torch.zeros(3, device="meta")}})


@hostile(r"rpn\.w is a tensor of type torch\.complex64; expected dense numbers")
def complex_numbers(marker):
    return "a.pth", torch_bytes({**STATE, "rpn.w": torch.zeros(3, dtype=torch.complex64)})


@hostile(r"rpn\.w is a tensor of type torch\.float8_e4m3fn; expected dense numbers")
def numbers_of_eight_bits(marker):
    return "a.safetensors", save({"rpn.w": torch.zeros(3).to(torch.float8_e4m3fn)})


@hostile(r"expected weights as name -> tensor, found the name 1 among them")
def numbers_for_names(marker):
    return "a.pth", torch_bytes({"model": {1: torch.zeros(3)}})


@hostile(r"holds no weights at all; expected name -> tensor")
def no_weights(marker):
    return "a.pth", torch_bytes({"model": {}, "epoch": 3})


@hostile(r"is damaged or incomplete: ")
def npz_with_a_head_that_is_no_python(marker):
    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': " + b"(" * 500 + b"\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head
        archive.writestr("conv0/W.npy", content)
    return "a.npz", buffer.getvalue()


@hostile(r"is not a checkpoint but a Git LFS pointer; fetch the file itself")
def lfs_pointer_as_safetensors(marker):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 177841981\n"
    return "model.safetensors", pointer


@hostile(r"is not a checkpoint but a web page or XML")
def html_page_with_a_byte_order_mark(marker):
    return "a.pth", b"\xef\xbb\xbf<!DOCTYPE html><html></html>"


@hostile(r"or no file of weights: expected a zip archive or a pickle, it begins with b'Not Found'")
def answer_of_a_server(marker):
    return "a.pth", b"Not Found"


@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants")
# torch 2.11.
@pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled")
@pytest.mark.parametrize("name", WRITERS)
def test_it_is_refused_with_its_message_and_runs_nothing(tmp_path, name):
    write, message = WRITERS[name]
    marker = tmp_path / "ran"
    file_name, content = write(marker)
    path = tmp_path / file_name
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as error:
        load(path)
    assert str(path) in str(error.value)
    assert [each.name for each in tmp_path.iterdir()] == [file_name], "something was run"


def test_the_command_does_run_where_nothing_guards_it(tmp_path):
    """What the tests above would not see if their files were harmless."""
    pickle.loads(pickle.dumps(Command(tmp_path / "ran")))
    assert (tmp_path / "ran").is_dir()


class Detector(nn.Module):
    """The names of a detector, as far as its classes go."""

    def __init__(self, classes):
        super().__init__()
        predictor = nn.Module()
        predictor.cls_score = nn.Linear(8, classes)
        predictor.bbox_pred = nn.Linear(8, 4 * classes)
        box = nn.Module()
        box.predictor = predictor
        self.roi_heads = nn.Module()
        self.roi_heads.box = box


def test_weights_for_81_classes_do_not_go_into_4(tmp_path):
    torch.save({"model": Detector(81).state_dict()}, tmp_path / "coco.pth")
    model = Detector(4)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        Checkpointer(model).load(tmp_path / "coco.pth")
    message = str(error.value)
    assert "The file has 80 classes + background, the model 3 + background" in message
    assert "maskrcnn convert --drop-heads IN OUT" in message
    assert "MODEL.ROI_BOX_HEAD.NUM_CLASSES" in message
    assert "(4, 8)" in message
    assert "(81, 8)" in message
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_what_old_programs_keep_beside_the_weights_is_read_as_plain_data(tmp_path, monkeypatch):
    """numpy numbers and arrays, a yacs configuration: written with their real names, read without importing them."""

    class CfgNode(dict):
        def __init__(self, content):
            super().__init__(content)
            self.__dict__["__immutable__"] = True

    CfgNode.__module__, CfgNode.__qualname__ = "yacs.config", "CfgNode"
    fake = ModuleType("yacs.config")
    fake.CfgNode = CfgNode
    monkeypatch.setitem(sys.modules, "yacs", ModuleType("yacs"))
    monkeypatch.setitem(sys.modules, "yacs.config", fake)
    data = {
        "model": STATE,
        "cfg": CfgNode({"MODEL": CfgNode({"MASK_ON": True})}),
        "iteration": np.int64(90000),
        "best": np.float32(0.25),
        "history": np.arange(3.0),
        "args": argparse.Namespace(local_rank=0),
    }
    for zipped in (True, False):
        content = torch_bytes(data, zipped=zipped)
        path = tmp_path / "model_final.pth"
        path.write_bytes(content)
        with monkeypatch.context() as context:
            context.delitem(sys.modules, "yacs.config")
            opened = Checkpointer(nn.Module()).open(path)
        assert opened.rest["cfg"]["MODEL"]["MASK_ON"] is True
        assert type(opened.rest["cfg"]).__module__ == "collections"
        assert opened.rest["iteration"] == 90000
        assert opened.rest["best"] == np.float32(0.25)
        assert opened.rest["history"].tolist() == [0.0, 1.0, 2.0]
        assert not isinstance(opened.rest["args"], argparse.Namespace)
