"""A finding: one sentence of the verdict. And how names, shares and figures are put into words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pydantic import Field

from gan_lab.schema import Message
from gan_lab.synth.report.thresholds import AGAINST, THRESHOLDS, Level


class Finding(Message):
    """One sentence of the verdict, the columns it is about, the figure held to a threshold."""

    level: Level
    kind: str
    text: str
    columns: list[str] = Field(default_factory=list)
    value: float | None = None


def by_level(kind: str, excess: Mapping[str, float]) -> Iterator[tuple[Level, list[str]]]:
    """Yield each level that is held against rows with its columns, the worst first."""
    worst_first = sorted(excess, key=lambda name: -excess[name])
    for level in AGAINST:
        names = [name for name in worst_first if THRESHOLDS[kind].level(excess[name]) == level]
        if names:
            yield level, names


def of_first(names: list[str]) -> str:
    """Say which of several columns a figure is of."""
    return f" of {names[0]}" if len(names) > 1 else ""


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


def amount(value: float, digits: int = 4) -> str:
    """Return a number with the digits that count, a large one never as a power of ten."""
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 10 ** (digits - 1) else f"{rounded:g}"


def count(number: int, word: str = "life", many: str = "lives") -> str:
    """Return a number of things."""
    return f"{number:,} {word if number == 1 else many}"
