"""How much like real lives synthetic ones are: what a model that looks at windows of rows would
see.

Every figure takes tables as people have them (rows of lives, see `Roles`) and needs no model of
ours, so that the quality report, the benchmark and the tests measure with the same yardstick.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from gan_lab.schema import Roles

LAGS = (1, 5, 20)
WIDTH_ROWS = 30
MOST_WINDOWS = 60_000  # more tell a boosted tree nothing new, and cost seconds
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Windows:
    """One line per window: five figures of each sensor, the rul at its last row, the life it is
    from."""

    features: npt.NDArray[np.float32]
    rul: Array | None
    life: npt.NDArray[np.int64]

    def some(self, most: int, seed: int) -> Windows:
        """Return at most so many windows, drawn evenly."""
        if len(self.life) <= most:
            return self
        kept = np.sort(np.random.default_rng(seed).choice(len(self.life), most, replace=False))
        rul = None if self.rul is None else self.rul[kept]
        return Windows(self.features[kept], rul, self.life[kept])


def sensors(table: pd.DataFrame, roles: Roles) -> list[str]:
    """Return the columns to compare: numbers and booleans that play no part and are not
    constant."""
    return [
        name
        for name in table.columns
        if name not in roles.columns
        and (pd.api.types.is_numeric_dtype(table[name]) or table[name].dtype == bool)
        and table[name].nunique() > 1
    ]


def ordered(
    table: pd.DataFrame, roles: Roles, columns: list[str]
) -> tuple[Array, npt.NDArray[np.int64], pd.DataFrame]:
    """Return values (rows, columns), life numbers (rows,) and the table, sorted by life and time.

    A missing value is what the sensor last said in the same life, as a historian would answer.
    """
    keys = [name for name in (roles.life, roles.time) if name is not None]
    rows = table.sort_values(keys, kind="stable") if keys else table
    life = (
        np.unique(rows[roles.life], return_inverse=True)[1]
        if roles.life
        else np.zeros(len(rows), dtype=np.int64)
    )
    values = rows[columns].astype(np.float64)
    if values.isna().to_numpy().any():
        values = values.groupby(life).ffill().groupby(life).bfill().fillna(values.median())
    return values.fillna(0.0).to_numpy(), life.astype(np.int64), rows


def window_width(table: pd.DataFrame, roles: Roles) -> int:
    """Return 30 rows, or less where half of the lives are shorter than 60 rows (never under 2)."""
    rows = table.groupby(roles.life).size().median() if roles.life else len(table)
    return int(min(WIDTH_ROWS, max(2, rows // 2)))


def windows(
    table: pd.DataFrame,
    roles: Roles,
    columns: list[str],
    width: int = WIDTH_ROWS,
    most: int = MOST_WINDOWS,
) -> Windows:
    """Return mean, standard deviation, slope, last value and mean absolute difference of each
    window.

    A window is the last `width` rows up to a row; there is one per life and row from the `width`th
    on (of a table with more than `most`, an even sample). Windows of equal rows give equal figures
    to the last bit: trees would tell tables apart by the rounding errors of running sums.
    """
    values, life, rows = ordered(table, roles, columns)
    ends = np.flatnonzero(_position(life) >= width - 1)
    if len(ends) > most:
        ends = np.sort(np.random.default_rng(0).choice(ends, most, replace=False))
    features = np.empty((len(ends), 5, len(columns)), dtype=np.float32)
    time = np.arange(width) - (width - 1) / 2
    for number, column in enumerate(values.T):
        if len(ends):
            view = np.lib.stride_tricks.sliding_window_view(column, width)[ends - width + 1]
            features[:, 0, number] = view.mean(axis=1)
            features[:, 1, number] = (view - view[:, :1]).std(axis=1)
            features[:, 2, number] = (view - view[:, :1]) @ time / (time @ time)
            features[:, 3, number] = view[:, -1]
            features[:, 4, number] = np.abs(np.diff(view, axis=1)).mean(axis=1)
    rul = rows[roles.rul].to_numpy(np.float64)[ends] if roles.rul else None
    return Windows(features.reshape(len(ends), 5 * len(columns)), rul, life[ends])


def window_r2(synthetic: Windows, real: Windows, seed: int = 0, max_bins: int = 255) -> float:
    """Return R2 of the real windows' rul, predicted by trees that saw only synthetic windows."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.metrics import r2_score

    model = HistGradientBoostingRegressor(max_iter=150, max_bins=max_bins, random_state=0)
    given = _with_rul(synthetic.some(MOST_WINDOWS, seed))
    asked = _with_rul(real)
    model.fit(given.features, given.rul)
    return float(r2_score(asked.rul, model.predict(asked.features)))


def row_r2(
    synthetic: pd.DataFrame, real: pd.DataFrame, roles: Roles, columns: list[str], seed: int = 0
) -> float:
    """Return R2 of the real rows' rul, predicted by trees that saw only synthetic rows."""
    singles = [
        Windows(
            t[columns].to_numpy(np.float32), t[roles.rul].to_numpy(np.float64), np.arange(len(t))
        )
        for t in (synthetic, real)
    ]
    return window_r2(singles[0], singles[1], seed)


