"""The network's own cross-entropy, its layout of groups, and rows drawn from it."""

import numpy as np
import pytest
import torch

from gan_lab.synth.network.encoding import Encoded
from gan_lab.synth.network.tvae_network import Bucket, Layout, Network, cross_entropy


def test_grouped_cross_entropy_is_torchs_own() -> None:
    torch.manual_seed(0)
    logits = (torch.randn(40, 11, dtype=torch.float64) * 30).requires_grad_()
    taken = torch.randint(0, 3, (40, 2)), torch.randint(0, 5, (40, 1))
    cells = torch.cat([taken[0] + torch.tensor([0, 3]), taken[1] + 6], dim=1)
    ours = cross_entropy(logits, cells, [Bucket(0, [0, 1], 3), Bucket(6, [2], 5)])
    (gradient,) = torch.autograd.grad(ours, logits)
    parts = [(0, 3, taken[0][:, 0]), (3, 6, taken[0][:, 1]), (6, 11, taken[1][:, 0])]
    theirs = sum(
        (
            torch.nn.functional.cross_entropy(logits[:, a:b], target, reduction="sum")
            for a, b, target in parts
        ),
        start=torch.zeros((), dtype=torch.float64),
    )
    assert torch.allclose(ours, theirs)
    assert torch.allclose(gradient, torch.autograd.grad(theirs, logits)[0])


def test_groups_of_like_width_share_a_bucket_and_none_overlap() -> None:
    layout = Layout(2, [3, 40, 2, 4])
    assert [sorted(bucket.groups) for bucket in layout.buckets] == [[0, 2, 3], [1]]
    taken = [
        place
        for group, width in enumerate(layout.widths)
        for place in range(int(layout.offsets[group]), int(layout.offsets[group]) + width)
    ]
    assert len(set(taken)) == 49 and max(taken) < layout.cells
    assert (layout.padding[taken] == 0).all() and (layout.padding < 0).sum() == layout.cells - 49


def test_cells_are_drawn_as_often_as_their_logits_say_and_never_from_the_padding() -> None:
    network = Network(Layout(1, [2, 4]), embedding_dim=3)
    with torch.no_grad():
        network.decoder[-1].weight.zero_()
        network.decoder[-1].bias.zero_()
    drawn = network.draw(torch.zeros(40_000, 3), torch.Generator().manual_seed(0))
    assert np.bincount(drawn.codes[:, 0]).shape == (2,)
    np.testing.assert_allclose(np.bincount(drawn.codes[:, 1]) / 40_000, 0.25, atol=0.01)
    assert abs(drawn.deviations.std() - 0.1) < 0.01  # sigma, as a network begins


@torch.no_grad()
def test_a_missing_deviation_costs_nothing() -> None:
    network = Network(Layout(2, [2]), embedding_dim=3)
    codes = np.zeros((1, 1), dtype=np.int16)
    batches = [
        network.batch(Encoded(np.array([[first, 0.0]], dtype=np.float32), codes))
        for first in (np.nan, 0.0)
    ]
    missing, known = (float(network.losses(batch, torch.zeros(1, 3))[0]) for batch in batches)
    means, _ = network.decode(network.encode(batches[1])[0])
    squared = float(means[0, 0]) ** 2 / (2 * 0.1**2)
    assert known - missing == pytest.approx(squared + np.log(0.1), rel=1e-3)
