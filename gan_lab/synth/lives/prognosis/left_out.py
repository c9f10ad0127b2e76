"""What a prognosis is worth on lives left out of its fit, and how sure it may be.

Lives are left out in turn (cross-validation by life, Stone 1974): a degradation curve is fitted to
the others and asked for the remaining life of each at several ages. How far readings lie from a
curve is measured there, the temper of the likelihood is chosen by the logarithmic score, and the
figures are kept with the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.stats import beta

from gan_lab.schema import TrainConfig
from gan_lab.synth.lives.degradation_curve import Curve
from gan_lab.synth.lives.packed import Floats
from gan_lab.synth.lives.phases import CurveObjective, curve_trainer, epoch_steps
from gan_lab.synth.lives.prognosis.error_variance import ErrorVariance
from gan_lab.synth.lives.prognosis.life_length import LifeLength
from gan_lab.synth.lives.prognosis.remaining_life import (
    Evidence,
    Posterior,
    WearReader,
    combinations,
    row_weights,
)
from gan_lab.synth.lives.prognosis.running import Running, answer_unit
from gan_lab.synth.lives.prognosis.scores import scores
from gan_lab.synth.lives.training_lives import TrainingLives

# Steps of a curve of some lives, twice as many of few rows: after fewer, intervals learned from ten
# engines held as few as half of what they should. And of one that learns on, from all.
STEPS, MORE_STEPS = 150, 300
SLOW_ROWS, MAX_PACE = 3_000, 5.0  # few rows are soon learned by heart, and many need long
FOLDS, MANY_LIVES, FOLDS_OF_MANY = 3, 40, 2
MAX_JUDGED = 40  # lives left out that are judged
AGES = (0.15, 0.3, 0.45, 0.6, 0.75, 0.9)  # shares of a life, at which
TEMPERS = (0.5, 0.25, 0.12, 0.06, 0.03)
USUAL_TEMPER = 0.1  # of a fit that was stopped before any life was left out
ANY_MISFIT = 1e9
ANSWERS_OF_A_LIFE, SHAPE_SPREAD = 2.0, 0.2
MISFIT_SHARE = 0.95  # of lives left out, that fit as well as is usual


Check = Callable[[], None]


@dataclass
class LeftOut:
    """The `temper` of the likelihood, the `shape` by which answers are widened, the `misfit` of
    readings that is usual, and `figures` of lives never seen; what is presumed where no life can be
    left out."""

    temper: float = USUAL_TEMPER
    shape: float = 1.0
    misfit: float = ANY_MISFIT
    figures: dict[str, Any] = field(default_factory=lambda: {"lives": 0})


def leave_lives_out(
    lives: TrainingLives, config: TrainConfig, check: Check | None = None
) -> tuple[LeftOut, list[ErrorVariance]]:
    """Judge the prognosis of every life whose end is known by a curve fitted without it; return the
    errors of readings beside it as well, fold by fold."""
    arrays, packed = lives.arrays, lives.packed
    ends, length = packed.starts[1:] - 1, lengths_of(lives)
    known = np.flatnonzero(np.isfinite(arrays.remaining[ends]))
    count = len(packed.rows)
    if count < 2 or not len(known):
        # How lives differ is not known. Read as if all were like the one, sensors of FD001 err by
        # 200 cycles, the length alone by 60.
        return LeftOut(temper=0.0, figures={"lives": 0, "temper": 0.0}), []
    folds = FOLDS_OF_MANY if count > MANY_LIVES else min(FOLDS, count)
    rng = np.random.default_rng(config.seed)
    fold = rng.permutation(count) % folds
    judged = rng.permutation(known)[:MAX_JUDGED]
    running, span = as_running(lives), lives.context.span
    cases: list[_Case] = []
    curves = [fit_curve(lives, fold != k, config, check=check) for k in range(folds)]
    chosen = np.isin(np.arange(count), judged)
    errors = {
        number: ErrorVariance.of(curve, lives.curve_data(chosen & (fold == number)))
        for number, curve in enumerate(curves)
        if (chosen & (fold == number)).any()
    }
    for number, curve in enumerate(curves):
        # Never that of the lives which are judged.
        ErrorVariance.give([each for k, each in errors.items() if k != number], curve)
        kept = fold != number
        prior = life_length(lives, kept)
        reader = WearReader.of(
            lives.table, lives.context, lives.drivers, curve, length[kept & (length > 0)]
        )
        counts = np.bincount(arrays.combo[kept], minlength=len(prior.mean))
        groups = combinations(lives.table, counts)
        blocks = {combo: reader.blocks(running, combo) for combo in groups}
        for life in judged[fold[judged] == number]:
            ages = arrays.elapsed[ends[life]] * np.array(AGES)
            able = running.able(life, groups)
            evidence = {c: reader.evidence(blocks[c], life, ages) for c in able}
            cases.append(_Case(evidence, able, reader.lengths, prior, length[life] - ages, span))
    return _calibrated(cases, answer_unit(lives.table)[1]), list(errors.values())


@dataclass
class _Case:
    """One life left out: its evidence at some ages by combination, and what truly remained; `span`
    is a typical life."""

    evidence: dict[int, Evidence]
    shares: dict[int, float]
    lengths: Floats
    prior: LifeLength
    truth: Floats
    span: float

    def posterior(self, temper: float) -> Posterior:
        """Return what is believed at each age."""
        ages = next(iter(self.evidence.values())).ages
        weights = row_weights(temper, ages, self.span)
        return Posterior.of(self.evidence, self.lengths, self.prior, self.shares, weights)


def _calibrated(cases: list[_Case], rate: float) -> LeftOut:
    """Choose the temper of the best score, or the lowest one that is as good within a standard
    error of lives (Breiman et al. 1984): an answer that is too wide does less harm. What is still
    too narrow is widened.

    A mean step is `rate` of the unit of answers, which figures are in.
    """
    by_temper = np.array(
        [[case.posterior(t).log_score(case.truth).mean() for case in cases] for t in TEMPERS]
    )
    mean = by_temper.mean(axis=1)
    best = int(mean.argmax())
    lost = by_temper[best] - by_temper
    error = lost.std(axis=1) / np.sqrt(max(len(cases), 1))
    chosen = max(k for k in range(best, len(TEMPERS)) if lost[k].mean() <= error[k])
    temper = TEMPERS[chosen]
    misfits = [min(each.misfit()[-1] for each in case.evidence.values()) for case in cases]
    shares = (np.arange(99) + 1) / 100
    believed = [case.posterior(temper) for case in cases]
    places = zip(believed, cases, strict=True)
    shape = _shape(np.array([each.share_below(case.truth) for each, case in places]))
    quantiles = rate * np.concatenate([each.widened(shape).quantiles(shares) for each in believed])
    truth = rate * np.concatenate([case.truth for case in cases])
    part = np.tile(np.array(AGES), len(cases))
    figures: dict[str, Any] = {**scores(truth, quantiles), "lives": len(cases)}
    figures["temper"] = temper
    for name, low, high in (("early", 0, 1 / 3), ("middle", 1 / 3, 2 / 3), ("late", 2 / 3, 1)):
        mine = (part > low) & (part <= high)
        figures[name] = scores(truth[mine], quantiles[mine])
    return LeftOut(temper, shape, float(np.quantile(misfits, MISFIT_SHARE)), figures)


def _shape(below: Floats) -> float:
    """Return by which shape answers are widened, so that the shares of probability `below` what
    truly remained (lives, ages) are even ones; 1, where they are not too narrow.

    The answers at several ages of a life are worth two, and the logarithm of the shape is normal
    before any is seen: a few lives that went badly widen little.
    """
    below = below.clip(1e-3, 1 - 1e-3)

    def misfit(log: float) -> float:
        density = beta.logpdf(below, math.exp(log), math.exp(log)).mean(axis=1)
        return float(-ANSWERS_OF_A_LIFE * density.sum() + (log / SHAPE_SPREAD) ** 2 / 2)

    return math.exp(minimize_scalar(misfit, bounds=(-2.0, 0.0), method="bounded").x)


def fit_curve(
    lives: TrainingLives,
    kept: Any,
    config: TrainConfig,
    learned: Curve | None = None,
    check: Check | None = None,
) -> Curve:
    """Fit a degradation curve to some of the lives, or let one that has `learned` from most of them
    learn on; `check` is called between its epochs and may raise.

    Unlike the curve that draws lives it holds none out to stop early by: measured on engines never
    seen, the distance to the end is read 15 % better from a curve that has learned from all.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        curve = Curve(lives.features.shape[1] + lives.drivers.width, lives.values.shape[1])
    data, nobody = lives.curve_data(kept), lives.curve_data(np.zeros_like(kept))
    slow = len(data.life) / SLOW_ROWS
    steps = STEPS * min(max(1 / slow, 1.0), 2.0) if learned is None else MORE_STEPS
    epochs = min(config.epochs // 2, math.ceil(steps / epoch_steps(len(data.life), config)))
    objective = CurveObjective(curve, data, nobody, config, epochs)
    if learned is not None:
        curve.load_state_dict(learned.state_dict())
        objective.common_steps = 0
    pace = min(max(slow, 1.0), MAX_PACE)
    trainer = curve_trainer(objective, config, epochs, lives.columns, pace)
    while not trainer.finished:
        if check is not None:
            check()
        trainer.run_epoch()
    return curve.eval()


def as_running(lives: TrainingLives) -> Running:
    """Return the training lives as units whose end, and failure mode, nobody knows."""
    arrays, table = lives.arrays, lives.table
    nowhere = np.full(len(arrays.remaining), np.nan)
    unknown = replace(arrays, remaining=nowhere, combo=arrays.combo.copy())
    mode, groups = table.roles.failure_mode, table.conditions.groups
    known = [group for group in table.inputs if groups[group].name != mode]
    cells = np.array(table.combinations).reshape(len(table.combinations), -1)[:, known]
    possible = (cells[arrays.combo][:, None] == cells[None]).all(axis=2) & ~table.endless
    count = len(lives.packed.rows)
    sensors = lives.values[:, : len(table.sensors)]
    return Running(
        list(range(count)), unknown, lives.packed, sensors, possible, [[] for _ in range(count)]
    )


def prognosis_facts(lives: TrainingLives, left_out: LeftOut) -> dict[str, Any]:
    """Return what a model keeps to answer how long units last, as plain JSON values."""
    lengths = lengths_of(lives)
    prior = life_length(lives, np.ones(len(lengths), dtype=bool))
    return {
        "prognosis": asdict(left_out),
        "life_length": {**asdict(prior), "mean": prior.mean.tolist()},
        "lengths": [float(lengths.min()), float(lengths.max())],
    }


def lengths_of(lives: TrainingLives) -> Floats:
    """Return the length of each life, mean steps: to its end, or as far as it is known."""
    arrays = lives.arrays
    return (arrays.elapsed + np.nan_to_num(arrays.remaining))[lives.packed.starts[1:] - 1]


def life_length(lives: TrainingLives, kept: Any) -> LifeLength:
    """Fit the lengths of some of the lives; one whose end is not known lasted longer."""
    censored = np.isnan(lives.arrays.remaining[lives.packed.starts[1:] - 1])
    return LifeLength.fit(
        lengths_of(lives)[kept],
        censored[kept],
        lives.arrays.combo[kept],
        len(lives.table.combinations),
    )
