"""Progress bars: silent in files, drawn in terminals, and log lines above them."""

import io
import re
from contextlib import redirect_stdout

import pytest

from maskrcnn_benchmark.utils import progress
from maskrcnn_benchmark.utils.logger import close_logger, setup_logger
from maskrcnn_benchmark.utils.progress import is_watched, progress_bar, track


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Pretend that standard output is a terminal, inside `redirect_stdout(terminal)`."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_DRAWINGS", 0)
    return Terminal()


def visible(stream):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())


def test_track_yields_everything_and_prints_nothing_into_a_pipe(capsys):
    assert list(track(range(3), "counting")) == [0, 1, 2]
    assert list(track((n for n in range(3)), "counting")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_a_terminal_sees_words_counts_and_time_left(terminal):
    with redirect_stdout(terminal):
        assert list(track(["a", "b"], "[bold] words")) == ["a", "b"]
    text = visible(terminal)
    assert "[bold] words" in text
    assert "0/2" in text
    assert "2/2" in text
    assert "left:" in text


def test_a_resumed_bar_begins_where_it_was(terminal):
    with redirect_stdout(terminal), progress_bar("training", total=10, completed=4) as bar:
        bar.advance()
        bar.describe("training, loss 1.5")
    assert "5/10" in visible(terminal)
    assert "loss 1.5" in visible(terminal)


def test_bytes_are_shown_as_sizes(terminal):
    with redirect_stdout(terminal), progress_bar("download", total=2_000_000, unit="B") as bar:
        bar.advance(1_000_000)
    assert "1.0/2.0 MB" in visible(terminal)


def test_bars_nest(terminal):
    with redirect_stdout(terminal):
        for _ in track(range(2), "outer"):
            for _ in track(range(3), "inner"):
                pass
    text = visible(terminal)
    assert "outer" in text
    assert "inner" in text
    assert progress._active is None


def test_log_lines_appear_whole_above_the_bar(terminal):
    logger = setup_logger("maskrcnn_test_progress", None, 0)
    try:
        with redirect_stdout(terminal):
            for _ in track(range(2), "working"):
                logger.info("a line of the log")
    finally:
        close_logger("maskrcnn_test_progress")
    lines = [line.split("\r")[-1].strip() for line in visible(terminal).splitlines()]
    assert sum(line.endswith("INFO: a line of the log") for line in lines) == 2


def test_an_error_inside_ends_the_bar(terminal):
    def fail():
        for number in track(range(2), "working"):
            raise ValueError(number)

    with redirect_stdout(terminal), pytest.raises(ValueError, match="0"):
        fail()
    assert progress._active is None


@pytest.mark.parametrize(("name", "value"), [("RANK", "1"), ("TERM", "dumb")])
def test_other_processes_and_dumb_terminals_draw_nothing(terminal, monkeypatch, name, value):
    with redirect_stdout(terminal):
        assert is_watched()
        monkeypatch.setenv(name, value)
        assert not is_watched()
        list(track(range(2), "working"))
    assert terminal.getvalue() == ""
