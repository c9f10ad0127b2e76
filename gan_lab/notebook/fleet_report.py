"""The morning after: what needs a person first, then every machine with figures and pictures."""

from __future__ import annotations

import base64
import html
import io
import json
import math
import re
from collections.abc import Iterable
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
    names = ["train_seconds", *FIGURES, "tstr_real", "verdict", "finding"]
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
    facts["finding"] = next((each["text"] for each in verdict["findings"]), verdict["headline"])
    for task in report["utility"][:1]:
        metric = "r2" if task["number"] else "ap"
        of = {name: scores.get(metric) for name, scores in task["scores"].items()}
        facts |= {"tstr": of.get("synthetic"), "tstr_real": of.get("real")}
    return facts


def needs(row: Row, facts: dict[str, Any]) -> str | None:
    """Return why a machine needs a person; None where it does not."""
    if row.state in ("failed", "interrupted", "cancelled"):
        return row.error or row.state
    if row.state == "waiting":
        return "has not begun"
    loss = facts["final_loss"]
    if loss is not None and not math.isfinite(loss):
        return f"the training diverged (final loss {loss})"
    return "made rows that are not to be used" if facts["verdict"] == "bad" else None


def unusual(table: list[tuple[Row, dict[str, Any]]]) -> dict[str, list[str]]:
    """Return the machines whose figures lie far from the fleet's median, with a phrase for each."""
    found: dict[str, list[str]] = {}
    for name, label in {"seconds": "seconds", **FIGURES}.items():
        values = {
            row.machine_id: row.seconds if name == "seconds" else facts[name]
            for row, facts in table
            if row.state == "done"
        }
        known = {key: value for key, value in values.items() if value is not None}
        if len(known) < UNUSUAL_FROM:
            continue
        middle = median(known.values())
        spread = median(abs(value - middle) for value in known.values())
        for machine_id, value in known.items():
            if spread > 0 and 0.6745 * abs(value - middle) / spread > UNUSUAL:
                phrase = f"{label} {figure(value)}, the fleet's middle is {figure(middle)}"
                found.setdefault(machine_id, []).append(phrase)
    return found


# ---- the first line


def headline(fleet: Fleet) -> str:
    """Return one line that says what needs a person; causes that repeat are named once."""
    table = [(row, figures(fleet.runs(row.machine_id))) for row in fleet.rows()]
    return _headline(fleet, table)


def _headline(fleet: Fleet, table: list[tuple[Row, dict[str, Any]]]) -> str:
    if any(row.state == "running" for row, _ in table):
        return f"Fleet {fleet.fleet_id} is at work: {fleet.summary()}."
    reasons: dict[str, list[str]] = {}
    first: dict[str, str] = {}
    for row, facts in table:
        if (why := needs(row, facts)) is not None:
            cause = re.sub(r"[0-9a-f-]{36}|\d+", "#", why.replace(row.machine_id, "*"))
            reasons.setdefault(cause, []).append(row.machine_id)
            first.setdefault(cause, why)
    if not reasons:
        who = "The machine is" if len(table) == 1 else f"All {len(table)} machines are"
        return f"{who} done; nothing needs you."
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
    table = [(row, figures(fleet.runs(row.machine_id))) for row in fleet.rows()]
    odd = unusual(table)
    rank = {
        row.machine_id: 0 if needs(row, facts) else 1 if row.machine_id in odd else 2
        for row, facts in table
    }
    ordered = sorted(table, key=lambda pair: rank[pair[0].machine_id])
    cards = "\n".join(
        _card(fleet, row, facts, odd.get(row.machine_id, [])) for row, facts in ordered
    )
    spent = f"{fleet.plan.created[:16].replace('T', ' ')} UTC, {duration(fleet.seconds)}"
    tone = "bad" if 0 in rank.values() else "good"
    return (
        f"<style>{STYLE}</style><div class='fleet'>"
        f"<h1 class='{tone}'>{_text(_headline(fleet, table))}</h1>"
        f"<p>Fleet {fleet.fleet_id}, {_text(Path(fleet.plan.notebook).name)}, {spent}: "
        f"{_text(fleet.summary())}. <a href='{runs.FLEET_TABLE}'>{runs.FLEET_TABLE}</a></p>"
        f"<div class='cards'>{cards}</div></div>"
    )


def _card(fleet: Fleet, row: Row, facts: dict[str, Any], odd: list[str]) -> str:
    why = needs(row, facts)
    tone = "bad" if why else "odd" if odd else "good"
    lines = [f"<h2>{_text(row.machine_id)} <span class='{tone}'>{row.state}</span></h2>"]
    if why:
        lines.append(f"<p class='bad'>{_text(why)}</p>")
    lines += [f"<p class='odd'>Unusual: {_text(phrase)}</p>" for phrase in odd]
    if facts["finding"]:
        lines.append(f"<p>{_text(facts['finding'])}</p>")
    shown = {FIGURES[name]: figure(facts[name]) for name in FIGURES if facts[name] is not None}
    if facts["tstr_real"] is not None and "TSTR" in shown:
        shown["TSTR"] += f" <small>real {figure(facts['tstr_real'])}</small>"
    if row.seconds:
        shown = {"time": duration(row.seconds)} | shown
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in shown.items())
    lines.append(f"<dl>{cells}</dl>")
    for run in fleet.runs(row.machine_id):
        if run.spec.kind == "train":
            lines.append(loss_curve(run))
            break
    if row.notebook:
        lines.append(_thumbnail(row.notebook))
        lines.append(f"<p><a href='{row.machine_id}.html'>read the notebook</a>, ")
        lines.append(f"<a href='{row.notebook.name}'>open it</a></p>")
    return f"<article>{''.join(lines)}</article>"


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
