"""Logs that grow by whole lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from gan_lab.workspace.line_log import TAIL_BYTES, LineLog


@pytest.fixture
def log(tmp_path: Path) -> LineLog:
    return LineLog(tmp_path / "log")


def test_a_reader_goes_on_where_it_stopped(log: LineLog) -> None:
    assert log.read() == ([], 0) and log.last() is None
    log.append("one")
    log.append("two")
    lines, end = log.read()
    assert (lines, end) == ([b"one", b"two"], 8)
    log.append("three")
    assert log.read(end) == ([b"three"], 14)
    assert log.lines() == [b"one", b"two", b"three"]


def test_a_torn_line_is_skipped_until_it_is_cut_off(log: LineLog) -> None:
    log.append("whole")
    with log.path.open("a") as file:
        file.write("torn")
    assert (log.lines(), log.last()) == ([b"whole"], b"whole")
    log.mend()
    log.append("next")
    assert log.lines() == [b"whole", b"next"]


@pytest.mark.parametrize("letters", [1, TAIL_BYTES - 1, TAIL_BYTES, 20 * TAIL_BYTES])
def test_the_last_line_is_found_however_long(log: LineLog, letters: int) -> None:
    log.append("first")
    log.append("x" * letters)
    assert log.last() == b"x" * letters


def test_an_error_of_writing_names_the_log(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        LineLog(tmp_path / "nowhere" / "log").append("line")
    assert str(tmp_path / "nowhere" / "log") in str(caught.value)
