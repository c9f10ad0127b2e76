"""What a verdict says: one template for each kind of finding, and how names and shares are put."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import Field

from gan_lab.schema import Message
from gan_lab.synth.report.thresholds import Level

HEADLINES = {
    "good": "No fault found: you can use these rows.",
    "care": "Use these rows with care.",
    "bad": "Do not use these rows as they are.",
}
SENTENCES = {
    # what the report rests on
    "few_lives": "The model learned from {seen} and the report holds out {held}: too few to tell a "
    "fault from how one life differs from the next, or memory from chance, so nothing is called "
    "good. Import more lives (it takes ten, three of them held out), or raise the holdout.",
    "conditions": "Conditions of these rows: {conditions}. What differs by them is no fault.",
    "no_lives": "These rows form no lives: do not train sequence models on them. A sequential "
    "model draws lives.",
    # what a machine can do
    "outside": "{columns}: {share} of the rows{of} lie outside {span} ({low:.6g} to "
    "{high:.6g}), of the real rows {real}. Drop these rows before use.",
    "missing_level": "{columns} is never {case!r}, as {share} of the real rows are: these rows say "
    "nothing about that case. Add real rows of it.",
    "tail_lost": "{columns}: the {end} tail is missing. {share} of the rows{of} are {side} "
    "{limit:.6g}, of the real rows {real}. Do not set alarm levels with these rows.",
    "tail_swollen": "{columns}: the {end} tail is too heavy. {share} of the rows{of} are "
    "{side} {limit:.6g}, of the real rows {real}. Alarms would go off too often.",
    "rising_rul": "Remaining useful life rises at {share} of the steps within a life, which is "
    "impossible. Do not train sequence models on these lives.",
    "wear_backwards": "{rul} runs backwards against {columns} ({count} of {all} columns that show "
    "wear): what announces a failure in real lives announces its absence here. Do not predict "
    "{rul} from these rows.",
    "wear": "{all} of {all} columns that show wear do so here as in real lives.",
    "relation_lost": "{name} has lost its relation with {others}: its rank correlation with "
    "{worst} is {ours:.2f}, in real rows {real:.2f}. Do not learn from these columns together.",
    "relation_invented": "{name} has a relation with {others} that real rows do not have: its "
    "rank correlation with {worst} is {ours:.2f}, in real rows {real:.2f}. Do not learn from "
    "these columns together.",
    # what the rows teach
    "not_predictable": "Real rows do not predict {target} either ({metric} {real:.2f}): how much "
    "these rows teach about it cannot be told.",
    "constant_target": "{target} does not vary in these rows: nothing can be learned about it.",
    "utility": "A model of {target} trained on these rows reaches {metric} {ours:.2f}{error} on "
    "held-out real rows, trained on real rows {real:.2f}{real_error}.{advice}",
    "augmentation": "Trained on real and synthetic rows together, a model of {target} reaches "
    "{metric} {both:.3f}, on real rows alone {real:.3f}: {advice}.",
    "windows": "A model of remaining useful life that sees {width} rows at a time reaches R2 "
    "{ours:.2f} on held-out lives when trained on these lives, {real:.2f} on real ones.{advice}",
    "acf": "Autocorrelation is off by {ours:.2f} on average, between real lives by {real:.2f}: "
    "courses in time are rougher or smoother than real ones. Do not train on slopes or trends.",
    "detection": "Detection AUC {auc:.2f} (0.5 is blind): a classifier tells these {what} from "
    "real ones. Test what you train on them on real {what} too.",
    # what the model remembers
    "copies": "{share} of the rows are training rows to the last digit, of held-out rows {real} "
    "are. Drop these copies before you share the table.",
    "near_copies": "The model memorises: {share} of the rows lie as close to a training row as "
    "only {real} of held-out rows do. Do not share them; train on more lives or fewer epochs.",
    "memory": "The model memorises: {shares} are nearer to training than to held-out ones (50 %: "
    "no memory). Do not share these rows; train on more lives or fewer epochs.",
    "memory_unsure": "Whether the model memorises cannot be told with so few lives: {shares} are "
    "nearer to training than to held-out ones (50 %: no memory). Hold out more lives before you "
    "share these rows.",
    "memory_untested": "Whether the model remembers lives cannot be told with so few of them. "
    "{share} of the rows are copies of training rows.",
    "no_memory": "No sign of memory: {share} of the rows are copies of training rows, of held-out "
    "rows {real}; {shares} are nearer to training than to held-out ones (50 %: no memory).",
    # how alike the columns are
    "shape": "{columns}: not distributed as in real rows. {share} of the rows{of} would "
    "have to move{gaps}. Compare the histograms before you use these columns.",
    "columns": "{count} of {all} columns are good: nothing was found against them.",
}


class Finding(Message):
    """One sentence of the verdict, the columns it is about, the figure held to a threshold."""

    level: Level
    kind: str
    text: str
    columns: list[str] = Field(default_factory=list)
    value: float | None = None


def finding(
    level: Level,
    kind: str,
    columns: Iterable[str] = (),
    value: float | None = None,
    sentence: str = "",
    **figures: Any,
) -> Finding:
    """Return a finding whose text is the template of its kind (or another `sentence`)."""
    names = list(columns)
    text = SENTENCES[sentence or kind].format(columns=listed(names), **figures)
    return Finding(level=level, kind=kind, text=text, columns=names, value=value)


def listed(names: Iterable[str], most: int = 4) -> str:
    """Return names as one says them: a, b and c; what goes beyond `most` is counted."""
    names = list(names)
    if len(names) > most:
        names = [*names[: most - 1], f"{len(names) - most + 1} more"]
    return " and ".join([", ".join(names[:-1]), *names[-1:]]).removeprefix(" and ")


def percent(share: float | None) -> str:
    """Return a share in per cent, with two digits that count."""
    points = 100 * (share or 0.0)
    return f"{points:.0f} %" if points >= 9.95 or points == 0 else f"{points:.2g} %"


def amount(value: float) -> str:
    """Return a number with three digits that count, but never as a power of ten."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def count(number: int, word: str = "life", many: str = "lives") -> str:
    """Return a number of things."""
    return f"{number:,} {word if number == 1 else many}"
