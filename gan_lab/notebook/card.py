"""What one sees of a run, as words, HTML and an SVG curve: a function of the run's record alone.

Styles are written into the elements and the colours are of middle lightness: Jupyter cleans up the
rest in notebooks it does not trust, and themes differ.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from html import escape
from pathlib import Path
from statistics import median
from typing import NamedTuple

from gan_lab.loss_curve import as_image, loss_curve_svg
from gan_lab.schema import State, TaskStatus, utc_now
from gan_lab.settings import workspace_path
from gan_lab.store import StorePath
from gan_lab.task_states import TaskState, state_of
from gan_lab.workspace.loss_history import LossHistory
from gan_lab.workspace.run_folder import LOSSES, REPORT_HTML, RunFolder

FONT = "font-family:system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif"
NUMBERS = "font-variant-numeric:tabular-nums"
MUTED = "opacity:.65"
SMALL = "font-size:11px;line-height:16px"
BREAKS = "overflow-wrap:anywhere"  # of paths; an id in a table stays whole

TREND_EPOCHS = 10
FIGURES = {"samples_generated": "rows", "quality": "quality", "verdict": "verdict"}
WIDTH = 640  # pixels


class Shown(NamedTuple):
    """One moment of what is watched: `head`, bar (`share`, `colour`) and `body` of a live view, the
    whole as `html` for wherever there is no kernel, and as `text`."""

    head: str
    share: float
    colour: str
    body: str
    html: str
    text: str


@dataclass(frozen=True)
class Snapshot:
    """One moment of a run, read from its folder; `share` of the work is done, 0 to 1.

    `left_s`: seconds to go, by the pace of the last epochs, else by the pace so far; None where
    nobody knows. `facts`: names and figures worth a glance while it goes and after it.
    """

    run: RunFolder
    status: TaskStatus
    losses: Mapping[str, list[float]]
    state: TaskState
    share: float
    left_s: float | None
    facts: dict[str, str]


def look(run: RunFolder, losses: LossHistory | None = None) -> Snapshot:
    """Read a run's folder as it is now; of losses that were read before, only what is new."""
    losses = LossHistory(run) if losses is None else losses
    losses.update()
    status, last, known = run.status(), run.last_event(), losses.columns
    now = datetime.fromisoformat(last.timestamp) if last else None
    elapsed_s = (now - _began(run.path)).total_seconds() if now else 0.0
    elapsed_s = max(0.0, elapsed_s)  # clocks of two workers may differ by more
    share, left_s, facts = share_of(status), None, {}
    if not status.state.final and 0 < status.current < status.total:
        left_s = elapsed_s * (1 - share) / share
    if known["epoch"]:
        if left_s is not None:
            recent_s = median(known["seconds"][-2 * TREND_EPOCHS :])
            left_s = recent_s * (status.total - status.current)
        facts = {
            "epoch": f"{len(losses)} / {status.total}",
            "loss": number(known["loss"][-1]),
            "validation": number(known["validation"][-1]),
            "rows/s": number(median(known["rows_per_second"][-TREND_EPOCHS:])),
        }
    facts |= {"elapsed": clock(elapsed_s), "left": "" if left_s is None else clock(left_s)}
    facts = {name: figure for name, figure in facts.items() if figure}
    return Snapshot(run, status, known, state_of(status), share, left_s, facts)


@lru_cache(maxsize=1000)
def _began(path: Path) -> datetime:
    """When a run that has said something said its first word: read once."""
    return datetime.fromisoformat(RunFolder(path).events()[0].timestamp)


def show(shot: Snapshot) -> Shown:
    """Return a run as it is shown."""
    state, spec, status = shot.state, shot.run.spec, shot.status
    left, made, again = outcome(status), files(shot.run, status), f"lab.task('{shot.run.task_id}')"
    head = (
        f'<div style="{FONT};font-size:14px;line-height:22px;display:flex;gap:10px">'
        f"<b>{escape(spec.machine_id)}</b> <span>{spec.kind}</span> "
        f'<b style="color:{state.colour};{NUMBERS}">'
        f"{state.symbol} {state.word}{'' if status.state.final else f' {shot.share:.0%}'}</b></div>"
    )
    above = columns(shot.facts) + _message(shot)
    below = columns(left) + _failure(shot)
    if not status.state.final:  # a page may be older than what it shows
        moment = f"As of {utc_now()[:19].replace('T', ' ')} UTC; {again} shows it as it is now."
        below += note(moment)
    room = len(shot.losses["epoch"]) if status.state is State.SUCCESS else status.total
    svg = loss_curve_svg(spec.machine_id, shot.losses, room, WIDTH)
    full = round(24 * shot.share)
    lines = [
        f"{spec.machine_id} · {spec.kind} · {state.symbol} {state.word}",
        f"{'█' * full}{'░' * (24 - full)} {shot.share:4.0%}  {status.message}",
        *(joined(pairs) for pairs in (shot.facts, left) if pairs),
        *made.values(),
        again,
    ]
    opened = f'<div style="{BREAKS}">{links(made, "<br>")}</div>'
    full_bar = bar(shot.share, state.colour)
    return Shown(
        head=page(head),
        share=shot.share,
        colour=state.colour,
        body=page(above, svg, below),
        html=page(head, full_bar, above, as_image(svg), below, opened),
        text="\n".join(lines),
    )


