"""What rows cost a network, and rows drawn from it."""

import numpy as np
import pytest
import torch

from gan_lab.synth.network.encoding import Encoded
from gan_lab.synth.network.tvae_network import Network


def test_cells_are_drawn_as_often_as_their_logits_say() -> None:
    network = Network(1, [2, 4], embedding_dim=3)
    with torch.no_grad():
        network.decoder[-1].weight.zero_()
        network.decoder[-1].bias.zero_()
    drawn = network.draw(torch.zeros(40_000, 3), torch.Generator().manual_seed(0))
    assert np.bincount(drawn.codes[:, 0]).shape == (2,)
    np.testing.assert_allclose(np.bincount(drawn.codes[:, 1]) / 40_000, 0.25, atol=0.01)
    assert abs(drawn.deviations.std() - 0.1) < 0.01  # sigma, as a network begins


@torch.no_grad()
def test_a_missing_deviation_costs_nothing() -> None:
    network = Network(2, [2], embedding_dim=3)
    codes = np.zeros((1, 1), dtype=np.int16)
    batches = [
        network.batch(Encoded(np.array([[first, 0.0]], dtype=np.float32), codes))
        for first in (np.nan, 0.0)
    ]
    missing, known = (float(network.losses(batch, torch.zeros(1, 3))[0]) for batch in batches)
    means, _ = network.decode(network.encode(batches[1])[0])
    squared = float(means[0, 0]) ** 2 / (2 * 0.1**2)
    assert known - missing == pytest.approx(squared + np.log(0.1), rel=1e-3)
