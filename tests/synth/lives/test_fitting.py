"""The two phases of a fit: resumed, stopped, and decided by held-out lives."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch

from gan_lab.errors import BadParameter
from gan_lab.schema import Epoch, Roles
from gan_lab.synth.lives.fitting import Fitting
from gan_lab.synth.lives.sequential import SequentialTVAE
from gan_lab.synth.network.model_file import unpack
from tests.synth.lives.tables import (
    MACHINE_ROLES,
    ROLES,
    SMALL,
    draw,
    fit,
    of_each,
    simple_lives,
    two_kinds,
)


@pytest.fixture(scope="module")
def whole(table: pd.DataFrame) -> tuple[SequentialTVAE, dict[int, bytes]]:
    """A training that nothing interrupts, and its checkpoints by epoch."""
    states: dict[int, bytes] = {}
    model = fit(table, MACHINE_ROLES, on_checkpoint=lambda n, state: states.update({n: state()}))
    return model, states


@pytest.mark.parametrize("interrupted", [2, 3, 5])
def test_resumed_training_draws_the_same_rows(
    table: pd.DataFrame, whole: tuple[SequentialTVAE, dict[int, bytes]], interrupted: int
) -> None:
    model, states = whole
    resumed = fit(table, MACHINE_ROLES, resume=states[interrupted])
    assert [e.epoch for e in resumed.history] == [e.epoch for e in model.history]
    same = pd.testing.assert_frame_equal
    same(draw(model, rows=200), draw(resumed, rows=200), check_exact=True)
    with pytest.raises(BadParameter, match="another table"):
        fit(table.iloc[:-1], MACHINE_ROLES, resume=states[interrupted])


@pytest.mark.slow
def test_training_resumed_around_the_return_to_the_best_weights_is_the_same(
    table: pd.DataFrame,
) -> None:
    """Held-out lives have it that the curve goes back to what it was some epochs ago."""
    states: dict[int, bytes] = {}

    def keep(epoch: int, state: Callable[[], bytes]) -> None:
        states[epoch] = state()

    # So many epochs that the held-out lives decide, and not the epochs left.
    config = SMALL.model_copy(update={"epochs": 160, "seed": 1})
    whole = Fitting(table, MACHINE_ROLES, config)
    whole.run(on_checkpoint=keep)
    numbers = {epoch: unpack(state, "The checkpoint")[1] for epoch, state in states.items()}
    back = next(
        epoch
        for epoch, meta in numbers.items()
        if meta["phase"] == 1 and meta["numbers"]["cooling_from"] == epoch
    )
    best = numbers[back]["numbers"]["best_epoch"]
    assert 0 < best < back and back + math.ceil(back / 3) < 80
    for interrupted in (back - 1, back, back + 1):
        resumed = Fitting(table, MACHINE_ROLES, config)
        resumed.run(resume=states[interrupted])
        assert resumed.curve.level_share.any()
        for name, weights in whole.curve.state_dict().items():
            assert torch.equal(weights, resumed.curve.state_dict()[name]), name


def test_training_computes_on_one_thread_however_many_there_are(table: pd.DataFrame) -> None:
    threads, within = torch.get_num_threads(), []

    def look(_: Epoch) -> bool:
        within.append(torch.get_num_threads())
        return True

    torch.set_num_threads(2)
    try:
        fit(table, MACHINE_ROLES, on_epoch=look)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert within == [1]


def test_epochs_are_numbered_through_both_phases_and_can_be_stopped(table: pd.DataFrame) -> None:
    said: list[Epoch] = []

    def stop_at_four(epoch: Epoch) -> bool:
        said.append(epoch)
        return epoch.epoch == 4

    model = fit(table, MACHINE_ROLES, on_epoch=stop_at_four)
    assert [epoch.epoch for epoch in said] == [1, 2, 3, 4]
    assert all(epoch.epochs == 6 and np.isfinite(epoch.loss) for epoch in said)
    assert len(draw(model, rows=100)) == 100


@pytest.mark.slow
def test_held_out_lives_decide(table: pd.DataFrame) -> None:
    fitting = Fitting(table, MACHINE_ROLES, SMALL.model_copy(update={"epochs": 2000}))
    fitting.run()
    assert len(fitting.history) < 1000 and not fitting.stopped


def test_a_checkpoint_belongs_to_the_roles_too() -> None:
    table, states = simple_lives(), list[bytes]()
    table["mode"] = of_each(table, np.array(["a", "b"])[np.arange(24) % 2])
    roles = ROLES.model_copy(update={"failure_mode": "mode"})
    fit(
        table, roles, on_epoch=lambda _: True, on_checkpoint=lambda _, state: states.append(state())
    )
    for left_out in ("rul", "failure_mode"):
        with pytest.raises(BadParameter, match="belongs to another table or configuration"):
            fit(table, roles.model_copy(update={left_out: None}), resume=states[-1])


def test_held_out_lives_are_asked_in_both_phases() -> None:
    model = fit(simple_lives(), epochs=8)
    asked = [epoch.validation for epoch in model.history]
    assert len(set(asked)) == len(asked) == 8


def test_what_is_told_of_a_life_is_not_who_it_is() -> None:
    """A failure mode belongs to the common curve, or lives drawn of it would blur into another."""
    rows = two_kinds()
    roles = Roles(life="unit", time="t", rul="rul", failure_mode="mode")
    fitting = Fitting(rows, roles, SMALL)
    fitting.run()
    mode = rows.groupby("unit")["mode"].first().eq("b").to_numpy()
    w = fitting.effects.mean.numpy()
    between = np.abs(w[mode].mean(axis=0) - w[~mode].mean(axis=0)).max()
    assert between < 0.5 * w.std(axis=0).max()
    drawn = draw(fit(rows, roles), lives=200)
    levels = drawn.groupby("unit").agg({"mode": "first", "heat": "mean"})
    seen = rows.groupby("unit").agg({"mode": "first", "heat": "mean"})
    for kind in "ab":
        found, known = (each[each["mode"] == kind]["heat"] for each in (levels, seen))
        assert found.mean() == pytest.approx(known.mean(), abs=0.4)
        assert found.std() == pytest.approx(known.std(), rel=0.3)
