"""One sentence of a verdict, and the words that such sentences are made of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from pydantic import Field

from gan_lab.schema import Message
from gan_lab.synth.report.thresholds import THRESHOLDS, Level


class Finding(Message):
    """One sentence of the verdict, the columns it is about, the figure held to a threshold."""

    level: Level
    kind: str
    text: str
    columns: list[str] = Field(default_factory=list)
    value: float | None = None


def listed(names: Iterable[str], most: int = 4) -> str:
    """Return names as one says them: a, b and c; what goes beyond `most` is counted."""
    names = list(names)
    if len(names) > most:
        names = [*names[: most - 1], f"{len(names) - most + 1} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def percent(share: float | None) -> str:
    """Return a share in per cent, with two digits that count."""
    points = 100 * (share or 0.0)
    return f"{points:.0f} %" if points >= 9.95 or points == 0 else f"{points:.2g} %"


def finding(
    level: Level, kind: str, text: str, columns: Iterable[str] = (), value: float | None = None
) -> Finding:
    """Return a finding."""
    return Finding(level=level, kind=kind, text=text, columns=list(columns), value=value)


def beyond(
    kind: str, value: float | None, text: str, columns: Iterable[str] = (), limit: str = ""
) -> Iterator[Finding]:
    """Yield a finding where the figure is beyond the threshold of its kind (or another `limit`)."""
    level = THRESHOLDS[limit or kind].level(value)
    if level != "good":
        yield finding(level, kind, text, columns, value)


def columns_beyond(
    kind: str, excess: dict[str, float], text: Callable[[list[str], str], str]
) -> Iterator[Finding]:
    """Yield a finding for the columns of each level; `text` is told them and the worst of them."""
    by_level: dict[str, list[str]] = defaultdict(list)
    for name in sorted(excess, key=lambda name: -excess[name]):
        by_level[THRESHOLDS[kind].level(excess[name])].append(name)
    for level in ("bad", "care"):
        if names := by_level[level]:
            worst = excess[names[0]]
            yield from beyond(kind, worst, text(names, names[0]), names)


def verb(names: list[str], one: str, many: str) -> str:
    """Return the form that goes with so many names."""
    return one if len(names) == 1 else many
