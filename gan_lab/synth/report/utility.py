"""Utility: train on synthetic rows, or windows of them, test on held-out real ones, beside real
ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from gan_lab.schema import FAILURE_NAME, Message
from gan_lab.synth.report import thresholds as limits
from gan_lab.synth.report.compared_tables import Array, Figure, Points, Sides, Units, some
from gan_lab.synth.report.finding import Finding, amount
from gan_lab.synth.report.thresholds import THRESHOLDS
from gan_lab.synth.report.windows import Windows, window_width

RESAMPLES = 30
MIN_UNITS = 5  # held out, that say how much others would differ
MAX_ROWS = 10_000  # of each table that trees learn from; twice as many move R2 by about 0.01
MAX_LEARNED = 3_000  # windows, of which that is true too
LEAK = 0.95  # a rare flag that goes with one answer so often is part of the answer

CONTESTANTS = {
    "real": "real training rows",
    "synthetic": "synthetic rows",
    "both": "real and synthetic rows together",
}
Rows = tuple[Points, Array | Points]  # features and target
Examples = tuple[Points, Array | Points, Units]  # and the life of each
Scored = tuple[dict[str, float], Array]  # scores, and the first of them in each resample
ADVICE = {
    "good": "",
    "care": " Expect weaker predictions: prefer real rows where you have them.",
    "bad": " Do not train this model on these rows.",
}
FOR_ROWS = (
    " Rows drawn one by one hold nothing that the real ones lack: use them for sharing, for "
    "testing and for more of what is rare."
)
WORSE_THAN_MEAN = " Below 0 it is worse than always answering the mean."


class Task(Message):
    """One thing to predict, and how well after training on each contestant's rows, or windows of
    `width` rows.

    Of a number: `r2`, and `mae` in its unit. Of a category: `ap` (average precision, mean over all
    classes but the commonest; `base` is what guessing reaches). `se`: the standard error of `r2` or
    `ap`, over which rows (lives) happen to be held out; `change_se`: that of what "both" adds to
    "real".
    """

    target: str
    number: bool
    left_out: list[str]
    base: Figure
    scores: dict[str, dict[str, Figure]]
    change_se: Figure = None
    width: int | None = None

    @property
    def metric(self) -> str:
        """The score the verdict looks at."""
        return "r2" if self.number else "ap"

    def score(self, side: str) -> float | None:
        """Return what a model of one contestant's rows reaches."""
        return self.scores.get(side, {}).get(self.metric)


def utility(sides: Sides) -> list[Task]:
    """Predict what the machine's data is for: remaining useful life, failure, else a column."""
    return [_task(sides, target) for target in _targets(sides)]


def _targets(sides: Sides) -> list[str]:
    """Declared targets, else a column named like a failure, else the number easiest to predict."""
    varying = [name for name in sides.kinds if _varies(sides, name)]
    declared = [n for n in (sides.roles.rul, sides.roles.failure_mode) if n in varying]
    if declared:
        return declared
    for name in varying:
        if FAILURE_NAME.search(name) and sides.kinds[name] == "category":
            return [name]
    numbers = [name for name in varying if sides.kinds[name] == "number"]
    if len(numbers) < 2:
        return []
    ranks = sides.train[numbers].rank().corr().abs().fillna(0.0) - np.eye(len(numbers))
    return [str(ranks.max().idxmax())]


def _varies(sides: Sides, name: str) -> bool:
    """Whether there is something to learn: two values in training, two to test with."""
    return all(table[name].nunique() > 1 for table in (sides.train, sides.holdout))


def _task(sides: Sides, target: str) -> Task:
    number, left_out = sides.kinds[target] == "number", _part_of_the_answer(sides, target)
    names = list(sides.kinds)
    place = names.index(target)
    used = [n for n, name in enumerate(names) if name not in (target, *left_out)]
    category = [sides.kinds[names[n]] == "category" for n in used]
    rng = np.random.default_rng(sides.seed)
    given = {
        name: _examples(table[:, used], table[:, place], sides.units(sides.tables[name]), rng)
        for name, table in sides.features.items()
    }
    held = given["holdout"][1]
    shares = np.sort(np.unique(held, return_counts=True)[1] / len(held))
    return Task(
        target=target,
        number=number,
        left_out=left_out,
        base=None if number else shares[:-1].mean(),
        **_compared(given, _regression if number else _classification, category, sides.seed),
    )


