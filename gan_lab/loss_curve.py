"""The loss curve: one drawing for notebooks, reports and the monitor page.

It is SVG as text and needs no library, so that a live view redraws it each second. Training and
validation differ in line style too, for readers who do not see their colours.
"""

from __future__ import annotations

import base64
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from gan_lab.task_states import BLUE, GREEN, GREY, VERMILION, VIOLET

TRAINING, VALIDATION = BLUE, VERMILION
COLOURS = (BLUE, VERMILION, GREEN, VIOLET, GREY)  # of several trainings
DASHES = {"loss": "none", "validation": "5 3"}
MAX_POINTS = 400  # of a line; the newest is always among them

Losses = Mapping[str, Sequence[float | None]]
"""The columns `epoch`, `loss` and `validation` of a training's history; None or NaN: unknown."""


def loss_curve_svg(
    trainings: Mapping[str, Losses],
    epochs: int = 0,
    width: int = 640,
    height: int = 150,
) -> str:
    """Return the losses by epoch (nats per row) as an SVG element; empty before a second epoch.

    One training has a blue and a dashed vermilion line; several have a colour each, under their
    names. `epochs` are those to leave room for.
    """
    trainings = {name: losses for name, losses in trainings.items() if len(losses["epoch"]) > 1}
    if not trainings:
        return ""
    low, high = loss_range(trainings.values())
    last = max(epochs, *(int(losses["epoch"][-1] or 0) for losses in trainings.values()))
    top, floor = 20, height - 18
    across, down = (width - 8) / max(1, last - 1), (floor - top) / (high - low)

    def line(losses: Losses, column: str, colour: str) -> str:
        known = list(_known(losses, column))
        thinned = known[:: -max(1, -(-len(known) // MAX_POINTS))]
        points = " ".join(
            f"{4 + (epoch - 1) * across:.1f},{top + (high - min(loss, high)) * down:.1f}"
            for epoch, loss in thinned
        )
        return (
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2" '
            f'stroke-linejoin="round" stroke-dasharray="{DASHES[column]}"/>'
        )

    lines, legend = [], []
    for at, (name, losses) in enumerate(trainings.items()):
        colour = COLOURS[at % len(COLOURS)]
        dashed = colour if len(trainings) > 1 else VALIDATION
        legend.append((colour, name if len(trainings) > 1 else "training"))
        lines.append(line(losses, "loss", colour))
        if any(_known(losses, "validation")):
            lines.append(line(losses, "validation", dashed))
            legend += [(dashed, "validation")] if len(trainings) == 1 else []
    lines.append(f'<path d="M0 {floor + 3.5}H{width}" stroke="{GREY}" stroke-opacity=".4"/>')
    lines += _words(legend, f"loss per row (nats), {low:.4g} to {high:.4g}", last, width, height)
    label = escape(" ".join(itertools.starmap(loss_sentence, trainings.items())))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}" '
        f'viewBox="0 0 {width} {height}" width="100%" style="display:block;max-width:{width}px">'
        f"{''.join(lines)}</svg>"
    )


def as_image(svg: str) -> str:
    """Return the curve as an `<img>`, which Jupyter keeps in notebooks it does not trust."""
    if not svg:
        return ""
    label = svg.split('aria-label="')[1].split('"')[0]
    data = base64.b64encode(svg.encode()).decode()
    return f'<img alt="{label}" style="width:100%" src="data:image/svg+xml;base64,{data}">'


def _words(
    legend: list[tuple[str, str]], scale: str, last: int, width: int, height: int
) -> list[str]:
    """The names of the lines and the range above them, the first and last epoch below."""
    named = "".join(f'<tspan fill="{c}">━ {escape(name)}  </tspan>' for c, name in legend)
    style = f'fill="{GREY}" font-family="system-ui,sans-serif" font-size="11"'
    end = f'x="{width - 4}" text-anchor="end"'
    return [
        f'<text x="4" y="12" {style} xml:space="preserve">{named}</text>',
        f'<text {end} y="12" {style}>{scale}</text>',
        f'<text x="4" y="{height - 3}" {style}>epoch 1</text>',
        f'<text {end} y="{height - 3}" {style}>{last}</text>',
    ]


def loss_range(tables: Iterable[Losses]) -> tuple[float, float]:
    """Return the range worth seeing: without the first steep epochs, or a validation loss that has
    run away."""
    training: list[float] = []
    validation: list[float] = []
    for losses in tables:
        first = len(losses["epoch"]) // 50
        training += [loss for epoch, loss in _known(losses, "loss") if epoch > first]
        validation += [loss for epoch, loss in _known(losses, "validation") if epoch > first]
    low, top = min(training + validation, default=0.0), max(training, default=0.0)
    high = min(max(training + validation, default=0.0), 2 * top - low)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def loss_sentence(name: str, losses: Losses) -> str:
    """Return what the curve shows: first and last loss, and the best validation loss."""
    known = list(_known(losses, "loss"))
    if not known:
        return f"{name}: no epoch yet."
    text = f"{name}: loss {known[0][1]:.4g} to {known[-1][1]:.4g} over {len(known)} epochs"
    best = min(_known(losses, "validation"), key=lambda each: each[1], default=None)
    return f"{text}, best validation {best[1]:.4g} at epoch {best[0]:.0f}." if best else f"{text}."


def _known(losses: Losses, column: str) -> Iterable[tuple[float, float]]:
    """Epochs and losses, where they are finite."""
    for epoch, loss in zip(losses["epoch"], losses[column], strict=True):
        if epoch is not None and loss is not None and math.isfinite(loss):
            yield epoch, loss
