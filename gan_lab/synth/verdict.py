"""The verdict: three levels with reasons in plain sentences; its thresholds are in `thresholds`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Literal

from pydantic import Field

from gan_lab.machines import Profile
from gan_lab.schema import Message
from gan_lab.synth.fidelity import ColumnFit, Fidelity
from gan_lab.synth.physics import Detection, Physics, Relation, Tail
from gan_lab.synth.privacy import Privacy
from gan_lab.synth.thresholds import (
    BY_CHANCE,
    COMMON_LEVEL,
    HELPS,
    LEVELS,
    PREDICTABLE,
    RARE_CHANCE,
    STRONG,
    TAIL_LEFT,
    TAIL_SWOLLEN,
    THRESHOLDS,
    Level,
)
from gan_lab.synth.utility import LifeFigures, Task

Area = Literal["utility", "lives", "privacy", "physics", "fidelity", "detection"]
MOST_FINDINGS = 5  # of one kind; the tables of the report have them all


class Finding(Message):
    """One sentence of the verdict, the columns it is about, the figure held to a threshold."""

    level: Level
    area: Area
    kind: str
    text: str
    columns: list[str] = Field(default_factory=list)
    value: float | None = None


class Verdict(Message):
    """The worst level of all findings, one sentence that sums up, and the findings, worst first."""

    level: Literal["good", "care", "bad"]
    headline: str
    findings: list[Finding]


HEADLINES = {
    "good": "Nothing was found that speaks against using these rows.",
    "care": "Use these rows with care.",
    "bad": "Do not use these rows as they are.",
}


def judge(
    fidelity: Fidelity,
    utility: list[Task],
    lives: LifeFigures | None,
    privacy: Privacy,
    physics: Physics,
    detection: Detection,
    profile: Profile | None = None,
    rul: str | None = None,
) -> Verdict:
    """Turn the figures of a report into sentences."""
    found = [
        *_physics(physics),
        *_wear(physics.relations, rul),
        *(finding for task in utility for finding in _task(task)),
        *_lives(lives),
        *_privacy(privacy),
        *_shapes(fidelity.columns),
        *_relations(physics.relations),
        *_detection(detection),
    ]
    found.extend(_praise(fidelity.columns, found, profile))
    found.sort(key=lambda finding: LEVELS.index(finding.level))
    level: Level = found[0].level if found else "good"
    level = "good" if level == "note" else level
    reason = f" {found[0].text}" if level != "good" else ""
    return Verdict(level=level, headline=HEADLINES[level] + reason, findings=found)


def listed(names: Iterable[str], most: int = 4) -> str:
    """Return names as one says them: a, b and c; what goes beyond `most` is counted."""
    names = list(names)
    if len(names) > most:
        names = [*names[: most - 1], f"{len(names) - most + 1} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def percent(share: float | None) -> str:
    """Return a share in per cent, with two digits that count."""
    points = 100 * (share or 0.0)
    return f"{points:.0f} %" if points >= 9.95 or points == 0 else f"{points:.2g} %"


def _physics(physics: Physics) -> Iterator[Finding]:
    yield from _ranges(physics)
    yield from _tails(physics.tails)
    limit = THRESHOLDS["steps"]
    fast = {s.column: (s.synthetic or 0) - (s.real or 0) for s in physics.steps}
    for level, names in _by_level({n: limit.level(v) for n, v in fast.items()}):
        worst = max(names, key=lambda name: fast[name])
        yield Finding(
            level=level,
            area="physics",
            kind="steps",
            columns=names,
            value=fast[worst],
            text=f"{listed(names)} {_verb(names, 'changes', 'change')} faster than a real machine: "
            f"{percent(fast[worst])} of the steps of {worst} beat all but 0.1 % of real ones.",
        )
    for missing in physics.missing_levels:
        if (missing.chance or 0) < RARE_CHANCE:
            yield Finding(
                level="bad" if (missing.real or 0) >= COMMON_LEVEL else "care",
                area="physics",
                kind="missing_level",
                columns=[missing.column],
                value=missing.real,
                text=f"{missing.column} is never {missing.level!r}, which it is in "
                f"{percent(missing.real)} of the real rows: these rows know nothing of that case.",
            )
    rising = (physics.rising_rul.get("synthetic") or 0) - max(
        physics.rising_rul.get(side) or 0 for side in ("train", "holdout")
    )
    if (level := THRESHOLDS["rising_rul"].level(rising)) != "good":
        yield Finding(
            level=level,
            area="physics",
            kind="rising_rul",
            value=rising,
            text=f"Remaining useful life rises at {percent(rising)} of the steps within a life, "
            "which it cannot: do not train sequence models on these lives.",
        )


def _ranges(physics: Physics) -> Iterator[Finding]:
    factor = {r.column: max(r.factor, 1 / r.factor) for r in physics.ranges if r.factor is not None}
    mixed = [name for name, size in factor.items() if THRESHOLDS["unit"].level(size) != "good"]
    for r in physics.ranges:
        if r.column in mixed:
            times = factor[r.column]
            yield Finding(
                level="bad",
                area="physics",
                kind="unit",
                columns=[r.column],
                value=r.factor,
                text=f"{r.column} is about {times:,.0f} times as "
                f"{'large' if (r.factor or 0) > 1 else 'small'} as in the real rows: "
                "a unit was mixed up.",
            )
    outside = {
        r.column: (r.synthetic or 0) - (r.real or 0)
        for r in physics.ranges
        if r.column not in mixed
    }
    kinds = {r.column: r.of for r in physics.ranges}
    limit = THRESHOLDS["outside"]
    for level, names in _by_level({n: limit.level(v) for n, v in outside.items()}):
        worst = max(names, key=lambda name: outside[name])
        span = "its measuring range" if kinds[worst] == "profile" else "anything seen in real rows"
        yield Finding(
            level=level,
            area="physics",
            kind="outside",
            columns=names,
            value=outside[worst],
            text=f"{listed(names)} {_verb(names, 'leaves', 'leave')} the possible: "
            f"{percent(outside[worst])} of the rows of {worst} lie outside {span}.",
        )


def _tails(tails: list[Tail]) -> Iterator[Finding]:
    for end in ("upper", "lower"):
        judged = [tail for tail in tails if tail.end == end and tail.real]
        lost = [t for t in judged if (t.synthetic or 0) < TAIL_LEFT * (t.real or 0)]
        swollen = [t for t in judged if (t.synthetic or 0) > TAIL_SWOLLEN * (t.real or 0)]
        side = "above" if end == "upper" else "below"
        for some, what, advice in (
            (lost, "lacks its", "do not use these rows to set alarm levels on"),
            (swollen, "has too much of its", "alarms would go off too often on"),
        ):
            if not some:
                continue
            names, first = [t.column for t in some], some[0]
            what = what if len(names) == 1 else what.replace("lacks", "lack").replace("has", "have")
            what = what if len(names) == 1 else what.replace("its", "their")
            yield Finding(
                level="care",
                area="physics",
                kind=f"{end}_tail",
                columns=names,
                value=first.synthetic,
                text=f"{listed(names)} {what} {end} tail{'s' if len(names) > 1 else ''} "
                f"({percent(first.synthetic)} of the rows of {first.column} are {side} "
                f"{first.limit:.6g}, {percent(first.real)} of the real rows): {advice} "
                f"{'it' if len(names) == 1 else 'them'}.",
            )


def _wear(relations: list[Relation], rul: str | None) -> Iterator[Finding]:
    """Columns that show wear in real lives, and how many of them run the other way here."""
    shown = [
        r
        for r in relations
        if rul in r.columns
        and min(abs(r.real or 0), abs(r.holdout or 0)) >= STRONG
        and (r.real or 0) * (r.holdout or 0) > 0
    ]
    turned = [r for r in shown if (r.real or 0) * (r.synthetic or 0) < 0]
    against = [r for r in turned if THRESHOLDS["relation"].level(r.gap) != "good"]
    if against:
        names = [next(c for c in r.columns if c != rul) for r in against]
        yield Finding(
            level="bad",
            area="physics",
            kind="wear",
            columns=names,
            value=len(against) / len(shown),
            text=f"{rul} runs backwards against {listed(names)} ({len(against)} of {len(shown)} "
            "columns that show wear): what announces a failure in real lives announces its "
            "absence here.",
        )
    elif shown and all(THRESHOLDS["relation"].level(r.gap) == "good" for r in shown):
        text = "The column that shows wear does so here as in real lives."
        if len(shown) > 1:
            text = f"All {len(shown)} columns that show wear do so here as in real lives."
        yield Finding(level="good", area="physics", kind="wear", text=text)


def _task(task: Task) -> Iterator[Finding]:
    score = {name: found[task.metric] for name, found in task.scores.items()}
    real, ours = score.get("real"), score.get("synthetic")
    name = "R2" if task.number else "average precision"
    room = None if real is None else real - (task.base or 0.0)
    if real is None or room is None or room < PREDICTABLE:
        yield Finding(
            level="note",
            area="utility",
            kind="not_predictable",
            columns=[task.target],
            value=real,
            text=f"Real rows cannot predict {task.target} either"
            f"{'' if real is None else f' ({name} {real:.2f})'}, so nothing can be said of it.",
        )
        return
    if ours is None:
        yield Finding(
            level="bad",
            area="utility",
            kind="utility",
            columns=[task.target],
            text=f"{task.target} does not vary in these rows, so nothing can be learned about it.",
        )
        return
    loss = real - ours if task.number else (real - ours) / room
    level = THRESHOLDS["r2_loss" if task.number else "ap_loss"].level(loss)
    how = {
        "good": "predicts {} of real {} about as well as",
        "care": "predicts {} of real {} less well than",
        "bad": "fails to predict {} of real {}, unlike",
    }[level].format(task.target, "lives" if task.kind == "rul" else "rows")
    yield Finding(
        level=level,
        area="utility",
        kind="utility",
        columns=[task.target],
        value=loss,
        text=f"A model trained on these rows {how} one trained on real rows "
        f"({name} {ours:.2f} against {real:.2f}).",
    )
    yield from _beside(task, name, real, ours, score)


def _beside(
    task: Task, name: str, real: float, ours: float, score: dict[str, float | None]
) -> Iterator[Finding]:
    """The comparisons that decide whether the model was worth training."""
    for rival, said in (
        ("interpolation", "Interpolated real rows (SMOTE)"),
        ("copula", "A copula"),
    ):
        other = score.get(rival)
        if other is not None and other > ours + HELPS:
            yield Finding(
                level="care" if other > ours + THRESHOLDS["r2_loss"].care else "note",
                area="utility",
                kind=f"beaten_by_{rival}",
                columns=[task.target],
                value=other - ours,
                text=f"{said} {'teach' if rival == 'interpolation' else 'teaches'} {task.target} "
                f"better, row by row ({name} {other:.2f} against {ours:.2f}).",
            )
    both = score.get("both")
    if both is not None:
        change = both - real
        effect = "helps" if change > HELPS else "harms" if change < -HELPS else "changes little"
        yield Finding(
            level="note",
            area="utility",
            kind="augmentation",
            columns=[task.target],
            value=change,
            text=f"Adding these rows to the real ones {effect} for {task.target} "
            f"({name} {both:.3f} against {real:.3f} with real rows alone).",
        )


def _lives(lives: LifeFigures | None) -> Iterator[Finding]:
    if lives is None:
        return
    real, ours, mixed = (lives.r2.get(name) for name in ("real", "synthetic", "shuffled"))
    if real is not None and ours is not None and real >= PREDICTABLE:
        loss = real - ours
        level = THRESHOLDS["r2_loss"].level(loss)
        said = {
            "good": "teach about as much as real ones",
            "care": "teach less than real ones",
            "bad": "teach little of what real ones do",
        }[level]
        yield Finding(
            level=level,
            area="lives",
            kind="windows",
            value=loss,
            text=f"To a model that looks at {lives.width} rows at a time these lives {said} (R2 "
            f"{ours:.2f} against {real:.2f}; real rows with their lives mixed up: {mixed:.2f}).",
        )
    errors = {
        side: [e for e in lives.acf.get(side, []) if e is not None]
        for side in ("synthetic", "real")
    }
    if all(errors.values()):
        excess = max(errors["synthetic"]) - max(errors["real"])
        level = THRESHOLDS["acf"].level(excess)
        if level != "good":
            yield Finding(
                level=level,
                area="lives",
                kind="acf",
                value=excess,
                text="Courses in time are rougher or smoother than real ones: the autocorrelation "
                f"is off by {max(errors['synthetic']):.2f} on average.",
            )
    area = lives.c2st.get("synthetic")
    if (level := THRESHOLDS["detection"].level(area)) != "good":
        yield Finding(
            level=level,
            area="lives",
            kind="window_detection",
            value=area,
            text=f"A classifier tells windows of these lives from real ones (AUC {area:.2f}).",
        )


def _privacy(privacy: Privacy) -> Iterator[Finding]:
    found: list[tuple[str, Level, float, str]] = []
    copies = (privacy.copies or 0) - (privacy.copies_real or 0)
    found.append(
        (
            "copies",
            THRESHOLDS["copies"].level(copies),
            copies,
            f"The table holds copies: {percent(privacy.copies)} of its rows are training rows to "
            f"the last digit ({percent(privacy.copies_real)} of held-out rows are).",
        )
    )
    near = privacy.near_copies or 0
    more = near - (privacy.near_copies_real or 0)
    found.append(
        (
            "near_copies",
            THRESHOLDS["near_copies"].level(more),
            more,
            f"{percent(near)} of the rows lie so close to a training row as only "
            f"{percent(privacy.near_copies_real)} of held-out rows do: the model memorises.",
        )
    )
    for view, memory in privacy.memory.items():
        certain = (memory.p if memory.p is not None else 1.0) < BY_CHANCE
        share = memory.share or 0.0
        found.append(
            (
                f"memory_{view}",
                THRESHOLDS["memory"].level(share) if certain else "good",
                share,
                f"The model remembers {view}: {percent(share)} are nearer to what it has seen than "
                "to what was held out (50 % would be no memory at all).",
            )
        )
    loss = privacy.adversarial.get("loss") or 0.0
    found.append(
        (
            "adversarial",
            THRESHOLDS["adversarial"].level(loss),
            loss,
            f"The rows lie closer to what the model has seen than to what it has not: the "
            f"nearest-neighbour privacy loss is {loss:.2f}.",
        )
    )
    alarms = [each for each in found if each[1] != "good"]
    for kind, level, value, text in alarms:
        yield Finding(level=level, area="privacy", kind=kind, value=value, text=text)
    if not alarms:
        yield Finding(
            level="good",
            area="privacy",
            kind="privacy",
            text="No sign of memory: no copies, and what was held out is as near as what was seen, "
            "as far as chance can tell.",
        )


def column_excess(column: ColumnFit) -> float:
    """Return the share of rows that would have to move beyond twice what training rows need."""
    ours = 1 - (column.score if column.score is not None else 1.0)
    real = 1 - (column.real_score if column.real_score is not None else 1.0)
    gaps = abs((column.missing or 0) - (column.missing_real or 0))
    return max(ours - 2 * real, gaps)


def _shapes(columns: list[ColumnFit]) -> Iterator[Finding]:
    excess = {column.name: column_excess(column) for column in columns}
    score = {column.name: column.score or 0.0 for column in columns}
    limit = THRESHOLDS["shape"]
    for level, names in _by_level({name: limit.level(v) for name, v in excess.items()}):
        names.sort(key=lambda name: -excess[name])
        worst = names[0]
        yield Finding(
            level=level,
            area="fidelity",
            kind="shape",
            columns=names,
            value=excess[worst],
            text=f"{listed(names)} {_verb(names, 'is', 'are')} not distributed as in real rows: "
            f"{percent(1 - score[worst])} of the rows of {worst} would have to move.",
        )


def _relations(relations: list[Relation]) -> Iterator[Finding]:
    """Broken pairs, told by the column that most of them share."""
    limit = THRESHOLDS["relation"]
    broken = [r for r in relations if limit.level(r.gap) != "good"]
    for _ in range(MOST_FINDINGS):
        if not broken:
            return
        shared: dict[str, list[Relation]] = defaultdict(list)
        for relation in broken:
            for name in relation.columns:
                shared[name].append(relation)
        name, some = max(shared.items(), key=lambda item: len(item[1]))
        worst = max(some, key=lambda r: r.gap)
        others = [next(c for c in r.columns if c != name) for r in some]
        partner = next(c for c in worst.columns if c != name)
        because = f", though both follow {worst.because}" if worst.because else ""
        invented = abs(worst.synthetic or 0) > abs(worst.real or 0)
        said = "has relations it should not have" if invented else "has lost its relation"
        yield Finding(
            level=limit.level(worst.gap),
            area="physics",
            kind="relation",
            columns=[name, *others],
            value=worst.gap,
            text=f"{name} {said} with {listed(others)} (rank correlation with {partner} "
            f"{worst.synthetic:.2f} instead of {worst.real:.2f}{because}): do not learn from these "
            "columns together.",
        )
        broken = [relation for relation in broken if relation not in some]


def _detection(detection: Detection) -> Iterator[Finding]:
    level = THRESHOLDS["detection"].level(detection.auc)
    if level != "good":
        names = list(detection.giveaways)[:3]
        by = f", most of all by {listed(names)}" if names else ""
        yield Finding(
            level=level,
            area="detection",
            kind="detection",
            columns=names,
            value=detection.auc,
            text=f"A classifier tells these rows from real ones (AUC {detection.auc:.2f}){by}.",
        )


def _praise(
    columns: list[ColumnFit], found: list[Finding], profile: Profile | None
) -> Iterator[Finding]:
    """What may be relied on: groups of sensors, or columns, with nothing against them."""
    accused = {n for f in found if f.level in ("bad", "care") for n in f.columns}
    sensors = profile.sensors if profile else {}
    groups: dict[str, list[str]] = defaultdict(list)
    for column in columns:
        if column.name in sensors:
            groups[sensors[column.name].group].append(column.name)
    good = sorted(group for group, names in groups.items() if not accused & set(names))
    fine = [column.name for column in columns if column.name not in accused]
    if good:
        text = f"The {listed(good)} columns are good."
    elif fine:
        text = f"{len(fine)} of {len(columns)} columns are good: nothing was found against them."
    else:
        return
    yield Finding(level="good", area="fidelity", kind="columns", columns=fine, text=text)


def _by_level(levels: dict[str, Level]) -> Iterator[tuple[Level, list[str]]]:
    for level in ("bad", "care"):
        names = [name for name, each in levels.items() if each == level]
        if names:
            yield level, names


def _verb(names: list[str], one: str, many: str) -> str:
    return one if len(names) == 1 else many
