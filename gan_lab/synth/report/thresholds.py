"""From where on a figure calls for care, and from where on it is bad: each with its reason.

They follow from what a figure means and from what two samples of real rows do to each other; none
was tuned on an example.
"""

from __future__ import annotations

from typing import Literal

from gan_lab.schema import Message

Level = Literal["bad", "care", "good", "note"]
LEVELS: tuple[Level, ...] = ("bad", "care", "good", "note")


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


THRESHOLDS = {
    "shape": Threshold(
        care=0.1,
        bad=0.3,
        reason="Share of rows that would have to move for a column to match the held-out rows, "
        "beyond twice what training rows need. One in ten shows in a histogram; with one in "
        "three it is another column. The same for shares of missing values.",
    ),
    "relation": Threshold(
        care=0.25,
        bad=0.5,
        reason="Distance of a rank correlation from the real ones, beyond the distance between "
        "training and held-out rows (0 to 2). At 0.5 a clear relation is gone or was invented.",
    ),
    "unit": Threshold(
        care=9.0,
        bad=9.0,
        reason="Typical size against the real one, as a factor: ten or more is a matter of units.",
    ),
    "outside": Threshold(
        care=0.002,
        bad=0.02,
        reason="Share of rows outside the range beyond the real share: outside a measuring range "
        "a sensor reports nothing. Two in a hundred would fail any plausibility check.",
    ),
    "steps": Threshold(
        care=0.01,
        bad=0.1,
        reason="Share of changes faster than all but 0.1 % of real ones, beyond the real share: "
        "ten and a hundred times as many as there should be.",
    ),
    "rising_rul": Threshold(
        care=0.001,
        bad=0.01,
        reason="Share of steps at which remaining useful life rises, beyond the real share: by "
        "definition it cannot.",
    ),
    "r2_loss": Threshold(
        care=0.1,
        bad=0.3,
        reason="R2 lost by learning from synthetic instead of real rows: people change models for "
        "a tenth of the variance; with a third of it gone the answer is about another machine.",
    ),
    "ap_loss": Threshold(
        care=0.25,
        bad=0.6,
        reason="Share of the average precision above chance that is lost. Failures are few, so it "
        "differs by a tenth or two between real samples; at 0.6 most failures go unnoticed.",
    ),
    "acf": Threshold(
        care=0.1,
        bad=0.3,
        reason="Mean error of the autocorrelation (0 to 1) beyond that of training lives: at 0.3 a "
        "smooth course has become noise, or noise a smooth course.",
    ),
    "copies": Threshold(
        care=0.001,
        bad=0.01,
        reason="Share of rows equal to a training row in seven digits of every column, beyond the "
        "share of held-out rows that are. Drawing anew does not hit so many digits.",
    ),
    "near_copies": Threshold(
        care=0.05,
        bad=0.1,
        reason="Share of rows closer to a training row than all but 1 % of held-out rows: five and "
        "ten times as many as real rows have.",
    ),
    "memory": Threshold(
        care=0.6,
        bad=0.7,
        reason="Share of rows, windows or lives nearer to training lives than to as many held-out "
        "ones (0.5: no memory, 1: nothing else), counted where chance does as much in less than "
        "1 % of cases.",
    ),
    "adversarial": Threshold(
        care=0.1,
        bad=0.2,
        reason="Nearest-neighbour adversarial accuracy against held-out rows less that against "
        "training rows: how much closer the model is to what it has seen (Yale et al. 2020).",
    ),
    "detection": Threshold(
        care=0.9,
        bad=2.0,
        reason="AUC of a classifier between real and synthetic rows. It finds differences that no "
        "use may ever notice, so by itself it calls for care, never for more.",
    ),
}
TAIL_LEFT = 0.25
"""A tail with less than a quarter of the rows that it has in real tables is not there."""
TAIL_SWOLLEN = 4.0
"""One with four times as many is another column's."""
PREDICTABLE = 0.1
"""Where real rows reach less (R2; average precision above chance) nothing can be lost."""
BY_CHANCE = 0.01
"""Memory counts where lives dealt out at random show as much less often than this."""
FEWEST_LIVES = 3
"""With fewer lives held out (or seen) a fault is not told from how one life differs from the next.

Nor is memory from chance where lives can be dealt out in fewer ways than `BY_CHANCE` asks for."""
HINT = 0.05
"""Memory is named, not held against the rows, where chance does as much less often than this."""
RARE_CHANCE = 0.001
"""A category is missed where honest draws would lack it less often than this."""
COMMON_LEVEL = 0.05
"""Missing a category of this share is bad: one row in twenty has no counterpart."""
STRONG = 0.3
"""A rank correlation with remaining useful life from here on shows wear."""
HELPS = 0.01
"""A change of R2 or average precision below this is none."""
