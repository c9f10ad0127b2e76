"""NASA's turbofan tables as they are published."""

from __future__ import annotations

from pathlib import Path

import pytest

from gan_lab.errors import BadTable
from gan_lab.synth.importing.cmapss import read_cmapss


def published(path: Path, columns: int = 26) -> Path:
    """Write two units of 3 and 200 cycles as NASA does: blanks between, two at each line's end."""
    lines = [
        f"{unit} {cycle} " + " ".join(f"{cycle / 7:.4f}" for _ in range(columns - 2)) + "  \n"
        for unit, cycles in ((1, 3), (2, 200))
        for cycle in range(1, cycles + 1)
    ]
    path.write_text("".join(lines))
    return path


def test_a_published_table_gets_names_and_a_remaining_life(tmp_path: Path) -> None:
    table = read_cmapss(published(tmp_path / "train_FD001.txt"))
    assert list(table)[:3] == ["unit", "cycle", "setting_1"]
    assert list(table)[-2:] == ["sensor_21", "rul"]
    assert table["rul"].tolist() == [2, 1, 0, *range(199, -1, -1)]


def test_the_remaining_life_is_capped_where_that_is_asked_for(tmp_path: Path) -> None:
    table = read_cmapss(published(tmp_path / "train_FD001.txt"), max_rul=125)
    assert table["rul"].tolist() == [2, 1, 0, *[125] * 74, *range(125, -1, -1)]


def test_what_is_no_such_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadTable, match="25 columns"):
        read_cmapss(published(tmp_path / "short.txt", columns=25))
    with pytest.raises(BadTable, match="cannot be read"):
        read_cmapss(tmp_path / "absent.txt")
