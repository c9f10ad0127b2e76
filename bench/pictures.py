"""Pictures of real and synthetic lives side by side, for whoever wants to see what figures say."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from gan_lab.notebook.plots import life_with_rul
from gan_lab.schema import Roles


def pictures(train: pd.DataFrame, rows: pd.DataFrame, roles: Roles, folder: Path) -> None:
    """Draw forty lives of each by their rows to the end, as a picture and as a page."""
    folder.mkdir(parents=True, exist_ok=True)
    chart = life_with_rul(train, roles, rows)
    (folder / "lives.png").write_bytes(chart.png)
    (folder / "lives.html").write_text(chart.html)