def utility_of_windows(sides: Sides, views: Mapping[str, Windows]) -> list[Task]:
    """Predict remaining useful life from windows of rows, where it is known."""
    rng = np.random.default_rng(sides.seed)
    given = {
        name: _examples(view.features, view.rul, view.life, rng, MAX_LEARNED)
        for name, view in views.items()
        if view.rul is not None
    }
    if not given or min(len(np.unique(each[1])) for each in given.values()) < 2:
        return []
    return [
        Task(
            target=str(sides.roles.rul),
            number=True,
            left_out=[],
            base=None,
            width=window_width(sides.train, sides.roles),
            **_compared(given, _regression, [], sides.seed),
        )
    ]


def _examples(
    features: Points, target: Array | Points, units: Units, rng: np.random.Generator,
    most: int = MAX_ROWS,
) -> Examples:  # fmt: skip
    """Return at most so many rows whose target is known, drawn evenly."""
    known = np.flatnonzero(np.isfinite(target))
    kept = known[some(len(known), most, rng)]
    return features[kept], target[kept], units[kept]


def _compared(
    given: Mapping[str, Examples], learn: Callable[..., Scored], category: list[bool], seed: int
) -> dict[str, Any]:
    """Return the scores of all contestants, and the standard error of what "both" adds."""
    real, ours, held = (given[name] for name in ("train", "synthetic", "holdout"))
    both = [np.concatenate(pair) for pair in zip(real, ours, strict=True)]
    weights = _resamples(held[2], seed)
    found = {
        name: learn(rows[:2], held[:2], category, weights)
        for name, rows in zip(CONTESTANTS, (real, ours, both), strict=True)
        if len(np.unique(rows[1])) > 1
    }
    change = None
    if {"real", "both"} <= found.keys() and len(weights):
        change = (found["both"][1] - found["real"][1]).std(ddof=1)
    return {"scores": {name: scores for name, (scores, _) in found.items()}, "change_se": change}


def _resamples(units: Units, seed: int) -> Array:
    """Return weights of the rows, drawn for each unit: Bayesian bootstrap (Rubin 1981). None, where
    units are too few to say how others would differ."""
    rng, count = np.random.default_rng(seed), int(units.max()) + 1
    times = RESAMPLES if len(np.unique(units)) >= MIN_UNITS else 0
    return rng.standard_exponential((times, count))[:, units]


def _standard_error(spread: Array) -> dict[str, float]:
    return {"se": float(spread.std(ddof=1))} if len(spread) else {}


def _part_of_the_answer(sides: Sides, target: str) -> list[str]:
    """What one would not know beforehand: the other target, and flags that give it away."""
    known_late = [sides.roles.rul, sides.roles.failure_mode]
    found = [name for name in known_late if name in sides.kinds and name != target]
    if sides.kinds[target] == "number":
        return found
    commonest = sides.train[target].value_counts(normalize=True)
    for name in sides.columns("category"):
        values = sides.train[name].value_counts(normalize=True)
        if name in (target, *found) or len(values) != 2 or values.iloc[1] >= 0.5:
            continue
        answers = sides.train.loc[sides.train[name] == values.index[1], target]
        share = answers.value_counts(normalize=True)
        if len(share) and share.index[0] != commonest.index[0] and share.iloc[0] >= LEAK:
            found.append(name)
    return found


def _regression(given: Rows, held: Rows, category: list[bool], weights: Array) -> Scored:
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.metrics import mean_absolute_error, r2_score

    model = HistGradientBoostingRegressor(
        max_iter=60,  # as good as 150 of half the rate, in half the time
        learning_rate=0.2,
        max_bins=127,
        random_state=0,
        categorical_features=category or None,
    )
    answer = model.fit(*given).predict(held[0])
    spread = np.array([r2_score(held[1], answer, sample_weight=each) for each in weights])
    scores = {"r2": r2_score(held[1], answer), "mae": mean_absolute_error(held[1], answer)}
    return scores | _standard_error(spread), spread


