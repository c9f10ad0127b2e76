"""How long running units will last, as a notebook shows it: a table by urgency, and fan charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gan_lab.cluster import prognosis as cluster
from gan_lab.errors import BadParameter
from gan_lab.notebook.card import MUTED, number, page
from gan_lab.notebook.table import WIDE, html_table
from gan_lab.synth.importing.relations import hold
from gan_lab.synth.lives.prognosis import prognosis
from gan_lab.task_states import BLUE
from gan_lab.workspace.profiles import Profile, load_profile

if TYPE_CHECKING:
    from gan_lab.notebook.chart import Chart

MAX_SHOWN = 20  # units of a table
STILL_RUN = 0.2  # share of the futures that bands are drawn for: fewer say little
LINES = 3  # futures that are drawn one by one


@dataclass(repr=False, kw_only=True)
class Prognosis(prognosis.Prognosis):
    """The answer, shown as a table of the units that fail first, and drawn as fans; `profile` is
    that of their machine."""

    profile: Profile

    def update(self, rows: pd.DataFrame | str | Path) -> Prognosis:
        """Return the answer with the new rows of some units, or of units that are new, a table as
        `prognose` takes it; rows that are there already count once."""
        found = super().update(cluster.read_running(self.profile, rows))
        return Prognosis(**vars(found), profile=self.profile)

    def futures(
        self, n: int = 20, units: Sequence[Any] | None = None, seed: int = 0
    ) -> pd.DataFrame:
        """Draw continuations as `synth.lives.prognosis.prognosis` does; what holds in every row of
        the machine's table holds in them."""
        drawn = super().futures(n, units, seed)
        hold(drawn, self.profile.relations)
        return drawn

    def plot(self, unit: Any = None, truth: float | None = None) -> Chart:
        """Draw the remaining life of a unit over its age, as it was believed at each age.

        By default the unit that fails first. `truth` is what did remain after its last row, in
        `self.unit`, where that is known. Raises `BadParameter` for a unit that is not there.
        """
        from gan_lab.notebook.plots import fan

        unit = self.median.idxmin() if unit is None else unit
        history = self.history(unit)
        ages, bands = history.ages, {c: history.interval(c).to_numpy().T for c in (0.9, 0.5)}
        known, (low, high) = None, bands[0.9][:, -1]
        if truth is not None:
            end = ages[-1] + truth
            known = ("truth", np.r_[ages[0], end], np.r_[end - ages[0], 0.0])
        return fan(
            ages,
            history.median.to_numpy(),
            {f"{100 * c:.0f} % interval": (lower, upper) for c, (lower, upper) in bands.items()},
            (f"age of unit {unit} ({self.unit})", f"remaining life ({self.unit})"),
            f"Remaining life of unit {unit} over its age: {number(history.median.iloc[-1])} "
            f"{self.unit} left at age {number(ages[-1])}, 90 % between {number(low)} and "
            f"{number(high)}.",
            known=known,
        )

    def plot_futures(self, column: str, unit: Any = None, n: int = 100, seed: int = 0) -> Chart:
        """Draw a sensor's past and a fan of `n` ways it may go on, each to an end of its own.

        By default of the unit that fails first. Bands are of the futures that have not ended yet.
        Raises `BadParameter` for a unit or a column of numbers that is not there.
        """
        from gan_lab.notebook.plots import fan

        unit = self.median.idxmin() if unit is None else unit
        drawn, past = self.futures(n, [unit], seed), self._past(unit)
        numbers = [name for name in drawn.select_dtypes("number") if name in past]
        if column not in numbers:
            raise BadParameter(
                f"There is no column of numbers {column!r} to draw; there are {', '.join(numbers)}."
            )
        time, sensor = self.profile.roles.time, self.profile.sensors.get(column)
        step = drawn.groupby("future").cumcount()
        at = drawn[time] if time else step + len(past)
        before = past[time] if time else pd.Series(past.index)
        still = step.groupby(step).size() >= STILL_RUN * n
        when = at.groupby(step).median()[still].to_numpy()
        shares = drawn[column].groupby(step).quantile([0.05, 0.25, 0.5, 0.75, 0.95]).unstack()
        lowest, low, middle, high, highest = shares[still].to_numpy().T
        futures = [at.index[rows] for rows in drawn.groupby("future").indices.values()]
        last = [rows[-1] for rows in futures]
        known = past[column].notna()
        return fan(
            when,
            middle,
            {"90 % of the futures": (lowest, highest), "50 %": (low, high)},
            (str(time or "row"), f"{column} ({sensor.unit})" if sensor and sensor.unit else column),
            f"{column} of unit {unit}: {len(past)} rows of its past and {n} futures.",
            known=("past", before[known].to_numpy(), past.loc[known, column].to_numpy()),
            lines=[
                (at[rows].to_numpy(), drawn.loc[rows, column].to_numpy())
                for rows in futures[:LINES]
            ],
            ends=(at[last].to_numpy(), drawn.loc[last, column].to_numpy()),
        )

    def _past(self, unit: Any) -> pd.DataFrame:
        """Return the rows of a unit in the order of time."""
        rows = self._asked().frame
        life, time = self.profile.roles.life, self.profile.roles.time
        rows = rows[rows[life] == unit] if life in rows else rows
        rows = rows.sort_values(time, kind="stable") if time else rows
        return rows.reset_index(drop=True)

    def _repr_html_(self) -> str:
        frame = self.to_frame().sort_values("median")
        shown = frame.head(MAX_SHOWN)
        longest = max(float(shown["upper"].max()), 1e-9)
        rows = [
            {
                "unit": f"<b>{escape(str(unit))}</b>",
                f"age ({self.unit})": number(line["age"]),
                f"left ({self.unit})": f"<b>{number(round(line['median'], 1))}</b>",
                "90 % interval": f"{number(round(line['lower'], 1))} to "
                f"{number(round(line['upper'], 1))}",
                f"0 to {number(round(longest, 1))}": _bar(
                    *(line[name] / longest for name in ("lower", "median", "upper"))
                ),
                "life left": f"{100 * line['health']:.0f} %",
                "": f'<span style="{MUTED}">{escape(line["remarks"])}</span>',
            }
            for unit, line in shown.iterrows()
        ]
        more = (
            f"{len(frame) - MAX_SHOWN:,} more units last longer. " if len(frame) > MAX_SHOWN else ""
        )
        said = f'<div style="{MUTED};margin-top:4px">{more}{escape(self.worth)}</div>'
        return page(html_table(rows), said, width_px=WIDE)


