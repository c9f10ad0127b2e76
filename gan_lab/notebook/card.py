"""What one sees of a run, as words, HTML and an SVG curve: a function of the run's record alone.

Live widgets, saved notebooks and pages made of them all show these same strings, so that a view
that was rebuilt a day later is identical. Styles are written into the elements and the colours are
of middle lightness: Jupyter cleans up the rest in notebooks it does not trust, and themes differ.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from html import escape
from math import isnan
from pathlib import Path
from statistics import fmean, median
from typing import Any

from gan_lab.runs import RunFolder
from gan_lab.schema import State, TaskStatus

# Okabe and Ito's blue, vermilion and green: told apart by colour-blind readers, and each at least
# 3 : 1 against white and against JupyterLab's dark #111.
TRAINING, VALIDATION, GOOD, QUIET = "#0f7fc4", "#d55e00", "#009e73", "#7d7d7d"
FONT = "font-family:system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif"
NUMBERS = "font-variant-numeric:tabular-nums"
MUTED = "opacity:.65"
TRACK = "rgba(128,128,128,.25)"

WORDS = {
    State.PENDING: ("○", "waiting", QUIET),
    State.RUNNING: ("●", "running", TRAINING),
    State.RETRY: ("●", "running again", TRAINING),
    State.SUCCESS: ("✓", "done", GOOD),
    State.FAILURE: ("✕", "failed", VALIDATION),
    State.REVOKED: ("■", "cancelled", QUIET),
    State.UNKNOWN: ("?", "unknown", QUIET),
}
CANCELLING = ("●", "cancelling", QUIET)
TREND_EPOCHS = 10
FILES = ("file", "files")
CURVE_WIDTH, CURVE_HEIGHT, CURVE_POINTS = 640, 120, 400


@dataclass(frozen=True)
class Snapshot:
    """One moment of a run, read from its folder."""

    run: RunFolder
    status: TaskStatus
    losses: dict[str, list[float]]
    elapsed_s: float
    seq: int

    @cached_property
    def word(self) -> tuple[str, str, str]:
        """Sign, word and colour of the state: never told by colour alone."""
        return CANCELLING if self.status.metadata["cancelling"] else WORDS[self.status.state]

    @property
    def share(self) -> float:
        """Progress from 0 to 1."""
        status = self.status
        if status.state is State.SUCCESS or not status.total:
            return float(status.state is State.SUCCESS)
        return min(1.0, status.current / status.total)

    @property
    def epochs(self) -> int:
        """How many epochs are recorded."""
        return len(self.losses["epoch"])

    @property
    def left_s(self) -> float | None:
        """Seconds to go, by the pace of the last epochs, else by the pace so far."""
        status = self.status
        if status.state.final or not 0 < status.current < status.total:
            return None
        if self.epochs:
            recent = median(self.losses["seconds"][-2 * TREND_EPOCHS :])
            return recent * (status.total - status.current)
        return self.elapsed_s * (1 - self.share) / self.share

    @property
    def trend(self) -> str:
        """Where the loss goes: the mean of the last epochs against as many before them."""
        last = self.losses["loss"][-2 * TREND_EPOCHS :]
        if len(last) < 4:
            return ""
        before, after = fmean(last[: len(last) // 2]), fmean(last[len(last) // 2 :])
        if abs(after - before) < 0.002 * max(abs(before), 1e-9):
            return "→"
        return "↓" if after < before else "↑"


def look(run: RunFolder) -> Snapshot:
    """Read a run's folder as it is now."""
    status, last = run.status(), run.last_event()
    elapsed_s = _seconds(_began(run.path), last.timestamp) if last else 0.0
    losses = {str(name): values.tolist() for name, values in run.losses().items()}
    return Snapshot(run, status, losses, elapsed_s, last.seq if last else 0)


@lru_cache(maxsize=1000)
def _began(path: Path) -> str:
    """When a run that has said something said its first word: read once."""
    return RunFolder(path).events()[0].timestamp


