"""Many runs, or a whole fleet, as one table: a function of their records."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from gan_lab.notebook.card import (
    MUTED,
    SMALL,
    Shown,
    bar,
    files,
    joined,
    links,
    number,
    outcome,
    page,
    share_of,
)
from gan_lab.schema import State
from gan_lab.task_states import GREY, TASK_STATES, TaskState, state_of
from gan_lab.workspace.run_folder import RunFolder

WIDE = 960
ROWS_SHOWN = 500
FIGURE = re.compile(r"[\d.,:\u2212\u202f]*")


@dataclass(frozen=True)
class Line:
    """One row of the table; `files`: names and paths to open."""

    machine_id: str
    kind: str
    state: TaskState
    share: float
    epoch: int | None
    loss: float | None
    message: str
    files: dict[str, str]
    run: str = ""
    time: str = ""


def run_line(run: RunFolder) -> Line:
    """Read one run's row from its folder."""
    status = run.status()
    epoch, loss, stage = (status.metadata[name] for name in ("epoch", "loss", "stage"))
    if status.state is State.SUCCESS and status.result:
        epoch = status.result.get("epochs_completed", epoch)
        loss = status.result.get("final_loss", loss)
        message = joined(outcome(status))
    else:
        in_figures = stage == "training" and not status.state.final
        message = "" if in_figures else status.message
    return Line(
        run.spec.machine_id, run.spec.kind, state_of(status), share_of(status), epoch, loss,
        message, files(run, status), run=run.task_id[:8],
    )  # fmt: skip


def show(lines: Sequence[Line], title: str = "", what: str = "runs") -> Shown:
    """Return runs as they are shown: what is at work first, the order within a state stays."""
    lines = sorted(lines, key=lambda line: TASK_STATES.index(line.state))
    counted = summary(lines, what)
    share = sum(1.0 if line.state.ended else line.share for line in lines) / max(1, len(lines))
    colour = lines[0].state.colour if lines else GREY
    head = (
        f'<div style="font-size:14px;line-height:22px"><b>{escape(title)}</b>{counted}</div>'
        f"{bar(share, colour)}"
    )
    return Shown(
        live=page(head, table(lines, live=True), width_px=WIDE),
        html=page(head, table(lines), width_px=WIDE),
        text="\n".join([f"{title}{counted}", *map(_text, lines[:ROWS_SHOWN])]),
    )


def summary(lines: Sequence[Line], what: str = "runs") -> str:
    """Return the counts as a sentence: `50 runs: 2 running, 40 waiting, 8 done`."""
    counts = Counter(line.state for line in lines)
    words = ", ".join(f"{counts[state]} {state.word}" for state in TASK_STATES if state in counts)
    what = what.removesuffix("s") if len(lines) == 1 else what
    return f"{len(lines)} {what}: {words}" if lines else "Nothing yet"


def _text(line: Line) -> str:
    symbol, word = line.state.symbol, line.state.word
    return (
        f"{symbol} {line.machine_id:<34} {line.kind:<9}{word:<11}{line.share:5.0%}  "
        f"{'' if line.epoch is None else line.epoch:>9} {number(line.loss):>9}  {line.message}"
    ).rstrip()


def table(lines: Sequence[Line], live: bool = False) -> str:
    """Return the rows as an HTML table that scrolls where it is long.

    A live one has no links: inside a widget Jupyter does not find what they lead to.
    """
    rows = html_table([_cells(line, live) for line in lines[:ROWS_SHOWN]])
    more = len(lines) - ROWS_SHOWN
    rest = f'<div style="{MUTED}">and {more} more</div>' if more > 0 else ""
    return f'<div style="max-height:460px;overflow:auto">{rows}{rest}</div>'


def _cells(line: Line, live: bool) -> dict[str, str]:
    state = line.state
    message = f'<span style="{MUTED}">{escape(line.message[:120])}</span> ' if line.message else ""
    return {
        "machine": escape(line.machine_id),
        "task": escape(line.kind),
        "run": f'<code style="white-space:nowrap">{line.run}</code>' if line.run else "",
        "state": f'<span style="color:{state.colour}">{state.symbol} {state.word}</span>',
        "progress": bar(line.share, state.colour, "90px", "6px"),
        "epoch": "" if line.epoch is None else str(line.epoch),
        "loss": number(line.loss),
        "time": line.time,
        "": message if live else message + links(line.files),
    }


def html_table(rows: Sequence[dict[str, str]]) -> str:
    """Return a quiet table of cells that are HTML; columns with nothing in them are left out."""
    names = [name for name in (rows[0] if rows else ()) if any(row[name] for row in rows)]

    figures = {name for name in names if all(FIGURE.fullmatch(row[name]) for row in rows)}

    def cell(tag: str, name: str, inside: str, style: str) -> str:
        side = "right" if name in figures else "left"
        shape = f"text-align:{side};white-space:{'normal' if name == '' else 'nowrap'}"
        return f'<{tag} style="{shape};padding:1px 14px 1px 0px{style}">{inside}</{tag}>'

    quiet = f";font-weight:normal;{MUTED};{SMALL}"
    header = "".join(cell("th", name, escape(name), quiet) for name in names)
    body = "".join(
        f"<tr>{''.join(cell('td', name, row[name], '') for name in names)}</tr>" for row in rows
    )
    return (
        '<table style="border-collapse:collapse;margin:0px;font-size:13px;line-height:18px">'
        f"<thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>"
    )
