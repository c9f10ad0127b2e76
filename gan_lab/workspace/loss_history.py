"""A training's losses as they grow, of which each look reads only what is new."""

from __future__ import annotations

from contextlib import suppress

from gan_lab.workspace.line_log import line_log
from gan_lab.workspace.run_folder import LOSS_COLUMNS, LOSSES, RunFolder


class LossHistory:
    """The columns of `losses.csv` up to the last `update`; NaN where an epoch has no figure."""

    def __init__(self, run: RunFolder) -> None:
        self._log = line_log(run.path / LOSSES)
        self._read_to: tuple[int | None, int] = (None, 0)  # as of which cut, how far (bytes)
        self.columns: dict[str, list[float]] = {name: [] for name in LOSS_COLUMNS}

    def __len__(self) -> int:
        return len(self.columns["epoch"])

    def update(self) -> None:
        """Read the epochs since the last look; all of them where the training has gone back."""
        cut = self._log.changed()
        if cut is None:
            return
        if cut != self._read_to[0]:
            self._read_to = (cut, 0)
            self.columns = {name: [] for name in LOSS_COLUMNS}
        lines, end = self._log.read(self._read_to[1])
        for line in lines:
            with suppress(ValueError):  # a damaged line is no epoch
                cells = [float(cell or "nan") for cell in line.split(b",")]
                for column, cell in zip(self.columns.values(), cells, strict=True):
                    column.append(cell)
        self._read_to = (cut, end)
