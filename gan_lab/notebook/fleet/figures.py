"""The figures of one machine's tasks that a fleet's table shows."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from gan_lab.workspace import run_folder
from gan_lab.workspace.run_folder import RunFolder

FIGURES = {
    "final_loss": "final loss",
    "quality": "quality",
    "tstr": "TSTR",
    "tstr_real": "with real rows",
    "privacy": "privacy",
}


# ---- what is known of one machine


def figures(found: Iterable[RunFolder]) -> dict[str, Any]:
    """Return what a machine's tasks left; None for what there is not.

    `train_seconds`, `final_loss`; of the quality report: `quality` (SDMetrics' overall score, 0 to
    1), `tstr` and `tstr_real` (score on held-out real rows of a model trained on synthetic and on
    real rows), `privacy` (largest share of synthetic points nearer to training lives than to
    held-out ones; 0.5: no memory), `verdict` (good, care, bad) and `finding`, its first sentence.
    """
    names = ["train_seconds", *FIGURES, "verdict", "finding"]
    facts: dict[str, Any] = dict.fromkeys(names)
    for run in found:
        result = run.result_data()
        if result is None:
            continue
        if run.spec.kind == "train":
            facts |= {
                "train_seconds": result["training_time_seconds"],
                "final_loss": result["final_loss"],
            }
        elif run.spec.kind == "report":
            facts |= {"quality": result["quality"]} | _judged(run)
    return facts


def _judged(run: RunFolder) -> dict[str, Any]:
    """Read the figures a fleet is compared by from a quality report."""
    report = json.loads((run.path / run_folder.REPORT_JSON).read_text())
    verdict, privacy = report["verdict"], report["privacy"]
    shares = [each["share"] for each in privacy["memory"].values() if each["share"] is not None]
    facts = {"verdict": verdict["level"], "privacy": max(shares, default=None)}
    of_level = (f["text"] for f in verdict["findings"] if f["level"] == verdict["level"])
    facts["finding"] = next(of_level, verdict["headline"])
    for task in report["utility"][:1]:
        metric = "r2" if task["number"] else "ap"
        of = {name: scores.get(metric) for name, scores in task["scores"].items()}
        facts |= {"tstr": of.get("synthetic"), "tstr_real": of.get("real")}
    return facts


def figure(value: float) -> str:
    """Return a figure in three digits."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def duration(seconds: float) -> str:
    """Return seconds as a person says them."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
