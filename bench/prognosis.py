"""How long will this one last: our answers beside boosted trees, with all engines and with few.

`python -m bench.prognosis [--quick] [--engines N ...] [--draws N]` prints one line per method and
number of engines: NASA's C-MAPSS FD001, the last row of each of its 100 test engines, remaining
life capped at 125 cycles in training and judging as published tables have it, and once uncapped.
Boosted trees read windows of 30 rows (mean, spread, slope, last value, mean step of each sensor),
with conformal intervals from engines left out (CV+, Barber et al. 2021). With few engines each draw
takes others of the hundred.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor

from bench.lives import CAP, DATA
from gan_lab.schema import Roles, TrainConfig
from gan_lab.synth.lives.prognosis.scores import scores
from gan_lab.synth.lives.sequential import SequentialTVAE
from gan_lab.synth.report.windows import windows

ROLES = Roles(life="unit", time="cycle", rul="rul")
FOLDS = 5
LEVELS = np.arange(1, 200) / 200
Floats = NDArray[np.float64]
SHOWN = ("rmse", "mae", "crps", "coverage_90", "width_90")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="ten engines, one draw")
    parser.add_argument("--engines", type=int, nargs="*", default=[100, 20, 10, 5])
    parser.add_argument("--draws", type=int, default=5, help="of fewer than all engines")
    options = parser.parse_args()
    counts, draws = ([10], 1) if options.quick else (options.engines, options.draws)
    train = pd.read_parquet(DATA / "train_FD001.parquet")
    test = pd.read_parquet(DATA / "test_FD001.parquet")
    print(f"{'engines':>7} {'method':24} {'nasa':>6}", *(f"{name:>12}" for name in SHOWN), sep=" ")
    for count in counts:
        lines: dict[str, list[list[float]]] = {}
        for draw in range(1 if count >= train["unit"].nunique() else draws):
            units = np.random.default_rng(draw).choice(np.arange(1, 101), count, replace=False)
            some = train[train["unit"].isin(units)].reset_index(drop=True)
            for method, figures in judge(some, test).items():
                lines.setdefault(method, []).append(figures)
        for method, found in lines.items():
            middle = np.median(found, axis=0)
            rmse = sorted(figures[1] for figures in found)
            drawn = f"  {rmse[0]:.1f} to {rmse[-1]:.1f}" if len(found) > 1 else ""
            print(
                f"{count:7} {method:24} {middle[0]:6.0f}",
                *(f"{v:12.2f}" for v in middle[1:]), drawn, flush=True,
            )  # fmt: skip


def judge(train: pd.DataFrame, test: pd.DataFrame) -> dict[str, list[float]]:
    """Return the figures of each method, learned from some engines, on the test engines."""
    truth = test.groupby("unit")["rul"].last().to_numpy(np.float64)
    started = time.perf_counter()
    model = SequentialTVAE.fit(train.assign(rul=train["rul"].clip(upper=CAP)), ROLES, TrainConfig())
    fitted = time.perf_counter()
    answer = model.prognose(test.drop(columns="rul"))
    print(
        f"# {train['unit'].nunique()} engines: fit {fitted - started:.1f} s, "
        f"{len(answer)} units answered in {time.perf_counter() - fitted:.2f} s", flush=True,
    )  # fmt: skip
    capped = np.minimum(truth, CAP)
    return {
        "ours": figures(capped, np.minimum(answer.quantiles, CAP)),
        "ours, uncapped": figures(truth, answer.quantiles),
        "boosted trees": figures(capped, boosted(train, test, CAP)),
        "boosted trees, uncapped": figures(truth, boosted(train, test, np.inf)),
    }


def figures(truth: Floats, quantiles: Floats) -> list[float]:
    """Return NASA's score of the mean, and the figures that are shown."""
    found = scores(truth, quantiles)
    return [nasa(truth, quantiles.mean(axis=1)), *(found[name] for name in SHOWN)]


def boosted(train: pd.DataFrame, test: pd.DataFrame, cap: float) -> Floats:
    """Return quantiles for the last window of each test engine."""
    columns = [name for name in train if str(name).startswith(("sensor", "setting"))]
    seen, asked = (windows(t, ROLES, columns, most=len(t)) for t in (train, test))
    assert seen.rul is not None
    target = np.minimum(seen.rul, cap)
    last = asked.features[np.r_[np.diff(asked.life) != 0, True]]  # of each test engine
    fold = seen.life % min(FOLDS, seen.life.max() + 1)
    errors, answers = [], []
    for number in np.unique(fold):
        mine, model = fold == number, HistGradientBoostingRegressor(random_state=0)
        model.fit(seen.features[~mine], target[~mine])
        errors.append(target[mine] - model.predict(seen.features[mine]))
        answers.append(model.predict(last))
    spread = np.quantile(np.concatenate(errors), LEVELS)
    return np.clip(np.mean(answers, axis=0)[:, None] + spread, 0, cap)


def nasa(truth: Floats, answer: Floats) -> float:
    """Return the sum of the PHM08 score in cycles, which charges a late warning more than an early
    one (Saxena et al. 2008)."""
    late = answer - truth
    return float(np.sum(np.where(late < 0, np.exp(-late / 13), np.exp(late / 10)) - 1))


if __name__ == "__main__":
    main()
