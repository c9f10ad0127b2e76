"""The loss curve: one drawing for notebooks and the monitor page.

It is SVG as text and needs no library, so that a live view redraws it each second. Training and
validation differ in line style too, for readers who do not see their colours.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from html import escape

from gan_lab.task_states import BLUE, GREY, VERMILION

TRAINING, VALIDATION = BLUE, VERMILION
LINES = (("loss", "training", TRAINING, "none"), ("validation", "validation", VALIDATION, "5 3"))
MAX_POINTS = 400  # of a line; the newest is always among them
HEIGHT = 150

Losses = Mapping[str, Sequence[float | None]]
"""The columns `epoch`, `loss` and `validation` of a training's history; None or NaN: unknown."""


def loss_curve_svg(name: str, losses: Losses, epochs: int = 0, width: int = 640) -> str:
    """Return the losses by epoch (nats per row) as an SVG element; empty before a second epoch.

    `epochs` are those to leave room for.
    """
    if len(losses["epoch"]) < 2:
        return ""
    low, high = loss_range(losses)
    last, top, floor = max(epochs, int(losses["epoch"][-1] or 0)), 20, HEIGHT - 18
    across, down = (width - 8) / max(1, last - 1), (floor - top) / (high - low)
    parts, legend = [], ""
    for column, word, colour, dashes in LINES:
        known = _known(losses, column)
        if not known:
            continue
        points = " ".join(
            f"{4 + (epoch - 1) * across:.1f},{top + (high - min(loss, high)) * down:.1f}"
            for epoch, loss in known[:: -max(1, -(-len(known) // MAX_POINTS))]
        )
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2" '
            f'stroke-linejoin="round" stroke-dasharray="{dashes}"/>'
        )
        legend += f'<tspan fill="{colour}">━ {word}  </tspan>'
    style = f'fill="{GREY}" font-family="system-ui,sans-serif" font-size="11"'
    end, label = f'x="{width - 4}" text-anchor="end"', escape(loss_sentence(name, losses))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}" '
        f'viewBox="0 0 {width} {HEIGHT}" width="100%" style="display:block;max-width:{width}px">'
        f'{"".join(parts)}<path d="M0 {floor + 3.5}H{width}" stroke="{GREY}" stroke-opacity=".4"/>'
        f'<text x="4" y="12" {style} xml:space="preserve">{legend}</text>'
        f'<text {end} y="12" {style}>loss per row (nats), {low:.4g} to {high:.4g}</text>'
        f'<text x="4" y="{HEIGHT - 3}" {style}>epoch 1</text>'
        f'<text {end} y="{HEIGHT - 3}" {style}>{last}</text></svg>'
    )


def as_image(svg: str) -> str:
    """Return the curve as an `<img>`, which Jupyter keeps in notebooks it does not trust."""
    if not svg:
        return ""
    label = svg.split('aria-label="')[1].split('"')[0]
    data = base64.b64encode(svg.encode()).decode()
    return f'<img alt="{label}" style="width:100%" src="data:image/svg+xml;base64,{data}">'


def loss_range(losses: Losses) -> tuple[float, float]:
    """Return the range worth seeing: without the first steep epochs, or a validation loss that has
    run away."""
    first = len(losses["epoch"]) // 50
    training, validation = (
        [loss for epoch, loss in _known(losses, column) if epoch > first]
        for column in ("loss", "validation")
    )
    low, top = min(training + validation, default=0.0), max(training, default=0.0)
    high = min(max(training + validation, default=0.0), 2 * top - low)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def loss_sentence(name: str, losses: Losses) -> str:
    """Return what the curve shows: first and last loss, and the best validation loss."""
    known, validation = _known(losses, "loss"), _known(losses, "validation")
    if not known:
        return f"{name}: no epoch yet."
    text = f"{name}: loss {known[0][1]:.4g} to {known[-1][1]:.4g} over {len(known)} epochs"
    best = min(validation, key=lambda each: each[1], default=None)
    return f"{text}, best validation {best[1]:.4g} at epoch {best[0]:.0f}." if best else f"{text}."


def _known(losses: Losses, column: str) -> list[tuple[float, float]]:
    """Epochs and losses, where they are finite."""
    return [
        (epoch, loss)
        for epoch, loss in zip(losses["epoch"], losses[column], strict=True)
        if epoch is not None and loss is not None and math.isfinite(loss)
    ]
