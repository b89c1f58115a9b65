import logging
import re

import pytest

from maskrcnn_benchmark.utils.logger import close_logger, setup_logger

NAME = "maskrcnn_test_logger"


@pytest.fixture(autouse=True)
def _closed():
    yield
    close_logger(NAME)


def test_lines_have_the_old_format_on_console_and_in_the_file(tmp_path, capsys):
    setup_logger(NAME, tmp_path, 0)
    logging.getLogger(f"{NAME}.trainer").info("Start training")
    line = capsys.readouterr().out
    assert re.fullmatch(
        rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d,\d{{3}} {NAME}.trainer INFO: Start training\n", line
    )
    assert (tmp_path / "log.txt").read_text() == line


def test_the_console_can_be_told_less_than_the_file(tmp_path, capsys):
    logger = setup_logger(NAME, tmp_path, 0, "train.log", console_level=logging.INFO)
    logger.debug("a detail")
    assert capsys.readouterr().out == ""
    assert "a detail" in (tmp_path / "train.log").read_text()


def test_other_ranks_are_silent(tmp_path, capsys):
    setup_logger(NAME, tmp_path, 1).warning("unheard")
    assert capsys.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_a_second_call_does_not_double_the_lines(tmp_path, capsys):
    setup_logger(NAME, None, 0)
    setup_logger(NAME, "", 0).info("once")
    assert capsys.readouterr().out.count("once") == 1


def test_a_resumed_run_appends(tmp_path):
    for text in ("first", "second"):
        setup_logger(NAME, tmp_path, 0).info(text)
        close_logger(NAME)
    assert [line.split()[-1] for line in (tmp_path / "log.txt").read_text().splitlines()] == [
        "first",
        "second",
    ]


def test_closing_lets_records_travel_up_again(caplog):
    setup_logger(NAME, None, 0)
    close_logger(NAME)
    with caplog.at_level(logging.INFO):
        logging.getLogger(NAME).info("seen above")
    assert "seen above" in caplog.text
    assert logging.getLogger(NAME).handlers == []
