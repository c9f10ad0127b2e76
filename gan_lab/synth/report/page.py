"""The page of a report: one self-contained file of HTML, without script, safe to serve."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from gan_lab.synth.report.finding import amount, count, percent
from gan_lab.synth.report.utility import CONTESTANTS
from gan_lab.synth.report.verdict import HEADLINES

if TYPE_CHECKING:
    from gan_lab.synth.report.evaluate import QualityReport
    from gan_lab.synth.report.fidelity import ColumnFit
    from gan_lab.synth.report.physics import Curve
    from gan_lab.synth.report.prognosis import Fan

WIDTH, HEIGHT = 240, 110
MARKS = {"good": "●", "care": "▲", "bad": "■", "note": "○"}  # for who cannot see the colours
METRICS = {
    "r2": "R2",
    "ap": "average precision",
    "se": "standard error",
    "mae": "mean error",
}
DARK = """:root { color-scheme: light dark } body { margin: 0 }
@media (prefers-color-scheme: dark) { body { background: #14181c } .gl-report { --ink: #e4e8ec;
--soft: #9aa6b1; --paper: #14181c; --card: #1d2329; --line: #333b43; --bad: #f07167;
--care: #e0a93b; --good: #6cc08b; --ours: #f09a4a; --real: #7fb2e5 } }"""


def render_html(report: QualityReport) -> str:
    """Return the whole page."""
    title = escape(f"{report.machine_id or 'Synthetic rows'}: quality report")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title></head><body>{render_fragment(report)}"
        f"<style>{DARK}</style></body></html>"
    )


def render_fragment(report: QualityReport) -> str:
    """Return what a notebook shows: the same without the frame of a page."""
    from jinja2 import Environment, FileSystemLoader

    loader = FileSystemLoader(Path(__file__).parent)
    page = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return page.get_template("report.html.jinja").render(
        report=report,
        tiles=_tiles(report),
        marks=MARKS,
        headlines=HEADLINES,
        varying=[column for column in report.fidelity.columns if not _constant(column)],
        constant=[column.name for column in report.fidelity.columns if _constant(column)],
        names=METRICS,
        contestants=CONTESTANTS,
        number=number,
        percent=percent,
        count=count,
        wear=_wear,
        prognosis=_prognosis,
        picture=_picture,
    )


def number(value: float | None, digits: int = 3) -> str:
    """Return a figure as people read it; a dash where there is none."""
    if value is None:
        return "–"
    return f"{value:,.{digits if abs(value) < 10 else min(digits, 1)}f}"


def _tiles(report: QualityReport) -> list[tuple[str, str, str, str]]:
    """The figures to look at first: name, ours, what real rows reach, what it is."""
    fit = report.fidelity
    tiles = [("Quality", number(fit.synthetic), number(fit.real), "SDMetrics, 1 is best;")]
    for windows, name in ((False, "Utility of rows"), (True, "Utility of lives")):
        if task := report.task(windows):
            ours, real = (number(task.score(side), 2) for side in ("synthetic", "real"))
            said = f"windows of {task.width}" if task.width else task.target
            tiles.append((name, ours, real, f"{METRICS[task.metric]} on {said};"))
    if report.privacy.memory:
        view, worst = max(report.privacy.memory.items(), key=lambda item: item[1].share or 0)
        said = f"of {view} nearer to seen than unseen ones;"
        tiles.append(("Memory", percent(worst.share), "50 %", said))
    told = {"rows": report.detection, "windows": report.window_detection}
    for what, auc in told.items():
        if auc is not None:
            said = "AUC of a classifier, 0.5 is blind"
            tiles.append((f"Detection of {what}", number(auc, 2), "", said))
    return tiles


def _constant(column: ColumnFit) -> bool:
    """Whether all rows, real and synthetic, lie in one place."""
    shares = column.histogram
    return max(shares.real, default=1.0) == max(shares.synthetic, default=1.0) == 1.0


def _figure(name: str, note: str, inside: list[str], ends: tuple[str, str], what: str) -> Markup:
    """A drawing under its name and a note, with the two ends of its axis."""
    return Markup(
        '<figure><figcaption><b title="{0}">{0}</b><span class="soft">{1}</span></figcaption>'
        '<svg viewBox="0 0 {2} {3}" role="img" aria-label="{4}">{5}<text x="0" y="{6}">{7}</text>'
        '<text x="{2}" y="{6}" text-anchor="end">{8}</text></svg></figure>'
    ).format(name, note, WIDTH, HEIGHT, what, Markup("".join(inside)), HEIGHT - 2, *ends)


def _picture(column: ColumnFit) -> Markup:
    """A histogram with its name and its score."""
    shares = column.histogram
    top = max([*shares.real, *shares.synthetic, 1e-9])
    floor, count = HEIGHT - 16, max(len(shares.real), 1)
    step = WIDTH / count
    bars, line = [], []
    for spot, (real, ours) in enumerate(zip(shares.real, shares.synthetic, strict=True)):
        left, heights = spot * step, [floor * share / top * 0.94 for share in (real, ours)]
        bars.append(
            f'<rect x="{left:.1f}" y="{floor - heights[0]:.1f}" width="{step - 0.6:.1f}" '
            f'height="{heights[0]:.1f}" style="fill:var(--real);opacity:.55"/>'
        )
        line.append(
            f"{left:.1f},{floor - heights[1]:.1f} {left + step:.1f},{floor - heights[1]:.1f}"
        )
    bars.append(
        f'<polyline points="{" ".join(line)}" style="fill:none;stroke:var(--ours);stroke-width:2"/>'
    )
    ends = shares.edges or shares.levels or [""]
    low, high = (each if isinstance(each, str) else amount(each, 6) for each in (ends[0], ends[-1]))
    note = f"{number(column.score, 2)} ({number(column.real_score, 2)})"
    return _figure(column.name, note, bars, (low, high), f"Distribution of {column.name}")


def _wear(curve: Curve) -> Markup:
    """Quantile bands over remaining useful life, failure on the right."""
    most = max(value for value in curve.rul if value is not None) or 1.0
    age = [most - (rul or 0.0) for rul in curve.rul]
    series = [("--real", age, curve.real), ("--ours", age, curve.synthetic)]
    what = f"{curve.column} over remaining useful life"
    left = " ".join(filter(None, (amount(most), curve.unit, "left")))
    return _bands(curve.column, None, series, (left, "failure"), what)


def _prognosis(fan: Fan, unit: str) -> Markup:
    """What was believed of the remaining life over the age, and the truth."""
    truth = [fan.end - fan.age[0], 0.0]
    series = [
        ("--ours", fan.age, [fan.low, fan.median, fan.high]),
        ("--real", [fan.age[0], fan.end], [truth, truth, truth]),
    ]
    ends, what = ("first rows", f"end at {amount(fan.end)} {unit}"), f"Remaining life of {fan.life}"
    return _bands(
        fan.life, f"0 to {amount(max(*truth, *fan.high))} {unit} left", series, ends, what
    )


def _bands(
    name: str, note: str | None, series: list[Any], ends: tuple[str, str], what: str
) -> Markup:
    """Series of colour, x, and lower end, middle and upper end of a band."""
    known = [v for _, _, band in series for line in band for v in line if v is not None]
    if not known:
        return Markup("")
    low, high = min(known), max(known)
    right = max(max(x) for _, x, _ in series) or 1.0
    floor, span = HEIGHT - 16, (high - low) or 1.0

    def points(x: list[float], line: list[Any]) -> list[str]:
        return [
            f"{WIDTH * at / right:.1f},{4 + (floor - 8) * (high - v) / span:.1f}"
            for at, v in zip(x, line, strict=True)
            if v is not None
        ]

    parts = []
    for colour, x, band in series:
        lower, middle, upper = (points(x, line) for line in band)
        area = " ".join([*lower, *reversed(upper)])
        parts.append(f'<polygon points="{area}" style="fill:var({colour});opacity:.22"/>')
        line = " ".join(middle)
        parts.append(
            f'<polyline points="{line}" style="fill:none;stroke:var({colour});stroke-width:2"/>'
        )
    return _figure(name, note or f"{amount(low)} to {amount(high)}", parts, ends, what)
