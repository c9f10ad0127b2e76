"""What is found in each section of a report: its sentence is in `sentences`, its limits in
`thresholds`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from gan_lab.synth.report import thresholds as limits
from gan_lab.synth.report.fidelity import ColumnFit
from gan_lab.synth.report.physics import Physics, Relation, Tail
from gan_lab.synth.report.privacy import Memory, Privacy
from gan_lab.synth.report.sentences import Finding, amount, finding, listed, percent
from gan_lab.synth.report.thresholds import AGAINST, PREDICTABLE, THRESHOLDS, Level
from gan_lab.synth.report.utility import Task
from gan_lab.synth.report.windows import LifeFigures

MAX_FINDINGS = 5  # of one kind; the tables of the report have them all


def _columns_beyond(kind: str, found: list[tuple[str, float, dict[str, Any]]]) -> Iterator[Finding]:
    """Yield a finding for the columns of each level, with the figures of the worst of them; `found`
    are columns, excesses and figures."""
    by_level: dict[str, list[tuple[str, float, dict[str, Any]]]] = defaultdict(list)
    for each in sorted(found, key=lambda each: -each[1]):
        by_level[THRESHOLDS[kind].level(each[1])].append(each)
    for level in AGAINST:
        if some := by_level[level]:
            names, (_, excess, figures) = [name for name, _, _ in some], some[0]
            yield finding(level, kind, names, excess, of=_of(names), **figures)


def _of(names: list[str]) -> str:
    """Say which of several columns a figure is of."""
    return f" of {names[0]}" if len(names) > 1 else ""


def _shares(each: Any) -> dict[str, str]:
    return {"share": percent(each.synthetic), "real": percent(each.real)}


# ---- physics


def of_physics(physics: Physics) -> Iterator[Finding]:
    """What no machine would do."""
    ranges = [
        (
            each.column,
            float((each.synthetic or 0.0) - (each.real or 0.0)),
            {"span": each.of, "low": each.low or 0.0, "high": each.high or 0.0, **_shares(each)},
        )
        for each in physics.ranges
    ]
    yield from _columns_beyond("outside", ranges)
    yield from _tails(physics.tails)
    for lost in physics.missing_levels:
        if (lost.chance or 0) < limits.RARE_CHANCE:
            level: Level = "bad" if (lost.real or 0) >= limits.COMMON_LEVEL else "care"
            figures: dict[str, Any] = {"case": lost.level, "share": percent(lost.real)}
            yield finding(level, "missing_level", [lost.column], lost.real, **figures)
    ours, *real = (physics.rising_rul.get(s) or 0.0 for s in ("synthetic", "train", "holdout"))
    level = THRESHOLDS["rising_rul"].level(ours - max(real))
    if level in AGAINST:
        yield finding(level, "rising_rul", value=ours - max(real), share=percent(ours))


def _tails(tails: list[Tail]) -> Iterator[Finding]:
    for end, side in (("upper", "above"), ("lower", "below")):
        times = [(t, (t.synthetic or 0) / t.real) for t in tails if t.end == end and t.real]
        lost = [tail for tail, share in times if share < limits.TAIL_LEFT]
        swollen = [tail for tail, share in times if share > limits.TAIL_SWOLLEN]
        for sentence, some in (("tail_lost", lost), ("tail_swollen", swollen)):
            if some:
                first, names = some[0], [tail.column for tail in some]
                figures: dict[str, Any] = {
                    "of": _of(names),
                    "limit": first.limit,
                    **_shares(first),
                }
                figures |= {"end": end, "side": side, "sentence": sentence}
                yield finding("care", f"{end}_tail", names, first.synthetic, **figures)


def of_wear(relations: list[Relation], rul: str | None) -> Iterator[Finding]:
    """Columns that show wear in real lives, and how many of them run the other way here."""
    shown = [
        r
        for r in relations
        if rul in r.columns
        and min(abs(r.real or 0), abs(r.holdout or 0)) >= limits.STRONG
        and (r.real or 0) * (r.holdout or 0) > 0
    ]
    broken = [r for r in shown if THRESHOLDS["relation"].level(r.gap) != "good"]
    names = [r.other(rul) for r in broken if (r.real or 0) * (r.synthetic or 0) < 0]
    figures: dict[str, Any] = {"rul": rul, "count": len(names), "all": len(shown)}
    if names:
        share = len(names) / len(shown)
        yield finding("bad", "wear", names, share, sentence="wear_backwards", **figures)
    elif shown and not broken:
        yield finding("good", "wear", **figures)


def of_relations(relations: list[Relation]) -> Iterator[Finding]:
    """Broken pairs, named by the column that most of them share."""
    broken = [r for r in relations if THRESHOLDS["relation"].level(r.gap) != "good"]
    for _ in range(MAX_FINDINGS):
        if not broken:
            return
        shared: dict[str, list[Relation]] = defaultdict(list)
        for relation in broken:
            for name in relation.columns:
                shared[name].append(relation)
        name, some = max(shared.items(), key=lambda item: len(item[1]))
        worst, others = max(some, key=lambda r: r.gap), [r.other(name) for r in some]
        ours, real = worst.synthetic or 0.0, worst.real or 0.0
        figures: dict[str, Any] = {
            "name": name,
            "others": listed(others),
            "worst": worst.other(name),
        }
        sentence = "relation_invented" if abs(ours) > abs(real) else "relation_lost"
        yield finding(
            THRESHOLDS["relation"].level(worst.gap), "relation", [name, *others], worst.gap,
            sentence, ours=ours, real=real, **figures,
        )  # fmt: skip
        broken = [relation for relation in broken if relation not in some]


# ---- utility and lives

ADVICE = {
    "good": "",
    "care": " Expect weaker predictions: prefer real rows where you have them.",
    "bad": " Do not train this model on these rows.",
}
WORSE_THAN_MEAN = " Below 0 it is worse than always answering the mean."


def of_task(task: Task) -> Iterator[Finding]:
    """How well a model does that was trained on these rows, beside one trained on real rows."""
    scores = {name: found[task.metric] for name, found in task.scores.items()}
    errors = {name: found.get("mae") for name, found in task.scores.items()}
    real, ours, both = (scores.get(name) for name in ("real", "synthetic", "both"))
    about: dict[str, Any] = {
        "target": task.target,
        "metric": "R2" if task.number else "average precision",
    }
    names, room = [task.target], 0.0 if real is None else real - (task.base or 0.0)
    if real is None or room < PREDICTABLE:
        yield finding("note", "not_predictable", names, real, real=real or 0.0, **about)
    elif ours is None:
        yield finding("bad", "utility", names, sentence="constant_target", **about)
    else:
        loss = real - ours if task.number else (real - ours) / room
        level = THRESHOLDS["r2_loss" if task.number else "ap_loss"].level(loss)
        advice = (WORSE_THAN_MEAN if task.number and ours < 0 else "") + ADVICE[level]
        off, real_off = (
            "" if error is None else f" (mean error {amount(error)} in the unit of {task.target})"
            for error in (errors["synthetic"], errors["real"])
        )
        figures: dict[str, Any] = {"ours": ours, "real": real, "error": off, "real_error": real_off}
        yield finding(level, "utility", names, loss, advice=advice, **figures, **about)
        if both is not None:
            change = both - real
            effect = "add them" if change > limits.HELPS else "adding them changes little"
            effect = "do not add them" if change < -limits.HELPS else effect
            figures = {"both": both, "real": real, "advice": effect}
            yield finding("note", "augmentation", names, change, **figures, **about)


def of_lives(lives: LifeFigures) -> Iterator[Finding]:
    """What a model sees that looks at windows of rows."""
    real, ours = lives.r2.get("real"), lives.r2.get("synthetic")
    if real is not None and ours is not None and real >= PREDICTABLE:
        level = THRESHOLDS["r2_loss"].level(real - ours)
        advice = (WORSE_THAN_MEAN if ours < 0 else "") + ADVICE[level]
        figures: dict[str, Any] = {"width": lives.width, "ours": ours, "real": real}
        yield finding(level, "windows", value=real - ours, advice=advice, **figures)
    off, real_off = (
        max((each for each in lives.acf.get(side, []) if each is not None), default=0.0)
        for side in ("synthetic", "real")
    )
    level = THRESHOLDS["acf"].level(off - real_off)
    if level in AGAINST:
        yield finding(level, "acf", value=off - real_off, ours=off, real=real_off)
    yield from of_detection(lives.c2st, "window_detection", "windows")


def of_detection(auc: float | None, kind: str, what: str) -> Iterator[Finding]:
    """Whether a classifier tells these rows, or windows, from real ones."""
    level = THRESHOLDS["detection"].level(auc)
    if level in AGAINST:
        yield finding(level, kind, value=auc, sentence="detection", auc=auc or 0.0, what=what)


# ---- privacy


def of_privacy(privacy: Privacy, few: bool) -> Iterator[Finding]:
    """What the model remembers of what it learned from."""
    alarms = [*_copies(privacy), *_memory(privacy)]
    yield from alarms
    copies, real = privacy.copies or 0.0, privacy.copies_real or 0.0
    figures: dict[str, Any] = {"share": percent(copies), "real": percent(real)}
    if copies > real and not any(each.kind == "copies" for each in alarms):
        yield finding("note", "privacy", value=copies, sentence="copies", **figures)
    elif few and not alarms:
        yield finding("note", "privacy", sentence="memory_untested", **figures)
    elif not alarms:
        shares = _listed_memory(privacy.memory)
        yield finding("good", "privacy", sentence="no_memory", shares=shares, **figures)


def _copies(privacy: Privacy) -> Iterator[Finding]:
    for kind, share, real in (
        ("copies", privacy.copies or 0.0, privacy.copies_real or 0.0),
        ("near_copies", privacy.near_copies or 0.0, privacy.near_copies_real or 0.0),
    ):
        level = THRESHOLDS[kind].level(share - real)
        if level in AGAINST:
            figures: dict[str, Any] = {"share": percent(share), "real": percent(real)}
            yield finding(level, kind, value=share - real, **figures)


def _memory(privacy: Privacy) -> Iterator[Finding]:
    """Memory is what is sure of it; what may be chance is said, and held against nobody."""
    threshold = THRESHOLDS["memory"]
    sure = {v: m for v, m in privacy.memory.items() if threshold.level(m.low) in AGAINST}
    unsure = {v: m for v, m in privacy.memory.items() if (m.share or 0.0) >= threshold.bad}
    if sure:
        low = max(memory.low or 0.0 for memory in sure.values())
        yield finding(threshold.level(low), "memory", value=low, shares=_listed_memory(sure))
    elif unsure:
        yield finding("note", "privacy", sentence="memory_unsure", shares=_listed_memory(unsure))


def _listed_memory(memory: dict[str, Memory]) -> str:
    return listed(
        f"{percent(each.share)} of the {view} ({percent(each.low)} to {percent(each.high)})"
        for view, each in memory.items()
    )


# ---- fidelity


def _column_excess(column: ColumnFit) -> float:
    """Return the share of rows that would have to move beyond twice what training rows need."""
    ours = 1 - (column.score if column.score is not None else 1.0)
    real = 1 - (column.real_score if column.real_score is not None else 1.0)
    gaps = abs((column.missing or 0) - (column.missing_real or 0))
    return max(ours - 2 * real, gaps)


def of_shapes(columns: list[ColumnFit]) -> Iterator[Finding]:
    """The columns that are not distributed as in real rows."""
    found = []
    for each in columns:
        missing, real = percent(each.missing), percent(each.missing_real)
        gaps = "" if missing == real else f", {missing} are missing ({real} of the real rows)"
        share = percent(1 - (1.0 if each.score is None else each.score))
        found.append((each.name, _column_excess(each), {"share": share, "gaps": gaps}))
    yield from _columns_beyond("shape", found)
