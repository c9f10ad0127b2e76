"""Trainings side by side: losses, what differs in their settings, how good they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from gan_lab.cluster.models import FIGURES, reports, training_run
from gan_lab.errors import BadParameter
from gan_lab.task_states import state_of
from gan_lab.workspace.profiles import profile_ids
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import done_runs, open_run


def compare(*runs: RunFolder | str) -> pd.DataFrame:
    """Lay trainings side by side, a row each: losses, what differs in their settings, figures.

    Takes runs, task ids, and machine ids for all trainings of a machine that are done; what is no
    training is left out. The best validation loss comes first. Verdict and figures are those of the
    newest report on each (`gan_lab.schema.ReportResult`); `generate uses` marks what is drawn from
    where no model is named. Raises `BadParameter` where none is a training, `UnknownTask`.
    """
    given = [run for one in runs for run in (one if isinstance(one, list | tuple) else [one])]
    trained = [run for one in given for run in _opened(one) if run.spec.kind == "train"]
    if not trained:
        raise BadParameter(
            "Nothing to compare: give compare() two or more trainings or their task ids."
        )
    used: set[str] = set()
    judged: dict[str, dict[str, Any]] = {}
    for machine_id in {run.spec.machine_id for run in trained if run.result_data() is not None}:
        used.add(training_run(machine_id).task_id)
        judged |= reports(machine_id)
    configs = pd.DataFrame([run.spec.config for run in trained], dtype=object)
    differing = [name for name in configs if configs[name].astype(str).nunique() > 1]
    rows = []
    for run in trained:
        losses, report = run.losses(), judged.get(run.task_id, {})
        known = not losses.empty
        rows.append(
            {
                "machine": run.spec.machine_id,
                "state": state_of(run.status()).word,
                **{name: run.spec.config.get(name) for name in differing},
                "epochs done": len(losses),
                "final loss": float(losses["loss"].iloc[-1]) if known else None,
                "best validation": float(losses["validation"].min()) if known else None,
                "seconds": float(losses["seconds"].sum()) if known else None,
                "verdict": report.get("level"),
                **{name: report.get(name) for name in FIGURES},
                "generate uses": "✓" if run.task_id in used else None,
            }
        )
    table = pd.DataFrame(rows, index=pd.Index([run.task_id[:8] for run in trained], name="run"))
    return table.sort_values("best validation", kind="stable").dropna(axis=1, how="all")


def _opened(run: RunFolder | str) -> Iterable[RunFolder]:
    if not isinstance(run, str):
        return [run]
    return done_runs(run, "train") if run in profile_ids() else [open_run(run)]
