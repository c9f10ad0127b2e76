"""The checkpoints of a training, which no kill leaves half written and no damage makes believed."""

from __future__ import annotations

import hashlib
from pathlib import Path

from gan_lab.workspace.files import write_beside

KEPT = 2


class Checkpoints:
    """A folder of states, the epoch and the hash of each in its name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("*.safetensors"), reverse=True)

    def save(self, epoch: int, state: bytes) -> None:
        """Save a training's whole state; the last two are kept."""
        write_beside(self._folder / f"{epoch:08d}-{_short_hash(state)}.safetensors", state)
        for old in self._paths()[KEPT:]:
            old.unlink(missing_ok=True)

    def load(self, epochs: int) -> tuple[int, bytes] | None:
        """Return (epoch, state) of the newest whole checkpoint of at most so many epochs."""
        for path in self._paths():
            epoch, _, expected = path.stem.partition("-")
            state = path.read_bytes()
            if int(epoch) <= epochs and _short_hash(state) == expected:
                return int(epoch), state
        return None

    def drop(self, keep: int = 0) -> None:
        """Remove the checkpoints, of a training that has ended well or all but that of an epoch."""
        for path in self._paths():
            if int(path.stem.partition("-")[0]) != keep:
                path.unlink(missing_ok=True)


def _short_hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
