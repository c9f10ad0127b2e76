"""How lives are drawn: who they are, what they go through, how they wear, what is left to chance.

All lives of a chunk are lived at once, row by row; chunks keep memory constant.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from gan_lab.errors import BadParameter
from gan_lab.schema import GenerateConfig
from gan_lab.synth.lives.calibration import Readings
from gan_lab.synth.lives.columns import STEP_BINS, Lives
from gan_lab.synth.lives.life_table import LEFT, ROWS, START
from gan_lab.synth.lives.packed import Floats, Ints, Packed
from gan_lab.synth.lives.wear_curve import EMBEDDING
from gan_lab.workspace.tables import LATE_LIFE

if TYPE_CHECKING:
    from gan_lab.synth.lives.model import LivesModel

CHUNK_ROWS = 100_000
GOLDEN = 0.6180339887498949


@dataclass
class Drawn:
    """Lives before they are written: their rows, who they are, which rows are `kept`, and the
    chance that goes on."""

    lives: Lives
    packed: Packed
    combo: Ints
    traits: dict[str, Floats]
    kept: NDArray[np.bool_] | slice
    rng: np.random.Generator


class Drawing:
    """One request for lives: a model, a seed and the conditions that hold for it."""

    def __init__(self, model: LivesModel, seed: int, asked: GenerateConfig | None) -> None:
        self.model, self.table, self.seed = model, model.table, seed
        self.asked = asked or GenerateConfig()
        self.chances = self._chances()
        self.within = self._within()
        self.state_shares = self._state_shares()
        self.mean_rows = self._mean_rows()

    def chunks(
        self, rows: int | None, lives: int | None, first_life: int
    ) -> Iterator[pd.DataFrame]:
        """Draw exactly so many rows, or so many whole lives; the last life of rows is cut at its
        start."""
        done_rows = done_lives = number = 0
        while done_rows < rows if rows is not None else done_lives < (lives or 0):
            count = max(1, int(CHUNK_ROWS / self.mean_rows))
            if rows is None:
                count = min(count, (lives or 0) - done_lives)
            else:
                count = min(count, int((rows - done_rows) / self.mean_rows) + 1)
            ids = np.arange(done_lives, done_lives + count)
            place = _evenly_placed(ids, lives if rows is None else None)
            chunk, size = self._chunk(number, ids, place, first_life)
            if rows is not None and done_rows + len(chunk) > rows:
                chunk = _cut(chunk, size, rows - done_rows)
            chunk.index = pd.RangeIndex(done_rows, done_rows + len(chunk))
            done_rows, done_lives, number = done_rows + len(chunk), done_lives + count, number + 1
            yield chunk

    def readings(self, lives: int) -> Readings:
        """Draw the numbers of so many whole lives, as they are before they are written."""
        count = max(1, int(CHUNK_ROWS / self.mean_rows))
        parts = []
        for number, start in enumerate(range(0, lives, count)):
            ids = np.arange(start, min(start + count, lives))
            drawn = self._drawn(number, _evenly_placed(ids, lives))
            parts.append((drawn.lives.numbers, drawn.lives.regime, ids[drawn.packed.life]))
        return Readings(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    def _chunk(
        self, number: int, ids: Ints, place: Floats, first_life: int
    ) -> tuple[pd.DataFrame, Ints]:
        """Draw lives; return their rows and how many each has."""
        drawn = self._drawn(number, place)
        lives, packed, kept = drawn.lives, drawn.packed, drawn.kept
        seconds = self.model.situation.seconds(drawn.traits, lives, packed)
        frame = self.table.write(
            lives, ids + first_life, drawn.combo, drawn.traits, seconds, drawn.rng
        )[kept]
        return frame, np.bincount(packed.life[kept], minlength=len(lives.rows))

    def _drawn(self, number: int, place: Floats) -> Drawn:
        rng = np.random.default_rng([self.seed, number])
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        combo, w, traits = self._lives(place, rng)
        lives, packed = self._course(combo, traits, rng)
        late = self.asked.late_life
        kept = slice(None) if late is None else late_rows(lives, packed, late, rng)
        lives.regime, features = self._regimes(lives, traits, combo, packed, kept, rng)
        each = w[packed.life].astype(np.float32)
        chance, cells = self.model.residual.draw(
            np.concatenate([features, each], axis=1), lives.regime, packed, generator
        )
        drawn: Floats | None = None
        for _ in range(2 if self.model.drivers else 1):  # drivers, then what follows them
            tracks = self.model.drivers.tracks
            numbers = None if drawn is None else self.table.as_written(drawn, tracks)
            curve, hidden = self.model.drivers.levels(
                self.model.curve, features, each, numbers, packed
            )
            curve = curve[:, : len(self.table.tracks)]
            steps = self.table.steps(curve, lives.regime)
            residual = self.model.residual.lived(chance, hidden, steps, lives.regime, packed)
            drawn = self._numbers(lives.regime, curve + residual)
        assert drawn is not None
        lives.numbers = self._with_gaps(drawn, lives.regime, packed, rng)
        lives.codes = self.table.cells(self._codes(lives.regime, cells), lives, combo, packed, rng)
        return Drawn(lives, packed, combo, traits, kept, rng)

    def _lives(
        self, place: Floats, rng: np.random.Generator
    ) -> tuple[Ints, Floats, dict[str, Floats]]:
        """Draw who the lives are: their conditions, embeddings and traits; `place` within [0, 1)
        says which of the conditions, laid side by side."""
        place = (np.random.default_rng(self.seed).random() + place) % 1.0
        combo = np.minimum(
            np.searchsorted(np.cumsum(self.chances), place, side="right"), len(self.chances) - 1
        )
        drawn = self.model.population.draw(combo, rng)
        for _ in range(200):
            outside = np.flatnonzero(~self._inside(drawn))
            if not len(outside):
                break
            drawn[outside] = self.model.population.draw(combo[outside], rng)
        return combo, drawn[:, :EMBEDDING], self._put_inside(self._traits(drawn[:, EMBEDDING:]))

    def _traits(self, scores: Floats) -> dict[str, Floats]:
        """Return the traits that normal scores stand for; one that all lives share needs none."""
        found, used = {}, 0
        for name, quantiles in self.table.traits.items():
            if quantiles.values[0] == quantiles.values[-1]:
                found[name] = np.full(len(scores), quantiles.values[0])
            else:
                found[name] = quantiles.draw(scores[:, used])
                used += 1
        found[ROWS] = np.maximum(np.round(found[ROWS]), 1)
        clock = self.table.clock
        found[START] = clock.on_grid(found[START], self.table.traits[START].values[0])
        return found

    def _inside(self, drawn: Floats) -> NDArray[np.bool_]:
        """Return which lives have as many rows as was asked for, and late ones where asked."""
        if self.within is None and self.asked.late_life is None:
            return np.ones(len(drawn), dtype=bool)
        traits = self._traits(drawn[:, EMBEDDING:])
        rows, left = traits[ROWS], traits[LEFT]
        least, most = self.within or (1, np.inf)
        inside = (rows >= least) & (rows <= most)
        if self.asked.late_life is not None:
            inside &= left <= LATE_LIFE / 2 * (rows + left)
        return np.asarray(inside)

    def _put_inside(self, traits: dict[str, Floats]) -> dict[str, Floats]:
        """Return the traits with what chance did not bring about: so rare a life is made one."""
        if self.within is not None:
            traits[ROWS] = np.clip(traits[ROWS], *self.within)
        if self.asked.late_life is not None:
            early = traits[LEFT] > LATE_LIFE / 2 * (traits[ROWS] + traits[LEFT])
            traits[LEFT] = np.where(early, self.table.traits[LEFT].values[0], traits[LEFT])
        return traits

    def _course(
        self, combo: Ints, traits: dict[str, Floats], rng: np.random.Generator
    ) -> tuple[Lives, Packed]:
        """Draw when the rows of each life are taken, and how far from its end each is."""
        rows = traits[ROWS].astype(np.int64)
        packed, clock = Packed(rows), self.table.clock
        steps = np.full(len(packed.life), clock.steps[0])
        chain = self.model.situation.chains.get("step")
        if chain is not None:
            symbols = chain.draw(np.zeros(len(steps), dtype=np.int64), packed, rng)
            steps = np.array(clock.steps)
            if clock.varying:
                place = (symbols + rng.random(len(symbols))) / STEP_BINS
                steps = clock.on_grid(np.interp(place, np.linspace(0, 1, len(steps)), steps))
            else:
                steps = steps[symbols]
        steps = np.where(packed.age > 0, steps, 0.0)
        total = np.cumsum(steps) / clock.step
        elapsed = total - total[packed.starts[packed.life]]
        ends = packed.starts[1:] - 1
        left = np.where(self.table.endless[combo], np.nan, traits[LEFT])
        remaining = (elapsed[ends] + left)[packed.life] - elapsed
        none = np.zeros((len(steps), 0))
        zeros = np.zeros(len(steps), dtype=np.int64)
        return Lives(
            rows, elapsed, remaining, zeros, none, none.astype(np.int16), steps, none.astype(bool)
        ), packed

    def _regimes(
        self, lives: Lives, traits: dict[str, Floats], combo: Ints, packed: Packed,
        kept: NDArray[np.bool_] | slice, rng: np.random.Generator,
    ) -> tuple[Ints, NDArray[np.float32]]:  # fmt: skip
        """Draw the regimes, and return them with the features of each row."""
        situation = self.model.situation
        chain = situation.chains.get("regime")
        if chain is not None:
            context, _ = situation.context(self.table, traits, lives, packed)
            seed = int(rng.integers(2**31))
            if self.state_shares is not None:
                chain = chain.tilted(self.state_shares, context, packed, seed, kept)
            lives.regime = chain.draw(context, packed, np.random.default_rng(seed))
        return lives.regime, situation.features(self.table, lives, traits, combo, packed)

    def _numbers(self, regime: Ints, values: Floats) -> Floats:
        """Return the columns of numbers: curve and residual in the units of the regime."""
        center, spread = np.array(self.table.center), np.array(self.table.spread)
        values = self.model.calibration.corrected(center[regime] + spread[regime] * values, regime)
        fixed = np.array(self.table.fixed, dtype=np.float64)[regime]
        return np.where(np.isnan(fixed), values, fixed)

    def _with_gaps(
        self, numbers: Floats, regime: Ints, packed: Packed, rng: np.random.Generator
    ) -> Floats:
        """Return the numbers with as many gaps as the training lives have."""
        for number, patterns in enumerate(self.model.situation.patterns):
            chain = self.model.situation.chains[f"missing{number}"]
            context = regime if len(chain.first) > 1 else np.zeros_like(regime)
            gone = np.array(patterns, dtype=bool)[chain.draw(context, packed, rng)]
            numbers[gone] = np.nan
        return numbers

    def _codes(self, regime: Ints, cells: NDArray[np.int16]) -> NDArray[np.int16]:
        """Return the cells of all categories: those drawn, and those that the regime gives."""
        given = np.array(self.table.given, dtype=np.int16)[regime]
        codes = given.copy()
        for place, group in enumerate(self.model.residual.groups):
            codes[:, group] = np.where(given[:, group] < 0, cells[:, place], given[:, group])
        return codes

    def _chances(self) -> Floats:
        """Return the chance of each combination of conditions, as asked for or as in training."""
        chances = np.array(self.model.facts["combo_counts"], dtype=np.float64)
        if self.asked.late_life is not None:
            self._check_late_life()
            chances[self.table.endless] = 0.0
        chances /= chances.sum()
        if self.asked.failure_modes is None:
            return chances
        names = self.model.failure_mode_names
        if not names:
            raise BadParameter(
                "failure_modes cannot be chosen: the training table has no column of failure modes "
                "that is constant within each life. Name one by `gan-lab import --failure-mode`."
            )
        mode = np.array(self.model.failure_mode_of_combo)
        natural = np.bincount(mode, chances, minlength=len(names)).astype(np.float64)
        shares = _complete(self.asked.failure_modes, names, natural, "failure mode")
        for number, share in enumerate(shares):
            mine = mode == number
            chances[mine] *= share / max(chances[mine].sum(), 1e-300)
        return chances / chances.sum()

    def _check_late_life(self) -> None:
        if self.table.wear is None:
            raise BadParameter(
                "late_life cannot be chosen: the training table has no remaining useful life."
            )
        left, rows = self.table.traits[LEFT].values[0], self.table.traits[ROWS].values[-1]
        if self.table.endless.all() or left > LATE_LIFE / 2 * (rows + left):
            raise BadParameter("late_life cannot be chosen: no training life is seen to its end.")

    def _within(self) -> tuple[int, int] | None:
        asked = self.asked.life_rows
        seen = self.table.traits[ROWS].values
        if asked is not None and (asked[0] > asked[1] or asked[1] < seen[0] or asked[0] > seen[-1]):
            raise BadParameter(
                f"life_rows={asked} cannot be had: the training lives have {seen[0]:.0f} to "
                f"{seen[-1]:.0f} rows. Ask for a range that meets theirs."
            )
        return asked

    def _state_shares(self) -> Floats | None:
        """Return the share of each state that is asked for."""
        if self.asked.states is None:
            return None
        names = self.model.state_of_regime
        if "regime" not in self.model.situation.chains or not names:
            raise BadParameter(
                "states cannot be chosen: the training table has no column of states that vary."
            )
        counts = np.array(self.model.facts["regime_counts"], dtype=np.float64)
        return _complete(self.asked.states, names, counts / counts.sum(), "state")

    def _mean_rows(self) -> float:
        rows = np.array(self.table.traits[ROWS].values)
        if self.within is not None:
            rows = np.clip(rows, *self.within)
        return float(max(rows.mean(), 1.0))


def late_rows(
    lives: Lives, packed: Packed, share: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Return the rows to keep so that this share of them lies in the last fifth of their lives.

    A life watched from its middle on has more of its rows late; where fewer are wanted than there
    are, its record ends early. Parts of rows are kept by chance, so that the share is met in lives
    of few rows too.
    """
    whole = (lives.elapsed + lives.remaining)[packed.starts[:-1]]
    late = lives.remaining <= LATE_LIFE * whole[packed.life]
    lates = np.bincount(packed.life, late, minlength=len(lives.rows))
    earlies = lives.rows - lates
    chance = rng.random((2, len(lives.rows)))
    keep_early = np.minimum(earlies, np.floor(lates * (1 - share) / share + chance[0]))
    keep_early = np.where(lates > 0, keep_early, earlies)
    fewer = np.minimum(lates, np.floor(keep_early * share / (1 - share) + chance[1]))
    keep_late = np.where((keep_early < earlies) | (earlies == 0), lates, fewer)
    from_start = packed.age
    return np.asarray(
        (from_start >= (earlies - keep_early)[packed.life])
        & (from_start < (earlies + keep_late)[packed.life])
    )


