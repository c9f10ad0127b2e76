"""What the quality report says of real rows, of ours and of others, and how long it takes.

`python -m bench.report [--quick] [--splits]`. Reads the real tables where they are found.
`--splits` adds the report on twenty real-against-real splits, none of which may be called bad.
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
from gan_lab.synth.baselines import copula, interpolate
from gan_lab.synth.comparison import compare
from gan_lab.synth.quality import QualityReport, evaluate
from gan_lab.synth.report_page import render_html

DATA = Path(os.environ.get("GAN_LAB_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
TURBOFAN = Roles(life="unit", time="cycle", rul="rul")
OUT = Path("bench-output")


def turbofan() -> tuple[pd.DataFrame, pd.DataFrame, Roles]:
    table = pd.read_parquet(DATA / "train_FD001.parquet")
    table["rul"] = table["rul"].clip(upper=125)
    return table[table["unit"] <= 80], table[table["unit"] > 80], TURBOFAN


def ai4i() -> tuple[pd.DataFrame, pd.DataFrame, Roles]:
    table = pd.read_csv(DATA / "ai4i2020.csv").drop(columns=["UDI", "Product ID"])
    order = np.random.default_rng(0).permutation(len(table))
    return table.iloc[order[2000:]], table.iloc[order[:2000]], Roles()


def ours(train: pd.DataFrame, roles: Roles, epochs: int) -> pd.DataFrame:
    config = TrainConfig(epochs=epochs)
    if roles.life:
        from gan_lab.synth.lives import SequentialTVAE

        lives = int(train[roles.life].nunique())
        return pd.concat(SequentialTVAE.fit(train, roles, config).sample(lives=lives, seed=1))
    from gan_lab.synth.tvae import TabularTVAE

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


def row(name: str, seconds: float, report: QualityReport) -> dict[str, Any]:
    task, lives = report.utility[0], report.life_figures
    scores = report.fidelity.synthetic
    shares = [m.share or 0 for m in report.privacy.memory.values()]
    return {
        "rows of": name,
        "made in s": round(seconds, 1),
        "quality": scores.overall,
        "shapes": scores.shapes,
        "pairs": scores.pairs,
        **task.scores.get("synthetic", {}),
        "window r2": lives.r2.get("synthetic") if lives else None,
        "copies": report.privacy.copies,
        "memory": max(shares, default=None),
        "detection": report.detection.auc,
        "verdict": report.verdict.level,
        "report s": round(sum(report.seconds.values()), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--splits", action="store_true")
    parser.add_argument("--only", nargs="*", default=["turbofan", "ai4i"])
    options = parser.parse_args()
    OUT.mkdir(exist_ok=True)
    for case in (turbofan, ai4i):
        if case.__name__ in options.only:
            table(case.__name__, *case(), 30 if options.quick else 300, sdv_too=not options.quick)
    if options.splits:
        splits()


def table(
    name: str, train: pd.DataFrame, holdout: pd.DataFrame, roles: Roles, epochs: int, sdv_too: bool
) -> None:
    plain = Roles(rul=roles.rul)
    sides = compare(train, train, holdout, roles, None, 0)
    target = roles.rul or "Machine failure"
    makers: dict[str, tuple[Roles, Any]] = {
        "real": (roles, lambda: train),
        "ours": (roles, lambda: ours(train, roles, epochs)),
        "copula": (plain, lambda: copula(sides)),
        "SMOTE": (plain, lambda: interpolate(sides, target)),
    }
    if sdv_too:
        makers["SDV TVAE"] = (plain, lambda: sdv(train, roles, 300))
    found = []
    for maker, (of, make) in makers.items():
        start = time.perf_counter()
        drawn = make()
        seconds = time.perf_counter() - start
        kept = list(drawn.columns)
        report = evaluate(drawn, train[kept], holdout[kept], of)
        (OUT / f"report-{name}-{maker.replace(' ', '-')}.html").write_text(render_html(report))
        found.append(row(maker, seconds, report))
        print(json.dumps(found[-1]), flush=True)
    print(pd.DataFrame(found).round(3).to_string(index=False))


def splits() -> None:
    whole = pd.concat(turbofan()[:2])
    for seed in range(20):
        lives = np.random.default_rng(seed).permutation(100)
        groups = [
            whole[whole["unit"].isin(lives[a:b] + 1)] for a, b in ((0, 40), (40, 80), (80, 100))
        ]
        verdict = evaluate(*groups, TURBOFAN).verdict
        print(seed, verdict.level, verdict.headline, flush=True)


if __name__ == "__main__":
    main()
