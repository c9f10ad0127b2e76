"""The verdict: three levels, and the findings that are its reasons."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from gan_lab.schema import Message
from gan_lab.synth.report.compared_tables import Sides
from gan_lab.synth.report.fidelity import ColumnFit, Fidelity
from gan_lab.synth.report.findings import (
    of_detection,
    of_lives,
    of_physics,
    of_privacy,
    of_relations,
    of_shapes,
    of_task,
    of_wear,
)  # fmt: skip
from gan_lab.synth.report.physics import Physics
from gan_lab.synth.report.privacy import Privacy
from gan_lab.synth.report.sentences import HEADLINES, Finding, count, finding
from gan_lab.synth.report.thresholds import AGAINST, LEVELS, MIN_HELD_LIVES, MIN_LIVES
from gan_lab.synth.report.utility import Task
from gan_lab.synth.report.windows import LifeFigures

UNLIKE = (  # kinds of findings that conditions bring about
    "shape", "relation", "detection", "window_detection", "missing_level", "utility", "windows",
    "acf",
)  # fmt: skip
MEMORY = ("copies", "near_copies", "memory")  # kinds of findings


class Verdict(Message):
    """The worst level of all findings, what sums them up, and the findings, worst first.

    Before them comes on how few lives they rest. The headline names the worst of them and memory.
    """

    level: Literal["good", "care", "bad"]
    headline: str
    findings: list[Finding]


def judge(
    fidelity: Fidelity,
    utility: list[Task],
    lives: LifeFigures | None,
    privacy: Privacy,
    physics: Physics,
    detection: float | None,
    sides: Sides,
    conditions: str = "",
) -> Verdict:
    """Turn the figures of a report into sentences; `conditions` are those of the rows, in words."""
    few = list(_few_lives(sides))
    found = [
        *of_physics(physics),
        *of_wear(physics.relations, sides.roles.rul),
        *(each for task in utility for each in of_task(task)),
        *(of_lives(lives) if lives else ()),
        *([finding("care", "no_lives")] if sides.loose else ()),
        *of_privacy(privacy, bool(few)),
        *of_shapes(fidelity.columns),
        *of_relations(physics.relations),
        *of_detection(detection, "detection", "rows"),
    ]
    if conditions:
        found = [_excused(each) for each in found]
    if few:
        found = [_untested(each) for each in found]
    else:
        found.extend(_columns(fidelity.columns, found))
    found.sort(key=lambda each: LEVELS.index(each.level))
    against = [each for each in found if each.level in AGAINST]
    memory = next((each for each in against if each.kind in MEMORY), None)
    reasons = [*few, *(each for each in against if each in (against[0], memory))]
    if conditions:
        found.append(finding("note", "conditions", conditions=conditions))
        reasons.append(found[-1])
    level = against[0].level if against else "care" if few else "good"
    return Verdict(
        level=level,
        headline=" ".join([HEADLINES[level], *(each.text for each in reasons)]),
        findings=[*few, *found],
    )


def _few_lives(sides: Sides) -> Iterator[Finding]:
    """Say where a report rests on so few lives that nothing can be called good."""
    life = sides.roles.life
    if life is not None:
        held, seen = sides.holdout[life].nunique(), sides.train[life].nunique()
        if min(held, seen) < MIN_HELD_LIVES or held + seen < MIN_LIVES:
            yield finding("care", "few_lives", value=held, seen=count(seen), held=held)


def _excused(each: Finding) -> Finding:
    """Return what is found of rows drawn under conditions: to be unlike the real ones may be what
    was asked for; to be impossible, to wear backwards or to be a copy is not."""
    on_purpose = each.kind in UNLIKE and each.level == "bad"
    return each.model_copy(update={"level": "care"}) if on_purpose else each


def _untested(each: Finding) -> Finding:
    return each.model_copy(update={"level": "note"}) if each.level == "good" else each


def _columns(columns: list[ColumnFit], found: list[Finding]) -> Iterator[Finding]:
    """What may be relied on: columns with nothing against them."""
    accused = {name for each in found if each.level in AGAINST for name in each.columns}
    fine = [column.name for column in columns if column.name not in accused]
    if fine:
        yield finding("good", "columns", fine, count=len(fine), all=len(columns))