# ---- words


def share_of(status: TaskStatus) -> float:
    """Return the progress from 0 to 1."""
    if status.state is State.SUCCESS or not status.total:
        return float(status.state is State.SUCCESS)
    return min(1.0, status.current / status.total)


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


def joined(pairs: Mapping[str, str]) -> str:
    """Return names and figures as one line."""
    return " · ".join(f"{name} {figure}" for name, figure in pairs.items())


def outcome(status: TaskStatus) -> dict[str, str]:
    """Return the figures a run has left."""
    result = status.result or {}
    found = {
        name: str(result[key]) if isinstance(result[key], str) else number(result[key])
        for key, name in FIGURES.items()
        if result.get(key) is not None
    }
    splits = result.get("file_statistics", {}).items()
    return found | {f"{name} rows": number(split["rows"]) for name, split in splits}


def files(run: RunFolder, status: TaskStatus) -> dict[str, str]:
    """Return what a run has left to open: names, and paths seen from here."""
    result = status.result or {}
    named = [result.get("file_path"), result.get("model_path")]
    paths = [workspace_path(path) for path in (*named, *result.get("files_generated", [])) if path]
    if status.state.final:
        paths += [path for name in (REPORT_HTML, LOSSES) if (path := run.path / name).exists()]
    return {path.name: here(path) for path in paths}


def here(path: Path, start: str | Path = ".") -> str:
    """Return a path relative to a folder, so that it works as a link there; of a store as it is."""
    stays = isinstance(path, StorePath) or not path.is_absolute()
    return str(path) if stays else os.path.relpath(path, start)


# ---- HTML


def page(*parts: str, width_px: int = WIDTH) -> str:
    """Return the parts of a view one below the other."""
    style = f"{FONT};font-size:13px;line-height:20px;{NUMBERS};max-width:{width_px}px"
    return f'<div style="{style}">{"".join(parts)}</div>'


def note(text: str) -> str:
    """Return a line in small letters."""
    return f'<div style="{MUTED};{SMALL}">{escape(text)}</div>'


def bar(share: float, colour: str, width: str = "100%", height: str = "8px") -> str:
    """Return a bar of progress."""
    size, full = f"height:{height};width:{width}", f"height:{height};width:{100 * share:.1f}%"
    return (
        f'<div style="background-color:rgba(128,128,128,.25);margin:4px 0px;{size}">'
        f'<div style="background-color:{colour};{full}"></div></div>'
    )


def columns(pairs: Mapping[str, str]) -> str:
    """Return figures under their names; each keeps its place while it changes."""
    cells = [
        f'<div style="min-width:92px"><div style="{MUTED};{SMALL}">{escape(name)}</div>'
        f"<b>{escape(figure)}</b></div>"
        for name, figure in pairs.items()
    ]
    layout = "display:flex;flex-wrap:wrap;gap:0px 14px;margin:2px 0px"
    return f'<div style="{layout}">{"".join(cells)}</div>' if cells else ""


def links(named: Mapping[str, str], between: str = " ") -> str:
    """Return links to files; with their whole paths where they stand on lines of their own."""
    return between.join(
        f'<a href="{escape(path)}">{escape(name if between == " " else path)}</a>'
        for name, path in named.items()
    )


def _message(shot: Snapshot) -> str:
    status = shot.status
    if status.state is State.SUCCESS and 0 < len(shot.losses["epoch"]) < status.total:
        message = "Ended before its last epoch: held-out lives were no longer learned better."
    elif status.message.startswith("Epoch") or status.state in (State.SUCCESS, State.FAILURE):
        return ""
    else:
        message = status.message
    said = message.lower() == shot.state.word
    return "" if said else f'<div style="{MUTED}">{escape(message)}</div>'


def _failure(shot: Snapshot) -> str:
    error = shot.run.error_data()
    if shot.status.state is not State.FAILURE or error is None:
        return ""
    sentence = f'<div style="margin:4px 0px;{BREAKS}"><b>{escape(error["message"])}</b></div>'
    if not error.get("traceback"):
        return sentence
    return (
        f'{sentence}<details><summary style="{MUTED}">Traceback</summary>'
        f'<pre style="font-size:11px;line-height:15px;overflow-x:auto">'
        f"{escape(error['traceback'])}</pre></details>"
    )
