"""Downloads from a real server on this machine."""

import hashlib
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from maskrcnn_benchmark.checkpoint.download import cache_folder, cache_url, cached_path
from maskrcnn_benchmark.errors import CheckpointError

CONTENT = b"weights" * 1000
HASH = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Knows ranges below /ranged/; breaks off after 100 bytes of what has `broken` in its name."""

    requests: list[str] = []  # noqa: RUF012
    ranges: list[str] = []  # noqa: RUF012
    content = CONTENT

    def do_GET(self):
        self.requests.append(self.path)
        if self.path.endswith("missing.pth"):
            self.send_error(404)
            return
        start = self._start() if "/ranged/" in self.path else 0
        if start >= len(self.content):
            self.send_error(416)
            return
        body = self.content[start:]
        self.send_response(206 if start else 200)
        if start:
            end = len(self.content) - 1
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(self.content)}")
        if "/ranged/" in self.path:
            self.send_header("ETag", self.tag())
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:100] if "broken" in self.path else body)

    def tag(self):
        return f'"{hashlib.sha256(self.content).hexdigest()[:8]}"'

    def _start(self):
        wanted = self.headers.get("Range", "")
        self.ranges.append(wanted)
        same = self.headers.get("If-Range") in (None, self.tag())
        return int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and same else 0

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    Handler.requests.clear()
    Handler.ranges.clear()
    Handler.content = CONTENT
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_file_is_downloaded_once(server, tmp_path):
    url = f"{server}/a/R-50.pth?version=2"
    for _ in range(2):
        path = cache_url(url, tmp_path / "cache")
        assert path == str(tmp_path / "cache" / "R-50.pth")
        assert Path(path).read_bytes() == CONTENT
    assert len(Handler.requests) == 1


def test_the_hash_in_a_name_is_checked(server, tmp_path):
    assert cache_url(f"{server}/resnet50-{HASH[:8]}.pth", tmp_path)
    with pytest.raises(CheckpointError, match=f"SHA-256 .* is {HASH}, its name promises deadbeef"):
        cache_url(f"{server}/resnet50-deadbeef.pth", tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    # Fewer than six digits are a name, not a hash.
    assert cache_url(f"{server}/model-abc.pth", tmp_path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing.pth", "404"), ("broken.pth", "broke after 100 of 7000|Incomplete")],
)
def test_a_failure_names_url_and_place_and_leaves_nothing(server, tmp_path, name, reason):
    with pytest.raises(CheckpointError, match=reason) as error:
        cache_url(f"{server}/{name}", tmp_path)
    assert f"{server}/{name}" in str(error.value)
    assert f"put it at {tmp_path / name}" in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_a_cached_file_is_enough(tmp_path):
    url = "http://127.0.0.1:9/folder/weights.pth"
    with pytest.raises(CheckpointError, match=r"Without a network connection.*weights\.pth"):
        cache_url(url, tmp_path)
    (tmp_path / "weights.pth").write_bytes(b"x")
    assert cache_url(url, tmp_path) == str(tmp_path / "weights.pth")


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.delenv("TORCH_MODEL_ZOO", raising=False)
    monkeypatch.delenv("TORCH_HOME", raising=False)
    assert cache_folder() == Path("~/.torch/models").expanduser()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "models"
    monkeypatch.setenv("TORCH_MODEL_ZOO", str(tmp_path / "zoo"))
    assert cache_folder() == tmp_path / "zoo"


def test_names_in_the_cache(tmp_path):
    base = "https://host/detectron/36494496/12_2017_baselines"
    assert cached_path(f"{base}/R-50.pkl", tmp_path).name == "R-50.pkl"
    assert (
        cached_path(f"{base}/model_final.pkl", tmp_path).name
        == "_detectron_36494496_12_2017_baselines_model_final.pkl"
    )
    with pytest.raises(CheckpointError, match="names no file"):
        cached_path("https://host/folder/", tmp_path)


def test_a_broken_connection_is_taken_up_again(server, tmp_path):
    """100 bytes at a time: four attempts are not enough for all, but the next call goes on from there."""
    url = f"{server}/ranged/broken.pth"
    Handler.content = CONTENT[:750]
    with pytest.raises(CheckpointError, match="after 400 of 750 bytes; what came is kept"):
        cache_url(url, tmp_path)
    assert Handler.ranges == ["", "bytes=100-", "bytes=200-", "bytes=300-"]
    assert (tmp_path / "broken.pth.part").read_bytes() == CONTENT[:400]
    assert Path(cache_url(url, tmp_path)).read_bytes() == CONTENT[:750]
    assert Handler.ranges[4:] == [f"bytes={n}00-" for n in (4, 5, 6, 7)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.pth", "broken.pth.url"]


def test_a_part_of_another_version_is_not_gone_on_from(server, tmp_path):
    url = f"{server}/ranged/broken.pth"
    with pytest.raises(CheckpointError, match="broke"):
        cache_url(url, tmp_path)
    assert (tmp_path / "broken.pth.part").stat().st_size == 400
    Handler.content = b"newer, and short"
    assert Path(cache_url(url, tmp_path)).read_bytes() == b"newer, and short"


def test_a_part_that_is_longer_than_the_file_is_thrown_away(server, tmp_path):
    url = f"{server}/ranged/a.pth"
    note = {"url": url, "tag": Handler.tag(Handler), "length": 9000}
    (tmp_path / "a.pth.part").write_bytes(b"x" * 8000)
    (tmp_path / "a.pth.part.json").write_text(json.dumps(note))
    assert Path(cache_url(url, tmp_path)).read_bytes() == CONTENT
    assert Handler.ranges == ["bytes=8000-", ""]


def test_a_part_that_is_whole_already_is_only_checked(server, tmp_path):
    name = f"model-{HASH[:8]}.pth"
    url = f"{server}/ranged/{name}"
    (tmp_path / f"{name}.part").write_bytes(CONTENT)
    note = {"url": url, "tag": "", "length": len(CONTENT)}
    (tmp_path / f"{name}.part.json").write_text(json.dumps(note))
    assert Path(cache_url(url, tmp_path)).read_bytes() == CONTENT
    assert Handler.requests == []


def test_without_a_server_that_can_resume_the_whole_file_is_fetched(server, tmp_path):
    url = f"{server}/a.pth"
    (tmp_path / "a.pth.part").write_bytes(b"wrong" * 10)
    (tmp_path / "a.pth.part.json").write_text(
        json.dumps({"url": url, "tag": '"x"', "length": 7000})
    )
    assert Path(cache_url(url, tmp_path)).read_bytes() == CONTENT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pth", "a.pth.url"]


def test_a_file_of_the_same_name_from_elsewhere_is_another_file(server, tmp_path):
    first = cache_url(f"{server}/mine/model.pth?signature=1", tmp_path, progress=False)
    Handler.content = b"other" * 1000
    assert cache_url(f"{server}/mine/model.pth?signature=2", tmp_path, progress=False) == first
    second = cache_url(f"{server}/yours/model.pth", tmp_path, progress=False)
    assert second != first
    assert Path(first).read_bytes() == CONTENT
    assert Path(second).read_bytes() == Handler.content
    assert cache_url(f"{server}/yours/model.pth", tmp_path, progress=False) == second
    assert len(Handler.requests) == 2
    assert (tmp_path / "model.pth.url").read_text() == f"{server}/mine/model.pth"
    # Without a name, what is behind the question mark says which file it is.
    ids = [cache_url(f"{server}/get?id={number}", tmp_path, progress=False) for number in (1, 2)]
    assert ids[0] != ids[1]
    # Nobody knows where a file came from that was put there by hand.
    (tmp_path / "hand.pth").write_bytes(CONTENT)
    assert cached_path(f"{server}/hand.pth", tmp_path) == tmp_path / "hand.pth"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"<!DOCTYPE html><html>Sign in</html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    ],
)
def test_what_is_no_file_of_weights_is_not_kept(server, tmp_path, content, what):
    Handler.content = content
    with pytest.raises(CheckpointError, match=f"the server sent {what}.* in place of the file"):
        cache_url(f"{server}/a.pth", tmp_path, progress=False)
    Handler.content = CONTENT
    assert Path(cache_url(f"{server}/a.pth", tmp_path, progress=False)).read_bytes() == CONTENT


def test_a_date_or_an_iteration_is_no_hash(server, tmp_path):
    path = cache_url(f"{server}/checkpoint-100000.pth", tmp_path, progress=False)
    assert Path(path).read_bytes() == CONTENT


def test_an_answer_that_is_no_http_is_a_failure(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"garbage\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/a.pth"
        with pytest.raises(CheckpointError, match="could not download"):
            cache_url(url, tmp_path, progress=False)
        thread.join()


@pytest.mark.parametrize("url", ["http://[::1/a.pth", "http://host/..", "http://host/folder/"])
def test_urls_that_name_no_file(url, tmp_path):
    with pytest.raises(CheckpointError, match=r"names no file|is no URL"):
        cached_path(url, tmp_path)
