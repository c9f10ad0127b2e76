"""How long units last on other tables: made-up machines and machines of the catalogue.

`python -m bench.running [--quick] [--only NAME ...]` learns from the training lives of a table,
cuts 40 lives that were held out at six ages and asks for the rest of each, ten years later where
the table has dates. It prints the figures under their names in the literature, in units of a
typical life, coverage for each third of a life, and the AUC of trees that tell windows of drawn
futures from those of the true continuations (0.5: they cannot).
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.lives import Case, case_of, window_c2st
from gan_lab.schema import TrainConfig
from gan_lab.synth.lives.prognosis.scores import scores
from gan_lab.synth.lives.sequential import SequentialTVAE
from gan_lab.synth.report.windows import sensors, window_width, windows

TABLES = (
    "FD001", "six regimes", "two modes", "late temperatures", "hourly pump",
    "motor_siemens_001", "transformer_square_d_017", "cnc_haas_vf2_001",
)  # fmt: skip
AGES = (0.15, 0.3, 0.45, 0.6, 0.75, 0.9)  # shares of a life, at which it is asked for
MAX_UNITS = 40
FUTURES_AT = 3  # the place among AGES
LATER = pd.Timedelta(weeks=521)  # units that run are seldom those of the training's months
ALPHA = 0.2
Floats = NDArray[np.float64]


def alpha_lambda(truth: Floats, median: Floats, alpha: float = ALPHA) -> float:
    """Return the share of answers within alpha of the truth (Saxena et al. 2010)."""
    return float((np.abs(median - truth) <= alpha * truth).mean())


def horizon(truth: Floats, median: Floats, within: float) -> float:
    """Return how long before its end a unit's answers are, and stay, within so much of the truth
    (Saxena et al. 2010); `truth` and `median` of one unit, oldest last."""
    off = np.flatnonzero(np.abs(median - truth) > within)
    first = int(off[-1]) + 1 if len(off) else 0
    return float(truth[first]) if first < len(truth) else 0.0


def judge(case: Case) -> dict[str, Any]:
    """Return the figures of one table."""
    roles, held = case.roles, case.holdout
    life, rul = str(roles.life), str(roles.rul)
    held = held[held.groupby(life)[rul].transform("min") <= held[rul].min()]  # ended by failure
    names = np.random.default_rng(0).permutation(held[life].unique())[:MAX_UNITS]
    held = held[held[life].isin(names)].reset_index(drop=True)
    keys = [name for name in (life, roles.time) if name]
    if held[keys[-1]].dtype.kind == "M":
        held[keys[-1]] += LATER
    held = held.sort_values(keys, kind="stable", ignore_index=True)
    started = time.process_time()
    model = SequentialTVAE.fit(case.train, roles, TrainConfig())
    fitted = time.process_time()
    row, size = held.groupby(life).cumcount(), held.groupby(life)[life].transform("size")
    hidden = [name for name in (rul, roles.failure_mode) if name]
    truth, quantiles, span = [], [], float(case.train.groupby(life)[rul].max().median())
    for age in AGES:
        past = held[row < np.maximum(1, np.round(age * size))]
        answer = model.prognose(past.drop(columns=hidden))
        truth.append(past.groupby(life, sort=True)[rul].last().loc[answer.units].to_numpy())
        quantiles.append(answer.quantiles)
        if age == AGES[FUTURES_AT]:
            auc = _futures(case, held, row >= np.round(age * size), answer)
    asked = time.process_time()
    true, found = np.array(truth, dtype=np.float64) / span, np.array(quantiles) / span
    both = scores(true.ravel(), found.reshape(-1, found.shape[2]))
    median = found[:, :, found.shape[2] // 2]
    thirds = [
        scores(true[part].ravel(), found[part].reshape(-1, found.shape[2]))["coverage_90"]
        for part in (slice(0, 2), slice(2, 4), slice(4, 6))
    ]
    ends = [horizon(t, m, ALPHA) for t, m in zip(true.T, median.T, strict=True)]
    return {
        **{name: both[name] for name in ("rmse", "mae", "crps", "coverage_90", "width_90")},
        "early": thirds[0], "middle": thirds[1], "late": thirds[2],
        "alpha-lambda": alpha_lambda(true, median), "horizon": float(np.mean(ends)),
        "futures AUC": auc, "fit s": fitted - started, "ask s": asked - fitted,
    }  # fmt: skip


def _futures(case: Case, held: pd.DataFrame, after: Any, answer: Any) -> float:
    """Return the AUC of trees that tell drawn continuations from true ones."""
    roles, life = case.roles, str(case.roles.life)
    drawn = answer.futures(1, seed=1).rename(columns={"unit": life})
    true = held[after].reset_index(drop=True)
    columns = [name for name in sensors(case.train, roles) if name in drawn]
    width = min(window_width(case.train, roles), int(true.groupby(life).size().median()) // 2)
    sides = [windows(table, roles, columns, max(width, 2)) for table in (true, drawn)]
    return window_c2st(*sides, most=8_000)


def main() -> None:
    """Print a line a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--quick", action="store_true", help="two tables")
    options = parser.parse_args()
    for name in options.only or (TABLES[1:3] if options.quick else TABLES):
        found = judge(case_of(name))
        print(f"{name:28}", *(f"{k} {v:.2f}" for k, v in found.items()), sep="  ", flush=True)


if __name__ == "__main__":
    main()
