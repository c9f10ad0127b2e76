"""Lives: ours beside real ones, shuffled ones, SDV's PAR and mostlyai's, where they are installed.

`python -m bench.lives [--quick] [--repeats N] [--only NAME ...] [--ablate]` prints one line per
source of rows and writes pictures to `runs/bench-lives/`. Each repeat is of other lives (of FD001,
of another eighty of its hundred): it matters which lives a table happens to have.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench import made_up as made_up_machines
from bench.pictures import pictures
from gan_lab.schema import Roles, TrainConfig
from gan_lab.synth.report.compared_tables import compare, some
from gan_lab.synth.report.detection import two_sample_test
from gan_lab.synth.report.privacy import privacy
from gan_lab.synth.report.windows import (
    Windows,
    ordered,
    sensors,
    window_width,
    windows,
    windows_of,
)

OUT = Path("runs/bench-lives")
LAGS = (1, 5, 20)
TABLES = ("FD001", "motor_siemens_001", "transformer_square_d_017", "cnc_haas_vf2_001")
ABLATED = ("FD001", "motor_siemens_001", "six regimes", "two modes", "hourly pump", "wide")
VIEWS = ("rows", "windows", "lives")
OTHERS, LEVELLED = "other real lives", "others, levelled"
HALF = "half of the lives"
SURE = ("window_r2", "row_r2", "c2st", "quality", "nearer")  # figures told with their error
MAX_WINDOWS = 60_000  # more tell a boosted tree nothing new, and cost seconds
CAP = 125  # cycles: the usual cap of remaining useful life on C-MAPSS
DATA = Path(os.environ.get("GAN_LAB_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


@dataclass(frozen=True)
class Case:
    """Lives to learn from, as many to ask about, and where there are more `others` never shown."""

    train: pd.DataFrame
    holdout: pd.DataFrame
    roles: Roles
    others: pd.DataFrame | None = None


def turbofan(repeat: int) -> Case:
    """Return engines 1-80 and 81-100 of NASA's C-MAPSS FD001, in later repeats 80 drawn at random
    and the others."""
    table = pd.read_parquet(DATA / "train_FD001.parquet")
    table["rul"] = table["rul"].clip(upper=CAP)
    order = np.arange(1, 101)
    if repeat:
        order = np.random.default_rng(repeat).permutation(order)
    roles = Roles(life="unit", time="cycle", rul="rul")
    return Case(_lives(table, roles, order[:80]), _lives(table, roles, order[80:]), roles)


def simulated(machine_id: str, repeat: int, rows: int = 8_000) -> Case:
    """Return three tables of a machine of the catalogue, of so many rows each."""
    from gan_lab.schema import SeedConfig
    from gan_lab.synth.simulator.simulate import simulate
    from gan_lab.workspace.profiles import load_profile

    profile = load_profile(machine_id)
    train, holdout, others = (
        simulate(profile, SeedConfig(rows=rows, seed=3 * repeat + part)) for part in range(3)
    )
    roles = Roles(
        life="life", time="timestamp", rul="rul", state="state", failure_mode="failure_mode"
    )
    return Case(train, holdout, roles, others)


def made_up(name: str, repeat: int) -> Case:
    """Return three times as many lives of a made-up machine as it has for training, each repeat the
    next ones that its maker makes."""
    make, lives = made_up_machines.MACHINES[name]
    first = 3 * lives * repeat
    table, roles = make(first + 3 * lives)
    ids = first + np.random.default_rng(repeat).permutation(3 * lives).reshape(3, lives)
    train, holdout, others = (_lives(table, roles, some) for some in ids)
    return Case(train, holdout, roles, others)


def case_of(name: str, repeat: int = 0) -> Case:
    """Return the lives of a name: FD001, a made-up machine or one of the catalogue."""
    if name == "FD001":
        return turbofan(repeat)
    made = name in made_up_machines.MACHINES
    return made_up(name, repeat) if made else simulated(name, repeat)


def _lives(table: pd.DataFrame, roles: Roles, some: NDArray[np.int64]) -> pd.DataFrame:
    return table[table[roles.life].isin(some)].reset_index(drop=True)


def figures(rows: pd.DataFrame, case: Case) -> dict[str, Any]:
    """Return how good rows are, beside the training rows and for the held-out ones."""
    train, holdout, roles = case.train, case.holdout, case.roles
    columns, width = sensors(train, roles), window_width(train, roles)
    seen, asked, given = (
        windows(t, roles, columns, width, MAX_WINDOWS) for t in (train, holdout, rows)
    )
    found: dict[str, Any] = {}
    if roles.rul is not None:
        found["window_r2"] = window_r2(given, asked, most=MAX_WINDOWS)
        found["row_r2"] = row_r2(rows, holdout, roles, columns)
    found["c2st"] = window_c2st(seen, given, most=MAX_WINDOWS)
    found["acf"] = acf_error(train, rows, roles, columns)
    found["quality"] = quality_score(rows, holdout, roles)
    return found


def window_r2(synthetic: Windows, real: Windows, most: int) -> float:
    """Return R2 of the real windows' rul, predicted by trees that saw only synthetic windows."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.metrics import r2_score

    assert synthetic.rul is not None and real.rul is not None
    kept = some(len(synthetic.life), most, np.random.default_rng(0))
    x, y = synthetic.features[kept], synthetic.rul[kept]
    known, wanted = np.isfinite(y), np.isfinite(real.rul)
    model = HistGradientBoostingRegressor(
        max_iter=60, learning_rate=0.2, max_bins=63, max_leaf_nodes=15, random_state=0
    )
    model.fit(x[known], y[known])
    return float(r2_score(real.rul[wanted], model.predict(real.features[wanted])))


