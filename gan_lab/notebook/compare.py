"""Trainings side by side: losses over each other, what differs in their settings, how good."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

from gan_lab.cluster.models import FIGURES, report_on, training_run
from gan_lab.errors import BadParameter
from gan_lab.loss_curve import COLOURS, as_image, loss_curve_svg, loss_sentence
from gan_lab.notebook.card import number, page
from gan_lab.notebook.overview import WIDE, html_table
from gan_lab.task_states import state_of
from gan_lab.workspace.profiles import profile_ids
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import done_runs, open_run


@dataclass(frozen=True)
class LossCurves:
    """Loss curves as SVG, and in words."""

    svg: str
    alt: str

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {
            "text/plain": self.alt,
            "text/html": as_image(self.svg),
            "image/svg+xml": self.svg,
        }


@dataclass(frozen=True)
class Comparison:
    """Trainings side by side: `table` (one row each; only what differs of the configurations) and
    `picture` (loss curves over each other).
    """

    table: pd.DataFrame
    picture: LossCurves

    def __repr__(self) -> str:
        return f"{self.table.to_string()}\n{self.picture.alt}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        rows = [
            {"run": _swatch(str(task_id), at)}
            | {str(name).replace("_", " "): _cell(value) for name, value in row.items()}
            for at, (task_id, row) in enumerate(self.table.iterrows())
        ]
        html = page(as_image(self.picture.svg), html_table(rows), width_px=WIDE)
        return {"text/plain": repr(self), "text/html": html}


def _swatch(task_id: str, at: int) -> str:
    colour = COLOURS[at % len(COLOURS)]
    return f'<span style="color:{colour}"><b>━</b></span> <code>{task_id}</code>'


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return number(value)
    return "" if value is None else escape(str(value))


def compare(*runs: RunFolder | str) -> Comparison:
    """Lay trainings side by side: losses, what differs in their configurations, quality figures.

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
    differing = _differing([run.spec.config for run in trained])
    done = {run.spec.machine_id for run in trained if run.result_data() is not None}
    used = {training_run(machine_id).task_id for machine_id in done}
    rows = [_facts(run, differing, used) for run in trained]
    table = pd.DataFrame(rows, index=pd.Index([run.task_id[:8] for run in trained], name="run"))
    table = table.sort_values("best validation", kind="stable")
    known = {run.task_id[:8]: run.losses().to_dict("list") for run in trained}
    losses = {name: known[name] for name in table.index}  # a line has its row's colour
    alt = "\n".join(itertools.starmap(loss_sentence, losses.items()))
    picture = LossCurves(loss_curve_svg(losses), alt)
    return Comparison(table.dropna(axis=1, how="all"), picture)


def _opened(run: RunFolder | str) -> Iterable[RunFolder]:
    if not isinstance(run, str):
        return [run]
    return done_runs(run, "train") if run in profile_ids() else [open_run(run)]


def _facts(run: RunFolder, differing: list[str], used: set[str]) -> dict[str, Any]:
    losses, report = run.losses(), report_on(run)
    known = not losses.empty
    return {
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


def _differing(configs: list[dict[str, Any]]) -> list[str]:
    names = dict.fromkeys(name for config in configs for name in config)
    return [name for name in names if len({str(config.get(name)) for config in configs}) > 1]
