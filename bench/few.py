"""What few failures are worth: learning curves of real lives, and of real lives with ours.

`python -m bench.few [--quick] [--draws N] [--lives N ...]` takes N engines of NASA's C-MAPSS FD001
at random, draws 300 synthetic lives from a model of these N, and lets seven learners predict
remaining useful life (capped at 125 cycles) for the official test set: the last window of each of
100 engines, error as RMSE in cycles. Beside ours stand real lives alone, jittered and warped copies
(Um et al. 2017) and interpolated neighbours (SMOTE for regression, Torgo et al. 2013).

"Worth" is how many real lives give real lives alone the same error (read off their learning curve,
straight in log N), over N. Writes `runs/bench-few/few.json` and `few.png`; goes on behind the draws
that are in the former.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import (
    ExtraTreesRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.linear_model import RidgeCV
from sklearn.neighbors import NearestNeighbors
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from bench.lives import CAP, DATA
from bench.prognosis import ROLES
from gan_lab.schema import TrainConfig
from gan_lab.synth.lives.sequential import SequentialTVAE
from gan_lab.synth.report.windows import windows

Floats = NDArray[np.float64]
Sample = tuple[Floats, Floats]  # windows (n, features) and the remaining life at the end of each
OUT = Path("runs/bench-few")
DRAWN = 300  # synthetic lives
COPIES = 5  # of each real window
MAX_WINDOWS = 8_000  # that a learner sees
JITTER = 0.05  # of the deviation of a feature
SOURCES = ("real", "real, jittered and warped", "real with SMOTE", "ours", "ours with real")


def learners() -> dict[str, Any]:
    """Return the seven, with the settings of their libraries where these do."""
    return {
        "boosted trees": HistGradientBoostingRegressor(random_state=0),
        "boosted trees, regularised": HistGradientBoostingRegressor(
            learning_rate=0.03, max_iter=200, max_depth=3, l2_regularization=10.0,
            min_samples_leaf=50, random_state=0,
        ),
        "random forest": RandomForestRegressor(50, max_features=0.33, min_samples_leaf=5,
                                               random_state=0),
        "extra trees": ExtraTreesRegressor(100, max_features=0.33, min_samples_leaf=5,
                                           random_state=0),
        "ridge": make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 5, 15))),
        "support vectors": make_pipeline(StandardScaler(), SVR(C=50.0, epsilon=5.0)),
        "small network": make_pipeline(
            StandardScaler(),
            MLPRegressor(hidden_layer_sizes=(32,), alpha=1.0, early_stopping=True, random_state=0),
        ),
    }  # fmt: skip


def main() -> None:
    """Print errors and worth, and draw them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="5 and 10 lives, one draw")
    parser.add_argument("--lives", type=int, nargs="*", default=[5, 10, 20, 40, 80])
    parser.add_argument("--draws", type=int, default=10)
    options = parser.parse_args()
    sizes, draws = ([5, 10], 1) if options.quick else (options.lives, options.draws)
    train = pd.read_parquet(DATA / "train_FD001.parquet")
    train["rul"] = train["rul"].clip(upper=CAP)
    test, truth = _windows(pd.read_parquet(DATA / "test_FD001.parquet"), last=True)
    found: list[dict[str, Any]] = []
    if not options.quick and (OUT / "few.json").exists():
        found = json.loads((OUT / "few.json").read_text())
    for draw in range(len({each["draw"] for each in found}), draws):
        for size in sizes:
            units = np.random.default_rng(draw).permutation(np.arange(1, 101))[:size]
            lives = train[train["unit"].isin(units)].reset_index(drop=True)
            for source, sample in sources(lives, draw):
                for name, learner in learners().items():
                    rmse = error(learner, sample, test, truth, draw)
                    found.append({"draw": draw, "lives": size, "source": source,
                                  "learner": name, "rmse": rmse})  # fmt: skip
        OUT.mkdir(parents=True, exist_ok=True)
        (OUT / "few.json").write_text(json.dumps(found))
        print(f"# {draw + 1} of {draws} draws", flush=True)
    table = pd.DataFrame(found)
    print(summary(table).to_string(float_format="{:.1f}".format))
    picture(table, OUT / "few.png")


def sources(lives: pd.DataFrame, draw: int) -> Iterator[tuple[str, Sample]]:
    """Yield what there is to learn from, by its name."""
    rng = np.random.default_rng(draw)
    real = _windows(lives)
    yield SOURCES[0], real
    warped = [_windows(_warped(lives, rng)) for _ in range(COPIES)]
    spread = JITTER * real[0].std(axis=0)
    noisy = [(x + rng.normal(size=x.shape) * spread, y) for x, y in warped]
    yield SOURCES[1], _joined(real, *noisy)
    yield SOURCES[2], _joined(real, _interpolated(real, COPIES, rng))
    model = SequentialTVAE.fit(lives, ROLES, TrainConfig(seed=draw))
    ours = _windows(pd.concat(model.sample(lives=DRAWN, seed=draw)))
    yield SOURCES[3], ours
    yield SOURCES[4], _joined(ours, real)


