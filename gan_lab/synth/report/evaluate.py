"""How far synthetic rows can be trusted: one report, against lives the model has never seen."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
from pydantic import Field

from gan_lab.schema import Message, Roles, utc_now
from gan_lab.synth.report import detection, fidelity, physics, privacy, utility
from gan_lab.synth.report.compared_tables import Figure, Sides, compare
from gan_lab.synth.report.finding import Finding
from gan_lab.synth.report.prognosis import HeldOutPrognosis
from gan_lab.synth.report.utility import Task
from gan_lab.synth.report.verdict import Verdict, judge
from gan_lab.synth.report.windows import windows_of
from gan_lab.workspace.profiles import Profile

OnStep = Callable[[float, str], None]


class QualityReport(Message):
    """Everything a report says; the page and the notebook show nothing else."""

    format: int = 2
    machine_id: str | None = None
    created: str = Field(default_factory=utc_now)
    rows: dict[str, int] = Field(description="Rows of the tables that were given")
    lives: dict[str, int] = Field(description="Lives of these tables; empty where there are none")
    sampling: list[str] = Field(description="Which tables were judged by a part of their rows")
    verdict: Verdict
    fidelity: fidelity.Fidelity
    utility: list[Task]
    privacy: privacy.Privacy
    curves: list[physics.Curve]
    detection: Figure
    window_detection: Figure
    prognosis: HeldOutPrognosis | None = None

    @property
    def figures(self) -> dict[str, float | None]:
        """The figures that models are compared by; see `gan_lab.schema.ReportResult`."""
        rows, windows = (self.task(windows) for windows in (False, True))
        shares = [each.share for each in self.privacy.memory.values() if each.share is not None]
        return {
            "quality": self.fidelity.synthetic,
            "utility": rows.score("synthetic") if rows else None,
            "utility_of_lives": windows.score("synthetic") if windows else None,
            "memory": max(shares, default=None),
            "detection": self.detection,
        }

    def task(self, windows: bool) -> Task | None:
        """Return the first thing that was predicted, of rows or of windows of them."""
        return next((task for task in self.utility if bool(task.width) == windows), None)


def evaluate(
    synthetic: pd.DataFrame,
    train: pd.DataFrame,
    holdout: pd.DataFrame,
    roles: Roles,
    profile: Profile | None = None,
    seed: int = 0,
    on_step: OnStep | None = None,
    conditions: str = "",
    prognosis: HeldOutPrognosis | None = None,
) -> QualityReport:
    """Judge synthetic rows against rows the model has seen (`train`) and has not (`holdout`).

    `conditions`: those that the rows were drawn under, in words. `prognosis`: what the model said
    of the held-out lives. `on_step(share done, what comes next)` is called before each part. The
    same tables and seed give the same figures. Raises `BadTable` where tables cannot be compared.
    """
    say = on_step or (lambda share, what: None)
    tables = {"synthetic": synthetic, "train": train, "holdout": holdout}
    life = roles.life
    sides = compare(synthetic, train, holdout, roles, profile, seed)
    say(0.05, "fidelity")
    alike = fidelity.fidelity(sides)
    say(0.2, "utility")
    tasks = utility.utility(sides)
    say(0.5, "lives")
    seen = windows_of(sides)
    tasks += utility.utility_of_windows(sides, seen)
    say(0.8, "privacy")
    memory = privacy.privacy(sides, synthetic, train, seen)
    say(0.85, "physics")
    pairs = physics.relations(sides)
    say(0.9, "detection")
    apart = {
        "rows": detection.detection(sides),
        "windows": detection.detection_of_windows(seen, seed),
    }
    units = {name: sensor.unit for name, sensor in profile.sensors.items()} if profile else {}
    if prognosis and prognosis.unit != roles.rul:
        units[str(roles.rul)] = prognosis.unit
    found = _findings(sides, alike, tasks, memory, pairs, apart, units)
    return QualityReport(
        machine_id=profile.machine_id if profile else None,
        rows={name: len(table) for name, table in tables.items()},
        lives={n: int(t[life].nunique()) for n, t in tables.items() if life in t} if life else {},
        sampling=sides.notes,
        verdict=judge(found, sides, conditions),
        fidelity=alike,
        utility=tasks,
        privacy=memory,
        curves=physics.curves(sides, pairs),
        detection=apart["rows"],
        window_detection=apart["windows"],
        prognosis=prognosis,
    )


def _findings(
    sides: Sides,
    alike: fidelity.Fidelity,
    tasks: list[Task],
    memory: privacy.Privacy,
    pairs: list[physics.Relation],
    apart: dict[str, float | None],
    units: dict[str, str],
) -> list[Finding]:
    """Return what is found of each part; the first of equal level stands in the headline."""
    found = [*physics.physics(sides), *physics.wear(pairs, sides.roles.rul)]
    for task in tasks:
        if task.width:  # of lives, windows say better what adding them does than rows
            found = [finding for finding in found if finding.kind != "augmentation"]
        found += utility.lessons(task, units.get(task.target, ""))
    found += privacy.remembered(memory, sides.few)
    found += fidelity.shapes(alike.columns)
    found += physics.broken_relations(pairs)
    for what, auc in apart.items():
        found += detection.told_apart(auc, what)
    return found
