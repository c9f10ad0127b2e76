"""The morning after: what needs a person first, then every machine with figures and pictures."""

from __future__ import annotations

import base64
import html
import io
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from gan_lab import runs
from gan_lab.runs import RunFolder

if TYPE_CHECKING:
    from gan_lab.notebook.fleet import Fleet, Row

UNUSUAL = 3.5  # modified z score (Iglewicz and Hoaglin 1993), from so many machines on:
UNUSUAL_FROM = 6
THUMBNAIL_PX = 420
NOTHING = "nothing needs you."  # how a good first line ends
NAMED = 4  # machines that a sentence names before it counts the rest
STYLE = """
:root { color-scheme: light dark; --line: #8884; --bad: #c22; --odd: #b70; --good: #187a3c; }
@media (prefers-color-scheme: dark) { :root { --bad: #f77; --odd: #fb5; --good: #6c9; } }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }
body > div { overflow-x: auto; }
body img, body svg { max-width: 100%; height: auto; }
body { font: 16px/1.45 system-ui, sans-serif; max-width: 72rem; margin: 0 auto; padding: 1rem; }
.fleet h1 { font-size: 1.25rem; line-height: 1.35; margin: .2rem 0 .4rem; }
.fleet .bad { color: var(--bad); }
.fleet .odd { color: var(--odd); }
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
.fleet img { max-height: 11rem; width: auto; border-radius: .3rem; background: #fff; }
.fleet svg { width: 100%; height: 3rem; }
"""
FIGURES = {
    "final_loss": "final loss",
    "quality": "quality",
    "tstr": "TSTR",
    "tstr_real": "with real rows",
    "privacy": "privacy",
}


# ---- what is known of one machine


def figures(found: Iterable[RunFolder]) -> dict[str, Any]:
    """Return what a machine's tasks left; None for what there is not.

    `train_seconds`, `final_loss`; of the quality report: `quality` (SDMetrics' overall score, 0 to
    1), `tstr` and `tstr_real` (score on held-out real rows of a model trained on synthetic and on
    real rows), `privacy` (largest share of synthetic points nearer to training lives than to
    held-out ones; 0.5: no memory), `verdict` (good, care, bad) and `finding`, its first sentence.
    """
    names = ["train_seconds", *FIGURES, "verdict", "finding"]
    facts: dict[str, Any] = dict.fromkeys(names)
    for run in found:
        result = run.result_data()
        if result is None:
            continue
        if run.spec.kind == "train":
            facts |= {
                "train_seconds": result["training_time_seconds"],
                "final_loss": result["final_loss"],
            }
        elif run.spec.kind == "report":
            facts |= {"quality": result["quality"]} | _judged(run)
    return facts


def _judged(run: RunFolder) -> dict[str, Any]:
    """Read the figures a fleet is compared by from a quality report."""
    report = json.loads((run.path / runs.REPORT_JSON).read_text())
    verdict, privacy = report["verdict"], report["privacy"]
    shares = [each["share"] for each in privacy["memory"].values() if each["share"] is not None]
    facts = {"verdict": verdict["level"], "privacy": max(shares, default=None)}
    of_level = (f["text"] for f in verdict["findings"] if f["level"] == verdict["level"])
    facts["finding"] = next(of_level, verdict["headline"])
    for task in report["utility"][:1]:
        metric = "r2" if task["number"] else "ap"
        of = {name: scores.get(metric) for name, scores in task["scores"].items()}
        facts |= {"tstr": of.get("synthetic"), "tstr_real": of.get("real")}
    return facts


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


def entries(fleet: Fleet) -> list[Entry]:
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


def headline(fleet: Fleet, table: list[Entry]) -> str:
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


def report_html(fleet: Fleet) -> str:
    """Return the report as a piece of HTML: the first line, then the machines, outliers first."""
    table = entries(fleet)
    odd = unusual(table)
    ordered = sorted(table, key=lambda one: (one.needs is None, one.row.machine_id not in odd))
    cards = "\n".join(_card(one, odd.get(one.row.machine_id, [])) for one in ordered)
    spent = f"{fleet.plan.created[:16].replace('T', ' ')} UTC, {duration(fleet.seconds)}"
    tone = "bad" if any(one.needs for one in table) else "good"
    return (
        f"<style>{STYLE}</style><div class='fleet'>"
        f"<h1 class='{tone}'>{_text(headline(fleet, table))}</h1>"
        f"<p>Fleet {fleet.fleet_id}, {_text(Path(fleet.plan.notebook).name)}, {spent}: "
        f"{_text(fleet.summary())}. <a href='{runs.FLEET_TABLE}'>{runs.FLEET_TABLE}</a></p>"
        f"<div class='cards'>{cards}</div></div>"
    )


def _card(one: Entry, odd: list[str]) -> str:
    row, facts, why = one.row, one.facts, one.needs
    tone = "bad" if why else "odd" if odd else "good"
    lines = [f"<h2>{_text(row.machine_id)} <span class='{tone}'>{row.state}</span></h2>"]
    if why:
        lines.append(f"<p class='bad'>{_text(why)}</p>")
    lines += [f"<p class='odd'>Unusual: {_text(phrase)}</p>" for phrase in odd]
    if facts["finding"]:
        lines.append(f"<p>{_text(facts['finding'])}</p>")
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
        links["quality report"] = f"../../{newest['report'].task_id}/{runs.REPORT_HTML}"
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


def page(title: str, body: str) -> str:
    """Return one page that needs no other file and no network, and fits a phone."""
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{_text(title)}</title><style>{STYLE}</style></head><body>{body}</body></html>"
    )


def notebook_page(notebook: Path, title: str) -> str:
    """Return an executed notebook's texts and outputs as one page, without its code."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(template_name="basic", exclude_input=True)
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    exporter.exclude_anchor_links = True
    return page(title, exporter.from_filename(str(notebook))[0])


def _text(value: str) -> str:
    return html.escape(re.sub(r"\x1b\[[0-9;]*m", "", value))


def figure(value: float) -> str:
    """Return a figure in three digits."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def duration(seconds: float) -> str:
    """Return seconds as a person says them."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
