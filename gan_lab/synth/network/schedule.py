"""How the learning rate goes during a training, and when that ends."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from gan_lab.schema import TrainConfig


class EarlyStopping:
    """A steady rate until held-out rows say enough, then a cool-down (Hu et al. 2024,
    arXiv:2404.06395).

    When their loss has not improved by `min_delta` (nats a row) for `patience` epochs, the best
    weights are taken back and the rate falls to nothing over a third as many epochs again. Without
    held-out rows the steady part takes `steady` epochs. It takes `epochs` at most.
    """

    def __init__(
        self, epochs: int, learning_rate: float, steady: int, patience: int, min_delta: float
    ) -> None:
        self.epochs, self.learning_rate = epochs, learning_rate
        self.steady, self.patience, self.min_delta = steady, patience, min_delta
        self.best, self.best_epoch = math.inf, 0
        self.cooling_from: int | None = None
        self.best_weights: dict[str, Tensor] = {}

    def rate(self, batches: int, per_epoch: int) -> float:
        """Return the learning rate after so many batches."""
        epoch = batches // per_epoch + batches % per_epoch / per_epoch
        share = min(1.0, 0.1 + 0.9 * epoch / min(2.0, 0.1 * self.epochs + 0.1))
        if self.cooling_from is not None:
            cooled = (epoch - self.cooling_from) / _cooling(self.cooling_from)
            share *= max(0.5 * (1 + math.cos(math.pi * min(cooled, 1.0))), 0.01)
        return self.learning_rate * share

    def finished(self, epoch: int) -> bool:
        """Whether the cool-down is over, or the epochs are spent."""
        start = self.cooling_from
        return epoch >= self.epochs or (start is not None and epoch >= start + _cooling(start))

    def after_epoch(self, module: nn.Module, epoch: int, validation: float | None) -> None:
        """Begin the cool-down where the held-out loss, `steady` or the epochs left ask for it."""
        if self.cooling_from is not None:
            return
        if validation is not None and validation < self.best - self.min_delta:
            self.best, self.best_epoch = validation, epoch
            self.best_weights = {k: v.detach().clone() for k, v in module.state_dict().items()}
        if validation is None:
            enough = epoch >= self.steady
        else:
            enough = epoch - self.best_epoch >= self.patience
        if enough or epoch + _cooling(epoch) >= self.epochs:
            if self.best_weights and enough:
                module.load_state_dict(self.best_weights)
            self.best_weights, self.cooling_from = {}, epoch

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors and numbers from which `restore` goes on."""
        best = self.best if math.isfinite(self.best) else None
        return self.best_weights, {
            "best": best, "best_epoch": self.best_epoch, "cooling_from": self.cooling_from
        }  # fmt: skip

    def restore(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """Go back to a state that was saved."""
        self.best_weights = tensors
        self.best = math.inf if numbers["best"] is None else numbers["best"]
        self.best_epoch, self.cooling_from = numbers["best_epoch"], numbers["cooling_from"]


def planned_epochs(rows: int, config: TrainConfig) -> int:
    """Return how many epochs a training runs: `epochs`, or as many as `max_steps` batches fill."""
    if not config.max_steps:
        return config.epochs
    return min(config.epochs, math.ceil(config.max_steps / math.ceil(rows / config.batch_size)))


def _cooling(epoch: int) -> int:
    """Return how many epochs a cool-down takes that begins after this epoch."""
    return max(2, math.ceil(epoch / 3))
