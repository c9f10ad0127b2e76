"""Logs that grow by whole lines: a line torn by a kill is skipped, then cut off."""

from __future__ import annotations

import os
from pathlib import Path

from gan_lab.workspace.files import naming

TAIL_BYTES = 4096


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
