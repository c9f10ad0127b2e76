"""The morning after: what needs a person first, then every machine with its figures."""

from __future__ import annotations

import html
import re
from pathlib import Path

from gan_lab.loss_curve import loss_curve_svg
from gan_lab.notebook.card import clock, number
from gan_lab.notebook.fleet.fleet import Fleet, Row
from gan_lab.workspace import fleet_folder
from gan_lab.workspace.loss_history import LossHistory
from gan_lab.workspace.run_folder import REPORT_HTML

FIGURES = {
    "final_loss": "final loss",
    "quality": "quality",
    "utility": "utility",
    "memory": "memory",
}
STYLE = """
:root { color-scheme: light dark; --line: #8884; --bad: #c22; --good: #187a3c; }
@media (prefers-color-scheme: dark) { :root { --bad: #f77; --good: #6c9; } }
body { font: 16px/1.45 system-ui, sans-serif; max-width: 72rem; margin: 0 auto; padding: 1rem; }
.fleet h1 { font-size: 1.25rem; line-height: 1.35; margin: .2rem 0 .4rem; }
.fleet .bad { color: var(--bad); }
.fleet .good { color: var(--good); }
.fleet .cards { display: grid; gap: .75rem;
  grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); }
.fleet article { border: 1px solid var(--line); border-radius: .5rem; padding: .7rem .8rem;
  min-width: 0; }
.fleet h2 { font-size: 1rem; margin: 0 0 .2rem; overflow-wrap: anywhere; }
.fleet p { margin: .25rem 0; overflow-wrap: anywhere; }
.fleet dl { display: grid; grid-template-columns: repeat(3, 1fr); gap: .2rem .6rem;
  margin: .4rem 0; }
.fleet dt { font-size: .75rem; opacity: .7; }
.fleet dd { margin: 0; font-variant-numeric: tabular-nums; }
.fleet svg { width: 100%; height: 3rem; }
"""


def report_html(fleet: Fleet) -> str:
    """Return the report as a piece of HTML: the headline, then the machines, bad ones first."""
    rows = fleet.rows()
    cards = "\n".join(map(_card, sorted(rows, key=lambda row: row.needs is None)))
    started = f"{fleet.plan.created[:16].replace('T', ' ')} UTC, {clock(fleet.seconds)}"
    tone = "bad" if any(row.needs for row in rows) else "good"
    return (
        f"<style>{STYLE}</style><div class='fleet'>"
        f"<h1 class='{tone}'>{escaped(fleet.headline())}</h1>"
        f"<p>Fleet {fleet.fleet_id}, {escaped(Path(fleet.plan.notebook).name)}, {started}: "
        f"{escaped(fleet.summary())}. <a href='{fleet_folder.TABLE}'>{fleet_folder.TABLE}</a></p>"
        f"<div class='cards'>{cards}</div></div>"
    )


def _card(row: Row) -> str:
    tone = "bad" if row.needs else "good"
    lines = [f"<h2>{escaped(row.machine_id)} <span class='{tone}'>{row.state}</span></h2>"]
    if row.needs:
        lines.append(f"<p class='bad'>{escaped(row.needs)}</p>")
    if row.figures["finding"]:
        lines.append(f"<p>{escaped(row.figures['finding'])}</p>")
    shown = {"time": clock(row.seconds)} if row.seconds else {}
    shown |= {label: number(row.figures[name]) for name, label in FIGURES.items()}
    cells = [f"<div><dt>{label}</dt><dd>{text}</dd></div>" for label, text in shown.items() if text]
    lines.append(f"<dl>{''.join(cells)}</dl>")
    newest = {run.spec.kind: run for run in row.runs}
    if "train" in newest:
        losses = LossHistory(newest["train"])
        losses.update()
        lines.append(loss_curve_svg({row.machine_id: losses.columns}, 0, 240, 48, words=False))
    links = {"notebook": row.notebook.name} if row.notebook else {}
    if "report" in newest and newest["report"].report_html() is not None:
        links["quality report"] = f"../../{newest['report'].task_id}/{REPORT_HTML}"
    shown_links = ", ".join(f"<a href='{where}'>{what}</a>" for what, where in links.items())
    return f"<article>{''.join(lines)}<p>{shown_links}</p></article>"


# ---- pages


def page(title: str, body: str) -> str:
    """Return one page that needs no other file and no network, and fits a phone."""
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escaped(title)}</title><style>{STYLE}</style></head><body>{body}</body></html>"
    )


def escaped(value: str) -> str:
    """Return a text as HTML shows it, without the colours of a terminal."""
    return html.escape(re.sub(r"\x1b\[[0-9;]*m", "", value))
