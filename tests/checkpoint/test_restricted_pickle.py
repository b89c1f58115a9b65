"""Arrays and plain data come out; anything that a pickle could run is refused by name."""

import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest

from maskrcnn_benchmark.checkpoint.files import read_checkpoint
from maskrcnn_benchmark.checkpoint.restricted_pickle import read_pickle
from maskrcnn_benchmark.errors import CheckpointError
from tests.checkpoint.detectron_files import write_as_python2

DATA = {
    "blobs": OrderedDict(
        a_w=np.arange(6, dtype=np.float32).reshape(2, 3).T,
        b_w=np.array([0, 127, 128, 255], dtype=np.uint8),
        big=np.array([1.5, -2.5], dtype=">f8"),
        none=np.empty((0, 4), dtype=np.float32),
        number=np.float32(1.25),
    ),
    "cfg": "MODEL:\n  TYPE: generalized_rcnn\n",
    "plain": [1, 2.5, None, True, (1, 2), 10**30],
}


def assert_same(loaded):
    assert loaded["cfg"] == DATA["cfg"]
    assert loaded["plain"] == DATA["plain"]
    assert list(loaded["blobs"]) == list(DATA["blobs"])
    for name, value in DATA["blobs"].items():
        assert loaded["blobs"][name].dtype.newbyteorder("=") == value.dtype.newbyteorder("=")
        assert np.array_equal(loaded["blobs"][name], value)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_arrays_come_back(tmp_path, protocol):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(DATA, protocol))
    assert_same(read_pickle(tmp_path / "a.pkl"))


def test_files_of_python_2_come_back(tmp_path):
    write_as_python2(tmp_path / "a.pkl", DATA)
    content = (tmp_path / "a.pkl").read_bytes()
    assert b"numpy.core.multiarray" in content
    assert b"_codecs" not in content
    assert_same(read_pickle(tmp_path / "a.pkl"))


class Call:
    """Would make a call when unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def own_code(*values):
    """Stands for code of somebody's own."""


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("reader", [read_pickle, read_checkpoint])
def test_a_command_in_a_pickle_is_not_run(tmp_path, protocol, reader):
    trace = tmp_path / "trace"
    data = {"blobs": {"conv1_w": np.ones(2)}, "x": Call(os.system, f"touch {trace}")}
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps(data, protocol))
    with pytest.raises(CheckpointError, match=r"bad\.pkl is a pickle .* (posix|nt)\.system, which"):
        reader(tmp_path / "bad.pkl")
    assert not trace.exists()


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (Call(eval, "1 + 1"), r"(__builtin__|builtins)\.eval"),
        (Call(getattr, DATA, "clear"), r"(__builtin__|builtins)\.getattr"),
        (Call(own_code, 1), r"test_restricted_pickle\.own_code"),
        (np.load, r"numpy\.load"),
        (np.random.RandomState(0), "numpy.random"),
        ({1, 2}, r"(__builtin__|builtins)\.set"),
    ],
)
def test_what_is_not_on_the_list_is_named(tmp_path, bad, named):
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps({"blobs": bad}, 2))
    with pytest.raises(CheckpointError, match=f"asks for .*{named}"):
        read_pickle(tmp_path / "bad.pkl")


# Numbers whose type's state says that they are addresses of objects (flags 63).
FORGED = pickle.dumps(np.ones(1), 0).replace(b"I-1\nI-1\nI0\n", b"I8\nI8\nI63\n")
FORGED_PARTS = pickle.dumps(np.ones(1), 0).replace(b"NNN", b"N(lp9\nN")


def test_flags_of_a_type_are_not_believed(tmp_path):
    assert b"I63" in FORGED
    (tmp_path / "a.pkl").write_bytes(FORGED)
    array = read_pickle(tmp_path / "a.pkl")
    assert array.dtype == np.float64
    assert not array.dtype.hasobject
    assert array.tolist() == [1.0]


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(np.array([object, None], dtype=object)[1:], 2),
        pickle.dumps(np.zeros(2, dtype=[("x", "f4")]), 2),
        FORGED_PARTS,
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.",
        b"\x80\x02X\x01\x00\x00\x00aQ.",
        b"\x80\x02cnumpy\nndarray\n(J\xff\xff\xff\x7fJ\xff\xff\xff\x7fJ\xff\xff\xff\x7ft\x85R.",
        b"not a pickle",
        b"\x80\x02" + bytes(100),
        b"\x80\x02.",
        bytes(range(256)),
    ],
    ids=[
        "objects",
        "records",
        "forged",
        "codec",
        "reference",
        "huge",
        "text",
        "zeros",
        "nothing",
        "random",
    ],
)
def test_what_is_no_pickle_of_arrays_is_an_error(tmp_path, content):
    (tmp_path / "bad.pkl").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"bad\.pkl \(\d+ bytes\) is damaged"):
        read_pickle(tmp_path / "bad.pkl")


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_an_error(tmp_path, share):
    path = tmp_path / "cut.pkl"
    write_as_python2(path, DATA)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match=r"cut\.pkl .*(damaged|empty)"):
        read_checkpoint(path)
