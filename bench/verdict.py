"""How often the report calls real lives memorised, and misses memory that was planted.

`python -m bench.verdict [--quick]`: tables of lives drawn anew for each trial, four fifths learned
from. Real: other lives of the same machine. Planted: the lives learned from, with noise of a tenth
of each sensor's spread.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd

from gan_lab.schema import Roles
from gan_lab.synth.report.compared_tables import compare
from gan_lab.synth.report.privacy import privacy, remembered
from gan_lab.synth.report.windows import windows_of

LIVES, TRIALS, ROWS, NOISE = (20, 50, 100), 200, 40, 0.1
ROLES = Roles(life="life", time="age", rul="rul")
SENSORS = ["heat", "vibration", "pressure", "hum"]


def lives(count: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draw lives of four sensors, of which two wear and one follows another."""
    life, age = np.repeat(np.arange(count), ROWS), np.tile(np.arange(ROWS), count)
    wear, own = np.exp((age - ROWS) / 10), rng.uniform(-1, 1, (count, 4))[life]
    sensors = own + rng.normal(0, 0.2, (len(life), 4)) + np.outer(wear, [5, -4, 0, 0])
    sensors[:, 2] += 2 * sensors[:, 0]
    table = pd.DataFrame(sensors, columns=SENSORS)
    return table.assign(life=life, age=age, rul=ROWS - 1 - age)


def level(drawn: pd.DataFrame, train: pd.DataFrame, holdout: pd.DataFrame) -> str:
    """Return what the report says of memory at worst: bad (do not use), care, or nothing."""
    sides = compare(drawn, train, holdout, ROLES, None, 0)
    found = {
        each.level
        for each in remembered(privacy(sides, drawn, train, windows_of(sides)), sides.few)
    }
    return next((each for each in ("bad", "care") if each in found), "")


def trial(count: int, seed: int) -> list[bool]:
    """Return what is said of real lives, then of planted ones: bad, anything against."""
    rng = np.random.default_rng([count, seed])
    train, holdout = lives(4 * count // 5, rng), lives(count // 5, rng)
    noise = rng.normal(0, NOISE, (len(train), len(SENSORS))) * train[SENSORS].std().to_numpy()
    close = train.assign(**(train[SENSORS] + noise))
    real = level(lives(len(train) // ROWS, rng), train, holdout)
    planted = level(close, train, holdout)
    return [real == "bad", real != "", planted == "bad", planted != ""]


def main() -> None:
    """Print a line of a table for each number of lives."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    trials = 20 if parser.parse_args().quick else TRIALS
    print("| lives | trials | real: do not use | real: care or worse | planted: the same two | |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    for count in LIVES:
        said = np.mean([trial(count, seed) for seed in range(trials)], axis=0)
        print(f"| {count} | {trials} | {' | '.join(f'{each:.1%}' for each in said)} |", flush=True)


if __name__ == "__main__":
    main()
