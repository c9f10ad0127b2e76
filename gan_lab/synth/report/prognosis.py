"""How well the model says how long lives that it has never seen will last, at several ages."""

from __future__ import annotations

from gan_lab.schema import Message
from gan_lab.synth.report.compared_tables import Figure


class Fan(Message):
    """One life: what was believed of its remaining life at each age, and the age at its end."""

    life: str
    age: list[float]
    median: list[float]
    low: list[float]
    high: list[float]
    end: float


class HeldOutPrognosis(Message):
    """What answers for held-out lives were worth: mean error of the median in `unit`, share that
    the 90 % intervals `held`; `late`: in the last third of life."""

    unit: str
    lives: int
    error: Figure
    held: Figure
    late_error: Figure
    late_held: Figure
    fans: list[Fan]
