"""The model of lives with one of its parts switched off at a time.

`python -m bench.lives --ablate [--only NAME ...] [--repeats N]` prints, for each table at 10 lives
and at all, R2 of remaining life in windows of held-out lives from synthetic lives alone and with
the real ones, and the AUC of trees that tell synthetic windows from held-out ones; then by how much
each figure changes without a part, its mean over repeats and the standard error.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

from bench.lives import Case, case_of, window_c2st, window_r2
from gan_lab.schema import TrainConfig
from gan_lab.synth.lives import columns, dependence, level, memory, population, row_context
from gan_lab.synth.lives.scale import Scale
from gan_lab.synth.lives.sequential import SequentialTVAE
from gan_lab.synth.lives.variance import VarianceModel
from gan_lab.synth.report.windows import (
    Windows,
    sensors,
    window_width,
    windows,
)

FEW = 10
MAX_WINDOWS = 20_000
FIGURES = ("synthetic R2", "both R2", "AUC", "fit s")


def _constant(hidden: Any, residual: Any, validation: Any, constant: Any) -> VarianceModel:
    return FIT_VARIANCE(hidden, residual, validation, np.ones_like(constant))


FIT_VARIANCE = VarianceModel.fit
Patch = Callable[[], Any]
PARTS: dict[str, Patch | dict[str, Any]] = {
    "scale": lambda: mock.patch.object(Scale, "fit", lambda *_: Scale()),
    "level": lambda: mock.patch.object(
        level, "estimate_levels",
        lambda residual, packed: (np.zeros((len(packed.rows), residual.shape[1])), 1.0),
    ),
    "memory": lambda: mock.patch.object(
        memory, "_best_coefficients",
        lambda residual, *_: np.zeros((4 * residual.shape[1], residual.shape[1])),
    ),
    "variance": lambda: mock.patch.object(VarianceModel, "fit", _constant),
    "dependence": lambda: mock.patch.object(dependence, "MIN_GAIN", 1.0),
    "hidden groups": lambda: mock.patch.object(population, "MIXTURE_LIVES", 10**9),
    "longer lives": lambda: mock.patch.object(columns, "MAX_BEYOND", 0.0),
    "day and week": lambda: mock.patch.object(row_context, "PERIODS_S", ()),
    "regimes": {"regimes": "none"},
    "drivers": {"drivers": "none"},
    "early stopping": {"early_stopping": False},
}  # fmt: skip


@contextmanager
def without(part: str | None) -> Iterator[dict[str, Any]]:
    """Switch a part off; yield the fields of the configuration that do it."""
    how = {} if part is None else PARTS[part]
    with ExitStack() as stack:
        if callable(how):
            stack.enter_context(how())
            how = {}
        yield how


def few_of(case: Case, lives: int, seed: int) -> Case:
    """Return the case with so many training lives; where few are held out the others join them."""
    life, held = case.roles.life, case.holdout
    ids = np.random.default_rng(seed).permutation(case.train[life].unique())[:lives]
    mine = case.train[life].isin(ids)
    rest = case.train[~mine]
    held = pd.concat([held, rest.assign(**{life: rest[life] + 10**6})], ignore_index=True)
    return replace(case, train=case.train[mine].reset_index(drop=True), holdout=held)


def judge(case: Case, seed: int, part: str | None) -> list[float]:
    """Return the figures of a model without a part."""
    train, held, roles = case.train, case.holdout, case.roles
    lives = int(np.clip(4 * train[roles.life].nunique(), 100, 300))
    with without(part) as fields:
        started = time.process_time()
        model = SequentialTVAE.fit(train, roles, TrainConfig(seed=seed, **fields))
        took = time.process_time() - started
        rows = pd.concat(model.sample(lives=lives, seed=seed))
    names, width = sensors(train, roles), window_width(train, roles)
    drawn, asked, seen = (
        windows(each, roles, names, width, MAX_WINDOWS) for each in (rows, held, train)
    )
    found = [np.nan, np.nan]
    if roles.rul is not None:
        joined = Windows(
            np.concatenate([drawn.features, seen.features]),
            np.concatenate([drawn.rul, seen.rul]),
            np.concatenate([drawn.life, seen.life]),
        )
        found = [window_r2(each, asked, most=2 * MAX_WINDOWS) for each in (drawn, joined)]
    return [*found, window_c2st(asked, drawn, most=8_000), took]


def ablate(names: list[str], repeats: int) -> None:
    """Print the table."""
    print(f"{'':44}", *(f"{name:>18}" for name in FIGURES))
    for name in names:
        for size in (FEW, None):
            cases = [case_of(name, repeat) for repeat in range(repeats)]
            if size is not None:
                cases = [few_of(case, size, repeat) for repeat, case in enumerate(cases)]
            whole = np.array([judge(case, repeat, None) for repeat, case in enumerate(cases)])
            lives = cases[0].train[cases[0].roles.life].nunique()
            _line(f"{name}, {lives} lives", whole)
            for part in PARTS:
                less = [judge(case, repeat, part) for repeat, case in enumerate(cases)]
                change = np.array(less) - whole
                if change[:, :3].any():  # else the part found nothing to do here
                    _line(f"   without {part}", change, sign="+")


def _line(name: str, found: Any, sign: str = "") -> None:
    error = found.std(axis=0, ddof=1) / np.sqrt(len(found)) if len(found) > 1 else None
    cells = [
        f"{value:{sign}.3f}" + ("" if error is None else f" +-{error[k]:.3f}")
        for k, value in enumerate(found.mean(axis=0))
    ]
    print(f"{name:44}", *(f"{cell:>18}" for cell in cells), flush=True)
