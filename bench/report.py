"""What the quality report says of real rows, of ours and of others', and how long it takes.

`python -m bench.report [--quick] [--only turbofan ai4i splits large] [--rows-of ours real ...]`.
Reads the real tables where they are found; leaves each report in `bench-output/`, and prints one
table of all that are there, so that the rows can be made one at a time. `splits`: twenty times one
real sample against another, none of which may be called bad. `large`: seconds of the report on
16,000 x 25 and on 500,000 rows.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gan_lab.schema import Roles, TrainConfig
from gan_lab.synth.report.compared_tables import compare
from gan_lab.synth.report.evaluate import QualityReport, evaluate
from gan_lab.synth.report.page import render_html
from gan_lab.synth.report.utility import Rows

DATA = Path(os.environ.get("GAN_LAB_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
TURBOFAN = Roles(life="unit", time="cycle", rul="rul")
OUT = Path("bench-output")
FAILURE = "Machine failure"
NEIGHBOURS, NEIGHBOURHOOD = 5, 1_000  # of a row, among so many of its class
TENTHS = 10  # a number is interpolated within its tenths, as a class would be
MAKERS = ("real", "ours", "SDV TVAE", "SMOTE")
Case = tuple[pd.DataFrame, pd.DataFrame, Roles]


def turbofan() -> Case:
    table = pd.read_parquet(DATA / "train_FD001.parquet")
    table["rul"] = table["rul"].clip(upper=125)
    return table[table["unit"] <= 80], table[table["unit"] > 80], TURBOFAN


def ai4i() -> Case:
    table = pd.read_csv(DATA / "ai4i2020.csv").drop(columns=["UDI", "Product ID"])
    order = np.random.default_rng(0).permutation(len(table))
    return table.iloc[order[2000:]], table.iloc[order[:2000]], Roles()


def rows_of(
    maker: str, train: pd.DataFrame, holdout: pd.DataFrame, roles: Roles, epochs: int
) -> pd.DataFrame | None:
    """Return as many rows as there are to learn from."""
    if maker == "real":
        return train
    if maker == "ours":
        return ours(train, roles, epochs)
    if maker == "SDV TVAE":
        return sdv(train, roles, epochs)
    return smote(train, holdout, roles)


def smote(train: pd.DataFrame, holdout: pd.DataFrame, roles: Roles) -> pd.DataFrame:
    """Interpolate between near rows of about the same target; they make no lives."""
    sides = compare(train, train, holdout, roles, None, 0)
    target = roles.rul or FAILURE
    names = [*(name for name in sides.kinds if name != target), target]
    points = pd.DataFrame(sides.features["train"], columns=list(sides.kinds))[names].to_numpy()
    category = [sides.kinds[name] == "category" for name in names]
    made = interpolate(
        (points[:, :-1], points[:, -1]), category[:-1], not category[-1], np.random.default_rng(0)
    )
    table = pd.DataFrame(np.column_stack(made), columns=names)
    for name in sides.columns("category"):
        table[name] = table[name].map(dict(enumerate(sides.levels[name])))
    return table


def interpolate(given: Rows, category: list[bool], number: bool, rng: np.random.Generator) -> Rows:
    """Return as many rows, each between a real row and a near one: SMOTE (Chawla et al. 2002).

    Within the classes of the target, or the tenths of a number, so that row and answer stay
    together. A category is that of either row. What one could have done without a model.
    """
    from sklearn.neighbors import NearestNeighbors

    group = given[1]
    if number:
        ranks = np.argsort(np.argsort(group, kind="stable"), kind="stable")
        group = (ranks * TENTHS // len(ranks)).astype(np.float32)
    points = np.column_stack(given)
    scale = np.nanstd(points, axis=0)
    near = np.nan_to_num((points - np.nanmean(points, axis=0)) / np.where(scale > 0, scale, 1))
    partner = np.arange(len(points))
    for each in np.unique(group):
        rows = rng.permutation(np.flatnonzero(group == each))
        for part in np.array_split(rows, -(-len(rows) // NEIGHBOURHOOD)):
            count = min(NEIGHBOURS, len(part) - 1)
            if count:
                search = NearestNeighbors(n_neighbors=count).fit(near[part])
                nearest = search.kneighbors(return_distance=False)
                chosen = rng.integers(count, size=len(part))
                partner[part] = part[nearest[np.arange(len(part)), chosen]]
    share = rng.random((len(points), 1)).astype(np.float32)
    made = points + share * (points[partner] - points)
    whole = np.array([*category, not number])
    made[:, whole] = np.where(share < 0.5, points, points[partner])[:, whole]
    return made[:, :-1], made[:, -1]


def ours(train: pd.DataFrame, roles: Roles, epochs: int) -> pd.DataFrame:
    config = TrainConfig(epochs=epochs)
    if roles.life:
        from gan_lab.synth.lives.sequential import SequentialTVAE

        lives = int(train[roles.life].nunique())
        return pd.concat(SequentialTVAE.fit(train, roles, config).sample(lives=lives, seed=1))
    from gan_lab.synth.tabular.model import TabularTVAE

    return pd.concat(TabularTVAE.fit(train, roles, config).sample(rows=len(train), seed=1))


def sdv(train: pd.DataFrame, roles: Roles, epochs: int) -> pd.DataFrame:
    """Draw rows of SDV's own TVAE; they have no lives."""
    from sdv.metadata import Metadata
    from sdv.single_table import TVAESynthesizer

    rows = train.drop(columns=[name for name in (roles.life, roles.time) if name])
    model = TVAESynthesizer(Metadata.detect_from_dataframes({"table": rows}), epochs=epochs)
    model.fit({"table": rows})
    drawn = model.sample(num_rows=len(rows))
    return drawn["table"] if isinstance(drawn, dict) else drawn


