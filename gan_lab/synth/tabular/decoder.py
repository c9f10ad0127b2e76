"""Trees as the decoder of a TVAE: codes of the training rows to learn from, codes to draw from."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan_lab.schema import TrainConfig
from gan_lab.synth.network.encoding import Encoding
from gan_lab.synth.network.latent_prior import IN_USE, Prior
from gan_lab.synth.network.model_file import part
from gan_lab.synth.network.tvae_network import Network
from gan_lab.synth.tabular.ranks import Places, Ranks
from gan_lab.synth.tabular.sequence import OnColumn, Sequence, Spans, groups_of
from gan_lab.synth.tabular.trees import Forest

MOST_ROWS = 50_000  # that trees learn from; more of them are no better
COMPONENTS = 20  # of a prior; it takes so many rows of a group to fit one, else trees stand alone:
PRIOR_ROWS = 1_000
PART_ROWS = 10_000  # that are encoded at once


class TreeDecoder:
    """Rows from codes: the `ranks` of a table, a `sequence` of trees, and a prior of the codes for
    each group of rows that has trees of its own."""

    def __init__(
        self, ranks: Ranks, sequence: Sequence, priors: list[Prior | None], target: Any
    ) -> None:
        self.ranks, self.sequence, self.priors, self.target = ranks, sequence, priors, target

    @classmethod
    def fit(
        cls,
        encoding: Encoding,
        table: pd.DataFrame,
        target: Any,
        network: Network | None,
        config: TrainConfig,
        on_column: OnColumn | None = None,
    ) -> Self:
        """Learn trees from the rows of a table, and from their codes where there is a network."""
        rng = np.random.default_rng(config.seed)
        if len(table) > MOST_ROWS:
            table = table.iloc[np.sort(rng.choice(len(table), MOST_ROWS, replace=False))]
        table = table.reset_index(drop=True)
        ranks, places = Ranks.fit(encoding, table, target)
        last = ranks.variables[-1]
        group = np.zeros(len(table), dtype=np.int64)
        if target is not None and not last.ordered:
            group = groups_of(places[:, -1])
        codes = np.zeros((len(table), 0), dtype=np.float32)
        priors: list[Prior | None] = []
        if network is not None:
            codes, priors = _codes(network, encoding, table, group, config)
        sequence = Sequence.fit(ranks.variables, places, codes, group, config.seed, on_column)
        return cls(ranks, sequence, priors, target)

    def draw(self, rows: int, rng: np.random.Generator, spans: Spans) -> Places | None:
        """Return the places of so many rows, which meet the spans; None where not one can."""
        return self.sequence.draw(rows, lambda group: self._codes(group, rng), rng, spans)

    def _codes(self, group: NDArray[np.int64], rng: np.random.Generator) -> Places:
        codes = np.zeros((len(group), self.sequence.codes), dtype=np.float32)
        for number, prior in enumerate(self.priors):
            mine = np.flatnonzero(group == number)
            if prior is None or not len(mine):
                continue
            generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
            codes[mine] = prior.sample(len(mine), generator).numpy()
        return codes

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors and the JSON values from which `restore` goes on."""
        arrays, gaps = self.ranks.to_arrays()
        sequence = self.sequence
        arrays |= {"roots": sequence.roots, "weights": sequence.weights}
        arrays["group_rows"] = sequence.group_rows
        tensors = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}
        tensors |= {f"forest.{name}": each for name, each in sequence.forest.tensors().items()}
        for number, prior in enumerate(self.priors):
            if prior is None:
                continue
            tensors |= {f"prior{number}.{name}": each for name, each in prior.tensors().items()}
        return tensors, {"gaps": gaps, "target": self.target, "priors": len(self.priors)}

    @classmethod
    def restore(cls, encoding: Encoding, tensors: dict[str, Tensor], meta: dict[str, Any]) -> Self:
        """Return the decoder that `state` was called of."""
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        ranks = Ranks.from_arrays(encoding, arrays, meta["gaps"], meta["target"])
        forest = Forest(**{name: each.numpy() for name, each in part(tensors, "forest.").items()})
        parts = (arrays[name] for name in ("roots", "weights", "group_rows"))
        sequence = Sequence(ranks.variables, forest, *parts)
        priors = [
            Prior(sequence.codes, **found) if (found := part(tensors, f"prior{number}.")) else None
            for number in range(meta["priors"])
        ]
        return cls(ranks, sequence, priors, meta["target"])


@torch.no_grad()
def _codes(
    network: Network,
    encoding: Encoding,
    table: pd.DataFrame,
    group: NDArray[np.int64],
    config: TrainConfig,
) -> tuple[Places, list[Prior | None]]:
    """Return the code of each row, a draw from its posterior, and a prior for each group; of the
    dimensions in use alone, as the others say nothing about a row. Groups that are too small for a
    prior have codes of 0."""
    batch = network.batch(encoding.encode(table))
    parts = [network.encode(batch[at : at + PART_ROWS]) for at in range(0, len(batch), PART_ROWS)]
    mu, log_variance = (torch.cat(each).float().cpu() for each in zip(*parts, strict=True))
    kl = -0.5 * (1 + log_variance - mu.square() - log_variance.exp()).mean(dim=0)
    mu, log_variance = mu[:, kl > IN_USE], log_variance[:, kl > IN_USE]
    generator = torch.Generator().manual_seed(config.seed)
    codes = mu + (0.5 * log_variance).exp() * torch.randn(mu.shape, generator=generator)
    priors: list[Prior | None] = []
    for number in range(int(group.max()) + 1):
        mine = torch.from_numpy(group == number)
        if int(mine.sum()) < PRIOR_ROWS:
            codes[mine] = 0.0
            priors.append(None)
        elif config.prior == "normal":
            priors.append(Prior.normal(mu.shape[1]))
        else:
            priors.append(Prior.fit(mu[mine], log_variance[mine], COMPONENTS, config.seed))
    return codes.numpy(), priors
