"""Plain tables side by side: SDV as it is, in its own process, and ours: seconds, quality, memory.

`python -m bench.tables [--quick] [--only NAME ...]`. Reads the real tables where they are found.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

DATA = Path(os.environ.get("GAN_LAB_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
RARE = ["TWF", "HDF", "PWF", "OSF", "RNF"]
QUICK_EPOCHS = 10


@dataclass(frozen=True)
class Case:
    """A table cut into rows to learn and rows to score against."""

    train: pd.DataFrame
    held: pd.DataFrame
    target: str | None = None
    rare: tuple[str, ...] = ()


def _at_random(table: pd.DataFrame, **options: Any) -> Case:
    order = np.random.default_rng(0).permutation(len(table))
    held = order[: len(table) // 5]
    learned = order[len(table) // 5 :]
    return Case(
        table.iloc[np.sort(learned)].reset_index(drop=True),
        table.iloc[np.sort(held)].reset_index(drop=True),
        **options,
    )


def turbofan() -> Case:
    """Return C-MAPSS FD001: engines 1-80 to learn, 81-100 held out, remaining useful life capped at
    125."""
    table = pd.read_parquet(DATA / "train_FD001.parquet")
    table["rul"] = table["rul"].clip(upper=125)
    rows = table.drop(columns=["unit", "cycle"])
    cut = table["unit"] <= 80
    return Case(rows[cut].reset_index(drop=True), rows[~cut].reset_index(drop=True), "rul")


def ai4i() -> Case:
    """Return AI4I 2020 without its two columns of ids."""
    table = pd.read_csv(DATA / "ai4i2020.csv", encoding="utf-8-sig")
    return _at_random(table.drop(columns=["UDI", "Product ID"]), rare=tuple(RARE))


def cnc_mill() -> Case:
    """Return the CNC mill: 56 columns with text, constants and missing values."""
    return _at_random(pd.read_parquet(DATA / "cnc_mill.parquet"))


def regimes(rows: int = 12_000) -> Case:
    """Make a table of six operating regimes, each with sensors that degrade in its own way."""
    rng = np.random.default_rng(1)
    regime = rng.choice(6, rows, p=[0.15, 0.15, 0.25, 0.15, 0.15, 0.15])
    rul = rng.integers(0, 300, rows).clip(max=125)
    table = {"altitude": np.array([0, 10, 20, 25, 35, 42])[regime] + rng.normal(0, 0.003, rows)}
    table["mach"] = np.array([0, 0.25, 0.7, 0.62, 0.84, 0.84])[regime] + rng.normal(0, 2e-4, rows)
    for sensor in range(14):
        base, slope = rng.normal(500, 300, 6), rng.normal(0, 6, 6)
        wear = np.exp(-rul / 40)
        table[f"sensor_{sensor}"] = (base + slope * wear[:, None])[
            np.arange(rows), regime
        ] + rng.normal(0, 1, rows)
    table["rul"] = rul
    return _at_random(pd.DataFrame(table).round(4), target="rul")


def mixed(rows: int = 6_000) -> Case:
    """Make a table with heavy tails, dates, missing values, booleans and a class of 0.2 %."""
    rng = np.random.default_rng(2)
    load = rng.gamma(2, 20, rows)
    fault = np.where(rng.random(rows) < 0.002, "burst", np.where(load > 90, "hot", "none"))
    hours = rng.integers(0, 24 * 365, rows)
    table = pd.DataFrame(
        {
            "started": pd.Timestamp("2024-01-01") + pd.to_timedelta(hours, unit="h"),
            "load": load.round(2),
            "current": (load * 0.3 + rng.standard_t(2, rows)).round(3),
            "pressure": np.exp(rng.normal(0, 2, rows)),
            "counts": rng.poisson(3 + load / 20),
            "cycles": (rng.pareto(1.5, rows) * 100).astype(int),
            "site": rng.choice([f"site_{i}" for i in range(40)], rows),
            "door_open": rng.random(rows) < 0.1,
            "fault": fault,
        }
    )
    table.loc[rng.random(rows) < 0.08, "current"] = np.nan
    table.loc[rng.random(rows) < 0.05, "site"] = None
    return _at_random(table, rare=("fault",))


CASES: dict[str, Callable[[], Case]] = {
    "FD001": turbofan,
    "AI4I": ai4i,
    "CNC": cnc_mill,
    "regimes": regimes,
    "mixed": mixed,
}


def fit_sdv(case: Case, epochs: int | None) -> Iterator[pd.DataFrame]:
    """Fit SDV's TVAESynthesizer with its defaults, then draw as many rows as it learned."""
    from sdv.metadata import Metadata
    from sdv.single_table import TVAESynthesizer

    metadata = Metadata.detect_from_dataframes({"table": case.train})
    options = {} if epochs is None else {"epochs": epochs}
    synthesizer = TVAESynthesizer(metadata, **options)
    synthesizer.fit({"table": case.train})
    yield pd.DataFrame()
    drawn = synthesizer.sample(len(case.train))
    yield drawn["table"] if isinstance(drawn, dict) else drawn


def fit_ours(case: Case, epochs: int | None, **options: Any) -> Iterator[pd.DataFrame]:
    """Fit our TabularTVAE with its defaults, then draw as many rows as it learned."""
    import torch

    torch.set_num_threads(1)
    from gan_lab.schema import Roles, TrainConfig
    from gan_lab.synth.tabular.model import TabularTVAE

    options = options if epochs is None else {**options, "epochs": epochs}
    model = TabularTVAE.fit(case.train, Roles(), TrainConfig(**options))
    yield pd.DataFrame()
    yield pd.concat(model.sample(len(case.train)))