def window_c2st(real: Windows, other: Windows, most: int) -> float:
    """Return the AUC of trees that tell real windows from others; 0.5 is perfect."""
    sides = [(each.features, each.life) for each in (real, other)]
    return two_sample_test(*sides, most=most) or 0.5


def autocorrelation(table: pd.DataFrame, roles: Roles, columns: list[str]) -> NDArray[np.float64]:
    """Return the correlation of each column with itself so many rows before, (lags, columns).

    Over all lives at once, around the column's mean, so that what differs between lives counts too.
    """
    values, life, _ = ordered(table, roles, columns)
    values = values - values.mean(axis=0)
    variance = np.maximum((values**2).mean(axis=0), 1e-300)
    found = np.full((len(LAGS), len(columns)), np.nan)
    for row, lag in enumerate(LAGS):
        same = life[lag:] == life[:-lag] if len(life) > lag else np.zeros(0, dtype=bool)
        if same.any():
            found[row] = (values[lag:][same] * values[:-lag][same]).mean(axis=0) / variance
    return found


def acf_error(
    real: pd.DataFrame, synthetic: pd.DataFrame, roles: Roles, columns: list[str]
) -> list[float]:
    """Return the mean absolute difference of the two tables' autocorrelations for each lag."""
    found = [autocorrelation(table, roles, columns) for table in (real, synthetic)]
    gap = np.abs(found[0] - found[1])
    return [float(np.nanmean(line)) if np.isfinite(line).any() else 0.0 for line in gap]


def row_r2(synthetic: pd.DataFrame, real: pd.DataFrame, roles: Roles, columns: list[str]) -> float:
    """Return R2 of the real rows' rul, predicted by trees that saw only synthetic rows."""
    given, asked = (
        Windows(t[columns].to_numpy("f4"), t[roles.rul].to_numpy("f8"), np.arange(len(t)))
        for t in (synthetic, real)
    )
    return window_r2(given, asked, most=MAX_WINDOWS)


def nearer(rows: pd.DataFrame, case: Case) -> dict[str, Any]:
    """Return which shares of rows, windows and lives are nearer to a training life."""
    sides = compare(rows, case.train, case.holdout, case.roles, None, 0)
    near = privacy(sides, rows, case.train, windows_of(sides)).memory
    return {"nearer": [near[view].share for view in VIEWS if view in near]}


def quality_score(rows: pd.DataFrame, holdout: pd.DataFrame, roles: Roles) -> float:
    """Return SDMetrics' quality score of the rows against held-out lives."""
    from sdmetrics.reports.single_table.quality_report import QualityReport

    columns = [name for name in holdout if name not in (roles.life, roles.time)]
    kinds = {
        name: {
            "sdtype": "numerical" if pd.api.types.is_numeric_dtype(holdout[name]) else "categorical"
        }
        for name in columns
    }
    report = QualityReport()
    report.generate(
        holdout[columns].reset_index(drop=True),
        rows[columns].reset_index(drop=True),
        {"columns": kinds},
        verbose=False,
    )
    return float(report.get_score())


def beside_the_rest(half: pd.DataFrame, case: Case) -> Case:
    """Return the case with the training lives that are not in this half of them."""
    life = case.train[case.roles.life]
    return replace(case, train=case.train[~life.isin(half[case.roles.life])])


