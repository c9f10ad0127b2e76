"""Plain rows, judged by what a person would notice: ours, the network's, SDV's, and real rows.

`python -m bench.tables [--quick] [--only NAME ...] [--engines NAME ...] [--seeds 3] [--switches]`

Four fifths of a table are learned, one is kept apart, another with each seed. C2ST: the AUC of
trees that tell synthetic rows from kept ones (0.5: they cannot). TSTR: what a learner of synthetic
rows scores on kept ones (R2, or average precision of all classes but the commonest). DCR: the share
of synthetic rows nearer to a learned row than to one of as many kept ones (0.5: no memory). Seconds
are of processor time.
`--switches` takes one part away after the other; `--engines SDV mostlyai-engine` runs those, which
are slow, where they are installed. Reads the real tables where they are found.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

from bench.made_up_rows import TABLES, Made
from gan_lab.schema import Roles, TrainConfig
from gan_lab.synth.report.compared_tables import Sides, compare
from gan_lab.synth.report.privacy import encoded

DATA = Path(os.environ.get("GAN_LAB_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
QUICK = ("AI4I", "gaps")
MOST_ROWS = 5_000  # of each side that judges see
FLAGS = ["TWF", "HDF", "PWF", "OSF", "RNF"]  # of AI4I: the kinds of failure, which give it away
Draw = Callable[[], pd.DataFrame]


def ai4i() -> Made:
    table = pd.read_csv(DATA / "ai4i2020.csv", encoding="utf-8-sig")
    return table.drop(columns=["UDI", "Product ID"]), "Machine failure"


def cnc_mill() -> Made:
    return pd.read_parquet(DATA / "cnc_mill.parquet"), "tool_condition"


def turbofan() -> Made:
    table = pd.read_parquet(DATA / "train_FD001.parquet").drop(columns=["unit", "cycle"])
    return table.assign(rul=table["rul"].clip(upper=125)), "rul"


REAL = {"AI4I": "ai4i2020.csv", "CNC": "cnc_mill.parquet", "FD001": "train_FD001.parquet"}
CASES: dict[str, Callable[[], Made]] = {
    "AI4I": ai4i,
    "CNC": cnc_mill,
    "FD001": turbofan,
    **TABLES,
}


def fit_ours(train: pd.DataFrame, target: str, seed: int, **options: Any) -> Draw:
    from gan_lab.synth.tabular.model import TabularTVAE

    config = TrainConfig(seed=seed, target=target, **options)
    model = TabularTVAE.fit(train, Roles(), config)
    return lambda: pd.concat(model.sample(len(train), seed=seed))


def fit_sdv(train: pd.DataFrame, target: str, seed: int) -> Draw:
    from sdv.metadata import Metadata
    from sdv.single_table import TVAESynthesizer

    synthesizer = TVAESynthesizer(Metadata.detect_from_dataframes({"table": train}))
    synthesizer.fit({"table": train})
    return lambda: synthesizer.sample(len(train))["table"]


def fit_mostly(train: pd.DataFrame, target: str, seed: int) -> Draw:
    from mostlyai import engine

    folder = tempfile.mkdtemp()
    engine.split(tgt_data=train, workspace_dir=folder, model_type="TABULAR")
    engine.analyze(workspace_dir=folder)
    engine.encode(workspace_dir=folder)
    engine.train(workspace_dir=folder)

    def draw() -> pd.DataFrame:
        engine.generate(workspace_dir=folder, sample_size=len(train))
        return pd.read_parquet(Path(folder) / "SyntheticData")

    return draw


def without(name: str, value: Any) -> Callable[..., Draw]:
    """Return our fit with one thing of the trees replaced."""

    def fit(train: pd.DataFrame, target: str, seed: int) -> Draw:
        with mock.patch(f"gan_lab.synth.tabular.{name}", value):
            return fit_ours(train, target, seed)

    return fit


def no_guess(known: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return np.zeros(known.shape[1], dtype=np.float32)


def no_ranks(variable: Any, places: np.ndarray) -> np.ndarray:
    return variable.values[places.astype(int)] if variable.ordered else places


ENGINES: dict[str, Callable[..., Draw] | None] = {
    "real rows": None,
    "ours": fit_ours,
    "network": lambda *case: fit_ours(*case, decoder="network"),
}
SWITCHES: dict[str, Callable[..., Draw]] = {
    "values, not ranks": without("trees._target", no_ranks),
    "without the linear guess": without("sequence._linear", no_guess),
    "without trees a class": without("tree_model.CLASSES", 0),
    "all rows shape the trees": without("trees.SHAPED", 1.0),
    "leaves of 10": without("trees.LEAF_ROWS", 10),
}
OTHERS: dict[str, Callable[..., Draw]] = {"SDV": fit_sdv, "mostlyai-engine": fit_mostly}
EVERY = {**ENGINES, **SWITCHES, **OTHERS}


def c2st(sides: Sides) -> float:
    """Return the AUC of trees, in five folds, that tell synthetic rows from as many kept ones.

    They see more, and are slower, than those of the report.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    rng, both = np.random.default_rng(sides.seed), ("synthetic", "holdout")
    most = min(MOST_ROWS, *(len(sides.features[name]) for name in both))
    points = [rng.permutation(sides.features[name])[:most] for name in both]
    category = [kind == "category" for kind in sides.kinds.values()]
    model = HistGradientBoostingClassifier(random_state=0, categorical_features=category)
    x, label = np.concatenate(points), np.repeat([0, 1], most)
    folds = StratifiedKFold(5, shuffle=True, random_state=sides.seed)
    return float(cross_val_score(model, x, label, cv=folds, scoring="roc_auc").mean())


