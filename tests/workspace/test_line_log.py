"""Logs that grow by whole lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from gan_lab.store import Conflict, StorePath
from gan_lab.workspace import line_log as line_logs
from gan_lab.workspace.line_log import TAIL_BYTES, LineLog, line_log


@pytest.fixture
def log(home: Path) -> LineLog:
    return line_log(home / "log")


def say(log: LineLog, *lines: str) -> None:
    for line in lines:
        log.append(line)
    log.flush()


def test_a_reader_goes_on_where_it_stopped(log: LineLog) -> None:
    assert log.read() == ([], 0) and log.last() is None
    say(log, "one", "two")
    lines, end = log.read()
    assert (lines, end) == ([b"one", b"two"], 8)
    say(log, "three")
    assert log.read(end) == ([b"three"], 14)
    assert log.lines() == [b"one", b"two", b"three"]


def test_a_torn_line_is_skipped_until_it_is_cut_off(tmp_path: Path) -> None:
    log = LineLog(tmp_path / "log")
    log.append("whole")
    with log.path.open("a") as file:
        file.write("torn")
    assert (log.lines(), log.last()) == ([b"whole"], b"whole")
    log.mend()
    log.append("next")
    assert log.lines() == [b"whole", b"next"]


@pytest.mark.parametrize("letters", [1, TAIL_BYTES - 1, TAIL_BYTES, 20 * TAIL_BYTES])
def test_the_last_line_is_found_however_long(log: LineLog, letters: int) -> None:
    say(log, "first", "x" * letters)
    assert log.last() == b"x" * letters


def test_an_error_of_writing_names_the_log(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        LineLog(tmp_path / "nowhere" / "log").append("line")
    assert str(tmp_path / "nowhere" / "log") in str(caught.value)


def test_a_log_of_many_segments_reads_as_one(
    log: LineLog, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_logs, "SEGMENT_BYTES", 64)
    said = [f"line {number}" for number in range(50)]
    _, end = log.read()
    read: list[bytes] = []
    for first in range(0, 50, 7):
        say(log, *said[first : first + 7])
        lines, end = log.read(end)
        read += lines
    assert read == log.lines() == [line.encode() for line in said]
    other = line_log(home / "log")
    assert other.last() == b"line 49"
    say(other, "line 50")
    assert log.lines()[-2:] == [b"line 49", b"line 50"]
    for kept in (23, 5, 0):
        other.keep(kept)
        assert line_log(home / "log").lines() == [line.encode() for line in said[:kept]]
    say(other, "anew")
    assert line_log(home / "log").lines() == [b"anew"] and other.last() == b"anew"


def test_a_log_that_is_shared_has_the_lines_of_all_who_write(home: Path) -> None:
    writers = [line_log(home / "log", shared=True) for _ in range(3)]
    for number, writer in enumerate(writers * 3):
        say(writer, f"line {number}")
    assert line_log(home / "log").lines() == [f"line {number}".encode() for number in range(9)]


def test_who_has_lost_a_log_in_a_store_writes_no_more_in_it(bucket: Path) -> None:
    deposed, taker = line_log(bucket / "log"), line_log(bucket / "log")
    say(deposed, "one")
    say(taker, "two")
    with pytest.raises(OSError, match="Stale"):
        say(deposed, "late")
    deposed.flush()
    assert line_log(bucket / "log").lines() == [b"one", b"two"]


@pytest.mark.parametrize("mended", [False, True])
def test_a_line_whose_answer_was_lost_is_written_once(
    bucket: Path, monkeypatch: pytest.MonkeyPatch, mended: bool
) -> None:
    log, put = line_log(bucket / "log"), StorePath.put

    def cut_off(path: StorePath, data: bytes, over: str | None) -> str:
        put(path, data, over)
        raise ConnectionResetError

    say(log, "one")
    if mended:
        log = line_log(bucket / "log")  # that has written nothing yet
    with monkeypatch.context() as patch, pytest.raises(ConnectionResetError):
        patch.setattr(StorePath, "put", cut_off)
        say(log, "two")
    if mended:
        log.mend()
    say(log, "three")
    assert log.lines() == [b"one", b"two", b"three"]


def test_a_store_that_is_busy_is_asked_again(bucket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, put, refused = line_log(bucket / "log"), StorePath.put, []

    def busy(path: StorePath, data: bytes, over: str | None) -> str:
        if len(refused) < 3:
            refused.append(data)
            raise Conflict  # S3 says so of requests that overlap, and asks to try again
        return put(path, data, over)

    say(log, "one")
    monkeypatch.setattr(StorePath, "put", busy)
    say(log, "two")
    assert len(refused) == 3 and log.lines() == [b"one", b"two"]