def drawn_again(train: pd.DataFrame, roles: Roles, seed: int) -> pd.DataFrame:
    """Return as many real lives, drawn with replacement: what the chance of who they are costs."""
    lives = [life for _, life in train.groupby(roles.life)]
    chosen = np.random.default_rng(seed).integers(len(lives), size=len(lives))
    return pd.concat(
        [lives[pick].assign(**{roles.life: n}) for n, pick in enumerate(chosen)], ignore_index=True
    )


def ours(
    train: pd.DataFrame, roles: Roles, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Fit the model of lives; return as many lives, four times as many, and seconds."""
    import sklearn.mixture  # noqa: F401  as PAR's process has its libraries before its clock starts

    from gan_lab.synth.lives.sequential import SequentialTVAE

    clock, cpu = time.perf_counter(), time.process_time()
    model = SequentialTVAE.fit(train, roles, TrainConfig(seed=seed))
    fitted, fitted_cpu = time.perf_counter() - clock, time.process_time() - cpu
    clock = time.perf_counter()
    lives = train[roles.life].nunique()
    rows = pd.concat(model.sample(lives=lives, seed=seed))
    took = {
        "fit_s": fitted,
        "fit_cpu_s": fitted_cpu,
        "sample_s": time.perf_counter() - clock,
        "epochs": len(model.history),
    }
    return rows, pd.concat(model.sample(lives=4 * lives, seed=seed)), took


def par(train: pd.DataFrame, roles: Roles, answer: Any) -> None:
    """Fit SDV's PARSynthesizer (in its own process) and send rows and seconds."""
    import torch
    from sdv.metadata import Metadata
    from sdv.sequential import PARSynthesizer

    torch.set_num_threads(1)
    metadata = Metadata.detect_from_dataframes({"table": train})
    metadata.update_column(roles.life, sdtype="id")
    metadata.set_sequence_key(roles.life)
    metadata.set_sequence_index(roles.time)
    model = PARSynthesizer(metadata, epochs=128, cuda=False)
    clock = time.perf_counter()
    model.fit({"table": train})
    fitted = time.perf_counter() - clock
    clock = time.perf_counter()
    rows = model.sample_sequences(num_sequences=train[roles.life].nunique())
    rows = rows["table"] if isinstance(rows, dict) else rows
    answer.send((rows, {"fit_s": fitted, "sample_s": time.perf_counter() - clock}))


def mostly(train: pd.DataFrame, roles: Roles, answer: Any) -> None:
    """Fit mostlyai-engine's sequential model with its defaults (in its own process) and send rows
    and seconds."""
    import torch
    from mostlyai import engine

    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp())
    clock = time.perf_counter()
    engine.split(tgt_data=train, tgt_context_key=roles.life, workspace_dir=folder)
    engine.analyze(workspace_dir=folder)
    engine.encode(workspace_dir=folder)
    engine.train(workspace_dir=folder)
    fitted = time.perf_counter() - clock
    clock = time.perf_counter()
    engine.generate(workspace_dir=folder, sample_size=train[roles.life].nunique())
    rows = pd.read_parquet(folder / "SyntheticData")
    answer.send((rows, {"fit_s": fitted, "sample_s": time.perf_counter() - clock}))