def _complete(
    asked: dict[str, float], names: list[str | None], natural: Floats, what: str
) -> Floats:
    """Return a share for every name: those asked for, the rest in their natural proportions."""
    for name, share in asked.items():
        if name not in names:
            known = ", ".join(sorted(name for name in names if name is not None))
            raise BadParameter(
                f"There is no {what} {name!r} in the training table. There are: {known}."
            )
        if share > 0 and not natural[names.index(name)]:
            raise BadParameter(
                f"{what} {name!r} and late_life cannot be chosen together: of no training life of "
                "it is the end known."
            )
    free = np.where([name in asked for name in names], 0.0, natural)
    shares = np.array([asked.get(name or "", 0.0) for name in names])
    if free.sum() > 0:
        return np.asarray(shares + (1.0 - sum(asked.values())) * free / free.sum())
    return np.asarray(shares / shares.sum())


def _evenly_placed(ids: Ints, lives: int | None) -> Floats:
    """Return numbers within [0, 1) that lie evenly, however many lives come of it: exactly so for
    all `lives`, where that is known, else by the golden ratio, which leaves the least gaps."""
    if lives is None:
        return np.asarray(ids * GOLDEN % 1.0)
    step = round(lives * GOLDEN)
    while math.gcd(step, lives) > 1:
        step += 1
    return np.asarray(ids * step % lives / lives)


def _cut(chunk: pd.DataFrame, size: Ints, rows: int) -> pd.DataFrame:
    """Keep whole lives and, of the last one, only its end, so that the rows are exactly so many."""
    ends = np.cumsum(size)
    whole = int(np.searchsorted(ends, rows, side="right"))
    before = int(ends[whole - 1]) if whole else 0
    if before == rows:
        return chunk.iloc[:rows]
    return pd.concat([chunk.iloc[:before], chunk.iloc[ends[whole] - (rows - before) : ends[whole]]])
