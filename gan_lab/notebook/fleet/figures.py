"""The figures that one machine's tasks in a fleet have left."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from gan_lab.workspace.run_folder import REPORT_JSON, RunFolder

FIGURES = {
    "final_loss": "final loss",
    "quality": "quality",
    "tstr": "TSTR",
    "tstr_real": "with real rows",
    "privacy": "privacy",
}


def figures(found: Iterable[RunFolder]) -> dict[str, Any]:
    """Return what a machine's tasks left; None for what there is not.

    `train_seconds`, `final_loss`; of the quality report: `quality` (SDMetrics' overall score, 0 to
    1), `tstr` and `tstr_real` (score on held-out real rows of a model trained on synthetic and on
    real rows), `privacy` (largest share of synthetic points nearer to training lives than to
    held-out ones; 0.5: no memory), `verdict` (good, care, bad) and `finding`, its first sentence.
    """
    facts: dict[str, Any] = dict.fromkeys(["train_seconds", *FIGURES, "verdict", "finding"])
    for run in found:
        result = run.result_data()
        if result is not None and run.spec.kind == "train":
            facts["train_seconds"] = result["training_time_seconds"]
            facts["final_loss"] = result["final_loss"]
        elif result is not None and run.spec.kind == "report":
            facts |= {"quality": result["quality"]} | _of_report(run)
    return facts


def _of_report(run: RunFolder) -> dict[str, Any]:
    report = json.loads((run.path / REPORT_JSON).read_text())
    verdict, privacy = report["verdict"], report["privacy"]
    shares = [each["share"] for each in privacy["memory"].values() if each["share"] is not None]
    of_level = (each["text"] for each in verdict["findings"] if each["level"] == verdict["level"])
    facts = {
        "verdict": verdict["level"],
        "privacy": max(shares, default=None),
        "finding": next(of_level, verdict["headline"]),
    }
    for task in report["utility"][:1]:
        metric = "r2" if task["number"] else "ap"
        of = {name: scores.get(metric) for name, scores in task["scores"].items()}
        facts |= {"tstr": of.get("synthetic"), "tstr_real": of.get("real")}
    return facts