def fit_mostly(case: Case, epochs: int | None) -> Iterator[pd.DataFrame]:
    """Fit mostlyai-engine with its defaults, then draw as many rows as it learned."""
    from mostlyai import engine

    folder = tempfile.mkdtemp()
    engine.split(tgt_data=case.train, workspace_dir=folder, model_type="TABULAR")
    engine.analyze(workspace_dir=folder)
    engine.encode(workspace_dir=folder)
    engine.train(workspace_dir=folder, **({} if epochs is None else {"max_epochs": epochs}))
    yield pd.DataFrame()
    engine.generate(workspace_dir=folder, sample_size=len(case.train))
    yield pd.read_parquet(Path(folder) / "SyntheticData")


def fit_short(case: Case, epochs: int | None) -> Iterator[pd.DataFrame]:
    """Fit ours for 400 batches only: at least as good as SDV, in a fraction of its time."""
    return fit_ours(case, epochs, max_steps=400)


ENGINES = {"SDV": fit_sdv, "ours, 400 steps": fit_short, "ours": fit_ours, "mostlyai": fit_mostly}


def work(engine: str, name: str, out: Path, epochs: int | None) -> None:
    """Fit and draw in this process; write the rows and what they cost beside each other."""
    import resource

    case = CASES[name]()
    importlib.import_module({"SDV": "sdv.single_table"}.get(engine, "torch"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    steps = ENGINES[engine](case, epochs)
    next(steps)
    fitted = time.perf_counter()
    rows = next(steps)
    drawn = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows.to_parquet(out / "rows.parquet", index=False)
    figures = {
        "fit_s": fitted - started,
        "sample_s": drawn - fitted,
        "peak_mb": peak / 1024,
        "grown_mb": (peak - before) / 1024,
    }
    (out / "figures.json").write_text(json.dumps(figures))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep third parties' warnings out of the table."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def quality(rows: pd.DataFrame, case: Case) -> dict[str, float]:
    """Score rows against the held-out ones: SDMetrics' quality and what they teach a regressor."""
    from sdmetrics.reports.single_table import QualityReport
    from sdv.metadata import Metadata

    with quiet():
        metadata = Metadata.detect_from_dataframes({"table": case.train}).to_dict()
        report = QualityReport()
        report.generate(case.held, rows, metadata["tables"]["table"], verbose=False)
        shapes, pairs = report.get_properties()["Score"]
    scores = {"quality": report.get_score(), "shapes": shapes, "pairs": pairs}
    if case.target:
        scores["tstr_r2"] = tstr(rows, case.held, case.target)
    for column in case.rare:
        scores |= rare_shares(rows[column], case.train[column])
    return scores


def tstr(rows: pd.DataFrame, held: pd.DataFrame, target: str) -> float:
    """Return R2 on held-out rows of a regressor that was trained on these rows."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(max_iter=150, random_state=0)
    model.fit(rows.drop(columns=target), rows[target])
    return float(model.score(held.drop(columns=target), held[target]))


def rare_shares(drawn: pd.Series[Any], real: pd.Series[Any]) -> dict[str, float]:
    """Return how often each rare class comes out, as a multiple of its real share."""
    real_share, share = real.value_counts(normalize=True), drawn.value_counts(normalize=True)
    rare = real_share[(real_share < 0.05) & (real_share >= 0.0015)]
    return {f"rare {real.name}={v}": float(share.get(v, 0) / rare[v]) for v in rare.index[:3]}


def run(engine: str, name: str, epochs: int | None) -> dict[str, float]:
    """Fit and draw in a process of its own, then score the rows here."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-W", "ignore", "-m", "bench.tables", "--worker", engine, name]
        command += [folder] + ([] if epochs is None else ["--epochs", str(epochs)])
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{engine} failed on {name}:\n{done.stderr[-2000:]}")
        figures = json.loads((Path(folder) / "figures.json").read_text())
        rows = pd.read_parquet(Path(folder) / "rows.parquet")
    case = CASES[name]()
    return figures | quality(rows.astype(case.train.dtypes, errors="ignore"), case)


def compare(name: str, quick: bool) -> dict[str, dict[str, float]]:
    """Measure every engine on one table, and the real rows as the ceiling."""
    case = CASES[name]()
    results = {"real rows": quality(case.train, case)}
    engines = [e for e in ENGINES if e != "mostlyai" or importlib.util.find_spec("mostlyai")]
    for engine in engines:
        results[engine] = run(engine, name, QUICK_EPOCHS if quick else None)
    return results


def show(name: str, results: dict[str, dict[str, float]]) -> None:
    """Print the figures of one table, a line an engine, and the ratio of the fits."""
    print(f"\n{name}")
    frame = pd.DataFrame(results).T
    print(frame.to_string(float_format=lambda x: f"{x:.3f}", na_rep=""))
    for engine in ("ours, 400 steps", "ours"):
        ratio = results["SDV"]["fit_s"] / results[engine]["fit_s"]
        print(f"{engine}: 1/{ratio:.1f} of SDV's time", flush=True)


def main() -> None:
    """Run the comparison, or one engine on one table when called by it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_EPOCHS} epochs, two tables")
    parser.add_argument("--only", nargs="*", choices=list(CASES), help="these tables")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--epochs", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        engine, name, out = args.worker
        work(engine, name, Path(out), args.epochs)
        return
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} cores")
    names = args.only or (["AI4I", "mixed"] if args.quick else list(CASES))
    for name in names:
        show(name, compare(name, args.quick))


if __name__ == "__main__":
    main()