def tstr(sides: Sides, target: str) -> float:
    """Return what trees score on kept rows that have learned the target from synthetic ones."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.metrics import average_precision_score

    names = list(sides.kinds)
    used = [n for n, name in enumerate(names) if name not in (target, *FLAGS)]
    options = {
        "random_state": 0,
        "categorical_features": [sides.kinds[names[n]] == "category" for n in used],
    }
    at = names.index(target)
    given, asked = (
        table[np.isfinite(table[:, at])]
        for table in (sides.features["synthetic"], sides.features["holdout"])
    )
    x, y = given[:, used], given[:, at]
    if len(np.unique(y)) < 2:
        return 0.0
    if sides.kinds[target] == "number":
        trees = HistGradientBoostingRegressor(**options).fit(x, y)
        return float(trees.score(asked[:, used], asked[:, at]))
    model = HistGradientBoostingClassifier(**options).fit(x, y)
    chance = dict(zip(model.classes_, model.predict_proba(asked[:, used]).T, strict=True))
    levels, count = np.unique(asked[:, at], return_counts=True)
    nothing = np.zeros(len(asked))
    found = [
        average_precision_score(asked[:, at] == level, chance.get(level, nothing))
        for level in np.delete(levels, count.argmax())
    ]
    return float(np.mean(found))


def dcr(sides: Sides) -> float:
    """Return the share of synthetic rows that are nearer to a learned row than to a kept one."""
    from sklearn.neighbors import NearestNeighbors

    rng = np.random.default_rng(sides.seed)
    rows = {name: each[rng.permutation(len(each))] for name, each in encoded(sides).items()}
    most = min(len(rows["train"]), len(rows["holdout"]))
    learned, kept = (
        NearestNeighbors(n_neighbors=1, algorithm="brute")
        .fit(rows[name][:most])
        .kneighbors(rows["synthetic"][:MOST_ROWS])[0]
        for name in ("train", "holdout")
    )
    return float((learned < kept).mean() + 0.5 * (learned == kept).mean())


def measured(case: tuple[pd.DataFrame, pd.DataFrame, str], fit: Any, seed: int) -> dict[str, float]:
    """Return what one fit of one table costs and is worth; of real rows where there is no fit."""
    train, held, target = case
    started = time.process_time()
    draw = fit(train, target, seed) if fit else train.copy
    fitted = time.process_time()
    rows = draw().reset_index(drop=True)
    seconds = {"fit s": fitted - started, "draw s": time.process_time() - fitted}
    sides = compare(rows, train, held, Roles(), None, seed)
    figures = {"C2ST": c2st(sides), "TSTR": tstr(sides, target)}
    return figures | ({"DCR": dcr(sides)} | seconds if fit else {})


def halves(name: str, seed: int) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Return the rows to learn and the rows kept apart, and the target."""
    table, target = CASES[name]()
    order = np.random.default_rng(seed).permutation(len(table))
    kept = np.isin(np.arange(len(table)), order[: len(table) // 5])
    parts = (table[rows].reset_index(drop=True) for rows in (~kept, kept))
    return *parts, target


def main() -> None:
    """Print a line for each engine and table: means over the seeds, and their spread."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"one seed of {', '.join(QUICK)}")
    parser.add_argument("--only", nargs="*", choices=list(CASES), help="these tables")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--engines", nargs="*", choices=list(EVERY), help="these")
    parser.add_argument("--switches", action="store_true", help="ours without each of its parts")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    engines = args.engines or [*ENGINES, *(SWITCHES if args.switches else ())]
    seeds = range(1 if args.quick else args.seeds)
    for name in args.only or (QUICK if args.quick else CASES):
        if name in REAL and not (DATA / REAL[name]).exists():
            print(f"{name}: left out, as there is no {DATA / REAL[name]}")
            continue
        cases = [halves(name, seed) for seed in seeds]
        rows, columns = cases[0][0].shape
        print(f"\n{name}: {rows:,} rows of {columns} columns, target {cases[0][2]}")
        for engine in engines:
            fit = EVERY[engine]
            found = pd.DataFrame([measured(cases[seed], fit, seed) for seed in seeds])
            spread = found.std(ddof=1).fillna(0)
            figures = (f"{k} {found[k].mean():.3f} ±{spread[k]:.3f}" for k in found)
            print(f"  {engine:26}" + "  ".join(figures), flush=True)


if __name__ == "__main__":
    main()