def _bar(lower: float, median: float, upper: float) -> str:
    """Return a bar of an interval, with its median; ends as shares of the longest."""
    place = "position:absolute;height:8px;border-radius:2px"
    return (
        '<div style="position:relative;width:180px;height:8px;'
        'background-color:rgba(128,128,128,.15)">'
        f'<div style="{place};left:{lower:.1%};width:{max(upper - lower, 0.01):.1%};'
        f'background-color:{BLUE};opacity:.4"></div>'
        f'<div style="{place};left:{median:.1%};width:2px;background-color:{BLUE}"></div></div>'
    )


def prognose(
    machine_id: str, running: pd.DataFrame | str | Path, model_task_id: str | None = None
) -> Prognosis:
    """Answer how long units that still run will last, by a machine's model of lives.

    `running` is a table (DataFrame, or the path of a CSV or Parquet file) under the machine's own
    column names: all rows so far of one unit or of many. Readings may be missing, columns absent.
    A hundred units of 200 rows take about a second; `prognose_task` answers for many thousands.
    Raises `UnknownMachine`, `NoModel`, `BadTable`, and `BadParameter` where the model is one of
    rows.
    """
    answer = cluster.prognose(machine_id, running, model_task_id)
    return Prognosis(**vars(answer), profile=load_profile(machine_id))