def window_c2st(real: Windows, synthetic: Windows, seed: int = 0, max_bins: int = 255) -> float:
    """Return the AUC of trees that tell real windows from synthetic ones; 0.5 is perfect.

    Split by life: half of the lives of each side teach, the other half are asked, then the other
    way round (classifier two-sample test, Lopez-Paz and Oquab 2017).
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    most = min(MOST_WINDOWS, len(real.life), len(synthetic.life))  # as many of both: no weights
    real, synthetic = real.some(most, seed), synthetic.some(most, seed)
    features = np.concatenate([real.features, synthetic.features])
    label = np.repeat([0, 1], [len(real.life), len(synthetic.life)])
    half = np.concatenate([_halves(real.life, seed), _halves(synthetic.life, seed + 1)])
    areas = []
    for asked in (False, True):
        model = HistGradientBoostingClassifier(max_iter=100, max_bins=max_bins, random_state=0)
        model.fit(features[half != asked], label[half != asked])
        guess = model.predict_proba(features[half == asked])[:, 1]
        areas.append(roc_auc_score(label[half == asked], guess))
    return float(max(np.mean(areas), 0.5))


def autocorrelation(
    table: pd.DataFrame, roles: Roles, columns: list[str], lags: tuple[int, ...] = LAGS
) -> Array:
    """Return the correlation of each column with itself so many rows before, (lags, columns).

    Over all lives at once, around the column's mean, so that what differs between lives counts too.
    """
    values, life, _ = ordered(table, roles, columns)
    values = values - values.mean(axis=0)
    variance = np.maximum((values**2).mean(axis=0), 1e-300)
    found = np.full((len(lags), len(columns)), np.nan)
    for row, lag in enumerate(lags):
        same = life[lag:] == life[:-lag] if len(life) > lag else np.zeros(0, dtype=bool)
        if same.any():
            found[row] = (values[lag:][same] * values[:-lag][same]).mean(axis=0) / variance
    return found


def acf_error(
    real: pd.DataFrame,
    synthetic: pd.DataFrame,
    roles: Roles,
    columns: list[str],
    lags: tuple[int, ...] = LAGS,
) -> tuple[float, ...]:
    """Return the mean absolute difference of the two tables' autocorrelations, one figure per
    lag."""
    gap = autocorrelation(real, roles, columns, lags) - autocorrelation(
        synthetic, roles, columns, lags
    )
    return tuple(
        float(np.nanmean(np.abs(line))) if np.isfinite(line).any() else 0.0 for line in gap
    )


def life_summary(table: pd.DataFrame, roles: Roles, columns: list[str]) -> Windows:
    """Return one line per life: mean of each quarter, spread around it, and the logarithm of its
    rows."""
    values, life, _ = ordered(table, roles, columns)
    rows = np.bincount(life)
    quarter = life * 4 + np.minimum(4 * _position(life) // rows[life], 3)
    count = np.maximum(np.bincount(quarter, minlength=4 * len(rows)), 1)[:, None]
    mean = _group_sums(values, quarter, 4 * len(rows)) / count
    spread = _group_sums((values - mean[quarter]) ** 2, life, len(rows)) / rows[:, None]
    features = np.concatenate(
        [mean.reshape(len(rows), -1), np.sqrt(spread), np.log(rows)[:, None]], axis=1
    )
    return Windows(features.astype(np.float32), None, np.arange(len(rows)))


def shuffled_lives(table: pd.DataFrame, roles: Roles, seed: int = 0) -> pd.DataFrame:
    """Return the real rows, each with its own rul, but of lives they do not belong to.

    What drawing rows one by one could reach at best: rows of about the same rul change places.
    """
    rows = table.sort_values([c for c in (roles.life, roles.time) if c], kind="stable")
    other = [name for name in rows.columns if name not in (roles.life, roles.time, roles.rul)]
    age = _position(np.unique(rows[roles.life], return_inverse=True)[1].astype(np.int64))
    key = rows[roles.rul].to_numpy(np.float64) if roles.rul else age.astype(np.float64)
    rng = np.random.default_rng(seed)
    by_key = np.lexsort((np.arange(len(rows)), key))
    mixed = np.lexsort((rng.random(len(rows)), key))
    taken = np.empty(len(rows), dtype=np.int64)
    taken[by_key] = mixed
    result = rows.copy()
    result[other] = rows[other].iloc[taken].to_numpy()
    return result.astype({name: rows[name].dtype for name in other})


def _position(life: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return each row's number within its life, from 0; rows of a life lie together."""
    starts = np.flatnonzero(np.r_[True, life[1:] != life[:-1]])
    return np.arange(len(life)) - np.repeat(starts, np.diff(np.r_[starts, len(life)]))


def _group_sums(values: Array, group: npt.NDArray[np.int64], groups: int) -> Array:
    return np.stack([np.bincount(group, column, minlength=groups) for column in values.T], axis=1)


def _halves(life: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.bool_]:
    lives = np.unique(life)
    chosen = np.random.default_rng(seed).permutation(lives)[: len(lives) // 2]
    return np.isin(life, chosen)


def _with_rul(some: Windows) -> Windows:
    known = np.isfinite(some.rul) if some.rul is not None else np.zeros(0, dtype=bool)
    if not known.any():
        raise ValueError("There is no window with a known rul to learn from or to ask about.")
    return Windows(some.features[known], some.rul[known], some.life[known])  # type: ignore[index]
