"""One phase of a training: epochs at a steady rate until held-out lives say enough, then a
cool-down.

The schedule is warm-up, steady, decay (Hu et al. 2024, arXiv:2404.06395): when the held-out loss
has not improved for `patience` epochs, the best weights are taken back and the rate falls to
nothing over a third as many epochs again. Without held-out lives the steady part is as long as
planned.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from gan_lab.errors import BadParameter, TaskFailed
from gan_lab.schema import TrainConfig
from gan_lab.synth.network.adam import Adam, Group
from gan_lab.synth.network.device import epoch_generator
from gan_lab.synth.network.model_file import part

FASTER = 4.0  # times the rate, for parameters that belong to one column
Loss = Callable[[Tensor, torch.Generator], tuple[Tensor, Tensor]]
Figures = tuple[float, float, float | None]


@dataclass
class Plan:
    """How long a phase may take and what decides it.

    `most` epochs at most; `steady` epochs at the full rate where no held-out lives decide; `least`
    improvement of the held-out loss that counts (nats a row).
    """

    most: int
    steady: int
    patience: int
    least: float
    rate: float


@dataclass
class Phase:
    """A module, its loss of chosen rows (reconstruction and KL, nats a row), and where it
    stands."""

    module: nn.Module
    loss: Loss
    validate: Callable[[], float | None]
    rows: int
    plan: Plan
    config: TrainConfig
    salt: int
    factor: float = 1.0
    before_epoch: Callable[[], None] = lambda: None
    after_step: Callable[[], None] = lambda: None
    faster: tuple[str, ...] = ()
    half: bool = False  # matrix products in bfloat16
    epoch: int = 0
    best: float = math.inf
    best_epoch: int = 0
    cooling_from: int | None = None
    kept: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        fast = {name for name, _ in self.module.named_parameters() if name in self.faster}
        slow = [p for name, p in self.module.named_parameters() if name not in fast]
        quick = [p for name, p in self.module.named_parameters() if name in fast]
        self.optimizer = Adam([Group(slow, self.config.l2scale), Group(quick, pace=FASTER)])
        self.steps = math.ceil(self.rows / self.config.batch_size)
        self.device = next(self.module.parameters()).device

    @property
    def finished(self) -> bool:
        """Whether the cool-down is over, or the epochs are spent."""
        cooled = self.cooling_from is not None and self.epoch >= self._cool_until
        return cooled or self.epoch >= self.plan.most

    @property
    def _cool_until(self) -> int:
        assert self.cooling_from is not None
        return self.cooling_from + max(2, math.ceil(self.cooling_from / 3))

    def run_epoch(self) -> Figures:
        """Run one epoch and return mean reconstruction, KL, and the held-out loss."""
        self.module.train()
        self.before_epoch()
        generator = epoch_generator(self.config.seed * 7 + self.salt, self.epoch)
        order = torch.randperm(self.rows, generator=generator)
        sums = torch.zeros(2, device=self.device)
        for step, chosen in enumerate(order.split(self.config.batch_size)):
            self.optimizer.zero_grad()
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
                reconstruction, kl = self.loss(chosen, generator)
            (self.factor * reconstruction + kl).backward()
            self.optimizer.step(self.plan.rate * self._rate(self.epoch + step / self.steps))
            self.after_step()
            sums += torch.stack([reconstruction.detach(), kl.detach()]) * len(chosen)
        self.epoch += 1
        reconstruction_mean, kl_mean = (sums / self.rows).tolist()
        if not math.isfinite(reconstruction_mean + kl_mean):
            raise TaskFailed(
                f"The loss became {reconstruction_mean} in epoch {self.epoch}: training has "
                "diverged. Look for extreme values in the table."
            )
        self.module.eval()
        with torch.no_grad():
            validation = self.validate()
        self._decide(validation)
        return reconstruction_mean, kl_mean, validation

    def _rate(self, epoch: float) -> float:
        """Return the share of the full learning rate at this point of the phase."""
        warm = min(1.0, 0.1 + 0.9 * epoch / min(2.0, 0.1 * self.plan.most + 0.1))
        if self.cooling_from is None:
            return warm
        through = (epoch - self.cooling_from) / (self._cool_until - self.cooling_from)
        return max(0.5 * (1 + math.cos(math.pi * min(through, 1.0))), 0.01) * warm

    def _decide(self, validation: float | None) -> None:
        """Begin the cool-down where held-out lives, the plan or the epochs left ask for it."""
        if self.cooling_from is not None:
            return
        if validation is not None and validation < self.best - self.plan.least:
            self.best, self.best_epoch = validation, self.epoch
            self.kept = {k: v.detach().clone() for k, v in self.module.state_dict().items()}
        enough = (
            self.epoch >= self.plan.steady
            if validation is None
            else self.epoch - self.best_epoch >= self.plan.patience
        )
        if enough or self.epoch + max(2, math.ceil(self.epoch / 3)) >= self.plan.most:
            if self.kept and enough:
                self.module.load_state_dict(self.kept)
            self.kept, self.cooling_from = {}, self.epoch

    def state(self) -> tuple[dict[str, Tensor], dict[str, float | int | None]]:
        """Return tensors and numbers from which `restore` goes on bit for bit."""
        tensors = {f"module.{k}": v for k, v in self.module.state_dict().items()}
        tensors |= {f"kept.{k}": v for k, v in self.kept.items()}
        tensors |= {f"optimizer.{k}": v for k, v in self.optimizer.state().items()}
        return tensors, {
            "epoch": self.epoch,
            "best": self.best if math.isfinite(self.best) else None,
            "best_epoch": self.best_epoch,
            "cooling_from": self.cooling_from,
            "half": self.half,
        }

    def restore(self, tensors: dict[str, Tensor], numbers: dict[str, float | int | None]) -> None:
        """Go back to a state that was saved."""

        try:
            self.module.load_state_dict(part(tensors, "module."))
            self.optimizer.restore(part(tensors, "optimizer."))
        except (RuntimeError, KeyError):
            raise BadParameter(
                "The checkpoint belongs to another table or configuration. Start the training anew."
            ) from None
        self.kept = part(tensors, "kept.")
        best, cooling = numbers["best"], numbers["cooling_from"]
        self.epoch, self.best_epoch = int(numbers["epoch"] or 0), int(numbers["best_epoch"] or 0)
        self.best = math.inf if best is None else float(best)
        self.cooling_from = None if cooling is None else int(cooling)
        self.half = bool(numbers["half"])  # as it began, on whatever processor