def _seconds(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


# ---- words


def clock(seconds: float) -> str:
    """Return a duration as people write it: 0:42, 12:05, 1:02:03."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def number(value: float | None) -> str:
    """Return a figure with as many digits as help."""
    if value is None or value != value:
        return ""
    text = f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    return text.replace(",", "\u202f").replace("-", "\u2212")


def facts(shot: Snapshot) -> list[tuple[str, str]]:
    """Return what is worth a glance while a run goes and after it, as (name, figure)."""
    status, found = shot.status, []
    if shot.epochs:
        pace = median(shot.losses["rows_per_second"][-TREND_EPOCHS:])
        found += [
            ("epoch", f"{shot.epochs} / {status.total}"),
            ("loss", f"{number(shot.losses['loss'][-1])} {shot.trend}".strip()),
            ("validation", number(shot.losses["validation"][-1])),
            ("rows/s", number(pace)),
        ]
    found.append(("elapsed", clock(shot.elapsed_s)))
    if shot.left_s is not None:
        found.append(("left", clock(shot.left_s)))
    return [(name, figure) for name, figure in found if figure]


def outcome(shot: Snapshot) -> list[tuple[str, str]]:
    """Return what a run has left, as (name, text): figures first, then where the files are."""
    result = shot.status.result or {}
    names = {
        "samples_generated": "rows",
        "final_loss": "final loss",
        "quality": "quality",
        "verdict": "verdict",
    }
    found = [(names[key], _figure(result[key])) for key in names if result.get(key) is not None]
    rows = [
        f"{n} {s['rows']:,}" for n, s in result.get("file_statistics", {}).items() if "rows" in s
    ]
    if rows:
        found.append(("rows", ", ".join(rows)))
    return found + [("files" if len(files(shot)) > 1 else "file", ", ".join(files(shot)))] * bool(
        files(shot)
    )


def _figure(value: Any) -> str:
    return number(value) if isinstance(value, int | float) else str(value)


def files(shot: Snapshot) -> list[str]:
    """Return the paths a run's result names, seen from here."""
    result = shot.status.result or {}
    named = [result.get(key) for key in ("file_path", "model_path", "report_path")]
    made = result.get("files_generated") or []
    return [here(str(path)) for path in [*named, *made] if path]


def here(path: str) -> str:
    """Return a path relative to the present folder, so that it works as a link in a notebook."""
    return os.path.relpath(path) if Path(path).is_absolute() else path


def text(shot: Snapshot) -> str:
    """Return the view as plain lines."""
    spec, (sign, word, _) = shot.run.spec, shot.word
    bar = "█" * round(24 * shot.share) + "░" * (24 - round(24 * shot.share))
    lines = [
        f"{spec.machine_id} · {spec.kind} · {sign} {word}",
        f"{bar} {shot.share:4.0%}  {shot.status.message}",
        " · ".join(f"{name} {figure}" for name, figure in facts(shot)),
        *(f"{name}: {value}" for name, value in outcome(shot)),
    ]
    return "\n".join([*lines, f"lab.task('{shot.run.task_id}')"])


# ---- HTML


def head(shot: Snapshot) -> str:
    """Return the title line: machine, kind, state and share."""
    spec, (sign, word, colour) = shot.run.spec, shot.word
    share = "" if shot.status.state.final else f" {shot.share:.0%}"
    return (
        f'<div style="{FONT};font-size:14px;line-height:22px;display:flex;gap:10px">'
        f"<b>{escape(spec.machine_id)}</b> <span>{spec.kind}</span> "
        f'<b style="color:{colour};{NUMBERS}">{sign} {word}{share}</b></div>'
    )


def bar(shot: Snapshot) -> str:
    """Return the bar of a view that is not live."""
    return (
        f'<div style="background-color:{TRACK};height:8px;margin:4px 0px">'
        f'<div style="background-color:{shot.word[2]};height:8px;width:{100 * shot.share:.1f}%">'
        "</div></div>"
    )


def body(shot: Snapshot, inline: bool = False) -> str:
    """Return what stands under the bar: figures, curve, result or failure.

    `inline` draws the curve into the page instead of as an image: no flicker when it is redrawn.
    """
    parts = [_pairs(facts(shot)), _message(shot)]
    if shot.epochs > 1:
        parts.append(_legend(shot) + curve(shot, inline))
    parts += [_pairs(outcome(shot)), _failure(shot)]
    return (
        f'<div style="{FONT};font-size:13px;line-height:20px;{NUMBERS};max-width:{CURVE_WIDTH}px">'
        f"{''.join(parts)}</div>"
    )


def html(shot: Snapshot) -> str:
    """Return the whole view for wherever there is no live kernel."""
    return f'<div style="max-width:{CURVE_WIDTH}px">{head(shot)}{bar(shot)}{body(shot)}</div>'


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    cells = [
        f'<span style="{"overflow-wrap:anywhere" if name in FILES else "white-space:nowrap"}">'
        f'<span style="{MUTED}">{escape(name)}</span> '
        f"{_links(value) if name in FILES else f'<b>{escape(value)}</b>'}</span>"
        for name, value in pairs
    ]
    if not cells:
        return ""
    return f'<div style="display:flex;flex-wrap:wrap;gap:0px 18px">{" ".join(cells)}</div>'


def _links(value: str) -> str:
    return ", ".join(f'<a href="{escape(path)}">{escape(path)}</a>' for path in value.split(", "))


def _message(shot: Snapshot) -> str:
    status = shot.status
    told = status.metadata["stage"] == "training" or status.state in (State.SUCCESS, State.FAILURE)
    return "" if told else f'<div style="{MUTED}">{escape(status.message)}</div>'


def _failure(shot: Snapshot) -> str:
    error = shot.run.error_data()
    if shot.status.state is not State.FAILURE or error is None:
        return ""
    sentence = f'<div style="margin:4px 0px"><b>{escape(error["message"])}</b></div>'
    if not error.get("traceback"):
        return sentence
    return (
        f'{sentence}<details><summary style="{MUTED}">Traceback</summary>'
        f'<pre style="font-size:11px;line-height:15px;overflow-x:auto">'
        f"{escape(error['traceback'])}</pre></details>"
    )


# ---- the curve


def _legend(shot: Snapshot) -> str:
    lines = [("training", TRAINING, "loss")]
    if not all(map(isnan, shot.losses["validation"])):
        lines.append(("validation", VALIDATION, "validation"))
    spans = [
        f'<span style="color:{colour}"><b>{"━" if name == "loss" else "╌"}</b> {word}</span>'
        for word, colour, name in lines
    ]
    low, high = _range(shot.losses)
    return (
        '<div style="display:flex;gap:14px;font-size:11px;line-height:16px;margin-top:6px">'
        f'{" ".join(spans)} <span style="{MUTED}">loss per row (nats), '
        f"{number(low)} to {number(high)}</span></div>"
    )


def _range(losses: dict[str, list[float]]) -> tuple[float, float]:
    """The range worth seeing: the first epochs of a training may lie far above all others."""
    first = len(losses["loss"]) // 50
    lines = (losses["loss"], losses["validation"])
    low = min(value for line in lines for value in line if not isnan(value))
    high = max(value for line in lines for value in line[first:] if not isnan(value))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def curve(shot: Snapshot, inline: bool = False) -> str:
    """Return the loss curve over all epochs asked for, as an SVG element or as an image of it."""
    low, high = _range(shot.losses)
    epochs = max(shot.status.total, int(shot.losses["epoch"][-1]), 2)
    across, down = (CURVE_WIDTH - 8) / (epochs - 1), (CURVE_HEIGHT - 12) / (high - low)

    def points(name: str) -> str:
        pairs = list(zip(shot.losses["epoch"], shot.losses[name], strict=True))
        some = pairs[:: -max(1, len(pairs) // CURVE_POINTS)]  # the newest is always among them
        return " ".join(
            f"{(epoch - 1) * across + 4:.1f},{(high - min(value, high)) * down + 5:.1f}"
            for epoch, value in some
            if not isnan(value)
        )

    lines = [
        f'<polyline points="{points(name)}" fill="none" stroke="{colour}" stroke-width="2" '
        f'stroke-linejoin="round"{dash}/>'
        for name, colour, dash in (
            ("loss", TRAINING, ""),
            ("validation", VALIDATION, ' stroke-dasharray="5 3"'),
        )
    ]
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="100%" height="{CURVE_HEIGHT}" '
        f'viewBox="0 0 {CURVE_WIDTH} {CURVE_HEIGHT}" preserveAspectRatio="none">'
        f'<path d="M0 {CURVE_HEIGHT - 1}H{CURVE_WIDTH}M0 .5H{CURVE_WIDTH}" stroke="{QUIET}" '
        f'stroke-opacity=".4"/>{"".join(lines)}</svg>'
    )
    if inline:
        return svg
    data = base64.b64encode(svg.encode()).decode()
    return (
        f'<img alt="Loss over {epochs} epochs" width="{CURVE_WIDTH}" height="{CURVE_HEIGHT}" '
        f'style="width:100%;max-width:{CURVE_WIDTH}px;display:block" '
        f'src="data:image/svg+xml;base64,{data}">'
    )
