"""From where on a figure calls for care, and from where on it is bad: each with its reason.

They follow from what a figure means and from what two samples of real rows do to each other; none
was tuned on an example.
"""

from __future__ import annotations

from typing import Literal

from gan_lab.schema import Message

Level = Literal["bad", "care", "good", "note"]
LEVELS: tuple[Level, ...] = ("bad", "care", "good", "note")
AGAINST: tuple[Level, ...] = ("bad", "care")


class Threshold(Message):
    """Where care begins and where bad does, and why there."""

    care: float
    bad: float
    reason: str

    def level(self, value: float | None) -> Level:
        """Return the level of a value; one that could not be computed is no reproach."""
        if value is None or value < self.care:
            return "good"
        return "care" if value < self.bad else "bad"


_TABLE = (
    (
        "shape", 0.1, 0.3,
        "Share of rows that would have to move for a column to match the held-out rows, beyond "
        "twice what training rows need. One in ten shows in a histogram; with one in three it is "
        "another column. The same for shares of missing values.",
    ),
    (
        "relation", 0.25, 0.5,
        "Distance of a rank correlation from the real ones, beyond the distance between training "
        "and held-out rows (0 to 2). At 0.5 a clear relation is gone or was invented.",
    ),
    (
        "outside", 0.002, 0.02,
        "Share of rows outside the range beyond the real share: outside a measuring range a sensor "
        "reports nothing. Two in a hundred would fail any plausibility check.",
    ),
    (
        "rising_rul", 0.001, 0.01,
        "Share of steps at which remaining useful life rises, beyond the real share: by definition "
        "it cannot.",
    ),
    (
        "r2_loss", 0.1, 0.3,
        "R2 lost by learning from synthetic instead of real rows: people change models for a tenth "
        "of the variance; with a third of it gone the answer is about another machine.",
    ),
    (
        "ap_loss", 0.25, 0.6,
        "Share of the average precision above chance that is lost. Failures are few, so it differs "
        "by a tenth or two between real samples; at 0.6 most failures go unnoticed.",
    ),
    (
        "copies", 0.001, 0.01,
        "Share of rows equal to a training row in seven digits of every column, beyond the share "
        "of held-out rows that are. Drawing anew does not hit so many digits.",
    ),
    (
        "near_copies", 0.05, 0.1,
        "Share of rows closer to a training row than all but 1 % of held-out rows: five and ten "
        "times as many as real rows have.",
    ),
    (
        "memory", 0.5, 0.6,
        "Share of rows, windows or lives nearer to training lives than to as many held-out ones "
        "(0.5: no memory, 1: nothing else): the lower end of its 99 % interval, so that it does "
        "not turn on which lives were drawn or held out.",
    ),
    (
        "detection", 0.9, 2.0,
        "AUC of a classifier between real and synthetic rows. It finds differences that no use may "
        "ever notice, so by itself it calls for care, never for more.",
    ),
)  # fmt: skip
THRESHOLDS = {
    name: Threshold(care=care, bad=bad, reason=reason) for name, care, bad, reason in _TABLE
}
TAIL_LEFT = 0.25
"""A tail with less than a quarter of the rows that it has in real tables is not there."""
TAIL_SWOLLEN = 4.0
"""One with four times as many is another column's."""
PREDICTABLE = 0.1
"""Where real rows reach less (R2; average precision above chance) nothing can be lost."""
MIN_LIVES, MIN_HELD_LIVES = 10, 3
"""With fewer lives, or fewer held out, a fault is not told from how one life differs from the next.

Nor is memory from chance: three of nine lives can be chosen in 84 ways, in one of which they lie
nearest by accident.
"""
RARE_CHANCE = 0.001
"""A category is missed where honest draws would lack it less often than this."""
COMMON_LEVEL = 0.05
"""Missing a category of this share is bad: one row in twenty has no counterpart."""
STRONG = 0.3
"""A rank correlation with remaining useful life from here on shows wear."""
HELPS = 0.01
"""A change of R2 or average precision below this is none."""
