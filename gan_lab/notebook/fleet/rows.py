"""The machines of a fleet as rows: where each stands, what needs a person, as a table of HTML."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from gan_lab.notebook.card import bar, clock, here, note, number
from gan_lab.notebook.table import html_table
from gan_lab.task_states import BY_NAME, TASK_STATES, VERDICT_COLOURS
from gan_lab.workspace.fleet_folder import State
from gan_lab.workspace.run_folder import REPORT_HTML, RunFolder

# What a machine's tasks leave, by kind: what it is called here, and in the task's result.
FIGURES = {
    "train": {"train_seconds": "training_time_seconds", "final_loss": "final_loss"},
    "report": {name: name for name in ("quality", "utility", "memory")}
    | {"verdict": "level", "finding": "verdict"},
}
LEGEND = (
    "quality: how alike single columns are, 1 at best. utility: R2 (average precision for a "
    "failure) on real rows of a model that learned from synthetic ones. memory: share of rows or "
    "lives nearer to training than to held-out ones, 0.5 where nothing is copied."
)
MAX_NAMED = 4  # machines that a sentence names before it counts the rest
BAD_ENDS = ("failed", "interrupted", "cancelled")


def figures(found: Iterable[RunFolder]) -> dict[str, Any]:
    """Return what a machine's tasks left; None for what there is not.

    Of the training `train_seconds` and `final_loss`; of the report `quality`, `utility` and
    `memory` (see `gan_lab.schema.ReportResult`), `verdict` (good, care, bad) and its sentence,
    `finding`.
    """
    facts: dict[str, Any] = dict.fromkeys([*FIGURES["train"], *FIGURES["report"]])
    for run in found:
        names = FIGURES.get(run.spec.kind)
        if names and (result := run.result_data()):
            facts |= {name: result.get(theirs) for name, theirs in names.items()}
    return facts


@dataclass
class Row:
    """Where one machine of a fleet stands: what every view of a fleet shows, a field a column."""

    machine_id: str
    state: State
    progress: int = 0
    seconds: float = 0.0
    message: str = ""
    notebook: Path | None = None
    figures: dict[str, Any] = field(default_factory=lambda: figures([]))
    runs: list[RunFolder] = field(default_factory=list, compare=False)

    @property
    def cell(self) -> str:
        """The number of the cell that a message begins with, which the notebook shows."""
        found = re.match(r"In \[\d+\]: ", self.message)
        return found[0] if found else ""

    @property
    def needs(self) -> str | None:
        """Why the machine needs attention; None where it does not."""
        if self.state in BAD_ENDS:
            return self.message or self.state
        if self.state == "waiting":
            return "has not begun"
        loss = self.figures["final_loss"]
        if loss is not None and not math.isfinite(loss):
            return f"the training diverged (final loss {loss})"
        return "report: do not use" if self.figures["verdict"] == "bad" else None


def headline(rows: Sequence[Row]) -> str:
    """Return one sentence that says which machines need attention, and why."""
    if at_work := [row for row in rows if row.state == "running"]:
        return f"{len(at_work)} of {len(rows)} machines are at work."
    need = [f"{row.machine_id} ({row.needs.removeprefix(row.cell)})" for row in rows if row.needs]
    care = [row.machine_id for row in rows if row.figures["verdict"] == "care" and not row.needs]
    if not need:
        all_done = "The machine is" if len(rows) == 1 else f"All {len(rows)} machines are"
        if care:
            return f"{all_done} done; use with care: {_first(care, ', ')}."
        return f"{all_done} done; none needs attention."
    verb = "needs" if len(need) == 1 else "need"
    return f"{len(need)} of {len(rows)} machines {verb} attention: {_first(need, '; ')}"


def _first(names: Sequence[str], between: str) -> str:
    """Return the first names, and how many more there are."""
    rest = f"{between}and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return between.join(names[:MAX_NAMED]) + rest


def rows_html(rows: Sequence[Row], start: str | Path | None) -> str:
    """Return a table: what is at work, what waits, what needs a person, what is done.

    Links to notebooks and reports lead from the folder `start`; None: there are none.
    """
    order = [state.word for state in TASK_STATES]
    some = sorted(rows, key=lambda row: (order.index(row.state), row.needs is None))
    table = html_table([_cells(row, start) for row in some])
    return f'<div style="overflow:auto">{table}</div>{note(LEGEND)}'


def _cells(row: Row, start: str | Path | None) -> dict[str, str]:
    state, facts, at_work = BY_NAME[row.state], row.figures, row.state == "running"
    verdict = facts["verdict"] or ""
    colour = VERDICT_COLOURS.get(verdict, state.colour)
    ended = colour if row.state == "done" else state.colour
    links = {"notebook": row.notebook} if row.notebook else {}
    for run in row.runs:
        if run.spec.kind == "report" and run.report_html() is not None:
            links["report"] = run.path / REPORT_HTML
    words = row.message if at_work else row.needs or ""
    if row.state == "done":
        words = facts["finding"] or words
    opened = ", ".join(
        f"<a href='{escape(here(path, start))}'>{what}</a>"
        for what, path in links.items()
        if start is not None
    )
    said = f"{escape(words)} {opened}".strip()
    return {
        "machine": escape(row.machine_id),
        "state": f'<span style="color:{ended}">{state.symbol} {state.word}</span>',
        "progress": bar(row.progress / 100, state.colour, "90px", "6px") if at_work else "",
        "verdict": verdict and f'<b style="color:{colour}">{verdict}</b>',
        "time": clock(row.seconds) if row.seconds else "",
        "final loss": number(facts["final_loss"]),
        **{name: number(facts[name]) for name in ("quality", "utility", "memory")},
        "": said and f'<div style="min-width:240px">{said}</div>',  # on a telephone too
    }
