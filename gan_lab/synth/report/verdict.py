"""The verdict: three levels, and the findings that are its reasons."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from gan_lab.schema import Message
from gan_lab.synth.report.compared_tables import Sides
from gan_lab.synth.report.finding import Finding, count
from gan_lab.synth.report.thresholds import AGAINST, LEVELS

HEADLINES = {
    "good": "No fault found: you can use these rows.",
    "care": "Use these rows with care.",
    "bad": "Do not use these rows as they are.",
}
UNLIKE = (  # kinds of findings that conditions bring about
    "shape", "relation", "row_detection", "window_detection", "missing_level", "utility", "windows",
    "lower_tail", "upper_tail",
)  # fmt: skip
MEMORY = ("copies", "near_copies", "memory")  # kinds of findings


class Verdict(Message):
    """The worst level of all findings, what sums them up, and the findings, worst first.

    Before them comes on how few lives they rest. The headline names the worst of them and memory.
    """

    level: Literal["good", "care", "bad"]
    headline: str
    findings: list[Finding]


def judge(found: list[Finding], sides: Sides, conditions: str = "") -> Verdict:
    """Sum up what was found; `conditions` are those that the rows were drawn under, in words."""
    few = list(_few_lives(sides))
    if sides.loose:
        text = (
            "These rows form no lives: do not train sequence models on them. A sequential model "
            "draws lives."
        )
        found = [*found, Finding(level="care", kind="no_lives", text=text)]
    if conditions:
        found = [_excused(each) for each in found]
    found = [_untested(each) for each in found] if few else list(found)
    found.sort(key=lambda each: LEVELS.index(each.level))
    against = [each for each in found if each.level in AGAINST]
    memory = next((each for each in against if each.kind in MEMORY), None)
    reasons = [*few, *(each for each in against if each in (against[0], memory))]
    if conditions:
        text = f"Conditions of these rows: {conditions}. What differs by them is no fault."
        found.append(Finding(level="note", kind="conditions", text=text))
        reasons.append(found[-1])
    level = against[0].level if against else "care" if few else "good"
    return Verdict(
        level=level,
        headline=" ".join([HEADLINES[level], *(each.text for each in reasons)]),
        findings=[*few, *found],
    )


def _few_lives(sides: Sides) -> Iterator[Finding]:
    """Say where a report rests on so few lives that nothing can be called good."""
    if sides.lives is not None and sides.few:
        seen, held = sides.lives
        text = (
            f"Of the {count(seen + held)}, the model learned from {seen} and the report holds out "
            f"{held}: too few to tell a fault from how one life differs from the next, or memory "
            "from chance, so nothing is called good. Import more lives (it takes ten, three of "
            "them held out), or raise the holdout."
        )
        yield Finding(level="care", kind="few_lives", text=text, value=held)


def _excused(each: Finding) -> Finding:
    """Return what is found of rows drawn under conditions: to be unlike the real ones may be what
    was asked for; to be impossible, to wear backwards or to be a copy is not."""
    on_purpose = each.kind in UNLIKE and each.level in AGAINST
    return each.model_copy(update={"level": "note"}) if on_purpose else each


def _untested(each: Finding) -> Finding:
    return each.model_copy(update={"level": "note"}) if each.level == "good" else each
