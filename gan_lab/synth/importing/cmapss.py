"""NASA's turbofan tables (C-MAPSS), as they are published: 26 numbers a line, without a heading."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from gan_lab.errors import BadTable

SETTINGS = [f"setting_{number}" for number in range(1, 4)]
SENSORS = [f"sensor_{number}" for number in range(1, 22)]
ROLES = {"life": "unit", "time": "cycle", "rul": "rul"}
COLUMNS = ["unit", "cycle", *SETTINGS, *SENSORS]


def read_cmapss(file: str | Path, max_rul: int | None = None) -> pd.DataFrame:
    """Return `train_FD001.txt` or one like it with a heading and with `rul`, in cycles.

    `rul` counts down to each unit's last row, which is its failure in the files called `train`;
    in those called `test` it is not: leave it out there. `max_rul` is the most that it says, as in
    most published work (125). Raises `BadTable` where the file is none of these.
    """
    try:
        table = pd.read_csv(file, sep=r"\s+", header=None)
    except (OSError, ValueError) as error:
        raise BadTable(f"{file} cannot be read ({error}).") from None
    if len(table.columns) != len(COLUMNS) or not all(
        map(pd.api.types.is_numeric_dtype, table.dtypes)
    ):
        raise BadTable(
            f"{file} is no C-MAPSS table: it has {len(table.columns)} columns, not "
            f"{len(COLUMNS)} of numbers without a heading."
        )
    table.columns = COLUMNS
    last = table.groupby("unit")["cycle"].transform("max")
    table["rul"] = (last - table["cycle"]).clip(upper=max_rul)
    return table