def line(maker: str, seconds: float, report: QualityReport) -> dict[str, Any]:
    """Return what the table shows; training rows held against themselves have no privacy."""
    task, lives = report.task(windows=False), report.task(windows=True)
    assert task is not None
    both = task.scores.get("both", {}).get(task.metric)
    memory = {view: each.share for view, each in report.privacy.memory.items()}
    found = {
        "rows of": maker,
        "made in s": round(seconds, 1),
        "quality": report.fidelity.synthetic,
        **task.scores.get("synthetic", {}),
        f"{task.metric} with real": both,
        "window r2": lives.score("synthetic") if lives else None,
        "window auc": report.window_detection,
        "row auc": report.detection,
        "copies": report.privacy.copies,
        "nearer rows/windows/lives": [round(share or 0, 2) for share in memory.values()],
        "verdict": report.verdict.level,
    }
    unfair = ("copies", "nearer rows/windows/lives", "verdict", f"{task.metric} with real")
    return {name: None if maker == "real" and name in unfair else found[name] for name in found}


def measure(name: str, case: Case, makers: list[str], epochs: int) -> None:
    train, holdout, roles = case
    for maker in makers:
        start = time.perf_counter()
        drawn = rows_of(maker, train, holdout, roles, epochs)
        seconds = time.perf_counter() - start
        report = evaluate(drawn, train, holdout, roles)
        path = OUT / f"report-{name}-{maker.replace(' ', '-')}"
        path.with_suffix(".html").write_text(render_html(report))
        path.with_suffix(".json").write_text(json.dumps(line(maker, seconds, report)))
        print(maker, report.verdict.headline, flush=True)
    paths = [OUT / f"report-{name}-{maker.replace(' ', '-')}.json" for maker in MAKERS]
    table = pd.DataFrame([json.loads(path.read_text()) for path in paths if path.exists()])
    print(f"\n{name}\n{table.round(3).T.to_string(header=False)}\n", flush=True)


def splits() -> None:
    whole = pd.concat(turbofan()[:2])
    for seed in range(20):
        lives = np.random.default_rng(seed).permutation(100) + 1
        groups = [whole[whole["unit"].isin(lives[a:b])] for a, b in ((0, 40), (40, 80), (80, 100))]
        verdict = evaluate(*groups, TURBOFAN).verdict
        print(seed, verdict.level, verdict.headline, flush=True)


def large() -> None:
    train, holdout, roles = turbofan()
    for times in (1, 31):
        rows, asked = repeated(train, times), repeated(holdout, times)
        start = time.perf_counter()
        evaluate(rows, rows, asked, roles)
        seconds = time.perf_counter() - start
        print(f"{len(rows):,} x {rows.shape[1] - 2}: {seconds:.1f} s", flush=True)


def repeated(table: pd.DataFrame, times: int) -> pd.DataFrame:
    """Return the lives so many times, each time under other names."""
    parts = [table.assign(unit=table["unit"] + 1000 * number) for number in range(times)]
    return pd.concat(parts, ignore_index=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="*", default=["turbofan", "ai4i", "large"])
    parser.add_argument("--rows-of", nargs="*", choices=MAKERS)
    options = parser.parse_args()
    OUT.mkdir(exist_ok=True)
    makers = options.rows_of or [m for m in MAKERS if not (options.quick and m == "SDV TVAE")]
    for case in (turbofan, ai4i):
        if case.__name__ in options.only:
            measure(case.__name__, case(), makers, 30 if options.quick else 300)
    for part in (splits, large):
        if part.__name__ in options.only:
            part()


if __name__ == "__main__":
    main()
