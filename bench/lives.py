"""Measure the model of lives beside real lives, shuffled ones and SDV's PAR: python -m bench.lives.

Prints one line per source of rows and writes pictures to `runs/bench-lives/`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

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
CAP = 125  # cycles: the usual cap of remaining useful life on C-MAPSS
DATA = Path(os.environ.get("GAN_LAB_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


def fd001(path: Path) -> tuple[pd.DataFrame, pd.DataFrame, Roles]:
    """Return engines 1-80, engines 81-100 and the roles of NASA's C-MAPSS FD001."""
    table = pd.read_parquet(path)
    table["rul"] = table["rul"].clip(upper=CAP)
    roles = Roles(life="unit", time="cycle", rul="rul")
    return table[table.unit <= 80], table[table.unit > 80], roles


def simulated(machine_id: str, rows: int) -> tuple[pd.DataFrame, pd.DataFrame, Roles]:
    """Return four fifths and one fifth of the lives of a machine of the catalogue."""
    from gan_lab.machines import load_profile
    from gan_lab.schema import SeedConfig
    from gan_lab.synth.seed import simulate

    table = simulate(load_profile(machine_id), SeedConfig(rows=rows))
    roles = Roles(
        life="life", time="timestamp", rul="rul", state="state", failure_mode="failure_mode"
    )
    lives = np.random.default_rng(0).permutation(table["life"].unique())
    apart = table["life"].isin(lives[: len(lives) // 5])
    return table[~apart], table[apart], roles


def figures(
    rows: pd.DataFrame, train: pd.DataFrame, holdout: pd.DataFrame, roles: Roles
) -> dict[str, Any]:
    """Return the figures of one source of rows."""
    columns, width = sensors(train, roles), window_width(train, roles)
    seen, asked, given = (windows(t, roles, columns, width) for t in (train, holdout, rows))
    near = privacy(compare(rows, train, holdout, roles, None, 0), rows, train).memory
    return {
        "window_r2": window_r2(given, asked),
        "c2st": window_c2st(seen, given),
        "acf": [round(e, 4) for e in acf_error(train, rows, roles, columns)],
        "row_r2": row_r2(rows, holdout, roles, columns),
        "quality": quality_score(rows, holdout, roles),
        "nearer": {name: memory.share for name, memory in near.items()},
    }


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


def ours(
    train: pd.DataFrame, roles: Roles, epochs: int
) -> tuple[pd.DataFrame, dict[str, Any], Any]:
    """Fit the model of lives and draw as many lives; return rows, seconds and the model."""
    from gan_lab.synth.lives import SequentialTVAE

    clock, cpu = time.perf_counter(), time.process_time()
    model = SequentialTVAE.fit(train, roles, TrainConfig(epochs=epochs))
    fitted, fitted_cpu = time.perf_counter() - clock, time.process_time() - cpu
    clock = time.perf_counter()
    rows = pd.concat(model.sample(lives=train[roles.life].nunique()))
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


def in_its_own_process(train: pd.DataFrame, roles: Roles) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return what `par` sends."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=par, args=(train, roles, there))
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


def main() -> None:
    """Run what the options ask for and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=DATA / "train_FD001.parquet", help="the table of C-MAPSS FD001"
    )
    parser.add_argument("--machine", help="a machine of the catalogue instead")
    parser.add_argument("--rows", type=int, default=10_000, help="rows to simulate")
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--quick", action="store_true", help="without SDV's PAR")
    asked = parser.parse_args()
    if asked.machine:
        train, holdout, roles = simulated(asked.machine, asked.rows)
    else:
        train, holdout, roles = fd001(asked.data)
    lives = np.random.default_rng(0).permutation(train[roles.life].unique())
    half = train[train[roles.life].isin(lives[: len(lives) // 2])]
    folder = OUT / (asked.machine or "fd001")
    rows, took, model = ours(train, roles, asked.epochs)
    pictures(train.reset_index(drop=True), rows, roles, model, folder)
    sources: dict[str, tuple[pd.DataFrame, dict[str, Any]]] = {"ours": (rows, took)}
    if not asked.quick:
        sources["SDV PAR"] = in_its_own_process(train, roles)
    sources |= {
        "real": (train, {}),
        "half of the lives": (half, {}),
        "lives shuffled": (shuffled_lives(train, roles), {}),
    }
    for name, (table, seconds) in sources.items():
        line = {k: round(v, 3) if isinstance(v, float) else v for k, v in seconds.items()}
        found = figures(table, train, holdout, roles)
        line |= {k: round(v, 3) if isinstance(v, float) else v for k, v in found.items()}
        print(f"{name:18s} {json.dumps(line)}", flush=True)


if __name__ == "__main__":
    main()
