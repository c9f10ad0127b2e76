"""The morning after: what needs a person first, then every machine with figures and pictures."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from gan_lab.workspace import fleet_folder, run_folder
from gan_lab.workspace.run_folder import RunFolder

if TYPE_CHECKING:
    from gan_lab.notebook.fleet.record import FleetRecord, Row
from gan_lab.notebook.fleet.figures import FIGURES, duration, figure, figures
from gan_lab.notebook.fleet.page import STYLE, escaped

UNUSUAL = 3.5  # modified z score (Iglewicz and Hoaglin 1993), from so many machines on:
UNUSUAL_FROM = 6
THUMBNAIL_PX = 420
NOTHING = "nothing needs you."  # how a good first line ends
NAMED = 4  # machines that a sentence names before it counts the rest


@dataclass(frozen=True)
class Entry:
    """One machine in the report: where it stands, its tasks and what they left."""

    row: Row
    runs: list[RunFolder]
    facts: dict[str, Any]

    @property
    def needs(self) -> str | None:
        """Why the machine needs a person; None where it does not."""
        if self.row.state in ("failed", "interrupted", "cancelled"):
            return self.row.error or self.row.state
        if self.row.state == "waiting":
            return "has not begun"
        loss = self.facts["final_loss"]
        if loss is not None and not math.isfinite(loss):
            return f"the training diverged (final loss {loss})"
        return "made rows that are not to be used" if self.facts["verdict"] == "bad" else None


def entries(fleet: FleetRecord) -> list[Entry]:
    """Read all that is known of each machine, in the order of the plan."""
    by_machine = fleet.by_machine()
    read = [(row, by_machine.get(row.machine_id, [])) for row in fleet.rows()]
    return [Entry(row, found, figures(found)) for row, found in read]


def unusual(table: list[Entry]) -> dict[str, list[str]]:
    """Return the machines whose figures lie far from the fleet's median, with a phrase for each."""
    found: dict[str, list[str]] = {}
    for name, label in {"seconds": "seconds", **FIGURES}.items():
        known = {
            one.row.machine_id: value
            for one in table
            if one.row.state == "done"
            and (value := {"seconds": one.row.seconds, **one.facts}[name]) is not None
        }
        if len(known) < UNUSUAL_FROM or name == "tstr_real":
            continue
        middle = median(known.values())
        spread = median(abs(value - middle) for value in known.values())
        for machine_id, value in known.items():
            if spread > 0 and 0.6745 * abs(value - middle) / spread > UNUSUAL:
                phrase = f"{label} {figure(value)}, the fleet's middle is {figure(middle)}"
                found.setdefault(machine_id, []).append(phrase)
    return found


# ---- the first line


def headline(fleet: FleetRecord, table: list[Entry]) -> str:
    """Return one line that says what needs a person; causes that repeat are named once."""
    if any(one.row.state == "running" for one in table):
        return f"Fleet {fleet.fleet_id} is at work: {fleet.summary()}."
    reasons: dict[str, list[str]] = {}
    first: dict[str, str] = {}
    for one in table:
        if (why := one.needs) is not None:
            cause = re.sub(r"[0-9a-f-]{36}|\d+", "#", why.replace(one.row.machine_id, "*"))
            reasons.setdefault(cause, []).append(one.row.machine_id)
            first.setdefault(cause, why)
    if not reasons:
        who = "The machine is" if len(table) == 1 else f"All {len(table)} machines are"
        return f"{who} done; {NOTHING}"
    needy = sum(map(len, reasons.values()))
    causes = sorted(reasons, key=lambda cause: -len(reasons[cause]))
    said = "; ".join(f"{_names(reasons[cause])}: {first[cause]}" for cause in causes[:NAMED])
    more = f"; and {len(causes) - NAMED} other reasons" if len(causes) > NAMED else ""
    return f"{needy} of {len(table)} machines need{'s' if needy == 1 else ''} you: {said}{more}"


def _names(machines: list[str]) -> str:
    rest = len(machines) - NAMED
    named = ", ".join(machines[:NAMED])
    return f"{named} and {rest} more" if rest > 0 else named


# ---- as HTML