def in_its_own_process(
    work: Callable[..., None], train: pd.DataFrame, roles: Roles
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return what `work` sends."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=work, args=(train, roles, there))
    process.start()
    there.close()
    found: tuple[pd.DataFrame, dict[str, Any]] = here.recv()
    process.join()
    return found


def shuffled_lives(table: pd.DataFrame, roles: Roles, seed: int = 0) -> pd.DataFrame:
    """Return the real rows, each with its own rul, but of lives they do not belong to.

    What drawing rows one by one could reach at best: rows of about the same rul change places.
    """
    rows = table.sort_values([c for c in (roles.life, roles.time) if c], kind="stable")
    other = [name for name in rows.columns if name not in (roles.life, roles.time, roles.rul)]
    age = rows.groupby(roles.life).cumcount().to_numpy(np.float64)
    key = rows[roles.rul].to_numpy(np.float64) if roles.rul else age
    rng = np.random.default_rng(seed)
    taken = np.empty(len(rows), dtype=np.int64)
    taken[np.argsort(key, kind="stable")] = np.lexsort((rng.random(len(rows)), key))
    result = rows.copy()
    result[other] = rows[other].iloc[taken].to_numpy()
    return result.astype({name: rows[name].dtype for name in other})


def levelled(case: Case) -> pd.DataFrame:
    """Return the other real lives, brought to the mean and the deviation that the training lives
    have in each state, failure mode and fifth of a life.

    They were never shown: what looks like memory in them is that of the levels alone, if a model
    takes them over as they are. Of numbers only, and where there is no column of states, not by it.
    """
    assert case.others is not None
    train, others, roles = case.train, case.others.copy(), case.roles
    columns = [name for name in sensors(train, roles) if train[name].dtype.kind in "if"]

    def kinds(table: pd.DataFrame) -> pd.Series:
        life = table.groupby(roles.life)[roles.life]
        kind = (5 * life.cumcount() // life.transform("size")).astype(str)
        for name in (roles.state, roles.failure_mode):
            kind = kind if name is None else kind + "|" + table[name].astype(str)
        return kind

    like, kind = train[columns].groupby(kinds(train)), kinds(others)
    own = others[columns].groupby(kind)
    (mean, own_mean), (spread, own_spread) = (
        [found.reindex(kind).set_axis(others.index) for found in pair]
        for pair in ((like.mean(), own.mean()), (like.std(), own.std()))
    )
    wider = (spread / own_spread).where(own_spread > 0, 1.0).fillna(1.0)
    others[columns] = (mean + (others[columns] - own_mean) * wider).fillna(others[columns])
    return others


def mean(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the means of figures, and from three on the standard errors of them as well."""
    whole = {name: np.array([each[name] for each in found]) for name in found[0]}
    told = {name: value.mean(axis=0).round(3).tolist() for name, value in whole.items()}
    if len(found) > 2:
        root = len(found) ** 0.5
        told["error"] = {
            name: (value.std(axis=0, ddof=1) / root).round(3).tolist()
            for name, value in whole.items()
            if name in SURE
        }
    return told


def show(name: str, repeats: int, others: bool) -> None:
    """Print one line for each source of rows: figures, and what they cost."""
    found: dict[str, list[dict[str, Any]]] = {}
    for repeat in range(repeats):
        if repeats > 1:
            print(f"{name}: {repeat + 1} of {repeats}", file=sys.stderr, flush=True)
        case = case_of(name, repeat)
        for source, (rows, cost) in sources(name, case, repeat, others and not repeat).items():
            asked = beside_the_rest(rows, case) if source == HALF else case
            told = cost | (figures(rows, asked) if source != LEVELLED else {})
            if cost or source in (OTHERS, LEVELLED):  # the rest are training rows
                told |= nearer(rows, case)
            found.setdefault(source, []).append(told)
    print(f"\n{name}: {case.train[case.roles.life].nunique()} lives, {len(case.train):,} rows")
    for source, each in found.items():
        print(f"{source:18s} {json.dumps(mean(each))}", flush=True)


def sources(
    name: str, case: Case, repeat: int, others: bool
) -> dict[str, tuple[pd.DataFrame, dict[str, Any]]]:
    """Return the rows of each source, and what they cost."""
    train, roles = case.train, case.roles
    rows, more, took = ours(train, roles, repeat)
    if roles.rul is not None and not repeat:
        pictures(train, rows, roles, OUT / name.replace(", ", "-").replace(" ", "-"))
    found = {"ours": (rows, took), "ours, 4 times": (more, {})}
    if others:
        found["SDV PAR"] = in_its_own_process(par, train, roles)
        if importlib.util.find_spec("mostlyai"):
            found["mostlyai"] = in_its_own_process(mostly, train, roles)
    real = {"real": train}
    if case.others is not None:
        real[OTHERS] = case.others
        real[LEVELLED] = levelled(case)
    lives = np.random.default_rng(repeat).permutation(train[roles.life].unique())
    real[HALF] = train[train[roles.life].isin(lives[::2])]
    real["real, drawn again"] = drawn_again(train, roles, repeat)
    if roles.rul is not None:
        real["lives shuffled"] = shuffled_lives(train, roles)
    return found | {source: (table, {}) for source, table in real.items()}


def main() -> None:
    """Run what the options ask for and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", help="FD001, made-up machines, or of the catalogue")
    parser.add_argument("--repeats", type=int, default=1, help="of other lives, to be averaged")
    parser.add_argument("--quick", action="store_true", help="without SDV's PAR and mostlyai")
    parser.add_argument("--ablate", action="store_true", help="switch each part off in turn")
    asked = parser.parse_args()
    if asked.ablate:
        from bench.ablation import ablate

        ablate(asked.only or list(ABLATED), asked.repeats)
        return
    for name in asked.only or [*TABLES, *made_up_machines.MACHINES]:
        if name == "FD001" and not DATA.is_dir():
            print("FD001 is left out: no table in", DATA)
            continue
        show(name, asked.repeats, name == "FD001" and not asked.quick)


if __name__ == "__main__":
    main()
