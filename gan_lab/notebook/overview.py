"""Many runs or a whole fleet as one table: a function of their records alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from gan_lab.notebook.card import (
    CANCELLING,
    FONT,
    GOOD,
    MUTED,
    NUMBERS,
    QUIET,
    TRACK,
    TRAINING,
    VALIDATION,
    WORDS,
    clock,
    here,
    number,
)
from gan_lab.runs import RunFolder

if TYPE_CHECKING:
    from gan_lab.notebook.fleet import Fleet
    from gan_lab.notebook.fleet import Row as FleetRow

ROWS_SHOWN = 500
# What is at work first, then what waits, then what needs a look, then what is done.
ORDER = {
    "running": 0,
    "running again": 0,
    "cancelling": 0,
    "waiting": 1,
    "failed": 2,
    "interrupted": 2,
    "unknown": 2,
    "cancelled": 3,
    "done": 4,
}
FLEET_WORDS = {
    "waiting": ("○", "waiting", QUIET),
    "running": ("●", "running", TRAINING),
    "interrupted": ("!", "interrupted", VALIDATION),
    "done": ("✓", "done", GOOD),
    "failed": ("✕", "failed", VALIDATION),
    "cancelled": ("■", "cancelled", QUIET),
}


@dataclass(frozen=True)
class Line:
    """One row of the table."""

    machine_id: str
    kind: str
    word: tuple[str, str, str]
    share: float
    epoch: int | None
    loss: float | None
    left: str
    message: str
    link: str | None = None
    run: str = ""

    @property
    def state(self) -> str:
        """The word of the state."""
        return self.word[1]


def run_line(run: RunFolder) -> Line:
    """Read one run's row from its folder."""
    status = run.status()
    meta = status.metadata
    share = status.current / status.total if status.total else 0.0
    quiet = status.state.final and status.state.value == "SUCCESS"
    return Line(
        run.spec.machine_id,
        run.spec.kind,
        CANCELLING if meta["cancelling"] else WORDS[status.state],
        1.0 if quiet else min(1.0, share),
        meta["epoch"],
        meta["loss"],
        "",
        "" if quiet or (meta["stage"] == "training" and not status.state.final) else status.message,
        run=run.task_id[:8],
    )


def fleet_line(row: FleetRow) -> Line:
    """Read one machine's row of a fleet."""
    return Line(
        row.machine_id,
        row.stage,
        FLEET_WORDS[row.state],
        row.progress / 100,
        row.epoch,
        row.loss,
        clock(row.seconds) if row.seconds else "",
        row.message,
        here(str(row.notebook)) if row.notebook else None,
    )


def fleet_lines(fleet: Fleet) -> list[Line]:
    """Read every row of a fleet, what is at work first."""
    return in_order([fleet_line(row) for row in fleet.rows()])


def in_order(lines: Sequence[Line]) -> list[Line]:
    """Sort what is at work first; the order within a state stays."""
    return sorted(lines, key=lambda line: ORDER[line.state])


def total_share(lines: Sequence[Line]) -> float:
    """How much of all the work is behind us, from 0 to 1; what failed is behind us too."""
    over = ("done", "failed", "cancelled")
    return sum(1.0 if line.state in over else line.share for line in lines) / max(1, len(lines))


def summary(lines: Sequence[Line]) -> str:
    """Return the counts as a sentence: `50 runs: 2 running, 40 waiting, 8 done`."""
    counts = Counter(line.state for line in lines)
    words = ", ".join(f"{counts[word]} {word}" for word in sorted(counts, key=lambda w: ORDER[w]))
    return f"{len(lines)} runs: {words}" if lines else "Nothing yet"


def text(title: str, lines: Sequence[Line]) -> str:
    """Return the table as plain lines."""
    rows = [
        f"{line.word[0]} {line.machine_id:<34} {line.kind:<9}{line.state:<11}{line.share:5.0%}  "
        f"{_epoch(line):>9} {number(line.loss):>9}  {line.message}".rstrip()
        for line in lines[:ROWS_SHOWN]
    ]
    return "\n".join([f"{title}{summary(lines)}", *rows])


def head(title: str, lines: Sequence[Line]) -> str:
    """Return the title line."""
    return (
        f'<div style="{FONT};font-size:14px;line-height:22px;{NUMBERS}"><b>{escape(title)}</b>'
        f"{escape(summary(lines))}</div>"
    )


def total_bar(lines: Sequence[Line]) -> str:
    """Return the bar of a table that is not live."""
    return _bar(total_share(lines), TRAINING if total_share(lines) < 1 else GOOD, "100%", "8px")


def table(lines: Sequence[Line]) -> str:
    """Return the rows as an HTML table."""
    filled = {
        "run": any(line.run for line in lines),
        "epoch": any(line.epoch is not None for line in lines),
        "loss": any(line.loss is not None for line in lines),
        "time": any(line.left for line in lines),
    }
    names = ("machine", "task", "run", "state", "progress", "epoch", "loss", "time", "")
    used = [name for name in names if filled.get(name, True)]
    header = "".join(
        f'<th style="text-align:{_side(name)};padding:1px 14px 1px 0px;font-weight:normal;{MUTED}">'
        f"{name}</th>"
        for name in used
    )
    rows = "".join(
        f"<tr>{''.join(_cell(name, line) for name in used)}</tr>" for line in lines[:ROWS_SHOWN]
    )
    more = len(lines) - ROWS_SHOWN
    rest = f'<div style="{MUTED}">and {more} more</div>' if more > 0 else ""
    return (
        f'<div style="{FONT};font-size:13px;line-height:18px;{NUMBERS};'
        'max-height:460px;overflow:auto">'
        f'<table style="border-collapse:collapse;margin:0px"><thead><tr>{header}</tr></thead>'
        f"<tbody>{rows}</tbody></table>{rest}</div>"
    )


def html(title: str, lines: Sequence[Line]) -> str:
    """Return the whole table for wherever there is no live kernel."""
    return f"<div>{head(title, lines)}{total_bar(lines)}{table(lines)}</div>"


def _side(name: str) -> str:
    return "right" if name in ("epoch", "loss", "time") else "left"


def _epoch(line: Line) -> str:
    return "" if line.epoch is None else str(line.epoch)


def _cell(name: str, line: Line) -> str:
    sign, word, colour = line.word
    machine = escape(line.machine_id)
    shown = {
        "machine": f'<a href="{escape(line.link)}">{machine}</a>' if line.link else machine,
        "task": escape(line.kind),
        "run": f"<code>{line.run}</code>",
        "state": f'<span style="color:{colour};white-space:nowrap">{sign} {word}</span>',
        "progress": _bar(line.share, colour, "110px", "6px"),
        "epoch": _epoch(line),
        "loss": number(line.loss),
        "time": line.left,
        "": f'<span style="{MUTED}">{escape(line.message[:120])}</span>',
    }[name]
    return f'<td style="text-align:{_side(name)};padding:1px 14px 1px 0px">{shown}</td>'


def _bar(share: float, colour: str, width: str, height: str) -> str:
    return (
        f'<div style="background-color:{TRACK};height:{height};width:{width};margin:4px 0px">'
        f'<div style="background-color:{colour};height:{height};width:{100 * share:.1f}%">'
        "</div></div>"
    )
