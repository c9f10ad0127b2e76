"""Lives side by side, and back."""

from __future__ import annotations

import numpy as np

from gan_lab.synth.lives.packed import Packed


def test_packed_order_is_step_by_step_long_lives_first() -> None:
    packed = Packed(np.array([2, 4, 1]))
    assert packed.life.tolist() == [0, 0, 1, 1, 1, 1, 2]
    assert packed.age.tolist() == [0, 1, 0, 1, 2, 3, 0]
    assert packed.slices == [(0, 3), (3, 5), (5, 6), (6, 7)]
    names = np.array(["a0", "a1", "b0", "b1", "b2", "b3", "c0"])
    assert packed.pack(names).tolist() == ["b0", "a0", "c0", "b1", "a1", "b2", "b3"]
    assert (packed.unpack(packed.pack(names)) == names).all()


def test_averages_and_sums_do_not_cross_lives() -> None:
    packed = Packed(np.array([3, 2]))
    values = np.array([[1.0], [3.0], [5.0], [100.0], [0.0]])
    found = packed.averages(values, (0.0, 0.5))
    assert found[:, 0].tolist() == values[:, 0].tolist()
    assert found[:, 1].tolist() == [1, 2, 3.5, 100, 50]
    assert packed.sums(values)[:, 0].tolist() == [9, 100]
