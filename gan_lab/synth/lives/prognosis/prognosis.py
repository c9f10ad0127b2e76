"""The answer: how long units that still run will last, with what is believed and how surely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from gan_lab.errors import BadParameter
from gan_lab.synth.lives.packed import Floats

LEVELS = np.arange(1, 200) / 200  # of the quantiles that are kept


@dataclass(repr=False)
class Prognosis:
    """What is believed of the remaining life of units, one row a unit.

    `units` names them, `ages` (units,) and `quantiles` (units, 199; at 0.5 % to 99.5 %) are in
    `unit`, `health` (units,) is the share of its life that a unit has left, `modes` (units, modes)
    how probable each failure mode is; `remarks` say what the model has not seen the like of, and
    `figures` what such answers were worth for lives left out of the fit.
    """

    units: pd.Index[Any]
    ages: Floats
    quantiles: Floats
    health: Floats
    unit: str
    modes: pd.DataFrame
    remarks: list[str]
    figures: dict[str, Any]
    source: Any = None

    def __len__(self) -> int:
        return len(self.units)

    @property
    def mean(self) -> pd.Series[Any]:
        """The mean remaining life, which errs least in squares."""
        return self._series(self.quantiles.mean(axis=1), "mean")

    @property
    def median(self) -> pd.Series[Any]:
        """The median remaining life: as likely shorter as longer."""
        return self.quantile(0.5).rename("median")

    def quantile(self, level: float | Sequence[float]) -> Any:
        """Return the remaining life below which a unit's lies with this probability."""
        levels = np.atleast_1d(np.asarray(level, dtype=np.float64))
        if ((levels <= 0) | (levels >= 1)).any():
            raise BadParameter(f"quantile({level}): ask for probabilities between 0 and 1.")
        found = np.stack([np.interp(levels, LEVELS, line) for line in self.quantiles])
        if np.ndim(level) == 0:
            return self._series(found[:, 0], f"q{level:g}")
        return pd.DataFrame(found, index=self.units, columns=levels)

    def interval(self, coverage: float = 0.9) -> pd.DataFrame:
        """Return `lower` and `upper` of the central interval that should hold the remaining life
        with probability `coverage`."""
        if not 0 < coverage < 1:
            raise BadParameter(f"interval({coverage}): name a share between 0 and 1, such as 0.9.")
        found = self.quantile([(1 - coverage) / 2, (1 + coverage) / 2])
        return found.set_axis(["lower", "upper"], axis=1)

    def fails_within(self, span: float) -> pd.Series[Any]:
        """Return the probability that a unit fails within so long, a number in `unit`."""
        if not isinstance(span, Real) or not span >= 0:
            raise BadParameter(f"fails_within({span!r}): give a number of {self.unit}, such as 48.")
        levels = np.r_[0.0, LEVELS]
        found = [np.interp(span, np.r_[0.0, line], levels) for line in self.quantiles]
        return self._series(np.array(found), f"fails within {span:g} {self.unit}")

    def to_frame(self, coverage: float = 0.9) -> pd.DataFrame:
        """Return one row a unit, in the order of the units given: age, mean, median, interval of
        the remaining life and its coverage, health, the failure mode that is likeliest, and
        remarks."""
        frame = pd.DataFrame({"age": self.ages}, index=self.units)
        frame = frame.join([self.mean, self.median, self.interval(coverage)])
        frame["coverage"] = coverage
        frame["health"] = self.health
        if self.modes.shape[1]:
            frame["failure_mode"] = self.modes.idxmax(axis=1)
            frame["failure_mode_probability"] = self.modes.max(axis=1)
        return frame.assign(remarks=self.remarks)

    def history(self, unit: Any) -> Prognosis:
        """Return how the answer for a unit moved while it aged: one row an age, oldest last."""
        return self._asked().history(self._place(unit))

    def at(self, unit: Any, age: float) -> Prognosis:
        """Return the answer for a unit as it was at an age, in `unit`."""
        return self._asked().history(self._place(unit), np.array([age]))

    def update(self, rows: pd.DataFrame) -> Prognosis:
        """Return the answer with the new rows of some units, or of units that are new.

        It equals the one from all their rows. Only units with new rows are asked for anew. Raises
        `BadTable` as `lab.prognose` does.
        """
        return self._asked().update(rows)

    def futures(
        self, n: int = 20, units: Sequence[Any] | None = None, seed: int = 0
    ) -> pd.DataFrame:
        """Draw `n` continuations of every sensor, each to an end of its own, for some units.

        Returns a table of lives under the machine's own column names, with the columns `unit` and
        `future` (0 to n - 1) before them; rows begin after the unit's last one.
        """
        places = range(len(self)) if units is None else [self._place(unit) for unit in units]
        return self._asked().futures(n, list(places), seed)

    @property
    def worth(self) -> str:
        """What answers of this model were worth for lives that it had not seen, in a sentence."""
        return worth_sentence(self.figures, self.unit)

    def __repr__(self) -> str:
        frame = self.to_frame().drop(columns="coverage").sort_values("median").head(20)
        ends = {"lower": "lower 90 %", "upper": "upper 90 %"}
        return frame.rename(columns=ends).to_string(
            float_format=lambda value: f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
        )

    def _asked(self) -> Any:
        if self.source is None:
            raise BadParameter(
                "This prognosis was read from a file or answered for many units at once and no "
                "longer has their rows: ask again with the units you want to follow."
            )
        return self.source

    def _place(self, unit: Any) -> int:
        found = self.units.get_indexer([unit])[0]
        if found < 0:
            raise BadParameter(f"There is no unit {unit!r} in this prognosis.")
        return int(found)

    def _series(self, values: Floats, name: str) -> pd.Series[Any]:
        return pd.Series(values, index=self.units, name=name)


def worth_sentence(figures: dict[str, Any], unit: str) -> str:
    """Say what answers of this model were worth for lives that it had not seen."""
    if figures.get("temper") == 0.0:
        return (
            "One life, or lives of which none has a known end, do not say how lives differ, so "
            "sensors are not read: these answers stand on ages alone, and how good they are is not "
            "known."
        )
    if not figures.get("lives"):
        return "No life could be left out: how good these answers are is not known."
    late = figures["late"]
    held, held_late = (f"{100 * each['coverage_90']:.0f} %" for each in (figures, late))
    return (
        f"Ages and remaining lives in {unit}. From {figures['lives']} lives left out of the fit: "
        f"mean error {figures['mae']:.3g}, in the last third of life {late['mae']:.3g}; 90 % "
        f"intervals held {held}, in the last third {held_late}."
    )
