"""Logs that grow by whole lines: a line torn by a kill is skipped, then cut off.

Files are appended to. A store has no append: there a log is a row of numbered segments, the last
of which is written anew with each flush.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from bisect import bisect_right
from pathlib import Path

from gan_lab.store import Conflict, Found, StorePath
from gan_lab.workspace.files import naming, write_beside

TAIL_BYTES = 4096
MAX_TRIES = 50  # to write behind others, or to a store that is busy
SEGMENT_BYTES = 1 << 17  # a segment of so many bytes or more is full; a shorter one is the last


class LineLog:
    """A log with one writer at a time and any number of readers."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, offset: int = 0) -> tuple[list[bytes], int]:
        """Return the complete lines from a byte offset on and the offset behind them."""
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                data = file.read()
        except FileNotFoundError:
            return [], offset
        end = data.rfind(b"\n") + 1
        return data[:end].splitlines(), offset + end

    def lines(self) -> list[bytes]:
        """Return all complete lines."""
        return self.read()[0]

    def last(self) -> bytes | None:
        """Return the newest complete line, reading only the end of the log."""
        size, tail = self.path.stat().st_size if self.path.exists() else 0, TAIL_BYTES
        while True:
            lines, _ = self.read(max(0, size - tail))
            if len(lines) > 1 or tail >= size:  # the first line of a tail may be half a line
                return lines[-1] if lines else None
            tail *= 8

    def append(self, line: str) -> None:
        """Add one line, whole or not at all: a nearly full disk takes only some bytes at first."""
        with naming(self.path), self.path.open("ab", buffering=0) as file:
            end, data = file.tell(), line.encode() + b"\n"
            try:
                while data:
                    data = data[file.write(data) or 0 :]
            except OSError:
                file.truncate(end)
                raise

    def mend(self) -> None:
        """Cut off a line that a killed writer left unfinished."""
        _, end = self.read()
        if self.path.exists() and self.path.stat().st_size > end:
            os.truncate(self.path, end)

    def flush(self) -> None:
        """Do nothing: lines are written as they come."""

    def keep(self, lines: int) -> None:
        """Cut the log behind so many lines."""
        write_beside(self.path, b"".join(line + b"\n" for line in self.lines()[:lines]))

    def changed(self) -> int | None:
        """Return what is another number once the log was cut, None where there is no log."""
        try:
            return self.path.stat().st_ino
        except FileNotFoundError:
            return None


class SegmentLog(LineLog):
    """The same in an object store, in `NAME.000000`, `NAME.000001` and so on.

    `append` only takes a line in; `flush` writes what came since. A log that is `shared` has many
    writers, whose lines come behind each other; another that somebody else has written to is let
    be, for its writer has lost it.
    """

    def __init__(self, path: Path, shared: bool = False) -> None:
        super().__init__(path)
        self._shared = shared
        self._starts = [0]  # of the segments that this reader knows, in bytes
        self._tail: tuple[int, Found | None] | None = None  # the last segment as its writer left it
        self._waiting: list[str] = []
        self._lock = threading.RLock()

    def _segment(self, number: int) -> StorePath:
        path = self.path.with_name(f"{self.path.name}.{number:06d}")
        assert isinstance(path, StorePath)
        return path

    def read(self, offset: int = 0) -> tuple[list[bytes], int]:
        """Return the lines from a byte offset on and the offset behind them."""
        if offset == 0:
            self._starts = [0]
        number = bisect_right(self._starts, offset) - 1
        data, start = b"", self._starts[number]
        while found := self._segment(number).get():
            data += found.data
            if len(found.data) < SEGMENT_BYTES:
                break
            number += 1
            if number == len(self._starts):
                self._starts.append(start + len(data))
        new = data[offset - start :]
        return new.splitlines(), offset + len(new)

    def last(self) -> bytes | None:
        """Return the newest line, reading only the last segment."""
        number, found = self._last_segment()
        if number and (found is None or not found.data):
            found = self._segment(number - 1).get()
        lines = found.data.splitlines() if found else []
        return lines[-1] if lines else None

    def _last_segment(self) -> tuple[int, Found | None]:
        """Return the number of the segment that grows, and what it holds, None: still nothing."""
        number, found = 0, self._segment(0).get()
        if found and len(found.data) >= SEGMENT_BYTES:
            listed = self.path.parent.glob(f"{self.path.name}.*")
            # A listing may be late: it is only where the search begins.
            number = max((int(each.name.rpartition(".")[2]) for each in listed), default=0)
            found = self._segment(number).get()
            while found and len(found.data) >= SEGMENT_BYTES:
                number += 1
                found = self._segment(number).get()
        return number, found

    def append(self, line: str) -> None:
        """Take in one line, to be written by the next flush."""
        self._waiting.append(line + "\n")  # not behind the lock: a flush may take its time

    def flush(self) -> None:
        """Write the lines that wait, whole or not at all."""
        with self._lock:
            tries = 0
            while self._waiting:
                count, added = len(self._waiting), "".join(self._waiting).encode()
                # Kept where no answer comes: the next try then sees whether this one was written.
                self._tail = number, found = self._tail or self._last_segment()
                data = (found.data if found else b"") + added
                try:
                    tag = self._segment(number).put(data, found.tag if found else None)
                except Conflict:
                    tries += 1
                    if tries > MAX_TRIES:
                        raise
                    self._settle(number, found, data)
                    continue
                full = len(data) >= SEGMENT_BYTES
                self._tail = (number + 1, None) if full else (number, Found(data, tag))
                del self._waiting[:count]

    def _settle(self, number: int, seen: Found | None, data: bytes) -> None:
        """See who has written there: nobody, where the store was busy, ourselves, where the answer
        was lost, another of many, or whoever took this log over."""
        self._tail, found = None, self._segment(number).get()
        before = seen.data if seen else b""
        if found == seen:
            return
        if found and len(found.data) > len(before) and data.startswith(found.data):
            del self._waiting[: found.data.count(b"\n", len(before))]
        elif not self._shared:
            self._waiting.clear()
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(self._segment(number)))

    def mend(self) -> None:
        """Look anew where the log ends: somebody else may have had it meanwhile."""
        with self._lock:
            if not self._waiting:
                self._tail = None

    def keep(self, lines: int) -> None:
        """Cut the log behind so many lines; killed meanwhile it leaves more of its first ones."""
        with self._lock:
            self._tail = None
            self._waiting.clear()
            number, _ = self._last_segment()
            kept = b"".join(line + b"\n" for line in self.read()[0][:lines])
            last = max(0, bisect_right(self._starts, len(kept)) - 1)
            for later in range(number, last, -1):
                self._segment(later).unlink()
            self._segment(last).write_bytes(kept[self._starts[last] :])

    def changed(self) -> int:
        """Return another number each time: a log in a store is read from its beginning."""
        return time.monotonic_ns()


def line_log(path: Path, shared: bool = False) -> LineLog:
    """Return the log at a path: a file, or segments in a store; `shared`: of several writers."""
    return SegmentLog(path, shared) if isinstance(path, StorePath) else LineLog(path)
