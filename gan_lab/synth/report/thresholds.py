"""From where on a figure calls for care, and from where on it is bad: each with its reason.

They follow from what a figure means and from what two samples of real rows do to each other; none
was tuned on an example.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Level = Literal["bad", "care", "good", "note"]
LEVELS: tuple[Level, ...] = ("bad", "care", "good", "note")
AGAINST: tuple[Level, ...] = ("bad", "care")


class Threshold(NamedTuple):
    """Where care begins and where bad does."""

    care: float
    bad: float

    def level(self, value: float | None) -> Level:
        """Return the level of a value; one that could not be computed is no reproach."""
        if value is None or value < self.care:
            return "good"
        return "care" if value < self.bad else "bad"


THRESHOLDS = {
    # Share of rows that would have to move for a column to match the held-out rows, beyond twice
    # what training rows need, or of values that are missing: one in ten shows in a histogram, with
    # one in three it is another column.
    "shape": Threshold(0.1, 0.3),
    # Distance of a rank correlation from the real ones, beyond that between training and held-out
    # rows (0 to 2): at 0.5 a clear relation is gone or was invented.
    "relation": Threshold(0.25, 0.5),
    # Share of rows outside the range beyond the real share: a sensor reports nothing there. Two in
    # a hundred would fail any plausibility check.
    "outside": Threshold(0.002, 0.02),
    # Share of steps at which remaining useful life rises, which it cannot, beyond the real share.
    "rising_rul": Threshold(0.001, 0.01),
    # R2 lost by learning from synthetic instead of real rows: people change models for a tenth of
    # the variance; with a third of it gone the answer is about another machine.
    "r2_loss": Threshold(0.1, 0.3),
    # Share of the average precision above chance that is lost: failures are few, so it differs by a
    # tenth or two between real samples; at 0.6 most failures go unnoticed.
    "ap_loss": Threshold(0.25, 0.6),
    # Share of rows equal to a training row in seven digits of every column, beyond that of held-out
    # rows: drawing anew does not hit so many digits.
    "copies": Threshold(0.001, 0.01),
    # Share of rows closer to a training row than all but 1 % of held-out rows: five and ten times
    # as many as real rows have.
    "near_copies": Threshold(0.05, 0.1),
    # Share of rows, windows or lives nearer to training lives than to as many held-out ones (0.5:
    # no memory, 1: nothing else): the lower end of its 99 % interval, so that it does not turn on
    # which lives were drawn or held out.
    "memory": Threshold(0.5, 0.6),
    # AUC of a classifier between real and synthetic rows: it finds what no use may ever notice, so
    # that it calls for care, never for more.
    "detection": Threshold(0.9, float("inf")),
}
TAIL_LEFT, TAIL_SWOLLEN = 0.25, 4.0
"""A tail with less than a quarter of its real rows is not there, one with four times as many is
another column's."""
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