def _classification(given: Rows, held: Rows, category: list[bool], weights: Array) -> Scored:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import average_precision_score

    model = HistGradientBoostingClassifier(
        max_iter=40,
        learning_rate=0.2,
        max_leaf_nodes=15,
        random_state=0,
        categorical_features=category or None,
        early_stopping=False,
    )
    model.fit(*given)
    chance = dict(zip(model.classes_, model.predict_proba(held[0]).T, strict=True))
    nothing = np.zeros(len(held[1]))
    levels, counts = np.unique(held[1], return_counts=True)
    asked = np.delete(levels, counts.argmax())

    def precision(weight: Array | None) -> float:
        each = (
            average_precision_score(
                held[1] == level, chance.get(level, nothing), sample_weight=weight
            )
            for level in asked
        )
        return float(np.mean(list(each)))

    spread = np.array([precision(weight) for weight in weights])
    return {"ap": precision(None)} | _standard_error(spread), spread


def lessons(task: Task, unit: str = "") -> Iterator[Finding]:
    """Find how well a model does that was trained on these rows, beside one of real rows; `unit`:
    of what it predicts, where that is known."""
    scores = {name: found[task.metric] for name, found in task.scores.items()}
    real, ours, both = (scores.get(name) for name in ("real", "synthetic", "both"))
    metric = "R2" if task.number else "average precision"
    what = f"{task.target} from windows of {task.width} rows" if task.width else task.target
    names, room = [task.target], 0.0 if real is None else real - (task.base or 0.0)
    if real is None or room < limits.PREDICTABLE:
        text = (
            f"Real rows do not predict {what} either ({metric} {real or 0.0:.2f}): how much "
            "these rows teach about it cannot be told."
        )
        yield Finding(level="note", kind="not_predictable", text=text, columns=names, value=real)
        return
    if ours is None:
        text = f"{task.target} does not vary in these rows: nothing can be learned about it."
        yield Finding(level="bad", kind="utility", text=text, columns=names)
        return
    loss = real - ours if task.number else (real - ours) / room
    level = THRESHOLDS["r2_loss" if task.number else "ap_loss"].level(loss)
    advice = (WORSE_THAN_MEAN if task.number and ours < 0 else "") + ADVICE[level]
    text = (
        f"A model of {what} trained on these rows reaches {metric} {ours:.2f}"
        f"{_error(task, 'synthetic', unit)} on held-out real rows, trained on real rows {real:.2f}"
        f"{_error(task, 'real', unit)}.{advice}"
    )
    kind = "windows" if task.width else "utility"
    yield Finding(level=level, kind=kind, text=text, columns=names, value=loss)
    if both is not None:
        change = both - real
        text = (
            f"Trained on real and synthetic rows together, a model of {what} reaches "
            f"{metric} {both:.3f}, on real rows alone {real:.3f}, a change of {change:+.3f}"
            f"{_spread(task.change_se, 3)}: {_advised(change, task.change_se)}."
        )
        if change <= limits.HELPS and not task.width:
            text += FOR_ROWS
        yield Finding(level="note", kind="augmentation", text=text, columns=names, value=change)


def _advised(change: float, error: float | None) -> str:
    """Say what to do, by how much a model gains that sees synthetic rows beside the real ones, and
    by the standard error of that, None of fewer than `MIN_UNITS`."""
    if error is None:
        return "what that is worth cannot be told by so few held-out lives"
    if abs(change) <= limits.HELPS:
        return "adding them changes little"
    if abs(change) <= 2 * error:
        return "whether adding them helps cannot be told"
    return "add them" if change > 0 else "do not add them"


def _error(task: Task, side: str, unit: str) -> str:
    spread, error = (task.scores[side].get(name) for name in ("se", "mae"))
    unit = unit or f"in the unit of {task.target}"
    mean = "" if error is None else f" (mean error {amount(error)} {unit})"
    return _spread(spread, 2) + mean


def _spread(error: float | None, digits: int) -> str:
    return "" if error is None else f" ± {error:.{digits}f}"
