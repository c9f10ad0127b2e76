"""A scale on which the noise of a column is the same at every level."""

from __future__ import annotations

import numpy as np
import pytest

from gan_lab.synth.lives.packed import Packed
from gan_lab.synth.lives.scale import Scale


def test_a_scale_on_which_noise_is_the_same_at_every_level() -> None:
    rng, packed = np.random.default_rng(0), Packed(np.full(40, 200))
    level = np.exp(packed.age / 60) * 3
    readings = level * (1 + 0.03 * rng.normal(size=len(level)))
    regime = np.zeros(len(level), dtype=np.int64)
    scale = Scale.fit(readings, regime, packed)
    noise = [
        (scale.transform(readings) - scale.transform(level))[packed.age // 50 == k]
        for k in range(4)
    ]
    assert np.std(noise, axis=1) == pytest.approx(np.std(noise), rel=0.15)
    assert scale.inverse_transform(scale.transform(readings)) == pytest.approx(readings)
    assert not Scale.fit(level + 0.1 * rng.normal(size=len(level)), regime, packed).readings


def test_a_sensor_at_rest_says_nothing_of_its_noise() -> None:
    rng, packed = np.random.default_rng(0), Packed(np.full(40, 200))
    on = packed.age // 20 % 2
    readings = np.where(on, rng.normal(50, 1, len(on)), 0.0)
    readings[5] = np.nan
    assert not Scale.fit(readings, on, packed).readings
    places = Scale.fit(readings, np.zeros_like(on), packed).transform(
        readings
    )  # nobody names regimes
    noise = [np.nanstd(values[on == 1]) / np.nanstd(values) for values in (places, readings)]
    assert noise[0] > 0.8 * noise[1]
