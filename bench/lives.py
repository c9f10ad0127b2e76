"""Lives: ours beside real ones, shuffled ones, SDV's PAR and mostlyai's, where they are installed.

`python -m bench.lives [--quick] [--seeds N] [--only NAME ...]` prints one line per source of rows
and writes pictures to `runs/bench-lives/`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench import made_up as made_up_machines
from gan_lab.schema import Roles, TrainConfig
from gan_lab.synth.comparison import compare
from gan_lab.synth.privacy import privacy
from gan_lab.synth.windows import (
    acf_error,
    autocorrelation,
    row_r2,
    sensors,
    shuffled_lives,
    window_c2st,
    window_r2,
    window_width,
    windows,
)

OUT = Path("runs/bench-lives")
TABLES = ("FD001", "motor_siemens_001", "transformer_square_d_017", "cnc_haas_vf2_001")
VIEWS = ("rows", "windows", "lives")
CAP = 125  # cycles: the usual cap of remaining useful life on C-MAPSS
DATA = Path(os.environ.get("GAN_LAB_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


@dataclass(frozen=True)
class Case:
    """Lives to learn from, as many to ask about, and where there are more `others` never shown."""

    train: pd.DataFrame
    holdout: pd.DataFrame
    roles: Roles
    others: pd.DataFrame | None = None


def turbofan() -> Case:
    """Return engines 1-80 and 81-100 of NASA's C-MAPSS FD001."""
    table = pd.read_parquet(DATA / "train_FD001.parquet")
    table["rul"] = table["rul"].clip(upper=CAP)
    roles = Roles(life="unit", time="cycle", rul="rul")
    return Case(table[table.unit <= 80], table[table.unit > 80], roles)


def simulated(machine_id: str, rows: int = 8_000) -> Case:
    """Return three tables of a machine of the catalogue, of so many rows each."""
    from gan_lab.machines import load_profile
    from gan_lab.schema import SeedConfig
    from gan_lab.synth.seed import simulate

    train, holdout, others = (
        simulate(load_profile(machine_id), SeedConfig(rows=rows, seed=seed)) for seed in range(3)
    )
    roles = Roles(
        life="life", time="timestamp", rul="rul", state="state", failure_mode="failure_mode"
    )
    return Case(train, holdout, roles, others)


def made_up(name: str) -> Case:
    """Return three times as many lives of a made-up machine as it has for training."""
    make, lives = made_up_machines.MACHINES[name]
    table, roles = make(3 * lives)
    ids = np.random.default_rng(0).permutation(3 * lives).reshape(3, lives)
    train, holdout, others = (
        table[table[roles.life].isin(some)].reset_index(drop=True) for some in ids
    )
    return Case(train, holdout, roles, others)


def case_of(name: str) -> Case:
    """Return the lives of a name: FD001, a made-up machine or one of the catalogue."""
    if name == "FD001":
        return turbofan()
    return made_up(name) if name in made_up_machines.MACHINES else simulated(name)


def figures(rows: pd.DataFrame, case: Case, nearer: bool) -> dict[str, Any]:
    """Return the figures of one source of rows; `nearer` only where they are no training rows."""
    train, holdout, roles = case.train, case.holdout, case.roles
    columns, width = sensors(train, roles), window_width(train, roles)
    seen, asked, given = (windows(t, roles, columns, width) for t in (train, holdout, rows))
    found: dict[str, Any] = {}
    if roles.rul is not None:
        found["window_r2"] = window_r2(given, asked)
        found["row_r2"] = row_r2(rows, holdout, roles, columns)
    found["c2st"] = window_c2st(seen, given)
    found["acf"] = list(acf_error(train, rows, roles, columns))
    found["quality"] = quality_score(rows, holdout, roles)
    if nearer:
        near = privacy(compare(rows, train, holdout, roles, None, 0), rows, train).memory
        found["nearer"] = [near[view].share for view in VIEWS if view in near]
    return found


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


def drawn_again(train: pd.DataFrame, roles: Roles, seed: int) -> pd.DataFrame:
    """Return as many real lives, drawn with replacement: what the chance of who they are costs."""
    lives = [life for _, life in train.groupby(roles.life)]
    chosen = np.random.default_rng(seed).integers(len(lives), size=len(lives))
    return pd.concat(
        [lives[pick].assign(**{roles.life: n}) for n, pick in enumerate(chosen)], ignore_index=True
    )


def ours(train: pd.DataFrame, roles: Roles, seed: int) -> tuple[pd.DataFrame, dict[str, Any], Any]:
    """Fit the model of lives and draw as many lives; return rows, seconds and the model."""
    import sklearn.mixture  # noqa: F401  as PAR's process has its libraries before its clock starts

    from gan_lab.synth.lives import SequentialTVAE

    clock, cpu = time.perf_counter(), time.process_time()
    model = SequentialTVAE.fit(train, roles, TrainConfig(seed=seed))
    fitted, fitted_cpu = time.perf_counter() - clock, time.process_time() - cpu
    clock = time.perf_counter()
    rows = pd.concat(model.sample(lives=train[roles.life].nunique(), seed=seed))
    took = {
        "fit_s": fitted,
        "fit_cpu_s": fitted_cpu,
        "sample_s": time.perf_counter() - clock,
        "epochs": len(model.history),
    }
    return rows, took, model


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


