"""The verdict: three levels with reasons in plain sentences; its thresholds are in `thresholds`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Literal

from gan_lab.schema import Message
from gan_lab.synth.report.compared_tables import Sides
from gan_lab.synth.report.detection import Detection
from gan_lab.synth.report.fidelity import ColumnFit, Fidelity
from gan_lab.synth.report.physics import MissingLevel, OutOfRange, Physics, Relation, Tail
from gan_lab.synth.report.privacy import Privacy
from gan_lab.synth.report.thresholds import (
    BY_CHANCE,
    COMMON_LEVEL,
    FEWEST_LIVES,
    HELPS,
    HINT,
    LEVELS,
    PREDICTABLE,
    RARE_CHANCE,
    STRONG,
    TAIL_LEFT,
    TAIL_SWOLLEN,
    THRESHOLDS,
    Level,
)
from gan_lab.synth.report.utility import Task
from gan_lab.synth.report.windows import LifeFigures
from gan_lab.synth.report.wording import (
    Finding,
    beyond,
    columns_beyond,
    finding,
    listed,
    percent,
    verb,
)
from gan_lab.workspace.profiles import Profile

UNLIKE = (  # kinds of findings that conditions bring about
    "shape", "relation", "detection", "window_detection", "missing_level", "utility", "windows",
    "acf",
)  # fmt: skip
MEMORY = ("copies", "near_copies", "memory", "adversarial")  # kinds of findings
MOST_FINDINGS = 5  # of one kind; the tables of the report have them all


class Verdict(Message):
    """The worst level of all findings, what sums them up, and the findings, worst first.

    Before them comes on how few lives they rest. The headline names the worst of them and memory.
    """

    level: Literal["good", "care", "bad"]
    headline: str
    findings: list[Finding]


HEADLINES = {
    "good": "No fault found: you can use these rows.",
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
    sides: Sides,
    asked: str = "",
) -> Verdict:
    """Turn the figures of a report into sentences; `asked`: the conditions of the rows, if any."""
    few = list(_few_lives(sides))
    found = [
        *_physics(physics),
        *_wear(physics.relations, sides.roles.rul),
        *(each for task in utility for each in _task(task)),
        *(_lives(lives) if lives else ()),
        *(_loose() if sides.loose else ()),
        *_privacy(privacy, bool(few)),
        *_shapes(fidelity.columns),
        *_relations(physics.relations),
        *_detection(detection),
    ]
    if asked:
        found = [_excused(each) for each in found]
    if few:
        found = [each.model_copy(update={"level": _untested(each.level)}) for each in found]
    else:
        found.extend(_praise(fidelity.columns, found, sides.profile))
    found.sort(key=lambda each: LEVELS.index(each.level))
    against = [each for each in found if each.level in ("bad", "care")]
    level: Level = against[0].level if against else "care" if few else "good"
    memory = next((each for each in against if each.kind in MEMORY), None)
    reasons = [*few, *(each for each in against if each in (against[0], memory))]
    if asked:
        text = f"Conditions of these rows: {asked}. What differs by them is no fault."
        found.append(finding("note", "conditions", text))
        reasons.append(found[-1])
    return Verdict(
        level=level,
        headline=" ".join([HEADLINES[level], *(each.text for each in reasons)]),
        findings=[*few, *found],
    )


def _few_lives(sides: Sides) -> Iterator[Finding]:
    """Say where a report rests on so few lives that nothing can be called good."""
    life = sides.roles.life
    if life is None:
        return
    from scipy.special import comb

    held, seen = sides.holdout[life].nunique(), sides.train[life].nunique()
    fewer = min(held, seen)
    if fewer < FEWEST_LIVES or comb(held + seen, fewer) * BY_CHANCE < 1:  # inf for many lives
        text = (
            f"The model learned from {seen} {'life' if seen == 1 else 'lives'} and the report "
            f"holds out {held}: too few to separate a fault of the model from the differences "
            "between lives, or memory from chance. The report calls nothing good. Import more "
            "lives, or train with a larger holdout."
        )
        yield finding("care", "few_lives", text, value=fewer)


def _excused(each: Finding) -> Finding:
    """Return what is found of rows drawn under conditions: to be unlike the real ones may be what
    was asked for; to be impossible, to wear backwards or to be a copy is not."""
    on_purpose = each.kind in UNLIKE and each.level == "bad"
    return each.model_copy(update={"level": "care"}) if on_purpose else each


def _untested(level: Level) -> Level:
    return "note" if level == "good" else level


# ---- physics


def _physics(physics: Physics) -> Iterator[Finding]:
    yield from _ranges(physics.ranges)
    yield from _tails(physics.tails)
    fast = {s.column: (s.synthetic or 0) - (s.real or 0) for s in physics.steps}
    yield from columns_beyond(
        "steps",
        fast,
        lambda names, worst: (
            f"{listed(names)} {verb(names, 'changes', 'change')} faster than a real machine: "
            f"{percent(fast[worst])} of the steps of {worst} are faster than 99.9 % of real ones."
        ),
    )
    yield from _missing_levels(physics.missing_levels)
    ours, *real = (physics.rising_rul.get(s) or 0 for s in ("synthetic", "train", "holdout"))
    rising = ours - max(real)
    text = f"Remaining useful life rises at {percent(rising)} of the steps within a life"
    text += ", which is impossible: do not train sequence models on these lives."
    yield from beyond("rising_rul", rising, text)


def _ranges(ranges: list[OutOfRange]) -> Iterator[Finding]:
    times = {r.column: max(r.factor, 1 / r.factor) for r in ranges if r.factor}
    mixed = [r for r in ranges if THRESHOLDS["unit"].level(times.get(r.column)) != "good"]
    for r in mixed:
        size = "large" if (r.factor or 0) > 1 else "small"
        text = f"{r.column} is about {times[r.column]:,.0f} times as {size} as in the real rows"
        yield finding("bad", "unit", f"{text}: a unit was mixed up.", [r.column], r.factor)
    outside = {r.column: (r.synthetic or 0) - (r.real or 0) for r in ranges if r not in mixed}
    spans = {
        "profile": "its measuring range",
        "imported table": "the range of the imported table",
        "real rows": "anything seen in real rows",
    }
    span = {r.column: spans[r.of] for r in ranges}
    measured = {r.column for r in ranges if r.of == "profile"}
    yield from columns_beyond(
        "outside",
        outside,
        lambda names, worst: (
            f"{listed(names)} {verb(names, 'leaves', 'leave')} "
            f"{'the possible' if measured >= set(names) else 'what is known'}: "
            f"{percent(outside[worst])} of the rows of {worst} lie outside {span[worst]}."
        ),
    )


def _missing_levels(missing: list[MissingLevel]) -> Iterator[Finding]:
    for each in missing:
        if (each.chance or 0) < RARE_CHANCE:
            level: Level = "bad" if (each.real or 0) >= COMMON_LEVEL else "care"
            text = (
                f"{each.column} is never {each.level!r}, which it is in {percent(each.real)} of "
                "the real rows: these rows know nothing of that case."
            )
            yield finding(level, "missing_level", text, [each.column], each.real)


def _tails(tails: list[Tail]) -> Iterator[Finding]:
    for end in ("upper", "lower"):
        times = [(t, (t.synthetic or 0) / t.real) for t in tails if t.end == end and t.real]
        lost = [tail for tail, share in times if share < TAIL_LEFT]
        advice = "do not use these rows to set alarm levels on"
        yield from _tail(lost, ("lacks", "lack"), advice)
        swollen = [tail for tail, share in times if share > TAIL_SWOLLEN]
        advice = "alarms would go off too often on"
        yield from _tail(swollen, ("has too much of", "have too much of"), advice)


def _tail(tails: list[Tail], says: tuple[str, str], advice: str) -> Iterator[Finding]:
    if tails:
        names, first = [tail.column for tail in tails], tails[0]
        its, what, it = ("its", "tail", "it") if len(names) == 1 else ("their", "tails", "them")
        text = (
            f"{listed(names)} {verb(names, *says)} {its} {first.end} {what} "
            f"({percent(first.synthetic)} of the rows of {first.column} are "
            f"{'above' if first.end == 'upper' else 'below'} {first.limit:.6g}, "
            f"{percent(first.real)} of the real rows): {advice} {it}."
        )
        yield finding("care", f"{first.end}_tail", text, names, first.synthetic)


def _wear(relations: list[Relation], rul: str | None) -> Iterator[Finding]:
    """Columns that show wear in real lives, and how many of them run the other way here."""
    shown = [
        r
        for r in relations
        if rul in r.columns
        and min(abs(r.real or 0), abs(r.holdout or 0)) >= STRONG
        and (r.real or 0) * (r.holdout or 0) > 0
    ]
    broken = [r for r in shown if THRESHOLDS["relation"].level(r.gap) != "good"]
    against = [r for r in broken if (r.real or 0) * (r.synthetic or 0) < 0]
    if against:
        names = [r.other(rul) for r in against]
        text = (
            f"{rul} runs backwards against {listed(names)} ({len(against)} of {len(shown)} columns "
            "that show wear): what announces a failure in real lives announces its absence here."
        )
        yield finding("bad", "wear", text, names, len(against) / len(shown))
    elif shown and not broken:
        text = "The column that shows wear does so here as in real lives."
        if len(shown) > 1:
            all_of = "Both" if len(shown) == 2 else f"All {len(shown)}"
            text = f"{all_of} columns that show wear do so here as in real lives."
        yield finding("good", "wear", text)


def _relations(relations: list[Relation]) -> Iterator[Finding]:
    """Broken pairs, told by the column that most of them share."""
    broken = [r for r in relations if THRESHOLDS["relation"].level(r.gap) != "good"]
    yield from _promises([r for r in relations if r.because and abs(r.real or 0) >= STRONG])
    for _ in range(MOST_FINDINGS):
        if not broken:
            return
        shared: dict[str, list[Relation]] = defaultdict(list)
        for relation in broken:
            for name in relation.columns:
                shared[name].append(relation)
        name, some = max(shared.items(), key=lambda item: len(item[1]))
        worst = max(some, key=lambda r: r.gap)
        others = [r.other(name) for r in some]
        because = f", though {worst.because}" if worst.because else ""
        invented = abs(worst.synthetic or 0) > abs(worst.real or 0)
        said = "has relations it should not have" if invented else "has lost its relation"
        text = (
            f"{name} {said} with {listed(others)} (rank correlation with {worst.other(name)} "
            f"{worst.synthetic or 0:.2f} instead of {worst.real or 0:.2f}{because}): do not learn "
            "from these columns together."
        )
        yield from beyond("relation", worst.gap, text, [name, *others])
        broken = [relation for relation in broken if relation not in some]


def _promises(promised: list[Relation]) -> Iterator[Finding]:
    """What the profile says of its sensors, where all of it holds."""
    if promised and all(THRESHOLDS["relation"].level(r.gap) == "good" for r in promised):
        best = max(promised, key=lambda r: abs(r.real or 0))
        text = (
            f"All {len(promised)} pairs of columns that the profile ties together stay together, "
            f"such as {' and '.join(best.columns)} ({best.because})."
        )
        yield finding("good", "promise", text)


# ---- utility and lives


def _task(task: Task) -> Iterator[Finding]:
    score = {name: found[task.metric] for name, found in task.scores.items()}
    real, ours = score.get("real"), score.get("synthetic")
    name, about = "R2" if task.number else "average precision", [task.target]
    room = 0.0 if real is None else real - (task.base or 0.0)
    if real is None or room < PREDICTABLE:
        text = f"Real rows cannot predict {task.target} either"
        text += "" if real is None else f" ({name} {real:.2f})"
        text += ", so nothing can be said of it."
        yield finding("note", "not_predictable", text, about, real)
    elif ours is None:
        text = f"{task.target} does not vary in these rows, so nothing can be learned about it."
        yield finding("bad", "utility", text, about)
    else:
        loss = real - ours if task.number else (real - ours) / room
        level = THRESHOLDS["r2_loss" if task.number else "ap_loss"].level(loss)
        how = {
            "good": "predicts {} of real {} about as well as",
            "care": "predicts {} of real {} less well than",
            "bad": "fails to predict {} of real {}, unlike",
        }[level].format(task.target, "lives" if task.kind == "rul" else "rows")
        text = (
            f"A model trained on these rows {how} one trained on real rows "
            f"({name} {ours:.2f} against {real:.2f})."
        )
        yield finding(level, "utility", text, about, loss)
        yield from _rivals(task.target, name, ours, score)
        yield from _augmentation(task.target, name, real, score.get("both"))


def _rivals(
    target: str, name: str, ours: float, score: dict[str, float | None]
) -> Iterator[Finding]:
    """What one could have done without a model, where that would have been better."""
    other = score.get("interpolation")
    if other is not None and other > ours + HELPS:
        level: Level = "care" if other > ours + THRESHOLDS["r2_loss"].care else "note"
        text = (
            f"Interpolated real rows (SMOTE) teach {target} better, row by row "
            f"({name} {other:.2f} against {ours:.2f})."
        )
        yield finding(level, "beaten_by_interpolation", text, [target], other - ours)


def _augmentation(target: str, name: str, real: float, both: float | None) -> Iterator[Finding]:
    if both is not None:
        change = both - real
        effect = "helps" if change > HELPS else "harms" if change < -HELPS else "changes little"
        text = (
            f"Adding these rows to the real ones {effect} for {target} "
            f"({name} {both:.3f} against {real:.3f} with real rows alone)."
        )
        yield finding("note", "augmentation", text, [target], change)


def _lives(lives: LifeFigures) -> Iterator[Finding]:
    real, ours, mixed = (lives.r2.get(name) for name in ("real", "synthetic", "shuffled"))
    if real is not None and ours is not None and real >= PREDICTABLE:
        level = THRESHOLDS["r2_loss"].level(real - ours)
        said = {
            "good": "teach about as much as real ones",
            "care": "teach less than real ones",
            "bad": "teach little of what real ones do",
        }[level]
        text = (
            f"To a model that looks at {lives.width} rows at a time these lives {said} "
            f"(R2 {ours:.2f} against {real:.2f}; real rows with their lives mixed up: "
            f"{mixed or 0:.2f})."
        )
        yield finding(level, "windows", text, value=real - ours)
    ours_off, real_off = (
        max((e for e in lives.acf.get(side, []) if e is not None), default=None)
        for side in ("synthetic", "real")
    )
    if ours_off is not None and real_off is not None:
        yield from beyond(
            "acf",
            ours_off - real_off,
            f"Autocorrelation differs from real lives by {ours_off:.2f} on average: courses in "
            "time are rougher or smoother than real ones.",
        )
    area = lives.c2st.get("synthetic")
    text = f"Detection AUC {area or 0:.2f}: a classifier tells these windows from real ones."
    yield from beyond("window_detection", area, text, limit="detection")


def _loose() -> Iterator[Finding]:
    text = "These rows form no lives: do not train sequence models on them. A sequential model "
    yield finding("care", "no_lives", f"{text}generates lives.")


# ---- privacy


def _privacy(privacy: Privacy, few: bool = False) -> Iterator[Finding]:
    alarms = [*_copies(privacy), *_memory(privacy)]
    yield from alarms
    if alarms:
        return
    copies = "no copies"
    if privacy.copies:
        copies = (
            f"{percent(privacy.copies)} of the rows are training rows to the last digit "
            f"({percent(privacy.copies_real)} of held-out rows are)"
        )
    near = [
        f"{percent(memory.share)} of the {view} (p {memory.p:.2g})"
        for view, memory in privacy.memory.items()
        if memory.p is not None and memory.p < HINT
    ]
    if near:
        copies += (
            f", and {listed(near)} are nearer to training than to held-out ones (50 %: no memory)"
        )
    if near or (privacy.copies or 0) > (privacy.copies_real or 0):
        text = f"A hint of memory, too weak to be held against these rows: {copies}."
        yield finding("note", "privacy", text)
    elif few:
        text = "For want of lives it was not tested whether the model remembers them; of rows:"
        yield finding("note", "privacy", f"{text} {copies}.")
    else:
        text = f"No sign of memory: {copies}, and what was held out is as near as what was seen"
        yield finding("good", "privacy", f"{text}, as far as chance can tell.")


def _copies(privacy: Privacy) -> Iterator[Finding]:
    yield from beyond(
        "copies",
        (privacy.copies or 0) - (privacy.copies_real or 0),
        f"The table holds copies: {percent(privacy.copies)} of its rows are training rows to the "
        f"last digit ({percent(privacy.copies_real)} of held-out rows are).",
    )
    yield from beyond(
        "near_copies",
        (privacy.near_copies or 0) - (privacy.near_copies_real or 0),
        f"{percent(privacy.near_copies)} of the rows lie so close to a training row as only "
        f"{percent(privacy.near_copies_real)} of held-out rows do: the model memorises.",
    )


def _memory(privacy: Privacy) -> Iterator[Finding]:
    shares = {
        view: memory.share or 0.0
        for view, memory in privacy.memory.items()
        if (1.0 if memory.p is None else memory.p) < BY_CHANCE
        and THRESHOLDS["memory"].level(memory.share) != "good"
    }
    if shares:
        said = listed(f"{percent(share)} of the {view}" for view, share in shares.items())
        yield from beyond(
            "memory",
            max(shares.values()),
            f"The model memorises: {said} are nearer to training than to held-out ones "
            "(50 %: no memory).",
        )
    loss = privacy.adversarial.get("loss")
    yield from beyond(
        "adversarial",
        loss,
        f"Nearest-neighbour privacy loss {loss or 0:.2f}: the rows lie closer to training rows "
        "than to held-out ones.",
    )


# ---- fidelity and detection


def column_excess(column: ColumnFit) -> float:
    """Return the share of rows that would have to move beyond twice what training rows need."""
    ours = 1 - (column.score if column.score is not None else 1.0)
    real = 1 - (column.real_score if column.real_score is not None else 1.0)
    gaps = abs((column.missing or 0) - (column.missing_real or 0))
    return max(ours - 2 * real, gaps)


def _shapes(columns: list[ColumnFit]) -> Iterator[Finding]:
    score = {column.name: column.score or 0.0 for column in columns}
    yield from columns_beyond(
        "shape",
        {column.name: column_excess(column) for column in columns},
        lambda names, worst: (
            f"{listed(names)} {verb(names, 'is', 'are')} not distributed as in "
            f"real rows: {percent(1 - score[worst])} of the rows of {worst} would have to move."
        ),
    )


def _detection(detection: Detection) -> Iterator[Finding]:
    names = list(detection.giveaways)[:3]
    by = f", mostly by {listed(names)}" if names else ""
    text = (
        f"Detection AUC {detection.auc or 0:.2f}: a classifier tells these rows from real ones{by}."
    )
    yield from beyond("detection", detection.auc, text, names)


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
    if good and len(groups) > 1:
        text = f"The {listed(good)} columns are good."
    elif fine:
        text = f"{len(fine)} of {len(columns)} columns are good: nothing was found against them."
    else:
        return
    yield finding("good", "columns", text, fine)