def error(learner: Any, sample: Sample, test: Floats, truth: Floats, seed: int) -> float:
    """Return the RMSE of a learner on the test windows, in cycles."""
    given, left = sample
    some = np.random.default_rng(seed).permutation(len(left))[:MAX_WINDOWS]
    answer = np.clip(learner.fit(given[some], left[some]).predict(test), 0, CAP)
    return float(np.sqrt(((answer - truth) ** 2).mean()))


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """Return RMSE by number of lives for ordinary and for the best learner, with what ours are
    worth; `+-` is the standard error over draws."""
    lines: dict[str, dict[str, Any]] = {}
    for name, pick in views(found).items():
        for source in SOURCES:
            for size, mine in pick[pick["source"] == source].groupby("lives"):
                own = mine["rmse"].to_numpy()
                line = lines.setdefault(f"{size} lives, {name}", {})
                line[source] = own.mean()
                line[f"{source} +-"] = own.std(ddof=1) / np.sqrt(len(own)) if len(own) > 1 else 0.0
        for size, times in worth(pick).items():
            lines[f"{size} lives, {name}"]["worth"] = times
    return pd.DataFrame(lines).T


def views(found: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the errors of boosted trees, and of the learner that is best on average in each
    place."""
    place = ["lives", "source"]
    mean = found.groupby([*place, "learner"])["rmse"].mean()
    best = mean.loc[mean.groupby(place).idxmin()].reset_index()[[*place, "learner"]]
    return {
        "boosted trees": found[found["learner"] == "boosted trees"],
        "best learner": found.merge(best),
    }


def worth(found: pd.DataFrame) -> dict[int, float]:
    """Return by number of lives how many times as many real ones give the same error; at the end
    of the curve that is the least it can be."""
    mean = found.groupby(["source", "lives"])["rmse"].mean()
    real = np.minimum.accumulate(mean["real"].to_numpy())
    log = np.log(mean["real"].index.to_numpy(np.float64))
    return {
        int(size): float(np.exp(np.interp(-rmse, -real, log)) / size)
        for size, rmse in mean["ours with real"].items()
    }


def picture(found: pd.DataFrame, path: Path) -> None:
    """Draw the learning curves of boosted trees and of the best learner side by side."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    for axis, (name, mine) in zip(axes, views(found).items(), strict=True):
        for source, colour in (("real", "#7a7a7a"), (SOURCES[1], "#c9a227"),
                               ("ours with real", "#1f77b4")):  # fmt: skip
            each = mine[mine["source"] == source].groupby("lives")["rmse"]
            mean, error_ = each.mean(), each.sem().fillna(0.0)
            axis.plot(mean.index, mean, "o-", color=colour, label=source)
            axis.fill_between(mean.index, mean - error_, mean + error_, color=colour, alpha=0.2)
        for size, times in worth(mine).items():
            if size <= 20:
                rmse = mine[(mine["source"] == SOURCES[4]) & (mine["lives"] == size)]["rmse"].mean()
                axis.annotate(f"as {size * times:.0f} real", (size, rmse), xytext=(0, -14),
                              textcoords="offset points", ha="center", fontsize=9)  # fmt: skip
        axis.set(xscale="log", xlim=(3.7, 95), xlabel="failures to learn from", title=name)
        axis.set_xticks(sorted(mine["lives"].unique()), sorted(mine["lives"].unique()))
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("error of remaining life, cycles (RMSE)")
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _windows(table: pd.DataFrame, last: bool = False) -> Sample:
    """Return all windows of 30 rows, or the last one of each unit."""
    columns = [name for name in table if str(name).startswith(("sensor", "setting"))]
    found = windows(table, ROLES, columns, most=len(table))
    assert found.rul is not None
    kept = np.r_[np.diff(found.life) != 0, True] if last else slice(None)
    return found.features[kept].astype(np.float64), np.minimum(found.rul[kept], CAP)


def _warped(lives: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return lives of which some parts are played faster and others slower."""
    found = []
    for _, life in lives.groupby("unit"):
        knots = np.linspace(0, len(life) - 1, 5)
        place = np.cumsum(np.interp(np.arange(len(life)), knots, rng.uniform(0.6, 1.4, size=5)))
        place = (place - place[0]) / (place[-1] - place[0]) * (len(life) - 1)
        found.append(life.iloc[np.round(place).astype(int)])
    return pd.concat(found, ignore_index=True)


def _interpolated(real: Sample, copies: int, rng: np.random.Generator) -> Sample:
    """Return windows between a window and one of its five nearest neighbours, and their target."""
    given, left = real
    scaled = (given - given.mean(axis=0)) / (given.std(axis=0) + 1e-9)
    near = NearestNeighbors(n_neighbors=6).fit(scaled).kneighbors(scaled, return_distance=False)
    a = np.repeat(np.arange(len(left)), copies)
    b = near[a, rng.integers(1, 6, size=len(a))]
    share = rng.random(len(a))
    return given[a] + share[:, None] * (given[b] - given[a]), left[a] + share * (left[b] - left[a])


def _joined(*samples: Sample) -> Sample:
    given, left = zip(*samples, strict=True)
    return np.concatenate(given), np.concatenate(left)


if __name__ == "__main__":
    main()