def pictures(
    train: pd.DataFrame, rows: pd.DataFrame, roles: Roles, model: Any, folder: Path
) -> None:
    """Draw five lives over each other, a fan by rul, autocorrelation, and the curve's spread."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    columns = _wearing(train, roles, 3)
    figure, axes = plt.subplots(3, 2, figsize=(11, 8), sharex=True, sharey="row")
    for side, (table, title) in enumerate(((train, "real"), (rows, "synthetic"))):
        for line, column in enumerate(columns):
            for _, life in list(table.groupby(roles.life))[:5]:
                axes[line, side].plot(range(len(life)), life[column], linewidth=0.7)
            axes[line, side].set_ylabel(column)
        axes[0, side].set_title(f"five {title} lives")
        axes[2, side].set_xlabel("rows since the start of the life")
    figure.savefig(folder / "five-lives.png", dpi=110, bbox_inches="tight")

    figure, axes = plt.subplots(3, 2, figsize=(11, 8), sharex=True, sharey="row")
    for side, (table, title) in enumerate(((train, "real"), (rows, "synthetic"))):
        left = table.groupby(roles.life).cumcount(ascending=False)
        for line, column in enumerate(columns):
            for _, life in list(table.groupby(roles.life))[:40]:
                axes[line, side].plot(-left[life.index], life[column], color="tab:blue", alpha=0.15)
            spread = table[column].groupby(left)
            knots = [k for k, n in spread.size().items() if n >= 10]
            mean, deviation = spread.mean()[knots], spread.std()[knots]
            axes[line, side].plot([-k for k in knots], mean, color="black")
            axes[line, side].fill_between(
                [-k for k in knots], mean - deviation, mean + deviation, color="black", alpha=0.15
            )
            axes[line, side].set_ylabel(column)
        axes[0, side].set_title(f"{title}: forty lives, mean and spread")
        axes[2, side].set_xlabel("rows to the end of the life")
    figure.savefig(folder / "fan.png", dpi=110, bbox_inches="tight")

    names = sensors(train, roles)
    lags = tuple(range(1, 41))
    figure, axis = plt.subplots(figsize=(7, 4.5))
    for table, style in ((train, "-"), (rows, "--")):
        found = autocorrelation(table, roles, names, lags)
        for number, line in enumerate(found.T[:6]):
            label = names[number] if style == "-" else None
            axis.plot(lags, line, style, color=f"C{number}", label=label)
    axis.set_xlabel("lag, rows (solid: real, dashed: synthetic)")
    axis.set_ylabel("autocorrelation")
    axis.legend(fontsize=7)
    figure.savefig(folder / "autocorrelation.png", dpi=110, bbox_inches="tight")
    plt.close("all")


def _wearing(table: pd.DataFrame, roles: Roles, most: int) -> list[str]:
    """Return the columns that follow the remaining useful life most closely."""
    names = sensors(table, roles)
    strength = table[names].corrwith(table[roles.rul], method="spearman").abs()
    return [str(name) for name in strength.nlargest(most).index]


def mean(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the means of figures, to three decimals."""
    whole = {name: np.mean([each[name] for each in found], axis=0).round(3) for name in found[0]}
    return {name: value.tolist() for name, value in whole.items()}


def show(name: str, case: Case, seeds: int, others: bool) -> None:
    """Print one line for each source of rows: figures, and what they cost."""
    train, roles = case.train, case.roles
    lives = train[roles.life].unique()
    print(f"\n{name}: {len(lives)} lives, {len(train):,} rows", flush=True)

    def line(
        source: str, tables: list[pd.DataFrame], costs: list[dict[str, Any]] | None = None
    ) -> None:
        nearer = costs is not None or tables[0] is case.others
        found = [figures(table, case, nearer) for table in tables]
        print(f"{source:18s} {json.dumps(mean(costs or [{}]) | mean(found))}", flush=True)

    drawn = [ours(train, roles, seed) for seed in range(seeds)]
    rows, _, model = drawn[0]
    if roles.rul is not None:
        folder = OUT / name.replace(", ", "-").replace(" ", "-")
        pictures(train.reset_index(drop=True), rows, roles, model, folder)
    line("ours", [rows for rows, _, _ in drawn], [took for _, took, _ in drawn])
    if others:
        rows, took = in_its_own_process(par, train, roles)
        line("SDV PAR", [rows], [took])
        if importlib.util.find_spec("mostlyai"):
            rows, took = in_its_own_process(mostly, train, roles)
            line("mostlyai", [rows], [took])
    line("real", [train])
    if case.others is not None:
        line("other real lives", [case.others])
    half = train[train[roles.life].isin(np.random.default_rng(0).permutation(lives)[::2])]
    line("half of the lives", [half])
    line("real, drawn again", [drawn_again(train, roles, seed) for seed in range(3)])
    if roles.rul is not None:
        line("lives shuffled", [shuffled_lives(train, roles)])


def main() -> None:
    """Run what the options ask for and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", help="FD001, made-up machines, or of the catalogue")
    parser.add_argument("--seeds", type=int, default=1, help="trainings whose figures are averaged")
    parser.add_argument("--quick", action="store_true", help="without SDV's PAR and mostlyai")
    asked = parser.parse_args()
    for name in asked.only or [*TABLES, *made_up_machines.MACHINES]:
        if name == "FD001" and not DATA.is_dir():
            print("FD001 is left out: no table in", DATA)
            continue
        show(name, case_of(name), asked.seeds, name == "FD001" and not asked.quick)


if __name__ == "__main__":
    main()
