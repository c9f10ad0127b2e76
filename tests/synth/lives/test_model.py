"""A model in its file, and what it says of itself."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from gan_lab.errors import BadParameter
from gan_lab.synth.lives.sequential import SequentialTVAE
from tests.synth.lives.tables import (
    draw,
)


def test_saved_model_draws_the_same_rows(model: SequentialTVAE, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model.save(path)
    pd.testing.assert_frame_equal(draw(SequentialTVAE.load(path), rows=200), draw(model, rows=200))
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadParameter, match="altered"):
        SequentialTVAE.load(path)


def test_a_model_says_what_it_found(model: SequentialTVAE, table: pd.DataFrame) -> None:
    assert sorted(model.states) == ["full", "half", "idle"]
    assert sorted(model.failure_modes) == ["bearing", "winding"]
    lives, epochs = model.notes()
    assert lives == f"24 lives of {len(table)} rows, 3 regimes from state."
    assert epochs == "6 of at most 6 epochs: 3 held-out lives decided when it was enough."
