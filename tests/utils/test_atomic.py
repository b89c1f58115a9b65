"""Whole files or none: errors, full disks, kills."""

import errno
import os
import subprocess
import sys
import textwrap

import pytest

from maskrcnn_benchmark.utils.atomic import atomic_write, remove_stale_temporaries


def test_text_and_bytes_are_written_as_given(tmp_path):
    with atomic_write(tmp_path / "text") as file:
        file.write("one\ntwo € ü\n")
    with atomic_write(tmp_path / "bytes", "wb") as file:
        file.write(b"\x00\r\n")
    assert (tmp_path / "text").read_bytes() == "one\ntwo € ü\n".encode()
    assert (tmp_path / "bytes").read_bytes() == b"\x00\r\n"
    assert sorted(os.listdir(tmp_path)) == ["bytes", "text"]


def test_new_files_get_the_usual_permissions(tmp_path):
    with atomic_write(tmp_path / "a") as file:
        file.write("x")
    (tmp_path / "b").write_text("x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_nothing_is_visible_before_the_end(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with atomic_write(path) as file:
        file.write("new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_an_error_keeps_the_old_file_and_leaves_no_other(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def fail():
        with atomic_write(path) as file:
            file.write("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_disk_that_is_full_at_the_sync_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"), atomic_write(path) as file:
        file.write("new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_symbolic_link_stays_one(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    with atomic_write(tmp_path / "link") as file:
        file.write("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"


def test_other_modes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="'a'"):
        atomic_write(tmp_path / "file", "a")


def test_what_a_killed_process_left_is_removed_later(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    code = f"""
        import os, signal
        from maskrcnn_benchmark.utils.atomic import atomic_write
        with atomic_write({str(path)!r}) as file:
            file.write("half")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert done.returncode == -9
    assert path.read_text() == "old"
    (left,) = [name for name in os.listdir(tmp_path) if name != "file"]

    with atomic_write(tmp_path / "mine") as file:
        file.write("x")
        removed = remove_stale_temporaries(tmp_path)
    assert [each.name for each in removed] == [left]
    assert sorted(os.listdir(tmp_path)) == ["file", "mine"]


def test_temporaries_of_running_processes_and_other_files_stay(tmp_path):
    parent = tmp_path / f".file.{os.getppid()}-0123abcd.tmp"
    other = tmp_path / ".file.tmp"
    recycled = tmp_path / f".file.{os.getpid()}-0123abcd.tmp"
    for path in (parent, other, recycled):
        path.write_text("x")
    assert remove_stale_temporaries(tmp_path) == [recycled]
    assert parent.exists()
    assert other.exists()