def report_html(fleet: FleetRecord) -> str:
    """Return the report as a piece of HTML: the first line, then the machines, outliers first."""
    table = entries(fleet)
    odd = unusual(table)
    ordered = sorted(table, key=lambda one: (one.needs is None, one.row.machine_id not in odd))
    cards = "\n".join(_card(one, odd.get(one.row.machine_id, [])) for one in ordered)
    spent = f"{fleet.plan.created[:16].replace('T', ' ')} UTC, {duration(fleet.seconds)}"
    tone = "bad" if any(one.needs for one in table) else "good"
    return (
        f"<style>{STYLE}</style><div class='fleet'>"
        f"<h1 class='{tone}'>{escaped(headline(fleet, table))}</h1>"
        f"<p>Fleet {fleet.fleet_id}, {escaped(Path(fleet.plan.notebook).name)}, {spent}: "
        f"{escaped(fleet.summary())}. <a href='{fleet_folder.TABLE}'>{fleet_folder.TABLE}</a></p>"
        f"<div class='cards'>{cards}</div></div>"
    )


def _card(one: Entry, odd: list[str]) -> str:
    row, facts, why = one.row, one.facts, one.needs
    tone = "bad" if why else "odd" if odd else "good"
    lines = [f"<h2>{escaped(row.machine_id)} <span class='{tone}'>{row.state}</span></h2>"]
    if why:
        lines.append(f"<p class='bad'>{escaped(why)}</p>")
    lines += [f"<p class='odd'>Unusual: {escaped(phrase)}</p>" for phrase in odd]
    if facts["finding"]:
        lines.append(f"<p>{escaped(facts['finding'])}</p>")
    shown = {FIGURES[name]: figure(facts[name]) for name in FIGURES if facts[name] is not None}
    if row.seconds:
        shown = {"time": duration(row.seconds)} | shown
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in shown.items())
    lines.append(f"<dl>{cells}</dl>")
    newest = {run.spec.kind: run for run in one.runs}
    if "train" in newest:
        lines.append(loss_curve(newest["train"]))
    links = {}
    if row.notebook:
        lines.append(_thumbnail(row.notebook))
        links = {"read the notebook": f"{row.machine_id}.html", "open it": row.notebook.name}
    if "report" in newest and newest["report"].report_html() is not None:
        links["quality report"] = f"../../{newest['report'].task_id}/{run_folder.REPORT_HTML}"
    shown_links = ", ".join(f"<a href='{where}'>{what}</a>" for what, where in links.items())
    return f"<article>{''.join(lines)}<p>{shown_links}</p></article>"


def loss_curve(run: RunFolder, width: int = 240, height: int = 48) -> str:
    """Return a training's loss by epoch as a small picture (SVG)."""
    losses = [value for value in run.losses()["loss"] if math.isfinite(value)]
    if len(losses) < 2:
        return ""
    low, last = min(losses), len(losses) - 1
    across, down = width / last, (height - 4) / ((max(losses) - low) or 1)
    every = max(1, len(losses) // width)
    points = " ".join(
        f"{index * across:.1f},{height - 2 - (loss - low) * down:.1f}"
        for index, loss in enumerate(losses)
        if index % every == 0 or index == last
    )
    label = f"loss from {losses[0]:.4g} to {losses[-1]:.4g} in {len(losses)} epochs"
    return (
        f"<svg viewBox='0 0 {width} {height}' preserveAspectRatio='none' role='img' "
        f"aria-label='{label}'><title>{label}</title><polyline points='{points}' fill='none' "
        "stroke='currentColor' stroke-width='1.5' vector-effect='non-scaling-stroke'/></svg>"
    )


def _thumbnail(notebook: Path) -> str:
    """Return the last picture of an executed notebook, made small; nothing where there is none."""
    pictures = _pictures(notebook)
    if not pictures:
        return ""
    from PIL import Image

    image = Image.open(io.BytesIO(base64.b64decode(pictures[-1]))).convert("RGB")
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    small = io.BytesIO()
    image.quantize(64).save(small, "PNG", optimize=True)
    data = base64.b64encode(small.getvalue()).decode()
    return f"<img alt='the last picture of the notebook' src='data:image/png;base64,{data}'>"


def _pictures(notebook: Path) -> list[str]:
    try:
        cells = json.loads(notebook.read_text())["cells"]
    except (OSError, ValueError):  # its process was killed while it wrote
        return []
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return [
        data["image/png"] for output in outputs if "image/png" in (data := output.get("data", {}))
    ]
