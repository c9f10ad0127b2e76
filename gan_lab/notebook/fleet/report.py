"""The morning after: what needs a person first, then every machine with its figures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from gan_lab.loss_curve import loss_curve_svg
from gan_lab.notebook.card import clock, number
from gan_lab.notebook.fleet.figures import FIGURES
from gan_lab.notebook.fleet.page import STYLE, escaped
from gan_lab.workspace import fleet_folder
from gan_lab.workspace.loss_history import LossHistory
from gan_lab.workspace.run_folder import REPORT_HTML

if TYPE_CHECKING:
    from gan_lab.notebook.fleet.record import FleetRecord, Row

UNUSUAL = 3.5  # modified z score (Iglewicz and Hoaglin 1993), where there are so many machines:
UNUSUAL_FROM = 6
MAX_NAMED = 4  # machines, and reasons, that a sentence names before it counts the rest


def headline(rows: Sequence[Row]) -> str:
    """Return one sentence that says which machines need attention; equal reasons stand once."""
    at_work = [row for row in rows if row.state == "running"]
    if at_work:
        return f"{len(at_work)} of {len(rows)} machines are at work."
    machines: dict[str, list[str]] = {}  # by reason
    sentence: dict[str, str] = {}
    for row in rows:
        if row.needs is not None:
            reason = re.sub(r"[0-9a-f-]{36}|\d+", "#", row.needs.replace(row.machine_id, "*"))
            machines.setdefault(reason, []).append(row.machine_id)
            sentence.setdefault(reason, row.needs)
    if not machines:
        all_done = "The machine is" if len(rows) == 1 else f"All {len(rows)} machines are"
        return f"{all_done} done; none needs attention."
    most = sorted(machines, key=lambda reason: -len(machines[reason]))
    named = [f"{_listed(machines[reason])} ({sentence[reason]})" for reason in most[:MAX_NAMED]]
    if len(most) > MAX_NAMED:
        named.append(f"and {len(most) - MAX_NAMED} other reasons")
    count = sum(map(len, machines.values()))
    need = "needs" if count == 1 else "need"
    return f"{count} of {len(rows)} machines {need} attention: {'; '.join(named)}"


def _listed(machines: Sequence[str]) -> str:
    rest = len(machines) - MAX_NAMED
    return ", ".join(machines[:MAX_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def unusual(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Return the machines whose figures lie far from the fleet's median, with a phrase for each."""
    found: dict[str, list[str]] = {}
    done = [row for row in rows if row.state == "done"]
    for name, label in {"seconds": "seconds", **FIGURES}.items():
        values = {row.machine_id: {"seconds": row.seconds, **row.figures}[name] for row in done}
        known = {machine_id: value for machine_id, value in values.items() if value is not None}
        if len(known) < UNUSUAL_FROM or name == "tstr_real":
            continue
        middle = median(known.values())
        spread = median(abs(value - middle) for value in known.values())
        for machine_id, value in known.items():
            if spread > 0 and 0.6745 * abs(value - middle) / spread > UNUSUAL:
                phrase = f"{label} {number(value)}, the fleet's median is {number(middle)}"
                found.setdefault(machine_id, []).append(phrase)
    return found


def report_html(fleet: FleetRecord) -> str:
    """Return the report as a piece of HTML: the headline, then the machines, outliers first."""
    rows = fleet.rows()
    odd = unusual(rows)
    ordered = sorted(rows, key=lambda row: (row.needs is None, row.machine_id not in odd))
    cards = "\n".join(_card(row, odd.get(row.machine_id, [])) for row in ordered)
    started = f"{fleet.plan.created[:16].replace('T', ' ')} UTC, {clock(fleet.seconds)}"
    tone = "bad" if any(row.needs for row in rows) else "good"
    return (
        f"<style>{STYLE}</style><div class='fleet'>"
        f"<h1 class='{tone}'>{escaped(headline(rows))}</h1>"
        f"<p>Fleet {fleet.fleet_id}, {escaped(Path(fleet.plan.notebook).name)}, {started}: "
        f"{escaped(fleet.summary())}. <a href='{fleet_folder.TABLE}'>{fleet_folder.TABLE}</a></p>"
        f"<div class='cards'>{cards}</div></div>"
    )


def _card(row: Row, odd: Sequence[str]) -> str:
    tone = "bad" if row.needs else "odd" if odd else "good"
    lines = [f"<h2>{escaped(row.machine_id)} <span class='{tone}'>{row.state}</span></h2>"]
    if row.needs:
        lines.append(f"<p class='bad'>{escaped(row.needs)}</p>")
    lines += [f"<p class='odd'>Unusual: {escaped(phrase)}</p>" for phrase in odd]
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
    links = {}
    if row.notebook:
        links = {"read the notebook": f"{row.machine_id}.html", "open it": row.notebook.name}
    if "report" in newest and newest["report"].report_html() is not None:
        links["quality report"] = f"../../{newest['report'].task_id}/{REPORT_HTML}"
    shown_links = ", ".join(f"<a href='{where}'>{what}</a>" for what, where in links.items())
    return f"<article>{''.join(lines)}<p>{shown_links}</p></article>"
